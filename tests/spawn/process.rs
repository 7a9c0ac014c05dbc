//! Signals, threads and the number of processes.

use crate::support::*;
use std::sync::Barrier;
use std::thread;

/// The new program has default signal dispositions and an empty mask, whatever this process has.
#[apply(isolated)]
fn signals() {
    let status = || {
        let text = output(start(&["cat", "/proc/self/status"], &defaults()));
        let sets: Vec<String> = text
            .lines()
            .filter(|line| {
                ["SigBlk", "SigIgn", "SigCgt"]
                    .iter()
                    .any(|name| line.starts_with(name))
            })
            .map(|line| line.split_whitespace().nth(1).unwrap().into())
            .collect();
        assert_eq!(sets, ["0000000000000000"; 3]);
    };
    status();
    let mut all = std::mem::MaybeUninit::uninit();
    // SAFETY: sigfillset fills the set.
    unsafe { sigfillset(all.as_mut_ptr()) };
    // SAFETY: the set is initialised.
    assert_eq!(
        unsafe { sigprocmask(SIG_BLOCK, all.as_ptr(), ptr::null_mut()) },
        0
    );
    status();
    for number in 1..=64 {
        // SAFETY: no pointers. SIGCHLD and the signals that cannot be ignored keep their action.
        unsafe {
            if ![SIGKILL, SIGSTOP, SIGCHLD].contains(&number) && !(32..34).contains(&number) {
                signal(number, SIG_IGN);
            }
        }
    }
    status();
    // SAFETY: as above.
    let mask = unsafe {
        let mut mask = std::mem::MaybeUninit::<sigset_t>::uninit();
        sigprocmask(SIG_BLOCK, ptr::null(), mask.as_mut_ptr());
        sigismember(mask.as_ptr(), SIGUSR1)
    };
    assert_eq!(mask, 1, "the caller's mask stays");
}

#[apply(isolated)]
fn threads() {
    let barrier = Barrier::new(8);
    let null = File::open("/dev/null").unwrap();
    thread::scope(|scope| {
        for i in 0..8 {
            let (barrier, null) = (&barrier, &null);
            scope.spawn(move || {
                barrier.wait();
                for j in 0..50 {
                    let _leaky = copy_at(null, 3);
                    let script = format!("echo {i} {j}; {LIST}");
                    let got = output(start(&sh(&script), &defaults()));
                    assert_eq!(got, format!("{i} {j}\n0\n1\n2\n"));
                    if j % 10 == 0 {
                        let missing = start(&["./missing"], &defaults());
                        assert_eq!(missing.err(), Some(ENOENT));
                    }
                }
            });
        }
    });
}

#[apply(isolated)]
#[needs(needs::root)]
fn number_of_processes() {
    let _folder = WorkingDirectory::new();
    open_to_all();
    as_nobody(|| {
        set_soft_limit(RLIMIT_NPROC, 0);
        assert_fails(|| start(&["true"], &defaults()), EAGAIN);
    });
}

/// A failure is reported if the caller ignores the end of its children.
#[apply(isolated)]
fn ignored_children() {
    // SAFETY: no handler is installed.
    unsafe { signal(SIGCHLD, SIG_IGN) };
    assert_fails(|| start(&["./missing"], &defaults()), ENOENT);
    // SAFETY: as above.
    unsafe { signal(SIGCHLD, SIG_DFL) };
}
