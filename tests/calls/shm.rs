//! shmget, shmat and shmdt.

use crate::both::{Calls, NEW, OLD, Outcome, Owned, both, describe, provider_pairs, same};
use crate::call;
use common::prelude::*;
use libc::*;
use std::{fs, io, ptr, slice};

/// A segment that is removed when dropped.
pub struct Segment {
    pub id: c_int,
}

impl Segment {
    pub fn new(size: usize, mode: c_int) -> Self {
        Self::with_key(IPC_PRIVATE, size, mode)
    }

    pub fn with_key(key: key_t, size: usize, mode: c_int) -> Self {
        // SAFETY: no pointers.
        let id = unsafe { shmget(key, size, mode | IPC_CREAT | IPC_EXCL) };
        assert_ne!(id, -1, "{}", io::Error::last_os_error());
        Self { id }
    }

    /// The id of a segment that has been removed.
    pub fn removed() -> c_int {
        Self::new(1, 0o600).id
    }

    pub fn state(&self) -> Option<State> {
        state(self.id)
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        remove(self.id);
    }
}

fn remove(id: c_int) {
    // SAFETY: IPC_RMID reads no struct. A test may have removed it already.
    unsafe { shmctl(id, IPC_RMID, ptr::null_mut()) };
}

/// The IPC_STAT result, without the fields that depend on the time.
#[derive(Debug, PartialEq)]
pub struct State {
    pub owned: Owned,
    pub size: usize,
    pub attached: u64,
    pub last_was_me: bool,
    pub creator_is_me: bool,
    pub attach_time: bool,
    pub detach_time: bool,
    pub change_time: bool,
}

/// The state of a segment according to libc; None if the segment does not exist.
pub fn state(id: c_int) -> Option<State> {
    // SAFETY: all bytes zero is a value of this struct.
    let mut ds: shmid_ds = unsafe { std::mem::zeroed() };
    // SAFETY: the struct is ours.
    if unsafe { shmctl(id, IPC_STAT, &mut ds) } == -1 {
        return None;
    }
    Some(State {
        owned: ds.shm_perm.into(),
        size: ds.shm_segsz,
        attached: ds.shm_nattch,
        last_was_me: is_me(ds.shm_lpid),
        creator_is_me: is_me(ds.shm_cpid),
        attach_time: ds.shm_atime != 0,
        detach_time: ds.shm_dtime != 0,
        change_time: ds.shm_ctime != 0,
    })
}

/// Calls shmget and describes the result.
fn get(calls: &Calls, key: key_t, size: usize, flags: c_int) -> (Outcome, Option<State>) {
    // SAFETY: no pointers.
    let existing = unsafe { shmget(key, 0, 0) };
    let outcome = call!(calls.shmget(key, size, flags));
    describe(outcome, key, existing, state, remove)
}

#[apply(isolated)]
fn keys_and_flags() {
    let page = page_size();
    let free = fresh_key();
    let taken = fresh_key() ^ 1;
    let _segment = Segment::with_key(taken, page, 0o640);
    let negative = fresh_key() | i32::MIN;
    for (key, flags, expected) in [
        (IPC_PRIVATE, 0, Ok(NEW)),
        (IPC_PRIVATE, 0o600, Ok(NEW)),
        (IPC_PRIVATE, IPC_CREAT | IPC_EXCL | 0o600, Ok(NEW)),
        (free, 0, Err(ENOENT)),
        (free, 0o777, Err(ENOENT)),
        (free, IPC_EXCL | 0o600, Err(ENOENT)),
        (free, IPC_CREAT, Ok(NEW)),
        (free, IPC_CREAT | 0o600, Ok(NEW)),
        (free, IPC_CREAT | IPC_EXCL | 0o777, Ok(NEW)),
        (free, IPC_CREAT | SHM_NORESERVE | 0o604, Ok(NEW)),
        (negative, 0, Err(ENOENT)),
        (negative, IPC_CREAT | 0o600, Ok(NEW)),
        (-1, IPC_CREAT | IPC_EXCL | 0o600, Ok(NEW)),
        (i32::MIN, IPC_CREAT | IPC_EXCL | 0o600, Ok(NEW)),
        (i32::MAX, IPC_CREAT | IPC_EXCL | 0o600, Ok(NEW)),
        (taken, 0, Ok(OLD)),
        (taken, 0o600, Ok(OLD)),
        (taken, IPC_CREAT | 0o600, Ok(OLD)),
        (taken, IPC_EXCL | 0o600, Ok(OLD)),
        (taken, IPC_CREAT | IPC_EXCL | 0o600, Err(EEXIST)),
    ] {
        let what = format!("key {key:#x}, flags {flags:#o}");
        let (outcome, is) = both(&what, |calls| get(calls, key, page, flags));
        assert_eq!(outcome, expected, "{what}");
        // Without read permission the owner cannot query the state.
        if let Some(is) = is.filter(|_| outcome == Ok(NEW)) {
            assert_eq!(
                (is.owned.key, is.owned.mode),
                (key, flags as u32 & 0o777),
                "{what}"
            );
        }
    }
}

#[apply(isolated)]
fn sizes() {
    let page = page_size();
    let max = kernel_setting("shmmax", 0) as usize;
    let key = fresh_key();
    for (size, expected) in [
        (0, Err(EINVAL)),
        (1, Ok(NEW)),
        (page - 1, Ok(NEW)),
        (page, Ok(NEW)),
        (page + 1, Ok(NEW)),
        (1 << 20, Ok(NEW)),
        (max.saturating_add(1), Err(EINVAL)),
        (usize::MAX, Err(EINVAL)),
    ] {
        let (outcome, is) = both(size, |calls| get(calls, key, size, IPC_CREAT | 0o600));
        assert_eq!(outcome, expected, "{size} bytes");
        assert_eq!(is.map(|is| is.size), expected.ok().map(|_| size));
    }
    for shift in 30..64 {
        for flags in [IPC_CREAT | 0o600, IPC_CREAT | SHM_NORESERVE | 0o600] {
            let size = 1 << shift;
            same(format!("2^{shift} bytes"), |calls| {
                get(calls, key, size, flags)
            });
        }
    }
}

#[apply(isolated)]
fn sizes_of_an_existing_object() {
    let page = page_size();
    let key = fresh_key();
    let _segment = Segment::with_key(key, page + 1, 0o600);
    for (size, expected) in [
        (0, Ok(OLD)),
        (1, Ok(OLD)),
        (page, Ok(OLD)),
        (page + 1, Ok(OLD)),
        (page + 2, Err(EINVAL)),
        (2 * page, Err(EINVAL)),
        (usize::MAX, Err(EINVAL)),
    ] {
        for flags in [0, 0o600, IPC_CREAT | 0o600] {
            let (outcome, _) = both(size, |calls| get(calls, key, size, flags));
            assert_eq!(outcome, expected, "{size} bytes");
        }
        let flags = IPC_CREAT | IPC_EXCL;
        let (outcome, _) = both(size, |calls| get(calls, key, size, flags));
        assert_eq!(outcome, Err(EEXIST), "{size} bytes");
    }
}

#[apply(isolated)]
fn every_flag_of_get() {
    let key = fresh_key();
    let page = page_size();
    for bit in 0..32 {
        let flags = 1 << bit;
        for flags in [flags, flags | 0o600, flags | IPC_CREAT | 0o600] {
            same(format!("flags {flags:#o}"), |calls| {
                get(calls, key, page, flags)
            });
            same(format!("flags {flags:#o}"), |calls| {
                get(calls, IPC_PRIVATE, page, flags)
            });
        }
    }
    // Huge pages; six bits of the flags encode the size.
    for log in [0, 12, 21, 30, 63] {
        let flags = IPC_CREAT | SHM_HUGETLB | log << 26 | 0o600;
        same(format!("huge, 2^{log}"), |calls| {
            get(calls, key, 1 << 21, flags)
        });
    }
}

/// A mapping of this process: its offset from a base, its size and its access.
#[derive(Debug, PartialEq)]
struct Mapping {
    offset: Option<isize>,
    size: usize,
    rights: String,
}

/// The mapping at an address. An address that the kernel chose is not compared.
fn mapping(at: usize, base: Option<usize>) -> Mapping {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps
        .lines()
        .find(|line| line.starts_with(&format!("{at:x}-")));
    let line = line.unwrap_or_else(|| panic!("nothing at {at:x}"));
    let (range, rest) = line.split_once(' ').unwrap();
    let (_, end) = range.split_once('-').unwrap();
    Mapping {
        offset: base.map(|base| at.wrapping_sub(base) as isize),
        size: usize::from_str_radix(end, 16).unwrap() - at,
        rights: rest[..4].to_string(),
    }
}

/// A free address range.
fn free_range(pages: usize) -> usize {
    let range = reserve(pages, PROT_NONE);
    release(range, pages);
    range as usize
}

fn reserve(pages: usize, protection: c_int) -> *mut u8 {
    let flags = MAP_PRIVATE | MAP_ANONYMOUS;
    // SAFETY: a new mapping.
    let at = unsafe {
        mmap(
            ptr::null_mut(),
            pages * page_size(),
            protection,
            flags,
            -1,
            0,
        )
    };
    assert_ne!(at, MAP_FAILED);
    at.cast()
}

fn release(at: *mut u8, pages: usize) {
    // SAFETY: a mapping of `reserve` that nothing uses.
    assert_eq!(unsafe { munmap(at.cast(), pages * page_size()) }, 0);
}

fn as_pointer(address: usize) -> *mut c_void {
    ptr::with_exposed_provenance_mut(address)
}

fn detach(at: usize) {
    // SAFETY: attached by the test, and unused now.
    assert_eq!(unsafe { shmdt(as_pointer(at)) }, 0);
}

/// Attaches, reads the mapping, and detaches. An address is compared as its distance from `base`,
/// if there is one.
fn attach(
    calls: &Calls,
    id: c_int,
    address: usize,
    flags: c_int,
    base: Option<usize>,
) -> (Result<Mapping, c_int>, Option<State>) {
    let at = call!(calls.shmat(id, as_pointer(address), flags));
    let is = state(id);
    let mapping = at.map(|at| mapping(at as usize, base));
    if let Ok(at) = at {
        detach(at as usize);
    }
    (mapping, is)
}

#[apply(isolated)]
fn attach_address() {
    let page = page_size();
    let occupied = reserve(4, PROT_READ | PROT_WRITE);
    let base = free_range(16);
    let at = occupied as usize;
    for (address, flags, expected) in [
        (0, 0, Ok(None)),
        (0, SHM_RND, Ok(None)),
        (base, 0, Ok(Some(0))),
        (base + page, 0, Ok(Some(page))),
        (base, SHM_RND, Ok(Some(0))),
        (base + 1, 0, Err(EINVAL)),
        (base + page / 2, 0, Err(EINVAL)),
        (base + 1, SHM_RND, Ok(Some(0))),
        (base + page - 1, SHM_RND, Ok(Some(0))),
        (base + page + 1, SHM_RND, Ok(Some(page))),
        (at, 0, Err(EINVAL)),
        (at + page, 0, Err(EINVAL)),
        (at - page, 0, Err(EINVAL)),
        (at + 1, SHM_RND, Err(EINVAL)),
        (usize::MAX, 0, Err(EINVAL)),
    ] {
        for rights in [0, SHM_RDONLY] {
            let flags = flags | rights;
            let what = format!("{address:#x}, {flags:#o}");
            let base = expected.ok().flatten().map(|_| base);
            let (got, is) = both(&what, |calls| {
                let segment = Segment::new(page + 1, 0o600);
                attach(calls, segment.id, address, flags, base)
            });
            let is = is.unwrap();
            assert_eq!(is.attached, u64::from(got.is_ok()), "{what}");
            let letters = if rights == SHM_RDONLY { "r--s" } else { "rw-s" };
            let expected = expected.map(|offset| Mapping {
                offset: offset.map(|offset| offset as isize),
                size: 2 * page,
                rights: letters.into(),
            });
            assert_eq!(got, expected, "{what}");
        }
    }
    // The kernel may refuse the lowest addresses, or round them to NULL; addresses beyond the end
    // of the address space it refuses in its own way.
    let segment = Segment::new(1, 0o600);
    let last = usize::MAX - page + 1;
    for address in [1, page - 1, page, 0xffff_8880_0000_0000, 1 << 63, last] {
        for flags in [0, SHM_RND, SHM_REMAP, SHM_RND | SHM_REMAP] {
            let outcome = |calls: &Calls| {
                let child = fork_reporter(|| {
                    call!(calls.shmat(segment.id, as_pointer(address), flags)).map(|_| 0)
                });
                child.outcome()
            };
            same(format!("{address:#x}, {flags:#o}"), outcome);
        }
    }
    release(occupied, 4);
}

#[apply(isolated)]
fn attach_remap() {
    let page = page_size();
    let segment = Segment::new(page, 0o600);
    let run = |calls: &Calls, offset: usize, flags: c_int| {
        let range = reserve(3, PROT_READ | PROT_WRITE);
        // SAFETY: three pages, ours.
        unsafe { ptr::write_bytes(range, 0x11, 3 * page) };
        let wanted = range as usize + offset;
        let got =
            call!(calls.shmat(segment.id, as_pointer(wanted), flags)).map(|at| at - range as i64);
        // SAFETY: three pages, ours; the segment replaces some of them.
        let bytes = unsafe { slice::from_raw_parts(range, 3 * page) }.to_vec();
        let attached = segment.state().unwrap().attached;
        release(range, 3);
        (got, bytes, attached)
    };
    for (offset, flags, position) in [
        (0, SHM_REMAP, Ok(0)),
        (page, SHM_REMAP, Ok(page)),
        (page, SHM_REMAP | SHM_RDONLY, Ok(page)),
        (page + 1, SHM_REMAP | SHM_RND, Ok(page)),
        (page + 1, SHM_REMAP, Err(EINVAL)),
        (page, 0, Err(EINVAL)),
    ] {
        let what = format!("{offset} {flags:#o}");
        let (got, bytes, attached) = both(&what, |calls| run(calls, offset, flags));
        assert_eq!(got, position.map(|position| position as i64), "{what}");
        assert_eq!(attached, u64::from(position.is_ok()), "{what}");
        let mut expected = vec![0x11; 3 * page];
        if let Ok(position) = position {
            expected[position..position + page].fill(0);
        }
        assert_eq!(bytes, expected, "{what}");
    }
    for flags in [SHM_REMAP, SHM_REMAP | SHM_RND, SHM_REMAP | SHM_RDONLY] {
        let (got, _) = both(format!("NULL, {flags:#o}"), |calls| {
            attach(calls, segment.id, 0, flags, None)
        });
        assert_eq!(got, Err(EINVAL));
    }
}

#[apply(isolated)]
fn attach_every_flag() {
    let run = |calls: &Calls, flags| {
        let segment = Segment::new(1, 0o700);
        attach(calls, segment.id, 0, flags, None)
    };
    for bit in 0..32 {
        let flags = 1 << bit;
        let (got, _) = both(format!("{flags:#o}"), |calls| run(calls, flags));
        let expected = match flags {
            SHM_REMAP => Err(EINVAL),
            SHM_RDONLY => Ok("r--s"),
            SHM_EXEC => Ok("rwxs"),
            _ => Ok("rw-s"),
        };
        let got = got.as_ref().map(|got| got.rights.as_str());
        assert_eq!(got, expected.as_ref().map(|s| *s), "{flags:#o}");
    }
    let flags = SHM_EXEC | SHM_RDONLY;
    let (got, _) = both("to read and execute", |calls| run(calls, flags));
    assert_eq!(got.unwrap().rights, "r-xs");
}

#[apply(isolated)]
fn attach_ids() {
    let removed = Segment::removed();
    for id in [removed, -1, i32::MIN, i32::MAX] {
        let (got, _) = both(id, |calls| attach(calls, id, 0, 0, None));
        let expected = if id == removed {
            vec![EINVAL, EIDRM]
        } else {
            vec![EINVAL]
        };
        assert!(expected.contains(&got.unwrap_err()), "{id}");
    }
    // Removed while a process has it attached: it still exists for processes that know its id.
    let (got, is) = both("removed and attached", |calls| {
        let segment = Segment::new(1, 0o600);
        // SAFETY: the kernel chooses the address.
        let kept = unsafe { shmat(segment.id, ptr::null(), 0) };
        remove(segment.id);
        let result = attach(calls, segment.id, 0, 0, None);
        detach(kept as usize);
        assert_eq!(segment.state(), None);
        result
    });
    assert!(got.is_ok());
    assert_eq!(is.unwrap().owned.mode, 0o1600);
}

#[apply(isolated)]
fn attach_without_address_space() {
    let segment = Segment::new(1 << 26, 0o600 | SHM_NORESERVE);
    let got = both("RLIMIT_AS", |calls| {
        let old = set_soft_limit(RLIMIT_AS, 1 << 25);
        let got = call!(calls.shmat(segment.id, ptr::null(), 0));
        set_soft_limit(RLIMIT_AS, old);
        got
    });
    assert_eq!(got, Err(ENOMEM));
}

#[apply(isolated)]
fn write_to_read_only() {
    let segment = Segment::new(1, 0o600);
    for (flags, expected) in [(SHM_RDONLY, End::Signal(SIGSEGV)), (0, End::Exit(0))] {
        let end = both(format!("{flags:#o}"), |calls| {
            let at = call!(calls.shmat(segment.id, ptr::null(), flags)).unwrap() as usize;
            let at: *mut u8 = as_pointer(at).cast();
            let child = fork_reporter(|| {
                // SAFETY: readable.
                let seen = unsafe { at.read_volatile() };
                // SAFETY: the write must fault; it ends only this child.
                unsafe { at.write_volatile(seen + 1) };
                Ok(0)
            });
            let end = child.end();
            // SAFETY: readable.
            let seen = unsafe { at.read_volatile() };
            detach(at as usize);
            // SAFETY: the kernel chooses the address.
            let again: *mut u8 = unsafe { shmat(segment.id, ptr::null(), 0) }.cast();
            // SAFETY: writable.
            unsafe { again.write_volatile(0) };
            detach(again as usize);
            (end, seen)
        });
        let written = u8::from(flags == 0);
        assert_eq!(end, (expected, written));
    }
}

#[apply(isolated)]
fn detaching() {
    let page = page_size();
    let segment = Segment::new(2 * page, 0o600);
    // Detaches `from`. Whether the segment, attached at `at`, is still mapped.
    let run = |calls: &Calls, at: usize, from: usize| {
        // SAFETY: the range is free.
        let is_at = unsafe { shmat(segment.id, as_pointer(at), 0) };
        assert_eq!(is_at as usize, at, "{}", io::Error::last_os_error());
        let first = call!(calls.shmdt(as_pointer(from)));
        let attached = segment.state().unwrap().attached;
        let second = call!(calls.shmdt(as_pointer(from)));
        // SAFETY: the segment may be detached already; nothing uses it.
        unsafe { shmdt(is_at) };
        (first, second, attached)
    };
    let anonymous = reserve(1, PROT_READ);
    let at = free_range(4);
    for (name, from, expected) in [
        ("where it is", at, Ok(0)),
        ("one byte further", at + 1, Err(EINVAL)),
        ("its second page", at + page, Err(EINVAL)),
        ("the page behind it", at + 2 * page, Err(EINVAL)),
        ("NULL", 0, Err(EINVAL)),
        ("another mapping", anonymous as usize, Err(EINVAL)),
        ("the kernel's half", 0xffff_8880_0000_0000, Err(EINVAL)),
        ("no address", 1 << 63, Err(EINVAL)),
        ("the last page", usize::MAX - page + 1, Err(EINVAL)),
        ("the last byte", usize::MAX, Err(EINVAL)),
    ] {
        let got = both(name, |calls| run(calls, at, from));
        let attached = u64::from(expected.is_err());
        assert_eq!(got, (expected, Err(EINVAL), attached), "{name}");
    }
    release(anonymous, 1);
}

#[apply(isolated)]
fn shared_between_providers() {
    let page = page_size();
    for (maker, user) in provider_pairs() {
        let key = fresh_key();
        let id = call!(maker.shmget(key, page, IPC_CREAT | IPC_EXCL | 0o600)).unwrap() as c_int;
        assert_eq!(call!(user.shmget(key, 0, 0)), Ok(id.into()));
        let ours = call!(maker.shmat(id, ptr::null(), 0)).unwrap() as usize;
        let theirs = call!(user.shmat(id, ptr::null(), SHM_RDONLY)).unwrap() as usize;
        let word: *mut u64 = as_pointer(ours).cast();
        // SAFETY: a page that is ours.
        unsafe { word.write_volatile(0x0123_4567_89ab_cdef) };
        let word: *const u64 = as_pointer(theirs).cast();
        // SAFETY: the same page at its other address.
        assert_eq!(unsafe { word.read_volatile() }, 0x0123_4567_89ab_cdef);
        assert_eq!(state(id).unwrap().attached, 2);
        assert_eq!(call!(user.shmdt(as_pointer(ours))), Ok(0));
        assert_eq!(call!(maker.shmdt(as_pointer(theirs))), Ok(0));
        assert_eq!(call!(user.shmctl(id, IPC_RMID, ptr::null_mut())), Ok(0));
        assert_eq!(state(id), None);
    }
}

#[apply(isolated)]
#[needs(needs::root)]
fn limits() {
    let get_errno = |calls: &Calls, size| {
        call!(calls.shmget(IPC_PRIVATE, size, 0o600)).map(|id| remove(id as c_int))
    };
    let page = page_size();
    let max = 2 * page;
    set_kernel_setting("shmmax", &max.to_string());
    assert_eq!(both("SHMMAX", |calls| get_errno(calls, max)), Ok(()));
    assert_eq!(
        both("SHMMAX + 1", |calls| get_errno(calls, max + 1)),
        Err(EINVAL)
    );
    set_kernel_setting("shmall", "2");
    let one = Segment::new(1, 0o600);
    assert_eq!(both("SHMALL", |calls| get_errno(calls, page)), Ok(()));
    assert_eq!(
        both("SHMALL + 1", |calls| get_errno(calls, page + 1)),
        Err(ENOSPC)
    );
    set_kernel_setting("shmmni", "1");
    assert_eq!(both("SHMMNI + 1", |calls| get_errno(calls, 1)), Err(ENOSPC));
    drop(one);
    assert_eq!(both("SHMMNI", |calls| get_errno(calls, 1)), Ok(()));
}
