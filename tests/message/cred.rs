//! ipc_peer_cred.

use crate::support::*;
use common::user::{NOBODY, become_nobody};
use libc::c_int;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::{env, fs, process};
use unixipc::ffi::pair::ipc_peer_cred;

/// The structure as bytes, followed by spare bytes.
type Bytes = [u8; 40];
const UNTOUCHED: Bytes = [0xaa; 40];

fn peer_cred(fd: c_int, size: usize) -> (Outcome, Bytes) {
    let mut bytes = UNTOUCHED;
    assert!(size <= bytes.len());
    // SAFETY: the size is at most the array's; the call writes the structure as bytes.
    let got = outcome(|| unsafe { ipc_peer_cred(fd, bytes.as_mut_ptr().cast(), size) } as isize);
    (got, bytes)
}

fn whole(fd: &OwnedFd) -> [u32; 3] {
    let (got, bytes) = peer_cred(fd.as_raw_fd(), 12);
    assert_eq!(got, Ok(0));
    assert_eq!(bytes[12..], UNTOUCHED[12..]);
    [0, 4, 8].map(|at| u32::from_ne_bytes(bytes[at..at + 4].try_into().unwrap()))
}

fn me() -> [u32; 3] {
    // SAFETY: no arguments; they cannot fail.
    let (uid, gid) = unsafe { (libc::geteuid(), libc::getegid()) };
    [process::id(), uid, gid]
}

#[apply(isolated)]
fn of_pairs() {
    for socket_type in TYPES {
        let (a, b) = pair(socket_type);
        assert_eq!(whole(&a), me());
        assert_eq!(whole(&b), me());
        // The creator of the pair, also for a child that uses it, and after the peer has closed.
        let parent = me();
        fork(|| {
            assert_ne!(me(), parent);
            assert_eq!(whole(&a), parent);
        })
        .join();
        drop(b);
        assert_eq!(whole(&a), parent);
    }
}

#[apply(isolated)]
fn sizes() {
    let (a, _b) = pair(libc::SOCK_STREAM);
    let expected = me().map(u32::to_ne_bytes).concat();
    for size in 0..12 {
        let refused = (Err(libc::EINVAL), UNTOUCHED);
        assert_eq!(peer_cred(a.as_raw_fd(), size), refused, "{size}");
    }
    for size in 12..=40 {
        let (got, bytes) = peer_cred(a.as_raw_fd(), size);
        assert_eq!(got, Ok(0));
        assert_eq!(bytes[..12], expected[..]);
        assert!(bytes[12..size].iter().all(|byte| *byte == 0), "{size}");
        assert_eq!(bytes[size..], UNTOUCHED[size..]);
    }
}

#[apply(isolated)]
fn errors() {
    let (a, _b) = pair(libc::SOCK_STREAM);
    let refused = |fd, size, errno| {
        assert_eq!(peer_cred(fd, size), (Err(errno), UNTOUCHED));
    };
    refused(a.as_raw_fd(), 0, libc::EINVAL);
    for size in [0, 12] {
        let (fd, none) = (a.as_raw_fd(), std::ptr::null_mut());
        // SAFETY: NULL is refused.
        let got = outcome(|| unsafe { ipc_peer_cred(fd, none, size) } as isize);
        assert_eq!(got, Err(libc::EINVAL));
    }
    for fd in [-1, -2, i32::MIN, 1000, i32::MAX] {
        refused(fd, 12, libc::EBADF);
    }
    refused(0, 12, libc::ENOTSOCK);
    for socket_type in TYPES {
        // SAFETY: no pointers.
        let alone = own(unsafe { libc::socket(libc::AF_UNIX, socket_type, 0) });
        refused(alone.as_raw_fd(), 12, libc::ENOTCONN);
    }
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    refused(there.as_raw_fd(), 12, libc::ENOTCONN);
    refused(listener.accept().unwrap().0.as_raw_fd(), 12, libc::ENOTCONN);
}

/// On a connected socket: the process that connected, and the process that called listen(2).
#[apply(isolated)]
fn of_connected_sockets() {
    let path = env::temp_dir().join("s");
    let listener = UnixListener::bind(&path).unwrap();
    let parent = me();
    let child = fork(|| {
        let there: OwnedFd = UnixStream::connect(&path).unwrap().into();
        assert_eq!(whole(&there), parent);
        assert_eq!(recv(&there, &mut [0; 8], 20_000), Ok(1));
    });
    let pid = child.0 as u32;
    let here: OwnedFd = listener.accept().unwrap().0.into();
    assert_eq!(whole(&here), [pid, parent[1], parent[2]]);
    send(&here, b"x", 1000).unwrap();
    child.join();
    fs::remove_file(path).unwrap();
}

#[apply(isolated)]
#[needs(needs::root)]
fn of_another_user() {
    let (a, b) = pair(libc::SOCK_STREAM);
    fork(|| {
        become_nobody().unwrap();
        let (c, _d) = pair(libc::SOCK_SEQPACKET);
        assert_eq!(whole(&c), [process::id(), NOBODY, NOBODY]);
        assert_eq!(send_fds(&a, b"pair", &[c.as_raw_fd()], 1000), Ok(0));
    })
    .join();
    let (_, fds) = recv_fds(&b, &mut [0; 8], 1, 1000).unwrap();
    assert_eq!(whole(&fds[0])[1..], [NOBODY, NOBODY]);
}

fn overflow_id(which: &str) -> u32 {
    let text = fs::read_to_string(format!("/proc/sys/kernel/overflow{which}")).unwrap();
    text.trim().parse().unwrap()
}

/// The peer has no ID in the caller's namespaces.
#[apply(isolated)]
fn of_another_namespace() {
    let (a, _b) = pair(libc::SOCK_STREAM);
    let unmapped = [0, overflow_id("uid"), overflow_id("gid")];
    fork(|| {
        // SAFETY: no pointers.
        let done = unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWPID) };
        if done == -1 {
            eprintln!("no namespaces: {}", std::io::Error::last_os_error());
            return;
        }
        fork(|| {
            assert_eq!(whole(&a), unmapped);
            // This process has no user ID either.
            assert_eq!(me(), [1, unmapped[1], unmapped[2]]);
        })
        .join();
    })
    .join();
}
