//! Layer 3: regions of shared memory.

use super::pointer::{
    ExtensibleStruct, copy_struct_from, drop_handle, handle, return_handle, string,
};
use crate::deadline::Deadline;
use crate::errno::{Result, errno, or_errno, or_errno_of};
use crate::fd::borrow;
use crate::shm::{self, CreateOptions, MapOptions, Shm};
use libc::{c_char, c_int, c_uint, c_void, key_t, mode_t, size_t};
use std::os::fd::AsRawFd;
use std::ptr;

pub use super::shm_open_or_create::ipc_shm_open_or_create;

/// Flag of struct ipc_shm_opts: ipc_shm_publish can give the region a name.
pub const IPC_SHM_F_PUBLISH: c_uint = 1;
/// Flag of struct ipc_shm_opts: no other process can ever map the region for writing.
pub const IPC_SHM_F_SOLE_WRITER: c_uint = 2;
/// Flag of struct ipc_shm_opts, ipc_shm_open and ipc_shm_from_fd: request transparent huge pages,
/// if the system has them for shared memory.
pub const IPC_SHM_F_HUGE: c_uint = 4;
/// Flag of struct ipc_shm_opts, ipc_shm_open and ipc_shm_from_fd: allocate and map all pages at
/// once, so that the first access to a page causes no page fault.
pub const IPC_SHM_F_PREFAULT: c_uint = 8;
/// Flag of struct ipc_shm_opts, ipc_shm_open and ipc_shm_from_fd: lock the region in memory, so
/// that it is not swapped out (mlock(2)).
pub const IPC_SHM_F_LOCK: c_uint = 16;
/// Flag of ipc_shm_open and ipc_shm_from_fd: map the memory for reading only.
pub const IPC_SHM_F_RDONLY: c_uint = 32;
/// Flag of ipc_shm_from_fd: trust every process that can write the file not to truncate it.
pub const IPC_SHM_F_TRUST: c_uint = 64;
/// Flag of struct ipc_shm_opts: the name of the region is removed with its last user.
pub const IPC_SHM_F_TRANSIENT: c_uint = 128;
/// Flag of struct ipc_shm_opts, for ipc_shm_open_or_create: replace a region of another size or
/// layout.
pub const IPC_SHM_F_REPLACE_STALE: c_uint = 256;

#[cfg(cbindgen)]
/// A handle of a region of shared memory in this process. Its address and size never change.
pub struct ipc_shm;

/// Flags that determine how this process maps a region.
const MAP_FLAGS: c_uint = IPC_SHM_F_HUGE | IPC_SHM_F_PREFAULT | IPC_SHM_F_LOCK;
/// Flags of a new region.
pub(super) const CREATE_FLAGS: c_uint =
    MAP_FLAGS | IPC_SHM_F_PUBLISH | IPC_SHM_F_SOLE_WRITER | IPC_SHM_F_TRANSIENT;

/// Options of a new region. All zeros are the defaults.
#[repr(C)]
#[derive(Clone, Copy, Default)]
pub struct ipc_shm_opts {
    /// IPC_SHM_F_PUBLISH, _SOLE_WRITER, _TRANSIENT, _HUGE, _PREFAULT, _LOCK and _REPLACE_STALE,
    /// or'ed
    pub flags: c_uint,
    /// the permissions, bits of 0666; the umask does not apply; 0: 0600
    pub mode: mode_t,
    /// how long ipc_shm_open_or_create waits for other processes, in milliseconds. 0 (the default
    /// here) and -1: no limit; IPC_WAIT_INTR: until a signal handler has run
    pub timeout_ms: c_int,
    /// must be 0
    pub reserved: c_uint,
    /// identifies the layout of the memory, for example by a version number; 0: not recorded or
    /// checked
    pub layout: u64,
}

// SAFETY: numbers, which any bytes are, and the size below leaves no padding.
unsafe impl ExtensibleStruct for ipc_shm_opts {
    const FIRST_SIZE: usize = 24;
}
const _: () = assert!(size_of::<ipc_shm_opts>() == ipc_shm_opts::FIRST_SIZE);

impl ipc_shm_opts {
    /// Checks and converts the options; `allowed` are the flags that the function accepts.
    pub(super) fn create_options(self, allowed: c_uint) -> Result<CreateOptions> {
        let flags = self.flags;
        check_flags(flags, allowed)?;
        if self.reserved != 0 {
            return Err(errno!(EINVAL));
        }
        self.deadline()?;
        Ok(CreateOptions {
            map: map_options(flags),
            publish: flags & IPC_SHM_F_PUBLISH != 0,
            sole_writer: flags & IPC_SHM_F_SOLE_WRITER != 0,
            transient: flags & IPC_SHM_F_TRANSIENT != 0,
            mode: self.mode,
            layout: self.layout,
        })
    }

    /// The time-out. In the option structure, 0 is the default and means no limit.
    pub(super) fn deadline(self) -> Result<Deadline> {
        match self.timeout_ms {
            0 => Ok(Deadline::forever()),
            timeout_ms => Deadline::new(timeout_ms),
        }
    }
}

fn check_flags(flags: c_uint, allowed: c_uint) -> Result<()> {
    if flags & !allowed == 0 {
        Ok(())
    } else {
        Err(errno!(EINVAL))
    }
}

fn map_options(flags: c_uint) -> MapOptions {
    MapOptions {
        read_only: flags & IPC_SHM_F_RDONLY != 0,
        huge: flags & IPC_SHM_F_HUGE != 0,
        prefault: flags & IPC_SHM_F_PREFAULT != 0,
        lock: flags & IPC_SHM_F_LOCK != 0,
    }
}

/// Makes a region of shared memory of size bytes, all zero, without a name.
///
/// opts points to options of opts_size bytes (sizeof(*opts)); NULL means the defaults. By default
/// the region is a sealed memfd: its size never changes, so no process can take the memory away
/// from the others. Other processes get it by fork, or by its descriptor, with ipc_msg_send and
/// ipc_shm_from_fd. With IPC_SHM_F_SOLE_WRITER the kernel allows no further mapping for writing,
/// whichever process has the descriptor: only this process, and its children by fork, can write.
/// With IPC_SHM_F_PUBLISH the region is a file on the tmpfs in /dev/shm, and has no name until
/// ipc_shm_publish. Such a file cannot be sealed, so the two flags exclude each other.
///
/// With IPC_SHM_F_TRANSIENT, which requires PUBLISH, the name exists only while the region has
/// users. A user is a process that has a handle of the region, other than with RDONLY. A region
/// without users cannot be opened with this library, and the next process that makes one of the
/// same name replaces it.
///
/// If layout is not 0, it is recorded with the region: ipc_shm_layout returns it, and
/// ipc_shm_open_or_create compares it. The file then has one further page after the region; with
/// TRANSIENT it also has this page.
///
/// The call allocates all of the memory. A region without a name disappears with the last process
/// that has it.
///
/// The caller closes the handle with ipc_shm_close. After fork the child has its own copy of the
/// handle, which works, and which the child closes.
///
/// Does not block, but a large region takes time. Not a cancellation point. May be called from any
/// thread, and in the child after fork; not from a signal handler.
///
/// Returns 0, or -1 with errno and ret_shm unchanged:
///   E2BIG       opts is from a newer version of the library and sets an option that this version
///               does not have
///   EACCES      PUBLISH: no permission to write /dev/shm
///   EAGAIN      LOCK: not all of the region could be locked
///   EDQUOT      PUBLISH: the quota of /dev/shm is exhausted
///   EFBIG       size exceeds RLIMIT_FSIZE, or the maximum size of a file
///   EINVAL      ret_shm is NULL, size is 0, a flag, the mode or timeout_ms is not as above,
///               opts_size is smaller than the structure's first version, SOLE_WRITER is combined
///               with PUBLISH, TRANSIENT is set without PUBLISH, or the kernel does not support
///               SOLE_WRITER (before Linux 5.1)
///   EMFILE      the process has no descriptor left
///   ENFILE      the system has no open file left
///   ENOENT      PUBLISH: there is no /dev/shm
///   ENOLCK      TRANSIENT: the system has no memory for locks
///   ENOMEM      no memory or address space is left; or, with LOCK or mlockall(MCL_FUTURE), the
///               region would exceed RLIMIT_MEMLOCK
///   ENOSPC      not enough memory: /dev/shm or the memory of the machine is too small
///   EOPNOTSUPP  PUBLISH: /dev/shm is not a tmpfs
///   EPERM       LOCK: the process may not lock memory
///   EROFS       PUBLISH: /dev/shm is read-only
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shm_create(
    size: size_t,
    opts: *const ipc_shm_opts,
    opts_size: size_t,
    ret_shm: *mut *mut Shm,
) -> c_int {
    let make = || -> Result<Shm> {
        // SAFETY: the caller's options.
        let opts: ipc_shm_opts = unsafe { copy_struct_from(opts, opts_size) }?;
        shm::create(size, opts.create_options(CREATE_FLAGS)?)
    };
    // SAFETY: the caller's output parameter.
    or_errno_of(|| unsafe { return_handle(ret_shm, make) }, -1)
}

/// Gives a name to a region that was made with IPC_SHM_F_PUBLISH. Initialise the region before.
///
/// From then on ipc_shm_open and shm_open(3) find the region. A name consists of a slash and 1 to
/// 255 bytes other than a slash, and is not "/." or "/.."; the file is /dev/shm/name. Names that
/// begin with "/." and end with ".lock" are reserved. The name stays until ipc_shm_unlink, even if
/// all processes that use it end; the name of a transient region is removed with its last user. A
/// region can have several names.
///
/// Does not block. Not a cancellation point. May be called from any thread, from a signal handler,
/// and in the child after fork.
///
/// Returns 0, or -1 with errno:
///   EACCES        no permission to write /dev/shm
///   EBADF         the descriptor of the region was closed
///   EDQUOT        the quota of /dev/shm is exhausted
///   EEXIST        the name exists
///   EINVAL        shm or name is NULL, the region was not made with PUBLISH, or the name is not
///                 valid
///   ENAMETOOLONG  the name is too long
///   ENOENT        every name that the region had was removed; or there is no /dev/shm or, before
///                 Linux 6.10, no /proc
///   ENOMEM        no memory is left
///   ENOSPC        /dev/shm has no space for a name
///   EPERM         the process has changed its user, and the region belongs to the former one; or
///                 the name belongs to a transient region of another user, which has no users
///   EROFS         /dev/shm is read-only
///   EXDEV         another file system was mounted at /dev/shm after the region was made
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shm_publish(shm: *mut Shm, name: *const c_char) -> c_int {
    let publish = || -> Result<()> {
        // SAFETY: the caller's handle.
        let shm = unsafe { handle(shm) }?;
        // SAFETY: the caller's string.
        shm.publish(unsafe { string(name) }?)
    };
    or_errno_of(|| publish().map(|()| 0), -1)
}

/// Opens a region by its name.
///
/// The name is as for ipc_shm_publish. flags is 0, or IPC_SHM_F_RDONLY, _HUGE, _PREFAULT and _LOCK,
/// or'ed. A region from this library becomes visible only when it is complete; one from shm_open(3)
/// can be visible earlier. The file must be a regular file on a tmpfs, and not a symbolic link.
///
/// With IPC_SHM_F_RDONLY the descriptor is also open for reading only. A process that has
/// permission to write the file can open it again for writing: the flag restrains only other users.
///
/// A process that may write a named region may also truncate it. An access to the removed part then
/// raises SIGBUS. Use a named region only between processes that trust each other.
///
/// The call opens a region of any size and layout: compare ipc_shm_size and ipc_shm_layout. It
/// opens a transient region only while it has users; the caller becomes one, unless it uses RDONLY.
///
/// The handle is as for ipc_shm_create. Does not block, but waits for at most 1 second if another
/// process is stopped while it opens the same transient region, or has a lease on the file. Not a
/// cancellation point. May be called from any thread, and in the child after fork; not from a signal
/// handler.
///
/// Returns 0, or -1 with errno and ret_shm unchanged:
///   EACCES        the permissions do not allow it
///   EAGAIN        LOCK: not all of the region could be locked
///   EBUSY         the region is transient, and a process that may read it keeps it locked, or a
///                 process that opens it is stopped; or a process keeps a lease on the file
///   EINVAL        name or ret_shm is NULL, the name is not valid or not that of a regular file, or
///                 flags has an unknown bit
///   ELOOP         it is the name of a symbolic link
///   EMFILE        the process has no descriptor left
///   ENAMETOOLONG  the name is too long
///   ENFILE        the system has no open file left
///   ENOENT        there is no region of this name, or it is a transient one without users
///   ENOLCK        the region is transient, and the system has no memory for locks
///   ENOMEM        no memory or address space is left; or, with LOCK or mlockall(MCL_FUTURE), the
///                 region would exceed RLIMIT_MEMLOCK; or LOCK: a page cannot be allocated
///   ENOSPC        PREFAULT: the memory is not allocated, and /dev/shm is full
///   EOPNOTSUPP    /dev/shm is not a tmpfs
///   EPERM         LOCK: the process may not lock memory
///   EPROTO        the file is empty, because another program has made it without a size; or
///                 PREFAULT: it was truncated during the call
///   EROFS         /dev/shm is read-only, and RDONLY is not set
///   ESTALE        another version of the library has made the region
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shm_open(
    name: *const c_char,
    flags: c_uint,
    ret_shm: *mut *mut Shm,
) -> c_int {
    let open = || -> Result<Shm> {
        check_flags(flags, MAP_FLAGS | IPC_SHM_F_RDONLY)?;
        // SAFETY: the caller's string.
        shm::open(unsafe { string(name) }?, map_options(flags))
    };
    // SAFETY: the caller's output parameter.
    or_errno_of(|| unsafe { return_handle(ret_shm, open) }, -1)
}

/// Opens a region by its descriptor, for example one that a peer has passed.
///
/// flags is 0, or IPC_SHM_F_RDONLY, _HUGE, _PREFAULT, _LOCK and _TRUST, or'ed. The file must be a
/// memfd that is sealed against shrinking, as ipc_shm_create makes it, and not on hugetlbfs: no
/// process can take such memory away. With PREFAULT or LOCK all of it must be allocated, as
/// ipc_shm_create does; otherwise a peer could make this process allocate as much memory as the
/// file is long. With IPC_SHM_F_TRUST the call accepts any regular file that is not empty and can
/// be mapped; after a truncation, an access to the removed part raises SIGBUS. A descriptor that is
/// open for reading only, and a region with a sole writer, require IPC_SHM_F_RDONLY.
///
/// The call opens a region of any size and layout: compare ipc_shm_size and ipc_shm_layout.
///
/// The call duplicates fd; the caller still closes its own. The handle is as for ipc_shm_create.
/// Does not block. Not a cancellation point. May be called from any thread, and in the child after
/// fork; not from a signal handler.
///
/// Returns 0, or -1 with errno and ret_shm unchanged:
///   EACCES  fd is not open for reading, or it is not open for writing and RDONLY is not set
///   EAGAIN  LOCK: not all of the region could be locked
///   EBADF   fd is not open, or was opened with O_PATH
///   EINVAL  ret_shm is NULL, or flags has an unknown bit
///   EIO     TRUST and PREFAULT: reading the file failed
///   EMFILE  the process has no descriptor left
///   ENFILE  the system has no open file left
///   ENODEV  TRUST: this file cannot be mapped
///   ENOMEM  no memory or address space is left; or, with LOCK or mlockall(MCL_FUTURE), the region
///           would exceed RLIMIT_MEMLOCK
///   ENOSPC  TRUST and PREFAULT: the memory is not allocated, and the file system is full
///   EPERM   the region is sealed against writing and RDONLY is not set; or LOCK: the process may
///           not lock memory
///   EPROTO  the file is not a memfd sealed against shrinking; it is empty; PREFAULT or LOCK: it is
///           not completely allocated; TRUST: it is not a regular file, or was truncated during the
///           call
///   ESTALE  another version of the library has made the region
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shm_from_fd(
    fd: c_int,
    flags: c_uint,
    ret_shm: *mut *mut Shm,
) -> c_int {
    let open = || -> Result<Shm> {
        check_flags(flags, MAP_FLAGS | IPC_SHM_F_RDONLY | IPC_SHM_F_TRUST)?;
        shm::from_fd(
            borrow(fd)?,
            map_options(flags),
            flags & IPC_SHM_F_TRUST != 0,
        )
    };
    // SAFETY: the caller's output parameter.
    or_errno_of(|| unsafe { return_handle(ret_shm, open) }, -1)
}

/// Opens a region that is a System V segment, by its key, or creates it.
///
/// shmflg is as for ipc_shmget: permission bits, IPC_CREAT, IPC_EXCL, SHM_HUGETLB. SHM_RDONLY
/// attaches the segment for reading only; SHM_NORESERVE is the same bit, so it is not available
/// here. A new segment contains zeros, and other processes see it before its creator has filled it
/// in. Its size never changes, so no process can take the memory away. size may be smaller than
/// that of an existing segment, or 0; ipc_shm_size returns the actual size.
///
/// The segment stays until a process removes it: ipc_shmctl with IPC_RMID, or ipcrm(1). IPC_PRIVATE
/// is not valid: ipc_shm_create makes memory without a key.
///
/// If the call creates a segment and then fails, it removes the segment, unless another process has
/// already attached it.
///
/// The handle is as for ipc_shm_create; ipc_shm_close detaches the segment. Does not block. Not a
/// cancellation point. May be called from any thread, and in the child after fork; not from a
/// signal handler.
///
/// Returns 0, or -1 with errno and ret_shm unchanged:
///   EACCES  the permissions of the segment do not allow it
///   EEXIST  IPC_CREAT and IPC_EXCL are set, and the key has a segment
///   EINVAL  ret_shm is NULL, key is IPC_PRIVATE, shmflg has SHM_RND, SHM_REMAP or SHM_EXEC, or
///           size is 0 or exceeds SHMMAX for a new segment
///   ENFILE  the system has no open file left
///   ENOENT  the key has no segment, and IPC_CREAT is not set
///   ENOMEM  no memory or address space is left, or too few huge pages; or, with
///           mlockall(MCL_FUTURE), the segment would exceed RLIMIT_MEMLOCK
///   ENOSPC  SHMMNI segments exist, or the total would exceed SHMALL pages
///   EPERM   SHM_HUGETLB is set, and the process lacks the privilege
///   ESTALE  the key has a segment of fewer than size bytes
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shm_attach(
    key: key_t,
    size: size_t,
    shmflg: c_int,
    ret_shm: *mut *mut Shm,
) -> c_int {
    let attach = || shm::attach(key, size, shmflg);
    // SAFETY: the caller's output parameter.
    or_errno_of(|| unsafe { return_handle(ret_shm, attach) }, -1)
}

/// Returns the address of a region in this process. It is aligned to a page.
///
/// May be called from any thread, from a signal handler, and in the child after fork.
///
/// Returns the address; or NULL, with errno EINVAL, if shm is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shm_addr(shm: *const Shm) -> *mut c_void {
    // SAFETY: the caller's handle.
    or_errno(unsafe { handle(shm) }.map(Shm::address), ptr::null_mut())
}

/// Returns the size of a region in bytes, as its creator requested it.
///
/// May be called from any thread, from a signal handler, and in the child after fork.
///
/// Returns the size; or 0, with errno EINVAL, if shm is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shm_size(shm: *const Shm) -> size_t {
    // SAFETY: the caller's handle.
    or_errno(unsafe { handle(shm) }.map(Shm::size), 0)
}

/// Returns the descriptor of a region, for example to pass it to another process with ipc_msg_send.
///
/// The descriptor is close-on-exec and belongs to the handle: ipc_shm_close closes it. If the file
/// has lost its last name, for example because systemd-logind has removed it (RemoveIPC), fstat(2)
/// reports 0 links (st_nlink).
///
/// May be called from any thread, from a signal handler, and in the child after fork.
///
/// Returns the descriptor, or -1 with errno:
///   EINVAL      shm is NULL
///   EOPNOTSUPP  the region is from ipc_shm_attach, and has no descriptor
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shm_fd(shm: *const Shm) -> c_int {
    // SAFETY: the caller's handle.
    let fd = unsafe { handle(shm) }.and_then(Shm::fd);
    or_errno(fd.map(|fd| fd.as_raw_fd()), -1)
}

/// Returns the layout tag of a region: the member layout of the options with which it was made.
///
/// ipc_shm_open and ipc_shm_from_fd open a region with any tag; the caller compares it.
///
/// May be called from any thread, from a signal handler, and in the child after fork.
///
/// Returns the tag, or 0 if the region has none; or 0, with errno EINVAL, if shm is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shm_layout(shm: *const Shm) -> u64 {
    // SAFETY: the caller's handle.
    or_errno(unsafe { handle(shm) }.map(Shm::layout), 0)
}

/// Checks whether a process that opens the name of a region now gets this region.
///
/// The name is the one by which the region was opened, or the first one that it was given; for a
/// region from ipc_shm_attach it is the key. The result is 0 after ipc_shm_unlink, after the region
/// was replaced (IPC_SHM_F_REPLACE_STALE), and after systemd-logind has removed the name
/// (RemoveIPC). The result can be outdated when the call returns.
///
/// Does not block. Not a cancellation point. May be called from any thread, from a signal handler,
/// and in the child after fork.
///
/// Returns 1 or 0, or -1 with errno:
///   EACCES      no permission to search /dev/shm; or the permissions of the segment do not allow
///               it
///   EBADF       a read-only handle of a transient region: its descriptor was closed
///   EINVAL      shm is NULL
///   EOPNOTSUPP  the region has no name: it was not published, or is from ipc_shm_from_fd
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shm_is_current(shm: *const Shm) -> c_int {
    let is_current = || -> Result<c_int> {
        // SAFETY: the caller's handle.
        let shm = unsafe { handle(shm) }?;
        shm.is_current().map(c_int::from)
    };
    or_errno_of(is_current, -1)
}

/// Removes the name of a region. Processes that have the region open keep it.
///
/// The name is as for ipc_shm_publish. Does not block. Not a cancellation point. May be called from
/// any thread, from a signal handler, and in the child after fork.
///
/// Returns 0, or -1 with errno:
///   EACCES        no permission to write /dev/shm
///   EINVAL        name is NULL, not valid, or not the name of a regular file
///   ELOOP         it is the name of a symbolic link
///   ENAMETOOLONG  the name is too long
///   ENOENT        there is no region of this name
///   EPERM         another user owns it, and the sticky bit of the directory forbids it
///   EROFS         /dev/shm is read-only
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shm_unlink(name: *const c_char) -> c_int {
    // SAFETY: the caller's string.
    let unlinked = unsafe { string(name) }.and_then(shm::unlink);
    or_errno(unlinked.map(|()| 0), -1)
}

/// Unmaps a region and closes its descriptor. NULL does nothing.
///
/// The address becomes invalid in this process; other processes keep the region. A name stays, and
/// so does a System V segment; the last user of a transient region removes its name. Before the
/// call, unlock all locks in the region that this process holds.
///
/// A program may have closed the descriptor itself, for example a daemon that closes all
/// descriptors. If the number now refers to another file, the call does not close that file. It
/// compares the device and inode numbers.
///
/// Does not block. Not a cancellation point. May be called from any thread, and in the child after
/// fork, where it closes the child's copy; not from a signal handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shm_close(shm: *mut Shm) {
    // SAFETY: the caller's handle, which is no longer used.
    unsafe { drop_handle(shm) };
}
