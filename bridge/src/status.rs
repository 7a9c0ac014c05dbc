//! Serving the status and the metrics, over HTTP: `GET /status` is JSON, `GET /metrics` is for
//! Prometheus. The socket in the file system and the TCP address serve both.

use crate::config::{Settings, StatusSocket};
use crate::metrics::{self, Metrics};
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr, bind, socket};
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};
use tokio::select;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// The routes, with their numbers.
pub type Routes = [(String, Arc<Metrics>)];

/// The time limit for a client.
const LIMIT: Duration = Duration::from_secs(2);
/// The number of clients that are served at the same time.
const CLIENTS_MAX: usize = 16;
/// The pause after a failure to accept a client.
const PAUSE: Duration = Duration::from_millis(100);
/// The longest request.
const REQUEST_MAX: usize = 4096;

/// The sockets that serve the status.
pub struct Status {
    unix: Option<(UnixListener, PathBuf)>,
    tcp: Option<TcpListener>,
}

impl Status {
    /// Opens the sockets.
    pub async fn open(settings: &Settings) -> io::Result<Self> {
        let named = |what: String| move |error| io::Error::other(format!("{what}: {error}"));
        let unix = match &settings.status {
            None => None,
            Some(socket) => {
                let listener = listen(socket).map_err(named(socket.path.display().to_string()))?;
                Some((listener, socket.path.clone()))
            }
        };
        let tcp = match settings.metrics {
            None => None,
            Some(address) => Some(
                TcpListener::bind(address)
                    .await
                    .map_err(named(address.to_string()))?,
            ),
        };
        Ok(Self { unix, tcp })
    }

    /// Serves clients, a few at the same time, each with a time limit.
    pub async fn serve(&self, routes: Arc<Routes>) -> ! {
        let mut clients = JoinSet::new();
        loop {
            if clients.len() >= CLIENTS_MAX {
                clients.join_next().await;
            }
            let accepted = select! {
                stream = self.accept_unix() => stream.map(|stream| {
                    clients.spawn(answer(stream, routes.clone()));
                }),
                stream = self.accept_tcp() => stream.map(|stream| {
                    clients.spawn(answer(stream, routes.clone()));
                }),
                Some(_) = clients.join_next() => Ok(()),
            };
            if let Err(error) = accepted {
                log::debug!("status: {error}");
                sleep(PAUSE).await;
            }
        }
    }

    async fn accept_unix(&self) -> io::Result<UnixStream> {
        match &self.unix {
            Some((listener, _)) => Ok(listener.accept().await?.0),
            None => std::future::pending().await,
        }
    }

    async fn accept_tcp(&self) -> io::Result<TcpStream> {
        match &self.tcp {
            Some(listener) => Ok(listener.accept().await?.0),
            None => std::future::pending().await,
        }
    }
}

/// Answers the request of a client.
async fn answer(
    mut stream: impl AsyncRead + AsyncWrite + Unpin + Send,
    routes: Arc<Routes>,
) -> io::Result<()> {
    let answer = async {
        let path = read_path(&mut stream).await?;
        let routes: Vec<_> = routes
            .iter()
            .map(|(name, metrics)| (name.clone(), &**metrics))
            .collect();
        let (code, kind, body) = match path.as_deref() {
            Some("/metrics") => (
                "200 OK",
                "text/plain; version=0.0.4",
                metrics::prometheus(&routes),
            ),
            Some("/status" | "/") => ("200 OK", "application/json", metrics::status(&routes)),
            _ => ("404 Not Found", "text/plain", "not found\n".into()),
        };
        let len = body.len();
        let head = format!(
            "HTTP/1.1 {code}\r\nContent-Type: {kind}\r\nContent-Length: {len}\r\n\
             Connection: close\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(body.as_bytes()).await?;
        stream.shutdown().await
    };
    timeout(LIMIT, answer).await.map_err(io::Error::other)?
}

impl Drop for Status {
    fn drop(&mut self) {
        if let Some((_, path)) = &self.unix {
            let _ = std::fs::remove_file(path);
        }
    }
}

/// Listens at a path, which gets its permissions before a client can connect. A socket that a bridge
/// has left behind is replaced.
fn listen(status: &StatusSocket) -> io::Result<UnixListener> {
    let path = status.path.as_path();
    match fs::symlink_metadata(path) {
        Ok(meta) if !meta.file_type().is_socket() => return Err(io::Error::other("not a socket")),
        Ok(_) if is_in_use(path) => return Err(io::Error::other("a process listens there")),
        Ok(_) => fs::remove_file(path)?,
        Err(_) => {}
    }
    let flags = SockFlag::SOCK_CLOEXEC | SockFlag::SOCK_NONBLOCK;
    let listener = socket(AddressFamily::Unix, SockType::Stream, flags, None)?;
    bind(listener.as_raw_fd(), &UnixAddr::new(path)?)?;
    // Clients cannot connect before the call of listen(2).
    fs::set_permissions(path, Permissions::from_mode(status.mode))?;
    socket::listen(&listener, Backlog::new(16)?)?;
    UnixListener::from_std(listener.into())
}

/// Whether a process listens at a path.
fn is_in_use(path: &Path) -> bool {
    std::os::unix::net::UnixStream::connect(path).is_ok()
}

/// Reads a request, and returns its path; none if it is not one for a page.
async fn read_path(stream: &mut (impl AsyncRead + Unpin + Send)) -> io::Result<Option<String>> {
    let mut request = Vec::new();
    while !request.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
        let mut chunk = [0; 512];
        match stream.read(&mut chunk).await? {
            0 => break,
            count => request.extend_from_slice(&chunk[..count]),
        }
        if request.len() > REQUEST_MAX {
            return Ok(None);
        }
    }
    let request = String::from_utf8_lossy(&request);
    let mut words = request.split_ascii_whitespace();
    let is_get = words.next() == Some("GET");
    Ok(words.next().filter(|_| is_get).map(Into::into))
}

/// Gets the status that another process serves at a path.
pub async fn get(path: &Path) -> io::Result<String> {
    let exchange = async {
        let mut stream = UnixStream::connect(path).await?;
        stream.write_all(b"GET /status HTTP/1.0\r\n\r\n").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        match answer.split_once("\r\n\r\n") {
            Some((_, body)) => Ok(body.to_owned()),
            None => Err(io::Error::other("not a status")),
        }
    };
    timeout(LIMIT, exchange).await.map_err(io::Error::other)?
}
