//! Ctrl-C and SIGTERM: the first asks for an orderly end, the second ends at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use automl_core::Cancel;
use signal_hook::consts::{SIGINT, SIGTERM};

use crate::error::CliError;

/// Watches for signals.
#[derive(Clone, Debug)]
pub struct Signals {
    received: Arc<AtomicUsize>,
    cancel: Cancel,
}

impl Signals {
    /// Starts to watch; from now on the first signal cancels [`Signals::token`].
    ///
    /// # Errors
    /// Where the system refuses.
    pub fn watch() -> Result<Self, CliError> {
        let refused = |error: std::io::Error| CliError::failed(format!("cannot watch for signals: {error}"));
        let received = Arc::new(AtomicUsize::new(0));
        // One flag for both: a SIGTERM after a Ctrl-C is a second signal, too.
        let again = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            // Order matters: the second signal finds the flag raised and exits; the first raises it.
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, again.clone()).map_err(refused)?;
            signal_hook::flag::register(signal, again.clone()).map_err(refused)?;
            signal_hook::flag::register_usize(signal, received.clone(), usize::try_from(signal).unwrap_or(0)).map_err(refused)?;
        }
        let cancel = Cancel::new();
        let watch = (received.clone(), cancel.clone());
        std::thread::spawn(move || {
            while watch.0.load(Ordering::Relaxed) == 0 {
                std::thread::sleep(Duration::from_millis(5));
            }
            watch.1.cancel();
        });
        Ok(Self { received, cancel })
    }

    /// Cancelled by the first signal.
    pub fn token(&self) -> &Cancel {
        &self.cancel
    }

    /// 130 or 143 if a signal came, else `code`.
    pub fn exit_code(&self, code: u8) -> u8 {
        match self.received.load(Ordering::Relaxed) {
            0 => code,
            signal => 128 + u8::try_from(signal).unwrap_or(2),
        }
    }
}
