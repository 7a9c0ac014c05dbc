//! The configuration file.

use super::{Auth, ConfigError, EngineSettings, Route, RouteOptions, Secret, Settings};
use super::{StatusSocket, Tls, fail};
use log::LevelFilter;
use serde::Deserialize;
use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The address if none is given.
const SERVER: &str = "nats://127.0.0.1:4222";
/// The directory of the state if none is given. It should survive the process, and not the machine.
const STATE_DIR: &str = "/run/unixipc-bridge";

/// The content of the file, and the defaults of missing values.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct File {
    #[serde(deserialize_with = "one_or_more")]
    pub engine: Vec<String>,
    pub log: Option<LevelFilter>,
    pub state_dir: Option<PathBuf>,
    pub status: Option<PathBuf>,
    status_mode: Option<String>,
    pub metrics: Option<SocketAddr>,
    pub user: Option<String>,
    drain_ms: Option<u64>,
    ping_ms: Option<u64>,
    timeout_ms: Option<u64>,
    domain: Option<String>,
    pub auth: AuthFiles,
    pub tls: Tls,
    route: Vec<FileRoute>,
}

/// Where the secrets are.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AuthFiles {
    pub credentials: Option<PathBuf>,
    pub nkey: Option<PathBuf>,
    user: Option<String>,
    password: Option<PathBuf>,
    token: Option<PathBuf>,
}

/// A route in the file: `path = "feed:/run/md.sock -> md"` and options.
#[derive(Debug, Deserialize)]
struct FileRoute {
    route: String,
    #[serde(flatten)]
    options: toml::Table,
}

impl File {
    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, ConfigError> {
        let name = path.display();
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| ConfigError(format!("{name}: {error}")))?;
        toml::from_str(&text).map_err(|error: toml::de::Error| {
            let at = error.span().map_or(0, |span| span.start);
            let before = text.get(..at).unwrap_or_default();
            let number = before.matches('\n').count();
            let line = text.lines().nth(number).unwrap_or_default();
            let reason = without_value(error.message(), line);
            ConfigError(format!("{name}: line {}: {reason}", number + 1))
        })
    }

    /// The configuration, with the routes of the command line.
    pub fn settings(self, mut routes: Vec<Route>) -> Result<Settings, ConfigError> {
        for FileRoute { route, options } in self.route {
            let words: Vec<_> = route.split_whitespace().collect();
            let [local, arrow, subject] = words[..] else {
                return fail(format!("a route is \"LOCAL ARROW SUBJECT\": \"{route}\""));
            };
            let options = RouteOptions::from_table(options)?;
            routes.push(Route::new(local, arrow, subject, options)?);
        }
        check_routes(&routes)?;
        let mode = super::options::parse_mode(self.status_mode.as_deref().unwrap_or("0600"))?;
        let status = self.status.map(|path| StatusSocket { path, mode });
        let state_dir = self.state_dir.unwrap_or_else(default_state_dir);
        let ms = |value: Option<u64>, default| Duration::from_millis(value.unwrap_or(default));
        Ok(Settings {
            engine: EngineSettings {
                servers: check_servers(self.engine)?,
                auth: self.auth.read()?,
                tls: check_tls(self.tls)?,
                ping: ms(self.ping_ms, 2_000).max(Duration::from_millis(100)),
                timeout: ms(self.timeout_ms, 5_000).max(Duration::from_millis(100)),
                domain: self.domain,
            },
            state_dir: (state_dir.as_os_str() != "none").then_some(state_dir),
            status,
            metrics: self.metrics,
            user: self.user,
            drain: ms(self.drain_ms, 5_000),
            routes,
        })
    }
}

/// The message of the parser about a line. It names the key in place of a value of the wrong type,
/// which may be a secret in a wrong place.
fn without_value(message: &str, line: &str) -> String {
    let quotes_value = ["invalid type: ", "invalid value: ", "unknown variant "]
        .iter()
        .any(|start| message.starts_with(start));
    match message.rsplit_once(", expected ") {
        Some((_, expected)) if quotes_value => {
            let key = line
                .split_once('=')
                .map_or("the value", |(key, _)| key.trim());
            format!("{key}: expected {expected}")
        }
        _ => message.into(),
    }
}

impl AuthFiles {
    /// Reads the secrets.
    fn read(self) -> Result<Auth, ConfigError> {
        let read = |key, path: PathBuf| Secret::read(key, &path);
        Ok(match self {
            Self {
                credentials: Some(path),
                nkey: None,
                user: None,
                password: None,
                token: None,
            } => Auth::Credentials(read("credentials", path)?),
            Self {
                nkey: Some(path),
                credentials: None,
                user: None,
                password: None,
                token: None,
            } => Auth::Nkey(read("nkey", path)?),
            Self {
                user: Some(user),
                password: Some(path),
                credentials: None,
                nkey: None,
                token: None,
            } => Auth::Password(user, read("password", path)?),
            Self {
                token: Some(path),
                credentials: None,
                nkey: None,
                user: None,
                password: None,
            } => Auth::Token(read("token", path)?),
            Self {
                credentials: None,
                nkey: None,
                user: None,
                password: None,
                token: None,
            } => Auth::None,
            _ => {
                return fail(
                    "give only one of: credentials, nkey, token, or user and password together",
                );
            }
        })
    }
}

/// The directory that systemd has made for the state, or a default.
fn default_state_dir() -> PathBuf {
    // RuntimeDirectory= sets it. It may contain several paths.
    let directory = env::var_os("RUNTIME_DIRECTORY").map(PathBuf::from);
    let single = directory.filter(|path| !path.to_string_lossy().contains(':'));
    single.unwrap_or_else(|| STATE_DIR.into())
}

/// Refuses addresses with secrets: the command line is visible to all users of the machine.
fn check_servers(servers: Vec<String>) -> Result<Vec<String>, ConfigError> {
    if servers.is_empty() {
        return Ok(vec![SERVER.into()]);
    }
    for (index, server) in servers.iter().enumerate() {
        if server.contains('@') {
            return fail(format!(
                "the address {} of the engine contains a name or a secret: give it in a file, see \
                 unixipc-bridge(1)",
                index + 1
            ));
        }
        if let Err(error) = server.parse::<async_nats::ServerAddr>() {
            return fail(format!("engine: {server}: {error}"));
        }
    }
    Ok(servers)
}

fn check_tls(tls: Tls) -> Result<Tls, ConfigError> {
    if tls.certificate.is_some() != tls.key.is_some() {
        return fail("tls: certificate and key belong together");
    }
    Ok(tls)
}

/// Two writers of one subject would destroy the positions from which the bridge continues, and two
/// sinks cannot have one path.
fn check_routes(routes: &[Route]) -> Result<(), ConfigError> {
    if routes.is_empty() {
        return fail("no route: give LOCAL ARROW SUBJECT, for example feed:/run/md.sock '->' md");
    }
    for (index, route) in routes.iter().enumerate() {
        for other in &routes[..index] {
            if route.local == other.local && route.owns_path() && other.owns_path() {
                return fail(format!("two routes would create {}", route.local));
            }
            if route.subject == other.subject && route.writes_stream() && other.writes_stream() {
                return fail(format!(
                    "two routes would write the subject {}",
                    route.subject
                ));
            }
            if route.durable_name() == other.durable_name()
                && route.reads_stream()
                && other.reads_stream()
            {
                return fail(format!(
                    "{route} and {other} would share a durable consumer: set durable",
                ));
            }
        }
    }
    Ok(())
}

/// Accepts a string or an array of strings.
fn one_or_more<'de, D: serde::Deserializer<'de>>(from: D) -> Result<Vec<String>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum OneOrMore {
        One(String),
        More(Vec<String>),
    }
    Ok(match OneOrMore::deserialize(from)? {
        OneOrMore::One(one) => vec![one],
        OneOrMore::More(more) => more,
    })
}
