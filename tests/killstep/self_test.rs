//! Failures that the harness must detect.

use crate::child;
use crate::harness::{self, Finished, Report, Scenario, Verdict};
use common::isolated::apply;
use libc::{c_void, pthread_mutex_t};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Long enough for the survivor to be scheduled, and short enough to wait for at many points.
const SHORT: Duration = Duration::from_millis(200);

/// A shared page that drop unmaps.
struct Page(*mut c_void);

impl Page {
    fn new() -> Self {
        Self(child::shared_page())
    }
}

impl Drop for Page {
    fn drop(&mut self) {
        child::unmap_page(self.0);
    }
}

fn report<S: Scenario>(scenario: &S) -> Report {
    harness::run(scenario).expect("the victim finishes")
}

/// The report contains survivals and failures of one kind, which are counted by `failed`.
#[track_caller]
fn check_counts(report: &Report, failed: usize) {
    assert!(failed > 0 && report.survived > 0, "{report:#?}");
    assert_eq!(failed + report.survived, report.points, "{report:#?}");
}

/// A process-shared mutex that is not robust.
struct PlainMutex;

impl PlainMutex {
    fn lock_and_unlock(page: &Page) {
        let mutex = page.0.cast();
        // SAFETY: set_up has initialised it.
        assert_eq!(unsafe { libc::pthread_mutex_lock(mutex) }, 0);
        // SAFETY: this thread holds it.
        assert_eq!(unsafe { libc::pthread_mutex_unlock(mutex) }, 0);
    }
}

impl Scenario for PlainMutex {
    type State = Page;
    const LIMIT: Duration = SHORT;

    fn set_up(&self) -> Page {
        let page = Page::new();
        let mut attributes = MaybeUninit::uninit();
        // SAFETY: init fills the attributes.
        unsafe { libc::pthread_mutexattr_init(attributes.as_mut_ptr()) };
        // SAFETY: they are initialised.
        unsafe {
            libc::pthread_mutexattr_setpshared(
                attributes.as_mut_ptr(),
                libc::PTHREAD_PROCESS_SHARED,
            )
        };
        // SAFETY: the page is large enough and aligned, the attributes are initialised.
        unsafe { libc::pthread_mutex_init(page.0.cast::<pthread_mutex_t>(), attributes.as_ptr()) };
        page
    }

    fn become_victim(&self, page: &mut Page) {
        Self::lock_and_unlock(page);
    }

    fn operate(&self, page: &mut Page) {
        Self::lock_and_unlock(page);
    }

    fn survive(&self, page: &mut Page, _: &Finished) -> Verdict {
        Self::lock_and_unlock(page);
        Ok(())
    }
}

#[apply(scenario)]
fn plain_mutex_hangs() {
    let report = report(&PlainMutex);
    check_counts(&report, report.hung);
}

/// Two words that must be equal, without any protection.
struct TwoWords;

impl TwoWords {
    fn words(page: &Page) -> &[AtomicU64; 2] {
        // SAFETY: the page is mapped and zeroed, and has no other use.
        unsafe { &*page.0.cast() }
    }

    fn add_one(page: &Page) {
        for word in Self::words(page) {
            word.fetch_add(1, Ordering::Relaxed);
        }
    }
}

impl Scenario for TwoWords {
    type State = Page;

    fn set_up(&self) -> Page {
        Page::new()
    }

    fn become_victim(&self, page: &mut Page) {
        Self::add_one(page);
    }

    fn operate(&self, page: &mut Page) {
        Self::add_one(page);
    }

    fn survive(&self, page: &mut Page, finished: &Finished) -> Verdict {
        let [a, b] = Self::words(page)
            .each_ref()
            .map(|w| w.load(Ordering::Relaxed));
        if finished.get() && (a, b) != (2, 2) {
            return Err(format!("finished, but the words are {a} and {b}"));
        }
        if a == b {
            Ok(())
        } else {
            Err(format!("{a} is not {b}"))
        }
    }
}

#[apply(scenario)]
fn two_words_are_torn() {
    let report = report(&TwoWords);
    check_counts(&report, report.inconsistent);
    assert!(
        report
            .failures
            .iter()
            .all(|why| why.ends_with("2 is not 1")),
        "{report:#?}"
    );
}

/// An operation on a page, and a survivor that checks the page.
struct Simple {
    operate: fn(&Page),
    survive: fn(&Page) -> Verdict,
}

impl Scenario for Simple {
    type State = Page;
    const LIMIT: Duration = SHORT;

    fn set_up(&self) -> Page {
        Page::new()
    }

    fn become_victim(&self, _: &mut Page) {}

    fn operate(&self, page: &mut Page) {
        (self.operate)(page);
    }

    fn survive(&self, page: &mut Page, _: &Finished) -> Verdict {
        (self.survive)(page)
    }
}

#[apply(scenario)]
fn crash_of_the_survivor() {
    let report = report(&Simple {
        operate: |page| TwoWords::add_one(page),
        survive: |page| {
            if TwoWords::words(page)[0].load(Ordering::Relaxed) == 1 {
                std::process::abort();
            }
            Ok(())
        },
    });
    check_counts(&report, report.crashed);
}

#[apply(scenario)]
fn orphan_is_detected() {
    let report = report(&Simple {
        operate: |_| {
            // A child that does not end when its parent dies.
            // SAFETY: only pause is called in the child.
            if unsafe { libc::fork() } == 0 {
                loop {
                    // SAFETY: takes nothing.
                    unsafe { libc::pause() };
                }
            }
        },
        survive: |_| Ok(()),
    });
    check_counts(&report, report.inconsistent);
}

/// A victim that does not finish its operation.
struct Unfinished(fn(&Page));

impl Scenario for Unfinished {
    type State = Page;
    const VICTIM_LIMIT: Duration = Duration::from_secs(5);

    fn set_up(&self) -> Page {
        Page::new()
    }

    fn become_victim(&self, _: &mut Page) {}

    fn operate(&self, page: &mut Page) {
        (self.0)(page);
    }

    fn survive(&self, _: &mut Page, _: &Finished) -> Verdict {
        Ok(())
    }
}

/// The error of a scenario whose victim does not finish.
fn run_error(operate: fn(&Page)) -> String {
    let error = harness::run(&Unfinished(operate)).expect_err("the victim does not finish");
    assert_eq!(child::reap_orphans(Duration::ZERO), Ok(()));
    error
}

#[apply(scenario)]
fn victim_that_dies() {
    let error = run_error(|_| child::exit(0));
    assert!(error.ends_with("it exited with status 0"), "{error}");
    let error = run_error(|_| child::signal(child::pid(), libc::SIGTERM));
    assert!(error.ends_with("it received signal 15"), "{error}");
    let error = run_error(|_| {
        // SAFETY: none; the write is meant to kill the process.
        unsafe { ptr::null_mut::<u8>().write_volatile(1) };
    });
    assert!(error.ends_with("it received signal 11"), "{error}");
}

#[apply(scenario)]
fn victim_that_loops() {
    let error = run_error(|page| {
        while TwoWords::words(page)[0].load(Ordering::Relaxed) == 0 {
            std::hint::spin_loop();
        }
    });
    assert!(
        error.starts_with("no end of the operation") || error.contains("nothing happened"),
        "{error}"
    );
}

#[apply(scenario)]
fn victim_that_sleeps() {
    let error = run_error(|_| {
        // SAFETY: takes nothing.
        unsafe { libc::pause() };
    });
    assert!(error.contains("nothing happened"), "{error}");
}

/// Instructions between system calls.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
struct SystemCalls;

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
impl Scenario for SystemCalls {
    type State = Page;

    fn set_up(&self) -> Page {
        Page::new()
    }

    fn become_victim(&self, page: &mut Page) {
        self.operate(page);
    }

    fn operate(&self, page: &mut Page) {
        for _ in 0..3 {
            TwoWords::add_one(page);
            child::pid();
        }
        TwoWords::add_one(page);
    }

    fn survive(&self, _: &mut Page, _: &Finished) -> Verdict {
        Ok(())
    }
}

/// A run to a system call, and steps from there, lead to the same instruction as steps alone.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
#[apply(scenario)]
fn ways_to_a_point() {
    let [quick, by_steps] =
        [false, true].map(|only_steps| harness::addresses(&SystemCalls, only_steps).unwrap());
    assert!(quick.len() > 50, "{quick:x?}");
    assert_eq!(quick, by_steps);
}
