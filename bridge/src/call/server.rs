//! A subject that calls a local server.

use super::worker::{Done, Job, Workers};
use crate::context::Context;
use crate::engine::{Engine, Responder, Result};
use bytes::Bytes;
use std::time::{Duration, Instant};
use tokio::select;
use tokio::time::{sleep, sleep_until};

/// Serves the requests of a subject until the bridge stops, and completes those that the local server
/// has then.
pub async fn serve_subject<E: Engine>(engine: &E, context: &Context) -> Result<()> {
    let Some(mut responder) = context
        .until_open(|| engine.responder(&context.route))
        .await?
    else {
        return Ok(());
    };
    let mut workers = Workers::start(context, responder.message_max());
    let route_limit = Duration::from_millis(context.route.options.call_timeout_ms);
    let mut waiting = None;
    loop {
        // One request waits for a worker at most: the others stay in the subscription.
        if let Some(job) = waiting.take() {
            waiting = workers.try_give(job);
        }
        select! {
            biased;
            done = workers.next_done() => reply(context, &responder, done).await?,
            request = responder.next(), if waiting.is_none() => {
                let request = request?;
                let limit = request.limit.unwrap_or(route_limit).min(route_limit);
                waiting = Some(Job {
                    request: request.bytes,
                    until: Instant::now() + limit,
                    reply_to: request.reply_to,
                });
            }
            () = context.stopping() => break,
        }
    }
    let refused = waiting.map(|job| (job.reply_to, None));
    select! {
        completed = complete(context, &mut responder, &mut workers, refused) => completed,
        () = context.drained() => {
            let (route, count) = (&context.route, workers.running());
            if count > 0 {
                log::error!("{route}: stops with {count} calls that get no reply");
            }
            Ok(())
        }
    }
}

/// Refuses the requests that no worker has, and waits for the calls of the workers.
async fn complete(
    context: &Context,
    responder: &mut impl Responder,
    workers: &mut Workers,
    refused: Option<Done>,
) -> Result<()> {
    responder.close().await?;
    if let Some(refused) = refused {
        reply(context, responder, refused).await?;
    }
    let mut is_open = true;
    // Without a connection, the subscription does not end.
    let end = Instant::now() + context.timeout;
    while is_open || workers.running() > 0 {
        select! {
            () = sleep_until(end.into()), if is_open => is_open = false,
            done = workers.next_done() => reply(context, responder, done).await?,
            request = responder.next(), if is_open => match request {
                Ok(request) => reply(context, responder, (request.reply_to, None)).await?,
                Err(_) => is_open = false,
            },
        }
    }
    Ok(())
}

/// Sends the reply of a call that has ended. Drops it if the connection does not take it in time.
async fn reply(context: &Context, responder: &impl Responder, done: Done) -> Result<()> {
    let (reply_to, reply) = done;
    let max = responder.message_max();
    let is_too_large = |reply: &Bytes| reply.len() > max;
    if reply.as_ref().is_some_and(is_too_large) {
        log::error!("{}: a reply is too large for the engine", context.route);
    }
    let reply = reply.filter(|reply| !is_too_large(reply));
    let succeeded = reply.is_some();
    let is_sent = select! {
        biased;
        sent = responder.reply(&reply_to, reply) => sent.map(|()| true)?,
        () = sleep(context.timeout) => false,
        () = context.drained() => false,
    };
    if !is_sent {
        log::warn!(
            "{}: a reply is dropped: the connection is blocked",
            context.route
        );
    }
    match succeeded && is_sent {
        true => context.metrics.calls.add(1),
        false => context.metrics.failed_calls.add(1),
    }
    Ok(())
}
