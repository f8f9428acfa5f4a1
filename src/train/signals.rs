//! SIGINT and SIGTERM: the first asks the run to save and stop, the second stops the process at once.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::{Handle, Signals};
use signal_hook::{SigId, flag, low_level};

use crate::{Error, Result};

/// Listens while it lives.
#[derive(Debug)]
pub(super) struct Stop {
    signal: Arc<AtomicUsize>,
    registered: Vec<SigId>,
    messages: Option<Handle>,
}

impl Stop {
    /// Starts listening.
    ///
    /// # Errors
    /// [`Error::Device`] if the system refuses.
    pub fn listen() -> Result<Self> {
        let refused = |e: io::Error| {
            Error::device(
                format!("the system does not let signals be handled: {e}"),
                "run in an ordinary process",
            )
        };
        let mut stop = Self { signal: Arc::default(), registered: Vec::new(), messages: None };
        let asked = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // Actions run in this order: at the first signal `asked` is still false.
            let exit = flag::register_conditional_shutdown(signal, 128 + signal, asked.clone());
            stop.registered.push(exit.map_err(refused)?);
            stop.registered.push(flag::register(signal, asked.clone()).map_err(refused)?);
            let number = flag::register_usize(signal, stop.signal.clone(), signal as usize);
            stop.registered.push(number.map_err(refused)?);
        }
        let mut signals = Signals::new([SIGINT, SIGTERM]).map_err(refused)?;
        stop.messages = Some(signals.handle());
        // A step can take minutes: say at once that the signal was heard.
        let speaker = std::thread::Builder::new().name("signals".into()).spawn(move || {
            if signals.forever().next().is_some() {
                let text = "stopping after this step, then saving; once more stops at once without saving";
                let _ = writeln!(io::stderr(), "{text}"); // nobody may be listening any more
            }
        });
        speaker.map_err(refused)?;
        Ok(stop)
    }

    /// # Errors
    /// [`Error::Interrupted`] if a signal came.
    pub fn check(&self) -> Result<()> {
        match self.signal.load(Ordering::Relaxed) {
            0 => Ok(()),
            signal => Err(Error::Interrupted { signal: signal as i32 }),
        }
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        for id in self.registered.drain(..) {
            low_level::unregister(id);
        }
        if let Some(messages) = &self.messages {
            messages.close();
        }
    }
}
