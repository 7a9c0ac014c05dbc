//! Peers that violate the protocol of messages with descriptors.

use crate::peer::*;
use crate::support::*;
use common::descriptors::pipe;
use libc::*;
use std::fs::File;
use std::os::fd::{AsRawFd, OwnedFd};
use unixipc::ffi::channel::IPC_CHANNEL_F_FDS;

const MARK: u32 = 1 << 31;
/// The flag of the hello.
const ASKS: u8 = 2;
const RECORDS: usize = CONTROL as usize + 4;
/// The longest marked message that fits into a ring.
const LONGEST: u32 = RING as u32 - 80;
/// The number of messages with another token that a receiver skips.
const STALE_MAX: usize = 16;
const TYPES: [Transport; 2] = [Transport::Stream, Transport::SeqPacket];

/// A hostile peer whose channel accepts descriptors.
struct Hostile {
    channel: Channel,
    peer: Peer,
    socket: OwnedFd,
    /// The offset of the next record.
    next: usize,
}

impl Hostile {
    fn new(transport: Transport) -> Self {
        let (channel, peer, socket) = channel_with(transport, IPC_CHANNEL_F_FDS, ASKS);
        Self {
            channel,
            peer,
            socket,
            next: RECORDS,
        }
    }

    /// Publishes a message of `len` bytes, up to 8, with a token.
    fn publish(&mut self, len: u32, token: u64) {
        assert!((1..=8).contains(&len));
        self.set_token(self.next, token);
        self.peer.memory.set32(self.next + 24, 0);
        self.peer.memory.set32(self.next, MARK | len);
        self.next += 24;
    }

    /// Writes the token of the record at this offset, whose message has up to 8 bytes.
    fn set_token(&self, record: usize, token: u64) {
        self.peer.memory.set64(record + 4 + 8, token);
    }

    /// Sends over the socket.
    fn send(&self, bytes: Vec<u8>, fds: Vec<OwnedFd>) {
        let len = bytes.len();
        assert_eq!(send_piece(&self.socket, &Piece(bytes, fds)), Ok(len));
    }

    /// Sends this number of descriptors with a token and a count.
    fn send_token(&self, token: u64, count: u64, fds: usize) {
        let fds = (0..fds).map(|_| read_end()).collect();
        self.send(encode(token, count), fds);
    }

    /// Checks that all calls fail with EPROTO from now on, and that no descriptor is left.
    #[track_caller]
    fn check_poisoned(self, before: &[c_int]) {
        for timeout_ms in [0, 10, -1] {
            assert_eq!(self.channel.recv_fds(3, timeout_ms).unwrap_err(), EPROTO);
            assert_eq!(self.channel.recv(&mut [0; 256], timeout_ms), Err(EPROTO));
            assert_eq!(self.channel.send(b"x", timeout_ms), Err(EPROTO));
        }
        drop(self);
        close_write_ends();
        assert_eq!(open_numbers(), before, "a descriptor is left");
    }
}

fn encode(token: u64, count: u64) -> Vec<u8> {
    [token.to_le_bytes(), count.to_le_bytes()].concat()
}

/// Without the flag on both sides a mark is an impossible length.
#[apply(isolated)]
fn mark_without_flag() {
    for (flags, asks) in [(0, 0), (IPC_CHANNEL_F_FDS, 0), (0, ASKS)] {
        let before = open_numbers();
        for len in [0, 1, 8, LONGEST, u32::MAX >> 1] {
            let (channel, peer, socket) = channel_with(Transport::SeqPacket, flags, asks);
            send_piece(&socket, &Piece(encode(0, 1), vec![read_end()])).unwrap_or_default();
            peer.memory.set32(RECORDS, MARK | len);
            assert_eq!(channel.recv_fds(1, 0).unwrap_err(), EPROTO, "{len}");
            assert_eq!(channel.peek(0), Err(EPROTO));
            assert_eq!(channel.send(b"x", 0), Err(EPROTO));
        }
        close_write_ends();
        assert_eq!(open_numbers(), before);
    }
}

/// A marked length that no message can have.
#[apply(isolated)]
fn impossible_lengths() {
    let before = open_numbers();
    for len in [
        0,
        LONGEST + 1,
        LONGEST + 8,
        LONGEST + 12,
        RING as u32 - 68,
        RING as u32,
        MARK - 1,
    ] {
        let hostile = Hostile::new(Transport::SeqPacket);
        hostile.send_token(0, 1, 1);
        hostile.peer.memory.set32(RECORDS, MARK | len);
        assert_eq!(hostile.channel.peek(0), Err(EPROTO), "{len}");
        hostile.check_poisoned(&before);
    }
    // The longest one: its token is read within the ring.
    let hostile = Hostile::new(Transport::SeqPacket);
    let token = RECORDS + 4 + LONGEST as usize;
    hostile.peer.memory.set64(token, 77);
    hostile.send_token(77, 1, 1);
    hostile.peer.memory.set32(RECORDS, MARK | LONGEST);
    assert_eq!(hostile.channel.peek(0), Ok(LONGEST as usize));
    let mut buffer = vec![0; LONGEST as usize];
    assert_eq!(hostile.channel.recv(&mut buffer, 0), Ok(buffer.len()));
    assert_eq!(hostile.channel.recv(&mut buffer, 0), Err(EAGAIN));
    close_write_ends();
}

/// A marked message whose descriptors were not sent.
#[apply(isolated)]
fn no_descriptors() {
    for transport in TYPES {
        for ways in 0..4 {
            let before = open_numbers();
            let mut hostile = Hostile::new(transport);
            hostile.publish(8, 5);
            let channel = &hostile.channel;
            match ways {
                0 => assert_eq!(channel.recv_fds(1, -1).unwrap_err(), EPROTO),
                1 => assert_eq!(channel.recv_fds(0, -1).unwrap_err(), EPROTO),
                2 => assert_eq!(channel.recv(&mut [0; 8], -1), Err(EPROTO)),
                _ => {
                    assert_eq!(channel.peek(-1), Ok(8));
                    assert_eq!(channel.release(), Err(EPROTO));
                }
            }
            // They are too late now.
            hostile.send_token(5, 1, 1);
            hostile.check_poisoned(&before);
        }
    }
}

/// The count of a message on the socket differs from the number of its descriptors.
#[apply(isolated)]
fn wrong_count() {
    for transport in TYPES {
        for (count, fds) in [
            (0, 0),
            (1, 0),
            (0, 1),
            (2, 1),
            (1, 2),
            (u64::MAX, 3),
            (254, 253),
        ] {
            let before = open_numbers();
            let mut hostile = Hostile::new(transport);
            hostile.send_token(5, count, fds);
            hostile.publish(8, 5);
            let error = hostile.channel.recv_fds(300, -1).unwrap_err();
            assert_eq!(error, EPROTO, "{count} {fds}");
            hostile.check_poisoned(&before);
        }
    }
}

/// Something else is in the queue of the socket.
#[apply(isolated)]
fn other_data() {
    for transport in TYPES {
        for len in [1, 8, 15, 17, 64, 5000] {
            if transport == Transport::Stream && len > 15 {
                continue; // a stream has no boundaries: the first 16 bytes are a message
            }
            for fds in [0, 1] {
                let before = open_numbers();
                let mut hostile = Hostile::new(transport);
                let fds = (0..fds).map(|_| read_end()).collect();
                hostile.send(vec![0; len], fds);
                hostile.send_token(0, 1, 1);
                hostile.publish(8, 0);
                let received = hostile.channel.recv_fds(1, -1);
                // A stream may join the bytes with those of the next message.
                assert_eq!(received.unwrap_err(), EPROTO, "{transport:?} {len}");
                hostile.check_poisoned(&before);
            }
        }
    }
    // An empty packet.
    let before = open_numbers();
    let mut hostile = Hostile::new(Transport::SeqPacket);
    hostile.send(Vec::new(), vec![read_end()]);
    hostile.publish(8, 0);
    assert_eq!(hostile.channel.recv_fds(1, -1).unwrap_err(), EPROTO);
    hostile.check_poisoned(&before);
}

/// Messages with other tokens, as killed senders leave them, are skipped and their descriptors
/// closed, but not an unlimited number.
#[apply(isolated)]
fn stale_messages() {
    for transport in TYPES {
        for stale in [1, STALE_MAX, STALE_MAX + 1, 100] {
            let before = open_numbers();
            let mut hostile = Hostile::new(transport);
            let (read, write) = pipe();
            let write = OwnedFd::from(write);
            for _ in 0..stale {
                hostile.send(encode(4, 1), vec![write.try_clone().unwrap()]);
            }
            drop(write);
            hostile.send_token(5, 2, 2);
            hostile.publish(8, 5);
            if stale <= STALE_MAX {
                // A lack of descriptors does not keep the stale ones.
                let none = with_room_for(0, || hostile.channel.recv_fds(2, -1));
                assert_eq!(none.unwrap_err(), EMFILE);
                assert!(is_closed(&read));
                let (len, fds) = hostile.channel.recv_fds(2, -1).unwrap();
                assert_eq!((len, fds.len()), (8, 2));
                close_write_ends();
                continue;
            }
            let received = hostile.channel.recv_fds(2, -1);
            assert_eq!(received.unwrap_err(), EPROTO, "{stale}");
            drop(read);
            hostile.check_poisoned(&before);
        }
    }
}

/// Two messages with the same token, but descriptors for one only.
#[apply(isolated)]
fn repeated_token() {
    for skips in [false, true] {
        let before = open_numbers();
        let mut hostile = Hostile::new(Transport::SeqPacket);
        hostile.send_token(5, 1, 1);
        hostile.publish(8, 5);
        hostile.publish(8, 5);
        if skips {
            hostile.send_token(6, 1, 1);
        }
        assert_eq!(hostile.channel.recv_fds(1, -1).unwrap().1.len(), 1);
        assert_eq!(hostile.channel.recv_fds(1, -1).unwrap_err(), EPROTO);
        hostile.check_poisoned(&before);
    }
}

/// The token is read once, also if a call fails or peeks first.
#[apply(isolated)]
fn changing_token() {
    let first_calls: [fn(&Channel); 2] = [
        |channel| assert_eq!(channel.peek(0), Ok(8)),
        |channel| assert_eq!(channel.recv(&mut [0; 7], 0), Err(EMSGSIZE)),
    ];
    for first_call in first_calls {
        let before = open_numbers();
        let mut hostile = Hostile::new(Transport::SeqPacket);
        hostile.publish(8, 5);
        first_call(&hostile.channel);
        hostile.set_token(RECORDS, 6);
        hostile.send_token(5, 1, 1);
        assert_eq!(hostile.channel.recv_fds(1, 0).unwrap().1.len(), 1);
        // The next message is not affected.
        hostile.send_token(7, 1, 1);
        hostile.publish(3, 7);
        assert_eq!(hostile.channel.recv_fds(1, 0).unwrap().0, 3);

        hostile.publish(8, 8);
        first_call(&hostile.channel);
        hostile.set_token(hostile.next - 24, 9);
        hostile.send_token(9, 1, 1);
        assert_eq!(hostile.channel.recv_fds(1, 0).unwrap_err(), EPROTO);
        hostile.check_poisoned(&before);
    }
}

/// Descriptors without a message do not disturb messages without descriptors. They are closed with
/// the channel.
#[apply(isolated)]
fn descriptors_without_mark() {
    for transport in TYPES {
        let hostile = Hostile::new(transport);
        let (read, write) = pipe();
        let write = OwnedFd::from(write);
        let piece = Piece(encode(1, 1), vec![write]);
        // SAFETY: no pointers.
        assert_eq!(
            unsafe { fcntl(hostile.socket.as_raw_fd(), F_SETFL, O_NONBLOCK) },
            0
        );
        let flood = (0..).find_map(|_| send_piece(&hostile.socket, &piece).err());
        assert_eq!(flood, Some(EAGAIN));
        drop(piece);
        assert!(!hostile.channel.is_readable(), "the socket is not polled");
        hostile.peer.memory.set32(RECORDS, 8);
        assert_eq!(hostile.channel.recv_fds(1, -1).unwrap().0, 8);
        assert_eq!(hostile.channel.recv(&mut [0], 0), Err(EAGAIN));
        let fd = read_end();
        assert_eq!(hostile.channel.send_fds(b"x", &fd, 0), Ok(0));
        assert!(!is_closed(&read));
        drop(hostile.channel);
        assert!(is_closed(&read));
        close_write_ends();
    }
}

/// The peer closes its socket, but keeps its memory and its pipe.
#[apply(isolated)]
fn closed_socket() {
    for transport in TYPES {
        let before = open_numbers();
        let mut hostile = Hostile::new(transport);
        hostile.send_token(5, 1, 1);
        hostile.publish(8, 5);
        hostile.publish(8, 6);
        let fd = read_end();
        assert_eq!(hostile.channel.send_fds(b"x", &fd, -1), Ok(0));
        let (other, _) = sockets(transport);
        drop(std::mem::replace(&mut hostile.socket, other));
        assert_eq!(hostile.channel.send_fds(b"x", &fd, -1), Err(EPIPE));
        assert_eq!(hostile.channel.send(b"x", 0), Ok(0));
        assert_eq!(hostile.channel.recv_fds(1, -1).unwrap().1.len(), 1);
        assert_eq!(hostile.channel.recv_fds(1, -1).unwrap_err(), EPROTO);
        drop(fd);
        hostile.check_poisoned(&before);
    }
}

/// The peer never receives from the socket: no call outlasts its time-out.
#[apply(isolated)]
fn unread_socket() {
    let hostile = Hostile::new(Transport::SeqPacket);
    let fd = read_end();
    let full = (0..10_000).find_map(|_| hostile.channel.send_fds(b"x", &fd, 0).err());
    assert_eq!(full, Some(EAGAIN));
    for timeout_ms in [1, 20] {
        let sent = hostile.channel.send_fds(b"x", &fd, timeout_ms);
        assert_eq!(sent, Err(ETIMEDOUT));
    }
    assert_eq!(hostile.channel.send(b"x", 0), Ok(0));
    // A head that moves although nothing was received from the socket.
    hostile.peer.memory.set64(128, 24);
    assert_eq!(hostile.channel.send_fds(b"x", &fd, 20), Err(ETIMEDOUT));
    drop(hostile.peer);
    assert_eq!(hostile.channel.send_fds(b"x", &fd, -1), Err(EPIPE));
    close_write_ends();
}

/// Whether all write ends of a pipe are closed.
fn is_closed(read: &File) -> bool {
    common::descriptors::poll(read.as_raw_fd(), 0) & POLLHUP != 0
}
