//! A processor on which another one can have a barrier executed (membarrier): at any of its
//! interruptions, between two accesses of the notifier that the protocol leaves in their order, or
//! when it has nothing left to run. A request and its answer order no more than the barrier does.

use crate::atomic::{Ordering, fence};
use loom::sync::{Arc, Condvar, Mutex};
use std::cell::RefCell;

pub struct Processor {
    state: Mutex<State>,
    answered: Condvar,
}

struct State {
    is_wanted: bool,
    is_idle: bool,
}

impl Processor {
    pub fn new() -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(State {
                is_wanted: false,
                is_idle: false,
            }),
            answered: Condvar::new(),
        })
    }

    fn interrupt(&self) {
        let mut state = self.state.lock().unwrap();
        if state.is_wanted {
            fence(Ordering::SeqCst);
            state.is_wanted = false;
            self.answered.notify_all();
        }
    }

    fn become_idle(&self) {
        let mut state = self.state.lock().unwrap();
        fence(Ordering::SeqCst);
        state.is_idle = true;
        self.answered.notify_all();
    }

    /// Has it execute a barrier.
    pub fn barrier(&self) {
        fence(Ordering::SeqCst);
        let mut state = self.state.lock().unwrap();
        state.is_wanted = true;
        while state.is_wanted && !state.is_idle {
            state = self.answered.wait(state).unwrap();
        }
        drop(state);
        fence(Ordering::SeqCst);
    }
}

/// Runs a thread's code on a processor.
pub fn run_on(processor: &Arc<Processor>, code: impl FnOnce()) {
    PROCESSOR.with(|here| here.replace(Some(processor.clone())));
    code();
    PROCESSOR.with(|here| here.replace(None));
    processor.become_idle();
}

loom::thread_local! {
    /// Where this thread runs, if barriers are executed there.
    static PROCESSOR: RefCell<Option<Arc<Processor>>> = RefCell::new(None);
}

/// At the notifier's compiler fence nothing orders what the processor does, but it may be
/// interrupted there.
pub fn compiler_fence(_: Ordering) {
    PROCESSOR.with(|here| {
        if let Some(processor) = &*here.borrow() {
            processor.interrupt();
        }
    });
}
