//! The clients of a listener: each one sends messages, which the source gives in the order of their
//! arrival.

use super::source::{Item, Source};
use super::{Complaint, random_id};
use crate::context::Context;
use crate::engine::{Loss, MessageId};
use crate::local::{ChannelEnd, Listener, LocalError, Memory, Scratch, Share, is_temporary};
use crate::pause::Pauses;
use bytes::Bytes;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::select;
use tokio::sync::mpsc::error::TryRecvError;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::spawn_local;
use tokio::time::sleep;
use unixipc::errno::Errno;

/// The longest pause between two attempts to listen.
const PAUSE_MAX: Duration = Duration::from_secs(1);
/// The number of messages that clients have sent and the pipeline has not taken.
const QUEUE: usize = 64;

/// A message, and its share of the memory for messages.
type Queued = (Bytes, Share);

/// See the module.
pub struct ChannelSource {
    messages: mpsc::Receiver<Queued>,
    /// A message that [`Source::ready`] has received.
    received: Option<Queued>,
    /// The id of the next message.
    next: MessageId,
}

/// The values that the tasks of the clients share.
#[derive(Clone)]
struct Clients {
    context: Rc<Context>,
    sender: mpsc::Sender<Queued>,
    /// The memory for messages in the queue, in bytes.
    memory: Memory,
    scratch: Rc<RefCell<Scratch>>,
    /// The number of clients that may be added.
    places: Arc<Semaphore>,
}

impl ChannelSource {
    /// Waits until the path can be listened at. None if the bridge stops.
    pub async fn open(context: &Rc<Context>) -> Option<Self> {
        let listener = listen(context).await?;
        let options = &context.route.options;
        let (sender, messages) = mpsc::channel(QUEUE);
        let clients = Clients {
            context: context.clone(),
            sender,
            memory: Memory::new(options.window_bytes),
            scratch: Rc::new(RefCell::new(Scratch::new())),
            places: Arc::new(Semaphore::new(options.clients_max)),
        };
        spawn_local(clients.accept(listener));
        Some(Self {
            messages,
            received: None,
            next: MessageId {
                feed: random_id(),
                sequence: 0,
            },
        })
    }
}

/// Waits until the path can be listened at. None if the bridge stops.
pub async fn listen(context: &Context) -> Option<Listener> {
    let mut pauses = Pauses::up_to(PAUSE_MAX);
    let mut complaint = Complaint::default();
    loop {
        match Listener::new(&context.route.local, &context.route.options) {
            Ok(listener) => return Some(listener),
            Err(error) => complaint.about(context, error),
        }
        select! {
            () = sleep(pauses.next()) => {}
            () = context.stopping() => return None,
        }
    }
}

impl Clients {
    /// Accepts clients until the bridge stops.
    async fn accept(self, listener: Listener) {
        while let Some((client, place)) = next_client(&self.context, &listener, &self.places).await
        {
            let clients = self.clone();
            spawn_local(async move {
                clients.serve(client).await;
                clients.context.metrics.clients.subtract(1);
                drop(place);
            });
        }
    }

    /// Takes the messages of a client until it ends, or the bridge stops and the client has sent
    /// nothing more.
    async fn serve(&self, mut client: ChannelEnd) {
        let context = &self.context;
        loop {
            match client.next_len() {
                Ok(None) => return,
                Ok(Some(len)) => {
                    // Before the copy: the message stays in the ring of the client as long as the
                    // memory is used up.
                    let Some(share) = self.memory.share(len).await else {
                        return;
                    };
                    let Some(message) = self.receive(&mut client) else {
                        return;
                    };
                    if self.sender.send((message, share)).await.is_err() {
                        return;
                    }
                }
                Err(errno) if errno == Errno::EAGAIN && context.is_stopping() => return,
                Err(errno) if errno == Errno::EAGAIN => select! {
                    () = client.event() => {}
                    () = context.stopping() => {}
                },
                Err(errno) => return self.note(errno),
            }
        }
    }

    /// The message that a client has sent. None at the end, or after an error.
    fn receive(&self, client: &mut ChannelEnd) -> Option<Bytes> {
        match client.try_recv(&mut self.scratch.borrow_mut()) {
            Ok(message) => (!message.is_empty()).then_some(message),
            Err(errno) => {
                self.note(errno);
                None
            }
        }
    }

    /// Logs why a client is no longer served.
    fn note(&self, errno: Errno) {
        let error = LocalError::new("a client", errno);
        log::warn!("{}: {error}", self.context.route);
    }
}

/// Waits for a client, and for a place for it. None if the bridge stops.
pub async fn next_client(
    context: &Context,
    listener: &Listener,
    places: &Arc<Semaphore>,
) -> Option<(ChannelEnd, OwnedSemaphorePermit)> {
    let place = select! {
        place = places.clone().acquire_owned() => place.ok()?,
        () = context.stopping() => return None,
    };
    loop {
        match listener.try_accept() {
            Ok(Some(client)) => {
                context.metrics.clients.add(1);
                return Some((client, place));
            }
            Ok(None) => select! {
                () = listener.event() => {}
                () = context.stopping() => return None,
            },
            Err(errno) => {
                let error = LocalError::new("a client cannot be accepted", errno);
                log::warn!("{}: {error}", context.route);
                if is_temporary(errno) {
                    select! {
                        () = sleep(PAUSE_MAX) => {}
                        () = context.stopping() => return None,
                    }
                }
            }
        }
    }
}

impl Source for ChannelSource {
    fn try_next(&mut self, message_max: usize) -> Option<Item> {
        let received = self
            .received
            .take()
            .map_or_else(|| self.messages.try_recv(), Ok);
        match received {
            Ok((bytes, _memory)) => {
                let id = self.next;
                self.next.sequence += 1;
                Some(match bytes.len() <= message_max {
                    true => Item::Message(id, bytes),
                    false => Item::Lost(id, 1, Loss::TooLarge),
                })
            }
            Err(TryRecvError::Empty) => None,
            Err(TryRecvError::Disconnected) => Some(Item::End),
        }
    }

    async fn ready(&mut self) {
        if self.received.is_none() {
            self.received = self.messages.recv().await;
        }
    }

    fn confirmed(&mut self, _last: MessageId) {}

    fn ends_with_bridge(&self) -> bool {
        true
    }
}
