//! `unixipc gc`.

use crate::support::*;
use std::ffi::CStr;
use std::fs;
use unixipc::ffi::mutex::ipc_mutex_init;

pub const NOW: [&str; 3] = ["gc", "--older-than", "0"];

/// The names of the objects that were removed.
pub fn removed(arguments: &[&str]) -> Vec<String> {
    let report = json(&[&NOW, arguments].concat());
    let objects = report["objects"].as_array().unwrap();
    let names = objects.iter().filter(|object| object["removed"] == true);
    names
        .map(|object| object["name"].as_str().unwrap().to_string())
        .collect()
}

/// A region with a mutex, that is not transient and that nobody uses.
fn leave(name: &CStr) {
    let region = Region::create(name, 4096, false);
    // SAFETY: the object has its place in the region.
    assert_eq!(unsafe { ipc_mutex_init(region.at(0), 0) }, 0);
}

#[apply(isolated)]
#[needs(needs::root)]
fn regions() {
    in_container(|| {
        leave(c"/unused");
        leave(c"/used");
        let user = program(|| std::mem::forget(Region::open(c"/used").unwrap()));
        fork(|| std::mem::forget(Region::create(c"/transient", 4096, true))).join();
        fs::write("/dev/shm/other", "text").unwrap();
        assert_eq!(removed(&["-n"]).sorted(), ["/transient", "/unused"]);
        assert!(exists("/dev/shm/unused"));
        let shown = run(tool(&[&NOW[..], &["-n"]].concat()), 0);
        assert!(shown.contains("would remove region /unused"), "{shown}");
        assert_eq!(removed(&[]).sorted(), ["/transient", "/unused"]);
        assert!(!exists("/dev/shm/unused") && !exists("/dev/shm/transient"));
        assert!(exists("/dev/shm/used") && exists("/dev/shm/other"));
        kill(user);
        let shown = run(tool(&NOW), 0);
        assert!(shown.starts_with("removed region /used"), "{shown}");
        assert!(exists("/dev/shm/other"));
        assert_eq!(run(tool(&NOW), 0), "");
    });
}

trait Sorted {
    fn sorted(self) -> Self;
}

impl Sorted for Vec<String> {
    fn sorted(mut self) -> Self {
        self.sort();
        self
    }
}

/// The pattern and the age limit what is removed.
#[apply(isolated)]
#[needs(needs::root)]
fn selection() {
    in_container(|| {
        for name in [c"/a-1", c"/a-2", c"/b"] {
            leave(name);
        }
        fs::write("/dev/shm/plain", "text").unwrap();
        assert!(run(tool(&["gc"]), 0).is_empty());
        assert!(run(tool(&["gc", "--older-than", "1h"]), 0).is_empty());
        assert_eq!(removed(&["a-*"]).sorted(), ["/a-1", "/a-2"]);
        assert!(removed(&["p*"]).is_empty());
        // Its name is given in full.
        assert_eq!(removed(&["plain"]), ["/plain"]);
        assert_eq!(removed(&[]), ["/b"]);
    });
}

#[apply(isolated)]
#[needs(needs::root)]
fn listeners_and_lock_files() {
    in_container(|| {
        fs::create_dir("/run/d").unwrap();
        let dead = program(|| _ = listen("/run/d/dead"));
        let _living = program(|| _ = listen("/run/living"));
        kill(dead);
        fs::write("/run/.killed.lock", "").unwrap();
        let private = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        fs::set_permissions("/run/.killed.lock", private).unwrap();
        fs::write("/run/.text.lock", "text").unwrap();
        assert!(removed(&[]).is_empty());
        let names = ["/run/.killed.lock", "/run/d/dead"];
        assert_eq!(removed(&["-n", "--dir", "/run"]).sorted(), names);
        assert!(names.iter().all(exists));
        assert_eq!(removed(&["--dir", "/run"]).sorted(), names);
        assert!(!names.iter().any(exists));
        assert!(exists("/run/living") && exists("/run/.text.lock"));
        // The listener has noticed nothing.
        let client = fork(|| _ = connect("/run/living"));
        drop(client);
        run(tool(&["gc", "--dir", "/no/such/directory"]), 3);
    });
}
