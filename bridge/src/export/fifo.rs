//! The reader of a FIFO.

use super::source::{Item, Source};
use super::{Complaint, random_id};
use crate::context::Context;
use crate::engine::{Loss, MessageId};
use crate::local::{FifoReader, LocalError, Scratch};
use crate::pause::Pauses;
use std::time::Duration;
use tokio::select;
use tokio::time::sleep;
use unixipc::errno::Errno;

/// The longest pause between two attempts to open the FIFO.
const PAUSE_MAX: Duration = Duration::from_secs(1);

/// See the module.
pub struct FifoSource {
    reader: FifoReader,
    scratch: Scratch,
    /// The id of the next message.
    next: MessageId,
    is_closed: bool,
    name: String,
}

impl FifoSource {
    /// Waits until the FIFO can be opened. None if the bridge stops.
    pub async fn open(context: &Context) -> Option<Self> {
        let mut pauses = Pauses::up_to(PAUSE_MAX);
        let mut complaint = Complaint::default();
        loop {
            match FifoReader::open(&context.route.local, &context.route.options) {
                Ok(reader) => {
                    return Some(Self {
                        reader,
                        scratch: Scratch::new(),
                        next: MessageId {
                            feed: random_id(),
                            sequence: 0,
                        },
                        is_closed: false,
                        name: context.route.to_string(),
                    });
                }
                Err(error) => complaint.about(context, error),
            }
            select! {
                () = sleep(pauses.next()) => {}
                () = context.stopping() => return None,
            }
        }
    }
}

impl Source for FifoSource {
    fn try_next(&mut self, message_max: usize) -> Option<Item> {
        loop {
            match self.reader.try_recv(&mut self.scratch) {
                // Not while this process has the FIFO open for writing.
                Ok(bytes) if bytes.is_empty() => return None,
                Ok(bytes) => {
                    let id = self.next;
                    self.next.sequence += 1;
                    return Some(match bytes.len() <= message_max {
                        true => Item::Message(id, bytes),
                        false => Item::Lost(id, 1, Loss::TooLarge),
                    });
                }
                Err(errno) if errno == Errno::EAGAIN && self.is_closed => return Some(Item::End),
                Err(errno) if errno == Errno::EAGAIN => return None,
                Err(errno) => {
                    log::error!("{}: {}", self.name, LocalError::new("the FIFO", errno));
                    // What could not be read is gone, so this ends.
                    if !errno.is_one_of(&[Errno::EPROTO, Errno::EMSGSIZE]) {
                        return None;
                    }
                }
            }
        }
    }

    async fn ready(&mut self) {
        self.reader.event().await;
    }

    fn confirmed(&mut self, _last: MessageId) {}

    fn ends_with_bridge(&self) -> bool {
        true
    }

    fn close(&mut self) {
        self.is_closed = true;
    }
}
