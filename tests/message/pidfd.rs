//! ipc_peer_pidfd.

use crate::support::*;
use common::filter::{refuse, refuse_where};
use common::pidfd::{has_ended, own_pidfd, pid_of, reuse_pid};
use libc::{BPF_JEQ, EBADF, EMFILE, ENOPROTOOPT, ENOSYS, ENOTCONN, ENOTSOCK, EPERM, ESRCH, c_int};
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::{UnixListener, UnixStream};
use std::{env, fs, process};
use unixipc::ffi::pair::ipc_peer_pidfd;

fn peer_pidfd(fd: c_int) -> Result<OwnedFd, c_int> {
    let got = outcome(|| ipc_peer_pidfd(fd) as isize);
    own_pidfd(got? as c_int)
}

fn peer(fd: &OwnedFd) -> Result<i32, c_int> {
    peer_pidfd(fd.as_raw_fd()).map(|pidfd| {
        assert!(!has_ended(&pidfd));
        pid_of(&pidfd)
    })
}

fn me() -> i32 {
    process::id() as i32
}

/// Makes the kernel one before Linux 6.5, which does not know the option.
fn forget_the_option(error: c_int) {
    let name = libc::SO_PEERPIDFD as u32;
    refuse_where(libc::SYS_getsockopt, 2, BPF_JEQ, name, error);
}

/// Runs `run` in a child on each kind of kernel.
fn with_and_without_the_option(run: impl Fn()) {
    fork(&run).join();
    for error in [ENOPROTOOPT, ENOSYS, EPERM] {
        fork(|| {
            forget_the_option(error);
            run();
        })
        .join();
    }
}

/// A connection to a client, which ends when it receives a message. A second process has the
/// client's socket too, so that the connection does not end.
struct Client {
    process: Child,
    heir: Child,
    here: OwnedFd,
}

impl Client {
    fn connect() -> Self {
        let path = env::temp_dir().join("s");
        let listener = UnixListener::bind(&path).unwrap();
        let there = |what: &dyn Fn(OwnedFd)| what(UnixStream::connect(&path).unwrap().into());
        let (a, b) = pair(libc::SOCK_SEQPACKET);
        let process = fork(|| {
            there(&|fd| {
                assert_eq!(send_fds(&b, b"x", &[fd.as_raw_fd()], LONG), Ok(0));
                assert_eq!(recv(&fd, &mut [0; 8], LONG), Ok(1));
            });
        });
        let here: OwnedFd = listener.accept().unwrap().0.into();
        fs::remove_file(&path).unwrap();
        let (_, passed) = recv_fds(&a, &mut [0; 8], 1, LONG).unwrap();
        let heir = fork(|| {
            // SAFETY: takes nothing.
            unsafe { libc::pause() };
        });
        drop(passed);
        Self {
            process,
            heir,
            here,
        }
    }
}

#[apply(isolated)]
fn of_pairs() {
    with_and_without_the_option(|| {
        for socket_type in TYPES {
            let (a, b) = pair(socket_type);
            assert_eq!((peer(&a), peer(&b)), (Ok(me()), Ok(me())));
            let parent = me();
            fork(|| assert_eq!(peer(&a), Ok(parent))).join();
        }
    });
}

#[apply(isolated)]
fn of_connected_sockets() {
    with_and_without_the_option(|| {
        let Client {
            process,
            heir,
            here,
        } = Client::connect();
        let pidfd = peer_pidfd(here.as_raw_fd()).unwrap();
        assert_eq!(pid_of(&pidfd), process.0);
        assert!(!has_ended(&pidfd));
        send(&here, b"x", LONG).unwrap();
        assert_ne!(poll(pidfd.as_raw_fd(), LONG), 0);
        // It has ended, and then its parent has waited for it.
        assert_eq!(peer(&here), Err(ESRCH));
        process.join();
        assert_eq!(peer(&here), Err(ESRCH));
        drop(heir);
    });
}

/// Another process has the ID of the peer.
#[apply(isolated)]
#[needs(needs::root_and_peer_pidfd)]
fn reused_id() {
    let Client {
        process,
        heir,
        here,
    } = Client::connect();
    send(&here, b"x", LONG).unwrap();
    wait_until("the end of the client", || process.has_ended());
    let other = reuse_pid(process);
    assert_eq!(peer(&here), Err(ESRCH));
    // Without the help of the kernel, only the end of the connection shows it.
    fork(|| {
        forget_the_option(ENOPROTOOPT);
        assert_eq!(peer(&here), Ok(other.0));
    })
    .join();
    kill(heir);
    assert_eq!(peer(&here), Err(ESRCH));
    fork(|| {
        forget_the_option(ENOPROTOOPT);
        assert_eq!(peer(&here), Err(ESRCH));
    })
    .join();
}

/// A peer that has closed one direction is a peer still.
#[apply(isolated)]
fn of_half_closed_sockets() {
    with_and_without_the_option(|| {
        let (a, b) = UnixStream::pair().unwrap();
        b.shutdown(std::net::Shutdown::Write).unwrap();
        assert_eq!(peer(&a.into()), Ok(me()));
    });
}

#[apply(isolated)]
fn errors() {
    with_and_without_the_option(|| {
        for fd in [-1, -2, i32::MIN, 1000, i32::MAX] {
            assert_eq!(peer_pidfd(fd).err(), Some(EBADF));
        }
        assert_eq!(peer_pidfd(0).err(), Some(ENOTSOCK));
        for socket_type in TYPES {
            // SAFETY: no pointers.
            let alone = own(unsafe { libc::socket(libc::AF_UNIX, socket_type, 0) });
            assert_eq!(peer(&alone), Err(ENOTCONN));
        }
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let there = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        assert_eq!(peer_pidfd(there.as_raw_fd()).err(), Some(ENOTCONN));
        let (a, _b) = pair(libc::SOCK_STREAM);
        assert_eq!(
            with_room_for(0, || peer_pidfd(a.as_raw_fd()).err()),
            Some(EMFILE)
        );
    });
}

#[apply(isolated)]
#[needs(needs::peer_pidfd)]
fn without_pidfd_open() {
    let (a, _b) = pair(libc::SOCK_STREAM);
    for error in [ENOSYS, EPERM] {
        fork(|| {
            refuse(libc::SYS_pidfd_open, error);
            assert_eq!(peer(&a), Ok(parent_id()));
            forget_the_option(error);
            assert_eq!(peer(&a), Err(ENOSYS));
        })
        .join();
    }
}

fn parent_id() -> i32 {
    // SAFETY: takes nothing.
    unsafe { libc::getppid() }
}

/// The peer has no ID in the caller's PID namespace.
#[apply(isolated)]
#[needs(needs::peer_pidfd)]
fn of_another_namespace() {
    let (a, _b) = pair(libc::SOCK_STREAM);
    fork(|| {
        // SAFETY: no pointers.
        let done = unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWPID) };
        if done == -1 {
            eprintln!("no namespaces: {}", std::io::Error::last_os_error());
            return;
        }
        fork(|| {
            let pidfd = peer_pidfd(a.as_raw_fd()).unwrap();
            assert!(!has_ended(&pidfd));
            forget_the_option(ENOPROTOOPT);
            assert_eq!(peer(&a), Err(ESRCH));
        })
        .join();
    })
    .join();
}
