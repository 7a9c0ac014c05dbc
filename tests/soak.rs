//! Two processes send messages to each other in both directions at the same time, with all calls.
//! The test kills them repeatedly; each new process connects again through the listener's path.
//! Every message must be complete and in order. No message that was sent before a death may be
//! lost, and no object may remain.
//!
//! The default is a million messages; UNIXIPC_TEST_SCALE multiplies it.

use common::child::{fork, kill};
use common::prelude::*;
use libc::*;
use std::ffi::CString;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use std::{fs, ptr, slice, thread};
use unixipc::ffi::channel::*;
use unixipc::ffi::pair::IPC_WAIT_INTR;

/// The number of messages that must be received.
const MESSAGES: u64 = 1_000_000;
/// The largest number of messages in one direction of a connection.
const CONNECTION: u64 = 20_000;
/// The number of connections whose state is kept.
const SLOTS: usize = 1024;
/// The maximum duration of a call or a connection.
const LIMIT: Duration = Duration::from_secs(60);
/// A ring that is small enough to be full sometimes.
const RING: u64 = 64 << 10;

fn main() -> std::process::ExitCode {
    common::isolated::main()
}

/// The state of a connection, in memory that survives both sides. Index 0 is the direction from the
/// client to the server.
#[derive(Default)]
struct Slot {
    /// The number of messages that were sent.
    sent: [AtomicU64; 2],
    /// 1 after the last message.
    done: [AtomicU64; 2],
}

struct Shared {
    connections: AtomicU64,
    received: AtomicU64,
    /// The numbers of directions that ended after all messages, and after a death.
    ends: AtomicU64,
    deaths: AtomicU64,
    slots: [Slot; SLOTS],
    /// Random bytes, from which the messages are taken.
    store: [u8; 4 * RING as usize],
}

fn shared(random: &mut Random) -> &'static Shared {
    let (protection, flags) = (PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS);
    let len = size_of::<Shared>();
    // SAFETY: a new mapping.
    let at = unsafe { mmap(ptr::null_mut(), len, protection, flags, -1, 0) };
    assert_ne!(at, MAP_FAILED);
    // SAFETY: all zeros is a valid value; the mapping lives as long as the process.
    let shared = unsafe { &mut *at.cast::<Shared>() };
    for part in shared.store.chunks_exact_mut(8) {
        part.copy_from_slice(&random.next_u64().to_le_bytes());
    }
    shared
}

struct Channel(*mut unixipc::channel::Channel);

// SAFETY: one thread sends and one receives.
unsafe impl Sync for Channel {}

impl Drop for Channel {
    fn drop(&mut self) {
        // SAFETY: a channel, and this is its last use.
        unsafe { ipc_channel_close(self.0) };
    }
}

/// The message with a given number: its first bytes, and other bytes, which are part of the shared
/// store.
struct Message<'a> {
    first: [u8; 8],
    all: &'a [u8],
}

impl<'a> Message<'a> {
    fn new(store: &'a [u8], seed: u64, number: u64, max: u64) -> Self {
        let mut random = Random(seed ^ number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        // All orders of magnitude are equally probable.
        let bits = random.below(17);
        let len = (1 + random.below(1 << bits)).min(max) as usize;
        let from = random.below(store.len() as u64 - max) as usize;
        Self {
            first: random.next_u64().to_le_bytes(),
            all: &store[from..from + len],
        }
    }

    fn len(&self) -> usize {
        self.all.len()
    }

    fn fill(&self, bytes: &mut [u8]) {
        let first = self.len().min(8);
        bytes[..first].copy_from_slice(&self.first[..first]);
        bytes[first..].copy_from_slice(&self.all[first..]);
    }

    #[track_caller]
    fn check(&self, bytes: &[u8]) {
        assert_eq!(bytes.len(), self.len());
        let first = self.len().min(8);
        assert_eq!(bytes[..first], self.first[..first]);
        assert!(bytes[first..] == self.all[first..], "other bytes");
    }
}

/// Repeats a call with various time-outs until it succeeds or fails for another reason.
fn retry(random: &mut Random, mut call: impl FnMut(c_int) -> Outcome) -> Outcome {
    let begin = Instant::now();
    loop {
        let timeout_ms = match random.below(8) {
            0 | 1 => 0,
            2 => 1,
            3 => 1 + random.below(20) as c_int,
            4 => IPC_WAIT_INTR,
            _ => -1,
        };
        match (call(timeout_ms), timeout_ms) {
            (Err(EAGAIN), 0) => {
                thread::yield_now();
            }
            (Err(ETIMEDOUT), 1..) => {}
            (done, _) => return done,
        }
        assert!(begin.elapsed() < LIMIT, "no message and no end");
    }
}

/// Sends the messages of a direction. Returns false if the peer ended before the last message.
fn send_all(ch: &Channel, shared: &Shared, slot: &Slot, direction: usize, seed: u64) -> bool {
    let mut random = Random(seed ^ 1);
    // SAFETY: a channel.
    let max = unsafe { ipc_channel_max(ch.0) } as u64;
    let count = 1 + Random(seed).below(CONNECTION);
    let mut bytes = vec![0; max as usize];
    for number in 0..count {
        let message = Message::new(&shared.store, seed, number, max);
        let len = message.len();
        let sent = if random.below(2) == 0 {
            message.fill(&mut bytes[..len]);
            let at = bytes.as_ptr().cast();
            retry(&mut random, |timeout_ms| {
                // SAFETY: the slice, with a length within it.
                outcome(|| unsafe { ipc_channel_send(ch.0, at, len, timeout_ms) } as isize)
            })
        } else {
            send_in_place(ch, &message, max, &mut random)
        };
        match sent {
            Ok(_) => slot.sent[direction].store(number + 1, Ordering::SeqCst),
            Err(EPIPE) => return false,
            Err(error) => panic!("sending: {error}"),
        }
    }
    slot.done[direction].store(1, Ordering::SeqCst);
    // SAFETY: a channel.
    assert_eq!(unsafe { ipc_channel_shutdown(ch.0, SHUT_WR) }, 0);
    true
}

/// Sends with reserve and commit. Sometimes reserves more than necessary, or cancels first.
fn send_in_place(ch: &Channel, message: &Message, max: u64, random: &mut Random) -> Outcome {
    let len = message.len();
    let more = random.below(100).min(max - len as u64) as usize;
    let cancelled = random.below(16) == 0;
    for last in [false, true] {
        if !last && !cancelled {
            continue;
        }
        let mut payload = ptr::null_mut();
        retry(random, |timeout_ms| {
            outcome(|| {
                // SAFETY: a channel.
                payload = unsafe { ipc_channel_reserve(ch.0, len + more, timeout_ms) };
                if payload.is_null() { -1 } else { 0 }
            })
        })?;
        if !last {
            // SAFETY: a channel.
            assert_eq!(unsafe { ipc_channel_cancel(ch.0) }, 0);
        }
        // SAFETY: at least this number of bytes is reserved, for this thread alone.
        let payload = unsafe { slice::from_raw_parts_mut(payload.cast::<u8>(), len) };
        if last {
            message.fill(payload);
        }
    }
    // SAFETY: a channel.
    outcome(|| unsafe { ipc_channel_commit(ch.0, len) } as isize)
}

/// Receives the messages of a direction until its end, and checks that none is missing.
fn receive_all(ch: &Channel, shared: &Shared, slot: &Slot, direction: usize, seed: u64) {
    let mut random = Random(seed ^ 2);
    // SAFETY: a channel; both sides have the same size.
    let max = unsafe { ipc_channel_max(ch.0) } as u64;
    let mut bytes = vec![0; max as usize];
    let polls = seed % 3 == 0;
    let mut number = 0;
    loop {
        let message = Message::new(&shared.store, seed, number, max);
        let len = message.len();
        if polls && random.below(64) == 0 {
            poll_once(ch);
        }
        let received = match random.below(4) {
            0 => receive_in_place(ch, &message, &mut random),
            1 if len > 1 => {
                let cap = 1 + random.below(len as u64 - 1) as usize;
                match receive(ch, &mut bytes[..cap], &mut random) {
                    Err(EMSGSIZE) => continue, // the message stays queued
                    Ok(0) => Ok(0),
                    other => panic!("a message of {len} in {cap}: {other:?}"),
                }
            }
            _ => receive(ch, &mut bytes, &mut random).inspect(|received| {
                if *received > 0 {
                    message.check(&bytes[..*received]);
                }
            }),
        };
        match received {
            Ok(0) => break,
            Ok(received) => assert_eq!(received, len, "message {number}"),
            Err(error) => panic!("receiving: {error}"),
        }
        number += 1;
        shared.received.fetch_add(1, Ordering::Relaxed);
    }
    // The sender has ended or died. Its counter survives it.
    let sent = slot.sent[direction].load(Ordering::SeqCst);
    if slot.done[direction].load(Ordering::SeqCst) == 1 {
        assert_eq!(number, sent, "messages that were sent");
        shared.ends.fetch_add(1, Ordering::Relaxed);
    } else {
        // The sender may have died between sending and counting.
        assert!(number == sent || number == sent + 1, "{number} of {sent}");
        shared.deaths.fetch_add(1, Ordering::Relaxed);
    }
}

fn receive(ch: &Channel, buffer: &mut [u8], random: &mut Random) -> Outcome {
    let (at, cap) = (buffer.as_mut_ptr().cast(), buffer.len());
    retry(random, |timeout_ms| {
        // SAFETY: the slice, with its length.
        outcome(|| unsafe { ipc_channel_recv(ch.0, at, cap, timeout_ms) })
    })
}

fn receive_in_place(ch: &Channel, message: &Message, random: &mut Random) -> Outcome {
    let mut at = ptr::null();
    let len = retry(random, |timeout_ms| {
        // SAFETY: a channel, and a valid out pointer.
        outcome(|| unsafe { ipc_channel_peek(ch.0, &mut at, timeout_ms) })
    })?;
    if len > 0 {
        // SAFETY: the message stays valid until it is released.
        message.check(unsafe { slice::from_raw_parts(at.cast(), len) });
        // SAFETY: a channel.
        assert_eq!(unsafe { ipc_channel_release(ch.0) }, 0);
    }
    Ok(len)
}

fn poll_once(ch: &Channel) {
    // SAFETY: a channel.
    let fd = unsafe { ipc_channel_fd(ch.0) };
    let mut ready = pollfd {
        fd,
        events: POLLIN,
        revents: 0,
    };
    // SAFETY: one valid pollfd.
    assert!(unsafe { libc::poll(&mut ready, 1, 1) } >= 0);
}

/// Uses one connection, whose number both processes know.
fn converse(ch: Channel, shared: &Shared, number: u64, sends: usize) {
    let slot = &shared.slots[number as usize % SLOTS];
    let seed = |direction: usize| Random(number * 2 + direction as u64).next_u64();
    thread::scope(|scope| {
        let sending = scope.spawn(|| send_all(&ch, shared, slot, sends, seed(sends)));
        receive_all(&ch, shared, slot, 1 - sends, seed(1 - sends));
        sending.join().unwrap();
    });
}

fn opts() -> ipc_channel_opts {
    // SAFETY: a structure of integers, for which all zeros is a valid value.
    let mut opts: ipc_channel_opts = unsafe { std::mem::zeroed() };
    opts.send_size = RING;
    opts
}

fn serve(path: &CString, shared: &Shared) {
    // SAFETY: a string.
    let listener = unsafe { ipc_channel_listen(path.as_ptr(), 0o600, 0) };
    assert!(listener >= 0, "listen: {}", std::io::Error::last_os_error());
    loop {
        let mut ch = ptr::null_mut();
        let (opts, size) = (opts(), size_of::<ipc_channel_opts>());
        let accepted = outcome(|| {
            // SAFETY: the structure with its size, and a valid out pointer.
            (unsafe { ipc_channel_accept(listener, &opts, size, -1, &mut ch) }) as isize
        });
        match accepted {
            Ok(_) => {}
            Err(EPIPE) => continue, // the client was killed
            Err(error) => panic!("accept: {error}"),
        }
        let ch = Channel(ch);
        let mut number = [0; 8];
        match receive(&ch, &mut number, &mut Random(0)) {
            Ok(8) => converse(ch, shared, u64::from_le_bytes(number), 1),
            Ok(0) | Err(EPIPE) => {}
            other => panic!("the number: {other:?}"),
        }
    }
}

fn call(path: &CString, shared: &Shared) {
    loop {
        let mut ch = ptr::null_mut();
        let (opts, size) = (opts(), size_of::<ipc_channel_opts>());
        let connected = outcome(|| {
            // SAFETY: a string, the structure with its size, and a valid out pointer.
            (unsafe { ipc_channel_connect(path.as_ptr(), &opts, size, -1, &mut ch) }) as isize
        });
        match connected {
            Ok(_) => {}
            // The server was killed, and the next one does not listen yet.
            Err(ENOENT | ECONNREFUSED | EPIPE) => {
                thread::sleep(Duration::from_millis(1));
                continue;
            }
            Err(error) => panic!("connect: {error}"),
        }
        let ch = Channel(ch);
        let number = shared.connections.fetch_add(1, Ordering::SeqCst);
        let slot = &shared.slots[number as usize % SLOTS];
        for word in slot.sent.iter().chain(&slot.done) {
            word.store(0, Ordering::SeqCst);
        }
        let bytes = number.to_le_bytes();
        // SAFETY: eight bytes.
        let sent = outcome(|| unsafe {
            ipc_channel_send(ch.0, bytes.as_ptr().cast(), bytes.len(), -1) as isize
        });
        match sent {
            Ok(_) => converse(ch, shared, number, 0),
            Err(EPIPE) => {}
            Err(error) => panic!("the number: {error}"),
        }
    }
}

#[apply(isolated)]
fn soak() {
    let path = std::env::temp_dir().join("listener");
    let name = CString::new(path.to_str().unwrap()).unwrap();
    let mut random = Random(u64::from(std::process::id()));
    let shared = shared(&mut random);
    let messages = scaled(MESSAGES);
    let start = |server: bool| {
        fork(|| {
            if server {
                serve(&name, shared);
            } else {
                call(&name, shared);
            }
        })
    };
    let mut pair = [true, false].map(|server| Some(start(server)));
    let mut kills = 0;
    let begin = Instant::now();
    loop {
        // The next kill comes at a random time within the next 30,000 messages.
        let received = shared.received.load(Ordering::Relaxed);
        let next = received + random.below(30_000);
        let since = Instant::now();
        while shared.received.load(Ordering::Relaxed) < next {
            assert!(since.elapsed() < LIMIT, "no progress at {received}");
            thread::sleep(Duration::from_micros(300));
        }
        if shared.received.load(Ordering::Relaxed) >= messages {
            break;
        }
        let victim = random.below(2) as usize;
        kill(pair[victim].take().unwrap());
        pair[victim] = Some(start(victim == 0));
        kills += 1;
    }
    let time = begin.elapsed().as_secs_f64();
    pair.into_iter().flatten().for_each(kill);
    fs::remove_file(path).unwrap();
    let (ends, deaths) = (&shared.ends, &shared.deaths);
    let (ends, deaths) = (ends.load(Ordering::Relaxed), deaths.load(Ordering::Relaxed));
    println!(
        "{} messages, {} connections, {kills} kills, {ends} ends, {deaths} deaths seen, {time:.1} s",
        shared.received.load(Ordering::Relaxed),
        shared.connections.load(Ordering::Relaxed),
    );
    assert!(kills > 3 && ends > 3 && deaths > 3, "too few events");
}
