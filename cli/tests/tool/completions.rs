//! Completions, help and wrong arguments.

use crate::support::*;
use std::io::Write;
use std::process::{Command, Stdio};

#[apply(isolated)]
fn scripts() {
    for (shell, expected) in [
        ("bash", "complete -F _unixipc"),
        ("zsh", "#compdef unixipc"),
        ("fish", "complete -c unixipc"),
    ] {
        let script = run(tool(&["completions", shell]), 0);
        assert!(script.contains(expected), "{shell}: {script}");
        assert!(script.contains("doctor"), "{shell}");
    }
    run(tool(&["completions", "tcsh"]), 2);
}

/// The shell accepts its completions.
#[apply(isolated)]
fn bash_reads_them() {
    let script = run(tool(&["completions", "bash"]), 0);
    let mut bash = Command::new("bash");
    let mut bash = bash.arg("-n").stdin(Stdio::piped()).spawn().unwrap();
    bash.stdin
        .take()
        .unwrap()
        .write_all(script.as_bytes())
        .unwrap();
    assert!(bash.wait().unwrap().success());
}

#[apply(isolated)]
fn wrong_arguments() {
    for arguments in [
        &["no-such-command"][..],
        &["ls", "--type", "no-such-kind"],
        &["gc", "--older-than", "x"],
        &["top", "--interval", "0"],
        &["top", "--interval", "nan"],
        &["top", "--once", "--prometheus"],
        &["--color", "sometimes", "ls"],
        &[],
    ] {
        run(tool(arguments), 2);
    }
    assert!(run(tool(&["--version"]), 0).starts_with("unixipc "));
    let help = run(tool(&["help"]), 0);
    for command in ["ls", "gc", "top", "doctor", "completions"] {
        assert!(help.contains(command), "{command}: {help}");
    }
}

/// A reader that goes away ends the tool, which prints nothing else.
#[apply(isolated)]
fn closed_output() {
    let mut child = tool(&["completions", "zsh"]);
    let mut child = child
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.stderr, b"");
}
