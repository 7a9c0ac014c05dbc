//! `unixipc ls`: channels, feeds and listeners.

use crate::support::*;
use serde_json::Value;
use std::time::{Duration, Instant};
use unixipc::ffi::channel::*;
use unixipc::ffi::feed::*;

/// The sides of a channel, the one of this process first.
fn sides(channel: &Value, first: u32) -> [Value; 2] {
    let [a, b] = &channel["sides"].as_array().unwrap()[..] else {
        panic!("{channel}");
    };
    match has_process(&a["processes"], first) {
        true => [a.clone(), b.clone()],
        false => [b.clone(), a.clone()],
    }
}

#[apply(isolated)]
#[needs(needs::root)]
fn connected_processes() {
    in_container(|| {
        let server = program(|| {
            let listener = listen("/run/server");
            let client = fork(|| {
                for _ in 0..3 {
                    send(connect("/run/server"), &[7; 100]);
                }
                sleep_until_killed();
            });
            for number in 0..3 {
                let end = accept(listener);
                if number > 0 {
                    assert_eq!(receive(end), 100);
                }
            }
            std::mem::forget(client);
        });
        let listener = objects("listener", &[]);
        assert_eq!(listener[0]["address"], "/run/server");
        assert!(has_process(&listener[0]["processes"], pid_of(&server)));
        let found = objects("channel", &[]);
        assert_eq!(found.len(), 3, "{found:?}");
        let mut unread = Vec::new();
        for channel in &found {
            assert_eq!(channel["alive"], true, "{channel}");
            let [server_side, client_side] = sides(channel, pid_of(&server));
            assert_eq!(server_side["ring_size"], 256 << 10);
            assert_eq!(server_side["sent_bytes"], 0);
            assert_eq!(client_side["sent_bytes"], 104);
            assert!(!has_process(&client_side["processes"], pid_of(&server)));
            unread.push(client_side["unread_bytes"].as_u64().unwrap());
        }
        unread.sort();
        assert_eq!(unread, [0, 0, 104]);
    });
}

/// The survivor of a channel whose peer was killed, and a stopped process.
#[apply(isolated)]
#[needs(needs::root)]
fn dead_and_stopped() {
    in_container(|| {
        let client = program(|| {
            let listener = listen("/run/server");
            let server = fork(|| {
                let end = accept(listener);
                receive(end);
                sleep_until_killed();
            });
            send(connect("/run/server"), &[7; 100]);
            std::mem::forget(server);
        });
        client.stop();
        let channel = only("channel");
        let [stopped, other] = sides(&channel, pid_of(&client));
        assert_eq!(stopped["processes"][0]["stopped"], true, "{channel}");
        assert_eq!(other["processes"][0]["stopped"], Value::Null);
        client.signal(libc::SIGCONT);
        let server = other["processes"][0]["pid"].as_i64().unwrap();
        // SAFETY: no pointers.
        assert_eq!(unsafe { libc::kill(server as i32, libc::SIGKILL) }, 0);
        wait_until("the death", || only("channel")["alive"] == false);
        let table = run(tool(&["ls", "--type", "channel"]), 0);
        assert!(table.contains("gone") && table.contains("dead"), "{table}");
    });
}

/// The processes of another PID namespace, which live, but are not visible.
#[apply(isolated)]
#[needs(needs::root)]
fn other_pid_namespaces() {
    in_container(|| {
        let listener = listen("/run/server");
        let _server = fork(|| {
            // A receive completes the handshake.
            assert_eq!(receive(accept(listener)), 7);
            let feed = feed("/run/feed");
            admit(feed, 1);
            sleep_until_killed();
        });
        let _region = Region::create(c"/region", 4096, true);
        in_pid_namespace(|| {
            send(connect("/run/server"), b"message");
            subscribe("/run/feed", c"subscriber", IPC_SUB_F_WAIT);
            let channel = only("channel");
            assert_eq!(channel["alive"], Value::Null, "{channel}");
            let [_, server] = sides(&channel, 1);
            assert_eq!(server["alive"], Value::Null, "{channel}");
            assert_eq!(only("feed")["alive"], Value::Null);
            assert_eq!(only("region")["alive"], true);
            let table = run(tool(&["ls"]), 0);
            assert!(table.contains("not visible"), "{table}");
            assert!(
                !table.contains("gone") && !table.contains("dead"),
                "{table}"
            );
            let table = run(tool(&["top", "--once", "-i", "0.05"]), 0);
            assert!(table.contains("not visible"), "{table}");
            assert!(!table.contains("gone"), "{table}");
        });
    });
}

/// The words of the two sides are read one after the other. In between, a side can send more than its
/// ring has space for.
#[apply(isolated)]
#[needs(needs::root)]
fn busy_full_ring() {
    in_container(|| {
        let _traffic: Vec<_> = (0..2)
            .map(|sender| {
                fork(|| {
                    let ends = channel_pair();
                    let (from, to) = (ends[sender], ends[1 - sender]);
                    let _receiver = fork(|| while receive(to) > 0 {});
                    loop {
                        send(from, &[7; 4096]);
                    }
                })
            })
            .collect();
        wait_until("traffic", || objects("channel", &[]).len() == 2);
        for _ in 0..100 {
            for channel in objects("channel", &[]) {
                for side in channel["sides"].as_array().unwrap() {
                    assert_eq!(side["invalid"], Value::Null, "{channel}");
                }
            }
        }
    });
}

/// Both ends of a pair, before and after a fork, and a sleeping receiver.
#[apply(isolated)]
#[needs(needs::root)]
fn pair_and_sleep() {
    in_container(|| {
        let [a, b] = channel_pair();
        let channel = only("channel");
        let [one, other] = sides(&channel, std::process::id());
        assert_eq!(
            (&one["processes"], &one["sent_bytes"]),
            (&other["processes"], &0.into())
        );
        let receiver = fork(|| {
            // SAFETY: an open end, and its last use.
            unsafe { ipc_channel_close(a) };
            receive(b);
            receive(b);
        });
        // SAFETY: an open end, and its last use.
        unsafe { ipc_channel_close(b) };
        send(a, &[7; 10]);
        wait_until("a sleeping receiver", || {
            let channel = only("channel");
            let [_, receiver] = sides(&channel, std::process::id());
            receiver["receiver_asleep"] == true && receiver["received_bytes"] == 16
        });
        kill(receiver);
        // SAFETY: an open end, and its last use.
        unsafe { ipc_channel_close(a) };
        assert!(objects("channel", &[]).is_empty());
    });
}

#[apply(isolated)]
#[needs(needs::root)]
fn feeds() {
    in_container(|| {
        let feed = feed("/run/feed");
        let start = fork(|| {
            subscribe("/run/feed", c"lossy", IPC_SUB_F_LOSSY);
            sleep_until_killed();
        });
        admit(feed, 1);
        wait_for_subscriber();
        for _ in 0..5 {
            publish(feed, &[7; 24]);
        }
        let found = only("feed");
        assert_eq!(found["address"], "/run/feed", "{found}");
        assert_eq!(
            (&found["messages"], &found["bytes"]),
            (&5.into(), &160.into())
        );
        assert!(has_process(&found["processes"], std::process::id()));
        let subscriber = &found["subscribers"][0];
        assert_eq!(subscriber["name"], "lossy", "{found}");
        assert_eq!(subscriber["lossy"], true);
        assert_eq!(
            (&subscriber["lag_messages"], &subscriber["lag_bytes"]),
            (&5.into(), &160.into())
        );
        assert!(has_process(&subscriber["processes"], pid_of(&start)));
        assert_eq!(objects("feed", &["lossy"]).len(), 1);
        assert_eq!(objects("feed", &["/run/f*"]).len(), 1);
        kill(start);
        // SAFETY: an open feed, and its last use.
        unsafe { ipc_feed_close(feed) };
    });
}

/// As for regions: see there.
#[apply(isolated)]
#[needs(needs::root)]
fn a_thousand_channels() {
    in_container(|| {
        let ends: Vec<_> = (0..1000).map(|_| channel_pair()).collect();
        let begin = Instant::now();
        assert_eq!(objects("channel", &[]).len(), ends.len());
        let time = begin.elapsed();
        println!("a thousand channels: {time:?}");
        assert!(time < Duration::from_secs(20), "{time:?}");
    });
}
