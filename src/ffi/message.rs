//! Layer 2: messages.

use super::pointer::{buffer, buffer_room, elements, in_out, uninit_slice};
use crate::deadline::Deadline;
use crate::errno::{Result, or_errno_of};
use crate::fd::borrow;
use crate::message;
use libc::{c_int, c_void, size_t, ssize_t};

/// The longest message on a stream, in bytes: 1 GiB.
pub const IPC_MSG_MAX: size_t = 1073741824;
/// How many descriptors a message can carry.
pub const IPC_MSG_FDS_MAX: size_t = 253;
const _: () = assert!(IPC_MSG_MAX == message::LEN_MAX && IPC_MSG_FDS_MAX == message::FDS_MAX);

/// Sends a message, whole or not at all, and descriptors with it.
///
/// fd is a connected socket: a local one (AF_UNIX), or one of TCP or UDP. On SOCK_SEQPACKET and
/// SOCK_DGRAM the kernel keeps messages apart, and len is limited by the socket's send buffer, over
/// UDP also by the length of a datagram (65507 bytes over IPv4). UDP can lose messages. On SOCK_STREAM, also one of TCP, a
/// header of eight bytes goes before each: the letters uipc, and the length as four bytes, the
/// lowest first; the other side receives with ipc_msg_recv, and each end has one sender and one
/// receiver at a time.
///
/// The nfds descriptors of fds (NULL where nfds is 0) are duplicated into the receiver; the
/// sender's stay open.
///
/// timeout_ms is in milliseconds: -1 waits for ever, 0 not at all, IPC_WAIT_INTR until a
/// signal handler ran. On a local stream, a message of up to 32 KiB is sent at once or not at
/// all (with a send buffer of the usual size). A longer one that the time-out cuts ends the
/// sending direction: ETIMEDOUT now, EPIPE from then on, and the receiver reads EPROTO. TCP
/// takes as much as the send buffer has room for, so that a message of any length can be cut:
/// give a time-out there, and 0 only where the buffer takes the whole message.
///
/// Blocks as timeout_ms says. It is a cancellation point, as sendmsg(2) is; on a stream no longer
/// once a part of the message has been sent. May be called from any thread (on a stream by one at
/// a time), from a signal handler, and in the child after fork. No SIGPIPE.
///
/// Returns 0, or -1 with errno:
///   EAGAIN      timeout_ms is 0, and the message could not be sent at once; nothing was sent
///   EBADF       fd or one of fds is not open
///   EFAULT      buf or fds is not memory of this process
///   EINTR       timeout_ms is IPC_WAIT_INTR, and a signal handler ran; nothing was sent
///   EINVAL      len is 0, nfds is over IPC_MSG_FDS_MAX, buf or fds is NULL, or timeout_ms is
///               below -2
///   EMSGSIZE    the message is too long for the socket, or exceeds IPC_MSG_MAX
///   ENOBUFS, ENOMEM  no memory is left
///   ENOTCONN    the socket is not connected, and not one of TCP; for SOCK_DGRAM also that the
///               receiver is gone, from the second send on
///   ENOTSOCK    fd is not a socket
///   EOPNOTSUPP  fd is a socket of another type; or it is not local, and there are descriptors
///   EPERM       the receiver of a SOCK_DGRAM socket is connected to another one
///   EPIPE       the receiver is gone, or this direction has ended; or the socket is one of TCP
///               and not connected; or an earlier message over UDP was refused, and this one was
///               not sent
///   ETIMEDOUT   the time is over; on a stream the message may be half sent
///   ETOOMANYREFS  too many descriptors are on their way already
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_msg_send(
    fd: c_int,
    buf: *const c_void,
    len: size_t,
    fds: *const c_int,
    nfds: size_t,
    timeout_ms: c_int,
) -> c_int {
    // SAFETY: the caller's buffer of len bytes.
    let bytes = unsafe { buffer(buf, len) };
    // SAFETY: the caller's nfds descriptors.
    let fds = unsafe { elements(fds, nfds) };
    let send = || -> Result<c_int> {
        message::send(borrow(fd)?, bytes?, fds?, Deadline::new(timeout_ms)?)?;
        Ok(0)
    };
    or_errno_of(send, -1)
}

/// Receives a message of up to cap bytes, and the descriptors that come with it.
///
/// inout_nfds says how many descriptors ret_fds has room for, and then how many were stored
/// there; they are the caller's to close, and close-on-exec. Those that do not fit are closed.
/// With inout_nfds NULL all are.
///
/// A message longer than cap is EMSGSIZE and gone; the next receive gives the next message. An
/// empty packet, which ipc_msg_send does not send, is discarded: it is neither a message nor the
/// end. On SOCK_DGRAM there is no end, unless shutdown(2) has ended this direction here.
///
/// timeout_ms is in milliseconds: -1 waits for ever, 0 not at all, IPC_WAIT_INTR until a
/// signal handler ran. On a stream, a time-out inside a message (one longer than 32 KiB, or
/// a peer that stops) ends the receiving direction: ETIMEDOUT now, 0 from then on, and the
/// peer's next send is EPIPE. So is what is not a message: EPROTO. Where long messages and
/// time-outs go together, ipc_recv_full can go on where it stopped. Over TCP a message of any
/// length can come in parts: 0 is not for it. Such an end resets the connection there: the
/// next receive may be ENOTCONN instead of 0, and the other direction has ended too.
///
/// Blocks as timeout_ms says. It is a cancellation point, as recvmsg(2) is; on a stream no longer
/// once a part of the message has been received. May be called from any thread (on a stream by one
/// at a time), from a signal handler, and in the child after fork.
///
/// Returns the message's length, 0 at the end of the session, or -1 with errno. ret_fds and
/// inout_nfds are then as they were; what is in buf is not defined:
///   EAGAIN      timeout_ms is 0, and no message is there
///   EBADF       fd is not open
///   ECONNREFUSED  over UDP: an earlier message was refused, and nothing was received
///   EFAULT      buf is not memory of this process
///   EINTR       timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL      cap is 0, buf is NULL, ret_fds is NULL and inout_nfds asks for descriptors,
///               timeout_ms is below -2, or fd is a stream that is not connected
///   EMFILE      the process has no descriptor left for those that came, or a security module
///               refuses one: the message is gone, and all of its descriptors are closed
///   EMSGSIZE    the message was longer than cap
///   ENOMEM      no memory is left
///   ENOTCONN    the socket is not connected (any more)
///   ENOTSOCK    fd is not a socket
///   EOPNOTSUPP  fd is a socket of another type, before Linux 5.15; from there on such a one
///               (netlink, raw) is taken for one on which the kernel keeps messages apart
///   EPROTO      the peer ended inside a message, or sent what is none
///   ETIMEDOUT   the time is over
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_msg_recv(
    fd: c_int,
    buf: *mut c_void,
    cap: size_t,
    ret_fds: *mut c_int,
    inout_nfds: *mut size_t,
    timeout_ms: c_int,
) -> ssize_t {
    // SAFETY: the caller's buffer of cap bytes.
    let bytes = unsafe { buffer_room(buf, cap) };
    // SAFETY: the caller's count, or NULL.
    let nfds = unsafe { in_out(inout_nfds) };
    // SAFETY: the caller's room for so many descriptors.
    let fds = unsafe { uninit_slice(ret_fds, nfds.as_deref().copied().unwrap_or(0)) };
    let receive = || -> Result<ssize_t> {
        let received = message::recv(borrow(fd)?, bytes?, fds?, Deadline::new(timeout_ms)?)?;
        if let Some(nfds) = nfds {
            *nfds = received.nfds;
        }
        Ok(received.len as ssize_t)
    };
    or_errno_of(receive, -1)
}
