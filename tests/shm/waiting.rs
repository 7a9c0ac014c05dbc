//! ipc_shm_open_or_create waits for other processes: with a time-out, and only for its own name.

use crate::support::unlink; // libc has these names too
use crate::support::*;
use common::child::fork;
use common::descriptors::pipe;
use libc::*;
use std::ffi::CStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};
use std::{mem, ptr};
use unixipc::deadline::WAIT_INTR;
use unixipc::ffi::shm::ipc_shm_opts;

fn within(timeout_ms: c_int) -> ipc_shm_opts {
    ipc_shm_opts {
        timeout_ms,
        ..with(0, 0)
    }
}

/// A child that stays in its init until the parent lets it continue.
struct Maker {
    child: Child,
    go_writer: File,
}

impl Maker {
    fn start(name: &CStr) -> Self {
        let ((mut ready, mut ready_writer), (mut go_reader, go_writer)) = (pipe(), pipe());
        let child = fork(|| {
            let made = open_or_create(name, page_size(), (0, 0), |_, _| {
                ready_writer.write_all(b"r").unwrap();
                go_reader.read_exact(&mut [0]).unwrap();
                true
            });
            drop(made.unwrap());
        });
        drop((ready_writer, go_reader));
        ready.read_exact(&mut [0]).unwrap();
        Self { child, go_writer }
    }

    fn finish(mut self) {
        self.go_writer.write_all(b"g").unwrap();
        self.child.join();
    }
}

/// The time-out expires while the creator is stopped inside init; it is exact.
#[apply(isolated)]
fn times_out() {
    let directory = NameDirectory::new();
    let name = name("t");
    let maker = Maker::start(&name);
    maker.child.stop();
    let before = open_numbers();
    for timeout_ms in [1, 50, 200] {
        let start = Instant::now();
        let opened = open_or_create_with(&name, page_size(), &within(timeout_ms), |_, _| {
            panic!("init")
        });
        assert_eq!(opened.unwrap_err(), ETIMEDOUT);
        let took = start.elapsed();
        assert!(took >= Duration::from_millis(timeout_ms as u64), "{took:?}");
    }
    assert_eq!(open_numbers(), before);
    for timeout_ms in [-3, c_int::MIN] {
        let opened = open_or_create_with(&name, page_size(), &within(timeout_ms), |_, _| {
            panic!("init")
        });
        assert_eq!(opened.unwrap_err(), EINVAL);
    }
    maker.child.signal(SIGCONT);
    maker.finish();
    // A region that exists is opened without waiting.
    for timeout_ms in [-1, 0, 1, WAIT_INTR] {
        let opened = open_or_create_with(&name, page_size(), &within(timeout_ms), |_, _| {
            panic!("init")
        });
        drop(opened.unwrap());
    }
    assert_eq!(directory.files().len(), 1);
    assert_eq!(unlink(&name), Ok(0));
}

/// A signal handler ends a wait with IPC_WAIT_INTR, but no other wait.
#[apply(isolated)]
fn signals() {
    extern "C" fn nothing(_: c_int) {}
    let _directory = NameDirectory::new();
    let name = name("s");
    let maker = Maker::start(&name);
    let waiting = |timeout_ms: c_int, expected| {
        fork(|| {
            // SAFETY: all zero bytes are a sigaction: no flags, nothing masked.
            let mut action: sigaction = unsafe { mem::zeroed() };
            action.sa_sigaction = nothing as *const () as usize;
            action.sa_flags = SA_RESTART;
            // SAFETY: the handler does nothing.
            unsafe { sigaction(SIGUSR1, &action, ptr::null_mut()) };
            let opened = open_or_create_with(&name, page_size(), &within(timeout_ms), |_, _| {
                panic!("init")
            });
            assert_eq!(opened.err(), expected);
        })
    };
    let interrupted = waiting(WAIT_INTR, Some(EINTR));
    let patient = waiting(0, None);
    interrupted.interrupt(SIGUSR1);
    interrupted.join();
    patient.wait_asleep();
    patient.signal(SIGUSR1);
    patient.wait_asleep();
    maker.finish();
    patient.join();
    assert_eq!(unlink(&name), Ok(0));
}

/// A process that is stopped at any point of the call does not block other names.
#[apply(isolated)]
fn stopped_anywhere() {
    let _directory = NameDirectory::new();
    let (theirs, ours) = (name("theirs"), name("ours"));
    let mut random = Random(u64::from(std::process::id()));
    for _ in 0..scaled(60) {
        let other = fork(|| {
            loop {
                drop(open_or_create(&theirs, page_size(), (0, 0), |_, _| true).unwrap());
                let _ = unlink(&theirs);
            }
        });
        let until = Instant::now() + Duration::from_micros(200 + random.below(3000));
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        other.stop();
        let made = open_or_create_with(&ours, page_size(), &within(20_000), |_, _| true);
        drop(made.unwrap());
        assert_eq!(unlink(&ours), Ok(0));
        other.signal(SIGKILL);
        assert_eq!(other.reap(), SIGKILL);
    }
    make_and_remove(&theirs);
}

/// A process that can only read the directory holds every lock that it can get there.
#[apply(isolated)]
fn locks_of_a_reader() {
    let _directory = NameDirectory::new();
    let name = name("l");
    let run = |lock: c_int| {
        let ((mut ready, mut ready_writer), (mut go_reader, go_writer)) = (pipe(), pipe());
        let stranger = fork(|| {
            let directory = plain_open("/dev/shm", O_RDONLY | O_DIRECTORY).unwrap();
            // SAFETY: no pointers.
            assert_eq!(unsafe { flock(directory.as_raw_fd(), lock) }, 0);
            // SAFETY: all zero bytes are a lock of the whole file.
            let mut range: libc::flock = unsafe { mem::zeroed() };
            range.l_type = F_RDLCK as c_short;
            // SAFETY: the lock is ours.
            assert_eq!(
                unsafe { fcntl(directory.as_raw_fd(), F_OFD_SETLK, &range) },
                0
            );
            ready_writer.write_all(b"r").unwrap();
            go_reader.read_exact(&mut [0]).unwrap();
        });
        drop((ready_writer, go_reader));
        ready.read_exact(&mut [0]).unwrap();
        let made = open_or_create_with(&name, page_size(), &within(20_000), |_, _| true);
        drop(made.unwrap());
        assert_eq!(unlink(&name), Ok(0));
        (&go_writer).write_all(b"g").unwrap();
        stranger.join();
    };
    run(LOCK_SH);
    run(LOCK_EX);
}

/// Another user's lock: an existing region opens at once; for a missing one the call waits.
#[apply(isolated)]
#[needs(needs::root)]
fn another_user() {
    let _directory = NameDirectory::new();
    let name = name("u");
    // The state that a killed process leaves.
    let file = path(&name).replace("/dev/shm/", "/dev/shm/.") + ".lock";
    drop(plain_open(&file, O_CREAT | O_RDWR).unwrap());
    as_nobody(|| {
        let made = open_or_create_with(&name, page_size(), &within(50), |_, _| panic!("init"));
        assert_eq!(made.unwrap_err(), EACCES);
    });
    // A new region is opened although the file stays.
    let (mut ready, mut ready_writer) = pipe();
    let waiting = fork(|| {
        become_nobody().unwrap();
        ready_writer.write_all(b"r").unwrap();
        let opened = open_or_create(&name, page_size(), (0, 0), |_, _| panic!("init"));
        assert!(opened.unwrap().is_all(7));
    });
    ready.read_exact(&mut [0]).unwrap();
    waiting.wait_asleep();
    let region = create(page_size(), PUBLISH, 0o666).unwrap();
    region.fill(7);
    assert_eq!(region.publish(&name), Ok(0));
    waiting.join();
    as_nobody(|| drop(open_or_create(&name, page_size(), (0, 0), |_, _| panic!("init")).unwrap()));
    assert_eq!(unlink(&name), Ok(0));
    // The file's owner takes the lock over and removes the file.
    drop(open_or_create_with(&name, page_size(), &within(20_000), |_, _| true).unwrap());
    assert_eq!(unlink(&name), Ok(0));
}

/// The lock file cannot be opened as a region, and another type of file at its path is an error.
#[apply(isolated)]
fn lock_files() {
    let directory = NameDirectory::new();
    let name = name("f");
    let of_lock = c"/.a.lock";
    let region = create(page_size(), PUBLISH, 0).unwrap();
    assert_eq!(region.publish(of_lock), Err(EINVAL));
    let made = open_or_create(of_lock, page_size(), (0, 0), |_, _| panic!("init"));
    assert_eq!(made.unwrap_err(), EINVAL);
    let file = path(&name).replace("/dev/shm/", "/dev/shm/.") + ".lock";
    std::fs::create_dir(&file).unwrap();
    let made = open_or_create(&name, page_size(), (0, 0), |_, _| panic!("init"));
    assert_eq!(made.unwrap_err(), EEXIST);
    std::fs::remove_dir(&file).unwrap();
    std::os::unix::fs::symlink("/dev/null", &file).unwrap();
    let made = open_or_create(&name, page_size(), (0, 0), |_, _| panic!("init"));
    assert_eq!(made.unwrap_err(), EEXIST);
    std::fs::remove_file(&file).unwrap();
    // A lock file of a killed process is taken over and removed.
    drop(plain_open(&file, O_CREAT | O_RDWR).unwrap());
    drop(open_or_create_with(&name, page_size(), &within(20_000), |_, _| true).unwrap());
    assert_eq!(directory.files().len(), 1);
    assert_eq!(unlink(&name), Ok(0));
}
