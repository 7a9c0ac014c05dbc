//! ipc_event.

use crate::support::*;
use common::filter::refuse_where;
use libc::{
    BPF_JSET, EAGAIN, EINVAL, ENOSYS, EPERM, EPROTO, ESTALE, ETIMEDOUT, SYS_futex, c_int, c_uint,
};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::SeqCst};
use std::time::{Duration, Instant};
use std::{ptr, slice, thread};
use unixipc::ffi::event::*;
use unixipc::sys::futex::{self, Update};

const AUTO: c_uint = IPC_EVENT_F_AUTO_RESET;
const SET: c_uint = IPC_EVENT_F_SET;
const IS_SET: Outcome = Ok(1);
const IS_CLEAR: Outcome = Ok(0);
/// The 32-bit words of an event that a test reads or overwrites.
const STATE: usize = 3;
const WAITERS: usize = 4;

/// Two events, and words by which the processes of a test agree.
#[repr(C)]
struct Room {
    events: [UnsafeCell<ipc_event>; 2],
    words: [AtomicU64; 64],
}

// SAFETY: the events are for several threads, and only the library accesses their content.
unsafe impl Sync for Room {}

/// New memory with events, which this process and its children have until they end.
fn room(flags: c_uint) -> &'static Room {
    let access = libc::PROT_READ | libc::PROT_WRITE;
    let shared = libc::MAP_SHARED | libc::MAP_ANONYMOUS;
    // SAFETY: a new mapping.
    let at = unsafe { libc::mmap(ptr::null_mut(), size_of::<Room>(), access, shared, -1, 0) };
    assert_ne!(at, libc::MAP_FAILED);
    // SAFETY: zero bytes are a Room, which stays mapped.
    let room = unsafe { &*at.cast::<Room>() };
    for which in [0, 1] {
        // SAFETY: an event of the room.
        let made = outcome(|| unsafe { ipc_event_init(room.at(which), flags) } as isize);
        assert_eq!(made, CLEAN);
    }
    room
}

impl Room {
    fn at(&self, which: usize) -> *mut ipc_event {
        self.events[which].get()
    }

    #[track_caller]
    fn init(&self, flags: c_uint) -> Outcome {
        // SAFETY: an event of the room.
        outcome(|| unsafe { ipc_event_init(self.at(0), flags) } as isize)
    }

    #[track_caller]
    fn set(&self, which: usize) {
        // SAFETY: an event of the room.
        let set = outcome(|| unsafe { ipc_event_set(self.at(which)) } as isize);
        assert_eq!(set, CLEAN);
    }

    #[track_caller]
    fn clear(&self) {
        // SAFETY: an event of the room.
        let clear = outcome(|| unsafe { ipc_event_clear(self.at(0)) } as isize);
        assert_eq!(clear, CLEAN);
    }

    #[track_caller]
    fn is_set(&self) -> Outcome {
        // SAFETY: an event of the room.
        outcome(|| unsafe { ipc_event_is_set(self.at(0)) } as isize)
    }

    #[track_caller]
    fn wait_at(&self, which: usize, timeout_ms: c_int) -> Outcome {
        // SAFETY: an event of the room.
        outcome(|| unsafe { ipc_event_wait(self.at(which), timeout_ms) } as isize)
    }

    #[track_caller]
    fn wait(&self, timeout_ms: c_int) -> Outcome {
        self.wait_at(0, timeout_ms)
    }

    /// The 32-bit words of the first event.
    fn event_words(&self) -> &[AtomicU32] {
        // SAFETY: an event of the room; its bytes may be anything.
        unsafe { slice::from_raw_parts(self.at(0).cast(), size_of::<ipc_event>() / 4) }
    }

    fn is_announced(&self) -> bool {
        !self.event_words()[WAITERS].load(SeqCst).is_multiple_of(2)
    }

    fn count(&self, word: usize) -> u64 {
        self.words[word].load(SeqCst)
    }

    fn arrive(&self, word: usize) {
        self.words[word].fetch_add(1, SeqCst);
    }

    #[track_caller]
    fn wait_for(&self, word: usize, number: u64) {
        wait_until("a count", || self.count(word) >= number);
    }

    /// A child that waits once, counts word 0, and is asleep now.
    fn waiter(&'static self, timeout_ms: c_int) -> Child {
        let child = fork(|| {
            assert_eq!(self.wait(timeout_ms), CLEAN);
            self.arrive(0);
        });
        child.wait_asleep();
        child
    }
}

#[apply(isolated)]
fn arguments() {
    let room = room(0);
    let askew = room.at(0).wrapping_byte_add(8);
    for bad in [ptr::null_mut(), askew] {
        // SAFETY: the calls read through no bad pointer.
        let calls: [&dyn Fn() -> c_int; 5] = [
            &|| unsafe { ipc_event_init(bad, 0) },
            &|| unsafe { ipc_event_set(bad) },
            &|| unsafe { ipc_event_clear(bad) },
            &|| unsafe { ipc_event_wait(bad, -1) },
            &|| unsafe { ipc_event_is_set(bad) },
        ];
        for call in calls {
            assert_eq!(outcome(|| call() as isize), Err(EINVAL));
        }
    }
    for flags in [4, 8, AUTO | 4, 1 << 31, c_uint::MAX] {
        assert_eq!(room.init(flags), Err(EINVAL), "{flags:#x}");
    }
    for timeout in [-3, c_int::MIN] {
        assert_eq!(room.wait(timeout), Err(EINVAL));
    }

    let all_fail = |errno| {
        let at = room.at(0);
        // SAFETY: an event of the room.
        let calls: [&dyn Fn() -> c_int; 4] = [
            &|| unsafe { ipc_event_set(at) },
            &|| unsafe { ipc_event_clear(at) },
            &|| unsafe { ipc_event_wait(at, -1) },
            &|| unsafe { ipc_event_is_set(at) },
        ];
        for call in calls {
            assert_eq!(outcome(|| call() as isize), Err(errno));
        }
    };
    let mut random = Random(4);
    for _ in 0..100 {
        scribble(room.event_words(), &mut random);
        all_fail(EPROTO);
    }
    assert_eq!(room.init(0), CLEAN);
    room.event_words()[1].fetch_add(1, SeqCst);
    all_fail(ESTALE);
    room.event_words()[0].store(0, SeqCst);
    all_fail(EPROTO);
}

/// Memory of any content becomes an event.
#[apply(isolated)]
fn any_contents() {
    let room = room(0);
    let mut random = Random(5);
    for round in 0..100 {
        scribble(room.event_words(), &mut random);
        let flags = round % 4;
        assert_eq!(room.init(flags), CLEAN);
        assert!(!room.is_announced());
        let set = flags & SET != 0;
        assert_eq!(room.is_set(), if set { IS_SET } else { IS_CLEAR });
        assert_eq!(room.wait(0), if set { CLEAN } else { Err(EAGAIN) });
        let stays = set && flags & AUTO == 0;
        assert_eq!(room.is_set(), if stays { IS_SET } else { IS_CLEAR });
    }
}

#[apply(isolated)]
fn manual_reset() {
    let room = room(0);
    for timeout in [-1, 0, 50, INTR] {
        room.clear();
        assert_eq!(room.is_set(), IS_CLEAR);
        assert_eq!(room.wait(0), Err(EAGAIN));
        room.set(0);
        room.set(0);
        for _ in 0..3 {
            assert_eq!(room.is_set(), IS_SET);
            assert_eq!(room.wait(timeout), CLEAN);
        }
        room.clear();
        room.clear();
        assert_eq!(room.wait(0), Err(EAGAIN));
    }
}

#[apply(isolated)]
fn automatic_reset() {
    let room = room(AUTO);
    for timeout in [-1, 0, 50, INTR] {
        assert_eq!(room.wait(0), Err(EAGAIN));
        // A set while it is set stays one.
        room.set(0);
        room.set(0);
        assert_eq!(room.is_set(), IS_SET);
        assert_eq!(room.wait(timeout), CLEAN);
        assert_eq!(room.is_set(), IS_CLEAR);
        assert_eq!(room.wait(0), Err(EAGAIN));
        room.set(0);
        room.clear();
        assert_eq!(room.wait(0), Err(EAGAIN));
    }
}

/// The states wrap around.
#[apply(isolated)]
fn many_states() {
    for flags in [0, AUTO] {
        let room = room(flags);
        room.event_words()[STATE].store(u32::MAX - 3, SeqCst);
        room.event_words()[WAITERS].store(u32::MAX - 3, SeqCst);
        for _ in 0..6 {
            assert_eq!(room.wait(2), Err(ETIMEDOUT));
            assert!(room.is_announced());
            room.set(0);
            assert!(!room.is_announced());
            assert_eq!(room.wait(-1), CLEAN);
            room.clear();
        }
    }
}

#[apply(isolated)]
fn time_outs() {
    for flags in [0, AUTO] {
        let room = room(flags);
        for timeout in [1, 50, 250] {
            let (waited, took) = timed_ms(|| room.wait(timeout));
            assert_eq!(waited, Err(ETIMEDOUT));
            let expected = timeout as u128..timeout as u128 + 5000;
            assert!(expected.contains(&took), "{took} ms");
        }
        count_signals(0);
        storm(500);
        let (waited, took) = timed_ms(|| room.wait(200));
        storm(0);
        assert_eq!(waited, Err(ETIMEDOUT));
        assert!((200..5000).contains(&took), "{took} ms");
    }
}

#[apply(isolated)]
fn interrupted() {
    for flags in [0, AUTO] {
        let room = room(flags);
        ends_with_signal(|| room.wait(INTR));
    }
}

/// A set releases all threads that wait, even if the event is clear when they run.
#[apply(isolated)]
fn manual_releases_all() {
    let room = room(0);
    for (round, clear) in [false, true].into_iter().enumerate() {
        let timeouts = [-1, INTR, LONG];
        let waiters: Vec<Child> = (0..12).map(|i| room.waiter(timeouts[i % 3])).collect();
        waiters.iter().for_each(Child::stop);
        room.set(0);
        if clear {
            room.clear();
        }
        for waiter in waiters {
            waiter.signal(libc::SIGCONT);
            waiter.join();
        }
        assert_eq!(room.count(0), 12 * (round as u64 + 1));
        room.clear();
    }
}

/// Each set releases one thread.
#[apply(isolated)]
fn automatic_releases_one() {
    let room = room(AUTO);
    let waiters: Vec<Child> = (0..6).map(|_| room.waiter(LONG)).collect();
    for released in 1..=6 {
        room.set(0);
        room.wait_for(0, released);
        assert_eq!(room.is_set(), IS_CLEAR);
    }
    waiters.into_iter().for_each(Child::join);
    assert_eq!(room.count(0), 6);
    assert_eq!(room.wait(0), Err(EAGAIN));
}

/// No call makes a system call if no thread waits. A waiter that has gone costs one.
#[apply(isolated)]
fn cost() {
    for flags in [0, AUTO] {
        let room = room(flags);
        for waited in [false, true] {
            if waited {
                assert_eq!(room.wait(2), Err(ETIMEDOUT));
                assert!(room.is_announced());
                room.set(0);
                room.clear();
            }
            assert!(!room.is_announced());
            fork(|| {
                // SAFETY: no pointers; from here on a system call kills.
                let done = unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_STRICT) };
                assert_eq!(done, 0);
                let at = room.at(0);
                let mut all = true;
                for timeout in [-1, 0, 1000, INTR] {
                    // SAFETY: an event of the room. Nothing is reported but by the end.
                    all &= unsafe { ipc_event_set(at) } == 0;
                    // SAFETY: as above.
                    all &= unsafe { ipc_event_is_set(at) } == 1;
                    // SAFETY: as above.
                    all &= unsafe { ipc_event_wait(at, timeout) } == 0;
                    // SAFETY: as above.
                    all &= unsafe { ipc_event_clear(at) } == 0;
                }
                // SAFETY: exit, not exit_group, which the filter refuses.
                unsafe { libc::syscall(libc::SYS_exit, if all { 0 } else { 1 }) };
            })
            .join();
        }
    }
}

/// A waiter that is killed leaves its announcement, which the next set withdraws.
#[apply(isolated)]
fn killed_waiter() {
    for flags in [0, AUTO] {
        let room = room(flags);
        kill(room.waiter(-1));
        assert!(room.is_announced());
        room.set(0);
        assert!(!room.is_announced());
        assert_eq!(room.wait(0), CLEAN);
    }
}

/// The call of the kernel that sets and wakes, of which an event depends: it wakes as many threads
/// as asked, also if the old value is 0.
#[apply(isolated)]
fn wakes_as_many_as_asked() {
    let room = room(0);
    let word = &room.event_words()[STATE];
    for (update, first) in [
        (Update::SetLowestBit, 0),
        (Update::Increment, 0),
        (Update::Increment, 7),
    ] {
        word.store(first, SeqCst);
        let sleepers: Vec<Child> = (0..4)
            .map(|_| {
                let sleeper = fork(|| {
                    futex::wait(word, first, None).unwrap();
                });
                sleeper.wait_asleep();
                sleeper
            })
            .collect();
        assert_eq!(futex::update_and_wake(word, update, 1), Ok(1));
        assert_eq!(word.load(SeqCst), first + 1);
        assert_eq!(futex::update_and_wake(word, update, 2), Ok(2));
        assert_eq!(futex::wake(word, c_int::MAX), 1);
        sleepers.into_iter().for_each(Child::join);
    }
}

/// Keeps this process and its children on the processor on which it runs.
fn pin_to_one_processor() {
    // SAFETY: takes nothing.
    let processor = unsafe { libc::sched_getcpu() };
    // SAFETY: all zero bytes are an empty set.
    let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    // SAFETY: changes a set of ours; a processor beyond it would panic.
    unsafe { libc::CPU_SET(processor as usize, &mut set) };
    // SAFETY: the set is ours, the size its own.
    let done = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) };
    assert_eq!(done, 0);
}

/// A waiter that is killed after it was woken has consumed nothing: another one gets the event.
#[apply(isolated)]
fn killed_after_its_wake_up() {
    pin_to_one_processor();
    for _ in 0..scaled(20) {
        let room = room(AUTO);
        let victim = fork(|| {
            let none = libc::sched_param { sched_priority: 0 };
            // SAFETY: the parameters are ours.
            assert_eq!(
                unsafe { libc::sched_setscheduler(0, libc::SCHED_IDLE, &none) },
                0
            );
            let _ = room.wait(-1);
        });
        victim.wait_asleep();
        let other = room.waiter(-1);
        room.set(0);
        // It is woken, and does not run before this process sleeps.
        victim.signal(libc::SIGKILL);
        victim.reap();
        wait_until("the event is consumed", || room.is_set() == IS_CLEAR);
        if !other.has_ended() {
            // The victim may have consumed it.
            room.set(0);
        }
        wait_until("the other one is released", || other.has_ended());
        other.join();
    }
}

/// A thread that was killed after it had set the event and before it woke a waiter which had just
/// announced itself: the waiter checks the event itself.
#[apply(isolated)]
fn killed_between() {
    for flags in [0, AUTO] {
        let room = room(flags);
        let waiter = room.waiter(-1);
        room.event_words()[STATE].fetch_or(1, SeqCst);
        waiter.join();
    }
}

/// An announcement that is lost, whatever the reason, delays a waiter and no more.
#[apply(isolated)]
fn lost_announcement() {
    for flags in [0, AUTO] {
        let room = room(flags);
        for timeout in [-1, LONG, INTR] {
            let waiter = room.waiter(timeout);
            room.event_words()[WAITERS].store(0, SeqCst);
            room.set(0);
            waiter.join();
            room.clear();
        }
    }
}

/// A filter refuses the call that sets and wakes at once: two calls do it.
#[apply(isolated)]
fn refused_wake_up() {
    for flags in [0, AUTO] {
        for error in [ENOSYS, EPERM] {
            let room = room(flags);
            let waiter = room.waiter(-1);
            fork(|| {
                // The third bit is in FUTEX_WAKE_OP, and in neither FUTEX_WAIT nor FUTEX_WAKE.
                refuse_where(SYS_futex, 1, BPF_JSET, 4, error);
                room.set(0);
            })
            .join();
            waiter.join();
        }
    }
}

/// Two processes that answer each other: a wake-up that is lost delays each round by 100 ms.
#[apply(isolated)]
fn nothing_is_missed() {
    let room = room(AUTO);
    let rounds = scaled(20_000);
    let child = fork(|| {
        for round in 1..=rounds {
            assert_eq!(room.wait_at(0, LONG), CLEAN);
            assert_eq!(room.words[1].swap(0, SeqCst), round);
            room.set(1);
        }
    });
    let began = Instant::now();
    for round in 1..=rounds {
        room.words[1].store(round, std::sync::atomic::Ordering::Relaxed);
        room.set(0);
        assert_eq!(room.wait_at(1, LONG), CLEAN);
        assert_eq!(room.count(1), 0);
    }
    child.join();
    let limit = Duration::from_millis(5 * rounds);
    assert!(began.elapsed() < limit, "{:?}", began.elapsed());
}

const PROCESSES: usize = 24;
const STOP: usize = 3;
const RELEASED: usize = 4;
const LONGEST: usize = 6;

/// Half of the processes set the event and half wait for it, and all are killed, stopped and
/// replaced at random. No waiter may wait for long as long as there are sets.
fn storm_of_kills(room: &'static Room, seed: u64, work: fn(&Room, bool)) {
    let start = |process: usize| {
        fork(move || {
            while room.count(STOP) == 0 {
                work(room, process.is_multiple_of(2));
            }
        })
    };
    let mut random = Random(seed);
    let mut processes: Vec<Child> = (0..PROCESSES).map(start).collect();
    let began = Instant::now();
    let mut kills = 0;
    while began.elapsed() < Duration::from_millis(scaled(2000)) {
        thread::sleep(Duration::from_micros(random.below(3000)));
        let process = random.below(PROCESSES as u64) as usize;
        if random.below(4) == 0 {
            processes[process].signal(libc::SIGSTOP);
            thread::sleep(Duration::from_micros(random.below(3000)));
            processes[process].signal(libc::SIGCONT);
            continue;
        }
        let old = std::mem::replace(&mut processes[process], start(process));
        old.signal(libc::SIGKILL);
        let status = old.reap();
        assert!(
            libc::WIFSIGNALED(status),
            "process {process} ended: {status:#x}"
        );
        kills += 1;
    }
    finish(room, processes);
    let released = room.count(RELEASED);
    let longest = room.count(LONGEST);
    println!("{released} waits, {kills} kills, the longest wait took {longest} ms");
    assert!(released > 1000 && kills > 50);
}

/// Lets the processes of a crowd end. Returns how often it set the event for that.
fn finish(room: &Room, processes: Vec<Child>) -> u64 {
    room.arrive(STOP);
    let mut sets = 0;
    for process in processes {
        wait_until("the end of a process", || {
            room.set(0);
            sets += 1;
            process.has_ended()
        });
        process.join();
    }
    sets
}

fn wait_in_a_crowd(room: &Room) {
    let (waited, took) = timed_ms(|| room.wait(10_000));
    assert_eq!(waited, CLEAN);
    room.words[LONGEST].fetch_max(took as u64, SeqCst);
    room.arrive(RELEASED);
}

#[apply(isolated)]
fn crowd_automatic() {
    storm_of_kills(room(AUTO), 21, |room, sets| {
        if sets {
            room.set(0);
            thread::sleep(Duration::from_micros(50));
        } else {
            wait_in_a_crowd(room);
        }
    });
}

#[apply(isolated)]
fn crowd_manual() {
    storm_of_kills(room(0), 22, |room, sets| {
        if sets {
            room.set(0);
            thread::sleep(Duration::from_micros(50));
        } else {
            room.clear();
            wait_in_a_crowd(room);
        }
    });
}

/// Consumers are killed at random. Each set is consumed, and none twice.
#[apply(isolated)]
fn crowd_consumes_each_set() {
    const BEGUN: usize = 5;
    let room = room(AUTO);
    let start = || {
        fork(|| {
            while room.count(STOP) == 0 {
                assert!(matches!(room.wait(10_000), CLEAN));
                room.arrive(RELEASED);
            }
        })
    };
    let mut random = Random(23);
    let mut consumers: Vec<Child> = (0..PROCESSES).map(|_| start()).collect();
    let (mut kills, mut longest) = (0, Duration::ZERO);
    let sets = scaled(1500);
    for _ in 0..sets {
        room.arrive(BEGUN);
        room.set(0);
        let began = Instant::now();
        if random.below(2) == 0 {
            // Woken perhaps, and killed perhaps before it consumes the event.
            let victim = random.below(PROCESSES as u64) as usize;
            kill(std::mem::replace(&mut consumers[victim], start()));
            kills += 1;
        }
        while room.is_set() == IS_SET {
            assert!(began.elapsed() < Duration::from_secs(20), "a set is lost");
            thread::yield_now();
        }
        longest = longest.max(began.elapsed());
    }
    let extra = finish(room, consumers);
    let released = room.count(RELEASED);
    println!("{sets} sets, {released} waits, {kills} kills, {longest:?} until consumed at most");
    // A consumer may have been killed after its wait and before it counted.
    let all = room.count(BEGUN) + extra;
    assert!(released <= all && released + kills >= room.count(BEGUN));
}
