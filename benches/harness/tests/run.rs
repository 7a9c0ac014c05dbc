//! The harness as a whole, over subjects that are shell scripts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

fn subject(directory: &Path, name: &str, list: &str, run: &str) {
    let path = directory.join(name);
    let script = format!(
        "#!/bin/sh\ncase $1 in\nlist) printf '{list}' ;;\nversion) echo {name} 1.0 ;;\n\
         run)\n{run}\n;;\nesac\n"
    );
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

const RATE: &str = "echo messages 1000; echo ns $NS; echo cpu_ns 3000";
const LATENCY: &str = "echo p50_ns 10; echo p99_ns 20; echo p999_ns 30; echo hist 9.5 500; \
                       echo hist 19 5; echo hist 28 1";

fn bench(directory: &Path, args: &[&str]) -> (Output, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_unixipc-bench"))
        .args(["--repetitions", "3", "--ms", "1"])
        .arg("--subjects")
        .arg(directory.join("subjects"))
        .arg("--out")
        .arg(directory.join("out"))
        .args(args)
        .output()
        .unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, text)
}

fn row<'a>(text: &'a str, start: &str) -> &'a str {
    let found = text.lines().rfind(|line| line.starts_with(start));
    found.unwrap_or_else(|| panic!("no {start:?} in:\n{text}"))
}

#[test]
fn a_run() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path();
    let subjects = directory.join("subjects");
    fs::create_dir(&subjects).unwrap();

    let (output, _) = bench(directory, &[]);
    assert_eq!(output.status.code(), Some(2), "no subjects");

    let both = "a\\trate\\tours\\tours\\na\\tlatency-block\\tours\\tours\\n";
    subject(
        &subjects,
        "unixipc",
        both,
        &format!("NS=2000; {RATE}; {LATENCY}"),
    );
    subject(
        &subjects,
        "zeromq",
        "z\\trate\\tZeroMQ\\n",
        &format!("NS=4000; {RATE}"),
    );
    // Files that are not subjects.
    fs::write(subjects.join("subject.o"), "").unwrap();
    fs::write(subjects.join("notes"), "").unwrap();

    let only = ["--only", "rate,latency-b"];
    let (output, text) = bench(directory, &only);
    assert!(output.status.success(), "{output:?}");
    if text.contains("no test across cores") {
        return; // with one processor, there is no rate test
    }
    assert!(row(&text, "| ours ").contains("500 M"));
    assert!(
        row(&text, "| ours ")
            .trim_end_matches(" |")
            .ends_with("0.50")
    );
    assert!(
        row(&text, "| ZeroMQ ")
            .trim_end_matches(" |")
            .ends_with("2.00")
    );
    assert!(row(&text, "| nng").contains("not installed (make bench-deps)"));
    let report = fs::read_to_string(directory.join("out/report.md")).unwrap();
    assert!(report.contains("](rate.svg)") && !text.contains("rate.svg"));
    for file in [
        "rate.svg",
        "latency-block-one-distribution.svg",
        "results.csv",
    ] {
        assert!(
            fs::metadata(directory.join("out").join(file))
                .unwrap()
                .len()
                > 500,
            "{file}"
        );
    }
    assert!(!directory.join("out/results.csv.part").exists());

    // The base may be the file that the run overwrites.
    let base = directory.join("out/results.csv");
    let compared: Vec<&str> = ["--base", base.to_str().unwrap()]
        .into_iter()
        .chain(only)
        .collect();
    let (output, text) = bench(directory, &compared);
    assert!(
        output.status.success() && text.contains("No row of unixipc became slower"),
        "{text}"
    );
    subject(
        &subjects,
        "unixipc",
        both,
        &format!("NS=3000; {RATE}; {LATENCY}"),
    );
    let (_, text) = bench(directory, &compared);
    assert!(
        row(&text, "| slower | rate, 8 B").contains("1.50"),
        "{text}"
    );

    // Prints the same report again without measuring.
    let (output, again) = bench(
        &directory.join("elsewhere"),
        &["--report", base.to_str().unwrap()],
    );
    assert!(output.status.success());
    assert!(text.starts_with(&again), "{again}");
}

#[test]
fn subjects_that_fail() {
    let temporary = tempfile::tempdir().unwrap();
    let directory = temporary.path();
    let subjects = directory.join("subjects");
    fs::create_dir(&subjects).unwrap();
    // Fails from the second run on; always fails; has no valid list; does not start.
    let state = directory.join("state");
    let sometimes = format!(
        "NS=2000; {RATE}; if [ -e {0} ]; then echo wrong content >&2; exit 1; fi; touch {0}",
        state.display()
    );
    subject(
        &subjects,
        "kernel",
        "a\\tlock\\tsometimes\\n",
        &sometimes.replace("messages", "operations"),
    );
    subject(
        &subjects,
        "nng",
        "a\\tlock\\tnever\\n",
        "echo messages 1; echo speed 3",
    );
    subject(&subjects, "zeromq", "a\\tunknown\\tnone\\n", "exit 0");
    subject(&subjects, "libqb", "", "exit 0");
    fs::write(
        subjects.join("broken"),
        "#!/bin/sh\necho no library >&2\nexit 127\n",
    )
    .unwrap();
    fs::set_permissions(subjects.join("broken"), fs::Permissions::from_mode(0o755)).unwrap();

    let (output, text) = bench(directory, &["--only", "lock"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(
        row(&text, "| sometimes").contains("failed 2 of 3, see below"),
        "{text}"
    );
    assert!(row(&text, "| sometimes").contains("2.00"), "{text}");
    assert!(
        row(&text, "| never").contains("failed 3 of 3, see below"),
        "{text}"
    );
    assert!(
        text.contains("- failed 2 times: sometimes: exit code 1: wrong content"),
        "{text}"
    );
    assert!(text.contains("printed \"speed 3\""), "{text}");
    assert!(
        text.contains("does not work: broken version: exit code 127: no library"),
        "{text}"
    );
    assert!(text.contains("zeromq list: unknown test unknown"), "{text}");

    for wrong in [
        ["--only", "speed"],
        ["--ms", "0"],
        ["--minutes", "nan"],
        ["--cpus", "0,0"],
    ] {
        let (output, _) = bench(directory, &wrong);
        assert_eq!(output.status.code(), Some(2), "{wrong:?}");
    }
    let (output, _) = bench(directory, &["--base", "/nonexistent"]);
    assert_eq!(output.status.code(), Some(2));
}
