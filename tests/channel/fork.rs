//! fork(2) while another thread makes a channel, or completes its handshake.

use crate::end::close_copy;
use crate::event_loop::SOON;
use crate::fork_points::fork_at_each_call;
use crate::support::*;
use libc::{EAGAIN, EBUSY, EPIPE, ETIMEDOUT, SOCK_SEQPACKET, c_int};

/// A name for a listener of this process, which no other test has.
fn name() -> String {
    format!("@unixipc-test-fork-{}", std::process::id())
}

/// Waits for signals until this process is killed.
fn stay() {
    loop {
        // SAFETY: takes nothing.
        unsafe { libc::pause() };
    }
}

/// The peer in a process of its own: it makes its end, exchanges a message with the other one and
/// closes when slot 0 of `shared` says so.
fn peer(shared: &Counters, make: impl FnOnce() -> Result<End, c_int>) {
    let end = make().unwrap();
    assert_eq!(end.send(b"x", LONG), DONE);
    assert_eq!(end.recv(LONG).unwrap(), b"y");
    shared.wait_for(0, 1);
    drop(end);
}

/// Makes an end while the process is forked at each system call. The children stay alive, and
/// still the peer's end is noticed at once.
fn end_is_not_hidden(
    shared: &Counters,
    peer: Child,
    make: impl FnOnce() -> Result<End, c_int> + Send,
) {
    let exchange = || {
        let end = make().unwrap();
        assert_eq!(end.recv(LONG).unwrap(), b"x");
        assert_eq!(end.send(b"y", LONG), DONE);
        end
    };
    let (end, children) = fork_at_each_call(exchange, |_| stay());
    println!("{} children", children.len());
    shared.set(0, 1);
    peer.join();
    assert_eq!(end.recv(SOON), Ok(vec![]), "the end of the peer");
    assert_eq!(poll(end.fd().unwrap(), SOON), libc::POLLIN);
    assert_eq!(end.send(b"x", 0), Err(EPIPE));
    drop(children);
}

#[apply(isolated)]
#[needs(crate::fork_points::why_not)]
fn during_accept() {
    let (name, shared) = (name(), Counters::new());
    let listener = listen(&name);
    let client = fork(|| peer(&shared, || connect(&name, LONG)));
    end_is_not_hidden(&shared, client, || accept(&listener, LONG));
}

#[apply(isolated)]
#[needs(crate::fork_points::why_not)]
fn during_connect() {
    let (name, shared) = (name(), Counters::new());
    let listener = listen(&name);
    let server = fork(|| peer(&shared, || accept(&listener, LONG)));
    drop(listener);
    end_is_not_hidden(&shared, server, || connect(&name, LONG));
}

#[apply(isolated)]
#[needs(crate::fork_points::why_not)]
fn during_from_fd() {
    let (mine, others) = sockets(SOCK_SEQPACKET);
    let shared = Counters::new();
    let other = fork(|| {
        // SAFETY: inherited, and not used here; the copy of its owner is never dropped.
        unsafe { libc::close(std::os::fd::AsRawFd::as_raw_fd(&mine)) };
        peer(&shared, || from_fd(&others, LONG));
    });
    drop(others);
    end_is_not_hidden(&shared, other, move || from_fd(&mine, LONG));
}

/// A call on an end.
type Operation = fn(&End) -> Outcome;

/// The calls that a child makes on the end that it has inherited.
const OPERATIONS: [(&str, Operation); 6] = [
    ("fd", |end| end.fd().map(|_| 0)),
    ("recv(0)", |end| end.recv(0).map(|_| 0)),
    ("send(0)", |end| end.send(b"from the child", 0)),
    ("recv(20)", |end| end.recv(20).map(|_| 0)),
    ("send(20)", |end| end.send(b"from the child", 20)),
    ("shutdown", |end| end.shutdown(libc::SHUT_RD)),
];

/// A call of another thread completes the handshake of an accepted end while the process is
/// forked at each system call. In the children no call on that end hangs.
#[apply(isolated)]
#[needs(crate::fork_points::why_not)]
fn during_handshake() {
    let calls: [(&str, Operation); 2] = [
        ("recv", |end| end.recv(LONG).map(|_| 0)),
        ("send", |end| end.send(b"y", LONG)),
    ];
    for (what, call) in calls {
        for (first, (first_operation, _)) in OPERATIONS.iter().enumerate() {
            let _case = Case(format!("handshake in {what}, {first_operation} first"));
            handshake_is_not_held(call, first);
        }
    }
}

fn handshake_is_not_held(call: Operation, first: usize) {
    let (name, shared) = (name(), Counters::new());
    let listener = listen(&name);
    let client = fork(|| {
        let end = connect(&name, LONG).unwrap();
        assert_eq!(end.send(b"x", LONG), DONE);
        shared.set(1, 1);
        shared.wait_for(0, 2);
        drop(end);
    });
    let end = accept(&listener, LONG).unwrap();
    shared.wait_for(1, 1);
    // A child begins when the handshake is complete, so that it does not take part in it. Slot
    // 10 + its number holds the operation that it has come to.
    let child = |number: usize| {
        shared.wait_for(0, 1);
        // SAFETY: no pointers; it ends a child that hangs.
        unsafe { libc::alarm(10) };
        for at in 0..OPERATIONS.len() {
            let which = (first + at) % OPERATIONS.len();
            shared.set(10 + number, which as u64 + 1);
            let (what, operation) = OPERATIONS[which];
            let result = operation(&end);
            assert!(
                matches!(result, DONE | Err(EAGAIN | EBUSY | EPIPE | ETIMEDOUT)),
                "{what}: {result:?}"
            );
        }
        shared.set(10 + number, 0);
        close_copy(&end);
    };
    let (done, children) = fork_at_each_call(|| call(&end), child);
    assert_eq!(done, DONE);
    shared.set(0, 1);
    for (number, child) in children.into_iter().enumerate() {
        let status = child.reap();
        let last = shared.get(10 + number) as usize;
        let last = last.checked_sub(1).map(|at| OPERATIONS[at].0);
        assert_eq!(status, 0, "child {number}, which was in {last:?}");
    }
    shared.set(0, 2);
    client.join();
}
