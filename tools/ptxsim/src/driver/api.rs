//! How a function of the API begins and ends.

use std::cell::Cell;
use std::ffi::c_void;
use std::panic::{AssertUnwindSafe, catch_unwind};

use super::state::{self, Handle, Locked};
use super::status::{Result, Status};
use super::trace::traced;
use super::work::HostFunction;

thread_local! {
    /// The API function that this thread is in, for messages.
    static CALL: Cell<&'static str> = const { Cell::new("ptxsim") };
    /// Whether this thread is in a host function that a stream called.
    static IN_HOST_FUNCTION: Cell<bool> = const { Cell::new(false) };
}

/// Defines functions of the API; each body gives `Result<()>`.
///
/// - `fn f(a: A)` needs nothing;
/// - `fn f(s; a: A)` needs `cuInit` and gets the driver's state, locked, as `s`;
/// - `fn f(s, c; a: A)` also needs a current context without error, and gets its handle as `c`.
macro_rules! api {
    ($($(#[$meta:meta])* fn $name:ident($($args:tt)*) $body:block)*) => {
        $($crate::driver::api::api!(@ [$(#[$meta])*] $name ($($args)*) $body);)*
    };
    (@ [$($meta:tt)*] $name:ident ($s:ident, $c:ident; $($arg:ident: $ty:ty),* $(,)?) $body:block) => {
        $($meta)*
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> u32 {
            #[allow(unused_mut, reason = "not every function changes the state")]
            $crate::driver::api::in_context(stringify!($name), move |mut $s, $c| $body)
        }
    };
    (@ [$($meta:tt)*] $name:ident ($s:ident; $($arg:ident: $ty:ty),* $(,)?) $body:block) => {
        $($meta)*
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> u32 {
            #[allow(unused_mut, reason = "not every function changes the state")]
            $crate::driver::api::initialised(stringify!($name), move |mut $s| $body)
        }
    };
    (@ [$($meta:tt)*] $name:ident ($($arg:ident: $ty:ty),* $(,)?) $body:block) => {
        $($meta)*
        #[unsafe(no_mangle)]
        pub unsafe extern "C" fn $name($($arg: $ty),*) -> u32 {
            $crate::driver::api::bare(stringify!($name), move || $body)
        }
    };
}
pub(super) use api;

/// Runs the body of a function that needs nothing.
pub(super) fn bare(name: &'static str, body: impl FnOnce() -> Result<()>) -> u32 {
    let mut body = Some(body);
    enter(name, &mut || body.take().map_or(Err(Status::UNKNOWN), |body| body()))
}

/// Runs the body of a function that needs `cuInit`.
pub(super) fn initialised(name: &'static str, body: impl FnOnce(Locked) -> Result<()>) -> u32 {
    bare(name, || body(lock()?))
}

/// Runs the body of a function that needs a current context in which nothing has failed.
pub(super) fn in_context(name: &'static str, body: impl FnOnce(Locked, Handle) -> Result<()>) -> u32 {
    bare(name, || {
        let (s, context) = lock_context()?;
        body(s, context)
    })
}

/// What surrounds the body, which it calls once. Not generic: some three hundred functions share it.
fn enter(name: &'static str, body: &mut dyn FnMut() -> Result<()>) -> u32 {
    traced(name, || {
        let caught = catch_unwind(AssertUnwindSafe(|| {
            CALL.set(name);
            body()
        }));
        match caught {
            Ok(Ok(())) => 0,
            Ok(Err(status)) => status.0,
            Err(_) => {
                eprintln!("ptxsim: {name}: the simulator itself failed; this is a bug of ptxsim");
                Status::UNKNOWN.0
            }
        }
    })
}

fn lock() -> Result<Locked> {
    if IN_HOST_FUNCTION.get() {
        say("called from a host function of a stream, which must not call the driver");
        return Err(Status::NOT_PERMITTED);
    }
    state::lock()
}

fn lock_context() -> Result<(Locked, Handle)> {
    let s = lock()?;
    let context = s.current()?;
    s.check(context)?;
    Ok((s, context))
}

/// Writes a line about the current call to standard error.
pub(super) fn say(what: impl std::fmt::Display) {
    eprintln!("ptxsim: {}: {what}", CALL.get());
}

/// The status, after saying why.
pub(super) fn refuse(status: Status, why: impl std::fmt::Display) -> Status {
    say(why);
    status
}

/// Calls a stream's host function, during which this thread must not call the driver.
pub(super) fn call_host(function: HostFunction, data: *mut c_void) {
    IN_HOST_FUNCTION.set(true);
    function(data);
    IN_HOST_FUNCTION.set(false);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_inside_is_a_status() {
        assert_eq!(bare("cuTest", || panic!("on purpose")), 999);
        assert_eq!(bare("cuTest", || Err(Status::NOT_READY)), 600);
        assert_eq!(bare("cuTest", || Ok(())), 0);
    }
}
