//! Channels: the sender or the receiver of a batch is killed.

use super::channel::{Calls, Case, Ends, SHORT, nothing};
use crate::check;
use crate::harness::{Finished, Verdict};
use common::isolated::apply;
use libc::iovec;
use std::ops::Range;
use std::sync::atomic::Ordering::SeqCst;

/// The length of a message that is copied by another instruction sequence.
const LONGER: usize = 300;
/// The number of messages in a batch.
const BATCH: usize = 3;
/// The lengths of the messages: one before the batch, and the batch.
const LENS: [usize; 1 + BATCH] = [SHORT, SHORT, LONGER, 8];

/// The messages with these numbers, as buffers that are only read.
fn buffers(calls: &Calls, numbers: Range<usize>) -> Vec<iovec> {
    let buffer = |message: &Vec<u8>| iovec {
        iov_base: message.as_ptr().cast_mut().cast(),
        iov_len: message.len(),
    };
    calls.messages[numbers].iter().map(buffer).collect()
}

/// The victim sends its batch.
fn send_many(ends: &Ends) {
    let messages = buffers(ends.calls, 1..LENS.len());
    let call = ends.calls.library.ipc_channel_send_many;
    // SAFETY: an open handle, and an array of readable buffers.
    let sent = unsafe { call(ends.victim, messages.as_ptr(), messages.len(), -1) };
    assert_eq!(sent, BATCH as isize);
}

/// The survivor receives the first message, and the batch completely or not at all.
fn receives_all_or_none(ends: &Ends, finished: &Finished) -> Verdict {
    ends.receives(finished, 1, BATCH)?;
    match ends.page.received.load(SeqCst) as usize {
        1 => Ok(()),
        count if count == LENS.len() => Ok(()),
        count => Err(format!("{} messages of the batch", count - 1)),
    }
}

#[apply(scenario)]
fn send() {
    let case = Case::<false, false> {
        calls: Calls::new(&LENS),
        set_up: |ends| {
            ends.sleep_once();
            ends.send(0..1);
        },
        prepare: nothing,
        operate: send_many,
        survive: receives_all_or_none,
    };
    check("ipc_channel_send_many, peer awake", &case);
}

#[apply(scenario)]
fn send_to_a_sleeper() {
    let case = Case::<false, true> {
        calls: Calls::new(&LENS),
        set_up: nothing,
        prepare: |ends| {
            ends.send(0..1);
            ends.page.wait_for_survivor(1);
        },
        operate: send_many,
        survive: receives_all_or_none,
    };
    check("ipc_channel_send_many, peer asleep", &case);
}

#[apply(scenario)]
fn send_parts() {
    let case = Case::<false, false> {
        calls: Calls::new(&[SHORT, SHORT + 8]),
        set_up: |ends| {
            ends.sleep_once();
            ends.send(0..1);
        },
        prepare: nothing,
        operate: |ends| {
            let (one, two) = ends.calls.messages[1].split_at(7);
            let parts = [one, two].map(|part| iovec {
                iov_base: part.as_ptr().cast_mut().cast(),
                iov_len: part.len(),
            });
            let call = ends.calls.library.ipc_channel_sendv;
            // SAFETY: an open handle, and an array of readable buffers.
            let sent = unsafe { call(ends.victim, parts.as_ptr(), 2, -1) };
            assert_eq!(sent, SHORT as isize + 8);
        },
        survive: |ends, finished| ends.receives(finished, 1, 1),
    };
    check("ipc_channel_sendv", &case);
}

/// The survivor has sent the batch. Its ring stays usable whatever the victim has released.
#[apply(scenario)]
fn recv() {
    let case = Case::<false, false> {
        calls: Calls::new(&LENS),
        set_up: |ends| {
            for number in 0..LENS.len() {
                assert_eq!(ends.calls.send(ends.survivor, number, -1), Ok(0));
            }
        },
        prepare: |ends| ends.send(0..1),
        operate: |ends| {
            let mut space = [[0u8; LONGER]; LENS.len()];
            let mut targets = space.each_mut().map(|buffer| iovec {
                iov_base: buffer.as_mut_ptr().cast(),
                iov_len: buffer.len(),
            });
            let call = ends.calls.library.ipc_channel_recv_many;
            // SAFETY: an open handle, and an array of writable buffers.
            let received = unsafe { call(ends.victim, targets.as_mut_ptr(), targets.len(), -1) };
            assert_eq!(received, LENS.len() as isize);
            assert_eq!(targets.map(|target| target.iov_len), LENS);
        },
        survive: |ends, finished| {
            ends.sends()?;
            ends.receives(finished, 1, 0)
        },
    };
    check("ipc_channel_recv_many", &case);
}
