//! Local programs that call a subject: they call over the channels of a listener.

use crate::context::Context;
use crate::engine::{Engine, EngineError, Failure, Requester, Result};
use crate::export::{listen, next_client};
use crate::local::{ChannelEnd, LocalError, Memory, Scratch, Share};
use bytes::Bytes;
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::select;
use tokio::sync::Semaphore;
use tokio::task::spawn_local;
use unixipc::errno::Errno;

/// Serves the callers of a route until the bridge stops, and completes the calls that were sent then.
pub async fn serve_callers<E: Engine>(engine: &E, context: &Rc<Context>) -> Result<()>
where
    E::Requester: 'static,
{
    let Some(requester) = context
        .until_open(|| engine.requester(&context.route))
        .await?
    else {
        return Ok(());
    };
    let Some(listener) = listen(context).await else {
        return Ok(());
    };
    let clients_max = context.route.options.clients_max;
    let places = Arc::new(Semaphore::new(clients_max));
    let scratch = Rc::new(RefCell::new(Scratch::new()));
    let memory = Memory::new(context.route.options.window_bytes);
    while let Some((client, place)) = next_client(context, &listener, &places).await {
        let caller = Caller {
            context: context.clone(),
            requester: requester.clone(),
            client,
            scratch: scratch.clone(),
            memory: memory.clone(),
        };
        spawn_local(async move {
            caller.serve().await;
            drop(place);
        });
    }
    select! {
        // All places are free when all clients have ended.
        _ = places.acquire_many(clients_max as u32) => {}
        () = context.drained() => {}
    }
    Ok(())
}

/// A call of a client.
struct Call {
    id: u64,
    request: Bytes,
    _share: Share,
}

/// A client of the listener.
struct Caller<R> {
    context: Rc<Context>,
    requester: R,
    client: ChannelEnd,
    scratch: Rc<RefCell<Scratch>>,
    /// The memory for requests.
    memory: Memory,
}

impl<R: Requester> Caller<R> {
    /// Carries its calls, one after another, until it ends or the bridge stops. A call fails at once,
    /// with `EPIPE`, if this closes the channel.
    async fn serve(mut self) {
        let context = self.context.clone();
        loop {
            let call = select! {
                biased;
                () = context.stopping() => None,
                call = self.next_call() => call,
            };
            let Some(call) = call else {
                break;
            };
            if !self.carry(call).await {
                break;
            }
        }
        context.metrics.clients.subtract(1);
    }

    /// The next call; none at the end.
    async fn next_call(&mut self) -> Option<Call> {
        loop {
            match self.try_next_call().await {
                Ok(call) => return call,
                Err(errno) if errno == Errno::EAGAIN => self.client.event().await,
                Err(errno) => {
                    let error = LocalError::new("a caller", errno);
                    log::warn!("{}: {error}", self.context.route);
                    return None;
                }
            }
        }
    }

    /// The next call, when there is memory for its request; none at the end of the session.
    async fn try_next_call(&mut self) -> std::result::Result<Option<Call>, Errno> {
        let Some(len) = self.client.next_len()? else {
            return Ok(None);
        };
        // Before the copy: the request stays in the ring of the client as long as the memory is
        // used up. A longer one than the engine carries is copied, and refused.
        let Some(share) = self.memory.share(len).await else {
            return Ok(None);
        };
        let call = self.client.try_next_call(&mut self.scratch.borrow_mut())?;
        Ok(call.map(|(id, request)| Call {
            id,
            request,
            _share: share,
        }))
    }

    /// Carries a call, and later ones that the client makes before the reply has arrived: then it has
    /// given the former one up. Returns false if the client cannot call again.
    async fn carry(&mut self, mut call: Call) -> bool {
        let limit = Duration::from_millis(self.context.route.options.call_timeout_ms);
        loop {
            let max = self.requester.message_max();
            if call.request.len() > max {
                let (route, len) = (&self.context.route, call.request.len());
                log::error!("{route}: a request of {len} bytes is refused: the longest is {max}");
                return self.failed();
            }
            let requester = self.requester.clone();
            let reply = select! {
                reply = requester.request(call.request.clone(), limit) => reply,
                next = self.next_call() => match next {
                    Some(next) => {
                        self.context.metrics.failed_calls.add(1);
                        call = next;
                        continue;
                    }
                    None => return self.failed(),
                },
            };
            return match reply {
                Ok(reply) => self.reply(call.id, &reply).await,
                Err(error) => self.note(&error),
            };
        }
    }

    async fn reply(&mut self, id: u64, reply: &[u8]) -> bool {
        loop {
            match self.client.try_reply(id, reply) {
                Ok(()) => {
                    self.context.metrics.calls.add(1);
                    return true;
                }
                Err(errno) if errno == Errno::EAGAIN => select! {
                    () = self.client.event() => {}
                    () = self.context.drained() => return false,
                },
                Err(errno) => {
                    let error = LocalError::new("a reply", errno);
                    log::warn!("{}: {error}", self.context.route);
                    return self.failed();
                }
            }
        }
    }

    /// After an error, closes the channel if the caller would wait without need.
    fn note(&self, error: &EngineError) -> bool {
        log::warn!("{}: a call failed: {error}", self.context.route);
        self.failed();
        error.failure != Failure::NoResponder
    }

    fn failed(&self) -> bool {
        self.context.metrics.failed_calls.add(1);
        false
    }
}
