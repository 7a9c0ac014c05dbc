//! Forks at each system call that a thread makes.
//!
//! The descriptors of a process change only in system calls, so a fork in another thread can copy a
//! different set of descriptors only between two of them. A seccomp filter of the thread reports
//! each call before it begins (seccomp_unotify(2)), and the thread stays stopped until the fork is
//! done.

use crate::support::*;
use libc::{c_int, c_long, sock_filter};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering::SeqCst};
use std::{hint, io, mem, ptr, thread};

/// Calls that are not reported. They change no descriptor. glibc makes them at the end of a thread,
/// or while it holds a lock of malloc, which fork(2) in another thread needs.
const UNREPORTED: [c_long; 11] = [
    libc::SYS_mmap,
    libc::SYS_munmap,
    libc::SYS_mremap,
    libc::SYS_mprotect,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_futex,
    libc::SYS_sigaltstack,
    libc::SYS_rt_sigprocmask,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Why the system cannot report system calls, or None.
pub fn why_not() -> Option<&'static str> {
    let mut sizes = [0u16; 3];
    let operation = libc::SECCOMP_GET_NOTIF_SIZES;
    // SAFETY: the call stores three 16-bit numbers.
    let done = unsafe { libc::syscall(libc::SYS_seccomp, operation, 0, sizes.as_mut_ptr()) };
    (done == -1).then_some("no seccomp user notification")
}

/// Runs `run` in another thread, and forks before each system call that the thread makes. Each
/// child runs `child` with its number. Panics if the thread makes no system call.
pub fn fork_at_each_call<T: Send>(
    run: impl FnOnce() -> T + Send,
    child: impl Fn(usize),
) -> (T, Vec<Child>) {
    let (listener, finished) = (AtomicI32::new(-1), AtomicBool::new(false));
    let mut children = Vec::new();
    let result = thread::scope(|scope| {
        let thread = scope.spawn(|| {
            // From now on each system call waits for the other thread.
            listener.store(report_calls(), SeqCst);
            let result = run();
            finished.store(true, SeqCst);
            result
        });
        while listener.load(SeqCst) == -1 {
            hint::spin_loop();
        }
        let listener = own(listener.load(SeqCst));
        while !thread.is_finished() {
            if poll(listener.as_raw_fd(), 10) & libc::POLLIN == 0 {
                continue;
            }
            let call = next_call(&listener);
            if !finished.load(SeqCst) {
                let number = children.len();
                assert!(number < 400, "too many system calls");
                children.push(fork(|| {
                    end_with_parent();
                    child(number);
                }));
            }
            resume(&listener, call);
        }
        thread.join().unwrap()
    });
    assert!(!children.is_empty(), "no system call was made");
    (result, children)
}

/// Kills this process when its parent ends.
fn end_with_parent() {
    // SAFETY: no pointers.
    let done = unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) };
    assert_eq!(done, 0);
}

/// Reports the calling thread's system calls from now on. Returns the descriptor that reports them.
fn report_calls() -> c_int {
    let step = |code: u32, jt, k| sock_filter {
        code: code as u16,
        jt,
        jf: 0,
        k,
    };
    // The number of the call is the first word of seccomp_data.
    let mut program = vec![step(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0)];
    for (at, call) in UNREPORTED.iter().enumerate() {
        let to_allow = (UNREPORTED.len() - at) as u8;
        program.push(step(libc::BPF_JMP | libc::BPF_JEQ, to_allow, *call as u32));
    }
    program.push(step(libc::BPF_RET, 0, libc::SECCOMP_RET_USER_NOTIF));
    program.push(step(libc::BPF_RET, 0, libc::SECCOMP_RET_ALLOW));
    let program = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_mut_ptr(),
    };
    // SAFETY: no pointers.
    assert_eq!(
        unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) },
        0
    );
    let (operation, flags) = (
        libc::SECCOMP_SET_MODE_FILTER,
        libc::SECCOMP_FILTER_FLAG_NEW_LISTENER,
    );
    // SAFETY: the program is ours, and the kernel copies it.
    let fd = unsafe { libc::syscall(libc::SYS_seccomp, operation, flags, ptr::from_ref(&program)) };
    if fd == -1 {
        // A panic does not suffice: the other thread waits for the descriptor.
        eprintln!("seccomp: {}", io::Error::last_os_error());
        std::process::abort();
    }
    fd as c_int
}

/// Waits for the thread's next call. Returns its id.
fn next_call(listener: &OwnedFd) -> u64 {
    // SAFETY: all zero bytes are a valid value, and the kernel requires them.
    let mut call: libc::seccomp_notif = unsafe { mem::zeroed() };
    let request = libc::SECCOMP_IOCTL_NOTIF_RECV;
    // SAFETY: the structure is ours.
    let done = unsafe { libc::ioctl(listener.as_raw_fd(), request, &mut call) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
    call.id
}

/// Lets the thread make its call.
fn resume(listener: &OwnedFd, call: u64) {
    // SAFETY: all zero bytes are a valid value.
    let mut answer: libc::seccomp_notif_resp = unsafe { mem::zeroed() };
    answer.id = call;
    answer.flags = libc::SECCOMP_USER_NOTIF_FLAG_CONTINUE as u32;
    let request = libc::SECCOMP_IOCTL_NOTIF_SEND;
    // SAFETY: the structure is ours.
    let done = unsafe { libc::ioctl(listener.as_raw_fd(), request, &mut answer) };
    assert_eq!(done, 0, "{}", io::Error::last_os_error());
}
