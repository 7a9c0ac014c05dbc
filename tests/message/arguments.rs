//! Invalid arguments, errno by errno, and the state that a failed call leaves unchanged.

use crate::support::*;
use libc::{c_int, c_void, iovec, size_t, ssize_t};
use std::cell::Cell;
use std::os::fd::{AsRawFd, OwnedFd};
use std::{fs, ptr};
use unixipc::ffi::message::*;
use unixipc::ffi::pair::*;

const STREAM: c_int = libc::SOCK_STREAM;

#[apply(isolated)]
fn pair_types() {
    for socket_type in TYPES {
        for nonblock in [0, libc::SOCK_NONBLOCK] {
            let (a, b) = pair(socket_type | nonblock);
            for fd in [&a, &b] {
                // SAFETY: no pointers.
                let close_on_exec = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) };
                assert_eq!(close_on_exec, libc::FD_CLOEXEC);
                // SAFETY: no pointers.
                let status = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFL) };
                assert_eq!(status & libc::O_NONBLOCK, nonblock);
                assert_eq!(option(fd, libc::SO_TYPE), socket_type);
                assert_eq!(option(fd, libc::SO_DOMAIN), libc::AF_UNIX);
            }
        }
    }
    let before = open_numbers();
    for socket_type in [
        0,
        -1,
        3,
        4,
        6,
        10,
        15,
        STREAM | libc::SOCK_CLOEXEC,
        STREAM | 1 << 20,
        STREAM | i32::MIN,
        libc::SOCK_NONBLOCK,
        i32::MAX,
    ] {
        let mut fds = [-7; 2];
        // SAFETY: an array of two.
        let got = outcome(|| unsafe { ipc_pair_open(socket_type, fds.as_mut_ptr()) } as ssize_t);
        assert_eq!((got, fds), (Err(libc::EINVAL), [-7; 2]), "{socket_type:#x}");
    }
    // SAFETY: NULL is refused.
    let got = outcome(|| unsafe { ipc_pair_open(STREAM, ptr::null_mut()) } as ssize_t);
    assert_eq!(got, Err(libc::EINVAL));
    assert_eq!(open_numbers(), before);
}

fn option(fd: &OwnedFd, option: c_int) -> c_int {
    let mut value = -1;
    let mut len = size_of::<c_int>() as u32;
    let at = (&raw mut value).cast();
    // SAFETY: an int, with its size.
    let got = unsafe { libc::getsockopt(fd.as_raw_fd(), libc::SOL_SOCKET, option, at, &mut len) };
    assert_eq!(got, 0);
    value
}

/// The arguments of a call that would succeed or wait; each test invalidates one of them.
#[derive(Clone, Copy)]
struct Call {
    fd: c_int,
    buf: *mut c_void,
    len: size_t,
    fds: *mut c_int,
    nfds: *mut size_t,
    done: *mut size_t,
    timeout_ms: c_int,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Function {
    SendFull,
    RecvFull,
    MsgSend,
    MsgSendv,
    MsgRecv,
}
use Function::*;
const ALL: [Function; 5] = [SendFull, RecvFull, MsgSend, MsgSendv, MsgRecv];

impl Call {
    #[track_caller]
    fn make(self, function: Function) -> Outcome {
        let Call {
            fd,
            buf,
            len,
            fds,
            nfds,
            done,
            timeout_ms,
        } = self;
        // SAFETY: NULL, or a number of the test's.
        let count = unsafe { nfds.as_ref() }.copied().unwrap_or(0);
        outcome(|| match function {
            // SAFETY: the call refuses an invalid pointer before it uses it.
            SendFull => unsafe { ipc_send_full(fd, buf, len, done, timeout_ms) },
            // SAFETY: as above.
            RecvFull => unsafe { ipc_recv_full(fd, buf, len, done, timeout_ms) },
            // SAFETY: as above.
            MsgSend => (unsafe { ipc_msg_send(fd, buf, len, fds, count, timeout_ms) }) as ssize_t,
            MsgSendv => {
                let (iov_base, iov_len) = (buf, len);
                let parts = [iovec { iov_base, iov_len }];
                // SAFETY: as above.
                unsafe { ipc_msg_sendv(fd, parts.as_ptr(), 1, fds, count, timeout_ms) }
            }
            // SAFETY: as above.
            MsgRecv => unsafe { ipc_msg_recv(fd, buf, len, fds, nfds, timeout_ms) },
        })
    }
}

#[apply(isolated)]
fn bad_arguments() {
    for socket_type in TYPES {
        let (a, b) = pair(socket_type);
        let mut buf = *b"12345678";
        let (done, nfds) = (Cell::new(0), Cell::new(0));
        let good = Call {
            fd: a.as_raw_fd(),
            buf: buf.as_mut_ptr().cast(),
            len: 8,
            fds: ptr::null_mut(),
            nfds: nfds.as_ptr(),
            done: done.as_ptr(),
            timeout_ms: 0,
        };
        let closed = closed_number();
        let pipe = pipe();
        let file = tempfile::tempfile().unwrap();
        let path = fs::File::open("/dev/null").unwrap();
        for function in ALL {
            let _case = Case(format!("{function:?} on type {socket_type}"));
            for fd in [-1, -100, i32::MIN, closed, i32::MAX] {
                assert_eq!(Call { fd, ..good }.make(function), Err(libc::EBADF), "{fd}");
            }
            for fd in [
                pipe.0.as_raw_fd(),
                pipe.1.as_raw_fd(),
                file.as_raw_fd(),
                path.as_raw_fd(),
            ] {
                assert_eq!(Call { fd, ..good }.make(function), Err(libc::ENOTSOCK));
            }
            for timeout_ms in [-3, -1000, i32::MIN] {
                let call = Call { timeout_ms, ..good };
                assert_eq!(call.make(function), Err(libc::EINVAL), "{timeout_ms}");
            }
            for len in [0, 1, 8, usize::MAX] {
                let buf = ptr::null_mut();
                let call = Call { buf, len, ..good };
                assert_eq!(call.make(function), Err(libc::EINVAL), "NULL, {len}");
            }
            let call = Call {
                len: usize::MAX,
                ..good
            };
            let error = match function {
                SendFull | MsgSend | MsgSendv => libc::EMSGSIZE,
                RecvFull | MsgRecv => libc::EINVAL,
            };
            assert_eq!(call.make(function), Err(error), "an impossible length");
        }
        for function in [SendFull, RecvFull] {
            for wrong in [9, 10, usize::MAX] {
                done.set(wrong);
                assert_eq!(good.make(function), Err(libc::EINVAL), "done {wrong}");
                assert_eq!(done.get(), wrong);
            }
            done.set(8);
            assert_eq!(good.make(function), Ok(8), "nothing left to do");
            assert_eq!(done.get(), 8);
            done.set(0);
            assert_eq!(Call { len: 0, ..good }.make(function), Ok(0));
        }
        for function in [MsgSend, MsgSendv, MsgRecv] {
            let call = Call { len: 0, ..good };
            assert_eq!(call.make(function), Err(libc::EINVAL), "len 0");
            for wrong in [1, 253, usize::MAX] {
                nfds.set(wrong);
                assert_eq!(
                    good.make(function),
                    Err(libc::EINVAL),
                    "fds NULL, nfds {wrong}"
                );
                assert_eq!(nfds.get(), wrong);
            }
            nfds.set(0);
        }
        // The sender's descriptors.
        let mut many = vec![a.as_raw_fd(); 300];
        let fds = many.as_mut_ptr();
        for wrong in [254, 300, usize::MAX / 8, usize::MAX] {
            nfds.set(wrong);
            assert_eq!(
                Call { fds, ..good }.make(MsgSend),
                Err(libc::EINVAL),
                "{wrong}"
            );
        }
        nfds.set(2);
        for bad in [-1, closed, i32::MAX] {
            many[1] = bad;
            let fds = many.as_mut_ptr();
            assert_eq!(
                Call { fds, ..good }.make(MsgSend),
                Err(libc::EBADF),
                "{bad}"
            );
        }
        nfds.set(0);
        // None of these calls has sent or received anything.
        assert_eq!(&buf, b"12345678");
        for fd in [&a, &b] {
            assert_eq!(raw_recv(fd, &mut [0; 8]), Err(libc::EAGAIN));
        }
        // The valid arguments still work.
        assert_eq!(good.make(MsgSend), Ok(0));
        let fd = b.as_raw_fd();
        assert_eq!(Call { fd, ..good }.make(MsgRecv), Ok(8));
    }
}

/// Memory of which only the first page is accessible.
struct PartlyMapped(*mut u8);

impl PartlyMapped {
    fn new() -> Self {
        let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
        let rights = libc::PROT_READ | libc::PROT_WRITE;
        // SAFETY: a new mapping.
        let at = unsafe { libc::mmap(ptr::null_mut(), 8 * page_size(), rights, flags, -1, 0) };
        assert_ne!(at, libc::MAP_FAILED);
        // SAFETY: within the mapping.
        let hole = unsafe { at.add(page_size()) };
        // SAFETY: all pages of the mapping except the first.
        assert_eq!(
            unsafe { libc::mprotect(hole, 7 * page_size(), libc::PROT_NONE) },
            0
        );
        Self(at.cast())
    }
}

impl Drop for PartlyMapped {
    fn drop(&mut self) {
        // SAFETY: nothing uses the mapping now.
        unsafe { libc::munmap(self.0.cast(), 8 * page_size()) };
    }
}

#[apply(isolated)]
fn inaccessible_memory() {
    let hole = PartlyMapped::new();
    for socket_type in TYPES {
        let (a, b) = pair(socket_type);
        let call = |fd: &OwnedFd, at: *mut u8, len| Call {
            fd: fd.as_raw_fd(),
            buf: at.cast(),
            len,
            fds: ptr::null_mut(),
            nfds: ptr::null_mut(),
            done: ptr::null_mut(),
            timeout_ms: 0,
        };
        let inaccessible = hole.0.wrapping_add(page_size());
        for function in [SendFull, MsgSend, MsgSendv] {
            let got = call(&a, inaccessible, 8).make(function);
            assert_eq!(got, Err(libc::EFAULT), "{function:?} {socket_type}");
            assert_eq!(
                raw_recv(&b, &mut [0; 16]),
                Err(libc::EAGAIN),
                "{socket_type}"
            );
        }
        for function in [RecvFull, MsgRecv] {
            send(&a, b"12345678", 0).unwrap();
            let got = call(&b, inaccessible, 8).make(function);
            assert_eq!(got, Err(libc::EFAULT), "{function:?} {socket_type}");
            while raw_recv(&b, &mut [0; 16]).is_ok_and(|len| len > 0) {}
        }
    }
}

#[apply(isolated)]
fn other_sockets() {
    // SAFETY: no pointers.
    let socket = |domain, socket_type| own(unsafe { libc::socket(domain, socket_type, 0) });
    let mut buf = [0; 8];
    for (socket_type, send_errno, recv_errno) in [
        (libc::SOCK_STREAM, libc::ENOTCONN, libc::EINVAL),
        (libc::SOCK_SEQPACKET, libc::ENOTCONN, libc::ENOTCONN),
        (libc::SOCK_DGRAM, libc::ENOTCONN, libc::EAGAIN),
    ] {
        let alone = socket(libc::AF_UNIX, socket_type);
        assert_eq!(send(&alone, b"x", 0), Err(send_errno), "{socket_type}");
        assert_eq!(send(&alone, b"x", 10), Err(send_errno), "{socket_type}");
        assert_eq!(recv(&alone, &mut buf, 0), Err(recv_errno), "{socket_type}");
        assert_eq!(
            recv_fds(&alone, &mut buf, 3, 0).unwrap_err(),
            recv_errno,
            "{socket_type}"
        );
        assert_eq!(
            send_full(&alone, b"x", None, 0),
            Err(send_errno),
            "{socket_type}"
        );
    }
    let alone = socket(libc::AF_UNIX, libc::SOCK_STREAM);
    let got = recv_full(&alone, &mut buf, None, 0);
    assert!(matches!(got, Err(libc::EINVAL | libc::ENOTCONN)), "{got:?}");
    let alone = socket(libc::AF_INET, libc::SOCK_STREAM);
    assert_eq!(recv(&alone, &mut buf, 0), Err(libc::ENOTCONN));
    assert!(matches!(
        send(&alone, b"x", 0),
        Err(libc::ENOTCONN | libc::EPIPE)
    ));
    let netlink = socket(libc::AF_NETLINK, libc::SOCK_RAW);
    assert_eq!(send(&netlink, b"x", 0), Err(libc::EOPNOTSUPP));
    // A receive cannot distinguish it from other sockets that preserve message boundaries. Older
    // kernels do not support its flags.
    let got = recv(&netlink, &mut buf, 0);
    assert!(
        matches!(got, Err(libc::EAGAIN | libc::EOPNOTSUPP)),
        "{got:?}"
    );
}

#[apply(isolated)]
fn too_long() {
    let too_long = IPC_MSG_MAX + 1;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    // SAFETY: a new read-only mapping, which takes no memory.
    let at = unsafe { libc::mmap(ptr::null_mut(), too_long, libc::PROT_READ, flags, -1, 0) };
    assert_ne!(at, libc::MAP_FAILED);
    for socket_type in TYPES {
        let (a, b) = pair(socket_type);
        for timeout_ms in [-1, 0, 10, IPC_WAIT_INTR] {
            let got = outcome(|| {
                let (fd, none) = (a.as_raw_fd(), ptr::null());
                // SAFETY: memory of that length.
                (unsafe { ipc_msg_send(fd, at, too_long, none, 0, timeout_ms) }) as ssize_t
            });
            assert_eq!(got, Err(libc::EMSGSIZE), "{socket_type}");
        }
        assert_eq!(raw_recv(&b, &mut [0; 8]), Err(libc::EAGAIN));
        if socket_type != STREAM {
            let longest = longest(&a);
            assert!(longest > 100_000, "{longest}");
            assert_eq!(send(&a, &vec![1; longest + 1], -1), Err(libc::EMSGSIZE));
            assert_eq!(
                send_full(&a, &vec![1; longest + 1], None, -1),
                Err(libc::EMSGSIZE)
            );
            assert_eq!(send(&a, &pattern(longest, 1), -1), Ok(0));
            let mut buf = vec![0; longest + 1];
            assert_eq!(recv(&b, &mut buf, 0), Ok(longest));
            assert_eq!(buf[..longest], pattern(longest, 1));
        }
    }
    // SAFETY: nothing uses the mapping now.
    unsafe { libc::munmap(at, too_long) };
}

/// The longest message according to unix(7): the send buffer minus 32 bytes.
fn longest(fd: &OwnedFd) -> usize {
    option(fd, libc::SO_SNDBUF) as usize - 32
}

/// The number of a closed descriptor.
fn closed_number() -> c_int {
    // SAFETY: no pointers.
    let fd = own(unsafe { libc::fcntl(0, libc::F_DUPFD_CLOEXEC, 500) });
    fd.as_raw_fd()
}
