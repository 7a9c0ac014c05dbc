//! The interface of a local sink.

use tokio::pin;
use tokio::select;

/// The fate of a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Put {
    /// The local object has it.
    Done,
    /// There is no space for it now, or no peer.
    Full,
    /// The local object can never take it.
    Impossible(String),
}

/// A local sink of messages.
#[allow(async_fn_in_trait, reason = "each route has its own thread")]
pub trait Sink {
    /// Gives a message to the local object, without waiting.
    fn try_put(&mut self, bytes: &[u8]) -> Put;

    /// Waits for an event of the local object, and serves it. After [`Put::Full`], it returns when
    /// the message may fit. It can be cancelled.
    async fn event(&mut self);

    /// Waits for a future, and serves the events of the local object during the wait.
    async fn serve_during<T>(&mut self, future: impl Future<Output = T>) -> T {
        pin!(future);
        loop {
            select! {
                biased;
                result = &mut future => return result,
                () = self.event() => {}
            }
        }
    }
}
