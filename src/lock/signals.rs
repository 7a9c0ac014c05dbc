//! How nobody misses a signal: over an atomic and nothing else, so that tests/loom can run every
//! interleaving of it.
//!
//! A waiter reads the number of signals while it holds the mutex, gives up the mutex, and sleeps
//! until the number is another. Who changes what the mutex guards signals afterwards, with the
//! mutex held or not. The mutex is all that orders the accesses.

use crate::atomic::{AtomicU32, Ordering};
use crate::errno::Result;

/// The number of signals so far. To be called with the mutex held: a change of what it guards
/// that the caller has not seen is made by somebody who locks the mutex later, and signals after
/// that; so the mutex orders this load before that signal.
pub fn seen(signals: &AtomicU32) -> u32 {
    signals.load(Ordering::Relaxed)
}

/// Returns when there was a signal since `seen`. `sleep` sleeps while the number is `seen`; it may
/// return earlier. What the signaller did before is ordered by the mutex, which the caller
/// locks next.
pub fn wait_for_another(
    signals: &AtomicU32,
    seen: u32,
    mut sleep: impl FnMut() -> Result<()>,
) -> Result<()> {
    while signals.load(Ordering::Relaxed) == seen {
        sleep()?;
    }
    Ok(())
}
