//! The program, its arguments, environment and directory.

use crate::support::*;
use std::os::unix::fs::symlink;
use std::os::unix::net::UnixStream;

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
    // The kernel accepts 32 pages.
    let argument = "x".repeat(32 * page_size() + 1);
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

/// Without PATH, the directories are those of execvp; a file that cannot be executed is reported
/// if no other one is found.
#[apply(isolated)]
fn search_rules() {
    let _folder = WorkingDirectory::new();
    fs::write("mine", "#!/bin/sh\necho mine\n").unwrap();
    let old = std::env::var("PATH").unwrap();
    let find = |path: &str| {
        // SAFETY: the process has one thread.
        unsafe { std::env::set_var("PATH", path) };
        start(&["mine"], &defaults())
    };
    set_mode("mine", 0o644);
    assert_fails(|| find(".:/nowhere"), EACCES);
    assert_fails(|| find("/nowhere:/dev/null"), ENOTDIR);
    set_mode("mine", 0o755);
    let long = "d".repeat(5000);
    for path in ["", ":/nowhere", "/dev/null:", &format!("{long}::{long}")] {
        assert_eq!(output(find(path)), "mine\n", "{path}");
    }
    // SAFETY: as above.
    unsafe { std::env::remove_var("PATH") };
    assert_eq!(output(start(&["true"], &defaults())), "");
    assert_fails(|| start(&["mine"], &defaults()), ENOENT);
    // SAFETY: as above.
    unsafe { std::env::set_var("PATH", old) };
}
