//! Layer 3: regions of shared memory.

use super::pointer::{
    ExtensibleStruct, copy_struct_from, drop_handle, handle, handle_room, out_ptr, string,
};
use crate::deadline::Deadline;
use crate::errno::{Errno, Result, or_errno, or_errno_of, preserve_errno};
use crate::fd::borrow;
use crate::shm::{self, CreateOptions, MapOptions, Shm};
use libc::{c_char, c_int, c_uint, c_void, key_t, mode_t, size_t};
use std::os::fd::AsRawFd;
use std::ptr;

pub use super::shm_open_or_create::ipc_shm_open_or_create;

/// A flag of struct ipc_shm_opts: the region can get a name with ipc_shm_publish.
pub const IPC_SHM_F_PUBLISH: c_uint = 1;
/// A flag of struct ipc_shm_opts: no other process can ever map the region for writing.
pub const IPC_SHM_F_SOLE_WRITER: c_uint = 2;
/// A flag of all calls: ask for transparent huge pages, if the system has them for shared memory.
pub const IPC_SHM_F_HUGE: c_uint = 4;
/// A flag of all calls: allocate and map all pages at once, so that the first access to each page
/// causes no page fault.
pub const IPC_SHM_F_PREFAULT: c_uint = 8;
/// A flag of all calls: keep the region in memory, and out of swap space (mlock(2)).
pub const IPC_SHM_F_LOCK: c_uint = 16;
/// A flag of ipc_shm_open and ipc_shm_from_fd: map the memory for reading only.
pub const IPC_SHM_F_RDONLY: c_uint = 32;
/// A flag of ipc_shm_from_fd: trust every process that can write the file not to truncate it.
pub const IPC_SHM_F_TRUST: c_uint = 64;
/// A flag of struct ipc_shm_opts: the name of the region ends with its last user.
pub const IPC_SHM_F_TRANSIENT: c_uint = 128;
/// A flag of ipc_shm_open_or_create: replace a region of another size or layout.
pub const IPC_SHM_F_REPLACE_STALE: c_uint = 256;

/// Flags that determine how this process maps a region.
const MAP_FLAGS: c_uint = IPC_SHM_F_HUGE | IPC_SHM_F_PREFAULT | IPC_SHM_F_LOCK;
/// Flags of a new region.
pub(super) const CREATE_FLAGS: c_uint =
    MAP_FLAGS | IPC_SHM_F_PUBLISH | IPC_SHM_F_SOLE_WRITER | IPC_SHM_F_TRANSIENT;

/// Options of a new region. All zeros are the defaults.
#[repr(C)]
#[derive(Clone, Copy, Default)]
#[allow(non_camel_case_types)]
pub struct ipc_shm_opts {
    /// IPC_SHM_F_PUBLISH, _SOLE_WRITER, _TRANSIENT, _HUGE, _PREFAULT, _LOCK, _REPLACE_STALE, or'ed
    pub flags: c_uint,
    /// the permissions, bits of 0666; the umask does not apply; 0: 0600
    pub mode: mode_t,
    /// how long ipc_shm_open_or_create waits for other processes, in milliseconds;
    /// 0 (the default here) and -1: no limit; IPC_WAIT_INTR: until a signal handler runs
    pub timeout_ms: c_int,
    /// 0
    pub reserved: c_uint,
    /// identifies the layout of the memory, for example its version; 0: not recorded or checked
    pub layout: u64,
}

// SAFETY: numbers, which any bytes are, and the size below leaves no padding.
unsafe impl ExtensibleStruct for ipc_shm_opts {
    const FIRST_SIZE: usize = 24;
}
const _: () = assert!(size_of::<ipc_shm_opts>() == ipc_shm_opts::FIRST_SIZE);

impl ipc_shm_opts {
    /// Checks the options; `allowed` are the flags that the call takes.
    pub(super) fn create_options(self, allowed: c_uint) -> Result<CreateOptions> {
        let flags = self.flags;
        known(flags, allowed)?;
        if self.reserved != 0 {
            return Err(Errno::EINVAL);
        }
        self.wait()?;
        Ok(CreateOptions {
            map: map_options(flags),
            publish: flags & IPC_SHM_F_PUBLISH != 0,
            sole_writer: flags & IPC_SHM_F_SOLE_WRITER != 0,
            transient: flags & IPC_SHM_F_TRANSIENT != 0,
            mode: self.mode,
            layout: self.layout,
        })
    }

    /// The time-out; in an option structure 0 is the default.
    pub(super) fn wait(self) -> Result<Deadline> {
        match self.timeout_ms {
            0 => Ok(Deadline::forever()),
            timeout_ms => Deadline::new(timeout_ms),
        }
    }
}

fn known(flags: c_uint, known: c_uint) -> Result<()> {
    if flags & !known == 0 {
        Ok(())
    } else {
        Err(Errno::EINVAL)
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

/// Returns the handle of a region that `open` makes or opens. It allocates the handle first, so
/// that nothing can fail after `open` has succeeded.
///
/// # Safety
///
/// `ret_shm` is NULL or writable.
unsafe fn return_handle(ret_shm: *mut *mut Shm, open: impl FnOnce() -> Result<Shm>) -> c_int {
    let call = || -> Result<c_int> {
        // SAFETY: the caller's output parameter.
        let ret_shm = unsafe { out_ptr(ret_shm) }?;
        let room = handle_room()?;
        ret_shm.write(Box::into_raw(Box::write(room, open()?)));
        Ok(0)
    };
    or_errno_of(call, -1)
}

/// Makes a region of shared memory of size bytes, all zero, without a name.
///
/// opts points to options, of opts_size bytes (sizeof(*opts)); NULL means the defaults. By default
/// the region is a sealed memfd: its size never changes, so no process can take the memory away
/// from the others. Other processes get it by fork, or by its descriptor, with ipc_msg_send and
/// ipc_shm_from_fd. With IPC_SHM_F_SOLE_WRITER the kernel does not map it for writing again,
/// whichever process has the descriptor: only this process, and its children by fork, can write.
/// With IPC_SHM_F_PUBLISH the region is a file on the tmpfs in /dev/shm, without a name until
/// ipc_shm_publish; it cannot be sealed, so the two flags exclude each other.
///
/// With IPC_SHM_F_TRANSIENT, which needs PUBLISH, a name without users does not exist: the calls of
/// this library do not open the region again, and the next process that makes one of that name
/// replaces it. A user is a process that has a handle of the region, other than with RDONLY.
///
/// layout, if it is not 0, is recorded with the region: ipc_shm_layout returns it, and
/// ipc_shm_open_or_create compares it. The file then has one more page behind the region, and so it
/// has with TRANSIENT.
///
/// The call allocates all of the memory. A region without a name disappears with the last process
/// that has it.
///
/// The caller closes the handle with ipc_shm_close. The handle also works in the child after fork,
/// which has its own copy to close.
///
/// Does not block, but a large region takes time. May be called from any thread, and in the child
/// after fork; not from a signal handler. Not a cancellation point.
///
/// Returns 0, or -1 with errno and ret_shm unchanged:
///   E2BIG       opts is from a newer version of the library and sets an option that this one
///               does not have
///   EACCES      PUBLISH: no permission to write /dev/shm
///   EAGAIN      LOCK: not all of it could be locked
///   EDQUOT      PUBLISH: the quota of /dev/shm is exhausted
///   EFBIG       size exceeds RLIMIT_FSIZE, or the maximum size of a file
///   EINVAL      ret_shm is NULL, size is 0, a flag, the mode or timeout_ms is not as above,
///               opts_size is smaller than the structure's first version, SOLE_WRITER comes with
///               PUBLISH or TRANSIENT without, or the kernel does not know SOLE_WRITER (before
///               Linux 5.1)
///   EMFILE      the process has no descriptor left
///   ENFILE      the system has no open file left
///   ENOENT      PUBLISH: there is no /dev/shm
///   ENOLCK      TRANSIENT: the system has no memory for locks
///   ENOMEM      no memory or address space is left; or LOCK, or mlockall(MCL_FUTURE): more than
///               RLIMIT_MEMLOCK
///   ENOSPC      not enough memory: /dev/shm is too full, or the machine too small
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
    unsafe { return_handle(ret_shm, make) }
}

/// Gives a name to a region that was made with IPC_SHM_F_PUBLISH. Initialise the region before.
///
/// From then on ipc_shm_open and shm_open(3) find it. A name consists of a slash and 1 to 255 bytes
/// without a slash, and is not "/." or "/.."; the file is /dev/shm/name. A name that begins with
/// "/." and ends with ".lock" is reserved. The name stays until ipc_shm_unlink, whichever processes
/// die; that of a transient region ends with its last user. A region can have several names.
///
/// Does not block. May be called from any thread, from a signal handler, and in the child after
/// fork. Not a cancellation point.
///
/// Returns 0, or -1 with errno:
///   EACCES        no permission to write /dev/shm
///   EBADF         the region's descriptor was closed
///   EDQUOT        the quota of /dev/shm is exhausted
///   EEXIST        the name is taken
///   EINVAL        shm or name is NULL, the region was not made with PUBLISH, or the name is not
///                 valid
///   ENAMETOOLONG  the name is too long
///   ENOENT        every name that the region had was removed; or there is no /dev/shm, or,
///                 before Linux 6.10, no /proc
///   ENOMEM        no memory is left
///   ENOSPC        /dev/shm has no room for a name
///   EPERM         the process has changed its user, and the region belongs to the former one; or
///                 the name is a transient region of another user, without users
///   EROFS         /dev/shm is read-only
///   EXDEV         /dev/shm is not the same as when the region was made
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
/// The name is as for ipc_shm_publish. flags is 0, or IPC_SHM_F_RDONLY, _HUGE, _PREFAULT and
/// _LOCK, or'ed. A region from this library becomes visible only when it is complete; one from
/// shm_open(3) can be visible before. The file must be a regular file on tmpfs, and not a symbolic
/// link.
///
/// With IPC_SHM_F_RDONLY the descriptor is open for reading only too. A process that has permission
/// to write the file can open it again for writing: the flag restrains only other users.
///
/// A process that may write a named region may also truncate it. An access to the removed part then
/// raises SIGBUS. So use a named region only between processes that trust each other.
///
/// The call opens a region of any size and layout: compare ipc_shm_size and ipc_shm_layout. It opens
/// a transient region while that has users; the caller becomes one, unless it uses RDONLY.
///
/// The handle is as for ipc_shm_create. Does not block, but waits for at most 1 second if another
/// process is stopped while it opens the same transient region. May be called from any thread, and
/// in the child after fork; not from a signal handler. Not a cancellation point.
///
/// Returns 0, or -1 with errno and ret_shm unchanged:
///   EACCES        the permissions do not allow it
///   EAGAIN        LOCK: not all of it could be locked; or a process holds a lease on the file
///   EBUSY         the region is transient, and a process that may read it keeps it locked, or one
///                 that opens it is stopped
///   EINVAL        name or ret_shm is NULL, the name is not valid or not that of a regular file, or
///                 flags has an unknown bit
///   ELOOP         it is the name of a symbolic link
///   EMFILE        the process has no descriptor left
///   ENAMETOOLONG  the name is too long
///   ENFILE        the system has no open file left
///   ENOENT        there is no region of this name, or a transient one without users
///   ENOLCK        the region is transient, and the system has no memory for locks
///   ENOMEM        no memory or address space is left; or LOCK, or mlockall(MCL_FUTURE): more than
///                 RLIMIT_MEMLOCK; or LOCK: a page cannot be allocated
///   ENOSPC        PREFAULT: the memory is not allocated, and /dev/shm is full
///   EOPNOTSUPP    /dev/shm is not a tmpfs
///   EPERM         LOCK: the process may not lock memory
///   EPROTO        the file is empty: another program has made it without a size; or PREFAULT: it
///                 was truncated during the call
///   EROFS         /dev/shm is read-only, and RDONLY is not set
///   ESTALE        another version of the library has made the region
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shm_open(
    name: *const c_char,
    flags: c_uint,
    ret_shm: *mut *mut Shm,
) -> c_int {
    let open = || -> Result<Shm> {
        known(flags, MAP_FLAGS | IPC_SHM_F_RDONLY)?;
        // SAFETY: the caller's string.
        shm::open(unsafe { string(name) }?, map_options(flags))
    };
    // SAFETY: the caller's output parameter.
    unsafe { return_handle(ret_shm, open) }
}

/// Opens a region by its descriptor, which a peer has passed for example.
///
/// flags is 0, or IPC_SHM_F_RDONLY, _HUGE, _PREFAULT, _LOCK and _TRUST, or'ed. The file must be a
/// memfd that is sealed against shrinking, as ipc_shm_create makes it, and not of hugetlbfs: no
/// process can take such memory away. With PREFAULT or LOCK all of it must be allocated, as
/// ipc_shm_create does; otherwise a peer could make this process allocate memory, as much as the
/// file is long. With IPC_SHM_F_TRUST any regular file is accepted that is not empty and can be
/// mapped; after a truncation, an access to the removed part raises SIGBUS. A descriptor that is
/// open for reading only, and a region with a sole writer, need IPC_SHM_F_RDONLY.
///
/// The call opens a region of any size and layout: compare ipc_shm_size and ipc_shm_layout.
///
/// The call duplicates fd; the caller still closes its own. The handle is as for ipc_shm_create.
/// Does not block. May be called from any thread, and in the child after fork; not from a signal
/// handler. Not a cancellation point.
///
/// Returns 0, or -1 with errno and ret_shm unchanged:
///   EACCES  fd is not open for reading, or not for writing and RDONLY is not set
///   EAGAIN  LOCK: not all of it could be locked
///   EBADF   fd is not open, or open as a path only
///   EINVAL  ret_shm is NULL, or flags has an unknown bit
///   EIO     TRUST and PREFAULT: reading the file failed
///   EMFILE  the process has no descriptor left
///   ENFILE  the system has no open file left
///   ENODEV  TRUST: this file cannot be mapped
///   ENOMEM  no memory or address space is left; or LOCK, or mlockall(MCL_FUTURE): more than
///           RLIMIT_MEMLOCK
///   ENOSPC  TRUST and PREFAULT: the memory is not allocated, and the file system is full
///   EPERM   the region is sealed against writing and RDONLY is not set, or LOCK: the process may
///           not lock memory
///   EPROTO  it is not a memfd sealed against shrinking; it is empty; PREFAULT or LOCK: it is
///           not completely allocated; TRUST: it is not a regular file, or empty, or was truncated
///           during the call
///   ESTALE  another version of the library has made the region
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shm_from_fd(
    fd: c_int,
    flags: c_uint,
    ret_shm: *mut *mut Shm,
) -> c_int {
    let open = || -> Result<Shm> {
        known(flags, MAP_FLAGS | IPC_SHM_F_RDONLY | IPC_SHM_F_TRUST)?;
        shm::from_fd(
            borrow(fd)?,
            map_options(flags),
            flags & IPC_SHM_F_TRUST != 0,
        )
    };
    // SAFETY: the caller's output parameter.
    unsafe { return_handle(ret_shm, open) }
}

/// Opens a region that is a System V segment, by its key, or makes it.
///
/// shmflg is as for ipc_shmget: permission bits, IPC_CREAT, IPC_EXCL, SHM_HUGETLB; SHM_RDONLY
/// attaches it for reading only. (SHM_NORESERVE is the same bit, so it is not available here.) A
/// new segment is all zeros, and other processes see it before its maker has filled it in. Its size
/// never changes, so no process can take the memory away. size may be smaller than that of an
/// existing segment, also 0; ipc_shm_size returns the actual size.
///
/// The segment stays until a process removes it: ipc_shmctl with IPC_RMID, or ipcrm(1).
/// IPC_PRIVATE is not valid: ipc_shm_create makes memory without a key.
///
/// If the call makes a segment and then fails, it removes the segment, unless another process has
/// attached it by then.
///
/// The handle is as for ipc_shm_create; ipc_shm_close detaches. Does not block. May be called
/// from any thread, and in the child after fork; not from a signal handler. Not a cancellation
/// point.
///
/// Returns 0, or -1 with errno and ret_shm unchanged:
///   EACCES  the permissions of the segment do not allow it
///   EEXIST  IPC_CREAT and IPC_EXCL are set, and the key has a segment
///   EINVAL  ret_shm is NULL, key is IPC_PRIVATE, shmflg has SHM_RND, SHM_REMAP or SHM_EXEC, or
///           size is 0 or over SHMMAX for a new segment
///   ENFILE  the system has no open file left
///   ENOENT  the key has no segment, and IPC_CREAT is not set
///   ENOMEM  no memory or address space is left, or too few huge pages; or mlockall(MCL_FUTURE):
///           more than RLIMIT_MEMLOCK
///   ENOSPC  SHMMNI segments or SHMALL pages exist already
///   EPERM   SHM_HUGETLB: the process lacks the privilege
///   ESTALE  the key has a segment of fewer than size bytes
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shm_attach(
    key: key_t,
    size: size_t,
    shmflg: c_int,
    ret_shm: *mut *mut Shm,
) -> c_int {
    // SAFETY: the caller's output parameter.
    unsafe { return_handle(ret_shm, || shm::attach(key, size, shmflg)) }
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

/// Returns the size of a region in bytes, as its maker requested it.
///
/// May be called from any thread, from a signal handler, and in the child after fork.
///
/// Returns the size; or 0, with errno EINVAL, if shm is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shm_size(shm: *const Shm) -> size_t {
    // SAFETY: the caller's handle.
    or_errno(unsafe { handle(shm) }.map(Shm::size), 0)
}

/// Returns the descriptor of a region, to pass it to another process with ipc_msg_send.
///
/// It is close-on-exec and belongs to the handle: ipc_shm_close closes it. If the file has lost its
/// last name, for example because systemd-logind has removed it (RemoveIPC), fstat(2) reports 0
/// links (st_nlink).
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

/// Tells whether a process that opens the name of a region now gets this region.
///
/// The name is the one by which the region was opened, or the first one that it was given; for a
/// region from ipc_shm_attach it is the key. The answer is 0 after ipc_shm_unlink, after the region
/// was replaced (IPC_SHM_F_REPLACE_STALE), and after systemd-logind has removed the name
/// (RemoveIPC). It can be outdated when the call returns.
///
/// Does not block. May be called from any thread, from a signal handler, and in the child after
/// fork. Not a cancellation point.
///
/// Returns 1 or 0, or -1 with errno:
///   EACCES      the process may not search /dev/shm; or, for a segment, its permissions
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
/// The name is as for ipc_shm_publish. Does not block. May be called from any thread, from a
/// signal handler, and in the child after fork. Not a cancellation point.
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

/// Unmaps a region and closes its descriptor; other processes keep theirs. NULL does nothing.
///
/// The address becomes invalid. A name stays, and so does a System V segment; the last user of a
/// transient region removes its name. Before, unlock all locks in the region that this process
/// holds.
///
/// If the program has closed the descriptor, as a daemon does that closes all, and its number now
/// refers to another file, the call does not close that file. It compares the device and inode
/// numbers.
///
/// Does not block. May be called from any thread, and in the child after fork, where it closes
/// the child's copy; not from a signal handler. Not a cancellation point.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shm_close(shm: *mut Shm) {
    // SAFETY: the caller's handle, which is no longer used.
    preserve_errno(|| unsafe { drop_handle(shm) });
}
