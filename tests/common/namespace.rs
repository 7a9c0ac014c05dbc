//! IPC namespaces of tests. When the last process of a namespace ends, the kernel removes all
//! objects of the namespace.

use std::ffi::CStr;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};

/// The environment variable that is set if the test has its own IPC namespace.
pub const VARIABLE: &str = "UNIXIPC_TEST_OWN_IPC";

/// Whether this process has an IPC namespace that only its test uses.
pub fn is_own() -> bool {
    env::var_os(VARIABLE).is_some()
}

/// Whether this process may create an IPC namespace: root may, and other users may if user
/// namespaces are permitted. A child tries it once.
pub fn is_permitted() -> bool {
    static PERMITTED: OnceLock<bool> = OnceLock::new();
    *PERMITTED.get_or_init(|| {
        let mut command = Command::new("true");
        // SAFETY: only async-signal-safe calls.
        unsafe { command.pre_exec(enter) };
        command.status().is_ok_and(|status| status.success())
    })
}

/// Moves the process, which has one thread, into its own IPC namespace. Async-signal-safe.
pub fn enter() -> io::Result<()> {
    // SAFETY: no pointers.
    if unsafe { libc::unshare(libc::CLONE_NEWIPC) } == 0 {
        return Ok(());
    }
    // SAFETY: the calls take nothing and cannot fail.
    let (uid, gid) = unsafe { (libc::getuid(), libc::getgid()) };
    // SAFETY: no pointers.
    if unsafe { libc::unshare(libc::CLONE_NEWUSER | libc::CLONE_NEWIPC) } == -1 {
        return Err(io::Error::last_os_error());
    }
    write_file(c"/proc/self/setgroups", b"deny")?;
    map_id(c"/proc/self/uid_map", uid)?;
    map_id(c"/proc/self/gid_map", gid)
}

/// The System V objects of the namespace, one per line.
pub fn objects() -> String {
    let tables = ["shm", "sem", "msg"].map(|object_type| {
        let table = fs::read_to_string(format!("/proc/sysvipc/{object_type}")).unwrap();
        let (_headings, objects) = table.split_once('\n').unwrap();
        objects.to_owned()
    });
    tables.concat()
}

/// A field of a file in /proc/sys/kernel.
pub fn kernel_setting(name: &str, field: usize) -> u64 {
    let text = fs::read_to_string(format!("/proc/sys/kernel/{name}")).unwrap();
    text.split_whitespace().nth(field).unwrap().parse().unwrap()
}

/// Changes a setting of this process's own IPC namespace.
pub fn set_kernel_setting(name: &str, value: &str) {
    assert!(is_own());
    fs::write(format!("/proc/sys/kernel/{name}"), value).unwrap();
}

/// A key that no segment and no semaphore set uses.
pub fn fresh_key() -> libc::key_t {
    let mut key = std::process::id() as libc::key_t;
    loop {
        key = key.wrapping_mul(1_103_515_245).wrapping_add(12345) & i32::MAX;
        // SAFETY: no pointers.
        let in_use = unsafe { libc::shmget(key, 0, 0) != -1 || libc::semget(key, 0, 0) != -1 };
        if key != libc::IPC_PRIVATE && !in_use {
            return key;
        }
    }
}

/// Maps an id to itself. Runs between fork and exec, so it does not allocate.
fn map_id(file: &CStr, id: u32) -> io::Result<()> {
    let mut line = [0; 32];
    let mut rest = &mut line[..];
    writeln!(rest, "{id} {id} 1")?;
    let left = rest.len();
    write_file(file, &line[..line.len() - left])
}

fn write_file(path: &CStr, bytes: &[u8]) -> io::Result<()> {
    // SAFETY: the path ends with a NUL.
    let fd = unsafe { libc::open(path.as_ptr(), libc::O_WRONLY | libc::O_CLOEXEC) };
    if fd == -1 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the bytes are readable.
    let written = unsafe { libc::write(fd, bytes.as_ptr().cast(), bytes.len()) };
    let result = if written == -1 {
        Err(io::Error::last_os_error())
    } else {
        Ok(())
    };
    // SAFETY: the descriptor is ours.
    unsafe { libc::close(fd) };
    result
}
