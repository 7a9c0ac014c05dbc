//! Layer 2: FIFOs.

use super::pointer::{buffer, buffer_room, string};
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, or_errno_of};
use crate::fd::borrow;
use crate::fifo::{self, Side, record};
use libc::{c_char, c_int, c_uint, c_void, mode_t, size_t, ssize_t};
use std::os::fd::IntoRawFd;

/// A flag of ipc_fifo_open: for receiving.
pub const IPC_FIFO_F_READ: c_uint = 1;
/// A flag of ipc_fifo_open: for sending.
pub const IPC_FIFO_F_WRITE: c_uint = 2;
/// A flag of ipc_fifo_open, with IPC_FIFO_F_READ: the session does not end with the last writer.
pub const IPC_FIFO_F_PERSIST: c_uint = 4;
/// A flag of ipc_fifo_open: each record is a packet of the pipe, so that several readers get
/// whole ones. This is so in any case, because it is the faster way too.
pub const IPC_FIFO_F_PACKET: c_uint = 8;
/// A flag of ipc_fifo_create: a FIFO that exists already will do.
pub const IPC_FIFO_F_EXIST_OK: c_uint = 16;
/// The longest record, in bytes: PIPE_BUF without the trailer of four bytes.
pub const IPC_FIFO_RECORD_MAX: size_t = 4092;
const _: () = assert!(IPC_FIFO_RECORD_MAX == record::LEN_MAX);

/// Creates a FIFO with exactly this mode, whatever the umask.
///
/// mode has the permission bits (07777). flags is 0 or IPC_FIFO_F_EXIST_OK: a FIFO of that
/// name is then taken as it is, and given the mode. Whoever is to send needs write permission,
/// whoever is to receive read permission, and for IPC_FIFO_F_PERSIST both.
///
/// Does not block, except for the file system. May be called from any thread and in the child
/// after fork; not from a signal handler.
///
/// Returns 0, or -1 with errno:
///   EACCES        a folder of the path may not be searched, or the last one not written
///   EDQUOT        the quota of the file system is used up
///   EEXIST        path exists, and is not a FIFO or EXIST_OK is not set
///   EINVAL        path is NULL, mode has other bits, or flags an unknown one
///   ELOOP         too many symbolic links in the path
///   EMFILE        the process has no descriptor left, and the umask is in the way of the mode
///   ENAMETOOLONG  the path or a part of it is too long
///   ENFILE        the system has no open file left, likewise
///   ENOENT        a folder of the path does not exist, or path is empty; or there is no /proc,
///                 and the umask is in the way of the mode
///   ENOSPC        the file system is full
///   ENOTDIR       a part of the path is not a folder
///   EPERM         the FIFO is somebody else's and has another mode, or the file system has none
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
/// until there is a reader, also one that opens the FIFO with open(2); it sleeps meanwhile. A
/// persistent reader is a writer itself: it does not wait, and reads no end of the session.
/// Only a FIFO is opened, and no symbolic link that leads to one. A side that waits follows the
/// name if it is removed and made anew.
///
/// timeout_ms is in milliseconds: -1 waits for ever, 0 not at all, IPC_WAIT_INTR until a
/// signal handler ran. A handler that runs before the call sleeps, or between two looks at the
/// file, does not end it.
///
/// The descriptor is the caller's to close, close-on-exec, and non-blocking: it is made to be
/// polled. ipc_fifo_send and ipc_fifo_recv are fastest if it stays non-blocking.
///
/// Blocks as timeout_ms says; waiting takes up to three more descriptors. May be called from
/// any thread and in the child after fork; not from a signal handler.
///
/// Returns the descriptor, or -1 with errno:
///   EACCES     the permissions do not grant it
///   EAGAIN     timeout_ms is 0, and the other side is not there
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     path is NULL or not a FIFO, flags are not as above, or timeout_ms is below -2
///   ELOOP      path is a symbolic link, or has too many in it
///   EMFILE     the process has no descriptor left
///   ENAMETOOLONG  the path or a part of it is too long
///   ENFILE     the system has no open file left
///   ENOENT     path does not exist, or was removed while the call waited
///   ENOMEM     no memory is left
///   ENOTDIR    a part of the path is not a folder
///   ETIMEDOUT  the time is over, and the other side has not come
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
/// fd is from ipc_fifo_open. len is at most IPC_FIFO_RECORD_MAX bytes. Behind the record goes
/// a trailer of four bytes: the letters uf, and the length as two bytes, the lower first.
/// timeout_ms is as for ipc_fifo_open, and holds for a descriptor that blocks too. A reader that
/// is gone is EPIPE, and no SIGPIPE, whatever the program does with that signal.
///
/// Blocks as timeout_ms says. May be called from any thread, by several at once, from a signal
/// handler, and in the child after fork.
///
/// Returns 0, or -1 with errno and nothing sent:
///   EAGAIN     timeout_ms is 0, and the FIFO is full
///   EBADF      fd is not open for writing
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     rec is NULL, len is 0, or timeout_ms is below -2
///   EMFILE     timeout_ms is not -1, fd blocks, and the process has no two descriptors left
///   EMSGSIZE   len is over IPC_FIFO_RECORD_MAX
///   ENFILE     likewise, and the system has no open file left
///   ENOMEM     likewise, and no memory is left
///   EPIPE      the last reader is gone
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
/// fd is from ipc_fifo_open. A record longer than cap is EMSGSIZE and gone; the next receive
/// gives the next record. Of several readers each gets whole records. timeout_ms is as for
/// ipc_fifo_open, and holds for a descriptor that blocks too.
///
/// Blocks as timeout_ms says. May be called from any thread, by several at once, from a signal
/// handler, and in the child after fork.
///
/// Returns the record's length, 0 at the end of the session (the last writer is gone, and the
/// FIFO is empty; to serve another session, close and open it again), or -1 with errno:
///   EAGAIN     timeout_ms is 0, and no record is there
///   EBADF      fd is not open for reading
///   EINTR      timeout_ms is IPC_WAIT_INTR, and a signal handler ran
///   EINVAL     rec is NULL, cap is 0, or timeout_ms is below -2
///   EMFILE     timeout_ms is not -1, fd blocks, and the process has no two descriptors left
///   EMSGSIZE   the record was longer than cap
///   ENFILE     likewise, and the system has no open file left
///   ENOMEM     likewise, and no memory is left
///   EPROTO     the FIFO had bytes that ipc_fifo_send did not write; they are gone, and with
///              them records that were written behind them before they were read
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

/// Removes a FIFO's name, if it is a FIFO. Who has it open keeps it.
///
/// Does not block, except for the file system. May be called from any thread, from a signal
/// handler, and in the child after fork.
///
/// Returns 0, or -1 with errno:
///   EACCES        a folder of the path may not be searched, or the last one not written
///   EINVAL        path is NULL or not a FIFO
///   ELOOP         path is a symbolic link, or has too many in it
///   ENAMETOOLONG  the path or a part of it is too long
///   ENOENT        path does not exist, or is empty
///   ENOTDIR       a part of the path is not a folder
///   EPERM         the folder's sticky bit forbids it
///   EROFS         the file system is read-only
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_fifo_unlink(path: *const c_char) -> c_int {
    // SAFETY: the caller's string.
    let path = unsafe { string(path) };
    or_errno_of(|| fifo::unlink(path?).map(|()| 0), -1)
}
