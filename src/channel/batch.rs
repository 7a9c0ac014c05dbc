//! Batches: several messages that are published, or released, at once.
//!
//! A batch costs one publication, one decision whether to wake the peer, and one store of each
//! cursor, whatever the number of its messages. The length of its first message publishes it, so a
//! sender that is killed has sent all of it or nothing.

use super::addresses::Addresses;
use super::recv::{Peeked, RecvHalf};
use super::send::SendHalf;
use crate::atomic::Ordering;
use crate::deadline::Deadline;
use crate::errno::{Result, errno};
use crate::iovec::{Source, Target};
use crate::shared_copy;
use probe::probe;
use std::hint;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};

/// How long a receiver pauses, in spin-loop hints, when it finds no message. Meanwhile the sender
/// completes its batch. Without the pause, two distant cores would take cache lines of an incomplete
/// batch from each other.
const PAUSES: u32 = 16;

impl SendHalf<'_> {
    /// Sends messages, and returns how many. Waits only for space for the first. The others are sent
    /// with it, until one does not fit into the free space or is not valid.
    pub fn send_many(&mut self, messages: &[Source], deadline: Deadline) -> Result<usize> {
        let (first, others) = messages.split_first().ok_or(errno!(EINVAL))?;
        let bytes = first.bytes()?;
        let (link, space) = self.reserve_space(bytes.len(), deadline)?;
        // SAFETY: `reserve_space` has reserved `bytes.len()` bytes there.
        unsafe { shared_copy::to_shared(bytes, space) };
        let head = &link.peer.control().head.at;
        let addresses = Addresses::of(&link.memory);
        let mut batch = self.state.ring.batch_of(bytes.len() as u32);
        let mut records = self.state.ring.free_after(batch);
        let mut sum = bytes.len();
        // Instead of a counter, which would need a register.
        let mut rest = others;
        while let Some((message, after)) = rest.split_first() {
            let len = message.unchecked_len();
            if !records.set_len(len) {
                break;
            }
            // SAFETY: `set_len` accepts no other lengths.
            let Some(bytes) = (unsafe { message.checked_bytes(len) }) else {
                break;
            };
            let position = records.position();
            if !records.advance_free(&mut self.state.ring, head) {
                break;
            }
            // SAFETY: `advance_free` has found a free record there, which holds these bytes.
            unsafe { to_record(bytes, addresses.message(position)) };
            // The length of the first message publishes this one.
            addresses
                .length(position)
                .store(len as u32, Ordering::Relaxed);
            sum += len;
            rest = after;
        }
        let count = messages.len() - rest.len();
        batch.extend_to(records);
        let fields = self.length_fields(link, &batch);
        probe!(
            unixipc,
            channel_send_many,
            ptr::from_ref(self.channel),
            sum,
            count
        );
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
        let (first, others) = targets.split_first_mut().ok_or(errno!(EINVAL))?;
        let buffer = first.buffer()?;
        if !deadline.is_never() && !self.is_ready() {
            (0..PAUSES).for_each(|_| hint::spin_loop());
        }
        let Some((link, message)) = self.next(deadline)? else {
            return Ok(0);
        };
        if message.has_fds {
            // Alone, because its descriptors are closed one by one.
            let received = self.recv_marked(link, &message, buffer, &mut [])?;
            first.set_len(received.len);
            return Ok(1);
        }
        if !message.copy(buffer) {
            return Err(errno!(EMSGSIZE));
        }
        first.set_len(message.len);
        let addresses = Addresses::of(&link.peer);
        let mut records = self.state.ring.records_after(message.len as u32);
        let (mut count, mut sum) = (1, message.len);
        for target in others {
            let position = records.position();
            let Some(len) = records.load_len(addresses.length(position)) else {
                break;
            };
            let Some(buffer) = target.message(len) else {
                break;
            };
            if !records.advance() {
                break;
            }
            // SAFETY: `load_len` has checked that the message is within the peer's ring.
            unsafe { from_record(addresses.message(position), buffer) };
            target.set_len(len);
            count += 1;
            sum += len;
        }
        self.state.ring.skip_to(records);
        self.state.peeked = Peeked::None;
        probe!(
            unixipc,
            channel_receive_many,
            ptr::from_ref(self.channel),
            sum,
            count
        );
        self.release_skipped(link, count as u64, sum);
        Ok(count)
    }
}

/// [`shared_copy::to_shared`], inlined for short messages only.
///
/// # Safety
///
/// As for [`shared_copy::to_shared`].
#[inline(always)]
unsafe fn to_record(bytes: &[u8], at: NonNull<u8>) {
    let len = bytes.len();
    if len == size_of::<u64>() || len <= shared_copy::SHORT {
        // SAFETY: the caller's promise.
        unsafe { shared_copy::short_to_shared(bytes, at) };
    } else {
        // SAFETY: the caller's promise.
        unsafe { long_to_record(bytes, at) };
    }
}

/// # Safety
///
/// As for [`to_record`].
#[cold]
#[inline(never)]
unsafe fn long_to_record(bytes: &[u8], at: NonNull<u8>) {
    // SAFETY: the caller's promise.
    unsafe { shared_copy::to_shared(bytes, at) };
}

/// [`shared_copy::from_shared`], inlined for short messages only.
///
/// # Safety
///
/// As for [`shared_copy::from_shared`].
#[inline(always)]
unsafe fn from_record(at: NonNull<u8>, buffer: &mut [MaybeUninit<u8>]) {
    let len = buffer.len();
    if len == size_of::<u64>() || len <= shared_copy::SHORT {
        // SAFETY: the caller's promise.
        unsafe { shared_copy::short_from_shared(at, buffer) };
    } else {
        // SAFETY: the caller's promise.
        unsafe { long_from_record(at, buffer) };
    }
}

/// # Safety
///
/// As for [`from_record`].
#[cold]
#[inline(never)]
unsafe fn long_from_record(at: NonNull<u8>, buffer: &mut [MaybeUninit<u8>]) {
    // SAFETY: the caller's promise.
    unsafe { shared_copy::from_shared(at, buffer) };
}
