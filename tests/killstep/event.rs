//! The event: whichever process is killed in it, a set stays, and other threads are released.

use crate::check;
use crate::child::{self, Child};
use crate::harness::{End, Finished, Scenario, Verdict};
use crate::library::{self, Library};
use crate::message::outcome;
use common::isolated::apply;
use libc::{c_int, c_uint};
use std::cell::UnsafeCell;
use std::io::{PipeReader, PipeWriter};
use std::sync::atomic::{AtomicI32, AtomicU32, Ordering::SeqCst};
use std::time::{Duration, Instant};
use unixipc::ffi::event::{IPC_EVENT_F_AUTO_RESET, IPC_EVENT_F_SET, ipc_event};

/// The value that a call returned, or the errno that it set.
type Outcome = Result<usize, c_int>;

const DONE: Outcome = Ok(0);
const AUTO: c_uint = IPC_EVENT_F_AUTO_RESET;
/// How long a survivor waits, in milliseconds.
const WAIT: c_int = 4000;
/// The time-out of a victim that times out: longer than stepping to the sleep takes.
const SHORT: c_int = 8;

/// The shared memory.
#[repr(C)]
struct Objects {
    event: UnsafeCell<ipc_event>,
    /// For the victim to begin with.
    other: UnsafeCell<ipc_event>,
    /// How far the processes have come.
    progress: AtomicU32,
    /// How many waits of the sleepers have returned.
    released: AtomicU32,
    /// The process that is killed, once it is about to begin.
    victim: AtomicI32,
}

struct Shared {
    library: &'static Library,
    at: *mut Objects,
    /// Closed when the victim is dead.
    life: (PipeReader, Option<PipeWriter>),
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

    /// Every call once, on the other event.
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

    /// The event works, whatever has happened: in the end it is clear.
    fn judge(&self, flags: c_uint) -> Verdict {
        expect("a set", self.set(), &[DONE])?;
        expect("the event", self.is_set(), &[Ok(1)])?;
        expect("a wait", self.wait(WAIT), &[DONE])?;
        if flags & AUTO == 0 {
            expect("the event", self.is_set(), &[Ok(1)])?;
            expect("a clear", self.clear(), &[DONE])?;
        }
        expect("the event", self.is_set(), &[Ok(0)])?;
        expect("a wait", self.wait(0), &[Err(libc::EAGAIN)])
    }

    /// A process that waits for the event and counts its release. It is asleep.
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

    /// Waits until something is so.
    fn within_seconds(&self, what: &str, so: impl Fn() -> bool) -> Verdict {
        let far = Instant::now() + Duration::from_secs(3);
        while !so() {
            if Instant::now() > far {
                return Err(format!("{what}: {} released", self.released()));
            }
            std::thread::yield_now();
        }
        Ok(())
    }

    fn is_victim_dead(&self) -> bool {
        child::poll_readable(&self.life.0, Instant::now())
    }

    /// Waits, in a survivor that has closed its own end, until the victim is dead.
    fn wait_for_death(&mut self) -> Verdict {
        let deadline = Instant::now() + Duration::from_secs(10);
        match child::read_until(&mut self.life.0, deadline) {
            Some(_) => Ok(()),
            None => Err("the victim does not end".into()),
        }
    }
}

fn expect(what: &str, found: Outcome, expected: &[Outcome]) -> Verdict {
    if expected.contains(&found) {
        Ok(())
    } else {
        Err(format!("{what}: {found:?}, not one of {expected:?}"))
    }
}

/// A scenario. The survivor gets whether the victim came to its end.
struct Case<const SLEEPS: bool> {
    library: &'static Library,
    flags: c_uint,
    /// In the victim, before its operation.
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
        let (reader, writer) = std::io::pipe().unwrap();
        let shared = Shared {
            library: self.library,
            at: child::shared_page().cast(),
            life: (reader, Some(writer)),
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
        shared.judge(self.flags)
    }
}

#[apply(scenario)]
fn init() {
    let case = Case::<false> {
        prepare: |shared| {
            // No event: its first word differs.
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
                    expect("a finished event", found, &[Ok(1)])?;
                }
                expect("the init", shared.init(0), &[DONE])
            },
        )
    };
    check("ipc_event_init", &case);
}

/// Set, or not: and set if the call returned.
fn is_set_after(shared: &Shared, finished: bool) -> Verdict {
    let expected: &[Outcome] = if finished { &[Ok(1)] } else { &[Ok(0), Ok(1)] };
    expect("the event", shared.is_set(), expected)
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

#[apply(scenario)]
fn clear() {
    let case = Case::<false> {
        prepare: |shared| assert_eq!(shared.set(), DONE),
        ..Case::new(
            0,
            |shared| assert_eq!(shared.clear(), DONE),
            |shared, finished| {
                let expected: &[Outcome] = if finished { &[Ok(0)] } else { &[Ok(0), Ok(1)] };
                expect("the event", shared.is_set(), expected)
            },
        )
    };
    check("ipc_event_clear", &case);
}

/// The victim consumes the event or not; it is gone if its call returned.
#[apply(scenario)]
fn consume() {
    let case = Case::<false> {
        prepare: |shared| assert_eq!(shared.set(), DONE),
        ..Case::new(
            AUTO,
            |shared| assert_eq!(shared.wait(-1), DONE),
            |shared, finished| {
                let expected: &[Outcome] = if finished { &[Ok(0)] } else { &[Ok(0), Ok(1)] };
                expect("the event", shared.is_set(), expected)
            },
        )
    };
    check("ipc_event_wait, automatic, set", &case);
}

#[apply(scenario)]
fn wait_that_is_set() {
    let case = Case::<false> {
        prepare: |shared| assert_eq!(shared.set(), DONE),
        ..Case::new(
            0,
            |shared| assert_eq!(shared.wait(-1), DONE),
            |shared, _| expect("the event", shared.is_set(), &[Ok(1)]),
        )
    };
    check("ipc_event_wait, set", &case);
}

#[apply(scenario)]
fn wait_asleep() {
    let case = Case::<true>::new(
        0,
        |shared| assert_eq!(shared.wait(-1), DONE),
        |shared, _| expect("the event", shared.is_set(), &[Ok(0)]),
    );
    check("ipc_event_wait, asleep", &case);
}

#[apply(scenario)]
fn wait_asleep_automatic() {
    let case = Case::<true>::new(
        AUTO,
        |shared| assert_eq!(shared.wait(-1), DONE),
        |shared, _| expect("the event", shared.is_set(), &[Ok(0)]),
    );
    check("ipc_event_wait, automatic, asleep", &case);
}

#[apply(scenario)]
fn wait_that_times_out() {
    let case = Case::<false>::new(
        AUTO,
        |shared| assert_eq!(shared.wait(SHORT), Err(libc::ETIMEDOUT)),
        |shared, _| expect("the event", shared.is_set(), &[Ok(0)]),
    );
    check("ipc_event_wait, ETIMEDOUT", &case);
}

/// The victim sets the event while two threads sleep. They are released if it is set.
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
        shared.life.1 = None;
        let sleepers: Vec<Child> = (0..SLEEPERS).map(|_| shared.sleeper()).collect();
        shared.objects().progress.store(1, SeqCst);
        shared.wait_for_death()?;

        if self.0.flags & AUTO != 0 {
            // The set releases one sleeper, and another set the other.
            shared.within_seconds("consumed", || !shared.event_is_set())?;
            if finished.get() {
                shared.within_seconds("one", || shared.released() == 1)?;
            }
            while shared.released() < SLEEPERS {
                expect("another set", shared.set(), &[DONE])?;
                let next = || !shared.event_is_set() || shared.released() == SLEEPERS;
                shared.within_seconds("the next", next)?;
            }
        } else {
            if !shared.event_is_set() {
                if finished.get() {
                    return Err("the set is lost".into());
                }
                expect("a set in its place", shared.set(), &[DONE])?;
            }
            shared.within_seconds("all", || shared.released() == SLEEPERS)?;
        }
        for sleeper in sleepers {
            match sleeper.wait(Instant::now() + Duration::from_secs(3)) {
                Some(0) => {}
                other => return Err(format!("a sleeper: {other:?}")),
            }
        }
        expect("a clear", shared.clear(), &[DONE])?;
        shared.judge(self.0.flags)
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

/// The victim waits, and the survivor sets the event when it sleeps. Another process waits too: it
/// gets what the victim does not consume.
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
        shared.life.1 = None;
        let victim = || shared.objects().victim.load(SeqCst);
        let is_asleep = || victim() != 0 && child::state(victim()) == Some('S');
        let mut sets = 0;
        let mut other = None;
        while !shared.is_victim_dead() {
            if is_asleep() && !shared.event_is_set() {
                // The victim sleeps first, so that it is woken first.
                other.get_or_insert_with(|| shared.sleeper());
                expect("a set", shared.set(), &[DONE])?;
                sets += 1;
            }
            std::thread::yield_now();
        }
        let other = other.unwrap_or_else(|| shared.sleeper());
        shared.within_seconds("a set that the victim left", || {
            shared.released() == 1 || !shared.event_is_set()
        })?;
        // Of an event that the other one has just consumed the count comes late.
        let left = || shared.released() + u32::from(shared.event_is_set());
        if finished.get() {
            shared.within_seconds("consumed by the victim", || left() + 1 == sets)?;
        } else {
            shared.within_seconds("consumed once", || (left()..=left() + 1).contains(&sets))?;
        }
        while shared.released() == 0 {
            expect("another set", shared.set(), &[DONE])?;
            shared.within_seconds("the other", || shared.released() == 1)?;
        }
        match other.wait(Instant::now() + Duration::from_secs(3)) {
            Some(0) => {}
            status => return Err(format!("the other: {status:?}")),
        }
        expect("a clear", shared.clear(), &[DONE])?;
        shared.judge(self.0.flags)
    }
}

#[apply(scenario)]
fn wait_that_is_woken() {
    let case = Case::new(
        AUTO,
        |shared| assert_eq!(shared.wait(-1), DONE),
        |_, _| Ok(()), // not asked
    );
    check("ipc_event_wait, automatic, woken", &WokenWaiter(case));
}
