//! The bytes of a hello, and how they arrive.

use crate::support::*;
use libc::*;
use std::os::fd::AsRawFd;

/// The tests speak the protocol. Otherwise the other cases would prove nothing.
#[apply(isolated)]
fn well() {
    tell(
        "as it should be",
        |_| whole(hello(RING), memory(), read_end()),
        false,
        Ok(()),
    );
    let larger = |_: Way| {
        whole(
            hello(4 * RING),
            memory_of(CONTROL + 4 * RING, SEALS),
            read_end(),
        )
    };
    tell("the largest ring", larger, false, Ok(()));
    // Flags that this version ignores.
    tell(
        "flags",
        |_| {
            let mut bytes = hello(RING);
            bytes[6..8].fill(0xff);
            whole(bytes, memory(), read_end())
        },
        false,
        Ok(()),
    );
}

#[apply(isolated)]
fn words() {
    let with = |at: usize, value: u8| {
        move |_: Way| {
            let mut bytes = hello(RING);
            bytes[at] = value;
            whole(bytes, memory(), read_end())
        }
    };
    for at in 0..4 {
        for value in [0, b'u' ^ 0x20, 0xff] {
            tell("letters", with(at, value), false, Err(EPROTO));
        }
    }
    for (at, value) in [(4, 0), (4, 1), (4, 3), (4, 0xff), (5, 1), (5, 0xff)] {
        tell("version", with(at, value), false, Err(ESTALE));
    }
    for at in 16..64 {
        tell("reserved", with(at, 1), false, Err(EPROTO));
    }
    let nonsense = |_: Way| whole(vec![0xff; 64], memory(), read_end());
    tell("nonsense", nonsense, false, Err(EPROTO));
}

#[apply(isolated)]
fn sizes() {
    let refused = [0, 1, 7, 4096, RING / 2, RING - 1, RING + 1, 3 * RING]
        .into_iter()
        .chain((41..64).map(|bit| 1 << bit))
        .chain([u64::MAX, u64::MAX - 4095, u64::MAX / 2]);
    for size in refused {
        // With memory of that size, if that is possible.
        let real = CONTROL.saturating_add(size).min(1 << 40);
        let pieces = |_: Way| whole(hello(size), memory_of(real, SEALS), read_end());
        tell(&format!("ring of {size}"), pieces, false, Err(EPROTO));
    }
    // Valid, but larger than recv_size_max.
    for size in [8 * RING, 1 << 30, 1 << 40] {
        let pieces = |_: Way| whole(hello(size), memory_of(CONTROL + size, SEALS), read_end());
        tell(&format!("ring of {size}"), pieces, false, Err(EPROTO));
    }
    // Memory of another size than the hello says.
    for size in [
        0,
        1,
        CONTROL,
        RING,
        CONTROL + RING - 1,
        CONTROL + RING + 1,
        CONTROL + 2 * RING,
    ] {
        let pieces = |_: Way| whole(hello(RING), memory_of(size, SEALS), read_end());
        tell(&format!("memory of {size}"), pieces, false, Err(EPROTO));
    }
}

/// A hello arrives whole, or it is refused.
#[apply(isolated)]
fn pieces() {
    for first in 1..64 {
        let cut = |_: Way| {
            let mut bytes = hello(RING);
            let rest = bytes.split_off(first);
            vec![
                Piece(bytes, vec![memory(), read_end()]),
                Piece(rest, Vec::new()),
            ]
        };
        tell(&format!("cut at {first}"), cut, false, Err(EPROTO));
    }
    let bytewise = |_: Way| {
        let mut fds = vec![memory(), read_end()];
        let piece = |byte| Piece(vec![byte], std::mem::take(&mut fds));
        hello(RING).into_iter().map(piece).collect()
    };
    tell("byte by byte", bytewise, false, Err(EPROTO));
    let late = |_: Way| {
        vec![
            Piece(hello(RING)[..8].to_vec(), Vec::new()),
            Piece(hello(RING)[8..].to_vec(), vec![memory(), read_end()]),
        ]
    };
    // A stream joins bytes without descriptors and the bytes behind them.
    let what = "descriptors with the second piece";
    tell_by(&[Way::Stream], what, late, false, Ok(()));
    let others = [Way::SeqPacket, Way::Accept];
    tell_by(&others, what, late, false, Err(EPROTO));
    let apart = |_: Way| {
        vec![
            Piece(hello(RING)[..8].to_vec(), vec![memory()]),
            Piece(hello(RING)[8..].to_vec(), vec![read_end()]),
        ]
    };
    tell("one each", apart, false, Err(EPROTO));
    let twice = |_: Way| {
        vec![
            Piece(hello(RING)[..8].to_vec(), vec![memory(), read_end()]),
            Piece(hello(RING)[8..].to_vec(), vec![memory(), read_end()]),
        ]
    };
    tell("both twice", twice, false, Err(EPROTO));
    let again = |_: Way| {
        let mut pieces = whole(hello(RING), memory(), read_end());
        pieces.append(&mut whole(hello(RING), memory(), read_end()));
        pieces
    };
    tell("two hellos", again, false, Ok(()));
}

/// An empty message counts as the end. Its descriptors do not stay.
#[apply(isolated)]
fn empty_message() {
    let empty = |_: Way| vec![Piece(Vec::new(), vec![memory(), read_end()])];
    let ways = [Way::SeqPacket, Way::Accept];
    tell_by(&ways, "empty", empty, false, Err(EPIPE));
}

/// On a stream, the bytes behind the hello do not belong to it.
#[apply(isolated)]
fn longer() {
    for more in [1, 64, 5000] {
        let _case = Case(more);
        let longer = |_: Way| {
            let mut bytes = hello(RING);
            bytes.resize(64 + more, 0x77);
            vec![Piece(bytes, vec![memory(), read_end()])]
        };
        let (mine, theirs) = sockets(Way::Stream);
        assert_eq!(send_piece(&mine, &longer(Way::Stream)[0]), Ok(64 + more));
        drop(from_fd(&theirs, 0).unwrap());
        let mut rest = vec![0; more + 1];
        // SAFETY: the slice, with its length.
        let read = unsafe { read(theirs.as_raw_fd(), rest.as_mut_ptr().cast(), rest.len()) };
        assert_eq!(read, more as isize, "the rest stays queued");
        drop((mine, theirs));
        close_write_ends();
        let others = [Way::SeqPacket, Way::Accept];
        tell_by(&others, &format!("{more} more"), longer, false, Err(EPROTO));
    }
}

#[apply(isolated)]
fn ends() {
    tell("nothing", |_| Vec::new(), false, Err(ETIMEDOUT));
    tell("gone", |_| Vec::new(), true, Err(EPIPE));
    for len in [1, 4, 16, 63] {
        for ends in [false, true] {
            let part = || hello(RING)[..len].to_vec();
            let with = |_: Way| vec![Piece(part(), vec![memory(), read_end()])];
            let what = format!("{len} bytes, ends: {ends}");
            tell(&what, with, ends, Err(EPROTO));
            let bare = |_: Way| vec![Piece(part(), Vec::new())];
            tell(&format!("bare {what}"), bare, ends, Err(EPROTO));
        }
    }
}

/// A client that says nothing costs a socket, and nothing more after it has gone.
#[apply(isolated)]
fn silent_clients() {
    let before = (open_numbers(), mappings());
    let (_silent, listener) = sockets(Way::Accept);
    let ch = accept_from(&listener, -1).unwrap();
    assert_eq!(ch.recv(&mut [0], 5), Err(ETIMEDOUT));
    assert_eq!(mappings(), before.1);
    drop(_silent);
    assert_eq!(ch.recv(&mut [0], -1), Ok(0));
    assert_eq!(ch.send(b"x", -1), Err(EPIPE));
    drop((ch, listener));
    assert_eq!((open_numbers(), mappings()), before);
}
