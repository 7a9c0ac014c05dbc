//! The command line.

use super::file::File;
use super::{ConfigError, Route, RouteOptions, Settings, fail};
use clap::Parser;
use log::LevelFilter;
use std::net::SocketAddr;
use std::path::PathBuf;

/// Carries feeds, channels, calls and FIFOs of unixipc between machines over NATS JetStream.
///
/// A route is three arguments: LOCAL ARROW SUBJECT. LOCAL is feed:PATH, channel:PATH, fifo:PATH or
/// call:PATH. The arrow is '->' from this machine to the subject, '<-' from the subject to this
/// machine, and, for calls, '<->' in place of '->'. See unixipc-bridge(1).
#[derive(Debug, Parser)]
#[command(
    name = "unixipc-bridge",
    version,
    verbatim_doc_comment,
    max_term_width = 100
)]
pub struct Arguments {
    /// A TOML file with the configuration. Options of the command line replace its values
    #[arg(short, long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// The address of a server, as nats://HOST:PORT or tls://HOST:PORT; may be repeated
    #[arg(short, long, value_name = "URL")]
    engine: Vec<String>,
    /// A file with the credentials: a JWT and the seed of an NKEY
    #[arg(long, value_name = "FILE")]
    credentials: Option<PathBuf>,
    /// A file with the seed of an NKEY
    #[arg(long, value_name = "FILE")]
    nkey: Option<PathBuf>,
    /// A file with the certificates of the authorities
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The directory for the positions of streams, which survive a crash; or none
    #[arg(long, value_name = "DIRECTORY")]
    state_dir: Option<PathBuf>,
    /// Serve the status at a socket with this path
    #[arg(long, value_name = "PATH")]
    status: Option<PathBuf>,
    /// Serve the metrics to Prometheus at this address
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics: Option<SocketAddr>,
    /// Become this user before the routes are opened
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
    /// The level of the log: error, warn, info, debug or trace
    #[arg(short, long, value_name = "LEVEL")]
    log: Option<LevelFilter>,
    /// An option of all routes of the command line, as in the file: -o mode=0660
    #[arg(short = 'o', value_name = "KEY=VALUE")]
    option: Vec<String>,
    /// Check the configuration, and exit
    #[arg(long)]
    check: bool,
    /// Print the status that a bridge serves at a socket, and exit
    #[arg(long, value_name = "PATH", exclusive = true)]
    show: Option<PathBuf>,
    /// The routes, three arguments each
    #[arg(value_name = "LOCAL ARROW SUBJECT", allow_hyphen_values = true)]
    routes: Vec<String>,
}

/// The action of the program.
#[derive(Debug)]
pub enum Command {
    /// It carries messages.
    Run(Box<Settings>),
    /// It prints that the configuration can be used.
    Check(Box<Settings>),
    /// It prints the status that another process serves at this path.
    Show(PathBuf),
}

impl Arguments {
    /// Reads the configuration. Also returns the level of the log.
    pub fn command(self) -> Result<(Command, LevelFilter), ConfigError> {
        let file = self.config.as_deref().map(File::read).transpose()?;
        let mut file = file.unwrap_or_default();
        let level = self.log.or(file.log).unwrap_or(LevelFilter::Info);
        if let Some(path) = self.show {
            return Ok((Command::Show(path), level));
        }
        if !self.engine.is_empty() {
            file.engine = self.engine;
        }
        file.auth.credentials = self.credentials.or(file.auth.credentials);
        file.auth.nkey = self.nkey.or(file.auth.nkey);
        file.tls.ca = self.ca.or(file.tls.ca);
        file.state_dir = self.state_dir.or(file.state_dir);
        file.status = self.status.or(file.status);
        file.metrics = self.metrics.or(file.metrics);
        file.user = self.user.or(file.user);
        let routes = parse_routes(&self.routes, &self.option)?;
        let settings = Box::new(file.settings(routes)?);
        let command = match self.check {
            true => Command::Check(settings),
            false => Command::Run(settings),
        };
        Ok((command, level))
    }
}

/// The routes of the command line.
fn parse_routes(words: &[String], options: &[String]) -> Result<Vec<Route>, ConfigError> {
    let (routes, rest) = words.as_chunks::<3>();
    if let [word, ..] = rest {
        return fail(format!(
            "a route has three arguments, LOCAL ARROW SUBJECT: {word}"
        ));
    }
    let options = RouteOptions::from_words(options)?;
    let parse =
        |[local, arrow, subject]: &[String; 3]| Route::new(local, arrow, subject, options.clone());
    routes.iter().map(parse).collect()
}
