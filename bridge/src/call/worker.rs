//! The threads that call a local server, each over a channel of its own.

use crate::config::Local;
use crate::context::Context;
use crate::local::{LocalError, channel_options, connect_channel};
use bytes::Bytes;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::mpsc::{self, error::TrySendError};
use unixipc::bytes::to_fill;
use unixipc::channel::{Channel, Options};
use unixipc::deadline::Deadline;
use unixipc::errno::{Errno, Result};

/// A request for the local server.
pub struct Job {
    /// The bytes of the caller.
    pub request: Bytes,
    /// When the caller gives up.
    pub until: Instant,
    /// Where the reply goes.
    pub reply_to: String,
}

/// Where a reply goes, and the reply; none if the call failed.
pub type Done = (String, Option<Bytes>);

/// The threads. They end when this is dropped and their calls have ended.
pub struct Workers {
    jobs: mpsc::Sender<Job>,
    done: mpsc::Receiver<Done>,
    /// The number of jobs that were given and have not ended.
    running: usize,
}

impl Workers {
    /// Starts the threads.
    pub fn start(context: &Context, reply_max: usize) -> Self {
        let count = context.route.options.workers;
        let (jobs, queue) = mpsc::channel(1);
        let (sender, done) = mpsc::channel(count);
        let queue = Arc::new(Mutex::new(queue));
        for _ in 0..count {
            let (queue, sender) = (queue.clone(), sender.clone());
            let route = context.route.clone();
            std::thread::spawn(move || {
                let worker = Worker {
                    options: channel_options(&route.options),
                    name: route.to_string(),
                    local: route.local,
                    channel: None,
                    buffer: vec![0; reply_max],
                };
                worker.run(&queue, &sender);
            });
        }
        Self {
            jobs,
            done,
            running: 0,
        }
    }

    /// Gives a job to a thread. Returns it if all are busy.
    pub fn try_give(&mut self, job: Job) -> Option<Job> {
        match self.jobs.try_send(job) {
            Ok(()) => {
                self.running += 1;
                None
            }
            Err(TrySendError::Full(job) | TrySendError::Closed(job)) => Some(job),
        }
    }

    /// The number of calls that were given and have not ended.
    pub fn running(&self) -> usize {
        self.running
    }

    /// Waits for the next call that has ended.
    pub async fn next_done(&mut self) -> Done {
        match self.done.recv().await {
            Some(done) => {
                self.running -= 1;
                done
            }
            None => std::future::pending().await,
        }
    }
}

/// A thread.
struct Worker {
    local: Local,
    options: Options,
    name: String,
    channel: Option<Channel>,
    buffer: Vec<u8>,
}

impl Worker {
    fn run(mut self, queue: &Mutex<mpsc::Receiver<Job>>, done: &mpsc::Sender<Done>) {
        loop {
            let job = queue
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .blocking_recv();
            let Some(job) = job else { return };
            let reply = match self.call(&job) {
                Ok(reply) => Some(reply),
                Err(error) => {
                    log::warn!("{}: a call failed: {error}", self.name);
                    None
                }
            };
            if done.blocking_send((job.reply_to, reply)).is_err() {
                return;
            }
        }
    }

    fn call(&mut self, job: &Job) -> std::result::Result<Bytes, LocalError> {
        let channel = match self.channel.take() {
            Some(channel) => channel,
            None => {
                let limit = limit_ms(job).map_err(|errno| self.error(errno))?;
                connect_channel(&self.local, &self.options, limit)?
            }
        };
        match call(&channel, job, &mut self.buffer) {
            Ok(len) => {
                self.channel = Some(channel);
                Ok(Bytes::copy_from_slice(&self.buffer[..len]))
            }
            Err(errno) => {
                // After other errors the channel can no longer be used.
                if errno.is_one_of(&[Errno::ETIMEDOUT, Errno::EMSGSIZE, Errno::EINVAL]) {
                    self.channel = Some(channel);
                }
                Err(self.error(errno))
            }
        }
    }

    fn error(&self, errno: Errno) -> LocalError {
        LocalError::new(&self.local, errno)
    }
}

fn call(channel: &Channel, job: &Job, buffer: &mut [u8]) -> Result<usize> {
    let deadline = Deadline::new(limit_ms(job)?)?;
    // SAFETY: only this thread uses the channel.
    let mut caller = unsafe { channel.caller() };
    caller.call(&job.request, to_fill(buffer), deadline)
}

/// The remaining time of a job, in milliseconds.
fn limit_ms(job: &Job) -> Result<i32> {
    let left = job.until.saturating_duration_since(Instant::now());
    match left.as_millis() {
        0 => Err(Errno::ETIMEDOUT),
        left => Ok(left.min(i32::MAX as u128) as i32),
    }
}
