//! ipc_channel_peer_pidfd.

use crate::peer::abstract_name;
use crate::support::*;
use common::filter::refuse;
use common::pidfd::{has_ended, own_pidfd, pid_of, reuse_pid};
use libc::{EINVAL, EMFILE, ENOSYS, EOPNOTSUPP, EPERM, EPROTO, ESRCH, c_int, c_ulong};
use std::ffi::CStr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::{io, process, ptr};
use unixipc::ffi::channel::ipc_channel_peer_pidfd;

fn peer_pidfd(end: &End) -> Result<OwnedFd, c_int> {
    // SAFETY: an open end, or NULL.
    let got = outcome(|| unsafe { ipc_channel_peer_pidfd(end.0) } as isize);
    own_pidfd(got? as c_int)
}

fn peer(end: &End) -> Result<i32, c_int> {
    peer_pidfd(end).map(|pidfd| {
        assert!(!has_ended(&pidfd));
        pid_of(&pidfd)
    })
}

fn me() -> i32 {
    process::id() as i32
}

/// A client that calls `check` and ends when it receives a message, and the server's end.
fn client(check: impl FnOnce(&End)) -> (Child, End) {
    let name = abstract_name();
    let listener = listen(&name);
    let child = fork(|| {
        let end = connect(&name, LONG).unwrap();
        check(&end);
        assert_eq!(end.recv(LONG).unwrap(), b"end");
    });
    (child, accept(&listener, LONG).unwrap())
}

/// Lets the client end. It is not reaped.
fn end(child: &Child, end: &End) {
    assert_eq!(end.send(b"end", LONG), DONE);
    wait_until("the end of the client", || child.has_ended());
}

#[apply(isolated)]
fn of_each_kind() {
    let (a, b) = pair();
    assert_eq!((peer(&a), peer(&b)), (Ok(me()), Ok(me())));
    let parent = me();
    fork(|| assert_eq!(peer(&a), Ok(parent))).join();
    for socket_type in SOCKET_TYPES {
        let (one, two) = sockets(socket_type);
        let child = fork(|| {
            let end = from_fd(&two, LONG).unwrap();
            assert_eq!(peer(&end), Ok(parent));
            assert_eq!(end.recv(LONG), Ok(vec![]));
        });
        let end = from_fd(&one, LONG).unwrap();
        assert_eq!(peer(&end), Ok(parent));
        drop(end);
        child.join();
    }
}

#[apply(isolated)]
fn of_a_client() {
    let parent = me();
    let (child, server) = client(|end| assert_eq!(peer(end), Ok(parent)));
    let pidfd = peer_pidfd(&server).unwrap();
    assert_eq!(pid_of(&pidfd), child.0);
    assert!(!has_ended(&pidfd));
    end(&child, &server);
    assert_ne!(common::descriptors::poll(pidfd.as_raw_fd(), LONG), 0);
    // It has ended, and then its parent has waited for it.
    assert_eq!(peer(&server), Err(ESRCH));
    child.join();
    assert_eq!(peer(&server), Err(ESRCH));
}

/// A client that has closed its end, or violates the protocol, can still be killed.
#[apply(isolated)]
fn of_a_client_without_channel() {
    let name = abstract_name();
    let listener = listen(&name);
    let child = fork(|| {
        drop(connect(&name, LONG).unwrap());
        // SAFETY: takes nothing.
        unsafe { libc::pause() };
    });
    let server = accept(&listener, LONG).unwrap();
    assert_eq!(server.recv(LONG), Ok(vec![]));
    assert_eq!(peer(&server), Ok(child.0));
    kill(child);
    // A client whose hello is invalid.
    let child = fork(|| {
        let silent = crate::peer::silent_client(&name);
        // SAFETY: the bytes are readable.
        unsafe { libc::send(silent.as_raw_fd(), b"x".as_ptr().cast(), 1, 0) };
        // SAFETY: takes nothing.
        unsafe { libc::pause() };
    });
    let server = accept(&listener, LONG).unwrap();
    assert_eq!(server.recv(LONG), Err(EPROTO));
    assert_eq!(peer(&server), Ok(child.0));
    kill(child);
}

/// Another process has the ID of the peer.
#[apply(isolated)]
#[needs(needs::root)]
fn reused_id() {
    let (child, server) = client(|_| ());
    end(&child, &server);
    wait_for_the_next_tick();
    let other = reuse_pid(child);
    // SAFETY: no pointers.
    let pidfd = own(unsafe { libc::syscall(libc::SYS_pidfd_open, other.0, 0) } as c_int);
    assert!(!has_ended(&pidfd));
    assert_eq!(peer(&server), Err(ESRCH));
}

/// The kernel counts the start of a process in ticks of 10 ms.
fn wait_for_the_next_tick() {
    let begin = now();
    wait_until("the next tick", || now() - begin > 20_000_000);
}

#[apply(isolated)]
fn errors() {
    assert_eq!(peer_pidfd(&End(ptr::null_mut())).err(), Some(EINVAL));
    let (a, _b) = pair();
    // The pidfd is one descriptor, and a file in /proc another one.
    for available in 0..2 {
        let got = with_room_for(available, || peer_pidfd(&a).err());
        assert_eq!(got, Some(EMFILE), "{available} available");
    }
    assert_eq!(with_room_for(2, || peer_pidfd(&a).err()), None);
    for error in [ENOSYS, EPERM] {
        fork(|| {
            refuse(libc::SYS_pidfd_open, error);
            assert_eq!(peer(&a), Err(ENOSYS));
        })
        .join();
    }
}

fn mount(kind: &CStr, flags: c_ulong, options: &CStr) {
    let at = c"/proc".as_ptr();
    let options = options.as_ptr().cast();
    // SAFETY: strings.
    let done = unsafe { libc::mount(kind.as_ptr(), at, kind.as_ptr(), flags, options) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

fn enter_mount_namespace() {
    // SAFETY: no pointers.
    assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNS) }, 0);
    let (root, none) = (c"/".as_ptr(), ptr::null());
    let flags = libc::MS_REC | libc::MS_PRIVATE;
    // SAFETY: a string, and NULLs.
    let done = unsafe { libc::mount(none, root, none, flags, ptr::null()) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

/// /proc does not show the peer, so that the check is not possible.
#[apply(isolated)]
#[needs(needs::root)]
fn hidden_processes() {
    let (child, server) = client(|_| ());
    fork(|| {
        enter_mount_namespace();
        mount(c"tmpfs", 0, c"");
        assert_eq!(peer_pidfd(&server).err(), Some(EOPNOTSUPP), "no /proc");
    })
    .join();
    for options in [c"hidepid=1", c"hidepid=2"] {
        fork(|| {
            enter_mount_namespace();
            mount(c"proc", 0, options);
            assert_eq!(peer(&server), Ok(child.0), "root sees it");
            become_nobody().unwrap();
            assert_eq!(peer_pidfd(&server).err(), Some(EOPNOTSUPP), "{options:?}");
        })
        .join();
    }
    end(&child, &server);
    fork(|| {
        enter_mount_namespace();
        mount(c"tmpfs", 0, c"");
        assert_eq!(peer_pidfd(&server).err(), Some(ESRCH), "it has ended");
    })
    .join();
    child.join();
}

/// The processes have other IDs in /proc, which is that of another PID namespace.
#[apply(isolated)]
#[needs(needs::root)]
fn foreign_proc() {
    fork(|| {
        // SAFETY: no pointers.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWPID) }, 0);
        fork(|| {
            assert_eq!(me(), 1);
            let (child, server) = client(|_| ());
            let pidfd = peer_pidfd(&server).unwrap();
            assert_ne!(pid_of(&pidfd), child.0, "IDs of the outer namespace");
            end(&child, &server);
            wait_for_the_next_tick();
            let other = reuse_pid(child);
            assert_eq!(peer_pidfd(&server).err(), Some(ESRCH));
            kill(other);
        })
        .join();
    })
    .join();
}

/// A peer in a PID namespace that this process cannot see.
#[apply(isolated)]
#[needs(needs::root)]
fn of_another_namespace() {
    let name = abstract_name();
    let listener = listen(&name);
    let inside = fork(|| {
        // SAFETY: no pointers.
        assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWPID) }, 0);
        fork(|| {
            let end = connect(&name, LONG).unwrap();
            assert_eq!(end.cred().pid, 0);
            assert_eq!(peer_pidfd(&end).err(), Some(ESRCH));
            assert_eq!(end.recv(LONG).unwrap(), b"end");
        })
        .join();
    });
    let server = accept(&listener, LONG).unwrap();
    assert_eq!(
        peer(&server),
        Ok(server.cred().pid),
        "the inner one is visible"
    );
    assert_eq!(server.send(b"end", LONG), DONE);
    inside.join();
}
