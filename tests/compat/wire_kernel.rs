//! The data that an earlier version writes into FIFOs, stream sockets and semaphore sets.

use crate::call;
use crate::support::*;
use libc::{GETALL, IPC_CREAT, SETALL, SOCK_STREAM, c_int, c_ushort};
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::AsRawFd;
use std::ptr;
use unixipc::ffi::fifo::*;
use unixipc::ffi::lock::IPC_OWNER_DIED;
use unixipc::ffi::message::*;
use unixipc::ffi::semlock::*;

const CONTENT: &[u8] = b"a record, or a message";

/// A pipe that keeps packets apart, as a FIFO of the library does.
fn packet_pipe() -> (File, File) {
    let mut fds = [-1; 2];
    // SAFETY: an array of two.
    let done = unsafe { libc::pipe2(fds.as_mut_ptr(), libc::O_CLOEXEC | libc::O_DIRECT) };
    assert_eq!(done, 0);
    (own(fds[0]).into(), own(fds[1]).into())
}

#[track_caller]
fn read_some(mut from: impl Read) -> Vec<u8> {
    let mut bytes = vec![0; 1000];
    let len = from.read(&mut bytes).unwrap();
    bytes.truncate(len);
    bytes
}

#[apply(isolated)]
fn fresh_record() {
    let (reader, writer) = packet_pipe();
    let (fd, at) = (writer.as_raw_fd(), CONTENT.as_ptr().cast());
    assert_eq!(call!(ipc_fifo_send(fd, at, CONTENT.len(), LONG)), Ok(0));
    let record = read_some(&reader);
    for set in sets() {
        set.assert_recorded("fifo-record", &record);
    }
}

#[apply(isolated)]
fn old_record() {
    for set in sets() {
        let (reader, mut writer) = packet_pipe();
        writer.write_all(&set.recording("fifo-record")).unwrap();
        let mut buffer = [0u8; 1000];
        let to = buffer.as_mut_ptr().cast();
        let received = call!(ipc_fifo_recv(reader.as_raw_fd(), to, 1000, LONG));
        assert_eq!(received, Ok(CONTENT.len()));
        assert_eq!(&buffer[..CONTENT.len()], CONTENT);
    }
}

#[apply(isolated)]
fn fresh_message() {
    let (one, two) = sockets(SOCK_STREAM);
    let (fd, at) = (one.as_raw_fd(), CONTENT.as_ptr().cast());
    let sent = call!(ipc_msg_send(fd, at, CONTENT.len(), ptr::null(), 0, LONG));
    assert_eq!(sent, Ok(0));
    let message = read_some(File::from(two));
    for set in sets() {
        set.assert_recorded("stream-message", &message);
    }
}

#[apply(isolated)]
fn old_message() {
    for set in sets() {
        let (one, two) = sockets(SOCK_STREAM);
        File::from(one)
            .write_all(&set.recording("stream-message"))
            .unwrap();
        let mut buffer = [0u8; 1000];
        let (fd, to, none) = (two.as_raw_fd(), buffer.as_mut_ptr().cast(), ptr::null_mut());
        let received = call!(ipc_msg_recv(fd, to, 1000, ptr::null_mut(), none, LONG));
        assert_eq!(received, Ok(CONTENT.len()));
        assert_eq!(&buffer[..CONTENT.len()], CONTENT);
    }
}

/// The values of a lock after its owner has died.
fn lock_without_owner() -> Vec<u8> {
    let key = fresh_key();
    let id = outcome(|| ipc_semlock_open(key, IPC_CREAT | 0o600) as isize).unwrap() as c_int;
    let child = fork(|| assert_eq!(outcome(|| ipc_semlock_wrlock(id, LONG) as isize), Ok(0)));
    child.join();
    let mut values = [0 as c_ushort; 5];
    // SAFETY: the set has five semaphores.
    assert_eq!(
        unsafe { libc::semctl(id, 0, GETALL, values.as_mut_ptr()) },
        0
    );
    assert_eq!(outcome(|| ipc_semlock_remove(id) as isize), Ok(0));
    values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect()
}

#[apply(isolated)]
fn fresh_semlock() {
    let values = lock_without_owner();
    for set in sets() {
        set.assert_recorded("semlock", &values);
    }
}

#[apply(isolated)]
fn old_semlock() {
    for set in sets() {
        let values: Vec<c_ushort> = set
            .recording("semlock")
            .chunks(2)
            .map(|value| c_ushort::from_le_bytes(value.try_into().unwrap()))
            .collect();
        let key = fresh_key();
        // SAFETY: no pointers.
        let id = unsafe { libc::semget(key, values.len() as c_int, IPC_CREAT | 0o600) };
        // SAFETY: the set has as many semaphores as there are values.
        assert_eq!(unsafe { libc::semctl(id, 0, SETALL, values.as_ptr()) }, 0);
        assert_eq!(
            outcome(|| ipc_semlock_open(key, 0) as isize),
            Ok(id as usize)
        );
        let died = Ok(IPC_OWNER_DIED as usize);
        assert_eq!(outcome(|| ipc_semlock_rdlock(id, LONG) as isize), died);
        assert_eq!(outcome(|| ipc_semlock_rdunlock(id) as isize), Ok(0));
        assert_eq!(outcome(|| ipc_semlock_wrlock(id, LONG) as isize), died);
        assert_eq!(outcome(|| ipc_semlock_consistent(id) as isize), Ok(0));
        assert_eq!(outcome(|| ipc_semlock_wrunlock(id) as isize), Ok(0));
        assert_eq!(outcome(|| ipc_semlock_remove(id) as isize), Ok(0));
    }
}
