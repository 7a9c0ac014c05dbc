//! Peers of later versions. The sides use the present library, and a relay between them changes the
//! version or the flags in their hellos. A flag is how a later version offers a feature: a side that
//! does not know it ignores it. Another version of the protocol is refused by both sides.

use crate::call;
use crate::relay::*;
use crate::support::*;
use crate::wire_channel::{self, End, OldPeer};
use crate::wire_feed::{self, Publisher};
use common::connection::{abstract_name, raw_listener, silent_client};
use libc::{ESTALE, c_int};
use nix::sys::socket;
use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::{ptr, thread};
use unixipc::ffi::channel::*;

/// Sets the flags that this version does not know. `known` are those that it knows.
fn unknown_flags(known: u8) -> impl Fn(&mut Bytes) {
    move |bytes| {
        bytes[FLAGS] |= !known;
        bytes[FLAGS + 1] = 0xff;
    }
}

const CHANNEL_FLAGS: u8 = 3;
const REQUEST_FLAGS: u8 = 7;
const ANSWER_FLAGS: u8 = 1;

#[track_caller]
fn check_exchange([one, two]: [Result<End, c_int>; 2]) {
    let (one, two) = (one.unwrap(), two.unwrap());
    for (from, to) in [(&one, &two), (&two, &one)] {
        assert_eq!(from.send(b"a message"), Ok(0));
        assert_eq!(to.recv().unwrap(), b"a message");
    }
}

/// A channel whose sides offer features that the other side does not know.
#[apply(isolated)]
fn channel_with_unknown_features() {
    let later = || unknown_flags(CHANNEL_FLAGS);
    check_exchange(wire_channel::connect(later(), unchanged).0);
    check_exchange(wire_channel::connect(unchanged, later()).0);
    check_exchange(wire_channel::connect(later(), later()).0);
    // Words that this version does not know.
    for set in sets() {
        let mut hello = set.recording("channel-hello");
        let mut memory = set.recording("channel-memory");
        unknown_flags(CHANNEL_FLAGS)((&mut hello[..]).try_into().unwrap());
        fill_unused(&mut memory, &wire_channel::USED);
        OldPeer::check_messages(&hello, &memory);
    }
}

#[apply(isolated)]
fn channel_of_the_next_version() {
    let (ends, _) = wire_channel::connect(next_version, next_version);
    assert_eq!(ends.map(|end| end.unwrap_err()), [ESTALE; 2]);
}

/// A client connects to a listener; each finds that the other one has another version.
#[apply(isolated)]
fn listener_of_another_version() {
    let (name, relayed) = (abstract_name(), format!("{}-relay", abstract_name()));
    let (path, relayed_path) = (
        CString::new(&*name).unwrap(),
        CString::new(&*relayed).unwrap(),
    );
    let listener = own(call!(ipc_channel_listen(path.as_ptr(), 0, 0)).unwrap() as c_int);
    let relay = raw_listener(&relayed);
    thread::scope(|scope| {
        let client = scope.spawn(|| {
            let path = relayed_path.as_ptr();
            End::new(|ret| call!(ipc_channel_connect(path, ptr::null(), 0, LONG, ret)))
        });
        let to_client = own(socket::accept(relay.as_raw_fd()).unwrap());
        let to_server = silent_client(&name);
        forward(&to_client, &to_server, next_version);
        let fd = listener.as_raw_fd();
        let server = End::new(|ret| call!(ipc_channel_accept(fd, ptr::null(), 0, LONG, ret)));
        let server = server.unwrap();
        assert_eq!(server.recv(), Err(ESTALE));
        assert_eq!(server.send(b"x"), Err(ESTALE));
        forward(&to_server, &to_client, next_version);
        assert_eq!(client.join().unwrap().unwrap_err(), ESTALE);
    });
}

/// A feed whose publisher or subscriber offers features that the other side does not know.
#[apply(isolated)]
fn feed_with_unknown_features() {
    for (request, answer) in [(true, false), (false, true), (true, true)] {
        let change = |applies, flags| {
            move |bytes: &mut Bytes| {
                if applies {
                    unknown_flags(flags)(bytes);
                }
            }
        };
        let publisher = Publisher::new();
        let (sub, _) = wire_feed::subscribe(
            &publisher,
            change(request, REQUEST_FLAGS),
            change(answer, ANSWER_FLAGS),
        );
        let sub = sub.unwrap();
        publisher.publish(b"a message");
        assert_eq!(sub.recv(), Ok((b"a message".to_vec(), 0)));
    }
    // Words that this version does not know.
    for set in sets() {
        let [mut request, mut answer, mut memory, mut page] =
            ["request", "answer", "memory", "page"]
                .map(|part| set.recording(&format!("feed-{part}")));
        let (plain_answer, plain_memory) = (answer.clone(), memory.clone());
        unknown_flags(REQUEST_FLAGS)((&mut request[..]).try_into().unwrap());
        unknown_flags(ANSWER_FLAGS)((&mut answer[..]).try_into().unwrap());
        fill_unused(&mut memory, &wire_feed::USED);
        fill_unused(&mut page, &wire_feed::PAGE_USED);
        wire_feed::check_publisher(&answer, &memory);
        wire_feed::check_subscriber(&request, &page, &plain_answer, &plain_memory);
    }
}

#[apply(isolated)]
fn feed_of_the_next_version() {
    let publisher = Publisher::new();
    let (sub, [_, refusal]) = wire_feed::subscribe(&publisher, next_version, unchanged);
    assert_eq!(sub.unwrap_err(), ESTALE);
    assert_eq!(refusal.bytes[8..12], [1, 0, 0, 0], "the reason");
    let (sub, _) = wire_feed::subscribe(&publisher, unchanged, next_version);
    assert_eq!(sub.unwrap_err(), ESTALE);
}
