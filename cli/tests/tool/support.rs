//! Running the tool, and making the objects that it shows.

pub use common::needs;
pub use common::prelude::*;
use libc::{c_int, c_void};
use serde_json::Value;
use std::ffi::{CStr, CString};
use std::fs;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output};
use std::ptr;
use unixipc::channel::Channel;
use unixipc::feed::{Feed, Subscriber};
use unixipc::ffi::channel::*;
use unixipc::ffi::feed::*;
use unixipc::ffi::shm::*;
use unixipc::shm::Shm;

/// A time-out that no test reaches.
pub const LONG: c_int = 20_000;

/// Runs `run` in a child that is the first process of its own PID namespace, with its own /proc,
/// /dev/shm and /run.
pub fn in_container(run: impl FnOnce()) {
    in_pid_namespace(|| {
        unshare(libc::CLONE_NEWIPC);
        mount_tmpfs(c"/dev/shm", 0, c"mode=1777");
        mount_tmpfs(c"/run", 0, c"mode=0755");
        run();
    });
}

/// Runs `run` in a process that is the first one of its own PID namespace, with its own /proc.
pub fn in_pid_namespace(run: impl FnOnce()) {
    let first = || {
        own_mount_namespace();
        let flags = libc::MS_NOSUID | libc::MS_NODEV;
        // SAFETY: strings, and no data.
        let mounted = unsafe {
            libc::mount(
                c"proc".as_ptr(),
                c"/proc".as_ptr(),
                c"proc".as_ptr(),
                flags,
                ptr::null(),
            )
        };
        assert_eq!(mounted, 0, "{}", io::Error::last_os_error());
        run();
    };
    // All children of a process that has unshared this namespace belong to it.
    fork(|| {
        // The first process has a time limit, unless it has removed it.
        set_alarm(0);
        unshare(libc::CLONE_NEWPID);
        fork(first).join();
    })
    .join();
}

fn unshare(flags: c_int) {
    // SAFETY: no pointers.
    let done = unsafe { libc::unshare(flags) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}

/// The tool with these arguments.
pub fn tool(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_unixipc"));
    command.args(arguments);
    command
}

/// The tool as another user.
pub fn tool_as_nobody(arguments: &[&str]) -> Command {
    let mut command = tool(arguments);
    command.uid(NOBODY).gid(NOBODY).current_dir("/");
    command
}

/// Runs a command that must succeed with this exit status. Returns its output.
#[track_caller]
pub fn run(mut command: Command, status: i32) -> String {
    let Output {
        status: ended,
        stdout,
        stderr,
    } = command.output().unwrap();
    let (shown, errors) = (text(stdout), text(stderr));
    assert_eq!(ended.code(), Some(status), "{command:?}\n{shown}\n{errors}");
    shown
}

fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).expect("the tool writes UTF-8")
}

/// The JSON that the tool writes with these arguments.
#[track_caller]
pub fn json(arguments: &[&str]) -> Value {
    json_of(tool(arguments))
}

#[track_caller]
pub fn json_of(mut command: Command) -> Value {
    command.arg("--json");
    let shown = run(command, 0);
    serde_json::from_str(&shown).unwrap_or_else(|error| panic!("{error}: {shown}"))
}

/// The objects of a kind that `unixipc ls` shows with these arguments.
#[track_caller]
pub fn objects(kind: &str, arguments: &[&str]) -> Vec<Value> {
    let listing = json(&[&["ls", "--type", kind], arguments].concat());
    assert_eq!(listing["unseen_processes"], 0, "{listing}");
    listing["objects"].as_array().unwrap().clone()
}

/// The only object of a kind.
#[track_caller]
pub fn only(kind: &str) -> Value {
    let mut found = objects(kind, &[]);
    assert_eq!(found.len(), 1, "{found:?}");
    found.remove(0)
}

/// Whether a list of processes has this one.
pub fn has_process(processes: &Value, pid: u32) -> bool {
    let processes = processes.as_array().unwrap();
    processes.iter().any(|process| process["pid"] == pid)
}

/// A process that runs `run` and then sleeps until it is killed. Returns when `run` has ended.
pub fn program(run: impl FnOnce()) -> Child {
    let (mut reader, mut writer) = pipe();
    let child = fork(move || {
        run();
        io::Write::write_all(&mut writer, b"r").unwrap();
        sleep_until_killed();
    });
    io::Read::read_exact(&mut reader, &mut [0]).expect("the program is ready");
    child
}

/// Sleeps until a signal ends this process.
pub fn sleep_until_killed() -> ! {
    loop {
        // SAFETY: takes nothing.
        unsafe { libc::pause() };
    }
}

/// The number of a child.
pub fn pid_of(child: &Child) -> u32 {
    child.0 as u32
}

/// A region with a name; closed when dropped.
pub struct Region(pub *mut Shm);

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: an open region, and this is its last use.
        unsafe { ipc_shm_close(self.0) };
    }
}

impl Region {
    /// Creates a region with this name.
    pub fn create(name: &CStr, size: usize, transient: bool) -> Self {
        // SAFETY: zeros are the default options.
        let mut opts: ipc_shm_opts = unsafe { std::mem::zeroed() };
        opts.flags = IPC_SHM_F_PUBLISH | if transient { IPC_SHM_F_TRANSIENT } else { 0 };
        let mut shm = ptr::null_mut();
        // SAFETY: options of this size, and a place for the handle.
        let created = unsafe { ipc_shm_create(size, &opts, size_of_val(&opts), &mut shm) };
        assert_eq!(created, 0, "{}", io::Error::last_os_error());
        let region = Self(shm);
        // SAFETY: the region and the name.
        let published = unsafe { ipc_shm_publish(shm, name.as_ptr()) };
        assert_eq!(published, 0, "{}", io::Error::last_os_error());
        region
    }

    /// Opens a region. The error is an errno.
    pub fn open(name: &CStr) -> Result<Self, c_int> {
        let mut shm = ptr::null_mut();
        // SAFETY: the name, and a place for the handle.
        match unsafe { ipc_shm_open(name.as_ptr(), 0, &mut shm) } {
            0 => Ok(Self(shm)),
            _ => Err(io::Error::last_os_error().raw_os_error().unwrap()),
        }
    }

    /// The address at an offset.
    pub fn at<T>(&self, offset: usize) -> *mut T {
        // SAFETY: an open region.
        let address: *mut c_void = unsafe { ipc_shm_addr(self.0) };
        address.wrapping_byte_add(offset).cast()
    }
}

/// The two ends of a new channel, which stay open.
pub fn channel_pair() -> [*mut Channel; 2] {
    let mut ends = [ptr::null_mut(); 2];
    // SAFETY: no options, and an array of two.
    let done = unsafe { ipc_channel_pair(ptr::null(), 0, ends.as_mut_ptr()) };
    assert_eq!(done, 0);
    ends
}

/// Listens at a path.
pub fn listen(path: &str) -> c_int {
    let path = CString::new(path).unwrap();
    // SAFETY: the path.
    let fd = unsafe { ipc_channel_listen(path.as_ptr(), 0o600, 0) };
    assert_ne!(fd, -1, "{}", io::Error::last_os_error());
    fd
}

/// Accepts a client.
pub fn accept(listener: c_int) -> *mut Channel {
    let mut end = ptr::null_mut();
    // SAFETY: no options, and a place for the handle.
    let done = unsafe { ipc_channel_accept(listener, ptr::null(), 0, LONG, &mut end) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
    end
}

/// Connects to a listener.
pub fn connect(path: &str) -> *mut Channel {
    let path = CString::new(path).unwrap();
    let mut end = ptr::null_mut();
    // SAFETY: the path, no options, and a place for the handle.
    let done = unsafe { ipc_channel_connect(path.as_ptr(), ptr::null(), 0, LONG, &mut end) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
    end
}

/// Sends a message.
pub fn send(end: *mut Channel, message: &[u8]) {
    // SAFETY: an open end, and the message.
    let sent = unsafe { ipc_channel_send(end, message.as_ptr().cast(), message.len(), LONG) };
    assert_eq!(sent, 0, "{}", io::Error::last_os_error());
}

/// Receives a message. Returns its length.
pub fn receive(end: *mut Channel) -> isize {
    let mut buffer = [0u8; 4096];
    // SAFETY: an open end, and the buffer.
    unsafe { ipc_channel_recv(end, buffer.as_mut_ptr().cast(), buffer.len(), LONG) }
}

/// A feed that listens at a path.
pub fn feed(path: &str) -> *mut Feed {
    let path = CString::new(path).unwrap();
    let mut feed = ptr::null_mut();
    // SAFETY: no options, and a place for the handle.
    assert_eq!(unsafe { ipc_feed_create(ptr::null(), 0, &mut feed) }, 0);
    // SAFETY: the feed and the path.
    assert_eq!(unsafe { ipc_feed_listen(feed, path.as_ptr(), 0o600, 0) }, 0);
    feed
}

/// Publishes a message.
pub fn publish(feed: *mut Feed, message: &[u8]) {
    // SAFETY: an open feed, and the message.
    let published = unsafe { ipc_feed_publish(feed, message.as_ptr().cast(), message.len(), LONG) };
    assert_eq!(published, 0, "{}", io::Error::last_os_error());
}

/// Admits subscribers until the feed has this many.
pub fn admit(feed: *mut Feed, count: isize) {
    wait_until("the subscribers", || {
        // SAFETY: an open feed.
        assert_eq!(unsafe { ipc_feed_service(feed) }, 0);
        // SAFETY: the count only.
        unsafe { ipc_feed_subscribers(feed, ptr::null_mut(), 0, 0) == count }
    });
}

/// Waits until the tool shows a subscriber of the only feed. A subscriber labels its memory after its
/// admission.
pub fn wait_for_subscriber() {
    wait_until("a subscriber", || {
        let feed = only("feed");
        !feed["subscribers"].as_array().unwrap().is_empty()
    });
}

/// Subscribes with a name.
pub fn subscribe(path: &str, name: &CStr, flags: u32) -> *mut Subscriber {
    let path = CString::new(path).unwrap();
    // SAFETY: zeros are the default options.
    let mut opts: ipc_sub_opts = unsafe { std::mem::zeroed() };
    (opts.name, opts.flags) = (name.as_ptr(), flags);
    let (size, mut sub) = (size_of_val(&opts), ptr::null_mut());
    // SAFETY: the path, the options, and a place for the handle.
    let done = unsafe { ipc_sub_connect(path.as_ptr(), &opts, size, LONG, &mut sub) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
    sub
}

/// Whether a path exists, without following a symbolic link.
pub fn exists(path: impl AsRef<Path>) -> bool {
    fs::symlink_metadata(path).is_ok()
}
