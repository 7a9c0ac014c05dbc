//! ipc_spawn, as include/unixipc.h describes it.

use common::prelude::*;
use libc::*;
use std::ffi::CString;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;
use std::sync::Barrier;
use std::{ptr, thread};
use unixipc::ffi::spawn::{IPC_SPAWN_F_STDERR_NULL, ipc_spawn, ipc_spawn_opts};
use unixipc::spawn::SpawnFd;

fn main() -> std::process::ExitCode {
    common::isolated::main()
}

/// The result of a start: the process and its descriptor, or the errno of ipc_spawn.
type Started = Result<(pid_t, OwnedFd), c_int>;

fn defaults() -> ipc_spawn_opts {
    // SAFETY: all zero bytes are the defaults.
    unsafe { std::mem::zeroed() }
}

/// Starts a program; on failure the outputs must be unchanged.
fn start_sized(program: &[&str], opts: *const ipc_spawn_opts, size: usize) -> Started {
    let words: Vec<CString> = program
        .iter()
        .map(|word| CString::new(*word).unwrap())
        .collect();
    let mut argv: Vec<*mut c_char> = words.iter().map(|word| word.as_ptr().cast_mut()).collect();
    argv.push(ptr::null_mut());
    let mut fd = -77;
    // SAFETY: strings, an array of them with its NULL, and options of that size.
    let pid = unsafe { ipc_spawn(argv[0], argv.as_ptr(), opts, size, &mut fd) };
    if pid == -1 {
        let errno = io::Error::last_os_error().raw_os_error().unwrap();
        assert_eq!(fd, -77, "ret_fd after a failure");
        return Err(errno);
    }
    assert!(pid > 0 && fd >= 0);
    // SAFETY: the call has just returned this descriptor.
    Ok((pid, unsafe { OwnedFd::from_raw_fd(fd) }))
}

fn start(program: &[&str], opts: &ipc_spawn_opts) -> Started {
    start_sized(program, opts, size_of::<ipc_spawn_opts>())
}

fn sh(script: &str) -> [&str; 3] {
    ["sh", "-c", script]
}

/// The exit status of a child.
fn end_of(pid: pid_t) -> c_int {
    let mut status = 0;
    // SAFETY: the status is ours.
    assert_eq!(unsafe { waitpid(pid, &mut status, 0) }, pid);
    assert!(WIFEXITED(status), "status {status:#x}");
    WEXITSTATUS(status)
}

/// The output of a program until its end.
#[track_caller]
fn output(started: Started) -> String {
    let (pid, fd) = started.unwrap();
    let mut text = String::new();
    File::from(fd).read_to_string(&mut text).unwrap();
    assert_eq!(end_of(pid), 0, "output: {text}");
    text
}

/// The call fails, and leaves neither a child nor a descriptor.
#[track_caller]
fn assert_fails(started: impl FnOnce() -> Started, errno: c_int) {
    let before = descriptors();
    assert_eq!(started().map(|(pid, _)| pid), Err(errno));
    assert_eq!(descriptors(), before, "descriptors");
    // SAFETY: a null status is allowed.
    let child = unsafe { waitpid(-1, ptr::null_mut(), WNOHANG) };
    let errno = io::Error::last_os_error().raw_os_error();
    assert_eq!((child, errno), (-1, Some(ECHILD)), "a child is left");
}

/// Pairs of descriptor numbers: in the child and in this process.
fn passed(fd: RawFd, child_fd: c_int) -> SpawnFd {
    SpawnFd { fd, child_fd }
}

fn with_fds(fds: &[SpawnFd]) -> ipc_spawn_opts {
    ipc_spawn_opts {
        fds: fds.as_ptr(),
        nfds: fds.len(),
        ..defaults()
    }
}

fn temporary(text: &str) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// A copy of a descriptor at this number or above, without close-on-exec.
fn copy_at(fd: &impl AsRawFd, at: c_int) -> OwnedFd {
    // SAFETY: no pointers.
    let copy = unsafe { fcntl(fd.as_raw_fd(), F_DUPFD, at) };
    assert!(copy >= at);
    // SAFETY: a new descriptor of ours.
    unsafe { OwnedFd::from_raw_fd(copy) }
}

#[apply(isolated)]
fn coprocess() {
    let (pid, fd) = start(&["sort", "-n"], &defaults()).unwrap();
    let mut stream = UnixStream::from(fd);
    stream.write_all(b"10\n9\n100\n").unwrap();
    stream.shutdown(std::net::Shutdown::Write).unwrap();
    let mut sorted = String::new();
    stream.read_to_string(&mut sorted).unwrap();
    assert_eq!(sorted, "9\n10\n100\n");
    assert_eq!(end_of(pid), 0);
}

#[apply(isolated)]
fn bad_arguments() {
    let _folder = WorkingDirectory::new();
    let words = [c"true".as_ptr().cast_mut(), ptr::null_mut()];
    let file = c"true".as_ptr();
    let mut fd = -77;
    for (file, argv, ret_fd) in [
        (ptr::null(), words.as_ptr(), &raw mut fd),
        (file, ptr::null(), &raw mut fd),
        (file, words[1..].as_ptr(), &raw mut fd),
        (file, words.as_ptr(), ptr::null_mut()),
    ] {
        assert_fails(
            || {
                // SAFETY: the NULLs are refused.
                let pid = unsafe { ipc_spawn(file, argv, ptr::null(), 0, ret_fd) };
                assert_eq!(pid, -1);
                Err(io::Error::last_os_error().raw_os_error().unwrap())
            },
            EINVAL,
        );
    }
    assert_eq!(fd, -77);
}

#[apply(isolated)]
fn bad_options() {
    for bit in 0..32 {
        let flags = 1 << bit;
        if flags != IPC_SPAWN_F_STDERR_NULL {
            assert_fails(
                || {
                    start(
                        &["true"],
                        &ipc_spawn_opts {
                            flags,
                            ..defaults()
                        },
                    )
                },
                EINVAL,
            );
        }
    }
    for reserved in [1, c_uint::MAX] {
        assert_fails(
            || {
                start(
                    &["true"],
                    &ipc_spawn_opts {
                        reserved,
                        ..defaults()
                    },
                )
            },
            EINVAL,
        );
    }
    for child_fd in [-1, c_int::MIN] {
        assert_fails(
            || {
                start(
                    &["true"],
                    &ipc_spawn_opts {
                        child_fd,
                        ..defaults()
                    },
                )
            },
            EINVAL,
        );
    }
    for nfds in [1, usize::MAX] {
        assert_fails(
            || start(&["true"], &ipc_spawn_opts { nfds, ..defaults() }),
            EINVAL,
        );
    }
}

#[apply(isolated)]
fn sizes_of_options() {
    #[repr(C)]
    struct Newer {
        known: ipc_spawn_opts,
        tail: [u8; 24],
    }
    let size = size_of::<ipc_spawn_opts>();
    for size in [0, 1, size, 100_000] {
        assert_eq!(
            output(start_sized(&sh("echo null"), ptr::null(), size)),
            "null\n"
        );
    }
    let mut newer = Newer {
        known: ipc_spawn_opts {
            cwd: c"/".as_ptr(),
            ..defaults()
        },
        tail: [0; 24],
    };
    let at = ptr::from_ref(&newer).cast();
    for size in [size, size + 1, size + 24] {
        assert_eq!(
            output(start_sized(&sh("pwd"), at, size)),
            "/\n",
            "{size} bytes"
        );
    }
    for too_small in [0, 1, size_of::<*const ipc_spawn_opts>(), size - 1] {
        assert_fails(|| start_sized(&["true"], at, too_small), EINVAL);
    }
    for byte in [0, 7, 23] {
        newer.tail[byte] = 1;
        let at = ptr::from_ref(&newer).cast();
        assert_fails(|| start_sized(&["true"], at, size + 24), E2BIG);
        newer.tail[byte] = 0;
    }
    newer.tail[23] = 1;
    let at = ptr::from_ref(&newer).cast();
    assert_eq!(output(start_sized(&sh("pwd"), at, size + 23)), "/\n");
}

#[apply(isolated)]
fn not_programs() {
    let _folder = WorkingDirectory::new();
    fs::write("text", "echo this is no program\n").unwrap();
    set_mode("text", 0o755);
    fs::write("empty", "").unwrap();
    set_mode("empty", 0o755);
    fs::write("not-executable", "#!/bin/sh\n").unwrap();
    set_mode("not-executable", 0o644);
    fs::write("no-interpreter", "#!/nowhere/sh\n").unwrap();
    set_mode("no-interpreter", 0o755);
    fs::create_dir("directory").unwrap();
    symlink("loop", "loop").unwrap();
    for (program, errno) in [
        ("./missing", ENOENT),
        ("no-such-program-anywhere", ENOENT),
        ("", ENOENT),
        ("./missing/program", ENOENT),
        ("./text/program", ENOTDIR),
        ("./not-executable", EACCES),
        ("./directory", EACCES),
        ("./no-interpreter", ENOENT),
        ("./text", ENOEXEC),
        ("./empty", ENOEXEC),
        ("./loop", ELOOP),
    ] {
        eprintln!("program {program:?}");
        assert_fails(|| start(&[program], &defaults()), errno);
    }
    let long = "n".repeat(5000);
    assert_fails(|| start(&[&long], &defaults()), ENAMETOOLONG);
    let argument = "x".repeat(200_000);
    assert_fails(|| start(&["true", &argument], &defaults()), E2BIG);
}

/// The PATH of this process is searched, as execvp does.
#[apply(isolated)]
fn search() {
    let _folder = WorkingDirectory::new();
    fs::write("mine", "#!/bin/sh\necho mine: $0 $1\n").unwrap();
    set_mode("mine", 0o755);
    assert_fails(|| start(&["mine"], &defaults()), ENOENT);
    let old = std::env::var("PATH").unwrap();
    // SAFETY: the process has one thread.
    unsafe { std::env::set_var("PATH", format!("/nowhere:.:{old}")) };
    assert_eq!(
        output(start(&["mine", "argument"], &defaults())),
        "mine: ./mine argument\n"
    );
    // SAFETY: as above.
    unsafe { std::env::set_var("PATH", old) };
}

#[apply(isolated)]
fn missing_directory() {
    let _folder = WorkingDirectory::new();
    fs::write("file", "").unwrap();
    for (cwd, errno) in [(c"missing", ENOENT), (c"", ENOENT), (c"file", ENOTDIR)] {
        let cwd = cwd.as_ptr();
        assert_fails(
            || start(&["true"], &ipc_spawn_opts { cwd, ..defaults() }),
            errno,
        );
    }
}

/// Lists the descriptors of the shell. The shell must not exec ls, which opens the directory.
const LIST: &str = "ls /proc/$$/fd; true";

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

/// The program opens its standard files by name, which fails for sockets and works for pipes.
#[apply(isolated)]
fn standard_files_by_name() {
    let script = "cat /dev/stdin >/dev/stdout";
    let by_name = ["dd", "if=/dev/stdin", "of=/dev/stdout", "status=none"];
    for name in ["/dev/stdin", "/dev/stdout", "/dev/fd/0", "/proc/self/fd/1"] {
        let open = format!("dd if={name} of=/dev/null count=0 2>&1 || exit 0; exit 1");
        let printed = output(start(&sh(&open), &defaults()));
        assert!(
            printed.contains("No such device or address"),
            "{name}: {printed}"
        );
    }
    for program in [&sh(script)[..], &by_name] {
        let (in_read, mut in_write) = io::pipe().unwrap();
        let (mut out_read, out_write) = io::pipe().unwrap();
        let fds = [
            passed(in_read.as_raw_fd(), 0),
            passed(out_write.as_raw_fd(), 1),
        ];
        let opts = ipc_spawn_opts {
            child_fd: 3,
            ..with_fds(&fds)
        };
        let (pid, _end) = start(program, &opts).unwrap();
        drop((in_read, out_write));
        in_write.write_all(b"through pipes").unwrap();
        drop(in_write);
        let mut printed = String::new();
        out_read.read_to_string(&mut printed).unwrap();
        assert_eq!(printed, "through pipes");
        assert_eq!(end_of(pid), 0);
    }
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
fn closed_standard_files() {
    let where_to = "readlink /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2; ls /proc/$$/fd; true";
    for closed in 0..8 {
        let child = fork_reporter(|| {
            for stdio in 0..3 {
                if closed & 1 << stdio != 0 {
                    // SAFETY: no pointers; this child does not print.
                    unsafe { close(stdio) };
                }
            }
            let (pid, fd) = start(&sh(where_to), &defaults())?;
            let mut text = String::new();
            File::from(fd).read_to_string(&mut text).unwrap();
            let lines: Vec<&str> = text.lines().collect();
            let right = lines.len() == 6
                && lines[..2].iter().all(|file| file.starts_with("socket:"))
                && (closed & 4 == 0 || lines[2] == "/dev/null");
            if !right {
                return Err(ENOMSG);
            }
            // With a number for the child's end, closed standard input and output become /dev/null.
            let opts = ipc_spawn_opts {
                child_fd: 3,
                ..defaults()
            };
            let (second, fd) = start(&sh(&format!("exec >&3; {where_to}")), &opts)?;
            let mut text = String::new();
            File::from(fd).read_to_string(&mut text).unwrap();
            let lines: Vec<&str> = text.lines().collect();
            let nulls = (0..3).all(|i| closed & 1 << i == 0 || lines[i] == "/dev/null" || i == 1);
            if !nulls || lines[3..] != ["0", "1", "2", "3"] {
                return Err(ENODATA);
            }
            Ok(end_of(pid) + end_of(second))
        });
        assert_eq!(child.outcome(), Ok(0), "closed: {closed:#b}");
    }
}

#[apply(isolated)]
fn standard_error() {
    let which = "readlink /proc/self/fd/2; echo to stderr >&2";
    let mine = fs::read_link("/proc/self/fd/2").unwrap();
    let got = output(start(&sh("readlink /proc/$$/fd/2"), &defaults()));
    assert_eq!(got.trim_end(), mine.to_str().unwrap());
    let opts = ipc_spawn_opts {
        flags: IPC_SPAWN_F_STDERR_NULL,
        ..defaults()
    };
    assert_eq!(output(start(&sh(which), &opts)), "/dev/null\n");
    let (mut read, write) = io::pipe().unwrap();
    let fds = [passed(write.as_raw_fd(), 2)];
    let got = output(start(&sh(which), &with_fds(&fds)));
    drop(write);
    let mut printed = String::new();
    read.read_to_string(&mut printed).unwrap();
    assert!(got.starts_with("pipe:"), "{got}");
    assert_eq!(printed, "to stderr\n");
}

#[apply(isolated)]
fn environment() {
    // SAFETY: the process has one thread.
    unsafe { std::env::set_var("UNIXIPC_OF_THE_PARENT", "inherited") };
    let script = "echo ${UNIXIPC_OF_THE_PARENT-unset} ${A-unset}";
    assert_eq!(output(start(&sh(script), &defaults())), "inherited unset\n");
    let given = [c"A=given".as_ptr().cast_mut(), ptr::null_mut()];
    let opts = ipc_spawn_opts {
        envp: given.as_ptr(),
        ..defaults()
    };
    assert_eq!(output(start(&sh(script), &opts)), "unset given\n");
    let none = [ptr::null_mut()];
    let opts = ipc_spawn_opts {
        envp: none.as_ptr(),
        ..defaults()
    };
    assert_eq!(output(start(&["env"], &opts)), "");
}

#[apply(isolated)]
fn directory() {
    let _folder = WorkingDirectory::new();
    fs::create_dir("inner").unwrap();
    fs::write("inner/program", "#!/bin/sh\npwd\n").unwrap();
    set_mode("inner/program", 0o755);
    let inner = c_path("inner");
    let opts = ipc_spawn_opts {
        cwd: inner.as_ptr(),
        ..defaults()
    };
    let expected = format!("{}\n", fs::canonicalize("inner").unwrap().display());
    assert_eq!(output(start(&["pwd"], &opts)), expected);
    assert_eq!(
        output(start(&["./program"], &opts)),
        expected,
        "counts from the new directory"
    );
    assert_fails(|| start(&["./program"], &defaults()), ENOENT);
}

#[apply(isolated)]
fn types() {
    for socket_type in [SOCK_STREAM, SOCK_SEQPACKET, SOCK_DGRAM] {
        let opts = ipc_spawn_opts {
            r#type: socket_type,
            ..defaults()
        };
        let (pid, fd) = start(&sh("echo a; echo b"), &opts).unwrap();
        let mut got = -1;
        let mut len = size_of::<c_int>() as socklen_t;
        // SAFETY: an int and its size.
        let done = unsafe {
            getsockopt(
                fd.as_raw_fd(),
                SOL_SOCKET,
                SO_TYPE,
                (&raw mut got).cast(),
                &mut len,
            )
        };
        assert_eq!((done, got), (0, socket_type));
        assert_eq!(end_of(pid), 0);
        // SAFETY: no pointers.
        let status = unsafe { fcntl(fd.as_raw_fd(), F_GETFL) };
        assert_eq!(status & O_NONBLOCK, 0);
        let mut bytes = [0; 16];
        let len = File::from(fd).read(&mut bytes).unwrap();
        let expected: &[u8] = if socket_type == SOCK_STREAM {
            b"a\nb\n"
        } else {
            b"a\n"
        };
        assert_eq!(&bytes[..len], expected);
    }
    for socket_type in [
        -1,
        4,
        99,
        SOCK_RAW,
        SOCK_STREAM | SOCK_CLOEXEC,
        SOCK_STREAM | SOCK_NONBLOCK,
        c_int::MIN,
    ] {
        assert_fails(
            || {
                start(
                    &["true"],
                    &ipc_spawn_opts {
                        r#type: socket_type,
                        ..defaults()
                    },
                )
            },
            EINVAL,
        );
    }
}

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

#[apply(isolated)]
fn own_end() {
    let (pid, fd) = start(&["cat"], &defaults()).unwrap();
    // SAFETY: no pointers.
    assert_eq!(unsafe { fcntl(fd.as_raw_fd(), F_GETFD) }, FD_CLOEXEC);
    // SAFETY: no pointers.
    assert_eq!(unsafe { fcntl(fd.as_raw_fd(), F_GETFL) } & O_NONBLOCK, 0);
    // Only the child has the child's end: when this process closes its own, the child exits.
    drop(fd);
    assert_eq!(end_of(pid), 0);
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
