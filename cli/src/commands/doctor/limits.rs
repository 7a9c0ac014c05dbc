//! Limits, and what this process may see and do.

use super::{Check, Status};
use crate::output::units;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::statvfs::statvfs;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// The checks of this file.
pub fn checks() -> Vec<Check> {
    vec![
        processors(),
        descriptors(),
        locked_memory(),
        shared_memory(),
        huge_pages(),
        segments(),
        semaphores(),
        watches(),
        seccomp(),
        namespaces(),
        visibility(),
    ]
}

fn read(path: &str) -> String {
    fs::read_to_string(path)
        .unwrap_or_default()
        .trim()
        .to_string()
}

fn number(path: &str) -> u64 {
    read(path).parse().unwrap_or(0)
}

fn processors() -> Check {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    Check::new(
        "processors",
        count > 1,
        count.to_string(),
        Status::Limited,
        "each message between processes costs a context switch; calls do not spin",
    )
}

fn descriptors() -> Check {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap_or((0, 0));
    let shown = |limit| match limit {
        libc::RLIM_INFINITY => "unlimited".into(),
        limit => limit.to_string(),
    };
    Check::new(
        "descriptors (RLIMIT_NOFILE)",
        soft >= 4096,
        format!("{} of {}", shown(soft), shown(hard)),
        Status::Limited,
        "an end of a channel needs two descriptors, or four with an event loop",
    )
}

fn locked_memory() -> Check {
    let (soft, _) = getrlimit(Resource::RLIMIT_MEMLOCK).unwrap_or((0, 0));
    let found = match soft {
        libc::RLIM_INFINITY => "unlimited".into(),
        soft => units::bytes(soft),
    };
    Check::new(
        "locked memory (RLIMIT_MEMLOCK)",
        soft >= 1 << 20,
        found,
        Status::Limited,
        "IPC_CHANNEL_F_LOCK and IPC_SHM_F_LOCK fail for larger memory",
    )
}

fn shared_memory() -> Check {
    let Ok(st) = statvfs("/dev/shm") else {
        return Check::new(
            "/dev/shm",
            false,
            "no",
            Status::Missing,
            "no regions with a name",
        );
    };
    let free = st.blocks_available().saturating_mul(st.fragment_size());
    let size = st.blocks().saturating_mul(st.fragment_size());
    Check::new(
        "/dev/shm",
        free >= 16 << 20,
        format!("{} free of {}", units::bytes(free), units::bytes(size)),
        Status::Limited,
        "larger regions with a name fail with ENOSPC",
    )
}

fn huge_pages() -> Check {
    let setting = read("/sys/kernel/mm/transparent_hugepage/shmem_enabled");
    let chosen = setting.split(['[', ']']).nth(1).unwrap_or("no").to_string();
    let is_good = matches!(&chosen[..], "always" | "advise" | "within_size" | "force");
    Check::new(
        "huge pages of shared memory",
        is_good,
        chosen,
        Status::Limited,
        "IPC_SHM_F_HUGE has no effect",
    )
}

fn segments() -> Check {
    let max = number("/proc/sys/kernel/shmmni");
    let used = lines("/proc/sysvipc/shm");
    Check::new(
        "System V segments",
        used < max,
        format!("{used} of {max}"),
        Status::Missing,
        "ipc_shm_attach makes no new segments",
    )
}

fn semaphores() -> Check {
    let limits = read("/proc/sys/kernel/sem");
    let max = limits
        .split_ascii_whitespace()
        .nth(3)
        .and_then(|max| max.parse().ok())
        .unwrap_or(0);
    let used = lines("/proc/sysvipc/sem");
    Check::new(
        "System V semaphore sets",
        used < max,
        format!("{used} of {max}"),
        Status::Missing,
        "ipc_semlock_open makes no new locks",
    )
}

/// The number of objects in a table of /proc/sysvipc.
fn lines(path: &str) -> u64 {
    read(path).lines().count().saturating_sub(1) as u64
}

fn watches() -> Check {
    let max = number("/proc/sys/fs/inotify/max_user_instances");
    Check::new(
        "inotify instances of a user",
        max > 0,
        max.to_string(),
        Status::Limited,
        "IPC_CHANNEL_F_WAIT polls",
    )
}

fn seccomp() -> Check {
    let status = read("/proc/self/status");
    let mode = status
        .lines()
        .find_map(|line| line.strip_prefix("Seccomp:"));
    let found = match mode.map(str::trim) {
        Some("0") => "none",
        Some("1") => "strict",
        Some("2") => "a filter",
        _ => "unknown",
    };
    Check::new(
        "system call filter",
        found == "none",
        found,
        Status::Limited,
        "the checks above hold for programs with the same filter",
    )
}

fn namespaces() -> Check {
    /// The number of the first PID namespace.
    const FIRST: u64 = 0xefff_fffc;
    let inode = fs::metadata("/proc/self/ns/pid").map_or(0, |metadata| metadata.ino());
    Check::new(
        "PID namespace",
        inode == FIRST,
        match inode {
            FIRST => "that of the machine".into(),
            inode => format!("a container ({inode})"),
        },
        Status::Limited,
        "locks do not work across PID namespaces (EXDEV)",
    )
}

fn visibility() -> Check {
    let hidden = crate::proc::hides_processes();
    let is_root = nix::unistd::Uid::effective().is_root();
    let yama = read("/proc/sys/kernel/yama/ptrace_scope");
    let found = match (hidden, is_root, &yama[..]) {
        (true, ..) => "one's own processes (hidepid)",
        (_, true, _) => "all processes",
        (_, false, "" | "0") => "one's own processes",
        (_, false, _) => "one's own processes, without their memory (Yama)",
    };
    Check::new(
        "processes that unixipc sees",
        found == "all processes",
        found,
        Status::Limited,
        "ls and top show less; root sees everything",
    )
}
