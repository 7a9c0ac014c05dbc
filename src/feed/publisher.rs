//! A feed: the object behind a handle of the C interface. Only one thread may use it at once.

use super::audience::{Audience, Feeding, WakeUps};
use super::handshake::FeedMemory;
use super::listener::Listening;
use super::options::FeedOptions;
use super::publisher_wait::{Awaited, FeedEvents};
use super::space::{SpaceBell, SpaceCondition};
use super::subscription::Report;
use crate::atomic::{AtomicU32, Ordering};
use crate::deadline::Deadline;
use crate::errno::{Result, errno, preserve_errno, preserve_errno_on_success};
use crate::shared_copy;
use crate::sys::{self, CancelGuard, membarrier};
use crate::transport::broadcast::Publisher;
use crate::transport::label;
use crate::transport::ring_memory::prefetch_write;
use crate::transport::spin::{Cpus, Spinner};
use crate::transport::wait::{Condition as _, EventWords, Progress, Role, wait};
use libc::{c_int, mode_t};
use probe::probe;
use std::cell::Cell;
use std::ffi::CStr;
use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};

/// A feed with subscribers looks for clients and dead subscribers after each publication whose number
/// is a multiple of this, a power of two, and after those that find a subscriber asleep.
const SERVICE_EVERY: u64 = 16;

/// The publisher of a feed.
pub struct Feed {
    ring: Publisher,
    memory: FeedMemory,
    audience: Audience,
    /// The length of the reserved message; 0 if there is none.
    reserved: usize,
    max: usize,
    /// The feed looks for clients and dead subscribers after each publication whose number has none
    /// of these bits. A counter would cost each publication a store; see `doc/channel-costs.md`.
    service_mask: u64,
    /// The process that publishes. A child that has the feed from fork can only close it.
    process: u32,
    /// When clients and dead subscribers were looked for the last time, in milliseconds.
    serviced_at: u64,
    spinner: Spinner,
    /// Whether the program has the descriptor for event loops.
    is_polled: bool,
    /// 1: subscribers use the asymmetric fence, if this process can issue a barrier.
    asymmetric: AtomicU32,
    listening: Option<Listening>,
}

impl Feed {
    /// Makes a feed without subscribers.
    pub fn new(options: &FeedOptions) -> Result<Self> {
        // A cancelled thread would leak descriptors.
        let _uncancelled = CancelGuard::new();
        let geometry = options.geometry()?;
        let subscribers_max = options.subscribers_max()?;
        let (memory, fd) = FeedMemory::create(&label::FEED, geometry, options.pages)?;
        let membarrier = membarrier::register();
        let lossy_only = options.lossy_only;
        let stall_ns = options.stall_ms.saturating_mul(1_000_000);
        for (word, number) in memory.control().identity.id.iter().zip(new_id()) {
            word.store(number, Ordering::Relaxed);
        }
        memory.label().write(&label::FEED);
        memory.label().set_peer(0, geometry.align());
        Ok(Self {
            ring: Publisher::new(geometry),
            memory,
            audience: Audience::new(fd, subscribers_max, membarrier, lossy_only, stall_ns)?,
            reserved: 0,
            max: geometry.longest() as usize,
            service_mask: 0,
            process: sys::process_id(),
            serviced_at: 0,
            spinner: Spinner::new(options.spin),
            is_polled: false,
            asymmetric: AtomicU32::new(membarrier.into()),
            listening: None,
        })
    }

    /// Publishes a message.
    #[inline]
    pub fn publish(&mut self, bytes: &[u8], deadline: Deadline) -> Result<()> {
        let len = bytes.len();
        let is_quick = len <= shared_copy::SHORT
            && self.is_free(len)
            && sys::is_known_process_id(self.process)
            && !self.ring.overwrites(self.ring.record_size(len));
        if !is_quick {
            return self.publish_any(bytes, deadline);
        }
        let space = self.memory.message(self.ring.position());
        // SAFETY: the record is free and overwrites none, so it has `len` bytes there, aligned to 8.
        unsafe { shared_copy::short_to_shared(bytes, space) };
        prefetch_write(space.as_ptr().wrapping_add(len));
        self.publish_reserved(len);
        Ok(())
    }

    #[inline(never)]
    fn publish_any(&mut self, bytes: &[u8], deadline: Deadline) -> Result<()> {
        let space = self.reserve_space(bytes.len(), deadline)?;
        // SAFETY: `reserve_space` has reserved `bytes.len()` bytes there, aligned to 8.
        unsafe { shared_copy::to_shared(bytes, space) };
        self.publish_reserved(bytes.len());
        Ok(())
    }

    /// Reserves space for a message of `len` bytes, which the caller writes before `commit`.
    pub fn reserve(&mut self, len: usize, deadline: Deadline) -> Result<*mut u8> {
        let space = self.reserve_space(len, deadline)?;
        self.reserved = len;
        Ok(space.as_ptr())
    }

    /// Publishes the first `len` bytes of the reserved space.
    pub fn commit(&mut self, len: usize) -> Result<()> {
        if len == 0 || len > self.reserved {
            return Err(errno!(EINVAL));
        }
        self.check_process()?;
        self.reserved = 0;
        self.publish_reserved(len);
        Ok(())
    }

    /// Gives reserved space back.
    pub fn cancel(&mut self) -> Result<()> {
        self.check_process()?;
        if self.reserved == 0 {
            return Err(errno!(EINVAL));
        }
        self.reserved = 0;
        Ok(())
    }

    /// Whether there is space for a message of `len` bytes.
    #[inline(always)]
    fn is_free(&self, len: usize) -> bool {
        // One comparison for both limits: 0 wraps around.
        len.wrapping_sub(1) < self.max
            && self.reserved == 0
            && self.ring.has_space(self.ring.record_size(len))
    }

    fn reserve_space(&mut self, len: usize, deadline: Deadline) -> Result<NonNull<u8>> {
        if !self.is_free(len) || self.check_process().is_err() {
            self.reserve_slow(len, deadline)?;
        }
        let need = self.ring.record_size(len);
        self.ring
            .overwrite(need, &self.memory, &self.memory.control().words);
        Ok(self.memory.message(self.ring.position()))
    }

    #[cold]
    fn reserve_slow(&mut self, len: usize, mut deadline: Deadline) -> Result<()> {
        if len == 0 {
            return Err(errno!(EINVAL));
        }
        if len > self.max {
            return Err(errno!(EMSGSIZE));
        }
        self.check_process()?;
        if self.reserved != 0 {
            return Err(errno!(EBUSY));
        }
        let need = self.ring.record_size(len);
        preserve_errno_on_success(|| {
            let waited = self.wait_for_space(need, &mut deadline);
            if !deadline.is_never() {
                self.audience.return_event();
            }
            waited
        })
    }

    /// `EBUSY` in a process that has the feed from fork.
    fn check_process(&self) -> Result<()> {
        let is_own = self.process == sys::process_id();
        is_own.then_some(()).ok_or(errno!(EBUSY))
    }

    /// Waits until the subscribers that this process waits for leave `need` bytes.
    fn wait_for_space(&mut self, need: u64, deadline: &mut Deadline) -> Result<()> {
        let feed = ptr::from_ref(self);
        let control = self.memory.control();
        let check_again = Cell::new(None);
        let (_, slowest) = self.audience.slowest(self.ring.tail());
        let slowest = slowest.and_then(|index| self.audience.subscriptions().get(index));
        let theirs = slowest.map(|subscription| subscription.cpu().copy());
        let epoll = self.audience.events.number();
        let awaited = Awaited {
            feeding: Feeding {
                memory: &self.memory,
                ring: &mut self.ring,
            },
            audience: &mut self.audience,
            wake_ups: match deadline.is_never() {
                true => WakeUps::LeaveAwaited,
                false => WakeUps::Consume,
            },
        };
        let mut condition = SpaceCondition {
            subscribers: awaited,
            need,
            check_again: &check_again,
        };
        if condition.poll()? || condition.check()? == Progress::Ready {
            return Ok(());
        }
        let words = EventWords {
            event_count: &control.space.word,
            peer_asymmetric: &self.asymmetric,
        };
        let bell = SpaceBell {
            events: FeedEvents::new(epoll)?,
            check_again: &check_again,
        };
        if deadline.is_never() {
            if !self.is_polled {
                return Err(errno!(EAGAIN));
            }
            let woken = words.announce(&bell);
            // Subscribers that have made space before the announcement do not wake this process. A
            // wake-up that comes after it stays for the event loop.
            if condition.is_free()? {
                return Ok(());
            }
            let most = bell.longest_sleep(woken);
            condition.subscribers.audience.await_event(most);
            return Err(errno!(EAGAIN));
        }
        if let Some(theirs) = &theirs {
            let cpus = Cpus {
                mine: &control.space.cpu,
                theirs,
            };
            let spun = self.spinner.spin(cpus, &bell, &mut condition, deadline)?;
            if spun != Progress::Pending {
                return Ok(());
            }
        }
        probe!(unixipc, feed_sleep, feed);
        let waited = wait(&bell, Role::Sender, words, &mut condition, deadline);
        probe!(unixipc, feed_awake, feed);
        waited.map(drop)
    }

    /// Publishes the message of `len` bytes in the reserved space, and wakes the subscribers.
    #[inline(always)]
    fn publish_reserved(&mut self, len: usize) {
        let words = &self.memory.control().words;
        probe!(
            unixipc,
            feed_publish,
            ptr::from_ref(self),
            len,
            self.ring.count()
        );
        self.ring.publish(len as u32, &self.memory, words);
        if self.is_service_due() || !self.audience.are_all_awake() {
            self.after_publish();
        }
    }

    #[inline(always)]
    fn is_service_due(&self) -> bool {
        self.ring.count() & self.service_mask == 0
    }

    /// The rare steps after a publication. It has succeeded, whatever their result.
    #[cold]
    #[inline(never)]
    fn after_publish(&mut self) {
        preserve_errno(|| {
            let any_asleep = self.audience.notify(&self.memory);
            if self.is_service_due() || any_asleep {
                self.service_seldom();
            }
        });
    }

    /// Services the feed, unless it has been serviced in the same millisecond.
    fn service_seldom(&mut self) {
        // While there are no subscribers, nothing shows how often the feed publishes.
        self.service_mask = if self.audience.is_empty() {
            0
        } else {
            SERVICE_EVERY - 1
        };
        self.memory.control().space.cpu.publish();
        let now = sys::coarse_ms();
        if now != self.serviced_at {
            self.serviced_at = now;
            // A client that cannot be accepted stays in the queue.
            let _ = self.service_once(WakeUps::LeaveAwaited);
        }
    }

    fn service_once(&mut self, wake_ups: WakeUps) -> Result<()> {
        let mut feeding = Feeding {
            memory: &self.memory,
            ring: &mut self.ring,
        };
        self.audience.service(&mut feeding, wake_ups)
    }

    /// Admits the clients that wait, and forgets the dead subscribers.
    pub fn service(&mut self) -> Result<()> {
        self.check_process()?;
        self.audience.end_await();
        preserve_errno_on_success(|| self.service_once(WakeUps::Consume))
    }

    /// Listens for subscribers at a path.
    pub fn listen(&mut self, path: &CStr, mode: mode_t) -> Result<()> {
        self.check_process()?;
        if self.audience.clients.is_listening() {
            return Err(errno!(EBUSY));
        }
        let _uncancelled = CancelGuard::new();
        let (listening, socket) = Listening::new(path, mode)?;
        let inode = nix::sys::stat::fstat(&socket).map_or(0, |st| st.st_ino);
        let listens = self.audience.clients.listen(socket, &self.audience.events);
        match listens {
            Ok(()) => {
                self.memory.label().set_listener(inode);
                self.listening = Some(listening);
            }
            Err(_) => listening.unlink(),
        }
        listens
    }

    /// Admits the process at the other end of a socket, as soon as it asks for that.
    pub fn add(&mut self, socket: BorrowedFd) -> Result<()> {
        self.check_process()?;
        let _uncancelled = CancelGuard::new();
        let id = self.audience.clients.add(socket, &self.audience.events)?;
        preserve_errno_on_success(|| {
            let mut feeding = Feeding {
                memory: &self.memory,
                ring: &mut self.ring,
            };
            self.audience.greet(id, &mut feeding);
            Ok(())
        })
    }

    /// The descriptor for event loops.
    pub fn fd(&mut self) -> Result<c_int> {
        self.check_process()?;
        self.audience.prepare_polling()?;
        self.is_polled = true;
        Ok(self.audience.events.number())
    }

    /// Calls `each` with a report about each subscriber. Returns their number.
    pub fn subscribers(&mut self, mut each: impl FnMut(Report)) -> Result<usize> {
        self.check_process()?;
        let (count, tail, oldest) = (self.ring.count(), self.ring.tail(), self.ring.oldest());
        self.audience.end_old_stalls(&self.ring);
        let subscriptions = self.audience.subscriptions();
        for subscription in subscriptions.iter_mut() {
            each(subscription.report(count, tail, oldest));
        }
        Ok(subscriptions.len())
    }

    /// The longest message that can be published.
    pub fn max(&self) -> usize {
        self.max
    }

    /// The number of messages that were published.
    pub fn count(&self) -> u64 {
        self.ring.count()
    }

    /// The identity of the feed.
    pub fn id(&self) -> [u8; 16] {
        self.memory.id()
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        if self.check_process().is_err() {
            return;
        }
        if let Some(listening) = &self.listening {
            listening.unlink();
        }
        // Pairs with the acquire load in `NextCondition::check`: all messages are visible. A child
        // may still have the write ends of the pipes, so their closing is not enough.
        let ended = &self.memory.control().words.seldom.ended;
        ended.store(1, Ordering::Release);
        self.audience.wake_all();
    }
}

impl FeedMemory {
    /// The identity of the feed.
    pub fn id(&self) -> [u8; 16] {
        let [low, high] = &self.control().identity.id;
        let number = |word: &crate::atomic::AtomicU64| u128::from(word.load(Ordering::Relaxed));
        (number(low) | number(high) << 64).to_le_bytes()
    }
}

/// A new identity.
fn new_id() -> [u64; 2] {
    let mut bytes = [0; 16];
    if sys::random(&mut bytes).is_err() {
        // A system call filter refuses random numbers. Two feeds do not begin at the same time in
        // the same process.
        let process = u128::from(sys::process_id());
        let time = u128::from(sys::monotonic_ns());
        bytes = (process << 64 | time).to_le_bytes();
    }
    let number = u128::from_le_bytes(bytes);
    [number as u64, (number >> 64) as u64]
}
