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
