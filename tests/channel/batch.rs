//! Several messages in one call.

use crate::support::*;
use libc::{EAGAIN, EBUSY, EINVAL, EMSGSIZE, EPIPE, ETIMEDOUT, SHUT_WR, iovec};
use std::collections::VecDeque;
use std::ptr;
use unixipc::ffi::channel::*;

/// Calls of both kinds on both sides, in any order. The ring wraps around many times.
#[apply(isolated)]
fn mixed_with_single_calls() {
    let (a, b) = small();
    let mut random = Random(4);
    let mut queued = VecDeque::new();
    let mut seed = 0;
    for _ in 0..scaled(3000) {
        let longest = [8, 100, 3000, 30_000][random.index(4)];
        let messages: Vec<_> = (0..1 + random.index(20))
            .map(|number| pattern(1 + random.index(longest), seed + number as u64))
            .collect();
        seed += messages.len() as u64;
        let sent = if random.below(3) == 0 {
            a.send(&messages[0], 0).map(|_| 1)
        } else {
            a.send_many(&messages, 0)
        };
        match sent {
            Ok(count) => {
                assert!((1..=messages.len()).contains(&count));
                queued.extend(messages.into_iter().take(count));
            }
            Err(error) => assert!(error == EAGAIN && !queued.is_empty()),
        }
        for _ in 0..random.below(3) {
            let caps = vec![30_000; 1 + random.index(30)];
            let received = if random.below(3) == 0 {
                b.recv_cap(30_000, 0).map(|message| vec![message])
            } else {
                b.recv_many(&caps, 0)
            };
            let Ok(received) = received else {
                assert_eq!(received.unwrap_err(), EAGAIN);
                assert!(queued.is_empty());
                break;
            };
            assert!(!received.is_empty());
            for message in received {
                assert!(queued.pop_front() == Some(message));
            }
        }
    }
    let (sent, received) = (a.stats(), b.stats());
    assert_eq!(
        sent.sent_messages - received.received_messages,
        queued.len() as u64
    );
    let bytes: usize = queued.iter().map(Vec::len).sum();
    assert_eq!(sent.sent_bytes - received.received_bytes, bytes as u64);
}

/// A batch that does not fit is sent in part, and the free space is used completely.
#[apply(isolated)]
fn sent_in_part() {
    let (a, b) = small();
    let message = [7; 1020]; // a record of 1024 bytes
    let most = SMALL_RING / 1024 - 1;
    assert_eq!(a.send_many(&[message; 100], 0), Ok(most));
    assert_eq!(a.send_many(&[message; 100], 0), Err(EAGAIN));
    assert_eq!(a.send_many(&[message; 100], 20), Err(ETIMEDOUT));
    // Space that the sender has not noticed yet.
    assert_eq!(b.recv_many(&[1020; 3], 0).unwrap().len(), 3);
    assert_eq!(a.send_many(&[message; 100], 0), Ok(3));
    assert_eq!(b.recv_many(&[1020; 100], 0).unwrap().len(), most);
    assert_eq!(b.recv_many(&[1020; 100], 0), Err(EAGAIN));
}

/// A message that cannot be sent ends the batch before it.
#[apply(isolated)]
fn ends_before_an_invalid_message() {
    let (a, b) = small();
    let too_long = vec![0; a.max() + 1];
    for invalid in [&[][..], &too_long[..]] {
        assert_eq!(a.send_many(&[&b"1"[..], b"22", invalid, b"4"], 0), Ok(2));
        assert_eq!(b.recv_many(&[4; 4], 0).unwrap(), [&b"1"[..], b"22"]);
    }
    let null = iovec {
        iov_base: ptr::null_mut(),
        iov_len: 1,
    };
    // SAFETY: an open end; the call checks for NULL.
    let sent =
        outcome(|| unsafe { ipc_channel_send_many(a.0, [iovec_of(b"1"), null].as_ptr(), 2, 0) });
    assert_eq!(sent, Ok(1));
    assert_eq!(a.send_many(&[&[][..], b"1"], 0), Err(EINVAL));
    assert_eq!(a.send_many(&[&too_long[..], b"1"], 0), Err(EMSGSIZE));
    // SAFETY: as above.
    let sent = outcome(|| unsafe { ipc_channel_send_many(a.0, &null, 1, 0) });
    assert_eq!(sent, Err(EINVAL));
    assert_eq!(b.recv(0).unwrap(), b"1");
    assert_eq!(b.recv(0), Err(EAGAIN));
}

/// A message that exceeds its buffer stays queued, with those after it.
#[apply(isolated)]
fn ends_before_a_small_buffer() {
    let (a, b) = small();
    assert_eq!(a.send_many(&[&b"1"[..], b"22", b"333", b"4"], 0), Ok(4));
    assert_eq!(b.recv_many(&[8, 8, 2, 8], 0).unwrap(), [&b"1"[..], b"22"]);
    assert_eq!(b.recv_many(&[2, 8], 0), Err(EMSGSIZE));
    assert_eq!(b.recv_many(&[3, 8], 0).unwrap(), [&b"333"[..], b"4"]);
    assert_eq!(a.send_many(&[b"5", b"6"], 0), Ok(2));
    let mut byte = [0];
    let mut targets = [(); 2].map(|()| iovec {
        iov_base: byte.as_mut_ptr().cast(),
        iov_len: 1,
    });
    targets[1].iov_base = ptr::null_mut();
    // SAFETY: an open end; the call checks for NULL.
    let received = outcome(|| unsafe { ipc_channel_recv_many(b.0, targets.as_mut_ptr(), 2, 0) });
    assert_eq!((received, byte), (Ok(1), *b"5"));
    targets.swap(0, 1);
    // SAFETY: as above.
    let received = outcome(|| unsafe { ipc_channel_recv_many(b.0, targets.as_mut_ptr(), 2, 0) });
    assert_eq!(received, Err(EINVAL));
    assert_eq!(b.recv_many(&[0, 1], 0), Err(EINVAL));
    assert_eq!(b.recv(0).unwrap(), b"6");
}

#[apply(isolated)]
fn arguments() {
    let (a, b) = small();
    let (mut one, null) = (iovec_of(b"x"), ptr::null_mut());
    assert_eq!(a.send_many::<&[u8]>(&[], 0), Err(EINVAL));
    assert_eq!(b.recv_many(&[], 0), Err(EINVAL));
    assert_eq!(a.send_many(&[b"x"], -3), Err(EINVAL));
    assert_eq!(b.recv_many(&[1], -3), Err(EINVAL));
    for count in [1, usize::MAX, isize::MAX as usize / 16 + 1] {
        let (from, to) = if count == 1 {
            (null, null)
        } else {
            (&raw mut one, &raw mut one)
        };
        // SAFETY: the call checks the array.
        let sent = outcome(|| unsafe { ipc_channel_send_many(a.0, from, count, 0) });
        assert_eq!(sent, Err(EINVAL), "{count}");
        // SAFETY: as above.
        let received = outcome(|| unsafe { ipc_channel_recv_many(b.0, to, count, 0) });
        assert_eq!(received, Err(EINVAL), "{count}");
    }
    // SAFETY: the call checks for NULL.
    let sent = outcome(|| unsafe { ipc_channel_send_many(ptr::null_mut(), &one, 1, 0) });
    assert_eq!(sent, Err(EINVAL));
    // SAFETY: as above.
    let received = outcome(|| unsafe { ipc_channel_recv_many(ptr::null_mut(), &mut one, 1, 0) });
    assert_eq!(received, Err(EINVAL));
    a.reserve(1, 0).unwrap();
    assert_eq!(a.send_many(&[b"x"], 0), Err(EBUSY));
    a.cancel().unwrap();
    assert_eq!(b.recv_many(&[1], 20), Err(ETIMEDOUT));
    // A peeked message is the first of the batch, and is then no longer peeked.
    assert_eq!(a.send_many(&[b"1", b"2"], 0), Ok(2));
    assert_eq!(b.peek(0).unwrap(), b"1");
    assert_eq!(b.recv_many(&[1; 2], 0).unwrap(), [b"1", b"2"]);
    assert_eq!(b.release(), Err(EINVAL));
}

#[apply(isolated)]
fn end_of_the_session() {
    let (a, b) = small();
    assert_eq!(a.send_many(&[b"1", b"2"], 0), Ok(2));
    a.shutdown(SHUT_WR).unwrap();
    assert_eq!(a.send_many(&[b"3"], -1), Err(EPIPE));
    assert_eq!(b.recv_many(&[1; 8], -1).unwrap(), [b"1", b"2"]);
    assert_eq!(b.recv_many(&[1; 8], -1).unwrap(), Vec::<Vec<u8>>::new());
    drop(b);
    assert_eq!(a.recv_many(&[1; 8], -1).unwrap(), Vec::<Vec<u8>>::new());
}

/// A sender detects the death of a peer that was awake within 128 messages.
#[apply(isolated)]
fn detects_a_dead_peer() {
    for count in [1, 7, 16, 64, 100] {
        let shared = Counters::new();
        let (a, child) = spawn_peer(&DEFAULTS, |b| {
            assert_eq!(b.recv(LONG).unwrap(), b"go"); // this side counts as awake
            shared.set(0, 1);
            loop {
                // SAFETY: no pointers.
                unsafe { libc::pause() };
            }
        });
        assert_eq!(a.send(b"go", 0), DONE);
        shared.wait_for(0, 1);
        kill(child);
        let messages = vec![b"x"; count];
        let mut sent = 0;
        let error = loop {
            match a.send_many(&messages, -1) {
                Ok(more) => sent += more,
                Err(error) => break error,
            }
        };
        assert_eq!(error, EPIPE);
        assert!(sent <= 128, "{sent} messages in batches of {count}");
    }
}

/// A batch wakes a sleeping peer once, and the peer receives all of it.
#[apply(isolated)]
fn wakes_once() {
    let (a, child) = spawn_peer(&NO_SPIN, |b| {
        assert_eq!(b.recv_many(&[8; 20], LONG).unwrap().len(), 16);
        assert_eq!(b.send_many(&[b"y"; 3], LONG), Ok(3));
    });
    child.wait_asleep();
    assert_eq!(a.send_many(&[[b'x'; 8]; 16], 0), Ok(16));
    assert_eq!(a.stats().wakes, 1);
    let mut received = 0;
    while received < 3 {
        received += a.recv_many(&[8; 3], LONG).unwrap().len();
    }
    child.join();
}

/// A sender that waits for space is woken when a batch frees half of the ring.
#[apply(isolated)]
fn frees_space_for_a_sleeping_sender() {
    let (a, child) = spawn_peer(&SMALL, |b| {
        b.fill(1020);
        assert_eq!(b.send(&[7; 1020], LONG), DONE);
    });
    child.wait_asleep();
    let mut received = 0;
    while received < SMALL_RING / 1024 {
        received += a.recv_many(&[1020; 40], LONG).unwrap().len();
    }
    child.join();
}
