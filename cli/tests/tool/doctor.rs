//! `unixipc doctor`.

use crate::support::*;

#[apply(isolated)]
fn checks() {
    let report = json(&["doctor"]);
    let checks = report["checks"].as_array().unwrap();
    let check = |name: &str| {
        let found = checks.iter().find(|check| check["name"] == name);
        found.unwrap_or_else(|| panic!("{name}: {report}"))
    };
    assert_eq!(check("memfd seals")["status"], "good");
    assert_eq!(check("O_TMPFILE in /dev/shm")["status"], "good");
    for check in checks {
        // What is not good has a consequence.
        assert_eq!(
            check["status"] != "good",
            check["consequence"].is_string(),
            "{check}"
        );
    }
    let table = run(tool(&["doctor"]), 0);
    assert!(table.contains("membarrier"), "{table}");
}

/// A refused system call is reported, with its consequence.
#[apply(isolated)]
fn refused_call() {
    fork(|| {
        common::filter::refuse(libc::SYS_membarrier, libc::EPERM);
        let report = json(&["doctor"]);
        let checks = report["checks"].as_array().unwrap();
        let status = |name: &str| {
            checks.iter().find(|check| check["name"] == name).unwrap()["status"].clone()
        };
        assert_eq!(status("membarrier"), "limited");
        assert_eq!(status("system call filter"), "limited");
        assert_eq!(status("memfd seals"), "good");
    })
    .join();
    fork(|| {
        common::filter::refuse(libc::SYS_memfd_create, libc::ENOSYS);
        run(tool(&["doctor"]), 1);
    })
    .join();
}

/// The benchmark measures six things, and none is zero.
#[apply(isolated)]
#[needs(needs::root)]
fn bench() {
    let report = json(&["doctor", "--bench"]);
    let bench = report["bench"].as_array().unwrap();
    assert_eq!(bench.len(), 6, "{report}");
    for measured in bench {
        assert!(
            measured["per_second"].as_f64().unwrap() > 10.0,
            "{measured}"
        );
    }
}
