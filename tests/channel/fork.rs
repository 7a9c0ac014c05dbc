//! fork(2) while another thread makes a channel or completes its handshake.

use crate::event_loop::SOON;
use crate::fork_points::fork_at_each_call;
use crate::peer::abstract_name;
use crate::support::*;
use libc::{EAGAIN, EBUSY, EPIPE, ETIMEDOUT, SOCK_SEQPACKET, c_int};

/// The peer, in a process of its own: it makes its end, exchanges a message with the other end, and
/// closes its end when slot 0 of `shared` is 1.
fn peer(shared: &Counters, make: impl FnOnce() -> Result<End, c_int>) {
    let end = make().unwrap();
    assert_eq!(end.send(b"x", LONG), DONE);
    assert_eq!(end.recv(LONG).unwrap(), b"y");
    shared.wait_for(0, 1);
    drop(end);
}

/// Makes an end while the process is forked at each system call. Although the children stay alive,
/// the end detects at once that the peer has closed.
fn check_peer_close(
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
    let (end, children) = fork_at_each_call(exchange, |_| sleep_forever());
    println!("{} children", children.len());
    shared.set(0, 1);
    peer.join();
    assert_eq!(end.recv(SOON), Ok(vec![]), "the peer has closed");
    assert_eq!(poll(end.fd().unwrap(), SOON), libc::POLLIN);
    assert_eq!(end.send(b"x", 0), Err(EPIPE));
    drop(children);
}

#[apply(isolated)]
#[needs(crate::fork_points::why_not)]
fn during_accept() {
    let (name, shared) = (abstract_name(), Counters::new());
    let listener = listen(&name);
    let client = fork(|| peer(&shared, || connect(&name, LONG)));
    check_peer_close(&shared, client, || accept(&listener, LONG));
}

#[apply(isolated)]
#[needs(crate::fork_points::why_not)]
fn during_connect() {
    let (name, shared) = (abstract_name(), Counters::new());
    let listener = listen(&name);
    let server = fork(|| peer(&shared, || accept(&listener, LONG)));
    drop(listener);
    check_peer_close(&shared, server, || connect(&name, LONG));
}

#[apply(isolated)]
#[needs(crate::fork_points::why_not)]
fn during_from_fd() {
    let (socket, peer_socket) = sockets(SOCK_SEQPACKET);
    let shared = Counters::new();
    let child = fork(|| {
        // SAFETY: a copy that this process has inherited; it does not drop the owner.
        unsafe { libc::close(std::os::fd::AsRawFd::as_raw_fd(&socket)) };
        peer(&shared, || from_fd(&peer_socket, LONG));
    });
    drop(peer_socket);
    check_peer_close(&shared, child, move || from_fd(&socket, LONG));
}

/// A call on an end.
type Operation = fn(&End) -> Outcome;

/// The calls that a child makes on its inherited end.
const OPERATIONS: [(&str, Operation); 6] = [
    ("fd", |end| end.fd().map(|_| 0)),
    ("recv(0)", |end| end.recv(0).map(|_| 0)),
    ("send(0)", |end| end.send(b"from the child", 0)),
    ("recv(20)", |end| end.recv(20).map(|_| 0)),
    ("send(20)", |end| end.send(b"from the child", 20)),
    ("shutdown", |end| end.shutdown(libc::SHUT_RD)),
];

/// A call in another thread completes the handshake of an accepted end while the process is forked
/// at each system call. No call on that end hangs in the children.
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
            check_handshake(call, first);
        }
    }
}

fn check_handshake(call: Operation, first: usize) {
    let (name, shared) = (abstract_name(), Counters::new());
    let listener = listen(&name);
    let client = fork(|| {
        let end = connect(&name, LONG).unwrap();
        assert_eq!(end.send(b"x", LONG), DONE);
        shared.set(1, 1);
        shared.wait_for(0, 2);
        drop(end);
    });
    // It sleeps when it has sent its hello. If accept came before that, it would not reply.
    client.wait_asleep();
    let end = accept(&listener, LONG).unwrap();
    shared.wait_for(1, 1);
    // A child begins after the handshake, so that it does not take part in it. Slot 10 + its number
    // holds the operation that it makes.
    let child = |number: usize| {
        shared.wait_for(0, 1);
        set_alarm(10); // ends a child that hangs
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
        assert_eq!(status, 0, "child {number}, in {last:?}");
    }
    shared.set(0, 2);
    client.join();
}
