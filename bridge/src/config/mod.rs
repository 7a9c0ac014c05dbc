//! The configuration: the command line, and a TOML file.

mod arguments;
mod file;
mod options;
mod route;
mod secret;

pub use arguments::{Arguments, Command};
pub use options::{RouteOptions, Start};
pub use route::{Direction, Local, LocalKind, Route};
pub use secret::Secret;

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// The configuration of a bridge.
#[derive(Clone, Debug)]
pub struct Settings {
    /// How the engine is reached.
    pub engine: EngineSettings,
    /// The directory for the positions of streams, which survive a crash. None: nowhere.
    pub state_dir: Option<PathBuf>,
    /// The socket that serves the status.
    pub status: Option<StatusSocket>,
    /// The address that serves the metrics to Prometheus.
    pub metrics: Option<SocketAddr>,
    /// The user that the bridge becomes.
    pub user: Option<String>,
    /// The time limit for the messages in flight when the bridge ends.
    pub drain: Duration,
    /// The routes.
    pub routes: Vec<Route>,
}

/// The socket that serves the status.
#[derive(Clone, Debug)]
pub struct StatusSocket {
    /// Its path.
    pub path: PathBuf,
    /// Its permissions.
    pub mode: u32,
}

/// How the engine is reached.
#[derive(Clone, Debug)]
pub struct EngineSettings {
    /// The addresses of the servers, without secrets.
    pub servers: Vec<String>,
    /// How this side proves who it is.
    pub auth: Auth,
    /// The encryption of the connection.
    pub tls: Tls,
    /// How often the connection is checked.
    pub ping: Duration,
    /// How long a request to the engine may take, and how long records may be in flight without a
    /// confirmation.
    pub timeout: Duration,
    /// The JetStream domain.
    pub domain: Option<String>,
}

/// How this side proves who it is. The secrets come from files.
#[derive(Clone, Debug)]
pub enum Auth {
    /// It does not.
    None,
    /// A token.
    Token(Secret),
    /// A name and a password.
    Password(String, Secret),
    /// The seed of an NKEY.
    Nkey(Secret),
    /// The content of a credentials file: a JWT and the seed of an NKEY.
    Credentials(Secret),
}

/// The encryption of the connection.
#[derive(Clone, Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tls {
    /// Whether the connection must be encrypted.
    pub required: bool,
    /// The file with the certificates of the authorities.
    pub ca: Option<PathBuf>,
    /// The file with the certificate of this side.
    pub certificate: Option<PathBuf>,
    /// The file with its key.
    pub key: Option<PathBuf>,
}

#[cfg(test)]
impl Settings {
    /// A configuration without routes.
    pub fn for_tests() -> Self {
        Self {
            engine: EngineSettings {
                servers: Vec::new(),
                auth: Auth::None,
                tls: Tls::default(),
                ping: Duration::from_secs(1),
                timeout: Duration::from_secs(5),
                domain: None,
            },
            state_dir: None,
            status: None,
            metrics: None,
            user: None,
            drain: Duration::from_secs(1),
            routes: Vec::new(),
        }
    }
}

/// Why a configuration cannot be used.
#[derive(Debug)]
pub struct ConfigError(pub String);

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Fails with a text.
fn fail<T>(text: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError(text.into()))
}
