//! Runs a loop with the widest vectors that this processor has, though the build targets a baseline one.

/// Calls `f`, compiled once for each vector width. Only what is inlined into `f` is: mark `f`, every function
/// that it calls and every closure that it passes `#[inline(always)]`. Nothing is contracted or reordered,
/// so every width gives the same bits.
#[inline(always)]
pub(crate) fn dispatch<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}
