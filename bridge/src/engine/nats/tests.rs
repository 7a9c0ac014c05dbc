//! The client with a server that is a script.

use super::*;
use crate::config::{RouteOptions, Settings};
use crate::engine::Requester;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpListener;
use tokio::runtime::Builder;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Longer than anything takes here.
const LIMIT: Duration = Duration::from_secs(60);

/// Connects to a server that says this about its longest message, answers each PING, and gives the
/// lines of the client. It serves one connection.
async fn connect(max_payload: u64) -> (Nats, mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = Settings::for_tests().engine;
    settings.servers = vec![format!("nats://{}", listener.local_addr().unwrap())];
    let (sender, lines) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        let (from, mut to) = stream.into_split();
        let info = format!("INFO {{\"headers\":true,\"max_payload\":{max_payload}}}\r\n");
        to.write_all(info.as_bytes()).await.unwrap();
        let mut from = BufReader::new(from).lines();
        while let Ok(Some(line)) = from.next_line().await {
            if line == "PING" {
                to.write_all(b"PONG\r\n").await.unwrap();
            }
            let _ = sender.send(line);
        }
    });
    let nats = Nats::connect(&settings, "a", 16).await.unwrap();
    nats.connection.until_connected().await.unwrap();
    (nats, lines)
}

fn requester(nats: &Nats) -> request::NatsRequester {
    let route = Route::new("call:/a", "<->", "a", RouteOptions::default()).unwrap();
    request::NatsRequester::new(&nats.connection, &route)
}

/// A server that allows any length.
#[test]
fn longest_message() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (nats, _lines) = connect(u64::MAX).await;
        assert!(requester(&nats).message_max() <= 64 << 20);
    });
}

/// The client forgets a call that gets no reply.
#[test]
fn unanswered_call() {
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (nats, mut lines) = connect(1 << 20).await;
        let requester = requester(&nats);
        let reply = requester.request("a".into(), Duration::from_millis(10));
        assert_eq!(reply.await.unwrap_err().failure, Failure::Unreachable);
        let forgotten = async { while !lines.recv().await.unwrap().starts_with("UNSUB ") {} };
        timeout(LIMIT, forgotten).await.unwrap();
    });
}
