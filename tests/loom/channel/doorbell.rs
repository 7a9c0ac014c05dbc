//! A model of the doorbell: a pipe, the threads that sleep on it, and the descriptor for event loops.
//! The part between the threads of one process is the shipped code (`sleepers`).

use super::processor::Processor;
use crate::atomic::{AtomicU32, Ordering};
use crate::errno::{Errno, Result};
use crate::transport::sleepers::{Event, Sleepers};
use crate::transport::wait::{Doorbell, Role};
use loom::sync::{Arc, Condvar, Mutex};

/// The time limit of a call.
pub enum Limit {
    /// The call has no time-out.
    Forever,
    /// The call does not wait.
    Never,
    /// The time-out expires when the call sleeps.
    Expired,
}

impl Limit {
    pub fn is_never(&self) -> bool {
        matches!(self, Self::Never)
    }
}

/// The process of the model.
const PROCESS: u32 = 1;

/// The state of the pipe and the descriptors, in the kernel.
#[derive(Default)]
struct State {
    bytes: u32,
    hung_up: bool,
    /// The pipe has had an event that the descriptor, which is edge-triggered, still reports.
    edge: bool,
    readable: bool,
    events: [bool; 2],
}

struct Kernel {
    state: Mutex<State>,
    changed: Condvar,
}

impl Kernel {
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let result = change(&mut self.state.lock().unwrap());
        self.changed.notify_all();
        result
    }

    fn wait_until(&self, is_true: impl Fn(&State) -> bool) {
        let mut state = self.state.lock().unwrap();
        while !is_true(&state) {
            state = self.changed.wait(state).unwrap();
        }
    }
}

/// The event of a thread that sleeps.
struct ModelEvent {
    kernel: Arc<Kernel>,
    role: Role,
}

impl Event for ModelEvent {
    fn set(&self) {
        self.kernel
            .change(|state| state.events[self.role as usize] = true);
    }

    fn clear(&self) {
        self.kernel
            .change(|state| state.events[self.role as usize] = false);
    }
}

pub struct ModelDoorbell {
    /// The processors of the notifiers.
    notifiers: Vec<Arc<Processor>>,
    kernel: Arc<Kernel>,
    sleepers: Sleepers<ModelEvent>,
    gone: AtomicU32,
    polled: AtomicU32,
    /// The number of wake-ups and of sleeps.
    counts: [AtomicU32; 2],
}

impl ModelDoorbell {
    pub fn new(notifiers: &[Arc<Processor>]) -> Self {
        let kernel = Arc::new(Kernel {
            state: Mutex::new(State::default()),
            changed: Condvar::new(),
        });
        Self {
            notifiers: notifiers.to_vec(),
            sleepers: Sleepers::new(|role| ModelEvent {
                kernel: kernel.clone(),
                role,
            }),
            kernel,
            gone: AtomicU32::new(0),
            polled: AtomicU32::new(0),
            counts: [(); 2].map(|()| AtomicU32::new(0)),
        }
    }

    /// The peer writes a byte.
    pub fn notify(&self) {
        self.kernel.change(|state| {
            state.bytes += 1;
            state.edge = true;
        });
        self.counts[0].fetch_add(1, Ordering::Relaxed);
    }

    /// The peer dies.
    pub fn hang_up(&self) {
        self.kernel.change(|state| {
            state.hung_up = true;
            state.edge = true;
        });
    }

    /// Sleeps until there is a wake-up, and leaves it.
    pub fn wait_for_wake_up(&self) {
        self.kernel
            .wait_until(|state| state.bytes > 0 || state.hung_up);
    }

    /// Consumes the wake-ups. Returns whether there were any.
    pub fn take_wake_ups(&self) -> bool {
        self.kernel.change(|state| std::mem::take(&mut state.bytes)) > 0
    }

    pub fn begin_polling(&self) {
        self.polled.store(1, Ordering::Release);
    }

    /// The event loop waits until the descriptor is readable.
    pub fn poll(&self) {
        self.kernel.wait_until(is_readable);
    }

    pub fn is_readable(&self) -> bool {
        self.kernel.change(|state| is_readable(state))
    }

    pub fn notify_self(&self) {
        self.sleepers.notify(PROCESS, None);
        self.set_readable();
    }

    /// Checks that no sleep had two wake-ups. `before` sleeps began before the model.
    pub fn check_counts(&self, before: u32) {
        let [wake_ups, sleeps] = [0, 1].map(|at: usize| self.counts[at].load(Ordering::Relaxed));
        assert!(
            wake_ups <= sleeps + before,
            "{wake_ups} wake-ups for {sleeps} sleeps"
        );
    }

    pub fn count_sleep(&self) {
        self.counts[1].fetch_add(1, Ordering::Relaxed);
    }

    fn consume_wake_ups(&self, except: Option<Role>) -> bool {
        self.sleepers.consume_wake_ups(PROCESS, except, || {
            let (bytes, hung_up) = self.kernel.change(|state| {
                let bytes = std::mem::take(&mut state.bytes);
                (bytes, state.hung_up)
            });
            if hung_up {
                self.gone.store(1, Ordering::Release);
            }
            bytes > 0 || hung_up
        })
    }
}

fn is_readable(state: &State) -> bool {
    // The kernel also checks that the pipe still has something.
    state.readable || (state.edge && (state.bytes > 0 || state.hung_up))
}

impl Doorbell for ModelDoorbell {
    type Deadline = Limit;

    fn epoch(&self) -> u32 {
        self.count_sleep();
        self.sleepers.epoch()
    }

    fn sleep(&self, role: Role, limit: &mut Limit, epoch: u32, woken_by_peer: bool) -> Result<()> {
        assert!(woken_by_peer);
        if !matches!(limit, Limit::Forever) {
            return Err(Errno::ETIMEDOUT);
        }
        self.sleepers.sleep(role, PROCESS, epoch, || {
            self.kernel.wait_until(|state| {
                state.bytes > 0 || state.hung_up || state.events[role as usize]
            });
        });
        if self.kernel.change(|state| state.bytes > 0 || state.hung_up)
            && self.consume_wake_ups(Some(role))
        {
            self.set_readable();
        }
        Ok(())
    }

    fn is_peer_gone(&self) -> bool {
        self.gone.load(Ordering::Acquire) != 0
    }

    fn check_peer(&self) -> bool {
        if self.kernel.change(|state| state.hung_up) {
            self.gone.store(1, Ordering::Release);
        }
        self.is_peer_gone()
    }

    fn is_polled(&self) -> bool {
        self.polled.load(Ordering::Acquire) != 0
    }

    fn set_readable(&self) {
        if self.is_polled() {
            self.kernel.change(|state| state.readable = true);
        }
    }

    fn drain(&self) {
        let (bytes, hung_up) = self.kernel.change(|state| {
            state.readable = false;
            state.edge = false;
            (state.bytes, state.hung_up)
        });
        if hung_up {
            self.gone.store(1, Ordering::Release);
        }
        // The library reads the bytes only after many events.
        if bytes > 1 {
            self.consume_wake_ups(None);
        }
    }

    fn barrier(&self) -> bool {
        self.notifiers.iter().for_each(|each| each.barrier());
        true
    }
}
