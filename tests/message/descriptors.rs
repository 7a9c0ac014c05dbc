//! Descriptors in messages, and calls at the descriptor limit.

use crate::support::*;
use common::user::become_nobody;
use libc::c_int;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use unixipc::ffi::message::IPC_MSG_FDS_MAX;
use unixipc::ffi::pair::*;

#[track_caller]
fn assert_close_on_exec(fds: &[OwnedFd]) {
    for fd in fds {
        // SAFETY: no pointers.
        let flags = unsafe { libc::fcntl(fd.as_raw_fd(), libc::F_GETFD) };
        assert_eq!(flags, libc::FD_CLOEXEC);
    }
}

/// Each descriptor arrives at its index, and refers to the same open file.
#[apply(isolated)]
fn contents() {
    for socket_type in TYPES {
        let (a, b) = pair(socket_type);
        for count in [1, 2, 100, IPC_MSG_FDS_MAX] {
            let mut files: Vec<File> = (0..count)
                .map(|i| {
                    let mut file = tempfile::tempfile().unwrap();
                    write!(file, "file {i}").unwrap();
                    file
                })
                .collect();
            let numbers: Vec<c_int> = files.iter().map(AsRawFd::as_raw_fd).collect();
            assert_eq!(send_fds(&a, b"files", &numbers, 0), Ok(0));
            let mut buf = [0; 16];
            let (len, fds) = recv_fds(&b, &mut buf, IPC_MSG_FDS_MAX, 0).unwrap();
            assert_eq!((&buf[..len], fds.len()), (&b"files"[..], count));
            assert_close_on_exec(&fds);
            for (i, (fd, file)) in fds.into_iter().zip(&mut files).enumerate() {
                let mut received = File::from(fd);
                received.seek(SeekFrom::Start(5)).unwrap();
                let mut text = String::new();
                received.read_to_string(&mut text).unwrap();
                assert_eq!(text, i.to_string());
                let end = file.stream_position().unwrap();
                assert_eq!(end, 5 + text.len() as u64, "a shared offset");
            }
        }
    }
}

/// With fewer slots than descriptors, the call returns the first ones and closes the others.
#[apply(isolated)]
fn fewer_slots() {
    for socket_type in TYPES {
        let (a, b) = pair(socket_type);
        for count in [0, 1, 3, IPC_MSG_FDS_MAX] {
            let held = descriptors(count);
            for max_fds in [0, 1, 2, 3, 252, 253, 254, 300] {
                let before = open_numbers();
                assert_eq!(send_fds(&a, b"x", &raw(&held), 0), Ok(0));
                let (len, fds) = recv_fds(&b, &mut [0; 8], max_fds, 0).unwrap();
                assert_eq!((len, fds.len()), (1, count.min(max_fds)));
                assert_eq!(open_numbers().len(), before.len() + fds.len());
                drop(fds);
                assert_eq!(open_numbers(), before);
            }
            let before = open_numbers();
            assert_eq!(send_fds(&a, b"x", &raw(&held), 0), Ok(0));
            assert_eq!(recv(&b, &mut [0; 8], 0), Ok(1));
            assert_eq!(open_numbers(), before, "inout_nfds NULL");
        }
    }
}

/// With long messages too, each descriptor arrives with its own message.
#[apply(isolated)]
fn with_long_messages() {
    let (a, b) = pair(libc::SOCK_STREAM);
    let mut child = None;
    for round in 0..20 {
        let bytes = pattern(300_000, round);
        let held = descriptors(round as usize % 4);
        child = Some(fork(|| {
            assert_eq!(send_fds(&a, &bytes, &raw(&held), 20_000), Ok(0));
            assert_eq!(send(&a, b"none", 20_000), Ok(0));
        }));
        let mut buf = vec![0; 300_000];
        let (len, fds) = recv_fds(&b, &mut buf, 5, 20_000).unwrap();
        assert_eq!((len, fds.len()), (300_000, round as usize % 4));
        assert!(buf == bytes);
        let (len, fds) = recv_fds(&b, &mut buf, 5, 20_000).unwrap();
        assert_eq!((len, fds.len()), (4, 0));
        child.take().unwrap().join();
    }
    assert!(child.is_none());
}

/// Unexpected descriptors from a peer are closed.
#[apply(isolated)]
fn unexpected_descriptors() {
    let held = descriptors(3);
    // One descriptor with every byte of a message, each byte in its own send.
    let (a, b) = pair(libc::SOCK_STREAM);
    let message = [&header(5)[..], b"hello"].concat();
    for max_fds in [None, Some(0), Some(5)] {
        let before = open_numbers();
        for byte in &message {
            send_raw_fds(&a, &[*byte], &raw(&held));
        }
        let mut buf = [0; 16];
        match max_fds {
            None => assert_eq!(recv(&b, &mut buf, 0), Ok(5)),
            Some(max_fds) => {
                let (len, fds) = recv_fds(&b, &mut buf, max_fds, 0).unwrap();
                assert_eq!((len, fds.len()), (5, max_fds.min(3)));
            }
        }
        assert_eq!(&buf[..5], b"hello");
        assert_eq!(open_numbers(), before);
    }
    // With bytes that are not a message.
    let before = open_numbers();
    send_raw_fds(&a, &[0; 100], &raw(&held));
    assert_eq!(recv_fds(&b, &mut [0; 16], 3, 0).unwrap_err(), libc::EPROTO);
    assert_eq!(open_numbers(), before);
    // With an empty message, which is skipped.
    let (a, b) = pair(libc::SOCK_SEQPACKET);
    let before = open_numbers();
    send_raw_fds(&a, &[], &raw(&held));
    let got = recv_fds(&b, &mut [0; 16], 3, 0);
    assert_eq!(got.unwrap_err(), libc::EAGAIN);
    assert_eq!(open_numbers(), before);
}

/// A receiver that has enabled credentials, pidfds and labels gets only the descriptors.
#[apply(isolated)]
fn with_other_control_data() {
    const SO_PASSPIDFD: c_int = 76;
    let mut options = vec![libc::SO_PASSCRED, libc::SO_TIMESTAMP];
    if needs::peer_pidfd().is_none() {
        options.push(SO_PASSPIDFD);
    }
    for socket_type in TYPES {
        for max_fds in [0, 1, IPC_MSG_FDS_MAX] {
            let (a, b) = pair(socket_type);
            for &option in &options {
                set_option(&b, option, 1);
            }
            let held = descriptors(IPC_MSG_FDS_MAX);
            let before = open_numbers();
            assert_eq!(send_fds(&a, b"x", &raw(&held), 0), Ok(0));
            let (len, fds) = recv_fds(&b, &mut [0; 8], max_fds, 0).unwrap();
            assert_eq!((len, fds.len()), (1, max_fds));
            assert_eq!(open_numbers().len(), before.len() + max_fds);
            assert_close_on_exec(&fds);
            drop(fds);
            assert_eq!(open_numbers(), before);
        }
    }
}

/// sendmsg with descriptors, for messages that the library does not send.
pub fn send_raw_fds(fd: &OwnedFd, bytes: &[u8], fds: &[c_int]) {
    let mut control = [0u64; 32];
    let mut iov = libc::iovec {
        iov_base: bytes.as_ptr().cast_mut().cast(),
        iov_len: bytes.len(),
    };
    // SAFETY: all zero bytes are an empty header.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    header.msg_iov = &raw mut iov;
    header.msg_iovlen = 1;
    header.msg_control = control.as_mut_ptr().cast();
    let len = size_of_val(fds) as u32;
    // SAFETY: they only compute sizes.
    let (space, cmsg_len) = unsafe { (libc::CMSG_SPACE(len), libc::CMSG_LEN(len)) };
    assert!(space as usize <= size_of_val(&control));
    header.msg_controllen = space as usize;
    let cmsg: *mut libc::cmsghdr = control.as_mut_ptr().cast();
    // SAFETY: the control data is aligned and long enough.
    unsafe {
        (*cmsg).cmsg_len = cmsg_len as usize;
        (*cmsg).cmsg_level = libc::SOL_SOCKET;
        (*cmsg).cmsg_type = libc::SCM_RIGHTS;
        let data = libc::CMSG_DATA(cmsg).cast::<c_int>();
        data.copy_from_nonoverlapping(fds.as_ptr(), fds.len());
    }
    // SAFETY: all memory that the header points to is alive.
    let sent = unsafe { libc::sendmsg(fd.as_raw_fd(), &header, 0) };
    assert_eq!(sent, bytes.len() as isize);
}

/// At the descriptor limit, arriving descriptors give EMFILE; none leaks, and the next message is
/// intact.
#[apply(isolated)]
fn arrival_at_the_limit() {
    for socket_type in TYPES {
        for len in [1, 5000, 60_000] {
            for (count, free) in [(1, 0), (3, 0), (3, 2), (253, 100), (253, 252)] {
                let _case = Case(format!(
                    "type {socket_type}, {len} bytes, {count} into {free}"
                ));
                let (a, b) = pair(socket_type);
                let held = descriptors(count);
                for round in 0..3 {
                    assert_eq!(send_fds(&a, &pattern(len, 1), &raw(&held), 0), Ok(0));
                    assert_eq!(send(&a, b"next", 0), Ok(0));
                    let before = open_numbers();
                    let mut buf = vec![0; len.max(4)];
                    let got = with_room_for(free, || recv_fds(&b, &mut buf, count, 0));
                    assert_eq!(got.unwrap_err(), libc::EMFILE, "round {round}");
                    assert_eq!(open_numbers(), before);
                    assert_eq!(recv(&b, &mut buf, 0), Ok(4));
                    assert_eq!(&buf[..4], b"next");
                }
                // A limit that is just high enough.
                assert_eq!(send_fds(&a, b"x", &raw(&held), 0), Ok(0));
                let got = with_room_for(count as u64, || recv_fds(&b, &mut [0; 8], count, 0));
                assert_eq!(got.unwrap().1.len(), count);
                // A receiver that wants no descriptors needs no free numbers.
                assert_eq!(send_fds(&a, b"x", &raw(&held), 0), Ok(0));
                assert_eq!(with_room_for(0, || recv(&b, &mut [0; 8], 0)), Ok(1));
            }
        }
    }
}

/// All calls at the descriptor limit: only those that create descriptors fail.
#[apply(isolated)]
fn calls_at_the_limit() {
    for socket_type in TYPES {
        let (a, b) = pair(socket_type);
        let before = open_numbers();
        for max_fds in [0, 1] {
            let mut fds = [-7; 2];
            let got = with_room_for(max_fds, || {
                // SAFETY: an array of two.
                outcome(|| unsafe { ipc_pair_open(socket_type, fds.as_mut_ptr()) } as isize)
            });
            assert_eq!((got, fds), (Err(libc::EMFILE), [-7; 2]));
        }
        with_room_for(0, || {
            let mut buf = [0; 8];
            for timeout_ms in [-1, 0, 1000, IPC_WAIT_INTR] {
                assert_eq!(send(&a, b"one", timeout_ms), Ok(0));
                assert_eq!(recv(&b, &mut buf, timeout_ms), Ok(3));
                assert_eq!(send_fds(&a, b"two", &[a.as_raw_fd()], timeout_ms), Ok(0));
                assert_eq!(recv(&b, &mut buf, timeout_ms), Ok(3));
                assert_eq!(send(&a, b"three", timeout_ms), Ok(0));
                assert_eq!(recv_fds(&b, &mut buf, 3, timeout_ms).unwrap().0, 5);
                assert_eq!(send_full(&a, b"four", None, timeout_ms), Ok(4));
                assert_eq!(recv_full(&b, &mut buf[..4], None, timeout_ms), Ok(4));
            }
            assert_eq!(recv(&b, &mut buf, 1), Err(libc::ETIMEDOUT));
            let mut cred = [0; 3];
            // SAFETY: a structure of three ints.
            let got = unsafe { ipc_peer_cred(a.as_raw_fd(), cred.as_mut_ptr().cast(), 12) };
            assert_eq!(got, 0);
        });
        assert_eq!(open_numbers(), before);
    }
}

/// The kernel limits the descriptors in flight of an unprivileged user.
#[apply(isolated)]
#[needs(needs::root)]
fn too_many_in_flight() {
    for socket_type in TYPES {
        fork(|| {
            let (a, b) = pair(socket_type);
            let held = descriptors(100);
            become_nobody().unwrap();
            // SAFETY: no pointers; it keeps /proc/self readable after the change of user.
            unsafe { libc::prctl(libc::PR_SET_DUMPABLE, 1) };
            set_soft_limit(libc::RLIMIT_NOFILE, 250);
            let mut sent = 0;
            let error = loop {
                match send_fds(&a, b"x", &raw(&held), 0) {
                    Ok(_) => sent += 1,
                    Err(error) => break error,
                }
            };
            assert_eq!(error, libc::ETOOMANYREFS);
            assert!((2..=4).contains(&sent), "{sent}");
            for _ in 0..sent {
                assert_eq!(recv(&b, &mut [0; 8], 0), Ok(1));
            }
            assert_eq!(recv(&b, &mut [0; 8], 0), Err(libc::EAGAIN));
            assert_eq!(send_fds(&a, b"x", &raw(&held), 0), Ok(0));
        })
        .join();
    }
}
