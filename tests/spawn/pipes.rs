//! Pipes as standard input and output.

use crate::support::*;

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
        let (in_read, mut in_write) = pipe();
        let (mut out_read, out_write) = pipe();
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

/// A program with two pipes: the caller's write end and read end.
fn start_with_pipes(
    program: &[&str],
    opts: ipc_spawn_opts,
) -> Result<(pid_t, OwnedFd, OwnedFd), c_int> {
    let mut out = -7;
    let opts = ipc_spawn_opts {
        ret_out_fd: &mut out,
        flags: opts.flags | IPC_SPAWN_F_PIPES,
        ..opts
    };
    match start(program, &opts) {
        Ok((pid, fd)) => Ok((pid, fd, own(out))),
        Err(errno) => {
            assert_eq!(out, -7, "ret_out_fd after a failure");
            Err(errno)
        }
    }
}

#[apply(isolated)]
fn two_pipes() {
    let by_name = ["dd", "if=/dev/stdin", "of=/dev/stdout", "status=none"];
    for program in [&sh("cat /dev/stdin >/dev/stdout")[..], &by_name, &["cat"]] {
        let (pid, to, from) = start_with_pipes(program, defaults()).unwrap();
        for fd in [&to, &from] {
            // SAFETY: no pointers.
            assert_eq!(unsafe { fcntl(fd.as_raw_fd(), F_GETFD) }, FD_CLOEXEC);
            // SAFETY: no pointers.
            let flags = unsafe { fcntl(fd.as_raw_fd(), F_GETFL) };
            assert_eq!(flags & O_NONBLOCK, 0);
        }
        let (mut to, mut printed) = (File::from(to), String::new());
        to.write_all(b"through pipes").unwrap();
        drop(to); // the only copy: the end of the input
        File::from(from).read_to_string(&mut printed).unwrap();
        assert_eq!(printed, "through pipes");
        assert_eq!(end_of(pid), 0);
    }
    // The child has nothing else, and its end of the output is the only one.
    let list = sh("readlink /proc/$$/fd/0 /proc/$$/fd/1; ls /proc/$$/fd; exec >&-; read line");
    let (pid, to, from) = start_with_pipes(&list, defaults()).unwrap();
    let mut printed = String::new();
    File::from(from).read_to_string(&mut printed).unwrap();
    let lines: Vec<&str> = printed.lines().collect();
    assert!(
        lines[..2].iter().all(|file| file.starts_with("pipe:")),
        "{printed}"
    );
    assert_ne!(lines[0], lines[1]);
    assert_eq!(lines[2..], ["0", "1", "2"]);
    drop(to);
    assert_eq!(end_of(pid), 1);
}

#[apply(isolated)]
fn pipes_beside_other_options() {
    let file = temporary("more");
    let mut pidfd = -7;
    let fds = [passed(file.as_raw_fd(), 3)];
    let opts = ipc_spawn_opts {
        ret_pidfd: &mut pidfd,
        flags: IPC_SPAWN_F_STDERR_NULL,
        ..with_fds(&fds)
    };
    let script = sh("cat; cat /proc/self/fd/3; readlink /proc/$$/fd/2");
    let (pid, to, from) = start_with_pipes(&script, opts).unwrap();
    let mut to = File::from(to);
    to.write_all(b"some ").unwrap();
    drop((to, own(pidfd)));
    let mut printed = String::new();
    File::from(from).read_to_string(&mut printed).unwrap();
    assert_eq!(printed, "some more/dev/null\n");
    assert_eq!(end_of(pid), 0);
}

#[apply(isolated)]
fn invalid_with_pipes() {
    let refuse = |opts, errno| {
        let start = || start_with_pipes(&["true"], opts).map(|(pid, fd, _)| (pid, fd));
        assert_fails(start, errno);
    };
    for socket_type in [SOCK_STREAM, SOCK_SEQPACKET, -1] {
        let opts = ipc_spawn_opts {
            r#type: socket_type,
            ..defaults()
        };
        refuse(opts, EINVAL);
    }
    for child_fd in [1, 3, -1] {
        let opts = ipc_spawn_opts {
            child_fd,
            ..defaults()
        };
        refuse(opts, EINVAL);
    }
    let file = temporary("");
    for number in [0, 1] {
        let fds = [passed(file.as_raw_fd(), number)];
        refuse(with_fds(&fds), EINVAL);
    }
    let opts = ipc_spawn_opts {
        cwd: c"/missing".as_ptr(),
        ..defaults()
    };
    refuse(opts, ENOENT);
    // The flag without the output, and the output without the flag.
    let mut out = -7;
    for (flags, ret_out_fd) in [(IPC_SPAWN_F_PIPES, ptr::null_mut()), (0, &raw mut out)] {
        let opts = ipc_spawn_opts {
            flags,
            ret_out_fd,
            ..defaults()
        };
        assert_fails(|| start(&["true"], &opts), EINVAL);
    }
    assert_eq!(out, -7);
}
