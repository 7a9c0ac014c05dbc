//! A processor that other processors can have execute a barrier (membarrier). It executes the barrier
//! when it is interrupted, which the model allows at each compiler fence, or when it has no code left
//! to run. The request and its answer give no more ordering than the barrier.

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

    /// Has the processor execute a barrier.
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
    /// The processor of this thread, if it has one.
    static PROCESSOR: RefCell<Option<Arc<Processor>>> = RefCell::new(None);
}

/// The notifier's compiler fence: it orders nothing on the processor, but the processor may be
/// interrupted there.
pub fn compiler_fence(_: Ordering) {
    PROCESSOR.with(|here| {
        if let Some(processor) = &*here.borrow() {
            processor.interrupt();
        }
    });
}
