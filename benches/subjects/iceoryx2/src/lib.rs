//! C functions for the publish-subscribe and event services of iceoryx2. A link is one process's end
//! of two services: it publishes to the first and subscribes to the second. A link that only
//! publishes or only subscribes has one service.
//!
//! The C boundary costs one or two nanoseconds per call; a message costs hundreds.

use std::error::Error;
use std::ffi::{CStr, c_char};
use std::mem::MaybeUninit;
use std::ptr;

use iceoryx2::port::listener::Listener;
use iceoryx2::port::notifier::Notifier;
use iceoryx2::port::publisher::Publisher;
use iceoryx2::port::subscriber::Subscriber;
use iceoryx2::port::update_connections::UpdateConnections;
use iceoryx2::prelude::*;
use iceoryx2::sample::Sample;
use iceoryx2::sample_mut::SampleMut;
use iceoryx2::sample_mut_uninit::SampleMutUninit;

const VERSION: &CStr = c"iceoryx2 0.10.0";

/// The element of a payload. It gives the payload the same alignment as in the other subjects.
type Word = u64;

pub struct Link {
    // Drop order: the samples, the ports, the node.
    loaned: Option<SampleMutUninit<ipc::Service, [MaybeUninit<Word>], ()>>,
    peeked: Option<Sample<ipc::Service, [Word], ()>>,
    publisher: Option<Publisher<ipc::Service, [Word], ()>>,
    subscriber: Option<Subscriber<ipc::Service, [Word], ()>>,
    notifier: Option<Notifier<ipc::Service>>,
    listener: Option<Listener<ipc::Service>>,
    subscribers: usize,
    yields: bool,
    _node: Node<ipc::Service>,
}

fn report(call: &str, error: &dyn Error) {
    eprintln!("iceoryx2: {call}: {error:?}");
}

/// The options of a link.
#[repr(C)]
pub struct Options {
    /// The services; NULL: none.
    to: *const c_char,
    from: *const c_char,
    /// The length of a payload in bytes, and how many of them a subscriber can have unread.
    len: usize,
    depth: usize,
    /// The number of subscribers of each service.
    subscribers: usize,
    /// Whether a subscriber sleeps. Otherwise it spins.
    events: bool,
    /// Whether a subscriber that spins leaves its processor to other processes.
    yields: bool,
}

fn open(
    directory: &[u8],
    prefix: &[u8],
    [to, from]: [Option<&str>; 2],
    options: &Options,
) -> Result<Link, Box<dyn Error>> {
    let (depth, subscribers) = (options.depth, options.subscribers);
    let mut config = Config::default();
    config.global.set_root_path(&Path::new(directory)?);
    config.global.prefix = FileName::new(prefix)?;
    let node = NodeBuilder::new()
        .config(&config)
        .signal_handling_mode(SignalHandlingMode::Disabled)
        .create::<ipc::Service>()?;

    // No message may be lost: a full buffer makes the publisher wait.
    let service = |name: &str| -> Result<_, Box<dyn Error>> {
        Ok(node
            .service_builder(&name.try_into()?)
            .publish_subscribe::<[Word]>()
            .enable_safe_overflow(false)
            .history_size(0)
            .subscriber_max_buffer_size(depth)
            .subscriber_max_borrowed_samples(2)
            .max_publishers(1)
            .max_subscribers(subscribers)
            .max_nodes(subscribers + 1)
            .open_or_create()?)
    };
    let publisher = |name: &str| -> Result<_, Box<dyn Error>> {
        Ok(service(name)?
            .publisher_builder()
            .initial_max_slice_len(options.len / size_of::<Word>())
            .max_loaned_samples(2)
            .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
            .create()?)
    };
    let subscriber = |name: &str| -> Result<_, Box<dyn Error>> {
        Ok(service(name)?
            .subscriber_builder()
            .buffer_size(depth)
            .create()?)
    };

    let event = |name: &str| -> Result<_, Box<dyn Error>> {
        Ok(node
            .service_builder(&name.try_into()?)
            .event()
            .max_notifiers(1)
            .max_listeners(subscribers)
            .max_nodes(subscribers + 1)
            .open_or_create()?)
    };
    let notifier =
        |name: &str| -> Result<_, Box<dyn Error>> { Ok(event(name)?.notifier_builder().create()?) };
    let listener =
        |name: &str| -> Result<_, Box<dyn Error>> { Ok(event(name)?.listener_builder().create()?) };
    let with_events = |_: &&str| options.events;
    Ok(Link {
        loaned: None,
        peeked: None,
        publisher: to.map(publisher).transpose()?,
        subscriber: from.map(subscriber).transpose()?,
        notifier: to.filter(with_events).map(notifier).transpose()?,
        listener: from.filter(with_events).map(listener).transpose()?,
        subscribers,
        yields: options.yields,
        _node: node,
    })
}

impl Link {
    fn notify(&self) -> bool {
        let Some(notifier) = &self.notifier else {
            return true;
        };
        match notifier.notify() {
            Ok(_) => true,
            Err(error) => {
                report("notify", &error);
                false
            }
        }
    }

    /// Returns a sample to write.
    fn loan(&self, len: usize) -> Option<SampleMutUninit<ipc::Service, [MaybeUninit<Word>], ()>> {
        let publisher = self.publisher.as_ref()?;
        match publisher.loan_slice_uninit(len / size_of::<Word>()) {
            Ok(sample) => Some(sample),
            Err(error) => {
                report("loan", &error);
                None
            }
        }
    }

    /// Sends a sample to all subscribers, and wakes them.
    fn send(&self, sample: SampleMut<ipc::Service, [Word], ()>) -> bool {
        match sample.send() {
            Ok(count) if count == self.subscribers => self.notify(),
            Ok(_) => {
                eprintln!("iceoryx2: a message lacks a subscriber");
                false
            }
            Err(error) => {
                report("send", &error);
                false
            }
        }
    }

    /// Waits for a message: sleeps if the link has events, otherwise spins.
    fn receive(&self) -> Option<Sample<ipc::Service, [Word], ()>> {
        let subscriber = self.subscriber.as_ref()?;
        loop {
            match subscriber.receive() {
                Ok(Some(sample)) => return Some(sample),
                Ok(None) => (),
                Err(error) => {
                    report("receive", &error);
                    return None;
                }
            }
            if let Some(listener) = &self.listener {
                if let Err(error) = listener.blocking_wait(|_| ()) {
                    report("blocking_wait", &error);
                    return None;
                }
            } else if self.yields {
                std::thread::yield_now();
            }
        }
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn iceoryx2_version() -> *const c_char {
    VERSION.as_ptr()
}

/// Opens a link. On failure, prints the error and returns NULL.
///
/// # Safety
/// `directory` and `prefix` must be strings, and the services in `options` strings or NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn iceoryx2_open(
    directory: *const c_char,
    prefix: *const c_char,
    options: *const Options,
) -> *mut Link {
    // SAFETY: the caller passes options, and they are used during this call only.
    let options = unsafe { &*options };
    let texts = [directory, prefix, options.to, options.from].map(|text| {
        // SAFETY: the caller passes strings or NULL, and they are used during this call only.
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) })
    });
    let [Some(directory), Some(prefix), to, from] = texts else {
        return ptr::null_mut();
    };
    set_log_level(LogLevel::Error);
    let names = [to, from].map(|name| name?.to_str().ok());
    match open(directory.to_bytes(), prefix.to_bytes(), names, options) {
        Ok(link) => Box::into_raw(Box::new(link)),
        Err(error) => {
            report("open", error.as_ref());
            ptr::null_mut()
        }
    }
}

/// Connects the link to the other processes. All processes must have opened their links, because a
/// message goes only to subscribers that the publisher knows.
///
/// # Safety
/// `link` must come from iceoryx2_open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn iceoryx2_connect(link: *const Link) -> bool {
    // SAFETY: the link is valid, and no other thread uses it.
    let link = unsafe { &*link };
    let publisher = link.publisher.as_ref();
    let subscriber = link.subscriber.as_ref();
    publisher.is_none_or(|port| port.update_connections().is_ok())
        && subscriber.is_none_or(|port| port.update_connections().is_ok())
}

/// # Safety
/// `link` must come from iceoryx2_open, and this must be its last use.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn iceoryx2_close(link: *mut Link) {
    // SAFETY: the link came from Box::into_raw, and this is its last use.
    drop(unsafe { Box::from_raw(link) });
}

/// Copies a payload into a sample and sends it.
///
/// # Safety
/// `link` must come from iceoryx2_open. `payload` must be aligned and have `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn iceoryx2_send(
    link: *const Link,
    payload: *const Word,
    len: usize,
) -> bool {
    // SAFETY: the link is valid, and no other thread uses it.
    let link = unsafe { &*link };
    // SAFETY: the payload is aligned and has `len` bytes.
    let payload = unsafe { std::slice::from_raw_parts(payload, len / size_of::<Word>()) };
    link.loan(len)
        .is_some_and(|sample| link.send(sample.write_from_slice(payload)))
}

/// Returns a buffer for a payload, which iceoryx2_commit sends; NULL on failure.
///
/// # Safety
/// `link` must come from iceoryx2_open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn iceoryx2_loan(link: *mut Link, len: usize) -> *mut Word {
    // SAFETY: the link is valid, and no other thread uses it.
    let link = unsafe { &mut *link };
    match link.loan(len) {
        Some(mut sample) => {
            let payload = sample.payload_mut().as_mut_ptr().cast();
            link.loaned = Some(sample);
            payload
        }
        None => ptr::null_mut(),
    }
}

/// # Safety
/// `link` must come from iceoryx2_open, and the buffer of iceoryx2_loan must have been written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn iceoryx2_commit(link: *mut Link) -> bool {
    // SAFETY: the link is valid, and no other thread uses it.
    let link = unsafe { &mut *link };
    let Some(sample) = link.loaned.take() else {
        return false;
    };
    // SAFETY: the caller has written all of it.
    let sample = unsafe { sample.assume_init() };
    link.send(sample)
}

/// Waits for a message of `len` bytes and copies it.
///
/// # Safety
/// `link` must come from iceoryx2_open. `payload` must be aligned and have `len` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn iceoryx2_recv(link: *const Link, payload: *mut Word, len: usize) -> bool {
    // SAFETY: the link is valid, and no other thread uses it.
    let link = unsafe { &*link };
    let Some(sample) = link.receive() else {
        return false;
    };
    if size_of_val(sample.payload()) != len {
        eprintln!("iceoryx2: wrong message length");
        return false;
    }
    // SAFETY: both have the same length, and they do not overlap.
    unsafe { ptr::copy_nonoverlapping(sample.payload().as_ptr(), payload, sample.payload().len()) };
    true
}

/// Waits for a message, and returns its payload, which is valid until iceoryx2_release; NULL on
/// failure.
///
/// # Safety
/// `link` must come from iceoryx2_open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn iceoryx2_peek(link: *mut Link, len: usize) -> *const Word {
    // SAFETY: the link is valid, and no other thread uses it.
    let link = unsafe { &mut *link };
    match link.receive() {
        Some(sample) if size_of_val(sample.payload()) == len => {
            let payload = sample.payload().as_ptr();
            link.peeked = Some(sample);
            payload
        }
        Some(_) => {
            eprintln!("iceoryx2: wrong message length");
            ptr::null()
        }
        None => ptr::null(),
    }
}

/// # Safety
/// `link` must come from iceoryx2_open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn iceoryx2_release(link: *mut Link) {
    // SAFETY: the link is valid, and no other thread uses it.
    unsafe { &mut *link }.peeked = None;
}
