//! The connection with a server.

use super::{misconfigured, unreachable};
use crate::config::{Auth, EngineSettings, Tls};
use crate::engine::{EngineError, Failure, Result};
use crate::pause;
use async_nats::connection::State;
use async_nats::jetstream::{self, context::ContextBuilder};
use async_nats::{Client, ConnectOptions, Event, ServerAddr, ToServerAddrs};
use std::io;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

/// The longest pause between two attempts to connect.
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// How often a wait for the connection checks it.
const CHECK_EVERY: Duration = Duration::from_millis(20);
/// The number of commands that wait for the connection. A slow network fills them and the buffers of
/// the operating system; then the bridge waits.
const COMMANDS_MAX: usize = 256;

/// The longest message, even if a server says more: the bridge allocates as much.
const PAYLOAD_MAX: usize = 64 << 20;

/// The length of the longest message of the server.
pub fn max_payload(client: &Client) -> usize {
    client.max_payload().min(PAYLOAD_MAX)
}

/// A connection with a server, which is made again when it breaks.
#[derive(Clone)]
pub struct Connection {
    client: Client,
    /// Counts the ends of connections.
    breaks: watch::Receiver<u64>,
    /// The time limit for requests to the server.
    pub limit: Duration,
    domain: Option<String>,
}

impl Connection {
    /// Begins to connect. At most `deliveries` messages of a subscription wait for the bridge; the
    /// client drops the others.
    pub async fn new(settings: &EngineSettings, name: &str, deliveries: usize) -> Result<Self> {
        let (sender, breaks) = watch::channel(0);
        let own_name = name.to_owned();
        let has_certificates = settings.tls.required || settings.tls.ca.is_some();
        let servers: Vec<ServerAddr> = settings
            .servers
            .iter()
            .map(|server| server.parse().map_err(misconfigured))
            .collect::<Result<_>>()?;
        let mut options = with_auth(&settings.auth)?
            .name(format!("unixipc-bridge {name}"))
            .retry_on_initial_connect()
            .max_reconnects(None)
            .reconnect_delay_callback(|attempt| pause::before_attempt(attempt, PAUSE_MAX))
            .ping_interval(settings.ping)
            .connection_timeout(settings.timeout)
            .request_timeout(Some(settings.timeout))
            .client_capacity(COMMANDS_MAX)
            .subscription_capacity(deliveries)
            .require_tls(requires_tls(&settings.tls, &servers))
            .event_callback(move |event| {
                note(&own_name, &event, has_certificates);
                if matches!(event, Event::Disconnected | Event::Closed) {
                    sender.send_modify(|breaks| *breaks += 1);
                }
                async {}
            });
        if let Some(ca) = &settings.tls.ca {
            options = options.add_root_certificates(ca.clone());
        }
        if let (Some(certificate), Some(key)) = (&settings.tls.certificate, &settings.tls.key) {
            options = options.add_client_certificate(certificate.clone(), key.clone());
        }
        let client = options
            .connect(Servers(servers))
            .await
            .map_err(unreachable)?;
        let (limit, domain) = (settings.timeout, settings.domain.clone());
        Ok(Self {
            client,
            breaks,
            limit,
            domain,
        })
    }

    /// The client.
    pub fn client(&self) -> &Client {
        &self.client
    }

    /// The interface to JetStream.
    pub fn jetstream(&self) -> jetstream::Context {
        let builder = ContextBuilder::new().timeout(self.limit);
        match &self.domain {
            None => builder.build(self.client.clone()),
            Some(domain) => builder.domain(domain).build(self.client.clone()),
        }
    }

    /// The prefix of the subjects of JetStream's interface.
    pub fn api_prefix(&self) -> String {
        match &self.domain {
            None => "$JS.API".into(),
            Some(domain) => format!("$JS.{domain}.API"),
        }
    }

    /// Waits until there is a connection.
    pub async fn until_connected(&self) -> Result<()> {
        while !self.is_connected() {
            if self.breaks.has_changed().is_err() {
                // The client has given up, and dropped the other end.
                return Err(EngineError::new(
                    Failure::Closed,
                    "the connection was closed",
                ));
            }
            sleep(CHECK_EVERY).await;
        }
        // The state changes before the server has answered.
        match timeout(self.limit, self.client.flush()).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(EngineError::new(Failure::Closed, error)),
            Err(_) => Err(unreachable("the server does not answer")),
        }
    }

    fn is_connected(&self) -> bool {
        self.client.connection_state() == State::Connected
    }

    /// Notes the present connection, for [`Connection::until_broken`].
    pub fn watch(&mut self) {
        self.breaks.mark_unchanged();
    }

    /// Waits until the connection that [`Connection::watch`] has noted breaks.
    pub async fn until_broken(&mut self) -> EngineError {
        match self.breaks.changed().await {
            Ok(()) => unreachable("the connection was lost"),
            Err(_) => EngineError::new(Failure::Closed, "the connection was closed"),
        }
    }
}

/// Whether every connection must be encrypted. A server may name others, whose addresses do not say
/// that: so one sign of encryption in the configuration is enough.
fn requires_tls(tls: &Tls, servers: &[ServerAddr]) -> bool {
    tls.required
        || tls.ca.is_some()
        || tls.certificate.is_some()
        || servers.iter().any(ServerAddr::tls_required)
}

/// The servers, as the client wants them.
struct Servers(Vec<ServerAddr>);

impl ToServerAddrs for Servers {
    type Iter = std::vec::IntoIter<ServerAddr>;

    fn to_server_addrs(&self) -> io::Result<Self::Iter> {
        Ok(self.0.clone().into_iter())
    }
}

fn with_auth(auth: &Auth) -> Result<ConnectOptions> {
    Ok(match auth {
        Auth::None => ConnectOptions::new(),
        Auth::Token(token) => ConnectOptions::with_token(token.expose().into()),
        Auth::Password(user, password) => {
            ConnectOptions::with_user_and_password(user.clone(), password.expose().into())
        }
        Auth::Nkey(seed) => ConnectOptions::with_nkey(seed.expose().into()),
        // The client wants the line end after the last line. Its error may quote the file.
        Auth::Credentials(file) => {
            ConnectOptions::with_credentials(&format!("{}\n", file.expose()))
                .map_err(|_| misconfigured("the credentials file has no JWT and seed"))?
        }
    })
}

/// Logs an event of a connection. The client does not say whether a failure is one of TLS.
fn note(name: &str, event: &Event, has_certificates: bool) {
    match event {
        Event::Connected => log::info!("{name}: connected to the server"),
        Event::Disconnected => log::warn!("{name}: disconnected from the server; connecting again"),
        Event::SlowConsumer(_) => log::error!("{name}: a message of the server was dropped"),
        Event::ServerError(error) => log::error!("{name}: the server reports: {error}"),
        Event::ClientError(error) if has_certificates => log::error!(
            "{name}: the connection failed: {error} (perhaps the server or the bridge refuses the \
             certificate of the other; see the log of the server)"
        ),
        Event::ClientError(error) => log::error!("{name}: the connection failed: {error}"),
        _ => log::debug!("{name}: connection: {event}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encryption() {
        let servers = |text: &str| -> Vec<ServerAddr> {
            text.split(' ')
                .map(|server| server.parse().unwrap())
                .collect()
        };
        let plain = servers("nats://a b:1");
        assert!(!requires_tls(&Tls::default(), &plain));
        assert!(requires_tls(&Tls::default(), &servers("nats://a tls://b")));
        let changes: [fn(&mut Tls); 3] = [
            |tls| tls.required = true,
            |tls| tls.ca = Some("ca.pem".into()),
            |tls| tls.certificate = Some("cert.pem".into()),
        ];
        for change in changes {
            let mut tls = Tls::default();
            change(&mut tls);
            assert!(requires_tls(&tls, &plain));
        }
    }
}
