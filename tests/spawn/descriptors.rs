//! The descriptors of the child.

use crate::support::*;
use common::filter::refuse;
use std::os::unix::net::UnixStream;

#[apply(isolated)]
fn nothing_leaks() {
    let null = File::open("/dev/null").unwrap();
    let many: Vec<OwnedFd> = [3, 10, 200, 900].map(|at| copy_at(&null, at)).into();
    let more: Vec<OwnedFd> = (0..100).map(|_| copy_at(&null, 3)).collect();
    assert_eq!(output(start(&sh(LIST), &defaults())), "0\n1\n2\n");
    let fds = [
        passed(many[2].as_raw_fd(), 5),
        passed(many[3].as_raw_fd(), 7),
    ];
    assert_eq!(output(start(&sh(LIST), &with_fds(&fds))), "0\n1\n2\n5\n7\n");
    // Including numbers above a limit that was lowered later.
    let old = set_soft_limit(RLIMIT_NOFILE, 300);
    let got = start(&sh(LIST), &defaults());
    set_soft_limit(RLIMIT_NOFILE, old);
    assert_eq!(output(got), "0\n1\n2\n");
    drop((many, more));
}

#[apply(isolated)]
#[needs(needs::perl)]
fn number_of_the_child_end() {
    for child_fd in [3, 4, 10, 100, 1, 2] {
        let opts = ipc_spawn_opts {
            child_fd,
            ..defaults()
        };
        // Perl opens a descriptor with any number; redirections of a shell take one digit.
        let program = format!(
            "opendir D, '/proc/self/fd'; open F, '>&={child_fd}'; \
             syswrite F, join ' ', grep {{ !/^\\./ }} readdir D"
        );
        let got = output(start(&["perl", "-e", &program], &opts));
        let numbers: Vec<&str> = got.split(' ').collect();
        let own = child_fd.to_string();
        assert!(numbers.contains(&own.as_str()), "{got}");
        // The directory being listed takes one more.
        let expected = if child_fd > 2 { 5 } else { 4 };
        assert_eq!(numbers.len(), expected, "{got}");
    }
}

/// Reads two passed files, for any pair of numbers.
#[apply(isolated)]
fn swapped_numbers() {
    let files = ["one", "two", "three"].map(temporary);
    let copies = [20, 21, 22].map(|at| copy_at(&files[at as usize - 20], at));
    for (fds, expected) in [
        ([(20, 20), (21, 21), (22, 22)], "one two three "),
        ([(20, 21), (21, 20), (22, 22)], "two one three "),
        ([(22, 22), (21, 20), (20, 21)], "two one three "),
        ([(20, 21), (21, 22), (22, 20)], "three one two "),
        ([(22, 21), (21, 20), (20, 22)], "two three one "),
        ([(20, 20), (20, 21), (20, 22)], "one one one "),
        ([(22, 20), (22, 21), (21, 22)], "three three two "),
    ] {
        let fds = fds.map(|(fd, child_fd)| passed(fd, child_fd));
        let read = "for i in 20 21 22; do cat /proc/self/fd/$i; printf ' '; done";
        assert_eq!(
            output(start(&sh(read), &with_fds(&fds))),
            expected,
            "{fds:?}"
        );
    }
    drop(copies);
    let [one, ..] = files;
    // The numbers that the socket pair will get, and their neighbours.
    for number in 3..12 {
        let fds = [passed(one.as_raw_fd(), number)];
        let got = output(start(
            &sh(&format!("cat /proc/self/fd/{number}; {LIST}")),
            &with_fds(&fds),
        ));
        assert_eq!(got, {
            let mut numbers = ["0", "1", "2", &number.to_string()].map(String::from);
            numbers.sort();
            format!("one{}\n", numbers.join("\n"))
        });
    }
}

/// Standard numbers behave like others, and passing a hundred works like passing one.
#[apply(isolated)]
fn more_descriptors() {
    let file = temporary("from the file");
    let (mut far, near) = UnixStream::pair().unwrap();
    let fds = [passed(file.as_raw_fd(), 0), passed(near.as_raw_fd(), 1)];
    let opts = ipc_spawn_opts {
        child_fd: 3,
        ..with_fds(&fds)
    };
    let (pid, fd) = start(&sh("cat /proc/self/fd/0; echo end >&3"), &opts).unwrap();
    drop(near);
    let (mut printed, mut end) = (String::new(), String::new());
    far.read_to_string(&mut printed).unwrap();
    File::from(fd).read_to_string(&mut end).unwrap();
    assert_eq!((printed.as_str(), end.as_str()), ("from the file", "end\n"));
    assert_eq!(end_of(pid), 0);

    let many: Vec<SpawnFd> = (0..100).map(|i| passed(file.as_raw_fd(), 3 + i)).collect();
    let got = output(start(&sh(LIST), &with_fds(&many)));
    assert_eq!(got.lines().count(), 103);
}

#[apply(isolated)]
fn bad_descriptors() {
    let file = temporary("");
    let fd = file.as_raw_fd();
    for (fds, errno) in [
        (vec![passed(-1, 5)], EBADF),
        (vec![passed(c_int::MIN, 5)], EBADF),
        (vec![passed(1000, 5)], EBADF),
        (vec![passed(fd, 5), passed(1000, 6)], EBADF),
        (vec![passed(fd, -1)], EINVAL),
        (vec![passed(fd, c_int::MIN)], EINVAL),
        (vec![passed(fd, 5), passed(fd, 5)], EINVAL),
        (vec![passed(fd, 0)], EINVAL),
        (vec![passed(fd, 1)], EINVAL),
    ] {
        assert_fails(|| start(&["true"], &with_fds(&fds)), errno);
    }
    let fds = [passed(fd, 2)];
    let opts = ipc_spawn_opts {
        flags: IPC_SPAWN_F_STDERR_NULL,
        ..with_fds(&fds)
    };
    assert_fails(|| start(&["true"], &opts), EINVAL);
    let opts = ipc_spawn_opts {
        child_fd: 2,
        flags: IPC_SPAWN_F_STDERR_NULL,
        ..defaults()
    };
    assert_fails(|| start(&["true"], &opts), EINVAL);
    let fds = [passed(fd, 7)];
    let opts = ipc_spawn_opts {
        child_fd: 7,
        ..with_fds(&fds)
    };
    assert_fails(|| start(&["true"], &opts), EINVAL);
}

/// A closed number in the list does not refer to the socket pair, which would get that number.
#[apply(isolated)]
fn closed_descriptors() {
    let gaps = [temporary(""), temporary("")];
    let numbers = gaps.each_ref().map(AsRawFd::as_raw_fd);
    drop(gaps);
    for fd in numbers {
        assert_fails(|| start(&["true"], &with_fds(&[passed(fd, 5)])), EBADF);
    }
}

#[apply(isolated)]
fn numbers_over_the_limit() {
    let file = temporary("");
    let old = set_soft_limit(RLIMIT_NOFILE, 64);
    for number in [64, 65, 100_000, c_int::MAX] {
        eprintln!("number {number}");
        let fds = [passed(file.as_raw_fd(), number)];
        assert_fails(|| start(&["true"], &with_fds(&fds)), EBADF);
        let opts = ipc_spawn_opts {
            child_fd: number,
            ..defaults()
        };
        assert_fails(|| start(&["true"], &opts), EBADF);
    }
    let fds = [passed(file.as_raw_fd(), 62)];
    let got = start(&sh(LIST), &with_fds(&fds)).map(|started| output(Ok(started)));
    set_soft_limit(RLIMIT_NOFILE, old);
    assert_eq!(got, Ok("0\n1\n2\n62\n".into()));
}

#[apply(isolated)]
fn no_descriptors() {
    let file = temporary("");
    for left in 0..6 {
        let child = fork_reporter(|| {
            let probes: Vec<File> = (0..left)
                .map(|_| File::open("/dev/null").unwrap())
                .collect();
            let next = File::open("/dev/null").unwrap();
            let before = descriptors() - probes.len() - 1;
            let limit = next.as_raw_fd();
            drop((probes, next));
            let fds = [passed(file.as_raw_fd(), file.as_raw_fd())];
            let old = set_soft_limit(RLIMIT_NOFILE, limit as u64);
            let started = start(&["true"], &with_fds(&fds));
            set_soft_limit(RLIMIT_NOFILE, old);
            match started {
                Ok((pid, fd)) => {
                    assert!(left >= 2);
                    assert_eq!(end_of(pid), 0);
                    drop(fd);
                }
                Err(errno) => assert_eq!(errno, EMFILE, "{left} left"),
            }
            assert_eq!(descriptors(), before, "{left} left");
            Ok(0)
        });
        assert_eq!(child.outcome(), Ok(0), "{left} left");
    }
}

/// Without close_range(2), the descriptors that /proc lists are closed.
#[apply(isolated)]
fn without_close_range() {
    for error in [ENOSYS, EPERM] {
        let child = fork(|| {
            refuse(SYS_close_range, error);
            let null = File::open("/dev/null").unwrap();
            let many: Vec<OwnedFd> = (0..500).map(|_| copy_at(&null, 3)).collect();
            let fds = [
                passed(many[100].as_raw_fd(), 6),
                passed(many[7].as_raw_fd(), 300),
            ];
            let got = output(start(&sh(LIST), &with_fds(&fds)));
            let mut numbers: Vec<u32> = got.lines().map(|line| line.parse().unwrap()).collect();
            numbers.sort_unstable();
            assert_eq!(numbers, [0, 1, 2, 6, 300]);
            // Including numbers above a limit, and if no descriptor is left.
            let old = set_soft_limit(RLIMIT_NOFILE, 300);
            let got = start(&sh(LIST), &defaults());
            assert_eq!(got.err(), Some(EMFILE), "none for the pair");
            set_soft_limit(RLIMIT_NOFILE, many.last().unwrap().as_raw_fd() as u64 + 3);
            let got = start(&sh(LIST), &defaults());
            set_soft_limit(RLIMIT_NOFILE, old);
            assert_eq!(output(got), "0\n1\n2\n");
        });
        child.join();
    }
}
