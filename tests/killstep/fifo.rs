//! FIFOs and records: the writer is killed, or the reader, or a process that creates or opens a
//! FIFO.

use crate::check;
use crate::harness::{End, Finished, Scenario, Verdict};
use crate::library::{self, Library};
use crate::support::{content, expect, outcome};
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
/// A mode that the umask restricts.
const MODE: mode_t = 0o666;
const LEN: usize = 1000;
/// The time-out of a survivor's calls, in milliseconds.
const WAIT: c_int = 4000;

/// A path in the test's directory. Drop removes the file.
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
    // SAFETY: the library has just opened it for us.
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

/// Receives a whole record that has one of these numbers. Returns its number, or None at the end.
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
            .ok_or_else(|| format!("an unexpected record of {len} bytes")),
    }
}

fn recv_into(
    library: &Library,
    fd: &OwnedFd,
    record: &mut [u8],
    timeout: c_int,
) -> Result<usize, c_int> {
    let (at, cap) = (record.as_mut_ptr().cast(), record.len());
    // SAFETY: the record has this length.
    outcome(unsafe { (library.ipc_fifo_recv)(fd.as_raw_fd(), at, cap, timeout) })
}

/// The victim creates a FIFO under a umask. A FIFO of another mode may exist already.
struct Create {
    library: Library,
    name: Name,
    existing: Option<mode_t>,
}

impl Create {
    fn check(what: &str, existing: Option<mode_t>) {
        let scenario = Self {
            library: library::load(),
            name: Name::new("create"),
            existing,
        };
        check(what, &scenario);
    }

    /// Creates the FIFO, or changes the mode of the existing one.
    fn create(&self) -> isize {
        make(&self.library, &self.name, MODE, EXIST_OK)
    }
}

impl Scenario for Create {
    type State = ();

    fn set_up(&self) {
        self.name.remove();
        if let Some(mode) = self.existing {
            assert_eq!(make(&self.library, &self.name, mode, 0), 0);
        }
    }

    fn become_victim(&self, (): &mut ()) {
        let other = Name::new("other");
        set_umask();
        assert_eq!(make(&self.library, &other, MODE, EXIST_OK), 0);
    }

    fn operate(&self, (): &mut ()) {
        assert_eq!(self.create(), 0);
    }

    fn survive(&self, (): &mut (), finished: &Finished) -> Verdict {
        // Before the next create: never more permissions than requested.
        let mode_before = self.name.mode();
        if finished.get() {
            expect("the mode after the create", mode_before, Some(MODE))?;
        }
        let allowed = MODE | self.existing.unwrap_or(0);
        if let Some(mode) = mode_before.filter(|mode| mode & !allowed != 0) {
            return Err(format!("mode {mode:o}"));
        }
        set_umask();
        expect("the next create", self.create(), 0)?;
        expect("the mode", self.name.mode(), Some(MODE))
    }
}

/// Sets a umask that restricts [`MODE`].
fn set_umask() {
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

/// The victim opens a FIFO: it waits forever for the other side, or the other side is open.
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
    /// The peer that lets the victim's open succeed. The victim opens it, so it ends with the
    /// victim.
    type State = Option<OwnedFd>;
    const END: End = if SLEEPS { End::Sleeps } else { End::Returns };

    fn set_up(&self) -> Option<OwnedFd> {
        self.name.remove();
        assert_eq!(make(&self.library, &self.name, MODE, 0), 0);
        None
    }

    fn become_victim(&self, peer: &mut Option<OwnedFd>) {
        if SLEEPS {
            assert_eq!(self.open(self.flags, 0).unwrap_err(), libc::EAGAIN);
        } else {
            *peer = Some(self.open(READ | PERSIST, 0).unwrap());
            drop(self.open(self.flags, -1).unwrap());
        }
    }

    fn operate(&self, _: &mut Option<OwnedFd>) {
        // Not closed, because that would be another operation of the victim.
        std::mem::forget(self.open(self.flags, -1).unwrap());
    }

    fn survive(&self, _: &mut Option<OwnedFd>, _: &Finished) -> Verdict {
        // The dead victim is not a peer.
        for flags in [READ, WRITE] {
            expect("a peer", self.open(flags, 0).map(drop), Err(libc::EAGAIN))?;
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

/// The victim opens a FIFO for reading without waiting, and there is no writer.
struct OpenFails(Open<false>);

impl Scenario for OpenFails {
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
fn open_reader_without_a_writer() {
    let scenario = OpenFails(Open {
        library: library::load(),
        name: Name::new("fails"),
        flags: READ,
    });
    check("ipc_fifo_open, reader, EAGAIN", &scenario);
}

/// A FIFO with the survivor's reader and writer, and the victim's descriptor. The victim sends or
/// receives record 0 before its operation, and record 1 in it. The survivor uses records 2 and 3.
struct Sides {
    reader: Option<OwnedFd>,
    writer: Option<OwnedFd>,
    victim: Option<OwnedFd>,
    _name: Name,
}

impl Sides {
    fn open(library: &Library, victim: c_uint) -> Self {
        let name = Name::new("records");
        assert_eq!(make(library, &name, MODE, 0), 0);
        // Each side can be opened without waiting while there is a persistent reader.
        let persistent = open(library, &name, READ | PERSIST, 0).unwrap();
        let sides = Self {
            writer: open(library, &name, WRITE, 0).ok(),
            reader: open(library, &name, READ, 0).ok(),
            victim: open(library, &name, victim, 0).ok(),
            _name: name,
        };
        drop(persistent);
        sides
    }

    fn reader(&self) -> &OwnedFd {
        self.reader.as_ref().unwrap()
    }

    fn writer(&self) -> &OwnedFd {
        self.writer.as_ref().unwrap()
    }

    fn victim(&self) -> &OwnedFd {
        self.victim.as_ref().unwrap()
    }

    /// Closes the survivor's descriptors.
    fn become_victim(&mut self) {
        self.reader = None;
        self.writer = None;
    }
}

/// The victim sends a record. The survivor is the reader, and another writer.
struct Send<const SLEEPS: bool> {
    library: Library,
    record: Vec<u8>,
}

impl<const SLEEPS: bool> Scenario for Send<SLEEPS> {
    type State = Sides;
    const END: End = if SLEEPS { End::Sleeps } else { End::Returns };

    fn set_up(&self) -> Sides {
        let sides = Sides::open(&self.library, WRITE);
        // Record 2, until the FIFO is full.
        while SLEEPS && send(&self.library, sides.writer(), 2, 0) == 0 {}
        sides
    }

    fn become_victim(&self, sides: &mut Sides) {
        sides.become_victim();
        let sent = send(&self.library, sides.victim(), 0, 0);
        assert_eq!(sent, if SLEEPS { -1 } else { 0 });
    }

    fn operate(&self, sides: &mut Sides) {
        assert_eq!(
            send_record(&self.library, sides.victim(), &self.record, -1),
            0
        );
    }

    fn survive(&self, sides: &mut Sides, finished: &Finished) -> Verdict {
        sides.victim = None;
        let library = &self.library;
        let mut received = [0; 4];
        if SLEEPS {
            // Free space for one record.
            recv(library, sides.reader(), [2])?;
        }
        expect("ipc_fifo_send", send(library, sides.writer(), 3, WAIT), 0)?;
        sides.writer = None;
        while let Some(number) = recv(library, sides.reader(), 0..4)? {
            received[number] += 1;
        }
        if SLEEPS {
            // The victim is killed while it waits: nothing of its record is sent.
            return expect(
                "records 0, 1, 3",
                [received[0], received[1], received[3]],
                [0, 0, 1],
            );
        }
        let least = usize::from(finished.get());
        if received[0] != 1 || !(least..=1).contains(&received[1]) || received[3] != 1 {
            return Err(format!("the numbers of received records: {received:?}"));
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
fn send_to_a_full_fifo() {
    let scenario = Send::<true> {
        library: library::load(),
        record: content(1, LEN),
    };
    check("ipc_fifo_send, full", &scenario);
}

/// The victim receives a record. The survivor is another reader, and the writer.
struct Recv<const SLEEPS: bool> {
    library: Library,
    /// Whether it calls ipc_fifo_recv_any.
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
        assert_eq!(recv(&self.library, sides.victim(), [0]), Ok(Some(0)));
    }

    fn operate(&self, sides: &mut Sides) {
        let mut record = [0; LEN];
        let received = if self.any {
            let (fd, at) = (sides.victim().as_raw_fd(), record.as_mut_ptr().cast());
            let ret_is_text = std::ptr::null_mut();
            // SAFETY: the record has this length.
            outcome(unsafe { (self.library.ipc_fifo_recv_any)(fd, at, LEN, ret_is_text, -1) })
        } else {
            recv_into(&self.library, sides.victim(), &mut record, -1)
        };
        assert_eq!(received, Ok(LEN));
    }

    fn survive(&self, sides: &mut Sides, finished: &Finished) -> Verdict {
        sides.victim = None;
        let library = &self.library;
        expect("ipc_fifo_send", send(library, sides.writer(), 3, WAIT), 0)?;
        sides.writer = None;
        let mut received = Vec::new();
        while let Some(number) = recv(library, sides.reader(), 1..4)? {
            received.push(number);
        }
        // The victim's record may be lost with it; all others are received.
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
fn recv_from_an_empty_fifo() {
    let (library, any) = (library::load(), false);
    check("ipc_fifo_recv, empty", &Recv::<true> { library, any });
}
