//! Messages that consist of several parts.

use crate::support::*;
use libc::{EAGAIN, EBUSY, EINVAL, EMSGSIZE, EPIPE, SHUT_WR, iovec};
use std::ptr;
use unixipc::ffi::channel::*;

/// Random parts, some of them empty, which begin at any address.
#[apply(isolated)]
fn parts() {
    let (a, b) = small();
    let mut random = Random(3);
    for seed in 0..3000 {
        let message = pattern(1 + random.index(2000), seed);
        let mut parts = Vec::new();
        let mut rest = &message[..];
        while !rest.is_empty() {
            let (part, others) = rest.split_at(random.index(rest.len().min(300) + 1));
            parts.push(part);
            rest = others;
        }
        assert_eq!(a.sendv(&parts, 0), Ok(message.len()));
        assert!(b.recv(0).unwrap() == message);
    }
    assert_eq!(a.stats().sent_messages, 3000);
    assert_eq!(b.recv(0), Err(EAGAIN));
}

#[apply(isolated)]
fn limits() {
    let (a, b) = small();
    let longest = pattern(a.max(), 1);
    let (one, two) = longest.split_at(1000);
    assert_eq!(a.sendv(&[one, two], 0), Ok(longest.len()));
    assert!(b.recv_cap(longest.len(), 0).unwrap() == longest);
    assert_eq!(a.sendv(&[one, two, &[1]], 0), Err(EMSGSIZE));
    let byte = [7];
    assert_eq!(a.sendv(&[&byte[..]; 1024], 0), Ok(1024));
    assert_eq!(a.sendv(&[&byte[..]; 1025], 0), Err(EINVAL));
    assert_eq!(b.recv(0).unwrap(), [7; 1024]);
    assert_eq!(a.sendv(&[], 0), Err(EINVAL));
    assert_eq!(a.sendv(&[&[], &[]], 0), Err(EINVAL), "an empty message");
    assert_eq!(a.sendv(&[&byte], -3), Err(EINVAL));
    // The sum of the lengths exceeds any number.
    let huge = iovec {
        iov_base: ptr::from_ref(&byte).cast_mut().cast(),
        iov_len: isize::MAX as usize,
    };
    // SAFETY: an open end; the call must fail before it reads the buffers.
    let sent = outcome(|| unsafe { ipc_channel_sendv(a.0, [huge; 3].as_ptr(), 3, 0) });
    assert_eq!(sent, Err(EMSGSIZE));
    let null = iovec {
        iov_base: ptr::null_mut(),
        iov_len: 1,
    };
    // SAFETY: an open end; the call checks for NULL.
    let sent =
        outcome(|| unsafe { ipc_channel_sendv(a.0, [iovec_of(&byte), null].as_ptr(), 2, 0) });
    assert_eq!(sent, Err(EINVAL));
    for (count, iov) in [
        (-1, ptr::from_ref(&null)),
        (i32::MIN, ptr::null()),
        (1, ptr::null()),
    ] {
        // SAFETY: an open end; the call checks the array and the number.
        let sent = outcome(|| unsafe { ipc_channel_sendv(a.0, iov, count, 0) });
        assert_eq!(sent, Err(EINVAL), "{count}");
    }
    // SAFETY: the call checks for NULL.
    let sent = outcome(|| unsafe { ipc_channel_sendv(ptr::null_mut(), &null, 1, 0) });
    assert_eq!(sent, Err(EINVAL));
    assert_eq!(b.recv(0), Err(EAGAIN), "nothing was sent");
}

#[apply(isolated)]
fn errors_of_send() {
    let (a, b) = small();
    a.reserve(1, 0).unwrap();
    assert_eq!(a.sendv(&[b"x"], 0), Err(EBUSY));
    a.cancel().unwrap();
    a.fill(1000);
    assert_eq!(a.sendv(&[&[0; 500], &[0; 500]], 0), Err(EAGAIN));
    b.drain();
    a.shutdown(SHUT_WR).unwrap();
    assert_eq!(a.sendv(&[b"x"], -1), Err(EPIPE));
}
