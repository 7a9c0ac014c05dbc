//! `unixipc gc` at full speed, beside programs that open, publish and die.
//!
//! UNIXIPC_ROUNDS sets the number of rounds of each of two programs. More than the usual ones need
//! another time limit, UNIXIPC_TEST_LIMIT.

use crate::support::*;
use libc::{ENOENT, c_int};
use std::fs;
use std::io;
use std::ptr;
use unixipc::ffi::shm::*;

const SIZE: usize = 4096;

fn rounds() -> u32 {
    let rounds = std::env::var("UNIXIPC_ROUNDS");
    rounds.map_or(2000, |rounds| rounds.parse().expect("UNIXIPC_ROUNDS"))
}

/// Opens the region or creates it. Its first word becomes 1 when it is initialised, so `gc` recognises
/// nothing but the trailer.
fn open_or_create(transient: bool) -> Region {
    extern "C" fn init(_: *mut libc::c_void, _: usize, _: *mut libc::c_void) -> c_int {
        0
    }
    // SAFETY: zeros are the default options.
    let mut opts: ipc_shm_opts = unsafe { std::mem::zeroed() };
    (opts.flags, opts.layout) = (if transient { IPC_SHM_F_TRANSIENT } else { 0 }, 7);
    opts.timeout_ms = LONG;
    let mut shm = ptr::null_mut();
    // SAFETY: a name, options of this size, a function, and a place for the handle.
    let done = unsafe {
        ipc_shm_open_or_create(
            c"/storm".as_ptr(),
            SIZE,
            Some(init),
            ptr::null_mut(),
            &opts,
            size_of_val(&opts),
            &mut shm,
        )
    };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
    Region(shm)
}

/// While a process has the region open, its name stays, and stands for this region.
fn use_region(region: &Region) {
    for _ in 0..20 {
        // SAFETY: an open region.
        let current = unsafe { ipc_shm_is_current(region.0) };
        assert_eq!(current, 1, "the name was removed");
    }
}

fn programs(transient: bool, rounds: u32) {
    set_alarm(0);
    for round in 0..rounds {
        // One that dies with the region open, and now and then one that only opens.
        let user = fork(|| {
            let region = open_or_create(transient);
            use_region(&region);
            if round % 2 == 0 {
                std::mem::forget(region);
            }
        });
        match Region::open(c"/storm") {
            Ok(region) => use_region(&region),
            Err(error) => assert_eq!(error, ENOENT),
        }
        user.join();
    }
}

fn storm(transient: bool) {
    in_container(|| {
        set_alarm(0);
        // The directory also has a lock file while a process creates the region.
        let cleaner = fork(|| {
            set_alarm(0);
            loop {
                run(tool(&["gc", "--older-than", "0"]), 0);
            }
        });
        let others = [(); 2].map(|()| fork(|| programs(transient, rounds())));
        for other in others {
            other.join();
        }
        kill(cleaner);
        run(tool(&["gc", "--older-than", "0"]), 0);
        let left = fs::read_dir("/dev/shm").unwrap().count();
        assert_eq!(left, 0);
    });
}

#[apply(isolated)]
#[needs(needs::root)]
fn regions() {
    storm(false);
}

#[apply(isolated)]
#[needs(needs::root)]
fn transient_regions() {
    storm(true);
}

/// Listeners that start, are killed, and start again at the same path.
#[apply(isolated)]
#[needs(needs::root)]
fn listeners() {
    in_container(|| {
        set_alarm(0);
        let cleaner = fork(|| {
            loop {
                run(tool(&["gc", "--older-than", "0", "--dir", "/run"]), 0);
            }
        });
        for _ in 0..rounds() / 10 {
            let server = program(|| _ = listen("/run/server"));
            // The path is there as long as the server lives.
            for _ in 0..20 {
                assert!(exists("/run/server"));
            }
            kill(server);
        }
        kill(cleaner);
    });
}
