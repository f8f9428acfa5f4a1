//! Runs a loop with the widest vectors that this processor has, though the build targets a baseline one.

/// Calls `f`, compiled once for each vector width; what `f` calls must be `#[inline(always)]`. Nothing is
/// contracted or reordered, so every width gives the same bits.
#[inline(always)]
pub(crate) fn dispatch<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}
