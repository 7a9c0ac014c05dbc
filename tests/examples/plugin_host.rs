use crate::support::{
    child_of, example, fail, read_all, signal, stat, succeed, wait, wait_until, wait_until_gone,
};
use common::isolated::{apply, isolated};
use std::env::temp_dir;
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

/// A host with the example's plug-in. The time-out is long enough for a reply on a busy machine.
fn host() -> Command {
    let mut command = example("plugin_host");
    command.args(["--timeout", "2000"]).arg(plugin());
    command
}

fn plugin() -> std::ffi::OsString {
    example("plugin").get_program().into()
}

#[apply(isolated)]
fn replies() {
    let text = succeed(host().args(["upper one", "upper ", "other"]));
    let expected = "call 1: upper one\n  ONE\ncall 2: upper \n  \ncall 3: other\n  UNKNOWN CALL\n";
    assert_eq!(text, expected);
    let long = format!("upper {}", "x".repeat(3994));
    assert!(succeed(host().arg(&long)).contains(&"X".repeat(3994)));
    assert!(fail(host().arg(long + "x"), 1).contains("a call has 1 to 4000 bytes"));
}

/// The reply to a call that has timed out is not taken for the reply to the next call.
#[apply(isolated)]
fn late_reply() {
    let text = fail(host().args(["late one", "upper two"]), 1);
    assert_eq!(
        text,
        "call 1: late one\n  no reply within 2000 ms\n\
         call 2: upper two\n  TWO\n"
    );
}

#[apply(isolated)]
fn hanging_plugin() {
    let text = fail(host().args(["hang", "upper two", "upper three"]), 1);
    assert_eq!(
        text,
        "call 1: hang\n  no reply within 2000 ms\n\
         call 2: upper two\n  no reply within 2000 ms\n\
         \x20 restarted the plug-in: it has not replied to two calls in a row (signal 9)\n\
         call 3: upper three\n  THREE\n"
    );
    // A plug-in that hangs at the end is killed.
    assert!(fail(host().arg("hang"), 1).ends_with("  no reply within 2000 ms\n"));
}

#[apply(isolated)]
fn crashing_plugin() {
    let text = fail(host().args(["crash", "upper two"]), 1);
    assert_eq!(
        text,
        "call 1: crash\n  restarted the plug-in: it has ended during the call (signal 6)\n\
         call 2: upper two\n  TWO\n"
    );
}

/// A plug-in that sends a message that is not a reply is restarted.
#[apply(isolated)]
fn invalid_reply() {
    let text = fail(host().args(["invalid", "upper two"]), 1);
    assert_eq!(
        text,
        "call 1: invalid\n  restarted the plug-in: it has sent an invalid reply (signal 9)\n\
         call 2: upper two\n  TWO\n"
    );
}

/// A plug-in that is killed between two calls costs no call.
#[apply(isolated)]
fn plugin_killed() {
    let mut host = host()
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = host.stdin.take().unwrap();
    let mut stdout = BufReader::new(host.stdout.take().unwrap());
    let mut text = String::new();
    for call in ["upper one", "upper two"] {
        writeln!(stdin, "{call}").unwrap();
        while !text.ends_with(&format!("  {}\n", call[6..].to_uppercase())) {
            assert_ne!(stdout.read_line(&mut text).unwrap(), 0, "{text}");
        }
        let plugin = child_of(&host);
        signal(plugin, libc::SIGKILL);
        // The host reaps it later, so wait until it is a zombie.
        wait_until("the end of the plug-in", || stat(plugin)[0] == "Z");
    }
    drop(stdin);
    text += &read_all(stdout);
    assert!(wait(&mut host).success(), "{text}");
    assert_eq!(
        text,
        "call 1: upper one\n  ONE\n\
         \x20 restarted the plug-in: it has ended between two calls (signal 9)\n\
         call 2: upper two\n  TWO\n"
    );
}

#[apply(isolated)]
fn not_a_plugin() {
    for program in ["true", "cat"] {
        let text = fail(example("plugin_host").args([program, "x"]), 1);
        assert!(text.contains("does not connect a channel"), "{text}");
    }
    let text = fail(example("plugin_host").args(["/nonexistent", "x"]), 1);
    assert!(text.contains("No such file or directory"), "{text}");
    let file = temp_dir().join("file");
    fs::write(&file, "text").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let text = fail(example("plugin_host").arg(&file).arg("x"), 1);
    assert!(text.contains("Permission denied"), "{text}");
    fs::remove_file(&file).unwrap();
    let text = fail(&mut example("plugin"), 1);
    assert!(text.contains("is not a connection to a host"), "{text}");
}

/// A plug-in ends with its host, even if it hangs.
#[apply(isolated)]
fn host_killed() {
    for call in ["upper one", "hang"] {
        let mut host = host()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stdout = BufReader::new(host.stdout.take().unwrap());
        let plugin = child_of(&host);
        writeln!(host.stdin.as_mut().unwrap(), "{call}").unwrap();
        let mut text = String::new();
        while !text.contains("\n  ") {
            assert_ne!(stdout.read_line(&mut text).unwrap(), 0, "{text}");
        }
        host.kill().unwrap();
        wait(&mut host);
        wait_until_gone(plugin);
    }
}
