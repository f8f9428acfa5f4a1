//! Profiler control (driver API, "Profiler Control"). There is nothing to start or to stop.

use super::api::api;

api! {
    /// Starts profiling, which has no effect.
    fn cuProfilerStart(s, c;) {
        let _ = (s, c);
        Ok(())
    }

    /// Stops profiling, which has no effect.
    fn cuProfilerStop(s, c;) {
        let _ = (s, c);
        Ok(())
    }
}
