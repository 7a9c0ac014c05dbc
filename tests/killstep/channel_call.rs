//! Calls over a channel: the caller or the server is killed.

use crate::channel::{Calls, Case, Ch, Ends, LONG, SHORT, SHORT_TIMEOUT, WAIT, nothing};
use crate::check;
use crate::harness::{Finished, Verdict};
use crate::support::{Outcome, expect, outcome};
use common::isolated::apply;
use libc::{EPIPE, ETIMEDOUT, c_int};
use std::sync::atomic::Ordering::SeqCst;

/// A time of the monotonic clock in the past.
const PAST: u64 = 1;

impl Calls {
    /// Calls with the message of this number as the request.
    fn call(&self, ch: Ch, number: usize, reply: &mut [u8], timeout: c_int) -> Outcome {
        let bytes = &self.messages[number];
        let (request, len) = (bytes.as_ptr().cast(), bytes.len());
        let (at, cap) = (reply.as_mut_ptr().cast(), reply.len());
        let call = self.library.ipc_channel_call;
        // SAFETY: an open handle, and buffers of these sizes.
        outcome(unsafe { call(ch, request, len, at, cap, timeout) })
    }

    /// Receives a request. Stores the id of the call.
    fn next_call(&self, ch: Ch, buffer: &mut [u8], ret_id: &mut u64) -> Outcome {
        let (at, cap) = (buffer.as_mut_ptr().cast(), buffer.len());
        let call = self.library.ipc_channel_next_call;
        // SAFETY: an open handle, a buffer of this size, and an out pointer.
        outcome(unsafe { call(ch, at, cap, ret_id, WAIT) })
    }

    fn reply(&self, ch: Ch, id: u64, bytes: &[u8]) -> Outcome {
        let (at, len) = (bytes.as_ptr().cast(), bytes.len());
        let call = self.library.ipc_channel_reply;
        // SAFETY: an open handle, and a buffer of this size.
        outcome(unsafe { call(ch, id, at, len, WAIT) } as isize)
    }
}

/// The victim makes this call. The server replies with the bytes of the request.
fn victim_calls(ends: &Ends, number: usize) {
    let reply = &mut ends.buffer.borrow_mut()[..];
    let len = ends.calls.messages[number].len();
    assert_eq!(ends.calls.call(ends.victim, number, reply, WAIT), Ok(len));
    assert!(reply[..len] == ends.calls.messages[number]);
}

/// The survivor serves until the session ends. Each request must be complete. It must receive the
/// first `before` requests, and the next one if the victim's operation finished.
fn serves(ends: &Ends, finished: &Finished, before: usize) -> Verdict {
    let (calls, ch) = (ends.calls, ends.survivor);
    let mut buffer = calls.buffer();
    let mut count = 0;
    ends.page.waits.store(1, SeqCst);
    loop {
        let mut id = 0;
        let len = match calls.next_call(ch, &mut buffer, &mut id) {
            Ok(0) => break,
            Ok(len) if calls.messages.get(count).map(Vec::as_slice) == Some(&buffer[..len]) => len,
            other => return Err(format!("request {count}: {other:?}")),
        };
        count += 1;
        match calls.reply(ch, id, &buffer[..len]) {
            Ok(0) | Err(EPIPE) => {}
            other => return Err(format!("reply {count}: {other:?}")),
        }
        ends.page.received.store(count as u32, SeqCst);
    }
    if !(before + usize::from(finished.get())..=before + 1).contains(&count) {
        return Err(format!("{count} requests, at least {before} were sent"));
    }
    calls.has_ended(ch)
}

/// The caller is killed. The server continues.
fn check_caller(name: &str, len: usize, set_up: fn(&Ends), prepare: fn(&Ends)) {
    let case = Case::<false, true> {
        calls: Calls::new(&[SHORT, len]),
        set_up,
        prepare,
        operate: |ends| victim_calls(ends, 1),
        survive: |ends, finished| serves(ends, finished, 1),
    };
    check(name, &case);
}

#[apply(scenario)]
fn call() {
    check_caller("ipc_channel_call", SHORT, nothing, |ends| {
        victim_calls(ends, 0);
        ends.page.wait_for_survivor(1);
    });
}

#[apply(scenario)]
fn call_long() {
    check_caller("ipc_channel_call, 3 kB", LONG, nothing, |ends| {
        victim_calls(ends, 0);
    });
}

/// The victim discards two late replies before it sends its request.
#[apply(scenario)]
fn call_after_late_replies() {
    let case = Case::<false, true> {
        calls: Calls::new(&[SHORT]),
        set_up: |ends| {
            for id in [2, 4] {
                assert_eq!(ends.calls.reply(ends.survivor, id, &[7; 50]), Ok(0));
            }
        },
        prepare: nothing,
        operate: |ends| victim_calls(ends, 0),
        survive: |ends, finished| serves(ends, finished, 0),
    };
    check("ipc_channel_call, late replies", &case);
}

/// No process replies, and the call times out.
#[apply(scenario)]
fn call_timed_out() {
    let case = Case::<false, false> {
        calls: Calls::new(&[SHORT]),
        set_up: nothing,
        prepare: nothing,
        operate: |ends| {
            let reply = &mut ends.buffer.borrow_mut()[..];
            let called = ends.calls.call(ends.victim, 0, reply, SHORT_TIMEOUT);
            assert_eq!(called, Err(ETIMEDOUT));
        },
        survive: |ends, finished| {
            let mut id = 0;
            let mut buffer = ends.calls.buffer();
            let next = ends.calls.next_call(ends.survivor, &mut buffer, &mut id);
            match next {
                Ok(0) => ends.calls.has_ended(ends.survivor),
                Ok(SHORT) if buffer[..SHORT] == ends.calls.messages[0] && !finished.get() => {
                    ends.calls.has_ended(ends.survivor)
                }
                other => Err(format!("{other:?}")),
            }
        },
    };
    check("ipc_channel_call, timed out", &case);
}

/// The victim serves one request.
fn victim_serves(ends: &Ends, number: usize) {
    let buffer = &mut ends.buffer.borrow_mut()[..];
    let len = ends.calls.messages[number].len();
    let mut id = 0;
    assert_eq!(ends.calls.next_call(ends.victim, buffer, &mut id), Ok(len));
    assert_eq!(ends.calls.reply(ends.victim, id, &buffer[..len]), Ok(0));
}

/// The survivor calls until the server is dead. It receives the first reply, and the second one if
/// the server's operation finished. The other calls fail with `EPIPE`.
fn calls_until_epipe(ends: &Ends, finished: &Finished) -> Verdict {
    let calls = ends.calls;
    let mut reply = calls.buffer();
    for number in 0..3 {
        let request = calls.messages.get(number).unwrap_or(&calls.messages[0]);
        ends.page.waits.store(1, SeqCst);
        let called = calls.call(ends.survivor, number.min(1), &mut reply, WAIT);
        match called {
            Ok(len) if number < 2 && reply[..len] == request[..] => {}
            Err(EPIPE) if number > 0 => {
                let served = if finished.get() { 2 } else { 1 };
                if number < served {
                    return Err(format!("the reply {number} was lost"));
                }
                let again = calls.call(ends.survivor, 0, &mut reply, WAIT);
                return expect("the next call", again, Err(EPIPE));
            }
            other => return Err(format!("call {number}: {other:?}")),
        }
    }
    Err("the server is dead, but calls succeed".into())
}

/// The server is killed. The caller receives the reply, or `EPIPE`.
fn check_server(name: &str, len: usize) {
    let case = Case::<false, true> {
        calls: Calls::new(&[SHORT, len]),
        set_up: nothing,
        prepare: |ends| victim_serves(ends, 0),
        operate: |ends| victim_serves(ends, 1),
        survive: calls_until_epipe,
    };
    check(name, &case);
}

#[apply(scenario)]
fn serve() {
    check_server("ipc_channel_next_call, _reply", SHORT);
}

#[apply(scenario)]
fn serve_long() {
    check_server("ipc_channel_next_call, _reply, 3 kB", LONG);
}

/// The server skips requests that have expired.
#[apply(scenario)]
fn skip_expired() {
    let case = Case::<false, true> {
        calls: Calls::new(&[SHORT, SHORT]),
        set_up: |ends| {
            for id in [2, 4] {
                let mut request = b"uicq\0\0\0\0".to_vec();
                request.extend(u64::to_le_bytes(id));
                request.extend(PAST.to_le_bytes());
                request.extend([7; 50]);
                let (at, len) = (request.as_ptr().cast(), request.len());
                let call = ends.calls.library.ipc_channel_send;
                // SAFETY: an open handle, and a buffer of this size.
                assert_eq!(unsafe { call(ends.survivor, at, len, WAIT) }, 0);
            }
        },
        prepare: nothing,
        operate: |ends| victim_serves(ends, 0),
        survive: |ends, finished| {
            let mut reply = ends.calls.buffer();
            ends.page.waits.store(1, SeqCst);
            match ends.calls.call(ends.survivor, 0, &mut reply, WAIT) {
                Ok(SHORT) if reply[..SHORT] == ends.calls.messages[0] => {}
                Err(EPIPE) if !finished.get() => {}
                other => return Err(format!("{other:?}")),
            }
            ends.calls.has_ended(ends.survivor)
        },
    };
    check("ipc_channel_next_call, expired requests", &case);
}
