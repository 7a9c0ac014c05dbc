//! Many processes at a mutex, a reader-writer lock, a condition and an event. They are killed or
//! stopped for a while, or they end by execve in a thread, by an exit after they have unmapped the
//! memory, or after the cancellation of a thread. All counts are right, and no wait for a lock
//! times out.

use crate::support::*;
use libc::{ETIMEDOUT, c_void};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};
use std::{array, ptr, thread};
use unixipc::ffi::event::IPC_EVENT_F_AUTO_RESET;

const PROCESSES: usize = 24;
/// Indices of words: the guarded pair of each lock, which equals the sum of its counts; the number
/// of repairs; the longest wait, in microseconds; the flag that ends the test; the number of sets
/// of the event and of consumed sets; for each lock, the count of each process.
const PAIRS: [[usize; 2]; 2] = [[0, 1], [2, 3]];
const REPAIRS: usize = 4;
const LONGEST: usize = 5;
const STOP: usize = 6;
const SETS: usize = 7;
const CONSUMED: usize = 8;
const COUNTS: [usize; 2] = [64, 64 + PROCESSES];

/// How a process ends if it is not killed before that.
#[derive(Clone, Copy)]
enum End {
    Killed,
    Exec,
    Unmapped,
    Cancelled,
}
const ENDS: [End; 4] = [End::Killed, End::Exec, End::Unmapped, End::Cancelled];

fn sum(space: &Space, lock: usize) -> u64 {
    let counts = COUNTS[lock]..COUNTS[lock] + PROCESSES;
    counts.map(|word| space.count(word)).sum()
}

/// The owner of a lock checks the data, or repairs it if the lock call reported a death.
fn check(space: &Space, lock: usize, locked: Outcome, consistent: fn(&Space) -> Outcome) {
    let expected = sum(space, lock);
    match locked {
        CLEAN => assert_eq!(PAIRS[lock].map(|word| space.count(word)), [expected; 2]),
        DIED => {
            for word in PAIRS[lock] {
                space.words[word].store(expected, SeqCst);
            }
            space.words[REPAIRS].fetch_add(1, SeqCst);
            assert_eq!(consistent(space), CLEAN);
        }
        other => panic!("{other:?}"),
    }
}

fn change(space: &Space, lock: usize, process: usize) {
    space.words[COUNTS[lock] + process].fetch_add(1, SeqCst);
    for word in PAIRS[lock] {
        thread::yield_now();
        space.words[word].fetch_add(1, SeqCst);
    }
}

fn timed_lock(space: &Space, lock: impl FnOnce() -> Outcome) -> Outcome {
    let start = Instant::now();
    let locked = lock();
    space.words[LONGEST].fetch_max(start.elapsed().as_micros() as u64, SeqCst);
    locked
}

/// Uses each object once.
fn work(space: &Space, process: usize, random: &mut Random) {
    let locked = timed_lock(space, || space.lock(LONG));
    check(space, 0, locked, Space::consistent);
    if random.below(4) == 0 {
        let waited = space.wait(20);
        assert!(
            matches!(waited, CLEAN | DIED | Err(ETIMEDOUT)),
            "{waited:?}"
        );
        let held = if waited == DIED { DIED } else { CLEAN };
        check(space, 0, held, Space::consistent);
    }
    change(space, 0, process);
    assert_eq!(space.unlock(), CLEAN);
    let signal = [Space::signal, Space::broadcast][random.below(2) as usize];
    assert_eq!(signal(space), CLEAN);

    match random.below(4) {
        0 => {
            space.words[SETS].fetch_add(1, SeqCst);
            assert_eq!(space.event_set(), CLEAN);
        }
        1 => match space.event_wait(5) {
            CLEAN => drop(space.words[CONSUMED].fetch_add(1, SeqCst)),
            waited => assert_eq!(waited, Err(ETIMEDOUT)),
        },
        _ => {}
    }

    if random.below(3) == 0 {
        let locked = timed_lock(space, || space.wrlock(LONG));
        check(space, 1, locked, Space::rw_consistent);
        change(space, 1, process);
        assert_eq!(space.wrunlock(), CLEAN);
    } else {
        let locked = timed_lock(space, || space.rdlock(LONG));
        if locked == CLEAN {
            let pair = PAIRS[1].map(|word| space.count(word));
            assert_eq!(pair, [sum(space, 1); 2]);
        }
        assert_eq!(space.rdunlock(), CLEAN);
    }
}

/// The thread acquires a random lock, and keeps it until it ends.
fn acquire_one(space: &Space, process: usize, random: &mut Random) {
    match random.below(3) {
        0 => {
            let locked = space.lock(LONG);
            check(space, 0, locked, Space::consistent);
            change(space, 0, process);
        }
        1 => {
            let locked = space.wrlock(LONG);
            check(space, 1, locked, Space::rw_consistent);
            change(space, 1, process);
        }
        _ => assert!(matches!(space.rdlock(LONG), CLEAN | DIED)),
    }
}

struct Worker {
    space: &'static Space,
    process: usize,
    seed: u64,
}

fn run(worker: &Worker, end: End) {
    let Worker {
        space,
        process,
        seed,
    } = *worker;
    let random = &mut Random(seed);
    let rounds = match end {
        End::Killed => u64::MAX,
        _ => random.below(30),
    };
    for _ in 0..rounds {
        if space.count(STOP) != 0 {
            return;
        }
        work(space, process, random);
    }
    match end {
        End::Killed => {}
        End::Exec => thread::scope(|scope| {
            scope.spawn(|| {
                acquire_one(space, process, random);
                panic!("{}", Command::new("sleep").arg("100").exec());
            });
        }),
        End::Unmapped => {
            acquire_one(space, process, random);
            space.unmap();
        }
        End::Cancelled => cancel_a_worker(worker, random),
    }
}

fn cancel_a_worker(worker: &Worker, random: &mut Random) {
    unsafe extern "C" {
        fn pthread_cancel(thread: libc::pthread_t) -> libc::c_int;
    }
    extern "C" fn run(worker: *mut c_void) -> *mut c_void {
        // SAFETY: the argument of the thread, which outlives it.
        let worker = unsafe { &*worker.cast::<Worker>() };
        let random = &mut Random(worker.seed + 1);
        while worker.space.count(STOP) == 0 {
            work(worker.space, worker.process, random);
        }
        ptr::null_mut()
    }
    let mut thread = 0;
    let argument = ptr::from_ref(worker).cast_mut().cast();
    // SAFETY: the argument outlives the thread, which is joined.
    let made = unsafe { libc::pthread_create(&mut thread, ptr::null(), run, argument) };
    assert_eq!(made, 0);
    thread::sleep(Duration::from_micros(random.below(20_000)));
    // SAFETY: a thread that has not been joined.
    unsafe { pthread_cancel(thread) };
    // SAFETY: as above.
    unsafe { libc::pthread_join(thread, ptr::null_mut()) };
}

#[apply(isolated)]
fn in_every_way() {
    let space = space();
    assert_eq!(space.event_init(IPC_EVENT_F_AUTO_RESET), CLEAN);
    let seconds = std::env::var("UNIXIPC_TEST_SECONDS").map_or(3, |text| text.parse().unwrap());
    let time = Duration::from_secs(seconds);
    let mut random = Random(17);
    let start = |process: usize, random: &mut Random| {
        let worker = Worker {
            space,
            process,
            seed: random.next_u64(),
        };
        let end = ENDS[random.below(4) as usize];
        fork(move || run(&worker, end))
    };
    let mut children: [Child; PROCESSES] = array::from_fn(|process| start(process, &mut random));
    let begin = Instant::now();
    let mut ends = 0;
    while goes_on(begin, time, || {
        sum(space, 0) > 100 && ends > 50 && space.count(REPAIRS) > 3
    }) {
        thread::sleep(Duration::from_micros(random.below(4000)));
        let process = random.below(PROCESSES as u64) as usize;
        let child = &children[process];
        if random.below(3) == 0 {
            child.signal(libc::SIGSTOP);
            thread::sleep(Duration::from_micros(random.below(20_000)));
            child.signal(libc::SIGCONT);
        } else {
            child.signal(libc::SIGKILL);
            let new = start(process, &mut random);
            let old = std::mem::replace(&mut children[process], new);
            let status = old.reap();
            let killed = libc::WIFSIGNALED(status) && libc::WTERMSIG(status) == libc::SIGKILL;
            assert!(
                killed || status == 0,
                "process {process}: status {status:#x}"
            );
            ends += 1;
        }
    }
    space.arrive(STOP);
    // Processes that have executed another program do not end by themselves.
    drop(children);
    let locked = space.lock(LONG);
    check(space, 0, locked, Space::consistent);
    let locked = space.wrlock(LONG);
    check(space, 1, locked, Space::rw_consistent);
    println!(
        "{} and {} changes, {} of {} sets consumed, {ends} ends, {} repairs, longest wait {} ms",
        sum(space, 0),
        sum(space, 1),
        space.count(CONSUMED),
        space.count(SETS),
        space.count(REPAIRS),
        space.count(LONGEST) / 1000
    );
    assert!((1..=space.count(SETS)).contains(&space.count(CONSUMED)));
    assert!(sum(space, 0) > 0 && ends > 0 && space.count(REPAIRS) > 0);
}
