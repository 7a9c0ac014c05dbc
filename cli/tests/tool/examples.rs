//! The tool beside the programs of c_examples/, which are C programs with the shared library.

use crate::support::*;
use std::path::PathBuf;
use std::process::{Child as Process, Command, Stdio};

/// A program of c_examples/; killed when dropped.
struct Example(Process);

impl Example {
    fn start(name: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(path(name));
        command
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        Self(command.spawn().unwrap())
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Example {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn path(name: &str) -> PathBuf {
    common::root().join("build/examples").join(name)
}

fn not_built() -> Option<&'static str> {
    let is_built = path("market_feed").exists();
    (!is_built)
        .then_some("needs make examples")
        .or_else(needs::root)
}

#[apply(isolated)]
#[needs(not_built)]
fn market_feed() {
    in_container(|| {
        let publisher = Example::start("market_feed", &["publish", "/run/market"]);
        wait_until("the feed", || exists("/run/market"));
        let readers = [
            &["read", "/run/market"][..],
            &["read", "--lossy", "/run/market"],
        ]
        .map(|arguments| Example::start("market_feed", arguments));
        let subscribers = || only("feed")["subscribers"].as_array().unwrap().clone();
        wait_until("the readers", || subscribers().len() == readers.len());
        let feed = only("feed");
        assert_eq!(feed["address"], "/run/market");
        assert!(has_process(&feed["processes"], publisher.pid()), "{feed}");
        for reader in &readers {
            let mut found = subscribers().into_iter();
            assert!(found.any(|subscriber| has_process(&subscriber["processes"], reader.pid())));
        }
        let lossy = subscribers()
            .iter()
            .filter(|subscriber| subscriber["lossy"] == true)
            .count();
        assert_eq!(lossy, 1);
    });
}

#[apply(isolated)]
#[needs(not_built)]
fn echo_and_sensors() {
    in_container(|| {
        let server = Example::start("channel_echo_server", &["/run/echo"]);
        wait_until("the server", || exists("/run/echo"));
        let clients = [(); 2].map(|()| {
            Example::start(
                "channel_echo_client",
                &["--count", "1000000000", "/run/echo"],
            )
        });
        wait_until("the channels", || {
            objects("channel", &[]).len() == clients.len()
        });
        for channel in objects("channel", &[]) {
            let sides = channel["sides"].as_array().unwrap();
            assert!(
                sides
                    .iter()
                    .any(|side| has_process(&side["processes"], server.pid()))
            );
        }
        let board = Example::start("sensor_board", &["write", "--name", "/board"]);
        wait_until("the cell", || {
            let found = objects("region", &["board"]);
            found
                .first()
                .is_some_and(|region| region["objects"][0]["version"].as_u64() > Some(10))
        });
        // It is killed, and leaves its region.
        drop(board);
        let shown = run(tool(&["gc", "--older-than", "0", "board"]), 0);
        assert!(shown.starts_with("removed region /board"), "{shown}");
    });
}
