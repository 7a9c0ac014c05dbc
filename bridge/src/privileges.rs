//! Giving up privileges.

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::unistd::{User, geteuid, initgroups, setgid, setuid};
use std::ffi::CString;
use std::io;

/// Makes this process one of a user, for good. Also forbids core dumps, and other processes of the
/// user to read its memory: both contain secrets.
pub fn drop_to(user: Option<&str>) -> io::Result<()> {
    setrlimit(Resource::RLIMIT_CORE, 0, 0)?;
    if let Some(name) = user {
        become_user(name)?;
    }
    // After that, because a change of the user sets it again.
    prctl::set_dumpable(false)?;
    Ok(())
}

fn become_user(name: &str) -> io::Result<()> {
    let unknown = || io::Error::other(format!("no user {name}"));
    let user = User::from_name(name)?.ok_or_else(unknown)?;
    if geteuid() != user.uid {
        let c_name = CString::new(name).map_err(|_| unknown())?;
        initgroups(&c_name, user.gid)?;
        setgid(user.gid)?;
        setuid(user.uid)?;
    }
    if !user.uid.is_root() && setuid(0.into()).is_ok() {
        return Err(io::Error::other("the privileges could not be dropped"));
    }
    prctl::set_no_new_privs()?;
    Ok(())
}
