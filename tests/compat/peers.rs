//! Two processes, one with the present library and one with an earlier one, which meet over each
//! mechanism. The program of both is the frozen one.

use crate::programs::present_library;
use crate::support::*;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// Starts one side of a meeting.
fn start(set: &Set, library: &Path, role: &str, address: &str) -> Child {
    Command::new(set.path("peer"))
        .args([role, address])
        .env("LD_LIBRARY_PATH", library)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Two processes meet twice; each of them has the earlier library once.
fn meet(first: &str, second: &str, address: &str) {
    for set in sets() {
        let (old, new) = (set.directory(), &*present_library());
        set.path("libunixipc.so.0");
        for [one, two] in [[old, new], [new, old]] {
            let library = if one == old { "earlier" } else { "present" };
            let _case = Case(format!(
                "{first} with the {library} library, {}",
                set.version
            ));
            let directory = WorkingDirectory::new();
            let mut one = start(&set, one, first, address);
            let mut output = BufReader::new(one.stdout.take().unwrap());
            let mut line = String::new();
            output.read_line(&mut line).unwrap();
            // Without this line the first process has failed, and has said why.
            let mut two = (line == "ready\n").then(|| start(&set, two, second, address));
            let two = two.as_mut().map(|two| two.wait().unwrap());
            let one = one.wait().unwrap();
            output.read_to_string(&mut line).unwrap();
            assert!(one.success(), "{first}: {one}");
            assert!(two.unwrap().success(), "{second}");
            assert_eq!(directory.list(), [""; 0], "files are left behind");
        }
    }
}

#[apply(isolated)]
#[needs(old_programs)]
fn channel() {
    meet("channel-server", "channel-client", "listener");
}

#[apply(isolated)]
#[needs(old_programs)]
fn reliable_subscriber() {
    meet("feed-publisher", "feed-reliable", "feed");
}

#[apply(isolated)]
#[needs(old_programs)]
fn lossy_subscriber() {
    meet("feed-publisher", "feed-lossy", "feed");
}

#[apply(isolated)]
#[needs(old_programs)]
fn fifo() {
    meet("fifo-reader", "fifo-writer", "fifo");
}

#[apply(isolated)]
#[needs(old_programs)]
fn messages() {
    meet("message-receiver", "message-sender", "socket");
}

#[apply(isolated)]
#[needs(old_programs)]
fn objects_in_a_region() {
    let name = RegionName::new();
    meet("objects-creator", "objects-user", name.as_str());
}

#[apply(isolated)]
#[needs(old_programs_alone)]
fn semlock() {
    meet("semlock-first", "semlock-second", "unused");
}
