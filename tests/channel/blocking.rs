//! ipc_channel_accept on a blocking listener that several acceptors share, such as one that a
//! service manager passes to a program.

use crate::peer::{abstract_name, silent_client};
use crate::support::*;
use common::stopped_call::StoppedCalls;
use libc::{EAGAIN, ETIMEDOUT, SOCK_SEQPACKET, c_int};
use nix::sys::socket::{self, Backlog, UnixAddr};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// How long a call may block beyond its time-out before the test fails.
const LIMIT: Duration = Duration::from_secs(5);

/// A listener without O_NONBLOCK.
fn blocking_listener(name: &str) -> OwnedFd {
    let listener = local_socket(SOCK_SEQPACKET);
    let address = UnixAddr::new_abstract(&name.as_bytes()[1..]).unwrap();
    socket::bind(listener.as_raw_fd(), &address).unwrap();
    socket::listen(&listener, Backlog::new(100).unwrap()).unwrap();
    listener
}

/// Accepts the queued client first.
type Rival = fn(&OwnedFd);

fn accept_directly(listener: &OwnedFd) {
    drop(own(accept4(listener)));
}

fn accept_with_the_library(listener: &OwnedFd) {
    drop(accept(listener, 0).unwrap());
}

/// Calls accept4(2).
fn accept4(listener: &OwnedFd) -> c_int {
    let (fd, no_address) = (listener.as_raw_fd(), std::ptr::null_mut());
    // SAFETY: no address is stored.
    unsafe { libc::accept4(fd, no_address, std::ptr::null_mut(), libc::SOCK_CLOEXEC) }
}

/// Accepts while a client is queued; a rival takes the client after ipc_channel_accept has
/// decided to call accept4 and before the kernel executes it.
#[track_caller]
fn accept_too_late(name: &str, listener: &OwnedFd, timeout_ms: c_int, rival: Rival) -> c_int {
    let _client = silent_client(name);
    thread::scope(|scope| {
        let (sender, receiver) = mpsc::channel();
        let acceptor = scope.spawn(move || {
            let calls = StoppedCalls::of_this_thread(libc::SYS_accept4);
            sender.send(calls).unwrap();
            accept(listener, timeout_ms).map(drop)
        });
        let calls = receiver.recv().unwrap();
        let deadline = Instant::now() + Duration::from_millis(timeout_ms as u64) + LIMIT;
        let mut stopped = 0;
        while !acceptor.is_finished() && Instant::now() < deadline {
            if let Some(call) = calls.next(1) {
                if stopped == 0 {
                    rival(listener);
                }
                stopped += 1;
                calls.resume(call);
            }
        }
        if !acceptor.is_finished() {
            let _next = silent_client(name);
            drop(calls);
            let accepted = acceptor.join().unwrap();
            panic!("the call blocked until another client connected: {accepted:?}");
        }
        assert!(stopped > 0, "the call did not use accept4");
        acceptor.join().unwrap().unwrap_err()
    })
}

#[apply(isolated)]
fn another_acceptor_comes_first() {
    let name = abstract_name();
    let rivals: [(&str, Rival); 2] = [
        ("accept4", accept_directly),
        ("ipc_channel_accept", accept_with_the_library),
    ];
    for (what, rival) in rivals {
        for (timeout_ms, error) in [(0, EAGAIN), (50, ETIMEDOUT)] {
            let _case = Case(format!("{what}, {timeout_ms} ms"));
            let listener = blocking_listener(&name);
            let failed = accept_too_late(&name, &listener, timeout_ms, rival);
            assert_eq!(failed, error);
        }
    }
}
