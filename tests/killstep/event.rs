//! The event: whichever process is killed, a set is kept, and other waiters are released.

use crate::check;
use crate::child::{self, Child};
use crate::harness::{End, Finished, Scenario, Verdict};
use crate::library::{self, Library};
use crate::support::{DeathNotice, Outcome, expect, expect_one_of, outcome};
use common::isolated::apply;
use libc::{c_int, c_uint};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};
use unixipc::ffi::event::{IPC_EVENT_F_AUTO_RESET, IPC_EVENT_F_SET, ipc_event};

const DONE: Outcome = Ok(0);
const AUTO: c_uint = IPC_EVENT_F_AUTO_RESET;
/// The time-out of a survivor's calls, in milliseconds.
const WAIT: c_int = 4000;
/// The time-out of a victim that times out, in milliseconds: longer than stepping to the sleep.
const SHORT: c_int = 8;

/// The shared memory.
#[repr(C)]
struct Objects {
    event: UnsafeCell<ipc_event>,
    /// The event for the victim's warm-up.
    other: UnsafeCell<ipc_event>,
    /// 1 when the survivor's sleepers sleep.
    progress: AtomicU32,
    /// The number of returned waits of the sleepers.
    released: AtomicU32,
    /// The victim's process id, set just before its operation.
    victim: AtomicI32,
}

struct Shared {
    library: &'static Library,
    at: *mut Objects,
    death: DeathNotice,
}

impl Drop for Shared {
    fn drop(&mut self) {
        child::unmap_page(self.at.cast());
    }
}

macro_rules! calls {
    ($($name:ident = $call:ident($($arg:ident: $type:ty)?);)*) => {
        impl Shared {$(
            fn $name(&self $(, $arg: $type)?) -> Outcome {
                // SAFETY: the event of the page.
                outcome(unsafe { (self.library.$call)(self.objects().event.get() $(, $arg)?) } as isize)
            }
        )*}
    };
}

calls! {
    init = ipc_event_init(flags: c_uint);
    set = ipc_event_set();
    clear = ipc_event_clear();
    wait = ipc_event_wait(timeout: c_int);
    is_set = ipc_event_is_set();
}

impl Shared {
    fn objects(&self) -> &Objects {
        // SAFETY: the page stays mapped, and zero bytes are Objects.
        unsafe { &*self.at }
    }

    /// Makes every call once, on the other event.
    fn warm_up(&self) {
        let event = self.objects().other.get();
        let library = self.library;
        // SAFETY: the other event of the page.
        let done = unsafe {
            [
                (library.ipc_event_init)(event, 0),
                (library.ipc_event_wait)(event, 1),
                (library.ipc_event_set)(event),
                (library.ipc_event_wait)(event, -1),
                (library.ipc_event_is_set)(event),
                (library.ipc_event_clear)(event),
            ]
        };
        assert_eq!(done, [0, -1, 0, 0, 1, 0]);
    }

    /// Checks that the event works. In the end it is clear.
    fn check_usable(&self, flags: c_uint) -> Verdict {
        expect("a set", self.set(), DONE)?;
        expect("the event", self.is_set(), Ok(1))?;
        expect("a wait", self.wait(WAIT), DONE)?;
        if flags & AUTO == 0 {
            expect("the event", self.is_set(), Ok(1))?;
            expect("a clear", self.clear(), DONE)?;
        }
        expect("the event", self.is_set(), Ok(0))?;
        expect("a wait", self.wait(0), Err(libc::EAGAIN))
    }

    /// A process that waits for the event, and counts its release. It sleeps when this returns.
    fn sleeper(&self) -> Child {
        let sleeper = Child::fork(|| {
            assert_eq!(self.wait(-1), DONE);
            self.objects().released.fetch_add(1, SeqCst);
        });
        while !sleeper.sleeps() {
            std::thread::yield_now();
        }
        sleeper
    }

    fn released(&self) -> u32 {
        self.objects().released.load(SeqCst)
    }

    fn event_is_set(&self) -> bool {
        self.is_set() == Ok(1)
    }

    /// Waits until a condition holds, for at most 3 seconds.
    fn within_seconds(&self, what: &str, condition: impl Fn() -> bool) -> Verdict {
        let deadline = Instant::now() + Duration::from_secs(3);
        while !condition() {
            if Instant::now() > deadline {
                return Err(format!(
                    "timed out waiting for {what}: {} released",
                    self.released()
                ));
            }
            std::thread::yield_now();
        }
        Ok(())
    }
}

/// A scenario. The survivor learns whether the victim's operation returned.
struct Case<const SLEEPS: bool> {
    library: &'static Library,
    flags: c_uint,
    /// Runs in the victim, before its operation.
    prepare: fn(&Shared),
    operate: fn(&Shared),
    survive: fn(&Shared, bool) -> Verdict,
}

impl<const SLEEPS: bool> Case<SLEEPS> {
    fn new(flags: c_uint, operate: fn(&Shared), survive: fn(&Shared, bool) -> Verdict) -> Self {
        Self {
            library: Box::leak(Box::new(library::load())),
            flags,
            prepare: |_| {},
            operate,
            survive,
        }
    }
}

impl<const SLEEPS: bool> Scenario for Case<SLEEPS> {
    type State = Shared;
    const END: End = if SLEEPS { End::Sleeps } else { End::Returns };

    fn set_up(&self) -> Shared {
        const { assert!(size_of::<Objects>() <= 4096) };
        let shared = Shared {
            library: self.library,
            at: child::shared_page().cast(),
            death: DeathNotice::new(),
        };
        assert_eq!(shared.init(self.flags), DONE);
        shared
    }

    fn become_victim(&self, shared: &mut Shared) {
        shared.warm_up();
        (self.prepare)(shared);
    }

    fn operate(&self, shared: &mut Shared) {
        (self.operate)(shared);
    }

    fn survive(&self, shared: &mut Shared, finished: &Finished) -> Verdict {
        (self.survive)(shared, finished.get())?;
        shared.check_usable(self.flags)
    }
}

#[apply(scenario)]
fn init() {
    let case = Case::<false> {
        prepare: |shared| {
            // Overwrites the magic number, so that there is no event.
            // SAFETY: the event of the page, which no other process uses yet.
            unsafe {
                shared
                    .objects()
                    .event
                    .get()
                    .cast::<u8>()
                    .write_bytes(0xa5, 8)
            };
        },
        ..Case::new(
            0,
            |shared| assert_eq!(shared.init(IPC_EVENT_F_SET), DONE),
            |shared, finished| {
                let found = shared.is_set();
                if finished || found != Err(libc::EPROTO) {
                    expect("a finished event", found, Ok(1))?;
                }
                expect("the init", shared.init(0), DONE)
            },
        )
    };
    check("ipc_event_init", &case);
}

/// The event is set if the call returned; otherwise, it may be set.
fn is_set_after(shared: &Shared, finished: bool) -> Verdict {
    let expected: &[Outcome] = if finished { &[Ok(1)] } else { &[Ok(0), Ok(1)] };
    expect_one_of("the event", shared.is_set(), expected)
}

fn set_case(flags: c_uint) -> Case<false> {
    Case::new(flags, |shared| assert_eq!(shared.set(), DONE), is_set_after)
}

#[apply(scenario)]
fn set() {
    check("ipc_event_set", &set_case(0));
}

#[apply(scenario)]
fn set_automatic() {
    check("ipc_event_set, automatic", &set_case(AUTO));
}

#[apply(scenario)]
fn set_after_a_waiter() {
    let case = Case {
        prepare: |shared| assert_eq!(shared.wait(1), Err(libc::ETIMEDOUT)),
        ..set_case(AUTO)
    };
    check("ipc_event_set, automatic, after a waiter", &case);
}

/// The event is set before the call. It is clear if the call returned; otherwise, it may be clear.
fn check_cleared(name: &str, flags: c_uint, operate: fn(&Shared)) {
    let case = Case::<false> {
        prepare: |shared| assert_eq!(shared.set(), DONE),
        ..Case::new(flags, operate, |shared, finished| {
            let expected: &[Outcome] = if finished { &[Ok(0)] } else { &[Ok(0), Ok(1)] };
            expect_one_of("the event", shared.is_set(), expected)
        })
    };
    check(name, &case);
}

#[apply(scenario)]
fn clear() {
    check_cleared("ipc_event_clear", 0, |shared| {
        assert_eq!(shared.clear(), DONE);
    });
}

#[apply(scenario)]
fn consume() {
    check_cleared("ipc_event_wait, automatic, set", AUTO, |shared| {
        assert_eq!(shared.wait(-1), DONE);
    });
}

#[apply(scenario)]
fn wait_that_is_set() {
    let case = Case::<false> {
        prepare: |shared| assert_eq!(shared.set(), DONE),
        ..Case::new(
            0,
            |shared| assert_eq!(shared.wait(-1), DONE),
            |shared, _| expect("the event", shared.is_set(), Ok(1)),
        )
    };
    check("ipc_event_wait, set", &case);
}

fn check_asleep(name: &str, flags: c_uint) {
    let case = Case::<true>::new(
        flags,
        |shared| assert_eq!(shared.wait(-1), DONE),
        |shared, _| expect("the event", shared.is_set(), Ok(0)),
    );
    check(name, &case);
}

#[apply(scenario)]
fn wait_asleep() {
    check_asleep("ipc_event_wait, asleep", 0);
}

#[apply(scenario)]
fn wait_asleep_automatic() {
    check_asleep("ipc_event_wait, automatic, asleep", AUTO);
}

#[apply(scenario)]
fn wait_that_times_out() {
    let case = Case::<false>::new(
        AUTO,
        |shared| assert_eq!(shared.wait(SHORT), Err(libc::ETIMEDOUT)),
        |shared, _| expect("the event", shared.is_set(), Ok(0)),
    );
    check("ipc_event_wait, ETIMEDOUT", &case);
}

/// The victim sets the event while two processes sleep. They are released if it is set.
struct SetToSleepers(Case<false>);

const SLEEPERS: u32 = 2;

impl Scenario for SetToSleepers {
    type State = Shared;
    const CONCURRENT: bool = true;

    fn set_up(&self) -> Shared {
        self.0.set_up()
    }

    fn become_victim(&self, shared: &mut Shared) {
        self.0.become_victim(shared);
        let deadline = Instant::now() + Duration::from_secs(10);
        while shared.objects().progress.load(SeqCst) == 0 {
            assert!(Instant::now() < deadline, "no thread sleeps");
            std::thread::yield_now();
        }
    }

    fn operate(&self, shared: &mut Shared) {
        self.0.operate(shared);
    }

    fn survive(&self, shared: &mut Shared, finished: &Finished) -> Verdict {
        shared.death.become_survivor();
        let sleepers: Vec<Child> = (0..SLEEPERS).map(|_| shared.sleeper()).collect();
        shared.objects().progress.store(1, SeqCst);
        shared.death.wait()?;

        if self.0.flags & AUTO != 0 {
            // The victim's set releases one sleeper, and another set releases the other.
            shared.within_seconds("the event to be consumed", || !shared.event_is_set())?;
            if finished.get() {
                shared.within_seconds("one release", || shared.released() == 1)?;
            }
            while shared.released() < SLEEPERS {
                expect("another set", shared.set(), DONE)?;
                let next = || !shared.event_is_set() || shared.released() == SLEEPERS;
                shared.within_seconds("the next release", next)?;
            }
        } else {
            if !shared.event_is_set() {
                if finished.get() {
                    return Err("the set is lost".into());
                }
                expect("a replacement set", shared.set(), DONE)?;
            }
            shared.within_seconds("all releases", || shared.released() == SLEEPERS)?;
        }
        for sleeper in sleepers {
            match sleeper.wait(Instant::now() + Duration::from_secs(3)) {
                Some(0) => {}
                other => return Err(format!("a sleeper: {other:?}")),
            }
        }
        expect("a clear", shared.clear(), DONE)?;
        shared.check_usable(self.0.flags)
    }
}

#[apply(scenario)]
fn set_to_sleepers() {
    check(
        "ipc_event_set, two threads wait",
        &SetToSleepers(set_case(0)),
    );
}

#[apply(scenario)]
fn set_to_sleepers_automatic() {
    check(
        "ipc_event_set, automatic, two threads wait",
        &SetToSleepers(set_case(AUTO)),
    );
}

/// The victim waits, and the survivor sets the event while the victim sleeps. Another process waits
/// too: it consumes the set that the victim does not consume.
struct WokenWaiter(Case<false>);

impl Scenario for WokenWaiter {
    type State = Shared;
    const CONCURRENT: bool = true;

    fn set_up(&self) -> Shared {
        self.0.set_up()
    }

    fn become_victim(&self, shared: &mut Shared) {
        self.0.become_victim(shared);
        shared.objects().victim.store(child::pid(), SeqCst);
    }

    fn operate(&self, shared: &mut Shared) {
        self.0.operate(shared);
    }

    fn survive(&self, shared: &mut Shared, finished: &Finished) -> Verdict {
        shared.death.become_survivor();
        let victim = || shared.objects().victim.load(SeqCst);
        let is_asleep = || victim() != 0 && child::state(victim()) == Some('S');
        let mut sets = 0;
        let mut other = None;
        while !shared.death.is_victim_dead() {
            if is_asleep() && !shared.event_is_set() {
                // The victim sleeps first, so that it is woken first.
                other.get_or_insert_with(|| shared.sleeper());
                expect("a set", shared.set(), DONE)?;
                sets += 1;
            }
            std::thread::yield_now();
        }
        let other = other.unwrap_or_else(|| shared.sleeper());
        shared.within_seconds("a set that the victim left", || {
            shared.released() == 1 || !shared.event_is_set()
        })?;
        // The other process consumes an event before it counts its release.
        let unconsumed = || shared.released() + u32::from(shared.event_is_set());
        if finished.get() {
            shared.within_seconds("the count without the victim's set", || {
                unconsumed() + 1 == sets
            })?;
        } else {
            shared.within_seconds("each set to be counted once", || {
                (unconsumed()..=unconsumed() + 1).contains(&sets)
            })?;
        }
        while shared.released() == 0 {
            expect("another set", shared.set(), DONE)?;
            shared.within_seconds("the other waiter", || shared.released() == 1)?;
        }
        match other.wait(Instant::now() + Duration::from_secs(3)) {
            Some(0) => {}
            status => return Err(format!("the other waiter: {status:?}")),
        }
        expect("a clear", shared.clear(), DONE)?;
        shared.check_usable(self.0.flags)
    }
}

#[apply(scenario)]
fn wait_that_is_woken() {
    let case = Case::new(
        AUTO,
        |shared| assert_eq!(shared.wait(-1), DONE),
        |_, _| Ok(()), // not called
    );
    check("ipc_event_wait, automatic, woken", &WokenWaiter(case));
}
