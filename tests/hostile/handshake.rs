//! Valid and invalid hellos, which arrive at once or in pieces.

use crate::support::*;
use libc::*;
use std::os::fd::AsRawFd;

/// Valid hellos. Without them the other tests would prove nothing.
#[apply(isolated)]
fn valid_hellos() {
    check_hello(
        "a valid hello",
        |_| whole(hello(RING), memory(), read_end()),
        false,
        Ok(()),
    );
    let larger = |_: Transport| {
        whole(
            hello(4 * RING),
            memory_of(CONTROL + 4 * RING, SEALS),
            read_end(),
        )
    };
    check_hello("the largest ring", larger, false, Ok(()));
    // Flags that this version ignores.
    check_hello(
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
fn invalid_bytes() {
    let with = |at: usize, value: u8| {
        move |_: Transport| {
            let mut bytes = hello(RING);
            bytes[at] = value;
            whole(bytes, memory(), read_end())
        }
    };
    for at in 0..4 {
        for value in [0, b'u' ^ 0x20, 0xff] {
            check_hello("magic", with(at, value), false, Err(EPROTO));
        }
    }
    for (at, value) in [(4, 0), (4, 3), (4, 5), (4, 0xff), (5, 1), (5, 0xff)] {
        check_hello("version", with(at, value), false, Err(ESTALE));
    }
    for value in [0, 1, 4, 9, 24, 65, 128] {
        check_hello("alignment", with(16, value), false, Err(EPROTO));
    }
    for at in 17..64 {
        check_hello("alignment or reserved", with(at, 1), false, Err(EPROTO));
    }
    let all_ones = |_: Transport| whole(vec![0xff; 64], memory(), read_end());
    check_hello("all ones", all_ones, false, Err(EPROTO));
}

#[apply(isolated)]
fn sizes() {
    let refused = [0, 1, 7, 4096, RING / 2, RING - 1, RING + 1, 3 * RING]
        .into_iter()
        .chain((41..64).map(|bit| 1 << bit))
        .chain([u64::MAX, u64::MAX - 4095, u64::MAX / 2]);
    for size in refused {
        // With memory of that size, if the kernel permits it.
        let memory_size = CONTROL.saturating_add(size).min(1 << 40);
        let pieces = |_: Transport| whole(hello(size), memory_of(memory_size, SEALS), read_end());
        check_hello(&format!("ring of {size}"), pieces, false, Err(EPROTO));
    }
    // Valid, but larger than recv_size_max.
    for size in [8 * RING, 1 << 30, 1 << 40] {
        let pieces =
            |_: Transport| whole(hello(size), memory_of(CONTROL + size, SEALS), read_end());
        check_hello(&format!("ring of {size}"), pieces, false, Err(EPROTO));
    }
    // The size of the memory does not match the hello.
    for size in [
        0,
        1,
        CONTROL,
        RING,
        CONTROL + RING - 1,
        CONTROL + RING + 1,
        CONTROL + 2 * RING,
    ] {
        let pieces = |_: Transport| whole(hello(RING), memory_of(size, SEALS), read_end());
        check_hello(&format!("memory of {size}"), pieces, false, Err(EPROTO));
    }
}

/// A hello that arrives in pieces is refused.
#[apply(isolated)]
fn pieces() {
    for first in 1..64 {
        let cut = |_: Transport| {
            let mut bytes = hello(RING);
            let rest = bytes.split_off(first);
            vec![
                Piece(bytes, vec![memory(), read_end()]),
                Piece(rest, Vec::new()),
            ]
        };
        check_hello(&format!("cut at {first}"), cut, false, Err(EPROTO));
    }
    let bytewise = |_: Transport| {
        let mut fds = vec![memory(), read_end()];
        let piece = |byte| Piece(vec![byte], std::mem::take(&mut fds));
        hello(RING).into_iter().map(piece).collect()
    };
    check_hello("one byte at a time", bytewise, false, Err(EPROTO));
    let late = |_: Transport| {
        vec![
            Piece(hello(RING)[..8].to_vec(), Vec::new()),
            Piece(hello(RING)[8..].to_vec(), vec![memory(), read_end()]),
        ]
    };
    // A stream joins bytes without descriptors and the bytes that follow them.
    let what = "descriptors with the second piece";
    check_hello_over(&[Transport::Stream], what, late, false, Ok(()));
    let others = [Transport::SeqPacket, Transport::Accept];
    check_hello_over(&others, what, late, false, Err(EPROTO));
    let apart = |_: Transport| {
        vec![
            Piece(hello(RING)[..8].to_vec(), vec![memory()]),
            Piece(hello(RING)[8..].to_vec(), vec![read_end()]),
        ]
    };
    check_hello("one descriptor with each piece", apart, false, Err(EPROTO));
    let twice = |_: Transport| {
        vec![
            Piece(hello(RING)[..8].to_vec(), vec![memory(), read_end()]),
            Piece(hello(RING)[8..].to_vec(), vec![memory(), read_end()]),
        ]
    };
    check_hello(
        "both descriptors with each piece",
        twice,
        false,
        Err(EPROTO),
    );
    let again = |_: Transport| {
        let mut pieces = whole(hello(RING), memory(), read_end());
        pieces.append(&mut whole(hello(RING), memory(), read_end()));
        pieces
    };
    check_hello("two hellos", again, false, Ok(()));
}

/// An urgent byte in place of a hello keeps the socket readable.
#[apply(isolated)]
fn urgent_byte() {
    let (peer_socket, socket) = sockets(Transport::Stream);
    let byte = [7_u8];
    // SAFETY: one byte.
    let sent = unsafe { send(peer_socket.as_raw_fd(), byte.as_ptr().cast(), 1, MSG_OOB) };
    if sent == -1 {
        return; // before Linux 5.15
    }
    assert_eq!(from_fd(&socket, 20_000).err(), Some(EPROTO));
}

/// An empty message counts as the end of the connection. Its descriptors are closed.
#[apply(isolated)]
fn empty_message() {
    let empty = |_: Transport| vec![Piece(Vec::new(), vec![memory(), read_end()])];
    let transports = [Transport::SeqPacket, Transport::Accept];
    check_hello_over(&transports, "empty", empty, false, Err(EPIPE));
}

/// On a stream, the bytes that follow the hello stay in the socket.
#[apply(isolated)]
fn longer_hellos() {
    for more in [1, 64, 5000] {
        let _case = Case(more);
        let longer = |_: Transport| {
            let mut bytes = hello(RING);
            bytes.resize(64 + more, 0x77);
            vec![Piece(bytes, vec![memory(), read_end()])]
        };
        let (peer_socket, socket) = sockets(Transport::Stream);
        assert_eq!(
            send_piece(&peer_socket, &longer(Transport::Stream)[0]),
            Ok(64 + more)
        );
        drop(from_fd(&socket, 0).unwrap());
        let mut rest = vec![0; more + 1];
        // SAFETY: the slice, with its length.
        let read = unsafe { read(socket.as_raw_fd(), rest.as_mut_ptr().cast(), rest.len()) };
        assert_eq!(read, more as isize, "the bytes that follow the hello");
        drop((peer_socket, socket));
        close_write_ends();
        let others = [Transport::SeqPacket, Transport::Accept];
        check_hello_over(&others, &format!("{more} more"), longer, false, Err(EPROTO));
    }
}

#[apply(isolated)]
fn missing_hellos() {
    check_hello("nothing", |_| Vec::new(), false, Err(ETIMEDOUT));
    check_hello("closed", |_| Vec::new(), true, Err(EPIPE));
    for len in [1, 4, 16, 63] {
        for ends in [false, true] {
            let part = || hello(RING)[..len].to_vec();
            let with = |_: Transport| vec![Piece(part(), vec![memory(), read_end()])];
            let what = format!("{len} bytes, ends: {ends}");
            check_hello(&what, with, ends, Err(EPROTO));
            let bare = |_: Transport| vec![Piece(part(), Vec::new())];
            check_hello(&format!("bare {what}"), bare, ends, Err(EPROTO));
        }
    }
}

/// A client that sends nothing costs the server a socket, which is closed with the channel.
#[apply(isolated)]
fn silent_clients() {
    let before = (open_numbers(), mappings());
    let (client, listener) = sockets(Transport::Accept);
    let ch = accept_from(&listener, -1).unwrap();
    assert_eq!(ch.recv(&mut [0], 5), Err(ETIMEDOUT));
    assert_eq!(mappings(), before.1);
    drop(client);
    assert_eq!(ch.recv(&mut [0], -1), Ok(0));
    assert_eq!(ch.send(b"x", -1), Err(EPIPE));
    drop((ch, listener));
    assert_eq!((open_numbers(), mappings()), before);
}
