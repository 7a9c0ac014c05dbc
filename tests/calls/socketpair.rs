//! socketpair.

use crate::both::{Calls, Outcome, Pages, both, same};
use crate::call;
use common::prelude::*;
use libc::*;

/// The content of sv before a call.
const UNTOUCHED: [c_int; 2] = [-7, -7];

/// All visible effects of a call.
#[derive(Debug, PartialEq)]
struct Effect {
    outcome: Outcome,
    sv: [c_int; 2],
    open: Vec<Descriptor>,
    ends: Vec<End>,
}

/// An open descriptor and its flags.
#[derive(Debug, PartialEq)]
struct Descriptor {
    fd: c_int,
    close_on_exec: bool,
    status: c_int,
}

/// One end of a pair: its domain, type and protocol, and the data that it receives.
#[derive(Debug, PartialEq)]
struct End {
    options: [c_int; 3],
    received: Vec<Vec<u8>>,
}

fn run(calls: &Calls, domain: c_int, socket_type: c_int, protocol: c_int) -> Effect {
    let mut sv = UNTOUCHED;
    let outcome = call!(calls.socketpair(domain, socket_type, protocol, sv.as_mut_ptr()));
    let open = open_descriptors();
    let mut ends = Vec::new();
    if outcome.is_ok() {
        ends.push(exchange(sv[0], sv[1]));
        ends.push(exchange(sv[1], sv[0]));
        close_both(sv);
    }
    Effect {
        outcome,
        sv,
        open,
        ends,
    }
}

fn open_descriptors() -> Vec<Descriptor> {
    let mut open = Vec::new();
    for fd in 0..64 {
        // SAFETY: no pointers.
        let flags = unsafe { fcntl(fd, F_GETFD) };
        if flags != -1 {
            // SAFETY: no pointers.
            let status = unsafe { fcntl(fd, F_GETFL) };
            open.push(Descriptor {
                fd,
                close_on_exec: flags & FD_CLOEXEC != 0,
                status,
            });
        }
    }
    open
}

/// Sends twice and compares the received data: a byte stream joins the two writes, the other types
/// do not.
fn exchange(from: c_int, to: c_int) -> End {
    for text in ["ab", "c"] {
        // SAFETY: the text is readable.
        let sent = unsafe { send(from, text.as_ptr().cast(), text.len(), MSG_DONTWAIT) };
        assert_eq!(sent, text.len() as isize);
    }
    let mut received = Vec::new();
    loop {
        let mut buf = [0; 8];
        // SAFETY: the buffer is ours.
        let n = unsafe { recv(to, buf.as_mut_ptr().cast(), buf.len(), MSG_DONTWAIT) };
        if n == -1 {
            break;
        }
        received.push(buf[..n as usize].to_vec());
    }
    let options = [SO_DOMAIN, SO_TYPE, SO_PROTOCOL].map(|option| {
        let mut value = -1;
        let mut len = size_of::<c_int>() as socklen_t;
        // SAFETY: value and len are ours and match.
        let got = unsafe { getsockopt(to, SOL_SOCKET, option, (&raw mut value).cast(), &mut len) };
        assert_eq!(got, 0);
        value
    });
    End { options, received }
}

fn close_both(sv: [c_int; 2]) {
    for fd in sv {
        // SAFETY: the descriptor is ours.
        assert_eq!(unsafe { close(fd) }, 0);
    }
}

#[apply(isolated)]
fn arguments() {
    let flags = [
        0,
        SOCK_CLOEXEC,
        SOCK_NONBLOCK,
        SOCK_CLOEXEC | SOCK_NONBLOCK,
        1 << 20,
        SOCK_CLOEXEC | 1 << 30,
        i32::MIN,
    ];
    for socket_type in 0..=15 {
        for flags in flags {
            for protocol in [0, 1, 2, 6, 255, -1, i32::MIN, i32::MAX] {
                let socket_type = socket_type | flags;
                same(format!("AF_UNIX, {socket_type:#o}, {protocol}"), |calls| {
                    run(calls, AF_UNIX, socket_type, protocol)
                });
            }
        }
    }

    for (socket_type, received) in [
        (SOCK_STREAM, vec![b"abc".to_vec()]),
        (SOCK_DGRAM, vec![b"ab".to_vec(), b"c".to_vec()]),
        (SOCK_SEQPACKET, vec![b"ab".to_vec(), b"c".to_vec()]),
    ] {
        for (flags, close_on_exec, nonblocking) in [
            (0, false, 0),
            (SOCK_CLOEXEC, true, 0),
            (SOCK_NONBLOCK, false, O_NONBLOCK),
            (SOCK_CLOEXEC | SOCK_NONBLOCK, true, O_NONBLOCK),
        ] {
            let effect = both(socket_type, |calls| {
                run(calls, AF_UNIX, socket_type | flags, 0)
            });
            assert_eq!(effect.outcome, Ok(0));
            for end in effect.ends {
                assert_eq!(
                    end,
                    End {
                        options: [AF_UNIX, socket_type, 0],
                        received: received.clone()
                    }
                );
            }
            for fd in effect.sv {
                let is = effect.open.iter().find(|open| open.fd == fd).unwrap();
                let status = O_RDWR | nonblocking;
                assert_eq!(
                    *is,
                    Descriptor {
                        fd,
                        close_on_exec,
                        status
                    }
                );
            }
        }
    }
}

#[apply(isolated)]
fn errors() {
    let before = open_descriptors();
    for (domain, socket_type, protocol, errno) in [
        (-1, SOCK_STREAM, 0, EAFNOSUPPORT),
        (AF_UNSPEC, SOCK_STREAM, 0, EAFNOSUPPORT),
        (46, SOCK_STREAM, 0, EAFNOSUPPORT),
        (i32::MAX, SOCK_STREAM, 0, EAFNOSUPPORT),
        (i32::MIN, SOCK_STREAM, 0, EAFNOSUPPORT),
        (AF_INET, SOCK_STREAM, 0, EOPNOTSUPP),
        (AF_INET, SOCK_DGRAM, 0, EOPNOTSUPP),
        (AF_NETLINK, SOCK_DGRAM, 0, EOPNOTSUPP),
        (AF_UNIX, 0, 0, ESOCKTNOSUPPORT),
        (AF_UNIX, 4, 0, ESOCKTNOSUPPORT),
        (AF_UNIX, 11, 0, EINVAL),
        (AF_UNIX, 15, 0, EINVAL),
        (AF_UNIX, -1, 0, EINVAL),
        (AF_UNIX, SOCK_STREAM | 1 << 20, 0, EINVAL),
        (AF_UNIX, SOCK_STREAM, 2, EPROTONOSUPPORT),
        (AF_UNIX, SOCK_STREAM, -1, EPROTONOSUPPORT),
    ] {
        let what = format!("{domain}, {socket_type:#o}, {protocol}");
        let effect = both(&what, |calls| run(calls, domain, socket_type, protocol));
        assert_eq!(effect.outcome, Err(errno), "{what}");
        assert_eq!(effect.open, before, "{what}");
        // The kernel checks the flags before it writes to sv, and the other arguments after.
        if errno == EINVAL && socket_type > 15 {
            assert_eq!(effect.sv, UNTOUCHED, "{what}");
        }
    }
}

#[apply(isolated)]
fn pointers() {
    let pages = Pages::new();
    let before = open_descriptors();
    let mut bad = pages.invalid_pointers::<c_int>();
    bad.push(("a read-only page", pages.read_only()));
    for len in [1, 2, 3, 4, 5, 7] {
        bad.push(("too few bytes before an inaccessible page", pages.last(len)));
    }
    for (name, sv) in bad {
        let (outcome, _, open) = both(name, |calls| {
            pages.last::<u8>(0);
            let outcome = call!(calls.socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
            (outcome, pages.bytes(), open_descriptors())
        });
        assert_eq!(outcome, Err(EFAULT), "{name}");
        assert_eq!(open, before, "{name}");
    }
    for (name, len) in [("the last eight bytes", 8), ("unaligned", 9)] {
        let outcome = both(name, |calls| {
            let sv = pages.last::<c_int>(len);
            let outcome = call!(calls.socketpair(AF_UNIX, SOCK_STREAM, 0, sv));
            // SAFETY: eight readable bytes, possibly unaligned.
            let fds = unsafe { sv.cast::<[c_int; 2]>().read_unaligned() };
            close_both(fds);
            (outcome, pages.bytes())
        });
        assert_eq!(outcome.0, Ok(0));
    }
}

#[apply(isolated)]
fn no_descriptors() {
    // SAFETY: no pointers.
    let lowest = unsafe { dup(0) };
    // SAFETY: the descriptor is ours.
    unsafe { close(lowest) };
    for (free, outcome) in [(0, Err(EMFILE)), (1, Err(EMFILE)), (2, Ok(0))] {
        let effect = both(format!("free for {free}"), |calls| {
            let old = set_soft_limit(RLIMIT_NOFILE, lowest as u64 + free);
            let effect = run(calls, AF_UNIX, SOCK_STREAM, 0);
            set_soft_limit(RLIMIT_NOFILE, old);
            effect
        });
        assert_eq!(effect.outcome, outcome);
        if outcome.is_err() {
            assert_eq!((effect.sv, effect.open), (UNTOUCHED, open_descriptors()));
        }
    }
}
