//! Layer 2: messages over sockets.

use super::pointer::{buffer, elements, in_out, parts, recv_buffer, uninit_slice};
use crate::deadline::Deadline;
use crate::errno::{Result, or_errno_of};
use crate::fd::borrow;
use crate::message::{self, Content};
use libc::{c_int, c_void, iovec, size_t, ssize_t};

/// The length of the longest message on a stream, in bytes: 1 GiB.
pub const IPC_MSG_MAX: size_t = 1073741824;
/// The largest number of descriptors that one message can carry.
pub const IPC_MSG_FDS_MAX: size_t = 253;
const _: () = assert!(IPC_MSG_MAX == message::LEN_MAX && IPC_MSG_FDS_MAX == message::FDS_MAX);

/// Sends one message, completely or not at all, and descriptors with it.
///
/// fd is a connected socket: a local one (AF_UNIX), or a TCP or UDP socket. On SOCK_SEQPACKET and
/// SOCK_DGRAM the kernel preserves message boundaries. There len is limited by the send buffer of
/// the socket, and over UDP also by the length of a datagram (65507 bytes over IPv4). UDP can lose
/// messages. On SOCK_STREAM, including TCP, the call sends a header of eight bytes before each
/// message: the letters uipc, and the length as four bytes in little-endian order. The other side
/// receives with ipc_msg_recv. On a stream, two threads must not send on the same end concurrently,
/// nor receive on it.
///
/// The receiver gets duplicates of the nfds descriptors in fds (NULL if nfds is 0); the descriptors
/// of the sender stay open.
///
/// timeout_ms is in milliseconds: -1 waits without limit, 0 does not wait, IPC_WAIT_INTR waits
/// until a signal handler has run. On a local stream with a send buffer of the default size, a
/// message of up to 32 KiB is sent at once or not at all. If the time-out expires in the middle of
/// a longer message, the sending direction ends: this call fails with ETIMEDOUT, later ones fail
/// with EPIPE, and the receiver gets EPROTO. TCP accepts as many bytes as the send buffer has space
/// for, so a time-out can interrupt a message of any length. Over TCP, use a time-out long enough
/// for the whole message, and 0 only if the send buffer has space for all of it.
///
/// Blocks as timeout_ms says. A cancellation point, as sendmsg(2) is; on a stream only until a part
/// of the message has been sent. May be called from any thread (on a stream not by two
/// concurrently), from a signal handler, and in the child after fork. Does not raise SIGPIPE.
///
/// Returns 0, or -1 with errno:
///   EAGAIN           timeout_ms is 0, and the message could not be sent at once; nothing was sent
///   EBADF            fd or one of fds is not open
///   EFAULT           buf or fds is not memory of this process
///   EINTR            timeout_ms is IPC_WAIT_INTR, and a signal handler ran; nothing was sent
///   EINVAL           len is 0, nfds exceeds IPC_MSG_FDS_MAX, buf or fds is NULL, or timeout_ms is
///                    below -2
///   EMSGSIZE         the message is too long for the socket, or exceeds IPC_MSG_MAX
///   ENOBUFS, ENOMEM  no memory is left
///   ENOTCONN         the socket is not connected and is not a TCP socket; for SOCK_DGRAM also: the
///                    receiver has closed, from the second send on; before Linux 6.2, this is
///                    possible for SOCK_SEQPACKET too, if the receiver closed during the first one
///   ENOTSOCK         fd is not a socket
///   EOPNOTSUPP       fd is a socket of another type; or it is not local, and nfds is not 0
///   EPERM            the receiver of a SOCK_DGRAM socket is connected to another socket
///   EPIPE            the receiver has closed, or this direction has ended; or a TCP socket is not
///                    connected; or an earlier message over UDP was refused, and this one was not
///                    sent
///   ETIMEDOUT        the time-out expired; on a stream a part of the message may have been sent
///   ETOOMANYREFS     too many descriptors are in flight
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
        let content = Content::Bytes(bytes?);
        message::send(borrow(fd)?, content, fds?, Deadline::new(timeout_ms)?)?;
        Ok(0)
    };
    or_errno_of(send, -1)
}

/// Sends one message that consists of several parts, completely or not at all, and descriptors with
/// it.
///
/// iov is an array of iovcnt buffers, from 1 to 1024; the message is their content in order. A
/// buffer may be empty, but the message is not. The kernel reads the buffers: the call copies
/// nothing. The receiver gets one message. fd, fds, nfds and timeout_ms are as for ipc_msg_send.
///
/// On SOCK_STREAM the header of the message counts as one of the 1024 buffers that the kernel
/// accepts at once. A time-out can therefore interrupt a message of 1024 buffers that are not
/// empty, whatever its length.
///
/// Blocks as timeout_ms says. A cancellation point, as sendmsg(2) is; on a stream only until a part
/// of the message has been sent. May be called from any thread (on a stream not by two
/// concurrently), from a signal handler, and in the child after fork. Does not raise SIGPIPE.
///
/// Returns the length of the message, or -1 with errno: ipc_msg_send's errors, and
///   EFAULT    a buffer is not memory of this process
///   EINVAL    iov is NULL, iovcnt is not from 1 to 1024, a buffer that is not empty is NULL, or all
///             buffers are empty
///   EMSGSIZE  the buffers together are too long for the socket, or exceed IPC_MSG_MAX
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_msg_sendv(
    fd: c_int,
    iov: *const iovec,
    iovcnt: c_int,
    fds: *const c_int,
    nfds: size_t,
    timeout_ms: c_int,
) -> ssize_t {
    // SAFETY: the caller's array of iovcnt buffers.
    let parts = unsafe { parts(iov, iovcnt) };
    // SAFETY: the caller's nfds descriptors.
    let fds = unsafe { elements(fds, nfds) };
    let send = || -> Result<ssize_t> {
        let content = Content::Parts(parts?);
        let len = message::send(borrow(fd)?, content, fds?, Deadline::new(timeout_ms)?)?;
        Ok(len as ssize_t)
    };
    or_errno_of(send, -1)
}

/// Receives one message of up to cap bytes, and the descriptors that come with it.
///
/// On entry *inout_nfds is the number of elements of ret_fds; on success it is the number of
/// descriptors that were stored. The caller closes them; they are close-on-exec. Descriptors that
/// do not fit are closed. If inout_nfds is NULL, all descriptors are closed.
///
/// If the message is longer than cap, the call fails with EMSGSIZE and discards the message; the
/// next receive returns the next message. An empty packet, which ipc_msg_send never sends, is
/// discarded: it is neither a message nor the end of the session. On SOCK_DGRAM a session has no
/// end, unless shutdown(2) has ended this direction on this side.
///
/// timeout_ms is in milliseconds: -1 waits without limit, 0 does not wait, IPC_WAIT_INTR waits
/// until a signal handler has run. On a stream, a time-out can expire in the middle of a message,
/// if the message is longer than 32 KiB or the peer stops. The receiving direction then ends: this
/// call fails with ETIMEDOUT, later ones return 0, and the next send of the peer fails with EPIPE.
/// The direction ends too if the data is not a message; the error is then EPROTO. To receive long
/// messages under a time-out, use ipc_recv_full, which can continue. Over TCP a message of any
/// length can arrive in parts, so do not use a timeout_ms of 0. When the receiving direction of a
/// TCP connection ends in this way, the connection is reset: the other direction has ended too, and
/// the next receive may fail with ENOTCONN instead of returning 0.
///
/// Blocks as timeout_ms says. A cancellation point, as recvmsg(2) is; on a stream only until a part
/// of the message has been received. May be called from any thread (on a stream not by two
/// concurrently), from a signal handler, and in the child after fork.
///
/// Returns the length of the message; 0 at the end of the session; or -1 with errno, and ret_fds
/// and inout_nfds unchanged, while the content of buf is undefined:
///   EAGAIN        timeout_ms is 0, and no message is available
///   EBADF         fd is not open
///   ECONNREFUSED  over UDP: an earlier message was refused; nothing was received
///   EFAULT        buf is not memory of this process
///   EINTR         timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL        cap is 0, buf is NULL, ret_fds is NULL and *inout_nfds is not 0, timeout_ms is
///                 below -2, or fd is a stream that is not connected
///   EMFILE        the process has too few descriptors left for those in the message, or a security
///                 module refuses one; the message is lost, and all of its descriptors are closed
///   EMSGSIZE      the message was longer than cap
///   ENOMEM        no memory is left
///   ENOTCONN      the socket is not connected, or no longer
///   ENOTSOCK      fd is not a socket
///   EOPNOTSUPP    before Linux 5.15: fd is a socket of another type (netlink, raw); later kernels
///                 do not report it, and the call treats such a socket as one that preserves
///                 message boundaries
///   EPROTO        the peer closed in the middle of a message, or sent data that is not a message
///   ETIMEDOUT     the time-out expired
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
    let bytes = unsafe { recv_buffer(buf, cap) };
    // SAFETY: the caller's count, or NULL.
    let nfds = unsafe { in_out(inout_nfds) };
    // SAFETY: the caller's array of this many descriptors.
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
