//! Conditions for `#[needs(...)]`: each function returns why a test cannot run here, or None.

use crate::descriptors::own;
use crate::sanitizer::Sanitizer;
use crate::user::{become_nobody, is_root};
use crate::{find_tool, namespace};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::sync::OnceLock;

/// No condition.
pub fn nothing() -> Option<&'static str> {
    None
}

/// Root with the rights to create namespaces and to become another user. Root in a container may
/// lack them. A child tries it once.
pub fn root() -> Option<&'static str> {
    static WHY_NOT: OnceLock<Option<&str>> = OnceLock::new();
    *WHY_NOT.get_or_init(|| (!is_full_root()).then_some("needs root"))
}

/// An IPC namespace that only this test uses, because the test counts objects or changes a limit.
pub fn ipc_namespace() -> Option<&'static str> {
    (!namespace::is_permitted()).then_some("needs an IPC namespace")
}

/// The option SO_PEERPIDFD of sockets.
pub fn peer_pidfd() -> Option<&'static str> {
    let (socket, _peer) = UnixStream::pair().unwrap();
    let mut pidfd: libc::c_int = -1;
    let mut len = size_of_val(&pidfd) as libc::socklen_t;
    // SAFETY: an int, with its size.
    let done = unsafe {
        let to = (&raw mut pidfd).cast();
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_PEERPIDFD,
            to,
            &mut len,
        )
    };
    if done == -1 {
        return Some("needs SO_PEERPIDFD (Linux 6.5)");
    }
    drop(own(pidfd));
    None
}

/// Root, and the option SO_PEERPIDFD.
pub fn root_and_peer_pidfd() -> Option<&'static str> {
    root().or_else(peer_pidfd)
}

/// Root, and madvise(2) with MADV_POPULATE_READ and MADV_POPULATE_WRITE.
pub fn root_and_populate() -> Option<&'static str> {
    let is_known = || {
        // SAFETY: changes no memory; an invalid advice has precedence over an empty range.
        unsafe { libc::madvise(std::ptr::null_mut(), 0, libc::MADV_POPULATE_READ) == 0 }
    };
    root().or_else(|| (!is_known()).then_some("needs MADV_POPULATE_READ (Linux 5.14)"))
}

/// AddressSanitizer for C programs, and for the library built for it.
pub fn address_sanitizer() -> Option<&'static str> {
    Sanitizer::Address.why_not()
}

/// The Python interpreter that has cffi.
pub fn python_cffi() -> Result<&'static str, &'static str> {
    // The first python3 of the PATH can be another one than that of the system's packages.
    ["python3", "/usr/bin/python3"]
        .into_iter()
        .find(|python| {
            let mut import = Command::new(python);
            let output = import.args(["-c", "import cffi"]).output();
            output.is_ok_and(|output| output.status.success())
        })
        .ok_or("missing: python3-cffi")
}

macro_rules! tools {
    ($($name:ident: $($tool:literal),*;)*) => {$(
        pub fn $name() -> Option<&'static str> {
            let missing = [$($tool),*].iter().any(|tool| find_tool(tool).is_none());
            missing.then_some(concat!("needs", $(" ", $tool),*))
        }
    )*};
}

tools! {
    c_compiler: "cc", "make", "pkg-config";
    cxx_compiler: "c++";
    groff: "groff", "tbl";
    mandoc: "mandoc";
    perl: "perl";
    script: "script";
    strace: "strace";
}

fn is_full_root() -> bool {
    let mut command = Command::new("true");
    // SAFETY: only async-signal-safe calls.
    unsafe {
        command.pre_exec(|| {
            if libc::unshare(libc::CLONE_NEWIPC | libc::CLONE_NEWNS) == -1 {
                return Err(io::Error::last_os_error());
            }
            become_nobody()
        })
    };
    is_root() && command.status().is_ok_and(|status| status.success())
}
