//! Attributes of the calling process: limits, processors, umask.

use libc::pid_t;
use std::{fs, mem};

/// Changes a limit of this process. Returns whether that is permitted.
pub fn change_limit(
    resource: libc::__rlimit_resource_t,
    change: impl FnOnce(&mut libc::rlimit),
) -> bool {
    let mut limit = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the struct is ours.
    assert_eq!(unsafe { libc::getrlimit(resource, &mut limit) }, 0);
    change(&mut limit);
    // SAFETY: as above.
    unsafe { libc::setrlimit(resource, &limit) == 0 }
}

/// Sets a soft limit of this process. Returns the old limit.
pub fn set_soft_limit(resource: libc::__rlimit_resource_t, soft: u64) -> u64 {
    let mut old = 0;
    assert!(change_limit(resource, |limit| {
        old = mem::replace(&mut limit.rlim_cur, soft);
    }));
    old
}

/// Keeps the calling thread, and the processes that it forks, on one processor.
pub fn stay_on(cpu: usize) {
    // SAFETY: all zero bytes are a set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: a set of ours.
    unsafe { libc::CPU_SET(cpu, &mut set) };
    // SAFETY: a set of ours, and its size.
    let done = unsafe { libc::sched_setaffinity(0, size_of_val(&set), &set) };
    assert_eq!(done, 0);
}

/// Keeps the calling thread, and the processes that it forks, on the processor where it runs.
pub fn stay_on_this_processor() {
    // SAFETY: takes nothing.
    stay_on(unsafe { libc::sched_getcpu() } as usize);
}

/// The processors that this process may run on.
pub fn processors() -> Vec<usize> {
    // SAFETY: all zero bytes are a set.
    let mut set: libc::cpu_set_t = unsafe { mem::zeroed() };
    // SAFETY: a set of ours, and its size.
    let done = unsafe { libc::sched_getaffinity(0, size_of_val(&set), &mut set) };
    assert_eq!(done, 0);
    (0..libc::CPU_SETSIZE as usize)
        // SAFETY: a set of ours.
        .filter(|cpu| unsafe { libc::CPU_ISSET(*cpu, &set) })
        .collect()
}

/// Whether an object's pid field names this process.
pub fn is_me(pid: pid_t) -> bool {
    pid == std::process::id() as pid_t
}

/// The first two numbers of the kernel's version.
pub fn kernel_version() -> (u32, u32) {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    let mut numbers = release
        .split(['.', '-'])
        .map_while(|part| part.parse().ok());
    let mut next = || numbers.next().expect("a version");
    (next(), next())
}

/// Sets the file mode creation mask. Returns the old mask.
pub fn set_umask(mask: libc::mode_t) -> libc::mode_t {
    // SAFETY: no pointers.
    unsafe { libc::umask(mask) }
}
