//! Helpers for messages with descriptors.

use crate::support::*;
use libc::{c_int, c_void};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::ptr;
use unixipc::ffi::channel::*;

/// The smallest rings, descriptors with messages, and no spinning.
pub const WITH_FDS: ipc_channel_opts = ipc_channel_opts {
    flags: IPC_CHANNEL_F_FDS | IPC_CHANNEL_F_NO_SPIN,
    ..SMALL
};

const SIZE: usize = size_of::<ipc_channel_opts>();

impl End {
    #[track_caller]
    pub fn send_fds(&self, bytes: &[u8], fds: &[impl AsFd], timeout_ms: c_int) -> Outcome {
        let fds: Vec<c_int> = fds.iter().map(|fd| fd.as_fd().as_raw_fd()).collect();
        let (at, len) = (bytes.as_ptr().cast(), bytes.len());
        let (fds, nfds) = (fds.as_ptr(), fds.len());
        // SAFETY: an open end, and arrays of these lengths.
        outcome(|| unsafe { ipc_channel_send_fds(self.0, at, len, fds, nfds, timeout_ms) } as isize)
    }

    /// Receives a message of up to 4096 bytes, and up to `places` descriptors.
    #[track_caller]
    pub fn recv_fds(
        &self,
        places: usize,
        timeout_ms: c_int,
    ) -> Result<(Vec<u8>, Vec<OwnedFd>), c_int> {
        self.recv_fds_cap(4096, places, timeout_ms)
    }

    /// Receives a message of up to `cap` bytes, and up to `places` descriptors. Checks that these
    /// are close-on-exec, and that a failure changes nothing.
    #[track_caller]
    pub fn recv_fds_cap(
        &self,
        cap: usize,
        places: usize,
        timeout_ms: c_int,
    ) -> Result<(Vec<u8>, Vec<OwnedFd>), c_int> {
        let (mut buffer, mut fds, mut nfds) = (vec![0xa5; cap], vec![-7; places], places);
        let (at, to): (*mut c_void, _) = (buffer.as_mut_ptr().cast(), fds.as_mut_ptr());
        // SAFETY: an open end, and arrays of these lengths.
        let received =
            outcome(|| unsafe { ipc_channel_recv_fds(self.0, at, cap, to, &mut nfds, timeout_ms) });
        if received.is_err() {
            assert_eq!((nfds, &fds), (places, &vec![-7; places]), "unchanged");
            assert!(buffer.iter().all(|byte| *byte == 0xa5), "unchanged");
        }
        let len = received?;
        buffer.truncate(len);
        assert!(fds[nfds..].iter().all(|fd| *fd == -7));
        let fds = fds[..nfds].iter().map(|fd| {
            // SAFETY: no pointers.
            let flags = unsafe { libc::fcntl(*fd, libc::F_GETFD) };
            assert_eq!(flags, libc::FD_CLOEXEC);
            // SAFETY: the call has just opened it.
            unsafe { OwnedFd::from_raw_fd(*fd) }
        });
        Ok((buffer, fds.collect()))
    }
}

/// No descriptors.
pub const NONE: &[OwnedFd] = &[];

/// A file with an identity: its size.
pub fn file(identity: u64) -> OwnedFd {
    memfd(identity as usize).into()
}

/// The identities of files.
#[track_caller]
pub fn identities(files: &[OwnedFd]) -> Vec<u64> {
    let identity = |file: &OwnedFd| {
        File::from(file.try_clone().unwrap())
            .metadata()
            .unwrap()
            .len()
    };
    files.iter().map(identity).collect()
}

/// The number of sockets of this process.
pub fn open_sockets() -> usize {
    let target = |fd: &c_int| std::fs::read_link(format!("/proc/self/fd/{fd}")).unwrap();
    let is_socket = |fd: &c_int| target(fd).to_str().unwrap().starts_with("socket:");
    open_numbers().iter().filter(|fd| is_socket(fd)).count()
}

/// Whether all write ends of a pipe are closed.
pub fn is_closed(read_end: &File) -> bool {
    poll(read_end.as_raw_fd(), 0) & libc::POLLHUP != 0
}

/// A channel over a pair of sockets.
#[track_caller]
pub fn pair_over(
    (one, other): (OwnedFd, OwnedFd),
    own: &ipc_channel_opts,
    peers: &ipc_channel_opts,
) -> (End, End) {
    std::thread::scope(|scope| {
        let thread = scope.spawn(move || from_fd_with(other.as_raw_fd(), peers, LONG).unwrap());
        let end = from_fd_with(one.as_raw_fd(), own, LONG).unwrap();
        (end, thread.join().unwrap())
    })
}

/// Calls `test` with channels over each kind of socket, in one process.
#[track_caller]
pub fn for_each_pair(test: impl Fn(&End, &End)) {
    for_each_pair_once(|a, b| test(&a, &b));
}

/// As [`for_each_pair`], passing the ends on. No descriptor may be left.
#[track_caller]
pub fn for_each_pair_once(test: impl Fn(End, End)) {
    for_each_pair_of(IPC_CHANNEL_F_NO_SPIN, test);
}

/// As [`for_each_pair_once`], with other flags.
#[track_caller]
pub fn for_each_pair_of(flags: u32, test: impl Fn(End, End)) {
    let opts = ipc_channel_opts {
        flags: flags | IPC_CHANNEL_F_FDS,
        ..SMALL
    };
    let before = open_numbers();
    let (a, b) = pair_with(&opts);
    test(a, b);
    assert_eq!(open_numbers(), before);
    for socket_type in SOCKET_TYPES {
        let (a, b) = pair_over(sockets(socket_type), &opts, &opts);
        test(a, b);
        assert_eq!(open_numbers(), before);
    }
}

/// Sends messages with a descriptor until the socket is full. Returns their number.
#[track_caller]
pub fn fill_socket(end: &End, fd: &OwnedFd) -> u64 {
    let mut sent = 0;
    loop {
        match end.send_fds(b"x", &[fd], 0) {
            Ok(_) => sent += 1,
            Err(error) => {
                assert_eq!(error, libc::EAGAIN);
                return sent;
            }
        }
    }
}

#[track_caller]
pub fn accept_with(
    listener: &OwnedFd,
    opts: &ipc_channel_opts,
    timeout_ms: c_int,
) -> Result<End, c_int> {
    let fd = listener.as_raw_fd();
    // SAFETY: options of this size, and an out pointer.
    end_from(|ch| unsafe { ipc_channel_accept(fd, ptr::from_ref(opts), SIZE, timeout_ms, ch) })
}
