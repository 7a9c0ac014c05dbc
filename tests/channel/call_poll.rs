//! A server with an event loop.

use crate::call::raw_request;
use crate::event_loop::{Poller, SOON, TRIGGERS, Trigger};
use crate::support::*;
use libc::{EAGAIN, EBADMSG};
use std::thread;

/// Requests that have expired make the descriptor readable, and the call that skips them arms it
/// again.
#[apply(isolated)]
fn expired_requests() {
    for trigger in TRIGGERS {
        let _case = Case(trigger);
        let (a, b) = pair();
        let poller = Poller::new(&b, trigger);
        assert_eq!(b.next_call(9, 0), Err(EAGAIN));
        for round in 1..100 {
            for _ in 0..round % 4 {
                assert_eq!(a.send(&raw_request(1, 1, b"expired"), 0), DONE);
            }
            if round % 4 != 0 {
                assert!(poller.is_ready(SOON));
                assert_eq!(b.next_call(9, 0), Err(EAGAIN));
            }
            assert!(!poller.is_ready(0), "readable without a request");
            assert_eq!(a.send(&raw_request(round, 0, b"x"), 0), DONE);
            assert!(poller.is_ready(SOON));
            assert_eq!(b.next_call(9, 0).unwrap().0, round);
            assert_eq!(b.next_call(9, 0), Err(EAGAIN));
            assert!(!poller.is_ready(0));
        }
    }
}

/// A message that is not a request keeps the descriptor readable.
#[apply(isolated)]
fn ordinary_message() {
    let (a, b) = pair();
    let poller = Poller::new(&b, Trigger::Level);
    assert_eq!(a.send(b"ordinary", 0), DONE);
    for _ in 0..3 {
        assert!(poller.is_ready(SOON));
        assert_eq!(b.next_call(9, 0), Err(EBADMSG));
    }
    assert_eq!(b.recv(0).unwrap(), b"ordinary");
    assert_eq!(b.next_call(9, 0), Err(EAGAIN));
    assert!(!poller.is_ready(0));
}

/// A server without blocking calls serves a caller.
#[apply(isolated)]
fn serves() {
    const CALLS: u32 = 5000;
    for trigger in TRIGGERS {
        let (a, b) = pair();
        let poller = Poller::new(&b, trigger);
        thread::scope(|scope| {
            let caller = scope.spawn(|| {
                for number in 0..CALLS {
                    let request = number.to_le_bytes();
                    if number % 50 == 0 {
                        let _ = a.call(b"short", 9, 1);
                    }
                    assert_eq!(a.call(&request, 9, LONG).unwrap(), request);
                }
                assert_eq!(a.shutdown(libc::SHUT_WR), DONE);
            });
            'events: while poller.is_ready(LONG) {
                loop {
                    match b.next_call(9, 0) {
                        Ok((0, _)) => break 'events,
                        Ok((_, request)) if request == b"short" => {}
                        Ok((id, request)) => assert_eq!(b.reply(id, &request, LONG), DONE),
                        Err(error) => {
                            assert_eq!(error, EAGAIN);
                            break;
                        }
                    }
                }
            }
            caller.join().unwrap();
        });
    }
}
