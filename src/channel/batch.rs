//! Batches: several messages that are published, or released, at once.
//!
//! A batch costs one publication, one decision whether to wake the peer, and one store of each
//! cursor, whatever the number of its messages. The length of its first message publishes it, so a
//! sender that is killed has sent all of it or nothing.

use super::recv::{Message, Peeked, RecvHalf};
use super::send::SendHalf;
use crate::deadline::Deadline;
use crate::errno::{Errno, Result};
use crate::iovec::{Source, Target};
use crate::shared_copy;

impl SendHalf<'_> {
    /// Sends messages, and returns how many. Waits only for space for the first. The others are sent
    /// with it, until one does not fit into the free space or is not valid.
    pub fn send_many(&mut self, messages: &[Source], deadline: Deadline) -> Result<usize> {
        let (first, others) = messages.split_first().ok_or(Errno::EINVAL)?;
        let bytes = first.bytes()?;
        let (link, space) = self.reserve_space(bytes.len(), deadline)?;
        // SAFETY: `reserve_space` has reserved `bytes.len()` bytes there.
        unsafe { shared_copy::to_shared(bytes, space) };
        let max = self.channel.max();
        let head = &link.peer.control().head.at;
        let ring = &mut self.state.ring;
        let first_length = link.memory.length(ring.position());
        let mut batch = ring.batch();
        ring.append(&mut batch, bytes.len() as u32, first_length);
        let (mut count, mut sum) = (1, bytes.len());
        for message in others {
            let Ok(bytes) = message.bytes() else { break };
            if bytes.is_empty() || bytes.len() > max {
                break;
            }
            let need = ring.record_size(bytes.len());
            let position = ring
                .batch_space(&batch, need)
                .or_else(|| ring.refresh_batch_space(&batch, need, head));
            let Some(position) = position else { break };
            // SAFETY: `batch_space` has found a free record there, which holds these bytes.
            unsafe { shared_copy::to_shared(bytes, link.memory.message(position)) };
            ring.append(&mut batch, bytes.len() as u32, link.memory.length(position));
            count += 1;
            sum += bytes.len();
        }
        let fields = self.length_fields(link, &batch);
        self.publish_batch(link, batch, fields, count as u64, sum)?;
        Ok(count)
    }
}

impl RecvHalf<'_> {
    /// Receives messages, and returns how many; 0 at the end of the session. Waits only for the
    /// first. The others are received with it, until there is no other message, or the next one
    /// exceeds its buffer or carries descriptors. Sets the length of each buffer that has received
    /// a message.
    pub fn recv_many(&mut self, targets: &mut [Target], deadline: Deadline) -> Result<usize> {
        let (first, others) = targets.split_first_mut().ok_or(Errno::EINVAL)?;
        let buffer = first.buffer()?;
        let Some((link, message)) = self.next(deadline)? else {
            return Ok(0);
        };
        if message.has_fds {
            // Alone, because its descriptors are closed one by one.
            let received = self.recv_marked(link, &message, buffer, &mut [])?;
            first.set_len(received.len);
            return Ok(1);
        }
        let begin = self.state.ring.head();
        if !message.copy(buffer) {
            return Err(Errno::EMSGSIZE);
        }
        first.set_len(message.len);
        let ring = &mut self.state.ring;
        ring.skip(message.len as u32);
        let (mut count, mut sum) = (1, message.len);
        for target in others {
            let position = ring.position();
            let Some(len) = ring.try_peek(link.peer.length(position)) else {
                break;
            };
            let Ok(buffer) = target.buffer() else { break };
            let message = Message::new(link, position, len);
            if !ring.fits_since(begin, len) || !message.copy(buffer) {
                break;
            }
            target.set_len(message.len);
            ring.skip(len);
            count += 1;
            sum += message.len;
        }
        self.state.peeked = Peeked::None;
        self.release_skipped(link, count as u64, sum);
        Ok(count)
    }
}
