//! FIFOs and records: the writer is killed, the reader, or whoever creates or opens one.

use crate::check;
use crate::harness::{End, Finished, Scenario, Verdict};
use crate::library::{self, Library};
use crate::message::{content, outcome};
use common::isolated::apply;
use libc::{c_int, c_uint, mode_t};
use std::ffi::CString;
use std::fs;
use std::io::ErrorKind;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::PathBuf;

const READ: c_uint = unixipc::ffi::fifo::IPC_FIFO_F_READ;
const WRITE: c_uint = unixipc::ffi::fifo::IPC_FIFO_F_WRITE;
const PERSIST: c_uint = unixipc::ffi::fifo::IPC_FIFO_F_PERSIST;
const EXIST_OK: c_uint = unixipc::ffi::fifo::IPC_FIFO_F_EXIST_OK;
/// More than any umask leaves.
const MODE: mode_t = 0o666;
const LEN: usize = 1000;
/// How long a survivor waits, in milliseconds.
const WAIT: c_int = 4000;

/// A path in the test's own folder; what is there is removed at the end.
struct Name {
    path: PathBuf,
    c_path: CString,
}

impl Name {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(name);
        let c_path = CString::new(path.as_os_str().as_bytes()).unwrap();
        Self { path, c_path }
    }

    fn remove(&self) {
        match fs::remove_file(&self.path) {
            Err(error) if error.kind() != ErrorKind::NotFound => panic!("{error}"),
            _ => {}
        }
    }

    fn mode(&self) -> Option<u32> {
        let meta = fs::symlink_metadata(&self.path).ok()?;
        assert!(meta.file_type().is_fifo());
        Some(meta.permissions().mode() & 0o7777)
    }
}

impl Drop for Name {
    fn drop(&mut self) {
        self.remove();
    }
}

fn make(library: &Library, name: &Name, mode: mode_t, flags: c_uint) -> isize {
    // SAFETY: a string.
    unsafe { (library.ipc_fifo_create)(name.c_path.as_ptr(), mode, flags) as isize }
}

fn open(library: &Library, name: &Name, flags: c_uint, timeout: c_int) -> Result<OwnedFd, c_int> {
    // SAFETY: a string.
    let fd = unsafe { (library.ipc_fifo_open)(name.c_path.as_ptr(), flags, timeout) };
    // SAFETY: the library just opened it, for us.
    outcome(fd as isize).map(|fd| unsafe { OwnedFd::from_raw_fd(fd as c_int) })
}

fn send(library: &Library, fd: &OwnedFd, number: usize, timeout: c_int) -> isize {
    let record = content(number, LEN);
    send_record(library, fd, &record, timeout)
}

fn send_record(library: &Library, fd: &OwnedFd, record: &[u8], timeout: c_int) -> isize {
    let bytes = record.as_ptr().cast();
    // SAFETY: the length is the record's.
    let sent = unsafe { (library.ipc_fifo_send)(fd.as_raw_fd(), bytes, record.len(), timeout) };
    sent as isize
}

/// Receives a whole record of the given numbers, and says which; nothing at the end.
fn recv(
    library: &Library,
    fd: &OwnedFd,
    numbers: impl IntoIterator<Item = usize>,
) -> Result<Option<usize>, String> {
    let mut record = [0; LEN + 1];
    match recv_into(library, fd, &mut record, WAIT).map_err(|error| format!("errno {error}"))? {
        0 => Ok(None),
        len => numbers
            .into_iter()
            .find(|number| record[..len] == content(*number, LEN)[..])
            .map(Some)
            .ok_or_else(|| format!("a record of {len} bytes that nobody should have sent")),
    }
}

fn recv_into(
    library: &Library,
    fd: &OwnedFd,
    record: &mut [u8],
    timeout: c_int,
) -> Result<usize, c_int> {
    let (to, cap) = (record.as_mut_ptr().cast(), record.len());
    // SAFETY: the room has so many bytes.
    outcome(unsafe { (library.ipc_fifo_recv)(fd.as_raw_fd(), to, cap, timeout) })
}

fn expect<T: PartialEq + std::fmt::Debug>(what: &str, found: T, expected: T) -> Verdict {
    if found == expected {
        Ok(())
    } else {
        Err(format!("{what}: {found:?} instead of {expected:?}"))
    }
}

/// The victim creates a FIFO, under a umask, and where there may be one of another mode.
struct Create {
    library: Library,
    name: Name,
    over: Option<mode_t>,
}

impl Create {
    fn check(what: &str, over: Option<mode_t>) {
        let scenario = Self {
            library: library::load(),
            name: Name::new("create"),
            over,
        };
        check(what, &scenario);
    }

    /// Creates it, or gives it the mode.
    fn create(&self) -> isize {
        make(&self.library, &self.name, MODE, EXIST_OK)
    }
}

impl Scenario for Create {
    type State = ();

    fn set_up(&self) {
        self.name.remove();
        if let Some(mode) = self.over {
            assert_eq!(make(&self.library, &self.name, mode, 0), 0);
        }
    }

    fn become_victim(&self, (): &mut ()) {
        let other = Name::new("other");
        restrict();
        assert_eq!(make(&self.library, &other, MODE, EXIST_OK), 0);
    }

    fn operate(&self, (): &mut ()) {
        assert_eq!(self.create(), 0);
    }

    fn survive(&self, (): &mut (), finished: &Finished) -> Verdict {
        // Before the next one has been at it: never more than asked for.
        let early = self.name.mode();
        if finished.get() {
            expect("the mode after the end", early, Some(MODE))?;
        }
        let allowed = MODE | self.over.unwrap_or(0);
        if let Some(mode) = early.filter(|mode| mode & !allowed != 0) {
            return Err(format!("mode {mode:o}"));
        }
        restrict();
        expect("the next create", self.create(), 0)?;
        expect("the mode", self.name.mode(), Some(MODE))
    }
}

/// Sets a umask that takes something from [`MODE`].
fn restrict() {
    // SAFETY: takes no pointer.
    unsafe { libc::umask(0o077) };
}

#[apply(scenario)]
fn create() {
    Create::check("ipc_fifo_create", None);
}

#[apply(scenario)]
fn create_over_another_mode() {
    Create::check("ipc_fifo_create, over another mode", Some(0o600));
}

/// The victim removes a FIFO's name.
struct Unlink {
    library: Library,
    name: Name,
}

impl Unlink {
    fn unlink(&self, name: &Name) -> isize {
        // SAFETY: a string.
        unsafe { (self.library.ipc_fifo_unlink)(name.c_path.as_ptr()) as isize }
    }
}

impl Scenario for Unlink {
    type State = ();

    fn set_up(&self) {
        self.name.remove();
        assert_eq!(make(&self.library, &self.name, MODE, 0), 0);
    }

    fn become_victim(&self, (): &mut ()) {
        let other = Name::new("other");
        assert_eq!(make(&self.library, &other, MODE, 0), 0);
        assert_eq!(self.unlink(&other), 0);
    }

    fn operate(&self, (): &mut ()) {
        assert_eq!(self.unlink(&self.name), 0);
    }

    fn survive(&self, (): &mut (), finished: &Finished) -> Verdict {
        match outcome(self.unlink(&self.name)) {
            Ok(_) if !finished.get() => {}
            Err(libc::ENOENT) => {}
            other => return Err(format!("ipc_fifo_unlink: {other:?}")),
        }
        expect(
            "ipc_fifo_create",
            make(&self.library, &self.name, MODE, 0),
            0,
        )
    }
}

#[apply(scenario)]
fn unlink() {
    let scenario = Unlink {
        library: library::load(),
        name: Name::new("unlink"),
    };
    check("ipc_fifo_unlink", &scenario);
}

/// The victim opens a FIFO: it waits for the other side for ever, or finds it there.
struct Open<const SLEEPS: bool> {
    library: Library,
    name: Name,
    flags: c_uint,
}

impl<const SLEEPS: bool> Open<SLEEPS> {
    fn check(what: &str, flags: c_uint) {
        let scenario = Self {
            library: library::load(),
            name: Name::new("open"),
            flags,
        };
        check(what, &scenario);
    }

    fn open(&self, flags: c_uint, timeout: c_int) -> Result<OwnedFd, c_int> {
        open(&self.library, &self.name, flags, timeout)
    }
}

impl<const SLEEPS: bool> Scenario for Open<SLEEPS> {
    /// What lets the victim's open succeed: it is the victim's own, and dies with it.
    type State = Option<OwnedFd>;
    const END: End = if SLEEPS { End::Sleeps } else { End::Returns };

    fn set_up(&self) -> Option<OwnedFd> {
        self.name.remove();
        assert_eq!(make(&self.library, &self.name, MODE, 0), 0);
        None
    }

    fn become_victim(&self, partner: &mut Option<OwnedFd>) {
        if SLEEPS {
            assert_eq!(self.open(self.flags, 0).unwrap_err(), libc::EAGAIN);
        } else {
            *partner = Some(self.open(READ | PERSIST, 0).unwrap());
            drop(self.open(self.flags, -1).unwrap());
        }
    }

    fn operate(&self, _: &mut Option<OwnedFd>) {
        // Not closed: that would be the victim's next operation.
        std::mem::forget(self.open(self.flags, -1).unwrap());
    }

    fn survive(&self, _: &mut Option<OwnedFd>, _: &Finished) -> Verdict {
        // The dead one is no partner.
        for flags in [READ, WRITE] {
            expect(
                "a partner",
                self.open(flags, 0).map(drop),
                Err(libc::EAGAIN),
            )?;
        }
        let errno = |error: c_int| format!("ipc_fifo_open: errno {error}");
        let reader = self.open(READ | PERSIST, WAIT).map_err(errno)?;
        let writer = self.open(WRITE, WAIT).map_err(errno)?;
        expect("ipc_fifo_send", send(&self.library, &writer, 1, WAIT), 0)?;
        expect("ipc_fifo_recv", recv(&self.library, &reader, [1])?, Some(1))
    }
}

#[apply(scenario)]
fn open_reader_that_waits() {
    Open::<true>::check("ipc_fifo_open, reader that waits", READ);
}

#[apply(scenario)]
fn open_writer_that_waits() {
    Open::<true>::check("ipc_fifo_open, writer that waits", WRITE);
}

#[apply(scenario)]
fn open_reader() {
    Open::<false>::check("ipc_fifo_open, reader", READ);
}

#[apply(scenario)]
fn open_writer() {
    Open::<false>::check("ipc_fifo_open, writer", WRITE);
}

/// The victim opens a FIFO for reading, finds no writer, and leaves.
struct Leave(Open<false>);

impl Scenario for Leave {
    type State = Option<OwnedFd>;

    fn set_up(&self) -> Option<OwnedFd> {
        self.0.set_up()
    }

    fn become_victim(&self, state: &mut Option<OwnedFd>) {
        self.operate(state);
    }

    fn operate(&self, _: &mut Option<OwnedFd>) {
        assert_eq!(self.0.open(READ, 0).unwrap_err(), libc::EAGAIN);
    }

    fn survive(&self, state: &mut Option<OwnedFd>, finished: &Finished) -> Verdict {
        self.0.survive(state, finished)
    }
}

#[apply(scenario)]
fn open_reader_that_leaves() {
    let scenario = Leave(Open {
        library: library::load(),
        name: Name::new("leave"),
        flags: READ,
    });
    check("ipc_fifo_open, reader that leaves", &scenario);
}

/// A FIFO with a reader and a writer for each side. Numbers of records: 0 is what the victim
/// sends or receives before its operation, 1 what it does in it, 2 and 3 are the survivor's.
struct Sides {
    reader: Option<OwnedFd>,
    writer: Option<OwnedFd>,
    other: Option<OwnedFd>,
    _name: Name,
}

impl Sides {
    fn open(library: &Library, other: c_uint) -> Self {
        let name = Name::new("records");
        assert_eq!(make(library, &name, MODE, 0), 0);
        // Only while there is a persistent reader does each side find the other.
        let both = open(library, &name, READ | PERSIST, 0).unwrap();
        let sides = Self {
            writer: open(library, &name, WRITE, 0).ok(),
            reader: open(library, &name, READ, 0).ok(),
            other: open(library, &name, other, 0).ok(),
            _name: name,
        };
        drop(both);
        sides
    }

    fn reader(&self) -> &OwnedFd {
        self.reader.as_ref().unwrap()
    }

    fn writer(&self) -> &OwnedFd {
        self.writer.as_ref().unwrap()
    }

    fn other(&self) -> &OwnedFd {
        self.other.as_ref().unwrap()
    }

    /// Closes the survivor's descriptors.
    fn become_victim(&mut self) {
        self.reader = None;
        self.writer = None;
    }
}

/// The victim sends a record to a reader; the survivor is that reader, and another writer.
struct Send<const SLEEPS: bool> {
    library: Library,
    record: Vec<u8>,
}

impl<const SLEEPS: bool> Scenario for Send<SLEEPS> {
    type State = Sides;
    const END: End = if SLEEPS { End::Sleeps } else { End::Returns };

    fn set_up(&self) -> Sides {
        let sides = Sides::open(&self.library, WRITE);
        // Record 2 until it is full.
        while SLEEPS && send(&self.library, sides.writer(), 2, 0) == 0 {}
        sides
    }

    fn become_victim(&self, sides: &mut Sides) {
        sides.become_victim();
        let sent = send(&self.library, sides.other(), 0, 0);
        assert_eq!(sent, if SLEEPS { -1 } else { 0 });
    }

    fn operate(&self, sides: &mut Sides) {
        assert_eq!(
            send_record(&self.library, sides.other(), &self.record, -1),
            0
        );
    }

    fn survive(&self, sides: &mut Sides, finished: &Finished) -> Verdict {
        sides.other = None;
        let library = &self.library;
        let mut received = [0; 4];
        if SLEEPS {
            // Room for one more.
            recv(library, sides.reader(), [2])?;
        }
        expect("ipc_fifo_send", send(library, sides.writer(), 3, WAIT), 0)?;
        sides.writer = None;
        while let Some(number) = recv(library, sides.reader(), 0..4)? {
            received[number] += 1;
        }
        if SLEEPS {
            // Killed while it waited: nothing of it.
            return expect(
                "records 0, 1, 3",
                [received[0], received[1], received[3]],
                [0, 0, 1],
            );
        }
        let least = usize::from(finished.get());
        if received[0] != 1 || !(least..=1).contains(&received[1]) || received[3] != 1 {
            return Err(format!("received each number so often: {received:?}"));
        }
        Ok(())
    }
}

#[apply(scenario)]
fn send_a_record() {
    let scenario = Send::<false> {
        library: library::load(),
        record: content(1, LEN),
    };
    check("ipc_fifo_send", &scenario);
}

#[apply(scenario)]
fn send_to_a_full_one() {
    let scenario = Send::<true> {
        library: library::load(),
        record: content(1, LEN),
    };
    check("ipc_fifo_send, full", &scenario);
}

/// The victim receives a record; the survivor is another reader, and the writer.
struct Recv<const SLEEPS: bool> {
    library: Library,
    /// By ipc_fifo_recv_any.
    any: bool,
}

impl<const SLEEPS: bool> Scenario for Recv<SLEEPS> {
    type State = Sides;
    const END: End = if SLEEPS { End::Sleeps } else { End::Returns };

    fn set_up(&self) -> Sides {
        let sides = Sides::open(&self.library, READ);
        let records = if SLEEPS { 0..1 } else { 0..3 };
        for number in records {
            assert_eq!(send(&self.library, sides.writer(), number, 0), 0);
        }
        sides
    }

    fn become_victim(&self, sides: &mut Sides) {
        sides.become_victim();
        assert_eq!(recv(&self.library, sides.other(), [0]), Ok(Some(0)));
    }

    fn operate(&self, sides: &mut Sides) {
        let mut record = [0; LEN];
        let got = if self.any {
            let (fd, at) = (sides.other().as_raw_fd(), record.as_mut_ptr().cast());
            let text = std::ptr::null_mut();
            // SAFETY: the room has so many bytes.
            outcome(unsafe { (self.library.ipc_fifo_recv_any)(fd, at, LEN, text, -1) })
        } else {
            recv_into(&self.library, sides.other(), &mut record, -1)
        };
        assert_eq!(got, Ok(LEN));
    }

    fn survive(&self, sides: &mut Sides, finished: &Finished) -> Verdict {
        sides.other = None;
        let library = &self.library;
        expect("ipc_fifo_send", send(library, sides.writer(), 3, WAIT), 0)?;
        sides.writer = None;
        let mut received = Vec::new();
        while let Some(number) = recv(library, sides.reader(), 1..4)? {
            received.push(number);
        }
        // The record of the dead one is gone with it, or there; all others are.
        let without: &[usize] = if SLEEPS { &[3] } else { &[2, 3] };
        if received == without || (!SLEEPS && !finished.get() && received == [1, 2, 3]) {
            return Ok(());
        }
        Err(format!("received {received:?}"))
    }
}

#[apply(scenario)]
fn recv_a_record() {
    let (library, any) = (library::load(), false);
    check("ipc_fifo_recv", &Recv::<false> { library, any });
}

#[apply(scenario)]
fn recv_a_record_or_text() {
    let (library, any) = (library::load(), true);
    check("ipc_fifo_recv_any", &Recv::<false> { library, any });
}

#[apply(scenario)]
fn recv_from_an_empty_one() {
    let (library, any) = (library::load(), false);
    check("ipc_fifo_recv, empty", &Recv::<true> { library, any });
}
