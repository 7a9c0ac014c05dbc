//! The memory for the messages of a route that no window counts.

use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// See the module.
#[derive(Clone)]
pub struct Memory {
    bytes: Arc<Semaphore>,
    max: usize,
}

/// A part of the memory, until the drop.
pub type Share = OwnedSemaphorePermit;

impl Memory {
    /// Memory of this size.
    pub fn new(bytes: usize) -> Self {
        let max = bytes.min(Semaphore::MAX_PERMITS).min(u32::MAX as usize);
        Self {
            bytes: Arc::new(Semaphore::new(max)),
            max,
        }
    }

    /// Waits for a part for a message, before the message is copied. A message that exceeds the memory
    /// gets all of it. None only if the semaphore were closed, which nothing does.
    pub async fn share(&self, len: usize) -> Option<Share> {
        let len = len.min(self.max) as u32;
        self.bytes.clone().acquire_many_owned(len).await.ok()
    }
}
