//! Layer 2: FIFOs.

use super::pointer::{buffer, buffer_room, in_out, string};
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, or_errno_of};
use crate::fd::borrow;
use crate::fifo::{self, Side, any, record};
use libc::{c_char, c_int, c_uint, c_void, mode_t, size_t, ssize_t};
use std::mem::MaybeUninit;
use std::os::fd::IntoRawFd;

/// A flag of ipc_fifo_open: for receiving.
pub const IPC_FIFO_F_READ: c_uint = 1;
/// A flag of ipc_fifo_open: for sending.
pub const IPC_FIFO_F_WRITE: c_uint = 2;
/// A flag of ipc_fifo_open, with IPC_FIFO_F_READ: the session does not end with the last writer.
pub const IPC_FIFO_F_PERSIST: c_uint = 4;
/// A flag of ipc_fifo_open: each record is a packet of the pipe, so that several readers get
/// whole ones. Records are packets without this flag too.
pub const IPC_FIFO_F_PACKET: c_uint = 8;
/// A flag of ipc_fifo_create: an existing FIFO is used.
pub const IPC_FIFO_F_EXIST_OK: c_uint = 16;
/// The longest record, in bytes: PIPE_BUF without the trailer of four bytes.
pub const IPC_FIFO_RECORD_MAX: size_t = 4092;
const _: () = assert!(IPC_FIFO_RECORD_MAX == record::LEN_MAX);

/// Creates a FIFO with exactly this mode, whatever the umask.
///
/// mode has the permission bits (07777). flags is 0 or IPC_FIFO_F_EXIST_OK: a FIFO of that
/// name is then used, and given the mode. A sender needs write permission, a receiver read
/// permission, and IPC_FIFO_F_PERSIST both. A receiver that also has write permission loses no
/// record when it stops waiting (see ipc_fifo_open).
///
/// Does not block, except for the file system; not a cancellation point. May be called from any
/// thread and in the child after fork; not from a signal handler.
///
/// Returns 0, or -1 with errno:
///   EACCES        a directory of the path may not be searched, or the last one not written
///   EDQUOT        the quota of the file system is used up
///   EEXIST        path exists, and is not a FIFO or EXIST_OK is not set
///   EINVAL        path is NULL, mode has other bits, or flags an unknown one
///   ELOOP         too many symbolic links in the path
///   EMFILE        the process has no descriptor left, and the umask is in the way of the mode
///   ENAMETOOLONG  the path or a part of it is too long
///   ENFILE        the system has no open file left, likewise
///   ENOENT        a directory of the path does not exist, or path is empty; or there is no /proc,
///                 and the umask is in the way of the mode
///   ENOSPC        the file system is full
///   ENOTDIR       a part of the path is not a directory
///   EPERM         another user owns the FIFO and it has another mode, or the file system has no FIFOs
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
            return Err(Errno::EINVAL);
        }
        fifo::create(path, mode, flags & IPC_FIFO_F_EXIST_OK != 0)?;
        Ok(0)
    };
    or_errno_of(create, -1)
}

/// Opens a FIFO for receiving or sending, and waits for the other side.
///
/// flags is IPC_FIFO_F_READ or IPC_FIFO_F_WRITE, with IPC_FIFO_F_PERSIST and
/// IPC_FIFO_F_PACKET or'ed in where wanted. A reader waits until there is a writer, a writer
/// until there is a reader, also one that opens the FIFO with open(2). A persistent reader is a
/// writer itself: it does not wait, and the last writer's close does not end its session.
/// Only a FIFO is opened, and no symbolic link that leads to one. If the name is removed and made
/// again during the wait, the call goes on at the new FIFO.
///
/// timeout_ms is in milliseconds: -1 waits forever, 0 not at all, IPC_WAIT_INTR until a
/// signal handler ran. A handler that runs before the call begins does not end it.
///
/// A waiting reader is visible to every writer, and returns at once when a writer sends something
/// or closes the FIFO. A writer that has only opened it is found by looking: every 0.4 ms for the
/// first 100 ms, later after 1/64 of the time waited, at most 20 ms. A waiting writer looks for a
/// reader in the same way.
///
/// A reader that fails with EAGAIN, ETIMEDOUT or EINTR has discarded no record for which
/// ipc_fifo_send returned 0: it returns a descriptor instead if there is one. This needs write
/// permission for the FIFO and /proc; without them a record that is sent in the last microseconds
/// can be lost. For the same reason a reader that serves one session after another should open the
/// next one before it closes the descriptor of the last one: close(2) discards what is in the FIFO.
///
/// The caller closes the descriptor. It is close-on-exec, and non-blocking, so that it can be
/// polled. ipc_fifo_send and ipc_fifo_recv are fastest if it stays non-blocking.
///
/// Blocks as timeout_ms says; waiting takes up to two more descriptors. A call that waits is a
/// cancellation point: a cancelled call leaves no descriptor open, and is no longer visible to the
/// other side. A call that need not wait is none. A signal handler must not leave the call by
/// siglongjmp, which leaves descriptors open. May be called from any thread and in the child after
/// fork; not from a signal handler.
///
/// Returns the descriptor, or -1 with errno:
///   EACCES     the permissions do not grant it
///   EAGAIN     timeout_ms is 0, and the other side is not there
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     path is NULL or not a FIFO, flags are not as above, or timeout_ms is below -2
///   ELOOP      path is a symbolic link, or has too many in it
///   EMFILE     the process has too few descriptors left: a reader takes three, a writer one
///   ENAMETOOLONG  the path or a part of it is too long
///   ENFILE     the system has no open file left
///   ENOENT     path does not exist, or was removed while the call waited
///   ENOMEM     no memory is left
///   ENOTDIR    a part of the path is not a directory
///   ETIMEDOUT  the time-out expired before the other side came
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
            _ => return Err(Errno::EINVAL),
        };
        Ok(fifo::open(path, side, Deadline::new(timeout_ms)?)?.into_raw_fd())
    };
    or_errno_of(open, -1)
}

/// Sends a record: whole, and never mixed with another.
///
/// fd is from ipc_fifo_open. len is at most IPC_FIFO_RECORD_MAX bytes. Behind the record the
/// call writes a trailer of four bytes: 0x00, 0xf5, and the length as two bytes, the lower first.
/// timeout_ms is as for ipc_fifo_open, and holds for a descriptor that blocks too. After the last
/// reader has closed the FIFO the call fails with EPIPE, and raises no SIGPIPE.
///
/// Of many senders that wait for room with timeout_ms -1, a record that is received wakes one, in
/// the order in which they came. With a time-out or IPC_WAIT_INTR it wakes all of them.
///
/// Blocks as timeout_ms says. It is a cancellation point, as write(2) is; a call that is cancelled
/// while it waits has sent nothing. May be called from any thread, by several at once, from a
/// signal handler, and in the child after fork.
///
/// Returns 0, or -1 with errno and nothing sent:
///   EAGAIN     timeout_ms is 0, and the FIFO is full
///   EBADF      fd is not open for writing
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     rec is NULL, len is 0, or timeout_ms is below -2
///   EMFILE     timeout_ms is not -1, fd blocks, and the process has no two descriptors left
///   EMSGSIZE   len exceeds IPC_FIFO_RECORD_MAX
///   ENFILE     likewise, and the system has no open file left
///   ENOMEM     likewise, and no memory is left
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

/// Receives a record of up to cap bytes.
///
/// fd is from ipc_fifo_open. If the record exceeds cap, the call fails with EMSGSIZE and the
/// record is discarded; the next receive gives the next record. Of several readers each gets whole
/// records. timeout_ms is as for ipc_fifo_open, and holds for a descriptor that blocks too.
///
/// Blocks as timeout_ms says. It is a cancellation point, as read(2) is; a call that is cancelled
/// while it waits has taken nothing. May be called from any thread, by several at once, from a
/// signal handler, and in the child after fork.
///
/// Returns the record's length, 0 at the end of the session (the last writer has closed the FIFO,
/// and it is empty; a writer that opens it later begins another session), or -1 with errno:
///   EAGAIN     timeout_ms is 0, and no record is there
///   EBADF      fd is not open for reading
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     rec is NULL, cap is 0, or timeout_ms is below -2
///   EMFILE     timeout_ms is not -1, fd blocks, and the process has no two descriptors left
///   EMSGSIZE   the record was longer than cap
///   ENFILE     likewise, and the system has no open file left
///   ENOMEM     likewise, and no memory is left
///   EPROTO     the FIFO had bytes that ipc_fifo_send did not write; they are discarded, and
///              with them records that were written behind them before they were read:
///              ipc_fifo_recv_any receives both
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
        let room = unsafe { buffer_room(rec, cap) }?;
        Ok(record::recv(borrow(fd)?, room, Deadline::new(timeout_ms)?)? as ssize_t)
    };
    or_errno_of(receive, -1)
}

/// Receives a record, or a line of text that a program wrote without this library.
///
/// So a shell script can use echo to send lines to a FIFO on which other programs send records.
/// *ret_text becomes 1 for text and 0 for a record or the end; ret_text may be NULL. A line of text
/// includes its newline. Text that exceeds cap comes in pieces, and so does a line that has not
/// been written as a whole yet. Everything arrives in the order in which it was written, and
/// text damages no record. Text has no zero byte; foreign bytes that have one can look like a
/// record.
///
/// fd is from ipc_fifo_open. If a record exceeds cap, the call fails with EMSGSIZE and the record
/// is discarded; the next receive gives what follows. timeout_ms is as for ipc_fifo_open. Only one
/// thread, in all processes together, receives from the FIFO at a time.
///
/// Blocks as timeout_ms says; it is a cancellation point where it waits, and a cancelled call has
/// taken nothing. Each call makes a pipe and closes it, so ipc_fifo_recv is faster. May be called
/// from any thread, from a signal handler, and in the child after fork.
///
/// Returns the length, 0 at the end of the session, or -1 with errno:
///   EAGAIN     timeout_ms is 0, and nothing is there
///   EBADF      fd is not open for reading
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     buf is NULL, cap is 0, timeout_ms is below -2, or fd is not a pipe
///   EMFILE     the process has fewer than two descriptors left
///   EMSGSIZE   the record exceeded cap
///   ENFILE     the system has no open file left
///   ENOMEM     no memory is left
///   ENOSYS     a filter of system calls refuses tee(2)
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
        let room = unsafe { buffer_room(buf, cap) }?;
        // SAFETY: the caller's int, or NULL; it need not be initialised.
        let text = unsafe { in_out(ret_text.cast::<MaybeUninit<c_int>>()) };
        let received = any::recv(borrow(fd)?, room, Deadline::new(timeout_ms)?)?;
        if let Some(text) = text {
            text.write(received.is_text.into());
        }
        Ok(received.len as ssize_t)
    };
    or_errno_of(receive, -1)
}

/// Removes a FIFO's name, if it is a FIFO. Processes that have it open keep it.
///
/// Does not block, except for the file system; not a cancellation point. May be called from any thread, from a signal
/// handler, and in the child after fork.
///
/// Returns 0, or -1 with errno:
///   EACCES        a directory of the path may not be searched, or the last one not written
///   EINVAL        path is NULL or not a FIFO
///   ELOOP         path is a symbolic link, or has too many in it
///   ENAMETOOLONG  the path or a part of it is too long
///   ENOENT        path does not exist, or is empty
///   ENOTDIR       a part of the path is not a directory
///   EPERM         the directory's sticky bit forbids it
///   EROFS         the file system is read-only
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_fifo_unlink(path: *const c_char) -> c_int {
    // SAFETY: the caller's string.
    let path = unsafe { string(path) };
    or_errno_of(|| fifo::unlink(path?).map(|()| 0), -1)
}
