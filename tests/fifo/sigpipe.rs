//! A send to a closed reader fails with EPIPE and never raises a signal.

use crate::support::*;
use crate::support::{recv, send}; // libc has these names too
use libc::*;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, OwnedFd};
use std::ptr;
use std::sync::Barrier;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread;

/// The kernel's answer to the flag that suppresses the signal; `None` is the answer of this kernel.
const KERNELS: [Option<c_int>; 5] = [
    None,
    Some(EOPNOTSUPP),
    Some(ENOSYS),
    Some(EINVAL),
    Some(EPERM),
];

fn sigpipe() -> sigset_t {
    let mut set = MaybeUninit::uninit();
    // SAFETY: sigemptyset fills the set.
    unsafe { sigemptyset(set.as_mut_ptr()) };
    // SAFETY: the set is initialised.
    unsafe { sigaddset(set.as_mut_ptr(), SIGPIPE) };
    // SAFETY: as above.
    unsafe { set.assume_init() }
}

fn block() {
    // SAFETY: the set is ours.
    let done = unsafe { pthread_sigmask(SIG_BLOCK, &sigpipe(), ptr::null_mut()) };
    assert_eq!(done, 0);
}

fn is_blocked() -> bool {
    let mut set = MaybeUninit::uninit();
    // SAFETY: only reads the mask into our set.
    unsafe { pthread_sigmask(SIG_BLOCK, ptr::null(), set.as_mut_ptr()) };
    // SAFETY: initialised by the call.
    unsafe { sigismember(set.as_ptr(), SIGPIPE) == 1 }
}

/// Consumes the pending SIGPIPEs and counts them.
fn take_pending() -> usize {
    let no_time = timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    let mut taken = 0;
    // SAFETY: the set and the time are ours.
    while unsafe { sigtimedwait(&sigpipe(), ptr::null_mut(), &no_time) } == SIGPIPE {
        taken += 1;
    }
    taken
}

/// A writer whose reader is closed.
fn writer_without_reader() -> OwnedFd {
    let (reader, writer) = ends();
    assert_eq!(send(&writer, b"lost", 0), Ok(0));
    drop(reader);
    writer
}

fn all_fail(writer: &OwnedFd) {
    for timeout in [0, 1, 50, -1, INTR] {
        assert_eq!(
            send(writer, b"no reader", timeout),
            Err(EPIPE),
            "time-out {timeout}"
        );
    }
}

/// Runs a case on each kernel, in a child.
fn on_each_kernel(case: impl Fn()) {
    let _folder = WorkingDirectory::new();
    for denied in KERNELS {
        let child = fork_reporter::<usize>(|| {
            if let Some(error) = denied {
                refuse(SYS_pwritev2, error);
                // The C library's function has a fallback for ENOSYS.
                // SAFETY: no vector is read.
                let ret = unsafe { syscall(SYS_pwritev2, 1, 0, 0, -1, -1, 0) };
                assert_eq!((ret, errno()), (-1, error), "the filter");
            }
            // Rust's runtime ignores the signal; C programs start with the default action.
            set_action(SIGPIPE, SIG_DFL, 0);
            case();
            Ok(0)
        });
        let pid = child.0;
        assert_eq!(child.outcome(), Ok(0), "denied: {denied:?}, child {pid}");
    }
}

#[apply(isolated)]
fn default_action() {
    on_each_kernel(|| {
        all_fail(&writer_without_reader());
        assert_eq!(action(SIGPIPE), SIG_DFL);
        assert!(!is_blocked());
        block();
        assert_eq!(take_pending(), 0);
    });
}

#[apply(isolated)]
fn ignored() {
    on_each_kernel(|| {
        set_action(SIGPIPE, SIG_IGN, 0);
        all_fail(&writer_without_reader());
        assert_eq!(action(SIGPIPE), SIG_IGN);
        assert!(!is_blocked());
        block();
        assert_eq!(take_pending(), 0);
    });
}

#[apply(isolated)]
fn handler() {
    on_each_kernel(|| {
        count_signal(SIGPIPE, 0);
        let handler = action(SIGPIPE);
        all_fail(&writer_without_reader());
        assert_eq!(handled(), 0);
        assert_eq!(action(SIGPIPE), handler);
        assert!(!is_blocked());
        // SAFETY: no pointers; the handler counts.
        unsafe { libc::raise(SIGPIPE) };
        assert_eq!(handled(), 1, "the handler works");
    });
}

#[apply(isolated)]
fn blocked() {
    on_each_kernel(|| {
        count_signal(SIGPIPE, 0);
        block();
        all_fail(&writer_without_reader());
        assert!(is_blocked());
        assert_eq!(take_pending(), 0);
        assert_eq!(handled(), 0);
    });
}

/// Pending for the thread, as the thread's own write leaves it.
#[apply(isolated)]
fn pending_for_the_thread() {
    on_each_kernel(|| {
        block();
        let writer = writer_without_reader();
        // SAFETY: no pointers.
        unsafe { pthread_kill(pthread_self(), SIGPIPE) };
        all_fail(&writer);
        assert!(is_blocked());
        assert_eq!(take_pending(), 1);
    });
}

/// Pending for the process, as kill(2) leaves it.
#[apply(isolated)]
fn pending_for_the_process() {
    on_each_kernel(|| {
        block();
        let writer = writer_without_reader();
        // SAFETY: no pointers.
        unsafe { libc::kill(getpid(), SIGPIPE) };
        all_fail(&writer);
        assert!(is_blocked());
        assert_eq!(take_pending(), 1);
    });
}

/// Pending for both.
#[apply(isolated)]
fn pending_for_both() {
    on_each_kernel(|| {
        block();
        let writer = writer_without_reader();
        // SAFETY: no pointers.
        unsafe { libc::kill(getpid(), SIGPIPE) };
        // SAFETY: no pointers.
        unsafe { pthread_kill(pthread_self(), SIGPIPE) };
        all_fail(&writer);
        assert!(is_blocked());
        assert_eq!(take_pending(), 2);
    });
}

/// Threads that block the signal and threads that do not, at the same time.
#[apply(isolated)]
fn threads() {
    on_each_kernel(|| {
        count_signal(SIGPIPE, 0);
        let writer = writer_without_reader();
        let start = Barrier::new(8);
        thread::scope(|scope| {
            for i in 0..8 {
                let (writer, start) = (&writer, &start);
                scope.spawn(move || {
                    if i % 2 == 0 {
                        block();
                    }
                    start.wait();
                    for _ in 0..500 {
                        assert_eq!(send(writer, b"no reader", -1), Err(EPIPE));
                    }
                    assert_eq!(is_blocked(), i % 2 == 0);
                });
            }
        });
        assert_eq!(handled(), 0);
        block();
        assert_eq!(take_pending(), 0);
    });
}

/// The writer for the handler of [`in_a_handler`].
static WRITER: AtomicI32 = AtomicI32::new(-1);

extern "C" fn send_too(_: c_int) {
    let before = errno();
    let sent = send_raw(
        WRITER.load(Ordering::SeqCst),
        b"no reader".as_ptr().cast(),
        6,
        -1,
    );
    assert_eq!(sent, Err(EPIPE));
    set_errno(before);
}

/// A signal handler that also sends, at any moment of a send.
#[apply(isolated)]
fn in_a_handler() {
    on_each_kernel(|| {
        let writer = writer_without_reader();
        WRITER.store(writer.as_raw_fd(), Ordering::SeqCst);
        count_signal(libc::SIGALRM, 0);
        // Longer than the handler runs, so that the loop continues on a slow machine too.
        let costs = (0..30).map(|_| timed(|| send(&writer, b"no reader", -1)).1);
        storm(20.max(5 * costs.min().unwrap().as_micros() as libc::c_long));
        set_action(SIGALRM, send_too as extern "C" fn(c_int) as usize, 0);
        for _ in 0..scaled(75_000) {
            assert_eq!(send(&writer, b"no reader", -1), Err(EPIPE));
        }
        storm(0);
        assert!(!is_blocked());
        block();
        assert_eq!(take_pending(), 0);
    });
}

/// The reader closes while the writer waits because the FIFO is full.
#[apply(isolated)]
fn while_it_waits() {
    on_each_kernel(|| {
        let (reader, writer) = ends();
        while send(&writer, b"full", 0) == Ok(0) {}
        let blocked = fork_reporter::<usize>(|| {
            // SAFETY: the child's copy, which nothing uses; only the parent is a reader then.
            unsafe { libc::close(reader.as_raw_fd()) };
            send(&writer, b"one more", -1)
        });
        wait_asleep(blocked.0);
        drop(reader);
        assert_eq!(blocked.outcome(), Err(EPIPE));
    });
}

/// All else is the same on older kernels.
#[apply(isolated)]
fn older_kernels_send() {
    on_each_kernel(|| {
        let (reader, writer) = ends();
        for len in [1, 2, 100, 4091, 4092] {
            let record = vec![7; len];
            assert_eq!(send(&writer, &record, 0), Ok(0));
            assert_eq!(recv(&reader, 0), Ok(record));
        }
        while send(&writer, b"full", 0) == Ok(0) {}
        assert_eq!(send(&writer, b"full", 0), Err(EAGAIN));
        assert_eq!(send(&writer, b"full", 20), Err(ETIMEDOUT));
        assert_eq!(send(&reader, b"wrong side", 0), Err(EBADF));
        assert!(!is_blocked());
    });
}
