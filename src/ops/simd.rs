//! Runs a loop with the widest vectors that this processor has, though the build targets a baseline one.

/// Calls `f`, compiled once for each vector width. Only what is inlined into `f` is: mark `f`, every function
/// that it calls and every closure that it passes `#[inline(always)]`. Nothing is contracted or reordered,
/// so every width gives the same bits.
#[inline(always)]
pub(crate) fn dispatch<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// Calls `f::<T, L>(…)`, of which `c` is the first channel, for pieces of L = 64, 16, 8 and 1 channels.
macro_rules! over_channels {
    ($channels:expr, |$c:ident| $f:ident($($arg:expr),*)) => {{
        let mut $c = 0;
        while $c + 64 <= $channels {
            $f::<T, 64>($($arg),*);
            $c += 64;
        }
        while $c + 16 <= $channels {
            $f::<T, 16>($($arg),*);
            $c += 16;
        }
        while $c + 8 <= $channels {
            $f::<T, 8>($($arg),*);
            $c += 8;
        }
        while $c < $channels {
            $f::<T, 1>($($arg),*);
            $c += 1;
        }
    }};
}
pub(crate) use over_channels;
