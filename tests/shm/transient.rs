//! Transient regions: a name exists only while its region has a user.

use crate::support::*;
use crate::support::{open, unlink}; // libc has these names too
use common::child::fork;
use common::descriptors::pipe;
use common::stopped_call::StoppedCalls;
use libc::*;
use std::ffi::CStr;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::sync::atomic::Ordering;
use std::sync::mpsc;
use std::time::{Duration, Instant};
use std::{mem, ptr, thread};

const SIZE: usize = 4096 + 100;

fn make(name: &CStr, byte: u8) -> Region {
    let made = open_or_create(name, SIZE, (TRANSIENT, 0), |addr, size| {
        // SAFETY: this many bytes are readable.
        unsafe { ptr::write_bytes(addr, byte, size) };
        true
    });
    made.unwrap()
}

/// Leaves a region whose only user has exited without closing it.
fn leave_dead(name: &CStr, byte: u8) {
    fork(|| mem::forget(make(name, byte))).join();
}

/// A child that has a region open until the parent lets it end or kills it.
struct User {
    child: Child,
    go_writer: File,
}

impl User {
    fn start(open: impl FnOnce() -> Region) -> Self {
        let ((mut ready, mut ready_writer), (mut go_reader, go_writer)) = (pipe(), pipe());
        let child = fork(|| {
            let region = open();
            ready_writer.write_all(b"r").unwrap();
            let _ = go_reader.read(&mut [0]);
            drop(region);
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

/// The name ends when the last handle is closed; the next opener creates a new region.
#[apply(isolated)]
fn ends_with_the_last_handle() {
    let directory = NameDirectory::new();
    let name = name("t");
    let first = make(&name, 1);
    assert_eq!((first.size(), first.layout()), (SIZE, 0));
    let second = open(&name, 0).unwrap();
    let third = open_or_create(&name, SIZE, (0, 0), |_, _| panic!("init")).unwrap();
    drop(first);
    assert_eq!(second.is_current(), Ok(1));
    drop(second);
    assert!(open(&name, 0).unwrap().is_all(1), "the third is a user");
    drop(third);
    assert!(
        directory.files().is_empty(),
        "the last one removes the name"
    );
    assert_eq!(directory.used(), 0);
    leave_dead(&name, 1);
    let before = open_numbers();
    for flags in [0, RDONLY] {
        assert_eq!(open(&name, flags).unwrap_err(), ENOENT);
    }
    assert_eq!(open_numbers(), before);
    let new = make(&name, 2);
    assert!(new.is_all(2));
    drop(new);
    leave_dead(&name, 2);
    // A call without the flag also replaces it, and creates a permanent region.
    drop(open_or_create(&name, SIZE, (0, 0), |_, _| true).unwrap());
    assert!(open(&name, 0).unwrap().is_all(0));
    assert_eq!(directory.files().len(), 1);
    assert_eq!(unlink(&name), Ok(0));
    // A dead name can be removed.
    leave_dead(&name, 3);
    assert_eq!(unlink(&name), Ok(0));
    assert_eq!(directory.used(), 0);
}

#[apply(isolated)]
fn published() {
    let directory = NameDirectory::new();
    let name = name("p");
    let publish = |byte| {
        let region = create(SIZE, PUBLISH | TRANSIENT, 0).unwrap();
        region.fill(byte);
        (region.publish(&name), region)
    };
    let (published, first) = publish(1);
    assert_eq!(published, Ok(0));
    assert_eq!(publish(2).0, Err(EEXIST));
    assert!(open(&name, 0).unwrap().is_all(1));
    drop(first);
    assert!(directory.files().is_empty());
    // A dead name is free.
    leave_dead(&name, 1);
    let (published, second) = publish(3);
    assert_eq!(published, Ok(0));
    assert!(second.is_current() == Ok(1) && open(&name, 0).unwrap().is_all(3));
    drop(second);
    leave_dead(&name, 4);
    let lasting = create(SIZE, PUBLISH, 0).unwrap();
    assert_eq!(lasting.publish(&name), Ok(0));
    drop(lasting);
    drop(open(&name, 0).unwrap());
    assert_eq!(directory.files().len(), 1);
    assert_eq!(unlink(&name), Ok(0));
}

/// The region ends with its last user, for each way in which a process can end.
#[apply(isolated)]
fn ends_of_a_user() {
    let directory = NameDirectory::new();
    let name = name("e");
    let is_dead = || matches!(open(&name, 0), Err(ENOENT));
    // By a signal.
    let user = User::start(|| make(&name, 1));
    assert!(open(&name, RDONLY).unwrap().is_all(1));
    user.child.signal(SIGKILL);
    assert_eq!(user.child.reap(), SIGKILL);
    assert!(is_dead());
    // By exit without ipc_shm_close.
    fork(|| mem::forget(make(&name, 2))).join();
    assert!(is_dead());
    // By execve, since the descriptor is close-on-exec.
    let (mut alive, end) = pipe();
    let child = fork(|| {
        mem::forget(make(&name, 3));
        // SAFETY: no pointers; the other end stays open through execve, and reports the program's
        // end.
        assert_eq!(unsafe { fcntl(end.as_raw_fd(), F_SETFD, 0) }, 0);
        let args = [c"sleep".as_ptr(), c"100".as_ptr(), ptr::null()];
        // SAFETY: strings, and NULL at the end.
        unsafe { execvp(args[0], args.as_ptr()) };
    });
    drop(end);
    wait_until("the end of the name", is_dead);
    child.signal(SIGKILL);
    child.reap();
    assert_eq!(alive.read(&mut [0]).unwrap(), 0);
    // A child by fork is a user until it ends.
    let region = make(&name, 4);
    let child = User::start(|| Region(region.0));
    drop(region);
    assert!(open(&name, 0).unwrap().is_all(4));
    child.finish();
    assert!(is_dead());
    // A mapping without a descriptor is a user too.
    let region = make(&name, 5);
    // SAFETY: the region notices that its descriptor is closed.
    assert_eq!(unsafe { close(region.fd()) }, 0);
    assert!(open(&name, 0).unwrap().is_all(5));
    drop(region);
    assert!(is_dead());
    assert!(directory.files().is_empty());
    assert_eq!(directory.used(), 0);
}

/// A process that can only read the file cannot keep the region alive, whichever locks it takes.
#[apply(isolated)]
fn readers() {
    let _directory = NameDirectory::new();
    let name = name("r");
    let user = User::start(|| make(&name, 1));
    let reader = open(&name, RDONLY).unwrap();
    assert_eq!(reader.is_current(), Ok(1));
    user.child.signal(SIGKILL);
    user.child.reap();
    assert_eq!(reader.is_current(), Ok(0));
    assert_eq!(open(&name, 0).unwrap_err(), ENOENT);
    // With a lock of the whole file, which it gets while the region has no user.
    // SAFETY: all zero bytes are a lock of the whole file.
    let mut whole: flock = unsafe { mem::zeroed() };
    whole.l_type = F_RDLCK as c_short;
    // SAFETY: the lock is ours.
    assert_eq!(unsafe { fcntl(reader.fd(), F_OFD_SETLK, &whole) }, 0);
    assert_eq!(open(&name, 0).unwrap_err(), ENOENT);
    let new = make(&name, 2);
    assert!(new.is_all(2) && reader.is_all(1));
    // It can prevent others from becoming users; they get an error.
    drop(reader);
    let reader = plain_open(&path(&name), O_RDONLY).unwrap();
    whole.l_start = 1 << 61;
    whole.l_type = F_RDLCK as c_short;
    let locked = outcome(|| {
        // SAFETY: the lock is ours.
        (unsafe { fcntl(reader.as_raw_fd(), F_OFD_SETLK, &whole) }) as isize
    });
    assert_eq!(locked, Err(EAGAIN), "there is a user");
    whole.l_start = (1 << 61) + (1 << 60);
    // SAFETY: the lock is ours.
    assert_eq!(unsafe { fcntl(reader.as_raw_fd(), F_OFD_SETLK, &whole) }, 0);
    assert_eq!(open(&name, 0).unwrap_err(), EBUSY);
    drop(open(&name, RDONLY).unwrap());
    drop(reader);
    drop(open(&name, 0).unwrap());
    drop(new);
    assert_eq!(unlink(&name), Err(ENOENT));
}

/// A process that is stopped during an open delays the others only for a limited time.
#[apply(isolated)]
fn stopped_while_joining() {
    let _directory = NameDirectory::new();
    let name = name("j");
    leave_dead(&name, 1);
    let file = plain_open(&path(&name), O_RDWR).unwrap();
    // SAFETY: all zero bytes are a lock.
    let mut joining: flock = unsafe { mem::zeroed() };
    joining.l_type = F_WRLCK as c_short;
    joining.l_start = (1 << 61) + (1 << 60) + 12345;
    joining.l_len = 1;
    // SAFETY: the lock is ours.
    assert_eq!(unsafe { fcntl(file.as_raw_fd(), F_OFD_SETLK, &joining) }, 0);
    assert_eq!(open(&name, 0).unwrap_err(), EBUSY);
    let mut opts = with(TRANSIENT, 0);
    opts.timeout_ms = 50;
    let made = open_or_create_with(&name, SIZE, &opts, |_, _| panic!("init"));
    assert_eq!(made.unwrap_err(), ETIMEDOUT);
    // Once it is dead, the others continue.
    drop(file);
    assert_eq!(open(&name, 0).unwrap_err(), ENOENT);
    assert_eq!(unlink(&name), Ok(0));
}

/// Before each lock of an opener in turn, the last user closes the region and another process takes
/// the name. The opener never gets the old region.
#[apply(isolated)]
fn between_the_steps() {
    let _directory = NameDirectory::new();
    let name = name("s");
    let mut opts = with(TRANSIENT, 0);
    opts.timeout_ms = 50;
    for step in 1.. {
        let _case = Case(format!("step {step}"));
        let last_user = make(&name, 1);
        let (to_us, calls) = mpsc::channel();
        let opened = thread::scope(|scope| {
            let opener = scope.spawn(|| {
                to_us.send(StoppedCalls::of_this_thread(SYS_fcntl)).unwrap();
                open(&name, 0)
            });
            let calls = calls.recv().unwrap();
            let mut number = 0;
            let mut last_user = Some(last_user);
            let mut other = None;
            while !opener.is_finished() {
                let Some(call) = calls.next(1) else { continue };
                number += 1;
                if number == step {
                    drop(last_user.take());
                    other = open_or_create_with(&name, SIZE, &opts, |_, _| true).ok();
                }
                calls.resume(call);
            }
            (number >= step).then(|| (opener.join().unwrap(), other))
        });
        match opened {
            None => break,
            Some((Ok(opened), other)) => {
                let same = open(&name, 0).unwrap();
                assert_eq!(opened.is_current(), Ok(1));
                assert_eq!(opened.stat().st_ino, same.stat().st_ino);
                assert!(other.is_none_or(|other| other.stat().st_ino == same.stat().st_ino));
            }
            Some((Err(error), other)) => assert_eq!((error, other.is_none()), (ENOENT, true)),
        }
        assert!(step < 20);
    }
    let _ = unlink(&name); // fails if a process has found the region dead
}

/// All users are killed repeatedly at random times. No process sees content of users that are all
/// dead, and all processes that have the region open at the same time have the same region.
#[apply(isolated)]
fn killed_at_random() {
    let directory = NameDirectory::new();
    let name = name("k");
    let shared = create(page_size(), 0, 0).unwrap();
    let (opened, made, generation) = (shared.u64(0), shared.u64(1), shared.u64(2));
    let work = |seed: u64| {
        let mut random = Random(seed);
        loop {
            let opts = (TRANSIENT, 0);
            let mut is_maker = false;
            let region = open_or_create(&name, SIZE, opts, |addr, _| {
                is_maker = true;
                // SAFETY: within the region, aligned.
                unsafe { addr.cast::<u64>().write(generation.load(Ordering::Acquire)) };
                true
            });
            let region = region.unwrap();
            // All users of the earlier generations were dead before this process was created.
            let born = generation.load(Ordering::Acquire);
            assert_eq!(region.u64(0).load(Ordering::Relaxed), born);
            assert_eq!(region.is_current(), Ok(1));
            if is_maker { made } else { opened }.fetch_add(1, Ordering::Relaxed);
            let until = Instant::now() + Duration::from_micros(random.below(300));
            while Instant::now() < until {
                std::hint::spin_loop();
            }
        }
    };
    let mut random = Random(u64::from(std::process::id()));
    let (began, mut round) = (Instant::now(), 0);
    let has_enough = || opened.load(Ordering::Relaxed) > 10 && made.load(Ordering::Relaxed) > 10;
    while round < scaled(100) || goes_on(began, Duration::ZERO, has_enough) {
        round += 1;
        let _case = Case(format!("round {round}"));
        generation.store(round, Ordering::Release);
        let children: Vec<Child> = (0..4).map(|_| fork(|| work(random.next_u64()))).collect();
        let until = Instant::now() + Duration::from_micros(2000 + random.below(4000));
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        for child in &children {
            child.signal(SIGKILL);
        }
        for child in children {
            assert_eq!(child.reap(), SIGKILL, "killed, and not failed");
        }
        assert_eq!(open(&name, 0).err(), Some(ENOENT));
    }
    assert!(has_enough(), "{opened:?} opened, {made:?} made");
    drop(make(&name, 0)); // removes the lock file and the name
    assert!(directory.files().is_empty());
    assert_eq!(directory.used(), 0);
}
