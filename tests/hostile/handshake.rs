//! What the other side can say at the beginning, and with which descriptors. Each case is told
//! to a channel in three ways; what it answers is compared, and that nothing stays.

use crate::common::process::{
    Case, Outcome, is_asleep, open_numbers, outcome, own, pipe, wait_until, with_room_for,
};
use libc::*;
use std::ffi::CString;
use std::fs;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering::SeqCst};
use unixipc::ffi::channel::*;

const CONTROL: u64 = 65536;
const RING: u64 = 65536;
const F_SEAL_FUTURE_WRITE: c_int = 0x10;
const SEALS: c_int = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_FUTURE_WRITE | F_SEAL_SEAL;

/// How what is said reaches the channel.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Stream,
    SeqPacket,
    Accept,
}
const WAYS: [Way; 3] = [Way::Stream, Way::SeqPacket, Way::Accept];

/// Bytes, and descriptors with them.
struct Piece(Vec<u8>, Vec<OwnedFd>);

struct Channel(*mut unixipc::channel::Channel);

impl Drop for Channel {
    fn drop(&mut self) {
        // SAFETY: a channel, and nobody else's.
        unsafe { ipc_channel_close(self.0) };
    }
}

impl Channel {
    fn recv(&self, room: &mut [u8], timeout_ms: c_int) -> Outcome {
        let (at, cap) = (room.as_mut_ptr().cast(), room.len());
        // SAFETY: the slice, with its length.
        outcome(|| unsafe { ipc_channel_recv(self.0, at, cap, timeout_ms) })
    }

    fn send(&self, bytes: &[u8], timeout_ms: c_int) -> Outcome {
        let (at, len) = (bytes.as_ptr().cast(), bytes.len());
        // SAFETY: the slice, with its length.
        outcome(|| unsafe { ipc_channel_send(self.0, at, len, timeout_ms) } as isize)
    }

    fn is_readable(&self) -> bool {
        // SAFETY: a channel.
        let fd = unsafe { ipc_channel_fd(self.0) };
        assert!(fd >= 0);
        let mut ready = pollfd {
            fd,
            events: POLLIN,
            revents: 0,
        };
        // SAFETY: one pollfd, ours.
        unsafe { poll(&mut ready, 1, 0) == 1 }
    }
}

fn opts() -> ipc_channel_opts {
    // SAFETY: numbers only.
    let mut opts: ipc_channel_opts = unsafe { std::mem::zeroed() };
    opts.send_size = RING;
    opts.recv_size_max = 4 * RING;
    opts
}

fn from_fd(sock: &OwnedFd, timeout_ms: c_int) -> Result<Channel, c_int> {
    let mut ch = ptr::null_mut();
    let (opts, size) = (opts(), size_of::<ipc_channel_opts>());
    let sock = sock.as_raw_fd();
    // SAFETY: the structure with its size, and a place.
    outcome(|| unsafe { ipc_channel_from_fd(sock, &opts, size, timeout_ms, &mut ch) } as isize)
        .map(|_| Channel(ch))
}

fn hello(ring_size: u64) -> Vec<u8> {
    let mut bytes = vec![0; 64];
    bytes[..4].copy_from_slice(b"uich");
    bytes[4] = 1;
    bytes[8..16].copy_from_slice(&ring_size.to_le_bytes());
    bytes
}

fn memory_of(size: u64, seals: c_int) -> OwnedFd {
    memory_with(size, seals, &[])
}

/// The same with bytes at some places.
fn memory_with(size: u64, seals: c_int, words: &[(i64, &[u8])]) -> OwnedFd {
    // SAFETY: a string.
    let fd =
        own(unsafe { memfd_create(c"unixipc-test".as_ptr(), MFD_CLOEXEC | MFD_ALLOW_SEALING) });
    // SAFETY: no pointers.
    assert_eq!(unsafe { ftruncate(fd.as_raw_fd(), size as i64) }, 0);
    for (at, word) in words {
        // SAFETY: a slice with its length.
        let written = unsafe { pwrite(fd.as_raw_fd(), word.as_ptr().cast(), word.len(), *at) };
        assert_eq!(written, word.len() as isize);
    }
    // SAFETY: no pointers.
    assert_eq!(unsafe { fcntl(fd.as_raw_fd(), F_ADD_SEALS, seals) }, 0);
    fd
}

fn memory() -> OwnedFd {
    memory_of(CONTROL + RING, SEALS)
}

/// The end of a pipe that one writes to. The other end is closed at once: that nobody is there
/// the first message says, not the handshake.
fn rope() -> OwnedFd {
    pipe().1.into()
}

fn reopen(fd: &OwnedFd, flags: c_int) -> OwnedFd {
    open(&format!("/proc/self/fd/{}", fd.as_raw_fd()), flags)
}

fn open(path: &str, flags: c_int) -> OwnedFd {
    let path = CString::new(path).unwrap();
    // SAFETY: a string.
    own(unsafe { libc::open(path.as_ptr(), flags | O_CLOEXEC, 0o600) })
}

/// All in one piece, as it should be.
fn whole(bytes: Vec<u8>, memory: OwnedFd, rope: OwnedFd) -> Vec<Piece> {
    vec![Piece(bytes, vec![memory, rope])]
}

fn send_piece(sock: &OwnedFd, Piece(bytes, fds): &Piece) -> Outcome {
    let fds: Vec<c_int> = fds.iter().map(AsRawFd::as_raw_fd).collect();
    let mut part = iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    let mut control = vec![0u64; 200];
    // SAFETY: numbers and pointers only.
    let mut header: msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &mut part;
    header.msg_iovlen = 1;
    if !fds.is_empty() {
        let size = size_of_val(&fds[..]);
        header.msg_control = control.as_mut_ptr().cast();
        // SAFETY: only computes.
        header.msg_controllen = unsafe { CMSG_SPACE(size as u32) } as usize;
        // SAFETY: the control data has room for one header, and is aligned.
        let cmsg = unsafe { &mut *CMSG_FIRSTHDR(&header) };
        cmsg.cmsg_level = SOL_SOCKET;
        cmsg.cmsg_type = SCM_RIGHTS;
        // SAFETY: only computes.
        cmsg.cmsg_len = unsafe { CMSG_LEN(size as u32) } as usize;
        // SAFETY: there is room for them.
        unsafe { ptr::copy_nonoverlapping(fds.as_ptr(), CMSG_DATA(cmsg).cast(), fds.len()) };
    }
    // SAFETY: all that the header names outlives the call.
    outcome(|| unsafe { sendmsg(sock.as_raw_fd(), &header, MSG_NOSIGNAL) })
}

/// A pair of sockets, or what connects to a listener and the listener.
fn sockets(way: Way) -> (OwnedFd, OwnedFd) {
    let mut fds = [-1; 2];
    let kind = match way {
        Way::Stream => SOCK_STREAM,
        Way::SeqPacket | Way::Accept => SOCK_SEQPACKET,
    } | SOCK_CLOEXEC;
    if way != Way::Accept {
        // SAFETY: an array of two.
        assert_eq!(unsafe { socketpair(AF_UNIX, kind, 0, fds.as_mut_ptr()) }, 0);
        return (own(fds[0]), own(fds[1]));
    }
    let path = std::env::temp_dir().join("listener");
    let path = path.to_str().unwrap();
    let name = CString::new(path).unwrap();
    // SAFETY: a string.
    let listener = own(unsafe { ipc_channel_listen(name.as_ptr(), 0o600, 0) });
    // SAFETY: no pointers.
    let sock = own(unsafe { socket(AF_UNIX, kind, 0) });
    // SAFETY: numbers only.
    let mut address: sockaddr_un = unsafe { std::mem::zeroed() };
    address.sun_family = AF_UNIX as u16;
    for (to, from) in address.sun_path.iter_mut().zip(path.bytes()) {
        *to = from as c_char;
    }
    let len = size_of::<sockaddr_un>() as u32;
    // SAFETY: the address with its size.
    let connected = unsafe { connect(sock.as_raw_fd(), (&raw const address).cast(), len) };
    assert_eq!(connected, 0);
    fs::remove_file(path).unwrap();
    (sock, listener)
}

/// How many mappings this process has of memory of the kind that channels use.
fn mappings() -> usize {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    maps.lines().filter(|line| line.contains("/memfd:")).count()
}

/// Says it, and compares what the channel answers: Ok, or an error.
#[track_caller]
fn tell(what: &str, pieces: impl Fn(Way) -> Vec<Piece>, ends: bool, expected: Result<(), c_int>) {
    tell_by(&WAYS, what, pieces, ends, expected);
}

#[track_caller]
fn tell_by(
    ways: &[Way],
    what: &str,
    pieces: impl Fn(Way) -> Vec<Piece>,
    ends: bool,
    expected: Result<(), c_int>,
) {
    for &way in ways {
        let _case = Case(format!("{what}, {way:?}"));
        let before = (open_numbers(), mappings());
        let (mine, theirs) = sockets(way);
        for piece in pieces(way) {
            let sent = send_piece(&mine, &piece);
            assert_eq!(sent, Ok(piece.0.len()));
        }
        if ends {
            // Not closed: what the channel itself says would find nobody.
            // SAFETY: no pointers.
            assert_eq!(unsafe { shutdown(mine.as_raw_fd(), SHUT_WR) }, 0);
        }
        if way == Way::Accept {
            accept(&theirs, expected);
        } else {
            match from_fd(&theirs, 20) {
                Ok(ch) => {
                    assert_eq!(expected, Ok(()));
                    assert_eq!(ch.recv(&mut [0], 0), if ends { Ok(0) } else { Err(EAGAIN) });
                }
                Err(error) => assert_eq!(Err(error), expected),
            }
        }
        drop((mine, theirs));
        assert_eq!((open_numbers(), mappings()), before, "something stayed");
    }
}

/// A channel that was accepted answers at its first operation, and each one after it.
#[track_caller]
fn accept(listener: &OwnedFd, expected: Result<(), c_int>) {
    let mut ch = ptr::null_mut();
    let (opts, size) = (opts(), size_of::<ipc_channel_opts>());
    let fd = listener.as_raw_fd();
    // SAFETY: the structure with its size, and a place.
    let accepted =
        outcome(|| unsafe { ipc_channel_accept(fd, &opts, size, 1000, &mut ch) } as isize);
    assert_eq!(accepted, Ok(0));
    let ch = Channel(ch);
    let fails = !matches!(expected, Ok(()) | Err(ETIMEDOUT));
    if fails {
        assert!(ch.is_readable());
    }
    for _ in 0..2 {
        // One that has never said anything, and is gone: the end of the session.
        let received = match expected {
            Ok(()) => Err(EAGAIN),
            Err(ETIMEDOUT) => Err(EAGAIN),
            Err(EPIPE) => Ok(0),
            Err(error) => Err(error),
        };
        assert_eq!(ch.recv(&mut [0; 8], 0), received);
        if fails {
            assert_eq!(ch.send(b"x", 0), Err(expected.unwrap_err()));
            assert!(ch.is_readable());
        }
    }
    if expected == Err(ETIMEDOUT) {
        assert_eq!(ch.send(b"x", 10), Err(ETIMEDOUT));
        assert_eq!(ch.recv(&mut [0; 8], 10), Err(ETIMEDOUT));
    }
}

/// That these tests speak the protocol: or all of the others would prove nothing.
pub fn well() {
    tell(
        "as it should be",
        |_| whole(hello(RING), memory(), rope()),
        false,
        Ok(()),
    );
    let larger = |_: Way| {
        whole(
            hello(4 * RING),
            memory_of(CONTROL + 4 * RING, SEALS),
            rope(),
        )
    };
    tell("the largest ring", larger, false, Ok(()));
    // Flags that this version does not know.
    tell(
        "flags",
        |_| {
            let mut bytes = hello(RING);
            bytes[6..8].fill(0xff);
            whole(bytes, memory(), rope())
        },
        false,
        Ok(()),
    );
}

pub fn words() {
    let with = |at: usize, value: u8| {
        move |_: Way| {
            let mut bytes = hello(RING);
            bytes[at] = value;
            whole(bytes, memory(), rope())
        }
    };
    for at in 0..4 {
        for value in [0, b'u' ^ 0x20, 0xff] {
            tell("letters", with(at, value), false, Err(EPROTO));
        }
    }
    for (at, value) in [(4, 0), (4, 2), (4, 0xff), (5, 1), (5, 0xff)] {
        tell("version", with(at, value), false, Err(ESTALE));
    }
    for at in 16..64 {
        tell("reserved", with(at, 1), false, Err(EPROTO));
    }
    let nonsense = |_: Way| whole(vec![0xff; 64], memory(), rope());
    tell("nonsense", nonsense, false, Err(EPROTO));
}

pub fn sizes() {
    let refused = [0, 1, 7, 4096, RING / 2, RING - 1, RING + 1, 3 * RING]
        .into_iter()
        .chain((41..64).map(|bit| 1 << bit))
        .chain([u64::MAX, u64::MAX - 4095, u64::MAX / 2]);
    for size in refused {
        // With memory of that very size, where there can be such.
        let real = CONTROL.saturating_add(size).min(1 << 40);
        let pieces = |_: Way| whole(hello(size), memory_of(real, SEALS), rope());
        tell(&format!("ring of {size}"), pieces, false, Err(EPROTO));
    }
    // Right, but larger than this side wants.
    for size in [8 * RING, 1 << 30, 1 << 40] {
        let pieces = |_: Way| whole(hello(size), memory_of(CONTROL + size, SEALS), rope());
        tell(&format!("ring of {size}"), pieces, false, Err(EPROTO));
    }
    // Memory of another size than it is said to have.
    for size in [
        0,
        1,
        CONTROL,
        RING,
        CONTROL + RING - 1,
        CONTROL + RING + 1,
        CONTROL + 2 * RING,
    ] {
        let pieces = |_: Way| whole(hello(RING), memory_of(size, SEALS), rope());
        tell(&format!("memory of {size}"), pieces, false, Err(EPROTO));
    }
}

/// A file on a disk, of the right size.
fn on_disk(folder: &str) -> OwnedFd {
    let file = open(folder, O_TMPFILE | O_RDWR);
    // SAFETY: no pointers.
    assert_eq!(
        unsafe { ftruncate(file.as_raw_fd(), (CONTROL + RING) as i64) },
        0
    );
    file
}

fn socket_end() -> OwnedFd {
    sockets(Way::Stream).0
}

fn event() -> OwnedFd {
    // SAFETY: no pointers.
    own(unsafe { eventfd(0, EFD_CLOEXEC) })
}

fn huge() -> OwnedFd {
    let flags = MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_HUGETLB;
    // SAFETY: a string.
    let fd = own(unsafe { memfd_create(c"unixipc-test".as_ptr(), flags) });
    // SAFETY: no pointers.
    assert_eq!(unsafe { ftruncate(fd.as_raw_fd(), 2 << 20) }, 0);
    // SAFETY: no pointers.
    assert_eq!(unsafe { fcntl(fd.as_raw_fd(), F_ADD_SEALS, SEALS) }, 0);
    fd
}

pub fn memories() {
    // Each seal but one, or none.
    let all = [F_SEAL_SHRINK, F_SEAL_GROW, F_SEAL_FUTURE_WRITE, F_SEAL_SEAL];
    for missing in all {
        let pieces = |_: Way| {
            whole(
                hello(RING),
                memory_of(CONTROL + RING, SEALS & !missing),
                rope(),
            )
        };
        tell(
            &format!("without seal {missing:#x}"),
            pieces,
            false,
            Err(EPROTO),
        );
    }
    for seals in [0, F_SEAL_SHRINK, F_SEAL_SHRINK | F_SEAL_WRITE | F_SEAL_SEAL] {
        let pieces = |_: Way| whole(hello(RING), memory_of(CONTROL + RING, seals), rope());
        tell(&format!("seals {seals:#x}"), pieces, false, Err(EPROTO));
    }
    let disk = std::env::temp_dir();
    let disk = disk.to_str().unwrap();
    type Make<'a> = &'a dyn Fn() -> OwnedFd;
    let others: [(&str, Make); 12] = [
        ("file", &|| on_disk(disk)),
        ("tmpfs", &|| on_disk("/dev/shm")),
        ("hugetlb", &huge),
        ("folder", &|| open("/", O_RDONLY)),
        ("zero", &|| open("/dev/zero", O_RDWR)),
        ("proc", &|| open("/proc/self/stat", O_RDONLY)),
        ("pipe", &rope),
        ("socket", &socket_end),
        ("event", &event),
        ("epoll", &|| own(unsafe { epoll_create1(EPOLL_CLOEXEC) })),
        // The right memory, by descriptors that cannot be mapped for reading.
        ("path", &|| reopen(&memory(), O_PATH)),
        ("write-only", &|| reopen(&memory(), O_WRONLY)),
    ];
    for (what, make) in others {
        tell(
            what,
            |_| whole(hello(RING), make(), rope()),
            false,
            Err(EPROTO),
        );
    }
    tell(
        "the same by a descriptor for reading",
        |_| whole(hello(RING), reopen(&memory(), O_RDONLY), rope()),
        false,
        Ok(()),
    );
}

pub fn pipes() {
    let disk = std::env::temp_dir();
    let disk = disk.to_str().unwrap();
    type Make<'a> = &'a dyn Fn() -> OwnedFd;
    let others: [(&str, Make); 8] = [
        ("end to read from", &|| pipe().0.into()),
        ("file", &|| on_disk(disk)),
        ("memory", &memory),
        ("socket", &socket_end),
        ("event", &event),
        ("null", &|| open("/dev/null", O_WRONLY)),
        ("folder", &|| open("/", O_RDONLY)),
        ("path", &|| reopen(&rope_with_reader().1, O_PATH)),
    ];
    for (what, make) in others {
        tell(
            what,
            |_| whole(hello(RING), memory(), make()),
            false,
            Err(EPROTO),
        );
    }
    tell(
        "swapped",
        |_| whole(hello(RING), rope(), memory()),
        false,
        Err(EPROTO),
    );
}

fn rope_with_reader() -> (OwnedFd, OwnedFd) {
    let (read, write) = pipe();
    (read.into(), write.into())
}

pub fn counts_of_descriptors() {
    for count in [0, 1, 3, 4, 16, 252, 253] {
        let pieces = |_: Way| {
            let fds = (0..count).map(|i| if i == 0 { memory() } else { rope() });
            vec![Piece(hello(RING), fds.collect())]
        };
        tell(&format!("{count} descriptors"), pieces, false, Err(EPROTO));
    }
}

pub fn pieces() {
    for first in 1..64 {
        let cut = |_: Way| {
            let mut bytes = hello(RING);
            let rest = bytes.split_off(first);
            vec![
                Piece(bytes, vec![memory(), rope()]),
                Piece(rest, Vec::new()),
            ]
        };
        tell(&format!("cut at {first}"), cut, false, Ok(()));
    }
    let bytewise = |_: Way| {
        let mut fds = vec![memory(), rope()];
        let piece = |byte| Piece(vec![byte], std::mem::take(&mut fds));
        hello(RING).into_iter().map(piece).collect()
    };
    tell("byte by byte", bytewise, false, Ok(()));
    let late = |_: Way| {
        vec![
            Piece(hello(RING)[..8].to_vec(), Vec::new()),
            Piece(hello(RING)[8..].to_vec(), vec![memory(), rope()]),
        ]
    };
    // A stream joins bytes without descriptors and those behind them: there it is all the same.
    let what = "descriptors with the second piece";
    tell_by(&[Way::Stream], what, late, false, Ok(()));
    tell_by(
        &[Way::SeqPacket, Way::Accept],
        what,
        late,
        false,
        Err(EPROTO),
    );
    let apart = |_: Way| {
        vec![
            Piece(hello(RING)[..8].to_vec(), vec![memory()]),
            Piece(hello(RING)[8..].to_vec(), vec![rope()]),
        ]
    };
    tell("one each", apart, false, Err(EPROTO));
    let twice = |_: Way| {
        vec![
            Piece(hello(RING)[..8].to_vec(), vec![memory(), rope()]),
            Piece(hello(RING)[8..].to_vec(), vec![memory(), rope()]),
        ]
    };
    tell("both twice", twice, false, Err(EPROTO));
    // More than belongs to it: the kernel keeps the borders, or it is somebody else's business.
    for more in [1, 64, 5000] {
        let longer = || {
            let mut bytes = hello(RING);
            bytes.resize(64 + more, 0x77);
            Piece(bytes, vec![memory(), rope()])
        };
        let _case = Case(more);
        let (mine, theirs) = sockets(Way::Stream);
        assert_eq!(send_piece(&mine, &longer()), Ok(64 + more));
        drop(from_fd(&theirs, 0).unwrap());
        let mut rest = vec![0; more + 1];
        // SAFETY: the slice, with its length.
        let read = unsafe { read(theirs.as_raw_fd(), rest.as_mut_ptr().cast(), rest.len()) };
        assert_eq!(read, more as isize, "what is behind stays");
        drop((mine, theirs));
        let (mine, theirs) = sockets(Way::SeqPacket);
        assert_eq!(send_piece(&mine, &longer()), Ok(64 + more));
        assert_eq!(from_fd(&theirs, 0).err(), Some(EPROTO));
    }
    // Empty messages with descriptors.
    let (mine, theirs) = sockets(Way::SeqPacket);
    assert_eq!(
        send_piece(&mine, &Piece(Vec::new(), vec![memory(), rope()])),
        Ok(0)
    );
    assert_eq!(from_fd(&theirs, 0).err(), Some(EPIPE));
}

pub fn ends() {
    tell("nothing", |_| Vec::new(), false, Err(ETIMEDOUT));
    tell("gone", |_| Vec::new(), true, Err(EPIPE));
    for len in [1, 4, 16, 63] {
        let part = |_: Way| vec![Piece(hello(RING)[..len].to_vec(), vec![memory(), rope()])];
        tell(&format!("{len} bytes"), part, false, Err(ETIMEDOUT));
        tell(
            &format!("{len} bytes, and the end"),
            part,
            true,
            Err(EPROTO),
        );
        let bare = |_: Way| vec![Piece(hello(RING)[..len].to_vec(), Vec::new())];
        tell(
            &format!("{len} bare bytes, and the end"),
            bare,
            true,
            Err(EPROTO),
        );
    }
}

/// A victim that has no room for the descriptors.
pub fn few_descriptors() {
    let mut refused = 0;
    for room in 0.. {
        let before = (open_numbers(), mappings());
        let (mine, theirs) = sockets(Way::Stream);
        let piece = Piece(hello(RING), vec![memory(), rope()]);
        assert_eq!(send_piece(&mine, &piece), Ok(64));
        drop(piece);
        let result = with_room_for(room, || from_fd(&theirs, 0));
        let done = match result {
            Ok(_) => true,
            Err(error) => {
                assert_eq!(error, EMFILE);
                false
            }
        };
        drop(result);
        drop((mine, theirs));
        assert_eq!((open_numbers(), mappings()), before);
        if done {
            break;
        }
        refused += 1;
    }
    assert!(refused >= 4, "{refused}");
}

/// The other side gives back what it was given: the victim talks to itself, and no harm is done.
pub fn reflection() {
    let (mine, theirs) = sockets(Way::SeqPacket);
    // SAFETY: no pointers.
    assert_eq!(unsafe { fcntl(theirs.as_raw_fd(), F_SETFL, O_NONBLOCK) }, 0);
    let child = crate::common::process::fork(|| {
        let mut bytes = [0u8; 64];
        let mut part = iovec {
            iov_base: bytes.as_mut_ptr().cast(),
            iov_len: 64,
        };
        let mut control = [0u64; 8];
        // SAFETY: numbers and pointers only.
        let mut header: msghdr = unsafe { std::mem::zeroed() };
        header.msg_iov = &mut part;
        header.msg_iovlen = 1;
        header.msg_control = control.as_mut_ptr().cast();
        header.msg_controllen = size_of_val(&control);
        // SAFETY: all that the header names outlives the call.
        assert_eq!(unsafe { recvmsg(mine.as_raw_fd(), &mut header, 0) }, 64);
        header.msg_flags = 0;
        // SAFETY: as above; the control data goes back as it came.
        assert_eq!(unsafe { sendmsg(mine.as_raw_fd(), &header, 0) }, 64);
    });
    let ch = from_fd(&theirs, 5000).unwrap();
    child.join();
    for len in [1, 4000, RING as usize - 12, 3] {
        let message = vec![len as u8; len];
        assert_eq!(ch.send(&message, 0), Ok(0));
        let mut room = vec![0; len];
        assert_eq!(ch.recv(&mut room, 0), Ok(len));
        assert_eq!(room, message);
    }
    assert_eq!(ch.recv(&mut [0], 10), Err(ETIMEDOUT));
}

/// A channel to a peer whose memory has bytes at some places, and which is there as long as its
/// socket, where it has left what it was told.
fn channel_with(words: &[(i64, &[u8])], rope: OwnedFd) -> (Channel, OwnedFd) {
    let (mine, theirs) = sockets(Way::Stream);
    let memory = memory_with(CONTROL + RING, SEALS, words);
    for piece in whole(hello(RING), memory, rope) {
        assert_eq!(send_piece(&mine, &piece), Ok(64));
    }
    (from_fd(&theirs, 0).unwrap(), mine)
}

/// A peer that has received a message, and was gone or ended before it could be woken for it: the
/// message has been sent, and the next one cannot be.
pub fn received_and_gone() {
    const HEAD: i64 = 128;
    const RECEIVER: i64 = 256;
    let asleep = 1u32.to_le_bytes();
    let ended = (u32::MAX - 1).to_le_bytes();
    for word in [asleep, ended] {
        // What a message of eight bytes takes, and what was sent before.
        for (head, expected) in [(16u64, Ok(0)), (0, Err(EPIPE))] {
            let head = head.to_le_bytes();
            let words: [(i64, &[u8]); 2] = [(HEAD, &head), (RECEIVER, &word)];
            let (channel, _peer) = channel_with(&words, rope());
            assert_eq!(channel.send(b"8 bytes.", 0), expected, "{word:?}");
            assert_eq!(channel.send(b"8 bytes.", 0), Err(EPIPE));
        }
    }
}

/// What breaks the rules in one direction ends both.
pub fn broken_for_both_directions() {
    const HEAD: i64 = 128;
    const FIRST_LENGTH: i64 = CONTROL as i64 + 4;
    let (_reader, rope) = rope_with_reader();
    let (channel, _peer) = channel_with(&[(FIRST_LENGTH, &[0xff; 4])], rope);
    assert_eq!(channel.send(b"well so far", 0), Ok(0));
    // SAFETY: a channel.
    assert!(!unsafe { ipc_channel_reserve(channel.0, 8, 0) }.is_null());
    assert_eq!(channel.recv(&mut [0; 8], 0), Err(EPROTO));
    // SAFETY: a channel.
    let committed = outcome(|| unsafe { ipc_channel_commit(channel.0, 8) } as isize);
    assert_eq!(committed, Err(EPROTO));
    for timeout_ms in [0, 10, -1] {
        assert_eq!(channel.send(b"x", timeout_ms), Err(EPROTO));
        assert_eq!(channel.recv(&mut [0; 8], timeout_ms), Err(EPROTO));
    }
    // More read than was sent.
    let (_reader, rope) = rope_with_reader();
    let (channel, _peer) = channel_with(&[(HEAD, &(1u64 << 40).to_le_bytes())], rope);
    let sent = (0..10_000).find_map(|_| channel.send(b"x", 0).err());
    assert_eq!(sent, Some(EPROTO));
    for timeout_ms in [0, 10, -1] {
        assert_eq!(channel.recv(&mut [0; 8], timeout_ms), Err(EPROTO));
        assert_eq!(channel.send(b"x", timeout_ms), Err(EPROTO));
    }
}

/// Another thread waits meanwhile: it learns of it at once, and does not take it for an end.
pub fn broken_while_another_waits() {
    const HEAD: i64 = 128;
    for polled in [false, true] {
        let (_reader, rope) = rope_with_reader();
        let (channel, _peer) = channel_with(&[(HEAD, &(1u64 << 40).to_le_bytes())], rope);
        if polled {
            assert!(!channel.is_readable());
        }
        let at = channel.0.expose_provenance();
        let tid = AtomicI32::new(0);
        std::thread::scope(|scope| {
            let receiver = scope.spawn(|| {
                // SAFETY: no pointers.
                tid.store(unsafe { gettid() }, SeqCst);
                let mut room = [0u8; 8];
                let ch = ptr::with_exposed_provenance_mut(at);
                let room = room.as_mut_ptr().cast();
                // SAFETY: the channel, which outlives the thread, and room for eight bytes.
                outcome(|| unsafe { ipc_channel_recv(ch, room, 8, 5000) })
            });
            wait_until("a thread", || tid.load(SeqCst) != 0);
            wait_until("a thread asleep", || is_asleep(tid.load(SeqCst)));
            let sent = (0..10_000).find_map(|_| channel.send(b"x", 0).err());
            assert_eq!(sent, Some(EPROTO));
            assert_eq!(receiver.join().unwrap(), Err(EPROTO));
        });
        assert!(!polled || channel.is_readable());
    }
}

/// A peer that says it publishes without fences, which it has not said it can, where the system
/// gives no barriers: who polls is not kept busy by it.
pub fn unfenced_unasked() {
    const TAIL_UNFENCED: i64 = 8;
    const HEAD_UNFENCED: i64 = 136;
    crate::common::filter::refuse(SYS_membarrier, EPERM);
    let (_reader, rope) = rope_with_reader();
    let one = 1u32.to_le_bytes();
    let (channel, _peer) = channel_with(&[(TAIL_UNFENCED, &one), (HEAD_UNFENCED, &one)], rope);
    assert!(!channel.is_readable());
    while channel.send(&[0; 1000], 0).is_ok() {}
    for _ in 0..3 {
        assert_eq!(channel.recv(&mut [0; 8], 0), Err(EAGAIN));
        assert!(!channel.is_readable(), "woken for nothing");
    }
}
