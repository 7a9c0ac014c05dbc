//! Event loops with epoll(7).

use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags};
use std::os::fd::BorrowedFd;

pub fn add(epoll: &Epoll, fd: i32, flags: EpollFlags, data: u64) {
    // SAFETY: the descriptor is open as long as its channel, which outlives the call.
    let fd = unsafe { BorrowedFd::borrow_raw(fd) };
    epoll.add(fd, EpollEvent::new(flags, data)).unwrap();
}

pub fn new_epoll() -> Epoll {
    Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC).unwrap()
}

/// The data of the ready descriptors.
#[track_caller]
pub fn ready(epoll: &Epoll, timeout_ms: i32) -> Vec<u64> {
    let mut events = [EpollEvent::empty(); 64];
    let timeout = nix::sys::epoll::EpollTimeout::try_from(timeout_ms).unwrap();
    let count = epoll.wait(&mut events, timeout).unwrap();
    let mut data: Vec<u64> = events[..count]
        .iter()
        .inspect(|event| assert_eq!(event.events(), EpollFlags::EPOLLIN))
        .map(EpollEvent::data)
        .collect();
    data.sort_unstable();
    data
}
