//! Standard input, output and error, and the end of the pair.

use crate::support::*;

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
    let (mut read, write) = pipe();
    let fds = [passed(write.as_raw_fd(), 2)];
    let got = output(start(&sh(which), &with_fds(&fds)));
    drop(write);
    let mut printed = String::new();
    read.read_to_string(&mut printed).unwrap();
    assert!(got.starts_with("pipe:"), "{got}");
    assert_eq!(printed, "to stderr\n");
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
