//! Peers that violate the protocol after a valid handshake, without a race.

use crate::peer::*;
use crate::support::*;
use common::child::fork;
use libc::*;
use std::os::fd::AsRawFd;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use unixipc::ffi::channel::*;
use unixipc::ffi::pair::IPC_WAIT_INTR;

const HEAD: usize = 128;
const RECEIVER: usize = 256;
const FIRST_LENGTH: usize = CONTROL as usize + 4;

/// The peer sends the channel's own hello back, so the channel receives its own messages.
#[apply(isolated)]
fn reflection() {
    let (peer_socket, socket) = sockets(Transport::SeqPacket);
    let child = fork(|| {
        assert_ne!(common::descriptors::poll(peer_socket.as_raw_fd(), LONG), 0);
        let (bytes, fds) = recv_hello(&peer_socket).unwrap();
        assert_eq!(send_piece(&peer_socket, &Piece(bytes, fds.into())), Ok(64));
    });
    let ch = from_fd(&socket, 5000).unwrap();
    child.join();
    for len in [1, 4000, RING as usize - 68, 3] {
        let message = vec![len as u8; len];
        assert_eq!(ch.send(&message, 0), Ok(0));
        let mut buffer = vec![0; len];
        assert_eq!(ch.recv(&mut buffer, 0), Ok(len));
        assert_eq!(buffer, message);
    }
    assert_eq!(ch.recv(&mut [0], 10), Err(ETIMEDOUT));
}

/// The peer receives a message, and then dies or ends its receiving before the sender wakes it.
/// Sending that message succeeds, and sending the next one fails.
#[apply(isolated)]
fn received_and_died() {
    const ASLEEP: u32 = 1;
    const ENDED: u32 = u32::MAX - 1;
    const RECORD: u64 = 16;
    for word in [ASLEEP, ENDED] {
        for (head, expected) in [(2 * RECORD, Ok(0)), (RECORD, Err(EPIPE))] {
            let (channel, peer) = channel();
            assert_eq!(channel.send(b"8 bytes.", 0), Ok(0));
            peer.memory.set32(RECEIVER, word);
            peer.memory.set64(HEAD, head);
            drop(peer);
            assert_eq!(channel.send(b"8 bytes.", 0), expected, "{word:x}");
            assert_eq!(channel.send(b"8 bytes.", 0), Err(EPIPE));
        }
    }
}

/// After a violation of the protocol in one direction, calls in both directions fail.
#[apply(isolated)]
fn violation_ends_both_directions() {
    let (channel, peer) = channel();
    peer.memory.set32(FIRST_LENGTH, u32::MAX);
    assert_eq!(channel.send(b"valid", 0), Ok(0));
    // SAFETY: a channel.
    assert!(!unsafe { ipc_channel_reserve(channel.0, 8, 0) }.is_null());
    assert_eq!(channel.recv(&mut [0; 8], 0), Err(EPROTO));
    // SAFETY: a channel.
    let committed = outcome(|| unsafe { ipc_channel_commit(channel.0, 8) } as isize);
    assert_eq!(committed, Err(EPROTO));
    check_poisoned(&channel);
}

/// Checks that each call fails with EPROTO.
fn check_poisoned(channel: &Channel) {
    for timeout_ms in [0, 10, -1] {
        assert_eq!(channel.send(b"x", timeout_ms), Err(EPROTO));
        assert_eq!(channel.recv(&mut [0; 8], timeout_ms), Err(EPROTO));
        assert_eq!(channel.call(b"x", &mut [0; 8], timeout_ms), Err(EPROTO));
        assert_eq!(channel.next_call(&mut [0; 8], timeout_ms), Err(EPROTO));
        assert_eq!(channel.reply(1, b"x", timeout_ms), Err(EPROTO));
    }
}

/// The peer violates the protocol while the channel waits for the reply to a call.
#[apply(isolated)]
fn violation_during_a_call() {
    for polled in [false, true] {
        let (channel, peer) = channel();
        assert!(!polled || !channel.is_readable());
        let caller = std::process::id();
        let child = fork(|| {
            wait_asleep(caller as pid_t);
            peer.memory.set32(FIRST_LENGTH, u32::MAX);
            assert_eq!(nix::unistd::write(&peer.write_end, &[0]), Ok(1));
        });
        assert_eq!(channel.call(b"x", &mut [0; 8], 5000), Err(EPROTO));
        child.join();
        check_poisoned(&channel);
    }
}

/// The ring never becomes empty: it is full of messages that a call discards. Each call ends, and a
/// call that did not wait leaves the descriptor readable.
#[apply(isolated)]
fn endless_messages_to_discard() {
    for (letters, serves_only) in [(b"uicr\0\0\0\0", false), (b"uicq\0\0\0\0", true)] {
        let (channel, peer) = channel();
        assert!(!channel.is_readable());
        assert_eq!(channel.next_call(&mut [0; 8], 0), Err(EAGAIN));
        fill_with_discarded(&peer, letters);
        for timeout_ms in [0, 20] {
            let expected = Err(if timeout_ms == 0 { EAGAIN } else { ETIMEDOUT });
            let _case = Case(format!("{timeout_ms} ms"));
            assert!(timeout_ms != 0 || !channel.is_readable());
            assert_eq!(channel.next_call(&mut [0; 8], timeout_ms), expected);
            assert!(timeout_ms != 0 || channel.is_readable());
            if !serves_only {
                assert_eq!(channel.call(b"x", &mut [0; 8], timeout_ms), expected);
                assert!(timeout_ms != 0 || channel.is_readable());
            }
        }
    }
}

/// Fills the ring with late replies or expired requests.
fn fill_with_discarded(peer: &Peer, letters: &[u8; 8]) {
    const RECORD: usize = 32;
    const HEADER: u32 = 24;
    const PAST: u64 = 1;
    for at in (CONTROL as usize..(CONTROL + RING) as usize).step_by(RECORD) {
        let len = HEADER + 4;
        peer.memory.set32(at + 4, len);
        peer.memory.set64(at + 8, u64::from_le_bytes(*letters));
        peer.memory.set64(at + 16, 7);
        peer.memory.set64(at + 24, PAST);
    }
}

/// The same with a call that has no time limit: a signal handler ends it, and it notices that the peer
/// has died.
#[apply(isolated)]
fn endless_messages_without_a_time_limit() {
    for (letters, serves_only) in [(b"uicr\0\0\0\0", false), (b"uicq\0\0\0\0", true)] {
        for (timeout_ms, error) in [
            (IPC_WAIT_INTR, EINTR),
            (IPC_WAIT_INTR, EPROTO),
            (-1, EPROTO),
        ] {
            let _case = Case(format!("{timeout_ms} ms, errno {error}"));
            fork(|| {
                let (channel, peer) = channel();
                fill_with_discarded(&peer, letters);
                if error == EINTR {
                    count_signal(libc::SIGALRM, libc::SA_RESTART);
                    storm(20_000);
                } else {
                    drop(peer);
                }
                let called = match serves_only {
                    true => channel.next_call(&mut [0; 8], timeout_ms),
                    false => channel.call(b"x", &mut [0; 8], timeout_ms),
                };
                storm(0);
                assert_eq!(called.err(), Some(error));
            })
            .join();
        }
    }
}

/// The peer writes a head that is beyond the tail.
#[apply(isolated)]
fn head_beyond_tail() {
    for after_send in [false, true] {
        let (channel, peer) = channel();
        if after_send {
            assert_eq!(channel.send(b"x", 0), Ok(0));
        }
        peer.memory.set64(HEAD, 1 << 40);
        let sent = (0..10_000).find_map(|_| channel.send(b"x", 0).err());
        assert_eq!(sent, Some(EPROTO));
        check_poisoned(&channel);
    }
}

/// The peer writes a head between two records: it could be one of the values that mark a state.
#[apply(isolated)]
fn head_inside_a_record() {
    for head in [1, 2, 3, 4, 7] {
        for len in [1, 20, 300, 1000, 5000] {
            let _case = Case(format!("head {head}, messages of {len} bytes"));
            let (channel, peer) = channel();
            assert!(!channel.is_readable());
            let message = vec![0; len];
            assert_eq!(channel.send(&message, 0), Ok(0));
            peer.memory.set64(HEAD, head);
            let sent = (0..10_000).find_map(|_| channel.send(&message, 0).err());
            assert_eq!(sent, Some(EPROTO));
            check_poisoned(&channel);
        }
    }
}

/// If one thread detects a violation, another waiting thread is woken, and its call fails with
/// EPROTO.
#[apply(isolated)]
fn violation_wakes_another_thread() {
    for polled in [false, true] {
        let (channel, peer) = channel();
        peer.memory.set64(HEAD, 1 << 40);
        if polled {
            assert!(!channel.is_readable());
        }
        let at = channel.0.expose_provenance();
        let tid = AtomicI32::new(0);
        std::thread::scope(|scope| {
            let receiver = scope.spawn(|| {
                // SAFETY: no pointers.
                tid.store(unsafe { gettid() }, SeqCst);
                let mut buffer = [0u8; 8];
                let ch = ptr::with_exposed_provenance_mut(at);
                let buffer = buffer.as_mut_ptr().cast();
                // SAFETY: the channel outlives the thread; the buffer has eight bytes.
                outcome(|| unsafe { ipc_channel_recv(ch, buffer, 8, 5000) })
            });
            wait_until("a thread", || tid.load(SeqCst) != 0);
            wait_asleep(tid.load(SeqCst));
            let sent = (0..10_000).find_map(|_| channel.send(b"x", 0).err());
            assert_eq!(sent, Some(EPROTO));
            assert_eq!(receiver.join().unwrap(), Err(EPROTO));
        });
        assert!(!polled || channel.is_readable());
    }
}

/// The peer claims to omit its fences although membarrier(2) was refused, so the handshake did not
/// allow it. The flags do not make the descriptor readable.
#[apply(isolated)]
fn unfenced_without_membarrier() {
    const TAIL_UNFENCED: usize = 8;
    const HEAD_UNFENCED: usize = 136;
    common::filter::refuse(SYS_membarrier, EPERM);
    let (channel, peer) = channel();
    for at in [TAIL_UNFENCED, HEAD_UNFENCED] {
        peer.memory.set32(at, 1);
    }
    assert!(!channel.is_readable());
    while channel.send(&[0; 1000], 0).is_ok() {}
    for _ in 0..3 {
        assert_eq!(channel.recv(&mut [0; 8], 0), Err(EAGAIN));
        assert!(!channel.is_readable(), "spuriously readable");
    }
}
