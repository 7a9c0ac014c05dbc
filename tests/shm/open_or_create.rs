//! ipc_shm_open_or_create.

use crate::support::*;
use crate::support::{open, unlink}; // libc has these names too
use common::child::fork;
use common::descriptors::pipe;
use libc::*;
use std::fs::File;
use std::io::{Read, Write};
use std::ptr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use unixipc::ffi::shm::*;

const SIZE: usize = 3 * 4096;

#[apply(isolated)]
fn arguments() {
    let directory = NameDirectory::new();
    let name = name("a");
    let never = |_: *mut u8, _| -> bool { panic!("init") };
    assert_eq!(open_or_create(&name, 0, (0, 0), never).unwrap_err(), EINVAL);
    for bit in 0..32 {
        let flag = 1 << bit;
        if (PUBLISH | HUGE | PREFAULT | LOCK | TRANSIENT | REPLACE_STALE) & flag == 0 {
            let made = open_or_create(&name, 1, (flag, 0), never);
            assert_eq!(made.unwrap_err(), EINVAL, "{flag:#x}");
        }
        if 0o666 & flag == 0 {
            let made = open_or_create(&name, 1, (0, flag), never);
            assert_eq!(made.unwrap_err(), EINVAL, "{flag:#o}");
        }
    }
    let (null, no_opts) = (ptr::null_mut(), ptr::null());
    // SAFETY: NULL is refused.
    let made = new_region(|ret| unsafe {
        ipc_shm_open_or_create(ptr::null(), 1, None, null, no_opts, 0, ret)
    });
    assert_eq!(made.unwrap_err(), EINVAL);
    let n = name.as_ptr();
    // SAFETY: NULL is refused.
    let made = outcome(|| unsafe {
        ipc_shm_open_or_create(n, 1, None, null, no_opts, 0, ptr::null_mut()) as isize
    });
    assert_eq!(made, Err(EINVAL));
    assert!(directory.names().is_empty());
    // No init and no options: zero bytes, 0600.
    // SAFETY: a string and an out pointer.
    let made =
        new_region(|ret| unsafe { ipc_shm_open_or_create(n, 7, None, null, no_opts, 0, ret) });
    let made = made.unwrap();
    assert!(made.is_all(0) && made.size() == 7 && made.stat().st_mode & 0o7777 == 0o600);
    assert_eq!(unlink(&name), Ok(0));
}

#[apply(isolated)]
fn create_then_open() {
    let directory = NameDirectory::new();
    let name = name("n");
    let made = open_or_create(&name, SIZE, (PUBLISH, 0o640), |addr, size| {
        assert_eq!(size, SIZE);
        assert!(directory.names().is_empty(), "no process sees it yet");
        // SAFETY: the region has this many bytes.
        unsafe { ptr::write_bytes(addr, 8, size) };
        true
    })
    .unwrap();
    assert_eq!(directory.names(), [&name.to_str().unwrap()[1..]]);
    assert!(made.is_all(8) && made.size() == SIZE);
    for size in [1, SIZE / 2, SIZE] {
        let opened = open_or_create(&name, size, (0, 0), |_, _| panic!("init")).unwrap();
        assert!(opened.is_all(8) && opened.size() == SIZE);
        assert_eq!(opened.stat().st_mode & 0o7777, 0o640);
    }
    let larger = open_or_create(&name, SIZE + 1, (0, 0), |_, _| panic!("init"));
    assert_eq!(larger.unwrap_err(), ESTALE);
    assert_eq!(unlink(&name), Ok(0));
}

#[apply(isolated)]
fn init_fails() {
    let directory = NameDirectory::new();
    let name = name("f");
    let made = open_or_create(&name, SIZE, (0, 0), |_, _| false);
    assert_eq!(made.unwrap_err(), ECANCELED);
    assert!(directory.names().is_empty());
    drop(open_or_create(&name, SIZE, (0, 0), |_, _| true).unwrap());
    assert_eq!(unlink(&name), Ok(0));
}

/// init may make the call itself, for another name.
#[apply(isolated)]
fn nested() {
    let _directory = NameDirectory::new();
    let (outer, inner) = (name("outer"), name("inner"));
    let made = open_or_create(&outer, 1, (0, 0), |_, _| {
        open_or_create(&inner, 2, (0, 0), |_, _| true)
            .unwrap()
            .size()
            == 2
    });
    assert_eq!(made.unwrap().size(), 1);
    assert_eq!((unlink(&outer), unlink(&inner)), (Ok(0), Ok(0)));
}

/// Another program, which does not use the lock, takes the name while init runs.
#[apply(isolated)]
fn overtaken() {
    let directory = NameDirectory::new();
    let name = name("o");
    let mut runs = 0;
    let made = open_or_create(&name, 1, (0, 0), |_, _| {
        runs += 1;
        let rival = create(2 * page_size(), PUBLISH, 0).unwrap();
        rival.fill(2);
        rival.publish(&name) == Ok(0)
    });
    let made = made.unwrap();
    assert!(runs == 1 && made.is_all(2) && made.size() == 2 * page_size());
    assert_eq!(directory.names().len(), 1);
    assert_eq!(unlink(&name), Ok(0));
}

/// A child that stays inside init until it reads a byte from a pipe.
struct PausedInit {
    child: Child,
    go_writer: File,
}

impl PausedInit {
    fn start(name: &std::ffi::CStr) -> Self {
        let ((mut ready, mut ready_writer), (mut go_reader, go_writer)) = (pipe(), pipe());
        let child = fork(|| {
            let made = open_or_create(name, SIZE, (0, 0), |addr, size| {
                ready_writer.write_all(b"t").unwrap();
                go_reader.read_exact(&mut [0]).unwrap();
                // SAFETY: the region has this many bytes.
                unsafe { ptr::write_bytes(addr, 1, size) };
                true
            });
            assert!(made.unwrap().is_all(1));
        });
        drop((ready_writer, go_reader));
        ready.read_exact(&mut [0]).unwrap();
        Self { child, go_writer }
    }
}

/// Other processes wait for the creator, and open its region.
#[apply(isolated)]
fn wait_for_the_maker() {
    let _directory = NameDirectory::new();
    let name = name("w");
    let mut inside = PausedInit::start(&name);
    let waiting: Vec<Child> = (0..3)
        .map(|_| {
            fork(|| {
                let opened = open_or_create(&name, SIZE, (0, 0), |_, _| panic!("init"));
                assert!(opened.unwrap().is_all(1));
            })
        })
        .collect();
    for child in &waiting {
        child.wait_asleep();
    }
    // The region is not visible yet, and other names are free.
    assert_eq!(open(&name, 0).unwrap_err(), ENOENT);
    let other = crate::support::name("other");
    drop(open_or_create(&other, 1, (0, 0), |_, _| true).unwrap());
    assert_eq!(unlink(&other), Ok(0));
    inside.go_writer.write_all(b"g").unwrap();
    inside.child.join();
    waiting.into_iter().for_each(Child::join);
    assert_eq!(unlink(&name), Ok(0));
}

/// The creator is killed inside init: one of the waiting processes creates a new region.
#[apply(isolated)]
fn killed_in_init() {
    let directory = NameDirectory::new();
    let name = name("k");
    let inside = PausedInit::start(&name);
    let count = create(page_size(), 0, 0).unwrap();
    let waiting: Vec<Child> = (0..3)
        .map(|_| {
            fork(|| {
                let opened = open_or_create(&name, SIZE, (0, 0), |addr, size| {
                    count.u32(0).fetch_add(1, Ordering::Relaxed);
                    // SAFETY: the region has this many bytes.
                    assert!(unsafe { std::slice::from_raw_parts(addr, size) } == [0; SIZE]);
                    // SAFETY: as above.
                    unsafe { ptr::write_bytes(addr, 2, size) };
                    true
                });
                assert!(opened.unwrap().is_all(2));
            })
        })
        .collect();
    for child in &waiting {
        child.wait_asleep();
    }
    inside.child.signal(SIGKILL);
    assert_eq!(inside.child.reap(), SIGKILL);
    waiting.into_iter().for_each(Child::join);
    assert_eq!(count.u32(0).load(Ordering::Relaxed), 1);
    assert_eq!(directory.names().len(), 1);
    assert_eq!(unlink(&name), Ok(0));
}

/// A child forked inside init survives the call, and does not prevent other processes from creating
/// the next region of this name.
#[apply(isolated)]
fn child_of_the_maker() {
    let _directory = NameDirectory::new();
    let name = name("c");
    let (mut go_reader, go_writer) = pipe();
    let mut child = None;
    let made = open_or_create(&name, SIZE, (0, 0), |_, _| {
        child = Some(fork(|| go_reader.read_exact(&mut [0]).unwrap()));
        true
    });
    drop(made.unwrap());
    assert_eq!(unlink(&name), Ok(0));
    let next = fork(|| {
        // SAFETY: no pointers.
        unsafe { alarm(10) };
        drop(open_or_create(&name, SIZE, (0, 0), |_, _| true).unwrap());
    });
    next.join();
    assert_eq!(unlink(&name), Ok(0));
    (&go_writer).write_all(b"g").unwrap();
    child.unwrap().join();
}

/// A hundred processes start at once: init runs once, and all see its result.
#[apply(isolated)]
fn hundred_at_once() {
    let directory = NameDirectory::new();
    let shared = create(page_size(), 0, 0).unwrap();
    let runs = shared.u32(0);
    let start = StartSignal::new();
    for round in 0..scaled(5) {
        let name = name(&format!("h{round}"));
        runs.store(0, Ordering::Relaxed);
        let children: Vec<Child> = (0..100)
            .map(|_| {
                fork(|| {
                    start.wait();
                    let region = open_or_create(&name, SIZE, (0, 0), |addr, size| {
                        runs.fetch_add(1, Ordering::Relaxed);
                        for at in 0..size {
                            // SAFETY: within the region.
                            unsafe { addr.add(at).write_volatile(at as u8) };
                        }
                        true
                    });
                    let region = region.unwrap();
                    let mut at = 0..;
                    assert!(
                        region
                            .bytes()
                            .iter()
                            .all(|b| *b == at.next().unwrap() as u8)
                    );
                })
            })
            .collect();
        start.give(children.len());
        children.into_iter().for_each(Child::join);
        assert_eq!(runs.load(Ordering::Relaxed), 1);
        assert_eq!(directory.names().len(), 1);
        assert_eq!(unlink(&name), Ok(0));
    }
}

/// Several processes open or create the region, and are killed one after the other at random times.
/// Each opened region is complete, and exactly one process has initialised it.
#[apply(isolated)]
fn killed_at_random() {
    let directory = NameDirectory::new();
    let name = name("r");
    let shared = create(page_size(), 0, 0).unwrap();
    let (inits, opens) = (shared.u64(0), shared.u64(1));
    let work = || {
        loop {
            let region = open_or_create(&name, SIZE, (0, 0), |addr, size| {
                inits.fetch_add(1, Ordering::Relaxed);
                let words = size / 8;
                let own = u64::from(std::process::id());
                for at in 0..words {
                    // SAFETY: within the region, aligned.
                    let word = unsafe { addr.cast::<u64>().add(at) };
                    // SAFETY: as above.
                    assert_eq!(unsafe { word.read_volatile() }, 0);
                    // SAFETY: as above.
                    unsafe { word.write_volatile(own) };
                }
                true
            })
            .unwrap();
            let first = region.u64(0).load(Ordering::Relaxed);
            let words = SIZE / 8;
            assert!(first != 0);
            assert!((1..words).all(|at| region.u64(at).load(Ordering::Relaxed) == first));
            opens.fetch_add(1, Ordering::Relaxed);
            drop(region);
            // Two processes may remove it.
            let removed = unlink(&name);
            assert!(matches!(removed, Ok(_) | Err(ENOENT)), "{removed:?}");
        }
    };
    let mut random = Random(u64::from(std::process::id()));
    let mut children: Vec<Child> = (0..4).map(|_| fork(work)).collect();
    let (began, mut kills) = (Instant::now(), 0);
    let has_enough = || inits.load(Ordering::Relaxed) > 10 && opens.load(Ordering::Relaxed) > 10;
    while kills < scaled(400) || goes_on(began, Duration::ZERO, has_enough) {
        kills += 1;
        let until = Instant::now() + Duration::from_micros(random.below(4000));
        while Instant::now() < until {
            std::hint::spin_loop();
        }
        let victim = children.remove(random.below(4) as usize);
        victim.signal(SIGKILL);
        assert_eq!(victim.reap(), SIGKILL, "killed, and not failed");
        children.push(fork(work));
    }
    for child in children {
        child.signal(SIGKILL);
        assert_eq!(child.reap(), SIGKILL);
    }
    assert!(has_enough(), "{inits:?} inits, {opens:?} opened");
    make_and_remove(&name);
    assert!(directory.files().is_empty());
}
