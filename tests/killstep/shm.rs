//! Regions: a process is killed that creates, publishes, opens, replaces, unlinks or closes one.

use crate::check;
use crate::child::Child;
use crate::harness::{Finished, Scenario, Verdict};
use crate::library::{self, Library};
use common::isolated::apply;
use libc::{c_int, c_uint, c_void, key_t, size_t};
use std::ffi::{CStr, CString};
use std::time::Instant;
use std::{fs, ptr, slice};
use unixipc::ffi::shm::{
    IPC_SHM_F_PUBLISH as PUBLISH, IPC_SHM_F_REPLACE_STALE as REPLACE_STALE,
    IPC_SHM_F_SOLE_WRITER as SOLE_WRITER, IPC_SHM_F_TRANSIENT as TRANSIENT, ipc_shm_opts,
};
use unixipc::shm::Shm;

/// Small, because the victim is also stepped through the initialisation.
const SIZE: usize = 64;
/// The byte with which each creator fills a region.
const SET_UP: u8 = 1;
const VICTIM: u8 = 2;
const SURVIVOR: u8 = 3;

type Handle = Result<*mut Shm, String>;

/// The calls, and the names of their regions.
struct Calls {
    library: Library,
    prefix: String,
    /// The name of the region that is tested.
    name: CString,
    /// The name for a victim's warm-up.
    other: CString,
}

impl Calls {
    fn new() -> Self {
        let prefix = format!("unixipc-killstep-{}-", std::process::id());
        let name = |label| CString::new(format!("/{prefix}{label}")).unwrap();
        Self {
            library: library::load(),
            name: name("name"),
            other: name("other"),
            prefix,
        }
    }

    /// The names of the existing regions.
    fn names(&self) -> Vec<String> {
        let strip = |file: String| Some(file.strip_prefix(&self.prefix)?.to_string());
        files().filter_map(strip).collect()
    }

    /// Removes all files: regions, and the lock files of killed processes.
    fn clear(&self) {
        for file in files() {
            if file.trim_start_matches('.').starts_with(&self.prefix) {
                fs::remove_file(format!("/dev/shm/{file}")).unwrap();
            }
        }
    }

    fn handle(&self, what: &str, call: impl FnOnce(*mut *mut Shm) -> c_int) -> Handle {
        let mut shm = ptr::null_mut();
        match call(&mut shm) {
            0 => Ok(shm),
            _ => Err(format!("{what}: {}", std::io::Error::last_os_error())),
        }
    }

    fn create(&self, flags: c_uint) -> Handle {
        let opts = ipc_shm_opts {
            flags,
            ..ipc_shm_opts::default()
        };
        let opts_size = size_of_val(&opts);
        self.handle("ipc_shm_create", |ret| {
            // SAFETY: options of this size, and an out pointer.
            unsafe { (self.library.ipc_shm_create)(SIZE, &opts, opts_size, ret) }
        })
    }

    fn open(&self, name: &CStr) -> Handle {
        self.handle("ipc_shm_open", |ret| {
            // SAFETY: a string and an out pointer.
            unsafe { (self.library.ipc_shm_open)(name.as_ptr(), 0, ret) }
        })
    }

    fn open_or_create(&self, name: &CStr, byte: u8) -> Handle {
        self.open_or_create_with(name, byte, &ipc_shm_opts::default())
    }

    fn open_or_create_with(&self, name: &CStr, byte: u8, opts: &ipc_shm_opts) -> Handle {
        unsafe extern "C" fn init(addr: *mut c_void, size: size_t, arg: *mut c_void) -> c_int {
            // Word by word, because each instruction is a point.
            let words: *mut u64 = addr.cast();
            let value = u64::from_ne_bytes([arg.addr() as u8; 8]);
            let mut at = 0;
            while at < size / 8 {
                // SAFETY: in the region, and aligned.
                let word = unsafe { words.add(at) };
                // SAFETY: as above.
                unsafe { word.write_volatile(value) };
                at += 1;
            }
            0
        }
        let arg = ptr::without_provenance_mut(byte.into());
        self.handle("ipc_shm_open_or_create", |ret| {
            // SAFETY: a string, a function, options of this size, and an out pointer.
            unsafe {
                (self.library.ipc_shm_open_or_create)(
                    name.as_ptr(),
                    SIZE,
                    Some(init),
                    arg,
                    opts,
                    size_of_val(opts),
                    ret,
                )
            }
        })
    }

    fn open_fd(&self, shm: *mut Shm) -> Handle {
        // SAFETY: an open handle.
        let fd = unsafe { (self.library.ipc_shm_fd)(shm) };
        self.handle("ipc_shm_from_fd", |ret| {
            // SAFETY: an out pointer.
            unsafe { (self.library.ipc_shm_from_fd)(fd, 0, ret) }
        })
    }

    fn attach(&self, key: key_t) -> Handle {
        self.handle("ipc_shm_attach", |ret| {
            // SAFETY: an out pointer.
            unsafe { (self.library.ipc_shm_attach)(key, SIZE, libc::IPC_CREAT | 0o600, ret) }
        })
    }

    fn publish(&self, shm: *mut Shm, name: &CStr) -> c_int {
        // SAFETY: an open handle, a string.
        unsafe { (self.library.ipc_shm_publish)(shm, name.as_ptr()) }
    }

    fn unlink(&self, name: &CStr) -> c_int {
        // SAFETY: a string.
        unsafe { (self.library.ipc_shm_unlink)(name.as_ptr()) }
    }

    fn close(&self, shm: *mut Shm) {
        // SAFETY: an open handle that is not used again.
        unsafe { (self.library.ipc_shm_close)(shm) };
    }

    fn address(&self, shm: *mut Shm) -> *mut u8 {
        // SAFETY: an open handle.
        unsafe { (self.library.ipc_shm_addr)(shm) }.cast()
    }

    fn size(&self, shm: *mut Shm) -> usize {
        // SAFETY: an open handle.
        unsafe { (self.library.ipc_shm_size)(shm) }
    }

    fn fill(&self, shm: *mut Shm, byte: u8) {
        // SAFETY: the region has this size while the handle is open.
        unsafe { self.address(shm).write_bytes(byte, self.size(shm)) };
    }

    /// Checks that a region is complete, and filled with one of these bytes.
    fn check(&self, shm: *mut Shm, bytes: &[u8]) -> Verdict {
        // SAFETY: the region has this size while the handle is open; no process writes to it now.
        let found = unsafe { slice::from_raw_parts(self.address(shm), self.size(shm)) };
        let byte = found[0];
        if found.len() == SIZE && bytes.contains(&byte) && found.iter().all(|b| *b == byte) {
            Ok(())
        } else {
            let len = found.len();
            Err(format!(
                "{len} bytes, {byte} first, not only one of {bytes:?}"
            ))
        }
    }

    /// Checks that only these names exist.
    fn check_names(&self, expected: &[&str]) -> Verdict {
        let found = self.names();
        if found == expected {
            Ok(())
        } else {
            Err(format!("names {found:?} instead of {expected:?}"))
        }
    }

    /// Publishes a new region under this name.
    fn create_named(&self, name: &CStr) -> *mut Shm {
        let shm = self.create(PUBLISH).unwrap();
        self.fill(shm, SET_UP);
        assert_eq!(self.publish(shm, name), 0);
        shm
    }
}

fn files() -> impl Iterator<Item = String> {
    let entries = fs::read_dir("/dev/shm").unwrap();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap())
}

impl Drop for Calls {
    fn drop(&mut self) {
        self.clear();
    }
}

/// A region that all processes inherit. The harness closes it at the end.
struct Inherited<'a> {
    calls: &'a Calls,
    shm: *mut Shm,
}

impl Drop for Inherited<'_> {
    fn drop(&mut self) {
        self.calls.close(self.shm);
    }
}

/// The victim creates a region.
struct Create {
    calls: Calls,
    flags: c_uint,
}

impl Scenario for Create {
    type State = ();

    fn set_up(&self) {}

    fn become_victim(&self, (): &mut ()) {
        self.calls.close(self.calls.create(self.flags).unwrap());
    }

    fn operate(&self, (): &mut ()) {
        self.calls.create(self.flags).unwrap();
    }

    fn survive(&self, (): &mut (), _: &Finished) -> Verdict {
        self.calls.check_names(&[])?;
        let shm = self.calls.create(self.flags)?;
        self.calls.check(shm, &[0])?;
        self.calls.fill(shm, SURVIVOR);
        self.calls.check(shm, &[SURVIVOR])
    }
}

fn check_create(what: &str, flags: c_uint) {
    let calls = Calls::new();
    check(what, &Create { calls, flags });
}

#[apply(scenario)]
fn create() {
    check_create("ipc_shm_create", 0);
}

#[apply(scenario)]
fn create_sole_writer() {
    check_create("ipc_shm_create, SOLE_WRITER", SOLE_WRITER);
}

#[apply(scenario)]
fn create_to_publish() {
    check_create("ipc_shm_create, PUBLISH", PUBLISH);
}

/// The victim publishes a region.
struct Publish<'a>(&'a Calls);

impl<'a> Scenario for Publish<'a> {
    type State = Inherited<'a>;

    fn set_up(&self) -> Inherited<'a> {
        self.0.clear();
        let shm = self.0.create(PUBLISH).unwrap();
        self.0.fill(shm, SET_UP);
        Inherited { calls: self.0, shm }
    }

    fn become_victim(&self, _: &mut Inherited<'a>) {
        self.0.close(self.0.create_named(&self.0.other));
        assert_eq!(self.0.unlink(&self.0.other), 0);
    }

    fn operate(&self, region: &mut Inherited<'a>) {
        assert_eq!(self.0.publish(region.shm, &self.0.name), 0);
    }

    fn survive(&self, region: &mut Inherited<'a>, finished: &Finished) -> Verdict {
        if self.0.publish(region.shm, &self.0.name) == 0 {
            if finished.get() {
                return Err("the published region has no name".into());
            }
        } else if self.0.names() != ["name"] {
            return Err("ipc_shm_publish".into());
        }
        self.0.check(self.0.open(&self.0.name)?, &[SET_UP])
    }
}

#[apply(scenario)]
fn publish() {
    check("ipc_shm_publish", &Publish(&Calls::new()));
}

/// The victim opens an existing region by its name.
struct Open<'a> {
    calls: &'a Calls,
    or_create: bool,
}

impl Open<'_> {
    fn open(&self) -> Handle {
        if self.or_create {
            self.calls.open_or_create(&self.calls.name, SURVIVOR)
        } else {
            self.calls.open(&self.calls.name)
        }
    }
}

impl<'a> Scenario for Open<'a> {
    type State = Inherited<'a>;

    fn set_up(&self) -> Inherited<'a> {
        self.calls.clear();
        let shm = self.calls.create_named(&self.calls.name);
        Inherited {
            calls: self.calls,
            shm,
        }
    }

    fn become_victim(&self, _: &mut Inherited<'a>) {
        self.calls.close(self.open().unwrap());
    }

    fn operate(&self, _: &mut Inherited<'a>) {
        self.open().unwrap();
    }

    fn survive(&self, region: &mut Inherited<'a>, _: &Finished) -> Verdict {
        let opened = self.open()?;
        self.calls.check(opened, &[SET_UP])?;
        self.calls.fill(opened, SURVIVOR);
        self.calls.check(region.shm, &[SURVIVOR])?;
        self.calls.check_names(&["name"])
    }
}

fn check_open(what: &str, or_create: bool) {
    let calls = Calls::new();
    check(
        what,
        &Open {
            calls: &calls,
            or_create,
        },
    );
}

#[apply(scenario)]
fn open() {
    check_open("ipc_shm_open", false);
}

#[apply(scenario)]
fn open_or_create_opens() {
    check_open("ipc_shm_open_or_create, opens", true);
}

/// The victim creates the region. It is also killed in the init callback.
struct OpenOrCreate(Calls);

impl Scenario for OpenOrCreate {
    type State = ();

    fn set_up(&self) {
        self.0.clear();
    }

    fn become_victim(&self, (): &mut ()) {
        self.0
            .close(self.0.open_or_create(&self.0.other, VICTIM).unwrap());
        assert_eq!(self.0.unlink(&self.0.other), 0);
    }

    fn operate(&self, (): &mut ()) {
        self.0.open_or_create(&self.0.name, VICTIM).unwrap();
    }

    fn survive(&self, (): &mut (), finished: &Finished) -> Verdict {
        let names = self.0.names();
        let shm = self.0.open_or_create(&self.0.name, SURVIVOR)?;
        let filled_by = if names.is_empty() { SURVIVOR } else { VICTIM };
        if finished.get() && filled_by != VICTIM {
            return Err("the region was not published".into());
        }
        self.0.check(shm, &[filled_by])?;
        self.0.check_names(&["name"])
    }
}

#[apply(scenario)]
fn open_or_create_creates() {
    check(
        "ipc_shm_open_or_create, creates",
        &OpenOrCreate(Calls::new()),
    );
}

/// The existing region has another layout, and the victim replaces it.
struct ReplaceStale(Calls);

impl ReplaceStale {
    fn options(layout: u64) -> ipc_shm_opts {
        ipc_shm_opts {
            flags: REPLACE_STALE,
            layout,
            ..ipc_shm_opts::default()
        }
    }

    fn open(&self, byte: u8, layout: u64) -> Handle {
        self.0
            .open_or_create_with(&self.0.name, byte, &Self::options(layout))
    }
}

impl Scenario for ReplaceStale {
    type State = ();

    fn set_up(&self) {
        self.0.clear();
        self.0.close(self.open(SET_UP, 1).unwrap());
    }

    fn become_victim(&self, (): &mut ()) {
        let replace = |byte, layout| {
            let opts = Self::options(layout);
            let shm = self.0.open_or_create_with(&self.0.other, byte, &opts);
            self.0.close(shm.unwrap());
        };
        replace(SET_UP, 1);
        replace(VICTIM, 2);
        assert_eq!(self.0.unlink(&self.0.other), 0);
    }

    fn operate(&self, (): &mut ()) {
        self.open(VICTIM, 2).unwrap();
    }

    fn survive(&self, (): &mut (), finished: &Finished) -> Verdict {
        if !self.0.names().is_empty() {
            // The old region or the new one, and complete.
            let shm = self.0.open(&self.0.name)?;
            self.0.check(shm, &[SET_UP, VICTIM])?;
        }
        let shm = self.open(SURVIVOR, 2)?;
        let filled_by: &[u8] = if finished.get() {
            &[VICTIM]
        } else {
            &[VICTIM, SURVIVOR]
        };
        self.0.check(shm, filled_by)?;
        self.0.check_names(&["name"])
    }
}

#[apply(scenario)]
fn open_or_create_replaces() {
    check(
        "ipc_shm_open_or_create, replaces",
        &ReplaceStale(Calls::new()),
    );
}

/// The operation of a victim that is the only user of a transient region.
#[derive(Clone, Copy, PartialEq)]
enum LastUser {
    /// Creates the region, and replaces one without users.
    Creates,
    /// Publishes the region, and replaces one without users.
    Publishes,
    /// Closes the region.
    Closes,
}

/// Once the victim is dead, its region has no user, and no process sees the content again.
struct Transient {
    calls: Calls,
    last_user: LastUser,
}

impl Transient {
    fn create(&self, name: &CStr, byte: u8) -> Handle {
        let opts = ipc_shm_opts {
            flags: TRANSIENT,
            ..ipc_shm_opts::default()
        };
        self.calls.open_or_create_with(name, byte, &opts)
    }

    fn publish(&self, name: &CStr) -> *mut Shm {
        let shm = self.calls.create(PUBLISH | TRANSIENT).unwrap();
        self.calls.fill(shm, VICTIM);
        assert_eq!(self.calls.publish(shm, name), 0);
        shm
    }
}

impl Scenario for Transient {
    type State = *mut Shm;

    fn set_up(&self) -> *mut Shm {
        self.calls.clear();
        // The process ends without closing the region, so its name stays.
        let child = Child::fork(|| {
            self.create(&self.calls.name, SET_UP).unwrap();
        });
        assert_eq!(child.wait(Instant::now() + Self::LIMIT), Some(0));
        ptr::null_mut()
    }

    fn become_victim(&self, shm: &mut *mut Shm) {
        self.calls
            .close(self.create(&self.calls.other, SET_UP).unwrap());
        self.calls.close(self.publish(&self.calls.other));
        self.calls
            .close(self.create(&self.calls.other, VICTIM).unwrap());
        if self.last_user == LastUser::Closes {
            *shm = self.create(&self.calls.name, VICTIM).unwrap();
        }
    }

    fn operate(&self, shm: &mut *mut Shm) {
        match self.last_user {
            LastUser::Creates => drop(self.create(&self.calls.name, VICTIM).unwrap()),
            LastUser::Publishes => drop(self.publish(&self.calls.name)),
            LastUser::Closes => self.calls.close(*shm),
        }
    }

    fn survive(&self, _: &mut *mut Shm, _: &Finished) -> Verdict {
        if self.calls.open(&self.calls.name).is_ok() {
            return Err("a region without users was opened".into());
        }
        let shm = self.create(&self.calls.name, SURVIVOR)?;
        self.calls.check(shm, &[SURVIVOR])?;
        self.calls
            .check(self.calls.open(&self.calls.name)?, &[SURVIVOR])?;
        self.calls.check_names(&["name"])
    }
}

fn check_transient(what: &str, last_user: LastUser) {
    let scenario = Transient {
        calls: Calls::new(),
        last_user,
    };
    check(what, &scenario);
}

#[apply(scenario)]
fn transient_creates() {
    check_transient("ipc_shm_open_or_create, TRANSIENT", LastUser::Creates);
}

#[apply(scenario)]
fn transient_publishes() {
    check_transient("ipc_shm_publish, TRANSIENT", LastUser::Publishes);
}

#[apply(scenario)]
fn transient_closes() {
    check_transient("ipc_shm_close, TRANSIENT", LastUser::Closes);
}

/// The victim opens a transient region that has another user.
struct OpenTransient<'a>(&'a Calls);

impl<'a> Scenario for OpenTransient<'a> {
    type State = Inherited<'a>;

    fn set_up(&self) -> Inherited<'a> {
        self.0.clear();
        let shm = self.0.create(PUBLISH | TRANSIENT).unwrap();
        self.0.fill(shm, SET_UP);
        assert_eq!(self.0.publish(shm, &self.0.name), 0);
        Inherited { calls: self.0, shm }
    }

    fn become_victim(&self, _: &mut Inherited<'a>) {
        self.0.close(self.0.open(&self.0.name).unwrap());
    }

    fn operate(&self, _: &mut Inherited<'a>) {
        self.0.open(&self.0.name).unwrap();
    }

    fn survive(&self, region: &mut Inherited<'a>, _: &Finished) -> Verdict {
        let opened = self.0.open(&self.0.name)?;
        self.0.check(opened, &[SET_UP])?;
        self.0.fill(opened, SURVIVOR);
        self.0.check(region.shm, &[SURVIVOR])?;
        let same = self.0.open_or_create(&self.0.name, VICTIM)?;
        self.0.check(same, &[SURVIVOR])
    }
}

#[apply(scenario)]
fn transient_opens() {
    check("ipc_shm_open, TRANSIENT", &OpenTransient(&Calls::new()));
}

/// The victim unlinks a name.
struct Unlink<'a>(&'a Calls);

impl<'a> Scenario for Unlink<'a> {
    type State = Inherited<'a>;

    fn set_up(&self) -> Inherited<'a> {
        self.0.clear();
        let shm = self.0.create_named(&self.0.name);
        Inherited { calls: self.0, shm }
    }

    fn become_victim(&self, _: &mut Inherited<'a>) {
        self.0.close(self.0.create_named(&self.0.other));
        assert_eq!(self.0.unlink(&self.0.other), 0);
    }

    fn operate(&self, _: &mut Inherited<'a>) {
        assert_eq!(self.0.unlink(&self.0.name), 0);
    }

    fn survive(&self, region: &mut Inherited<'a>, finished: &Finished) -> Verdict {
        self.0.check(region.shm, &[SET_UP])?;
        let exists = !self.0.names().is_empty();
        if exists && finished.get() {
            return Err("the unlinked region still has its name".into());
        }
        if exists != (self.0.unlink(&self.0.name) == 0) {
            return Err("ipc_shm_unlink".into());
        }
        self.0.check_names(&[])?;
        let shm = self.0.open_or_create(&self.0.name, SURVIVOR)?;
        self.0.check(shm, &[SURVIVOR])
    }
}

#[apply(scenario)]
fn unlink() {
    check("ipc_shm_unlink", &Unlink(&Calls::new()));
}

/// The victim opens a sealed region by its descriptor, or closes its handle.
struct Sealed<'a> {
    calls: &'a Calls,
    closes: bool,
}

impl<'a> Scenario for Sealed<'a> {
    type State = Inherited<'a>;

    fn set_up(&self) -> Inherited<'a> {
        let shm = self.calls.create(0).unwrap();
        self.calls.fill(shm, SET_UP);
        Inherited {
            calls: self.calls,
            shm,
        }
    }

    fn become_victim(&self, region: &mut Inherited<'a>) {
        self.calls.close(self.calls.open_fd(region.shm).unwrap());
    }

    fn operate(&self, region: &mut Inherited<'a>) {
        if self.closes {
            self.calls.close(region.shm);
        } else {
            self.calls.open_fd(region.shm).unwrap();
        }
    }

    fn survive(&self, region: &mut Inherited<'a>, _: &Finished) -> Verdict {
        let opened = self.calls.open_fd(region.shm)?;
        self.calls.check(opened, &[SET_UP])?;
        self.calls.fill(opened, SURVIVOR);
        self.calls.close(opened);
        self.calls.check(region.shm, &[SURVIVOR])
    }
}

fn check_sealed(what: &str, closes: bool) {
    let calls = Calls::new();
    check(
        what,
        &Sealed {
            calls: &calls,
            closes,
        },
    );
}

#[apply(scenario)]
fn from_fd() {
    check_sealed("ipc_shm_from_fd", false);
}

#[apply(scenario)]
fn close() {
    check_sealed("ipc_shm_close", true);
}

/// The victim creates a System V segment.
struct Attach {
    calls: Calls,
    key: key_t,
}

impl Attach {
    fn id(&self) -> c_int {
        // SAFETY: no pointers.
        unsafe { libc::shmget(self.key, 0, 0) }
    }

    fn remove(&self) {
        // SAFETY: IPC_RMID reads nothing.
        while unsafe { libc::shmctl(self.id(), libc::IPC_RMID, ptr::null_mut()) } == 0 {}
    }
}

impl Drop for Attach {
    fn drop(&mut self) {
        self.remove();
    }
}

impl Scenario for Attach {
    type State = ();

    fn set_up(&self) {
        self.remove();
    }

    fn become_victim(&self, (): &mut ()) {
        self.calls.close(self.calls.attach(self.key).unwrap());
        self.remove();
    }

    fn operate(&self, (): &mut ()) {
        self.calls.attach(self.key).unwrap();
    }

    fn survive(&self, (): &mut (), finished: &Finished) -> Verdict {
        if finished.get() && self.id() == -1 {
            return Err("there is no segment".into());
        }
        let shm = self.calls.attach(self.key)?;
        self.calls.check(shm, &[0])?;
        self.calls.fill(shm, SURVIVOR);
        self.calls.check(self.calls.attach(self.key)?, &[SURVIVOR])
    }
}

#[apply(scenario)]
fn attach() {
    let scenario = Attach {
        calls: Calls::new(),
        // Each test has its own IPC namespace where that is possible.
        key: 0x7566_0000 ^ std::process::id() as key_t,
    };
    check("ipc_shm_attach", &scenario);
}
