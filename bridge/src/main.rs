//! `unixipc-bridge`: feeds, channels, calls and FIFOs of unixipc between machines.
//!
//! | module | responsibility |
//! |---|---|
//! | [`config`] | the command line and the configuration file |
//! | [`bridge`] | the threads of the routes |
//! | [`context`] | the values that the parts of a route share |
//! | [`engine`] | what carries messages between machines: traits, and NATS JetStream |
//! | [`export`] | from a local source to a stream |
//! | [`import`] | from a stream to a local sink |
//! | [`call`] | requests and replies |
//! | [`local`] | the objects of unixipc in an event loop |
//! | [`metrics`], [`status`] | counters, and how they are read |
//! | [`logger`], [`service`], [`privileges`] | the process and its surroundings |

mod bridge;
mod call;
mod config;
mod context;
mod engine;
mod export;
mod import;
mod local;
mod logger;
mod metrics;
mod pause;
mod privileges;
mod service;
mod status;

use bridge::Bridge;
use clap::Parser;
use config::{Arguments, Command, Settings};
use service::Manager;
use status::Status;
use std::io;
use std::process::ExitCode;
use std::time::Duration;
use tokio::pin;
use tokio::select;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::interval;

/// How often the main thread checks that the routes run.
const CHECK_EVERY: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let (command, level) = match arguments.command() {
        Ok(command) => command,
        Err(error) => {
            eprintln!("unixipc-bridge: {error}");
            return ExitCode::from(2);
        }
    };
    logger::start(level);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let done = runtime.and_then(|runtime| runtime.block_on(execute(command)));
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("unixipc-bridge: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Returns whether everything has succeeded.
async fn execute(command: Command) -> io::Result<bool> {
    match command {
        Command::Run(settings) => run(&settings).await,
        Command::Check(settings) => {
            for route in &settings.routes {
                println!("{route}");
            }
            Ok(true)
        }
        Command::Show(path) => {
            let shown = status::get(&path).await;
            let named = |error| io::Error::other(format!("{}: {error}", path.display()));
            println!("{}", shown.map_err(named)?);
            Ok(true)
        }
    }
}

/// Carries messages until a signal.
async fn run(settings: &Settings) -> io::Result<bool> {
    let manager = Manager::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    privileges::drop_to(settings.user.as_deref())?;
    let status = Status::open(settings).await?;
    let bridge = Bridge::start(settings)?;
    let serve = status.serve(bridge.metrics().into());
    pin!(serve);
    manager.tell("READY=1\nSTATUS=running");
    let mut check = interval(
        manager
            .watchdog()
            .map_or(CHECK_EVERY, |time| time.min(CHECK_EVERY)),
    );
    loop {
        select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            never = &mut serve => never,
            _ = check.tick() => {
                if bridge.has_failed() {
                    log::error!("a route has ended");
                    break;
                }
                manager.tell("WATCHDOG=1");
            }
        }
    }
    log::info!("stopping");
    manager.tell("STOPPING=1\nSTATUS=completing what is in flight");
    let stopped = tokio::task::spawn_blocking(|| bridge.stop());
    Ok(stopped.await.unwrap_or(false))
}
