//! Layer 3: regions of shared memory.

use super::pointer::{
    ExtensibleStruct, copy_struct_from, drop_handle, handle, handle_room, out_ptr, string,
};
use crate::errno::{Errno, Result, or_errno, or_errno_of};
use crate::fd::borrow;
use crate::shm::{self, Creation, Shm, Usage};
use libc::{c_char, c_int, c_uint, c_void, key_t, mode_t, size_t};
use std::os::fd::AsRawFd;
use std::ptr;

/// A flag of struct ipc_shm_opts: the region can get a name with ipc_shm_publish.
pub const IPC_SHM_F_PUBLISH: c_uint = 1;
/// A flag of struct ipc_shm_opts: nobody else can ever map the region for writing.
pub const IPC_SHM_F_SOLE_WRITER: c_uint = 2;
/// A flag for all of them: with transparent huge pages, where the system has them for shared
/// memory.
pub const IPC_SHM_F_HUGE: c_uint = 4;
/// A flag for all of them: all pages are mapped at once, so that the first touch of each
/// costs no page fault.
pub const IPC_SHM_F_PREFAULT: c_uint = 8;
/// A flag for all of them: the region stays in memory, and out of swap space (mlock(2)).
pub const IPC_SHM_F_LOCK: c_uint = 16;
/// A flag of ipc_shm_open and ipc_shm_from_fd: the memory is mapped for reading only.
pub const IPC_SHM_F_RDONLY: c_uint = 32;
/// A flag of ipc_shm_from_fd: the caller trusts whoever has the file not to truncate it.
pub const IPC_SHM_F_TRUST: c_uint = 64;

/// The flags that say how a process maps a region it makes.
const HOW: c_uint = IPC_SHM_F_HUGE | IPC_SHM_F_PREFAULT | IPC_SHM_F_LOCK;

/// What kind of region is made. All zero bytes are the defaults.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(non_camel_case_types)]
pub struct ipc_shm_opts {
    /// IPC_SHM_F_PUBLISH, _SOLE_WRITER, _HUGE, _PREFAULT, _LOCK, or'ed
    pub flags: c_uint,
    /// the permissions to read and write (0666), exactly, whatever the umask; 0: 0600
    pub mode: mode_t,
}

// SAFETY: numbers of one size.
unsafe impl ExtensibleStruct for ipc_shm_opts {
    const FIRST_SIZE: usize = 8;
}
const _: () = assert!(size_of::<ipc_shm_opts>() == ipc_shm_opts::FIRST_SIZE);

impl ipc_shm_opts {
    fn creation(self) -> Result<Creation> {
        let flags = self.flags;
        known(flags, HOW | IPC_SHM_F_PUBLISH | IPC_SHM_F_SOLE_WRITER)?;
        Ok(Creation {
            usage: usage(flags),
            publish: flags & IPC_SHM_F_PUBLISH != 0,
            sole_writer: flags & IPC_SHM_F_SOLE_WRITER != 0,
            mode: self.mode,
        })
    }
}

fn known(flags: c_uint, known: c_uint) -> Result<()> {
    if flags & !known == 0 {
        Ok(())
    } else {
        Err(Errno::EINVAL)
    }
}

fn usage(flags: c_uint) -> Usage {
    Usage {
        read_only: flags & IPC_SHM_F_RDONLY != 0,
        huge: flags & IPC_SHM_F_HUGE != 0,
        prefault: flags & IPC_SHM_F_PREFAULT != 0,
        lock: flags & IPC_SHM_F_LOCK != 0,
    }
}

/// Gives out the handle of a region. The room for it comes first: nothing fails once it is made.
///
/// # Safety
///
/// `ret_shm` is NULL or a place for the handle.
unsafe fn give(ret_shm: *mut *mut Shm, make: impl FnOnce() -> Result<Shm>) -> c_int {
    let give = || -> Result<c_int> {
        // SAFETY: the caller's place.
        let ret_shm = unsafe { out_ptr(ret_shm) }?;
        let room = handle_room()?;
        ret_shm.write(Box::into_raw(Box::write(room, make()?)));
        Ok(0)
    };
    or_errno_of(give, -1)
}

/// Makes a region of shared memory, of size zero bytes, which has no name.
///
/// opts (NULL: the defaults; opts_size is sizeof(*opts)) says more. By default the region is a
/// memfd that is sealed: its size never changes, so nobody can take the memory away from those
/// who use it. They get it by fork, or by its descriptor, passed with ipc_msg_send, and
/// ipc_shm_from_fd. With IPC_SHM_F_SOLE_WRITER the kernel lets nobody map it for writing any
/// more, whoever has the descriptor: only this process, and its children by fork, can write. With
/// IPC_SHM_F_PUBLISH the region is a file on the tmpfs in /dev/shm, without a name until
/// ipc_shm_publish; it cannot be sealed, so the two flags exclude each other.
///
/// All memory is allocated now. If the process dies, a region that nobody else has is gone.
///
/// The handle is the caller's to close with ipc_shm_close. It works in the child after fork too,
/// which has a copy of its own to close.
///
/// Does not block, though much memory takes its time. May be called from any thread, and in the
/// child after fork; not from a signal handler.
///
/// Returns 0, or -1 with errno and ret_shm as it was:
///   E2BIG       opts is from a newer version of the library, and asks for what this one does
///               not have
///   EACCES      PUBLISH: /dev/shm may not be written
///   EAGAIN      LOCK: not all of it could be locked
///   EDQUOT      PUBLISH: the quota of /dev/shm is used up
///   EFBIG       size is over RLIMIT_FSIZE, or more than a file can have
///   EINVAL      ret_shm is NULL, size is 0, a flag or the mode is not as above, opts_size is
///               smaller than the structure's first version, SOLE_WRITER comes with PUBLISH,
///               or the kernel does not know it (before Linux 5.1)
///   EMFILE      the process has no descriptor left
///   ENFILE      the system has no open file left
///   ENOENT      PUBLISH: there is no /dev/shm
///   ENOMEM      no memory or address space is left, or LOCK: more than RLIMIT_MEMLOCK
///   ENOSPC      there is not so much memory: /dev/shm is too full, or the machine too small
///   EOPNOTSUPP  PUBLISH: /dev/shm is not a tmpfs
///   EPERM       LOCK: the process may lock none
///   EROFS       PUBLISH: /dev/shm is read-only
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shm_create(
    size: size_t,
    opts: *const ipc_shm_opts,
    opts_size: size_t,
    ret_shm: *mut *mut Shm,
) -> c_int {
    let make = || -> Result<Shm> {
        // SAFETY: the caller's options; any numbers will do.
        let opts: ipc_shm_opts = unsafe { copy_struct_from(opts, opts_size) }?;
        shm::create(size, opts.creation()?)
    };
    // SAFETY: the caller's place.
    unsafe { give(ret_shm, make) }
}

/// Gives a region that was made with IPC_SHM_F_PUBLISH its name, once it is filled in.
///
/// From then on ipc_shm_open finds it, and so does shm_open(3). A name begins with a slash, has
/// no other, has at most 255 bytes behind it, and is not "/." or "/.."; the file is /dev/shm/name.
/// It stays until ipc_shm_unlink, whichever processes die. A region can be given several names.
///
/// Does not block. May be called from any thread, from a signal handler, and in the child after
/// fork.
///
/// Returns 0, or -1 with errno:
///   EACCES        /dev/shm may not be written
///   EDQUOT        the quota of /dev/shm is used up
///   EEXIST        the name is taken
///   EINVAL        shm or name is NULL, the region was not made with PUBLISH, or the name is not
///                 as above
///   ENAMETOOLONG  the name is too long
///   ENOENT        every name that the region had was removed; or there is no /dev/shm, or,
///                 before Linux 6.10, no /proc
///   ENOMEM        no memory is left
///   ENOSPC        /dev/shm has no room for a name
///   EPERM         the region belongs to another user than the one that this process has become
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
/// _LOCK, or'ed. A region that unixipc made is never seen half made; one that is made with
/// shm_open(3) can be. The file must be a regular one on tmpfs, and no symbolic link.
///
/// With IPC_SHM_F_RDONLY the descriptor is open for reading only too. Who may write the file by
/// its mode can open it anew: only another user is kept from writing.
///
/// Whoever may write a named region may also truncate it, and touching what is gone then raises
/// SIGBUS: its name and mode are for those who trust each other.
///
/// The handle is as for ipc_shm_create. Does not block. May be called from any thread, and in
/// the child after fork; not from a signal handler.
///
/// Returns 0, or -1 with errno and ret_shm as it was:
///   EACCES        the permissions do not grant it
///   EAGAIN        LOCK: not all of it could be locked; or somebody holds a lease of the file
///   EINVAL        name or ret_shm is NULL, the name is not one, it is not a regular file's, or
///                 flags has others
///   ELOOP         it is a symbolic link's name
///   EMFILE        the process has no descriptor left
///   ENAMETOOLONG  the name is too long
///   ENFILE        the system has no open file left
///   ENOENT        there is no region of this name
///   ENOMEM        no memory or address space is left, or LOCK: more than RLIMIT_MEMLOCK
///   EOPNOTSUPP    /dev/shm is not a tmpfs
///   EPERM         LOCK: the process may lock none
///   EPROTO        the file is empty: another program has made it, and not given it a size
///   EROFS         /dev/shm is read-only, and RDONLY is not set
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shm_open(
    name: *const c_char,
    flags: c_uint,
    ret_shm: *mut *mut Shm,
) -> c_int {
    let open = || -> Result<Shm> {
        known(flags, HOW | IPC_SHM_F_RDONLY)?;
        // SAFETY: the caller's string.
        shm::open(unsafe { string(name) }?, usage(flags))
    };
    // SAFETY: the caller's place.
    unsafe { give(ret_shm, open) }
}

/// Opens a region by its name, or makes it, fills it in and publishes it if there is none.
///
/// For programs that start in any order: of all processes that call it at a time one makes the
/// region, its init runs, and the others wait and then open what it published. Nobody sees the
/// memory before init has returned. If that process dies, even inside init, the next one makes a
/// fresh region and runs its own init, once every child that was forked meanwhile has ended or
/// executed a program.
///
/// init gets the address and size of the memory, all zero bytes, and arg. It returns 0, or
/// something else to have the call fail. It must return; it must not open or create the same
/// name, but may another one. NULL leaves the zero bytes. opts is as for ipc_shm_create, where
/// PUBLISH goes without saying and SOLE_WRITER is not possible; its mode is for a region that is
/// made. An existing one has at least size bytes; ipc_shm_size tells.
///
/// That init runs in one process at a time rests on a lock that only those respect who make
/// regions with this call. If another program publishes the name meanwhile, its region is
/// opened, and what init has filled in is dropped.
///
/// Blocks while another process makes the region of this name. May be called from any thread,
/// and in the child after fork; not from a signal handler.
///
/// Returns 0, or -1 with errno and ret_shm as it was; ipc_shm_create's and ipc_shm_open's errors,
/// and:
///   ECANCELED  init has not returned 0
///   EINVAL     the region exists and has less than size bytes
///   ENOENT     there is no /dev/shm or, before Linux 6.10, no /proc
///   ENOLCK     the system has no memory for locks
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shm_open_or_create(
    name: *const c_char,
    size: size_t,
    init: Option<unsafe extern "C" fn(addr: *mut c_void, size: size_t, arg: *mut c_void) -> c_int>,
    arg: *mut c_void,
    opts: *const ipc_shm_opts,
    opts_size: size_t,
    ret_shm: *mut *mut Shm,
) -> c_int {
    let fill = |address, size| match init {
        // SAFETY: the caller's function, for memory of this size.
        Some(init) if unsafe { init(address, size, arg) } != 0 => Err(Errno::ECANCELED),
        _ => Ok(()),
    };
    let make = || -> Result<Shm> {
        // SAFETY: the caller's string.
        let name = unsafe { string(name) }?;
        // SAFETY: the caller's options; any numbers will do.
        let opts: ipc_shm_opts = unsafe { copy_struct_from(opts, opts_size) }?;
        shm::open_or_create(name, size, fill, opts.creation()?)
    };
    // SAFETY: the caller's place.
    unsafe { give(ret_shm, make) }
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
/// The call duplicates fd; the caller still closes its own. The handle is as for ipc_shm_create.
/// Does not block. May be called from any thread, and in the child after fork; not from a signal
/// handler.
///
/// Returns 0, or -1 with errno and ret_shm as it was:
///   EACCES  fd is not open for reading, or not for writing and RDONLY is not set
///   EAGAIN  LOCK: not all of it could be locked
///   EBADF   fd is not open, or open as a path only
///   EINVAL  ret_shm is NULL, or flags has others
///   EMFILE  the process has no descriptor left
///   ENFILE  the system has no open file left
///   ENODEV  TRUST: this file cannot be mapped
///   ENOMEM  no memory or address space is left, or LOCK: more than RLIMIT_MEMLOCK
///   EPERM   the region is sealed against writing and RDONLY is not set, or LOCK: the process may
///           lock none
///   EPROTO  it is not a memfd sealed against shrinking; it is empty; PREFAULT or LOCK: it is
///           not completely allocated; TRUST: it is not a regular file, or empty
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shm_from_fd(
    fd: c_int,
    flags: c_uint,
    ret_shm: *mut *mut Shm,
) -> c_int {
    let open = || -> Result<Shm> {
        known(flags, HOW | IPC_SHM_F_RDONLY | IPC_SHM_F_TRUST)?;
        shm::from_fd(borrow(fd)?, usage(flags), flags & IPC_SHM_F_TRUST != 0)
    };
    // SAFETY: the caller's place.
    unsafe { give(ret_shm, open) }
}

/// Opens a region that is a System V segment, by its key, or makes it.
///
/// shmflg is as for ipc_shmget: permission bits, IPC_CREAT, IPC_EXCL, SHM_HUGETLB; and SHM_RDONLY
/// attaches it for reading only. (SHM_NORESERVE is the same bit, and cannot be had here.) A new
/// segment is all zero bytes, and is seen by others before its maker has filled it in. Its size
/// never changes, so nobody can take the memory away. size may be less than an existing one has,
/// also 0; ipc_shm_size tells what it has.
///
/// The segment stays until somebody removes it: ipc_shmctl with IPC_RMID, or ipcrm(1).
/// IPC_PRIVATE is refused: ipc_shm_create makes memory without a key.
///
/// The handle is as for ipc_shm_create; ipc_shm_close detaches. Does not block. May be called
/// from any thread, and in the child after fork; not from a signal handler.
///
/// Returns 0, or -1 with errno and ret_shm as it was:
///   EACCES  the segment's permissions do not grant it
///   EEXIST  IPC_CREAT and IPC_EXCL are set, and the key has a segment
///   EINVAL  ret_shm is NULL, key is IPC_PRIVATE, shmflg has SHM_RND, SHM_REMAP or SHM_EXEC, size
///           is 0 or over SHMMAX for a new segment, or more than an existing one has
///   ENFILE  the system has no open file left
///   ENOENT  the key has no segment, and IPC_CREAT is not set
///   ENOMEM  no memory or address space is left, or too few huge pages
///   ENOSPC  SHMMNI segments or SHMALL pages exist already
///   EPERM   SHM_HUGETLB: the process has no right to it
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shm_attach(
    key: key_t,
    size: size_t,
    shmflg: c_int,
    ret_shm: *mut *mut Shm,
) -> c_int {
    // SAFETY: the caller's place.
    unsafe { give(ret_shm, || shm::attach(key, size, shmflg)) }
}

/// Tells where a region begins in this process's memory: at a page, and so aligned for anything.
///
/// May be called from any thread, from a signal handler, and in the child after fork.
///
/// Returns the address; or NULL, with errno EINVAL, if shm is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shm_addr(shm: *const Shm) -> *mut c_void {
    // SAFETY: the caller's handle.
    or_errno(unsafe { handle(shm) }.map(Shm::address), ptr::null_mut())
}

/// Tells how many bytes a region has: what its maker asked for.
///
/// May be called from any thread, from a signal handler, and in the child after fork.
///
/// Returns the size; or 0, with errno EINVAL, if shm is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shm_size(shm: *const Shm) -> size_t {
    // SAFETY: the caller's handle.
    or_errno(unsafe { handle(shm) }.map(Shm::size), 0)
}

/// Tells the descriptor of a region, to pass it to another process with ipc_msg_send.
///
/// It is close-on-exec, and stays the handle's: ipc_shm_close closes it.
///
/// May be called from any thread, from a signal handler, and in the child after fork.
///
/// Returns the descriptor, or -1 with errno:
///   EINVAL      shm is NULL
///   EOPNOTSUPP  the region is from ipc_shm_attach, and has none
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shm_fd(shm: *const Shm) -> c_int {
    // SAFETY: the caller's handle.
    let fd = unsafe { handle(shm) }.and_then(Shm::fd);
    or_errno(fd.map(|fd| fd.as_raw_fd()), -1)
}

/// Removes the name of a region. Who has it open keeps it; the memory goes with the last one.
///
/// The name is as for ipc_shm_publish. Does not block. May be called from any thread, from a
/// signal handler, and in the child after fork.
///
/// Returns 0, or -1 with errno:
///   EACCES        /dev/shm may not be written
///   EINVAL        name is NULL, not a name, or not a regular file's
///   ELOOP         it is a symbolic link's name
///   ENAMETOOLONG  the name is too long
///   ENOENT        there is no region of this name
///   EPERM         it is somebody else's, and the folder's sticky bit forbids it
///   EROFS         /dev/shm is read-only
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shm_unlink(name: *const c_char) -> c_int {
    // SAFETY: the caller's string.
    let unlinked = unsafe { string(name) }.and_then(shm::unlink);
    or_errno(unlinked.map(|()| 0), -1)
}

/// Unmaps a region and closes its descriptor; other processes keep theirs. NULL does nothing.
///
/// The address is invalid from then on. A name stays, and so does a System V segment. A lock in
/// the region that this process holds must be unlocked before.
///
/// Does not block. May be called from any thread, and in the child after fork, where it closes
/// the child's copy; not from a signal handler.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn ipc_shm_close(shm: *mut Shm) {
    // SAFETY: the caller's handle, which nobody uses any more.
    unsafe { drop_handle(shm) };
}
