//! A cluster of three servers, in a network namespace of its own, where its ports are free.

use super::faults::{IMPORT, carry, ip, machines};
use crate::support::*;
use std::time::Duration;

const SIZE: usize = 3;

/// The servers of a cluster.
struct Cluster {
    servers: Vec<Server>,
}

impl Cluster {
    /// Moves this thread, and so the processes that it starts, to a network namespace, and starts a
    /// cluster there.
    #[track_caller]
    fn start() -> Self {
        // SAFETY: no pointers.
        let moved = unsafe { libc::unshare(libc::CLONE_NEWNET) };
        assert_eq!(moved, 0, "{}", std::io::Error::last_os_error());
        ip("link set lo up");
        let address = |index: usize| format!("nats://127.0.0.1:{}", 6221 + index);
        let routes = (0..SIZE).map(address).collect::<Vec<_>>().join(",");
        let start = |index| {
            let (name, own) = (format!("nats{index}"), address(index));
            let words = [
                "-n",
                &name,
                "-cluster_name",
                "test",
                "-cluster",
                &own,
                "-routes",
                &routes,
            ];
            Server::start_with(&name, "127.0.0.1", &[], &words)
        };
        Self {
            servers: (0..SIZE).map(start).collect(),
        }
    }

    /// Starts a bridge that knows all servers.
    fn bridge(&self, name: &str, words: &[&str]) -> Bridge {
        let urls: Vec<_> = self.servers.iter().map(Server::url).collect();
        let engines = urls.iter().flat_map(|url| ["--engine", url]);
        let words: Vec<_> = engines.chain(words.iter().copied()).collect();
        Bridge::start_alone(name, &[], &words)
    }
}

/// Each server is killed in turn: the leader of the stream, which stays the same until it is killed,
/// is one of them. The bridges begin before the cluster has a leader. Local programs connect all the
/// time: that must not hide that the server is silent.
#[apply(isolated)]
#[needs(machines)]
fn killed_leaders() {
    let _directory = WorkingDirectory::new();
    let mut cluster = Cluster::start();
    let words = ["-o", "replicas=3", "feed:md -> md"];
    let export = cluster.bridge("a", &words);
    let import = cluster.bridge("b", &IMPORT);
    let _clients = fork(|| {
        loop {
            drop(Reader::new("local"));
            std::thread::sleep(Duration::from_millis(300));
        }
    });
    carry(4000, |step| {
        if step.is_multiple_of(2) {
            let index = step as usize / 2 % SIZE;
            cluster.servers[index].restart();
        }
    });
    let streams = Streams::of(&cluster.servers[0]);
    streams.wait_count("md", 4000);
    assert_eq!(streams.numbers("md"), (0..4000).collect::<Vec<_>>());
    export.stop();
    import.stop();
}
