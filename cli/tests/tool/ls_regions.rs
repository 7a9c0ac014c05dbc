//! `unixipc ls`: regions and the objects in them, System V segments and locks, FIFOs.

use crate::support::*;
use serde_json::Value;
use std::ffi::{CString, c_int};
use std::fs;
use std::ptr;
use std::time::{Duration, Instant};
use unixipc::cell::Control;
use unixipc::ffi::cell::*;
use unixipc::ffi::cond::*;
use unixipc::ffi::event::*;
use unixipc::ffi::mutex::*;
use unixipc::ffi::rwlock::*;
use unixipc::ffi::semlock::*;
use unixipc::ffi::shm::*;

const PAGE: usize = 4096;
/// Where the objects of a test are in their region.
const MUTEX: usize = 0;
const RWLOCK: usize = PAGE;
const EVENT: usize = 4 * PAGE;
const COND: usize = 4 * PAGE + 64;
const CELL: usize = 5 * PAGE;
const SIZE: usize = 16 * PAGE;

#[track_caller]
fn ok(done: c_int) {
    assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
}

/// A region with an object of each type.
fn region_with_objects() -> Region {
    let region = Region::create(c"/objects", SIZE, true);
    // SAFETY: each object has its place in the region.
    ok(unsafe { ipc_mutex_init(region.at(MUTEX), 0) });
    // SAFETY: as above.
    ok(unsafe { ipc_rwlock_init(region.at(RWLOCK), 0) });
    // SAFETY: as above.
    ok(unsafe { ipc_event_init(region.at(EVENT), IPC_EVENT_F_SET) });
    // SAFETY: as above.
    ok(unsafe { ipc_cond_init(region.at(COND), 0) });
    let mut cell = ptr::null_mut();
    // SAFETY: as above, and a place for the handle.
    ok(unsafe { ipc_cell_init(region.at(CELL), SIZE - CELL, 100, 0, &mut cell) });
    for _ in 0..3 {
        // SAFETY: an open cell, and five bytes.
        ok(unsafe { ipc_cell_store(cell, c"value".as_ptr().cast(), 5, LONG) });
    }
    region
}

fn object(region: &Value, offset: usize) -> &Value {
    let objects = region["objects"].as_array().unwrap();
    let found = objects.iter().find(|object| object["offset"] == offset);
    found.unwrap_or_else(|| panic!("{offset}: {region}"))
}

#[apply(isolated)]
#[needs(needs::root)]
fn objects_of_a_region() {
    in_container(|| {
        let user = program(|| {
            let region = region_with_objects();
            // SAFETY: the objects of the region.
            ok(unsafe { ipc_mutex_lock(region.at(MUTEX), 0) });
            // SAFETY: as above.
            ok(unsafe { ipc_rwlock_rdlock(region.at(RWLOCK), 0) });
            std::mem::forget(region);
        });
        let region = only("region");
        assert_eq!(region["name"], "/objects");
        assert_eq!(region["size"], SIZE);
        assert_eq!(region["owner"], "root");
        assert_eq!(region["mode"], "0600");
        assert_eq!(region["transient"], true);
        assert_eq!(region["alive"], true);
        assert!(has_process(&region["processes"], pid_of(&user)), "{region}");
        assert_eq!(region["objects"].as_array().unwrap().len(), 5, "{region}");
        let mutex = object(&region, MUTEX);
        assert_eq!(mutex["type"], "mutex");
        assert_eq!(mutex["holder"]["process"]["pid"], pid_of(&user));
        let rwlock = object(&region, RWLOCK);
        assert_eq!(rwlock["type"], "rwlock");
        assert_eq!(rwlock["readers"][0]["thread"], pid_of(&user));
        assert_eq!(object(&region, EVENT)["set"], true);
        assert_eq!(object(&region, COND)["type"], "cond");
        let cell = object(&region, CELL);
        assert_eq!((&cell["version"], &cell["length"]), (&3.into(), &5.into()));
        let table = run(tool(&["ls"]), 0);
        assert!(
            table.contains("mutex at 0") && table.contains("held by"),
            "{table}"
        );

        user.signal(libc::SIGKILL);
        user.end();
        let region = only("region");
        assert_eq!(region["alive"], false, "{region}");
        let mutex = object(&region, MUTEX);
        assert_eq!(
            (&mutex["owner_died"], &mutex["holder"]),
            (&true.into(), &Value::Null)
        );
        assert_eq!(
            object(&region, RWLOCK)["readers"].as_array().unwrap().len(),
            0
        );
        fs::remove_file("/dev/shm/objects").unwrap();
    });
}

/// Writers and waiting threads of a lock.
#[apply(isolated)]
#[needs(needs::root)]
fn writer_and_waiters() {
    in_container(|| {
        let test_begin = Instant::now();
        let region = region_with_objects();
        let writer = program(|| {
            // SAFETY: the objects of the region.
            ok(unsafe { ipc_rwlock_wrlock(region.at(RWLOCK), 0) });
            // SAFETY: as above.
            ok(unsafe { ipc_mutex_lock(region.at(MUTEX), 0) });
        });
        let waiter = fork(|| {
            // SAFETY: as above.
            unsafe { ipc_mutex_lock(region.at(MUTEX), LONG) };
        });
        wait_until("a waiter", || {
            object(&only("region"), MUTEX)["waiters"] == true
        });
        let lock = object(&only("region"), RWLOCK).clone();
        assert_eq!(lock["writer"]["process"]["pid"], pid_of(&writer), "{lock}");
        assert_eq!(lock["held_ms"], Value::Null, "{lock}");
        // The waiter has recorded the time. While the same thread holds the mutex, it grows.
        let held_ms = || object(&only("region"), MUTEX)["held_ms"].as_u64().unwrap();
        let begin = Instant::now();
        let first = held_ms();
        assert!(
            u128::from(first) <= test_begin.elapsed().as_millis() + 20,
            "{first}"
        );
        wait_until("a longer time", || held_ms() >= first + 200);
        assert!(begin.elapsed() >= Duration::from_millis(150));
        let table = run(tool(&["ls"]), 0);
        assert!(table.contains(", for "), "{table}");
        kill(waiter);
        kill(writer);
        let lock = object(&only("region"), RWLOCK).clone();
        assert_eq!(lock["owner_died"], true, "{lock}");
    });
}

/// The version of a cell whose current value is always being replaced is not known.
#[apply(isolated)]
#[needs(needs::root)]
fn a_cell_that_changes() {
    in_container(|| {
        let region = region_with_objects();
        let cell = object(&only("region"), CELL).clone();
        assert_eq!((&cell["version"], &cell["length"]), (&3.into(), &5.into()));
        let field = |index: usize| CELL + Control::LAYOUT[index].1;
        // SAFETY: a control word of the cell.
        let published = unsafe { region.at::<u32>(field(5)).read_volatile() };
        // SAFETY: as above.
        let slots = unsafe { region.at::<u32>(field(2)).read_volatile() };
        // SAFETY: as above.
        let stride = unsafe { region.at::<u64>(field(4)).read_volatile() };
        let slot = (published & (slots - 1)) as usize * stride as usize;
        // The version of a slot that is being filled.
        let version = region.at::<u64>(CELL + size_of::<Control>() + slot);
        // SAFETY: the slot is in the region.
        unsafe { version.write_volatile(u64::MAX) };
        let cell = object(&only("region"), CELL).clone();
        assert_eq!(
            (&cell["version"], &cell["length"]),
            (&Value::Null, &Value::Null)
        );
        let table = run(tool(&["ls"]), 0);
        assert!(table.contains("version ?"), "{table}");
    });
}

/// A process of an inner PID namespace has another number there, which the lock records.
#[apply(isolated)]
#[needs(needs::root)]
fn inner_pid_namespace() {
    in_container(|| {
        let user = program(|| {
            // SAFETY: no pointers.
            ok(unsafe { libc::unshare(libc::CLONE_NEWPID) });
            let inner = program(|| {
                let region = region_with_objects();
                // SAFETY: the object of the region.
                ok(unsafe { ipc_mutex_lock(region.at(MUTEX), 0) });
                std::mem::forget(region);
            });
            std::mem::forget(inner);
        });
        let region = only("region");
        let mutex = object(&region, MUTEX);
        assert_eq!(mutex["holder"]["thread"], 1, "{region}");
        let holder = &mutex["holder"]["process"]["pid"];
        assert_eq!(*holder, region["processes"][0]["pid"], "{region}");
        assert!(holder.as_u64() > Some(pid_of(&user).into()), "{region}");
        kill(user);
        // SAFETY: no pointers.
        ok(unsafe { libc::kill(holder.as_i64().unwrap() as c_int, libc::SIGKILL) });
    });
}

/// A region without a name, and one whose name was removed.
#[apply(isolated)]
#[needs(needs::root)]
fn without_names() {
    in_container(|| {
        let user = program(|| {
            let mut shm = ptr::null_mut();
            // SAFETY: no options, and a place for the handle.
            ok(unsafe { ipc_shm_create(PAGE, ptr::null(), 0, &mut shm) });
            let region = Region::create(c"/removed", SIZE, false);
            // SAFETY: the object has its place in the region.
            ok(unsafe { ipc_mutex_init(region.at(MUTEX), 0) });
            // SAFETY: a name.
            ok(unsafe { ipc_shm_unlink(c"/removed".as_ptr()) });
            std::mem::forget(region);
        });
        let found = objects("region", &[]);
        assert_eq!(found.len(), 2, "{found:?}");
        for region in &found {
            assert_eq!(region["name"], Value::Null);
            assert!(has_process(&region["processes"], pid_of(&user)));
        }
        assert!(
            found
                .iter()
                .any(|region| region["objects"][0]["type"] == "mutex"),
            "{found:?}"
        );
    });
}

/// Files of other programs are shown on request only.
#[apply(isolated)]
#[needs(needs::root)]
fn files_of_others() {
    in_container(|| {
        fs::write("/dev/shm/other", "text").unwrap();
        assert!(objects("region", &[]).is_empty());
        let found = objects("region", &["--all"]);
        assert_eq!(found[0]["name"], "/other");
        let table = run(tool(&["ls", "--all"]), 0);
        assert!(table.contains("file"), "{table}");
    });
}

#[apply(isolated)]
#[needs(needs::root)]
fn patterns() {
    in_container(|| {
        let _regions = [c"/one", c"/two"].map(|name| Region::create(name, PAGE, true));
        let names = |pattern: &str| {
            let found = objects("region", &[pattern]);
            found
                .iter()
                .map(|region| region["name"].to_string())
                .collect::<Vec<_>>()
        };
        assert_eq!(names("one"), ["\"/one\""]);
        assert_eq!(names("/t*"), ["\"/two\""]);
        let pid = std::process::id().to_string();
        assert_eq!(names(&pid).len(), 2);
        run(tool(&["ls", "no-such-name"]), 1);
        run(tool(&["ls", "one"]), 0);
    });
}

#[apply(isolated)]
#[needs(needs::root)]
fn system_v() {
    in_container(|| {
        let key = fresh_key();
        let id = ipc_semlock_open(key, libc::IPC_CREAT | 0o600);
        assert_ne!(id, -1);
        let owner = program(|| {
            ok(ipc_semlock_wrlock(id, 0));
        });
        let set = only("set");
        assert_eq!(set["key"], format!("{:#010x}", key));
        assert_eq!(set["writer"], pid_of(&owner), "{set}");
        kill(owner);
        let set = only("set");
        assert_eq!(
            (&set["writer"], &set["owner_died"]),
            (&Value::Null, &true.into())
        );
        let user = program(|| {
            let mut shm = ptr::null_mut();
            // SAFETY: a key and a size, and a place for the handle.
            ok(unsafe { ipc_shm_attach(key, PAGE, libc::IPC_CREAT | 0o600, &mut shm) });
            let region = Region(shm);
            // SAFETY: the object has its place in the segment.
            ok(unsafe { ipc_mutex_init(region.at(0), 0) });
            std::mem::forget(region);
        });
        let segment = only("segment");
        assert_eq!(segment["objects"][0]["type"], "mutex", "{segment}");
        assert_eq!(segment["attached"], 1);
        assert!(has_process(&segment["processes"], pid_of(&user)));
        kill(user);
        assert!(objects("segment", &[]).is_empty());
        assert_eq!(objects("segment", &["--all"]).len(), 1);
    });
}

#[apply(isolated)]
#[needs(needs::root)]
fn paths() {
    in_container(|| {
        fs::create_dir("/run/d").unwrap();
        let path = CString::new("/run/d/fifo").unwrap();
        // SAFETY: a path.
        ok(unsafe { libc::mkfifo(path.as_ptr(), 0o600) });
        let reader = program(|| {
            // SAFETY: a path.
            assert_ne!(unsafe { libc::open(path.as_ptr(), libc::O_RDWR) }, -1);
        });
        let listener = program(|| _ = listen("/run/d/living"));
        let living = program(|| _ = listen("/run/d/living2"));
        kill(listener);
        let found = objects("fifo", &["--dir", "/run"]);
        assert_eq!(found[0]["path"], "/run/d/fifo");
        assert!(
            has_process(&found[0]["processes"], pid_of(&reader)),
            "{found:?}"
        );
        let found = objects("listener", &["--dir", "/run/d"]);
        let alive = |path: &str| {
            let found = found.iter().find(|listener| listener["address"] == path);
            found.unwrap()["alive"].clone()
        };
        assert_eq!(alive("/run/d/living"), false);
        assert_eq!(alive("/run/d/living2"), true);
        kill(living);
        let listing = json(&["ls", "--dir", "/no/such/directory"]);
        assert_eq!(listing["unseen_directories"], 1);
    });
}

/// How often a program stores into a cell, and that an idle cell has a rate of 0.
#[apply(isolated)]
#[needs(needs::root)]
fn rate_of_a_cell() {
    in_container(|| {
        let _region = region_with_objects();
        assert_eq!(object(&only("region"), CELL)["stores_per_second"], 0);
        let writer = fork(|| {
            let region = Region::open(c"/objects").unwrap();
            let mut cell = ptr::null_mut();
            // SAFETY: the cell of the region, and a place for the handle.
            ok(unsafe { ipc_cell_open(region.at(CELL), SIZE - CELL, 0, &mut cell) });
            loop {
                // SAFETY: an open cell, and five bytes.
                ok(unsafe { ipc_cell_store(cell, c"value".as_ptr().cast(), 5, LONG) });
                std::thread::sleep(Duration::from_millis(1));
            }
        });
        let mut rate = 0;
        wait_until("stores", || {
            rate = object(&only("region"), CELL)["stores_per_second"]
                .as_u64()
                .unwrap_or_default();
            rate > 0
        });
        // At most a thousand, but the inspections take longer on a busy machine.
        assert!(rate < 20_000, "{rate}");
        let table = run(tool(&["ls"]), 0);
        assert!(table.contains("stores/s"), "{table}");
        kill(writer);
    });
}

/// A thousand regions take less than a second on an idle machine. Here the limit is far higher, because
/// other programs run.
#[apply(isolated)]
#[needs(needs::root)]
fn a_thousand_regions() {
    in_container(|| {
        let regions: Vec<Region> = (0..1000)
            .map(|number| {
                let name = CString::new(format!("/region-{number}")).unwrap();
                let region = Region::create(&name, PAGE, true);
                // SAFETY: the object has its place in the region.
                ok(unsafe { ipc_mutex_init(region.at(0), 0) });
                region
            })
            .collect();
        let begin = Instant::now();
        assert_eq!(objects("region", &[]).len(), regions.len());
        let time = begin.elapsed();
        println!("a thousand regions: {time:?}");
        assert!(time < Duration::from_secs(20), "{time:?}");
    });
}
