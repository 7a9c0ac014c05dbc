//! iceoryx2's publish-subscribe and event services as a few C functions: a link is one process's
//! end of two services, of which it publishes to the one and subscribes to the other.
//!
//! A call through this border costs one or two nanoseconds, where a message costs hundreds.

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
use iceoryx2::sample_mut_uninit::SampleMutUninit;

const VERSION: &CStr = c"iceoryx2 0.10.0";

/// What a payload is made of, so that it is aligned as the others' are.
type Word = u64;

pub struct Link {
    // Dropped in this order: what was lent, the ports, the node.
    loaned: Option<SampleMutUninit<ipc::Service, [MaybeUninit<Word>], ()>>,
    shown: Option<Sample<ipc::Service, [Word], ()>>,
    publisher: Publisher<ipc::Service, [Word], ()>,
    subscriber: Subscriber<ipc::Service, [Word], ()>,
    events: Option<(Notifier<ipc::Service>, Listener<ipc::Service>)>,
    _node: Node<ipc::Service>,
}

fn failed(what: &str, error: &dyn Error) {
    eprintln!("iceoryx2: {what}: {error:?}");
}

fn open(
    folder: &[u8],
    prefix: &[u8],
    services: [&str; 2],
    words: usize,
    depth: usize,
    events: bool,
) -> Result<Link, Box<dyn Error>> {
    let mut config = Config::default();
    config.global.set_root_path(&Path::new(folder)?);
    config.global.prefix = FileName::new(prefix)?;
    let node = NodeBuilder::new()
        .config(&config)
        .signal_handling_mode(SignalHandlingMode::Disabled)
        .create::<ipc::Service>()?;

    // Nothing is lost: what is full makes the publisher wait.
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
        shown: None,
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
                failed("notify", &error);
                false
            }
        }
    }

    /// Waits for a message: asleep if there are events, else by looking again and again.
    fn receive(&self) -> Option<Sample<ipc::Service, [Word], ()>> {
        loop {
            match self.subscriber.receive() {
                Ok(Some(sample)) => return Some(sample),
                Ok(None) => (),
                Err(error) => {
                    failed("receive", &error);
                    return None;
                }
            }
            if let Some((_, listener)) = &self.events
                && let Err(error) = listener.blocking_wait(|_| ())
            {
                failed("blocking_wait", &error);
                return None;
            }
        }
    }
}

#[unsafe(no_mangle)]
pub extern "C" fn iceoryx2_version() -> *const c_char {
    VERSION.as_ptr()
}

/// Publishes to the service of the first name, and subscribes to that of the second. Returns NULL
/// after it has said why.
///
/// # Safety
/// All are strings.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn iceoryx2_open(
    folder: *const c_char,
    prefix: *const c_char,
    to: *const c_char,
    from: *const c_char,
    len: usize,
    depth: usize,
    events: bool,
) -> *mut Link {
    // SAFETY: the caller passes strings, which are used during this call only.
    let [folder, prefix, to, from] =
        [folder, prefix, to, from].map(|text| unsafe { CStr::from_ptr(text) });
    set_log_level(LogLevel::Error);
    let names = [to, from].map(|name| name.to_str().unwrap_or(""));
    match open(
        folder.to_bytes(),
        prefix.to_bytes(),
        names,
        len / size_of::<Word>(),
        depth,
        events,
    ) {
        Ok(link) => Box::into_raw(Box::new(link)),
        Err(error) => {
            failed("open", error.as_ref());
            ptr::null_mut()
        }
    }
}

/// After both processes have opened theirs: a message goes to who is known.
///
/// # Safety
/// link is from iceoryx2_open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn iceoryx2_connect(link: *const Link) -> bool {
    // SAFETY: the caller says so, and nobody else uses it meanwhile.
    let link = unsafe { &*link };
    link.publisher.update_connections().is_ok() && link.subscriber.update_connections().is_ok()
}

/// # Safety
/// link is from iceoryx2_open, and not used any more.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn iceoryx2_close(link: *mut Link) {
    // SAFETY: the caller says so.
    drop(unsafe { Box::from_raw(link) });
}

/// Copies a payload into a sample, and sends it.
///
/// # Safety
/// link is from iceoryx2_open; payload has len bytes and is aligned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn iceoryx2_send(
    link: *const Link,
    payload: *const Word,
    len: usize,
) -> bool {
    // SAFETY: the caller says so.
    let link = unsafe { &*link };
    // SAFETY: likewise.
    let payload = unsafe { std::slice::from_raw_parts(payload, len / size_of::<Word>()) };
    match link.publisher.loan_slice_uninit(payload.len()) {
        Ok(sample) => match sample.write_from_slice(payload).send() {
            Ok(1) => link.notify(),
            Ok(_) => {
                eprintln!("iceoryx2: a message that nobody gets");
                false
            }
            Err(error) => {
                failed("send", &error);
                false
            }
        },
        Err(error) => {
            failed("loan", &error);
            false
        }
    }
}

/// Room for a payload, to be sent by iceoryx2_commit; or NULL.
///
/// # Safety
/// link is from iceoryx2_open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn iceoryx2_loan(link: *mut Link, len: usize) -> *mut Word {
    // SAFETY: the caller says so.
    let link = unsafe { &mut *link };
    match link.publisher.loan_slice_uninit(len / size_of::<Word>()) {
        Ok(mut sample) => {
            let payload = sample.payload_mut().as_mut_ptr().cast();
            link.loaned = Some(sample);
            payload
        }
        Err(error) => {
            failed("loan", &error);
            ptr::null_mut()
        }
    }
}

/// # Safety
/// link is from iceoryx2_open, and what iceoryx2_loan gave has been written.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn iceoryx2_commit(link: *mut Link) -> bool {
    // SAFETY: the caller says so.
    let link = unsafe { &mut *link };
    let Some(sample) = link.loaned.take() else {
        return false;
    };
    // SAFETY: the caller has written all of it.
    match unsafe { sample.assume_init() }.send() {
        Ok(1) => link.notify(),
        Ok(_) => {
            eprintln!("iceoryx2: a message that nobody gets");
            false
        }
        Err(error) => {
            failed("send", &error);
            false
        }
    }
}

/// Waits for a message and copies it; the length is what the buffer has to have.
///
/// # Safety
/// link is from iceoryx2_open; payload has room for len bytes and is aligned.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn iceoryx2_recv(link: *const Link, payload: *mut Word, len: usize) -> bool {
    // SAFETY: the caller says so.
    let link = unsafe { &*link };
    let Some(sample) = link.receive() else {
        return false;
    };
    if size_of_val(sample.payload()) != len {
        eprintln!("iceoryx2: a message of another length");
        return false;
    }
    // SAFETY: both have as many, and the buffer is not the sample.
    unsafe { ptr::copy_nonoverlapping(sample.payload().as_ptr(), payload, sample.payload().len()) };
    true
}

/// Waits for a message and shows it until iceoryx2_release; or NULL.
///
/// # Safety
/// link is from iceoryx2_open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn iceoryx2_peek(link: *mut Link, len: usize) -> *const Word {
    // SAFETY: the caller says so.
    let link = unsafe { &mut *link };
    match link.receive() {
        Some(sample) if size_of_val(sample.payload()) == len => {
            let payload = sample.payload().as_ptr();
            link.shown = Some(sample);
            payload
        }
        Some(_) => {
            eprintln!("iceoryx2: a message of another length");
            ptr::null()
        }
        None => ptr::null(),
    }
}

/// # Safety
/// link is from iceoryx2_open.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn iceoryx2_release(link: *mut Link) {
    // SAFETY: the caller says so.
    unsafe { &mut *link }.shown = None;
}
