//! C functions for the publish-subscribe and event services of iceoryx2. A link is one process's end
//! of two services: it publishes to the first and subscribes to the second.
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
    publisher: Publisher<ipc::Service, [Word], ()>,
    subscriber: Subscriber<ipc::Service, [Word], ()>,
    events: Option<(Notifier<ipc::Service>, Listener<ipc::Service>)>,
    _node: Node<ipc::Service>,
}

fn report(call: &str, error: &dyn Error) {
    eprintln!("iceoryx2: {call}: {error:?}");
}

fn open(
    directory: &[u8],
    prefix: &[u8],
    services: [&str; 2],
    words: usize,
    depth: usize,
    events: bool,
) -> Result<Link, Box<dyn Error>> {
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
            .max_subscribers(1)
            .max_nodes(2)
            .open_or_create()?)
    };
    let publisher = service(services[0])?
        .publisher_builder()
        .initial_max_slice_len(words)
        .max_loaned_samples(2)
        .backpressure_strategy(BackpressureStrategy::RetryUntilDelivered)
        .create()?;
    let subscriber = service(services[1])?
        .subscriber_builder()
        .buffer_size(depth)
        .create()?;

    let event = |name: &str| -> Result<_, Box<dyn Error>> {
        Ok(node
            .service_builder(&name.try_into()?)
            .event()
            .max_notifiers(1)
            .max_listeners(1)
            .max_nodes(2)
            .open_or_create()?)
    };
    let events = if events {
        Some((
            event(services[0])?.notifier_builder().create()?,
            event(services[1])?.listener_builder().create()?,
        ))
    } else {
        None
    };
    Ok(Link {
        loaned: None,
        peeked: None,
        publisher,
        subscriber,
        events,
        _node: node,
    })
}

impl Link {
    fn notify(&self) -> bool {
        let Some((notifier, _)) = &self.events else {
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

    /// Sends a sample to the only subscriber, and wakes it.
    fn send(&self, sample: SampleMut<ipc::Service, [Word], ()>) -> bool {
        match sample.send() {
            Ok(1) => self.notify(),
            Ok(_) => {
                eprintln!("iceoryx2: a message has no subscriber");
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
        loop {
            match self.subscriber.receive() {
                Ok(Some(sample)) => return Some(sample),
                Ok(None) => (),
                Err(error) => {
                    report("receive", &error);
                    return None;
                }
            }
            if let Some((_, listener)) = &self.events
                && let Err(error) = listener.blocking_wait(|_| ())
            {
                report("blocking_wait", &error);
                return None;
            }
        }
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn iceoryx2_version() -> *const c_char {
    VERSION.as_ptr()
}

/// Opens a link that publishes to the service `to` and subscribes to the service `from`. On failure,
/// prints the error and returns NULL.
///
/// # Safety
/// All pointers must be strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn iceoryx2_open(
    directory: *const c_char,
    prefix: *const c_char,
    to: *const c_char,
    from: *const c_char,
    len: usize,
    depth: usize,
    events: bool,
) -> *mut Link {
    // SAFETY: the caller passes strings, and they are used during this call only.
    let [directory, prefix, to, from] =
        [directory, prefix, to, from].map(|text| unsafe { CStr::from_ptr(text) });
    set_log_level(LogLevel::Error);
    let names = [to, from].map(|name| name.to_str().unwrap_or(""));
    match open(
        directory.to_bytes(),
        prefix.to_bytes(),
        names,
        len / size_of::<Word>(),
        depth,
        events,
    ) {
        Ok(link) => Box::into_raw(Box::new(link)),
        Err(error) => {
            report("open", error.as_ref());
            ptr::null_mut()
        }
    }
}

/// Connects the link to the other process. Both processes must have opened their links, because a
/// message goes only to subscribers that the publisher knows.
///
/// # Safety
/// `link` must come from iceoryx2_open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn iceoryx2_connect(link: *const Link) -> bool {
    // SAFETY: the link is valid, and no other thread uses it.
    let link = unsafe { &*link };
    link.publisher.update_connections().is_ok() && link.subscriber.update_connections().is_ok()
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
    match link.publisher.loan_slice_uninit(payload.len()) {
        Ok(sample) => link.send(sample.write_from_slice(payload)),
        Err(error) => {
            report("loan", &error);
            false
        }
    }
}

/// Returns a buffer for a payload, which iceoryx2_commit sends; NULL on failure.
///
/// # Safety
/// `link` must come from iceoryx2_open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn iceoryx2_loan(link: *mut Link, len: usize) -> *mut Word {
    // SAFETY: the link is valid, and no other thread uses it.
    let link = unsafe { &mut *link };
    match link.publisher.loan_slice_uninit(len / size_of::<Word>()) {
        Ok(mut sample) => {
            let payload = sample.payload_mut().as_mut_ptr().cast();
            link.loaned = Some(sample);
            payload
        }
        Err(error) => {
            report("loan", &error);
            ptr::null_mut()
        }
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
