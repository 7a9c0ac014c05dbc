//! What gdb reads at the probes: it runs `program.c`, which prints what each probe must report.

use common::stage::{self, Link};
use common::{root, run, trial_with_tools};
use libtest_mimic::{Failed, Trial};
use std::fs;
use std::path::Path;
use std::process::Command;
use tempfile::TempDir;

const TOOLS: [&str; 4] = ["make", "cc", "pkg-config", "gdb"];

/// The probes at which gdb stops, and how it prints their arguments.
const PROBES: [(&str, &[&str]); 16] = [
    ("channel_send", &["%p", "%ld"]),
    ("channel_send_many", &["%p", "%ld", "%ld"]),
    ("channel_receive", &["%p", "%ld"]),
    ("channel_receive_many", &["%p", "%ld", "%ld"]),
    ("channel_sleep", &["%p", "%ld"]),
    ("channel_awake", &["%p", "%ld"]),
    ("channel_wake", &["%p", "%ld"]),
    ("feed_publish", &["%p", "%ld", "%ld"]),
    ("feed_receive", &["%p", "%ld", "%ld"]),
    ("feed_overrun", &["%p", "%ld", "%ld"]),
    ("fifo_send", &["%ld", "%ld"]),
    ("message_send", &["%ld", "%ld", "%ld"]),
    ("owner_died", &["%p"]),
    ("lock_wait", &["%p", "%ld"]),
    ("lock_waited", &["%p", "%ld"]),
    ("error", &["%ld", "%s", "%ld"]),
];

pub fn trials() -> Vec<Trial> {
    [("shared", Link::Shared), ("static", Link::Static)]
        .map(|(name, link)| {
            trial_with_tools(format!("gdb: arguments, {name}"), &TOOLS, move || {
                arguments(link)
            })
        })
        .into()
}

/// The commands for gdb. A line that a probe prints begins with an `@`.
fn script() -> String {
    // The program has loaded the library when it stops in main.
    let mut script = String::from(
        "set debuginfod enabled off\nset pagination off\nset confirm off\n\
         set print inferior-events off\nset breakpoint pending off\nset disable-randomization off\n\
         break main\nrun\n",
    );
    for (name, arguments) in PROBES {
        let format = arguments.join(" ");
        let values: String = arguments
            .iter()
            .enumerate()
            .map(|(number, format)| match *format {
                "%s" => format!(", (char *)$_probe_arg{number}"),
                _ => format!(", $_probe_arg{number}"),
            })
            .collect();
        script += &format!(
            "break -probe-stap unixipc:{name}\ncommands\nsilent\n\
             printf \"@{name} {format}\\n\"{values}\ncontinue\nend\n"
        );
    }
    script + "continue\n"
}

fn arguments(link: Link) -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let program = directory.path().join("program");
    let commands = directory.path().join("commands");
    let source = root().join("tests/probes/program.c");
    let flags = ["-Wall", "-Wextra", "-Werror", "-pthread"];
    stage::compile("cc", stage::prefix()?, link, &flags, &[&source], &program)?;
    fs::write(&commands, script())?;
    let output = run(Command::new("timeout")
        .args(["60", "gdb", "-nx", "-batch", "-x"])
        .arg(&commands)
        .arg(&program))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let is_probe = |line: &&str| line.starts_with('@');
    let mut found = text.lines().filter(is_probe).map(|line| &line[1..]);
    let is_expected = |line: &&str| {
        PROBES
            .iter()
            .any(|(name, _)| line.split(' ').next() == Some(name))
    };
    let expected: Vec<&str> = text.lines().filter(is_expected).collect();
    if expected.len() < PROBES.len() {
        return Err(format!("the program has not finished:\n{text}").into());
    }
    // A probe may also be reached where the program expects none: the order is that of the program.
    for line in expected {
        let Some(matching) = found.find(|found| matches(found, line)) else {
            return Err(format!("gdb has not printed: {line}\n{text}").into());
        };
        check_place(matching)?;
    }
    Ok(())
}

/// Whether gdb has printed what the program expects, in which "?" stands for anything.
fn matches(found: &str, expected: &str) -> bool {
    let (found, expected) = (found.split(' '), expected.split(' '));
    found.clone().count() == expected.clone().count()
        && found
            .zip(expected)
            .all(|(found, expected)| expected == "?" || found == expected)
}

/// An error's place is a line that returns such an error.
fn check_place(line: &str) -> Result<(), Failed> {
    let words: Vec<&str> = line.split(' ').collect();
    let ["error", _, file, number] = words[..] else {
        return Ok(());
    };
    if !file.ends_with(".rs") {
        return Ok(());
    }
    let text = fs::read_to_string(root().join("src").join(Path::new(file)))?;
    let number: usize = number.parse()?;
    let source = text.lines().nth(number.wrapping_sub(1)).unwrap_or_default();
    if source.contains("errno!(") {
        return Ok(());
    }
    Err(format!("{line}: {source}").into())
}
