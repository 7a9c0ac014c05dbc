//! What the harness must not take for a survival.

use crate::child;
use crate::harness::{self, Finished, Report, Scenario, Verdict};
use common::isolated::apply;
use libc::{c_void, pthread_mutex_t};
use std::mem::MaybeUninit;
use std::ptr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Long enough to be scheduled, short enough to be waited for at many points.
const SHORT: Duration = Duration::from_millis(200);

/// A page that is unmapped at the end.
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
    harness::run(scenario).expect("the scenario can be carried out")
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
    assert!(report.hung > 0 && report.survived > 0, "{report:#?}");
    assert_eq!(report.hung + report.survived, report.points, "{report:#?}");
}

/// Two words that belong together, and nothing that keeps them so.
struct TwoWords;

impl TwoWords {
    fn words(page: &Page) -> &[AtomicU64; 2] {
        // SAFETY: the page is mapped and zeroed, and nobody uses it otherwise.
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
            return Err(format!("finished, and yet {a} and {b}"));
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
    assert!(
        report.inconsistent > 0 && report.survived > 0,
        "{report:#?}"
    );
    assert_eq!(
        report.inconsistent + report.survived,
        report.points,
        "{report:#?}"
    );
    assert!(
        report
            .failures
            .iter()
            .all(|why| why.ends_with("2 is not 1")),
        "{report:#?}"
    );
}

/// An operation on a page, and a survivor that goes by what it finds there.
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
    assert!(report.crashed > 0 && report.survived > 0, "{report:#?}");
    assert_eq!(
        report.crashed + report.survived,
        report.points,
        "{report:#?}"
    );
}

#[apply(scenario)]
fn orphan_is_seen() {
    let report = report(&Simple {
        operate: |_| {
            // A child that stays, and does not die with its parent.
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
    assert!(
        report.inconsistent > 0 && report.survived > 0,
        "{report:#?}"
    );
    assert_eq!(
        report.inconsistent + report.survived,
        report.points,
        "{report:#?}"
    );
}

fn not_carried_out(operate: fn(&Page)) -> String {
    let error = harness::run(&Simple {
        operate,
        survive: |_| Ok(()),
    })
    .expect_err("the victim does not come to its end");
    let none = child::reap_orphans(Duration::ZERO);
    assert_eq!(none, Ok(()));
    error
}

#[apply(scenario)]
fn victim_that_dies() {
    let error = not_carried_out(|_| child::exit(0));
    assert!(error.ends_with("it exited with status 0"), "{error}");
    let error = not_carried_out(|_| child::signal(child::pid(), libc::SIGTERM));
    assert!(error.ends_with("it got signal 15"), "{error}");
    let error = not_carried_out(|_| {
        // SAFETY: none: it is meant to be killed for it.
        unsafe { ptr::null_mut::<u8>().write_volatile(1) };
    });
    assert!(error.ends_with("it got signal 11"), "{error}");
}

#[apply(scenario)]
fn victim_that_loops() {
    let error = not_carried_out(|page| {
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
    let error = not_carried_out(|_| {
        // SAFETY: takes nothing.
        unsafe { libc::pause() };
    });
    assert!(error.contains("nothing happened"), "{error}");
}
