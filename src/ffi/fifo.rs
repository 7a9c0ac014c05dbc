//! Layer 2: FIFOs.

use super::pointer::{buffer, in_out, recv_buffer, string};
use crate::deadline::Deadline;
use crate::errno::{Result, errno, or_errno_of};
use crate::fd::borrow;
use crate::fifo::{self, Side, any, record};
use libc::{c_char, c_int, c_uint, c_void, mode_t, size_t, ssize_t};
use std::mem::MaybeUninit;
use std::os::fd::IntoRawFd;

/// Flag of ipc_fifo_open: open for receiving.
pub const IPC_FIFO_F_READ: c_uint = 1;
/// Flag of ipc_fifo_open: open for sending.
pub const IPC_FIFO_F_WRITE: c_uint = 2;
/// Flag of ipc_fifo_open, with IPC_FIFO_F_READ: the session does not end when the last writer
/// closes the FIFO.
pub const IPC_FIFO_F_PERSIST: c_uint = 4;
/// Flag of ipc_fifo_open: each record is a packet of the pipe, so that several readers get whole
/// records. The call accepts this flag, but records are packets without it too.
pub const IPC_FIFO_F_PACKET: c_uint = 8;
/// Flag of ipc_fifo_create: use an existing FIFO.
pub const IPC_FIFO_F_EXIST_OK: c_uint = 16;
/// The length of the longest record, in bytes: PIPE_BUF without the trailer of four bytes.
pub const IPC_FIFO_RECORD_MAX: size_t = 4092;
const _: () = assert!(IPC_FIFO_RECORD_MAX == record::LEN_MAX);

/// Creates a FIFO with exactly this mode, regardless of the umask.
///
/// mode consists of permission bits (07777). flags is 0 or IPC_FIFO_F_EXIST_OK: if a FIFO of that
/// name exists, the call sets its mode. A sender needs write permission, a receiver read
/// permission, and a receiver with IPC_FIFO_F_PERSIST both. A receiver that also has write
/// permission loses no record when it stops waiting (see ipc_fifo_open).
///
/// Does not block, except for the file system. Not a cancellation point. May be called from any
/// thread and in the child after fork; not from a signal handler.
///
/// Returns 0, or -1 with errno:
///   EACCES        no permission to search a directory of the path, or to write the last one
///   EDQUOT        the quota of the file system is exhausted
///   EEXIST        path exists, and is not a FIFO or IPC_FIFO_F_EXIST_OK is not set
///   EINVAL        path is NULL, mode has other bits, or flags has an unknown flag
///   ELOOP         too many symbolic links in the path
///   EMFILE        the umask removes bits of mode, and the process has no descriptor left to set
///                 them
///   ENAMETOOLONG  the path or a part of it is too long
///   ENFILE        the same, and the system has no open file left
///   ENOENT        a directory of the path does not exist, or path is empty; or the umask removes
///                 bits of mode, and there is no /proc
///   ENOSPC        the file system is full
///   ENOTDIR       a part of the path is not a directory
///   EPERM         another user owns the FIFO and it has another mode, or the file system does not
///                 support FIFOs
///   EROFS         the file system is read-only
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_fifo_create(
    path: *const c_char,
    mode: mode_t,
    flags: c_uint,
) -> c_int {
    let create = || -> Result<c_int> {
        // SAFETY: the caller's string.
        let path = unsafe { string(path) }?;
        if flags & !IPC_FIFO_F_EXIST_OK != 0 {
            return Err(errno!(EINVAL));
        }
        fifo::create(path, mode, flags & IPC_FIFO_F_EXIST_OK != 0)?;
        Ok(0)
    };
    or_errno_of(create, -1)
}

/// Opens a FIFO for receiving or sending, and waits for the other side.
///
/// flags is IPC_FIFO_F_READ or IPC_FIFO_F_WRITE, optionally with IPC_FIFO_F_PERSIST and
/// IPC_FIFO_F_PACKET or'ed in. A reader waits until there is a writer, and a writer until there is
/// a reader; the other side may also use open(2). A persistent reader is a writer itself: it does
/// not wait, and its session does not end when the last writer closes the FIFO. The call opens only
/// a FIFO, and not a symbolic link to a FIFO. If the name is removed and created again during the
/// wait, the call continues with the new FIFO.
///
/// timeout_ms is in milliseconds: -1 waits without limit, 0 does not wait, IPC_WAIT_INTR waits
/// until a signal handler has run. A handler that runs before the call begins does not end it.
///
/// A waiting reader is visible to every writer, and returns at once when a writer sends something
/// or closes the FIFO. A writer that has only opened the FIFO is found by polling: every 0.4 ms for
/// the first 100 ms, then at intervals of 1/64 of the time waited, but at most 20 ms. A waiting
/// writer polls for a reader in the same way.
///
/// A reader that fails with EAGAIN, ETIMEDOUT or EINTR has discarded no record for which
/// ipc_fifo_send returned 0: if there is such a record, the call succeeds instead. This needs write
/// permission for the FIFO, and /proc; without them a record that is sent in the last microseconds
/// of the wait can be lost. close(2) discards the content of the FIFO, so a reader that serves one
/// session after another should open the next session before it closes the descriptor of the
/// previous one.
///
/// The caller closes the descriptor. It is close-on-exec, and non-blocking so that it can be
/// polled. ipc_fifo_send and ipc_fifo_recv are fastest if it stays non-blocking.
///
/// Blocks as timeout_ms says. While it waits, the call uses up to two further descriptors and is a
/// cancellation point: a cancelled call leaves no descriptor open, and is no longer visible to the
/// other side. A call that does not need to wait is not a cancellation point. A signal handler must
/// not leave the call by siglongjmp(3), which would leave descriptors open. May be called from any
/// thread and in the child after fork; not from a signal handler.
///
/// Returns the descriptor, or -1 with errno:
///   EACCES        the permissions do not allow it
///   EAGAIN        timeout_ms is 0, and no process has the other side open
///   EINTR         timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL        path is NULL or not a FIFO, flags is not as above, or timeout_ms is below -2
///   ELOOP         path is a symbolic link, or too many symbolic links in the path
///   EMFILE        the process has too few descriptors left: a reader needs three, a writer one
///   ENAMETOOLONG  the path or a part of it is too long
///   ENFILE        the system has no open file left
///   ENOENT        path does not exist, or was removed during the wait
///   ENOMEM        no memory is left
///   ENOTDIR       a part of the path is not a directory
///   ETIMEDOUT     the time-out expired before the other side was opened
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_fifo_open(
    path: *const c_char,
    flags: c_uint,
    timeout_ms: c_int,
) -> c_int {
    let open = || -> Result<c_int> {
        // SAFETY: the caller's string.
        let path = unsafe { string(path) }?;
        const PERSISTENT: c_uint = IPC_FIFO_F_READ | IPC_FIFO_F_PERSIST;
        let side = match flags & !IPC_FIFO_F_PACKET {
            IPC_FIFO_F_READ => Side::Read,
            PERSISTENT => Side::ReadPersistent,
            IPC_FIFO_F_WRITE => Side::Write,
            _ => return Err(errno!(EINVAL)),
        };
        Ok(fifo::open(path, side, Deadline::new(timeout_ms)?)?.into_raw_fd())
    };
    or_errno_of(open, -1)
}

/// Sends one record, as a whole and never mixed with another record.
///
/// fd is from ipc_fifo_open. len is at most IPC_FIFO_RECORD_MAX bytes. The call writes a trailer of
/// four bytes after the record: 0x00, 0xf5, and the length as two bytes in little-endian order.
/// timeout_ms is as for ipc_fifo_open, and also applies to a blocking descriptor. When the last
/// reader has closed the FIFO, the call fails with EPIPE and does not raise SIGPIPE.
///
/// If several senders wait for space with timeout_ms -1, each received record wakes one sender, in
/// the order in which they arrived. If they wait with a time-out or IPC_WAIT_INTR, it wakes all of
/// them.
///
/// Blocks as timeout_ms says. A cancellation point, as write(2) is; a call that is cancelled while
/// it waits has sent nothing. May be called from any thread, by several at once, from a signal
/// handler, and in the child after fork.
///
/// Returns 0, or -1 with errno and nothing sent:
///   EAGAIN     timeout_ms is 0, and the FIFO is full
///   EBADF      fd is not open for writing
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     rec is NULL, len is 0, or timeout_ms is below -2
///   EMFILE     timeout_ms is not -1, fd is blocking, and the process has fewer than two
///              descriptors left
///   EMSGSIZE   len exceeds IPC_FIFO_RECORD_MAX
///   ENFILE     timeout_ms is not -1, fd is blocking, and the system has no open file left
///   ENOMEM     timeout_ms is not -1, fd is blocking, and no memory is left
///   EPIPE      the last reader has closed the FIFO
///   ETIMEDOUT  the time-out expired, and the FIFO is still full
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_fifo_send(
    fd: c_int,
    rec: *const c_void,
    len: size_t,
    timeout_ms: c_int,
) -> c_int {
    let send = || -> Result<c_int> {
        // SAFETY: the caller's buffer of len bytes.
        let record = unsafe { buffer(rec, len) }?;
        record::send(borrow(fd)?, record, Deadline::new(timeout_ms)?)?;
        Ok(0)
    };
    or_errno_of(send, -1)
}

/// Receives one record of up to cap bytes.
///
/// fd is from ipc_fifo_open. If the record is longer than cap, the call fails with EMSGSIZE and
/// discards the record; the next receive returns the next record. If there are several readers,
/// each gets whole records. timeout_ms is as for ipc_fifo_open, and also applies to a blocking
/// descriptor.
///
/// Blocks as timeout_ms says. A cancellation point, as read(2) is; a call that is cancelled while
/// it waits has received nothing. May be called from any thread, by several at once, from a signal
/// handler, and in the child after fork.
///
/// Returns the length of the record; 0 at the end of the session (the last writer has closed the
/// FIFO, and it is empty; a writer that opens it later begins another session); or -1 with errno:
///   EAGAIN     timeout_ms is 0, and no record is available
///   EBADF      fd is not open for reading
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     rec is NULL, cap is 0, or timeout_ms is below -2
///   EMFILE     timeout_ms is not -1, fd is blocking, and the process has fewer than two
///              descriptors left
///   EMSGSIZE   the record was longer than cap
///   ENFILE     timeout_ms is not -1, fd is blocking, and the system has no open file left
///   ENOMEM     timeout_ms is not -1, fd is blocking, and no memory is left
///   EPROTO     the FIFO contained bytes that ipc_fifo_send did not write. They are discarded, with
///              any records that were written after them before the read; ipc_fifo_recv_any
///              receives both
///   ETIMEDOUT  the time-out expired
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_fifo_recv(
    fd: c_int,
    rec: *mut c_void,
    cap: size_t,
    timeout_ms: c_int,
) -> ssize_t {
    let receive = || -> Result<ssize_t> {
        // SAFETY: the caller's buffer of cap bytes.
        let buffer = unsafe { recv_buffer(rec, cap) }?;
        Ok(record::recv(borrow(fd)?, buffer, Deadline::new(timeout_ms)?)? as ssize_t)
    };
    or_errno_of(receive, -1)
}

/// Receives one record, or a line of text that a program wrote without this library.
///
/// For example, a shell script can use echo to send lines to a FIFO on which other programs send
/// records. *ret_text becomes 1 for text, and 0 for a record or the end of the session; ret_text
/// may be NULL. A line of text includes its newline. Text that is longer than cap is received in
/// pieces, and so is a line that has not been written completely yet, or that is longer than a page
/// of memory. Everything is received in the order in which it was written, and text damages no
/// record. Text must not contain a zero byte: other bytes that contain one can look like a record.
///
/// fd is from ipc_fifo_open. If a record is longer than cap, the call fails with EMSGSIZE and
/// discards the record; the next receive continues after it. timeout_ms is as for ipc_fifo_open.
/// Only one thread, in all processes together, may be receiving from the FIFO.
///
/// Blocks as timeout_ms says. A cancellation point while it waits; a cancelled call has received
/// nothing. Each call creates a pipe and closes it, so ipc_fifo_recv is faster. May be called from
/// any thread, from a signal handler, and in the child after fork.
///
/// Returns the length; 0 at the end of the session; or -1 with errno:
///   EAGAIN     timeout_ms is 0, and no record or text is available
///   EBADF      fd is not open for reading
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     buf is NULL, cap is 0, timeout_ms is below -2, or fd is not a pipe
///   EMFILE     the process has fewer than two descriptors left
///   EMSGSIZE   the record was longer than cap
///   ENFILE     the system has no open file left
///   ENOMEM     no memory is left
///   ENOSYS     a system call filter refuses tee(2)
///   EPROTO     another receiver took bytes at the same time; some are lost
///   ETIMEDOUT  the time-out expired
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_fifo_recv_any(
    fd: c_int,
    buf: *mut c_void,
    cap: size_t,
    ret_text: *mut c_int,
    timeout_ms: c_int,
) -> ssize_t {
    let receive = || -> Result<ssize_t> {
        // SAFETY: the caller's buffer of cap bytes.
        let buffer = unsafe { recv_buffer(buf, cap) }?;
        // SAFETY: the caller's int, or NULL; it need not be initialised.
        let text = unsafe { in_out(ret_text.cast::<MaybeUninit<c_int>>()) };
        let received = any::recv(borrow(fd)?, buffer, Deadline::new(timeout_ms)?)?;
        if let Some(text) = text {
            text.write(received.is_text.into());
        }
        Ok(received.len as ssize_t)
    };
    or_errno_of(receive, -1)
}

/// Removes the name of a FIFO, and of no other type of file. Processes that have it open keep it.
///
/// Does not block, except for the file system. Not a cancellation point. May be called from any
/// thread, from a signal handler, and in the child after fork.
///
/// Returns 0, or -1 with errno:
///   EACCES        no permission to search a directory of the path, or to write the last one
///   EINVAL        path is NULL or not a FIFO
///   ELOOP         path is a symbolic link, or too many symbolic links in the path
///   ENAMETOOLONG  the path or a part of it is too long
///   ENOENT        path does not exist, or is empty
///   ENOTDIR       a part of the path is not a directory
///   EPERM         the sticky bit of the directory forbids it
///   EROFS         the file system is read-only
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_fifo_unlink(path: *const c_char) -> c_int {
    // SAFETY: the caller's string.
    let path = unsafe { string(path) };
    or_errno_of(|| fifo::unlink(path?).map(|()| 0), -1)
}
