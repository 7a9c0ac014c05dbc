//! The number of system calls per message, counted by strace.

use crate::support::*;
use common::strace::{MARKER, marker, name, trace};
use libc::c_int;
use std::os::fd::AsRawFd;

const ROUNDS: usize = 10;

/// A case: its description, its run, and the system calls that it must make.
struct Counted {
    what: String,
    run: Box<dyn Fn()>,
    expected: &'static [&'static str],
}

fn counted(
    what: &str,
    ends: &'static Pair,
    timeout_ms: c_int,
    expected: &'static [&'static str],
    run: fn(&Pair, c_int),
) -> Counted {
    Counted {
        what: format!("{what}, time-out {timeout_ms}"),
        run: Box::new(move || run(ends, timeout_ms)),
        expected,
    }
}

fn send_short(ends: &Pair, timeout_ms: c_int) {
    send(&ends.0, b"12345678", timeout_ms).unwrap();
}

fn send_in_parts(ends: &Pair, timeout_ms: c_int) {
    let parts = split(b"12345678", 3);
    assert_eq!(send_parts(&ends.0, &parts, timeout_ms), Ok(8));
}

fn recv_short(ends: &Pair, timeout_ms: c_int) {
    assert_eq!(recv(&ends.1, &mut [0; 8], timeout_ms), Ok(8));
}

fn send_descriptor(ends: &Pair, timeout_ms: c_int) {
    send_fds(&ends.0, b"12345678", &[0], timeout_ms).unwrap();
}

fn recv_without_fds(ends: &Pair, timeout_ms: c_int) {
    // It receives no descriptor: closing one would be counted too.
    let (len, fds) = recv_fds(&ends.1, &mut [0; 8], 1, timeout_ms).unwrap();
    assert_eq!((len, fds.len()), (8, 0));
}

fn full_send(ends: &Pair, timeout_ms: c_int) {
    send_full(&ends.0, b"12345678", None, timeout_ms).unwrap();
}

fn full_recv(ends: &Pair, timeout_ms: c_int) {
    assert_eq!(recv_full(&ends.1, &mut [0; 8], None, timeout_ms), Ok(8));
}

fn drain(ends: &Pair, _: c_int) {
    while recv(&ends.1, &mut [0; 8], 0).is_ok() {}
}

#[apply(isolated)]
#[needs(needs::strace)]
fn system_calls() {
    let leak = |socket_type| -> &'static Pair { Box::leak(Box::new(pair(socket_type))) };
    let [stream, seqpacket, dgram] = TYPES.map(leak);
    let mut all = Vec::new();
    for timeout_ms in [-1, 0, 1000, -2] {
        let mut add = |what, ends, expected, run| {
            all.push(counted(what, ends, timeout_ms, expected, run));
        };
        add(
            "SEQPACKET send",
            seqpacket,
            &["sendto"][..],
            send_short as fn(&Pair, c_int),
        );
        add(
            "SEQPACKET receive",
            seqpacket,
            &["recvfrom", "recvfrom"],
            recv_short,
        );
        add("SEQPACKET send", seqpacket, &["sendto"], send_short);
        add(
            "SEQPACKET receive with descriptors",
            seqpacket,
            &["recvfrom", "recvmsg"],
            recv_without_fds,
        );
        add(
            "SEQPACKET send descriptors",
            seqpacket,
            &["getsockopt", "sendmsg"],
            send_descriptor,
        );
        add("SEQPACKET parts", seqpacket, &["sendmsg"], send_in_parts);
        add(
            "STREAM parts",
            stream,
            &["sendmsg", "sendmsg"],
            send_in_parts,
        );
        let asked = &["sendmsg", "getsockopt", "sendmsg"];
        add("DGRAM parts", dgram, asked, send_in_parts);
        for ends in [seqpacket, stream, dgram] {
            add("drain", ends, &[], drain);
        }
        add("STREAM send", stream, &["sendto", "sendmsg"], send_short);
        add(
            "STREAM receive",
            stream,
            &["recvfrom", "recvfrom", "recvfrom"],
            recv_short,
        );
        add("STREAM send", stream, &["sendto", "sendmsg"], send_short);
        let calls = &["recvfrom", "recvmsg", "recvfrom"];
        add(
            "STREAM receive with descriptors",
            stream,
            calls,
            recv_without_fds,
        );
        add("ipc_send_full", stream, &["sendto"], full_send);
        add("ipc_recv_full", stream, &["recvfrom"], full_recv);
        let asked = &["sendto", "getsockopt", "sendto"];
        add("DGRAM send", dgram, asked, send_short);
        let asked = &["recvfrom", "recvfrom"];
        add("DGRAM receive", dgram, asked, recv_short);
    }
    // The first receive of a process queries the kernel's features.
    assert_eq!(recv(&seqpacket.1, &mut [0; 8], 0), Err(libc::EAGAIN));
    let trace = trace(|| {
        for counted in &all {
            marker();
            for _ in 0..ROUNDS {
                (counted.run)();
            }
        }
        marker();
    });
    let phases: Vec<Vec<&str>> = trace
        .split(MARKER)
        .map(|phase| phase.lines().filter_map(name).collect())
        .collect();
    assert_eq!(phases.len(), all.len() + 2, "{trace}");
    for (counted, phase) in all.iter().zip(&phases[1..]) {
        if counted.expected.is_empty() {
            continue;
        }
        let expected = counted.expected.repeat(ROUNDS);
        assert_eq!(*phase, expected, "{}", counted.what);
    }
    for ends in [stream, seqpacket, dgram] {
        for fd in [&ends.0, &ends.1] {
            drop(own(fd.as_raw_fd()));
        }
    }
}
