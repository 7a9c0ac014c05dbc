//! The option message_align.

use crate::handshake::make_both;
use crate::support::*;
use libc::{EINVAL, EMSGSIZE, SOCK_SEQPACKET};
use unixipc::ffi::channel::*;

const fn aligned(message_align: u32) -> ipc_channel_opts {
    ipc_channel_opts {
        message_align,
        ..SMALL
    }
}

/// Messages of many lengths, one by one and several at once, until the ring has wrapped around.
#[track_caller]
fn check(a: &End, b: &End, align: usize) {
    let _case = Case(format!("aligned to {align}"));
    let mut random = Random(align as u64);
    for seed in 0..2000 {
        let message = pattern(1 + random.index(1000), seed);
        a.reserve(message.len(), 0)
            .unwrap()
            .copy_from_slice(&message);
        assert_eq!(a.commit(message.len()), DONE);
        let received = b.peek(0).unwrap();
        assert_eq!(received.as_ptr().addr() % align, 0);
        assert!(received == message);
        assert_eq!(b.release(), DONE);
        let batch = [
            &message[..],
            &message[..1],
            &message[..message.len() / 2 + 1],
        ];
        assert_eq!(a.send_many(&batch, 0), Ok(3));
        let next = b.peek(0).unwrap();
        assert_eq!(next.as_ptr().addr() % align, 0);
        assert!(b.recv_many(&[1000; 4], 0).unwrap() == batch);
    }
    let longest = pattern(a.max(), 1);
    for _ in 0..3 {
        assert_eq!(a.send(&longest, 0), DONE);
        assert!(b.recv_cap(longest.len(), 0).unwrap() == longest);
    }
    assert_eq!(a.reserve(longest.len() + 1, 0).unwrap_err(), EMSGSIZE);
}

#[apply(isolated)]
fn pairs() {
    for align in [0, 8, 16, 32, 64] {
        let (a, b) = pair_with(&aligned(align));
        let align = align.max(8) as usize;
        check(&a, &b, align);
        check(&b, &a, align);
        assert_eq!(a.max(), SMALL_RING - 68, "independent of the alignment");
    }
}

/// If the sides ask for different alignments, both rings have the larger one.
#[apply(isolated)]
fn sides_differ() {
    for (one, two, align) in [(0, 64, 64), (64, 0, 64), (16, 32, 32), (8, 16, 16)] {
        let (first, second) = sockets(SOCK_SEQPACKET);
        let ends = make_both(&first, &second, [&aligned(one), &aligned(two)]);
        let [a, b] = ends.map(Result::unwrap);
        check(&a, &b, align);
        check(&b, &a, align);
    }
}

#[apply(isolated)]
fn invalid() {
    for message_align in [1, 2, 4, 7, 9, 24, 63, 65, 128, u32::MAX] {
        let opts = aligned(message_align);
        let made = try_pair(&opts, size_of::<ipc_channel_opts>());
        assert_eq!(made.unwrap_err(), EINVAL, "{message_align}");
    }
    let opts = ipc_channel_opts {
        reserved: 1,
        ..DEFAULTS
    };
    let made = try_pair(&opts, size_of::<ipc_channel_opts>());
    assert_eq!(made.unwrap_err(), EINVAL);
}
