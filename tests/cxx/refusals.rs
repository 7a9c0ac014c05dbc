//! Programs that must not compile: each contains one mistake, and the compiler names it.

use crate::{COMPILERS, WARNINGS};
use common::{root, text, trial_with_tools};
use libtest_mimic::{Failed, Trial};
use std::fs;
use std::process::Command;

const NO_POINTERS: &str = "contains pointers";

/// What is wrong, the statement, and a part of the compiler's message; g++ and clang++ may word it
/// differently.
const MISTAKES: [(&str, &str, &[&str]); 19] = [
    ("a copy of a channel", "auto copy = end;", &["deleted"]),
    (
        "a copy of a region",
        "unixipc::region r; auto copy = r;",
        &["deleted"],
    ),
    (
        "a copy of a mutex",
        "void f(unixipc::mutex &m); auto copy = [](unixipc::mutex &m) { auto c = m; };",
        &["deleted"],
    ),
    (
        "a number as a time",
        "(void)end.try_recv(buffer, 100);",
        &["convert", "conversion", "no matching"],
    ),
    (
        "a string in a message",
        "(void)end.try_send_value(std::string());",
        &[NO_POINTERS],
    ),
    (
        "a pointer in a message",
        "(void)end.try_send_value(&end);",
        &[NO_POINTERS],
    ),
    (
        "a pointer in a struct",
        "(void)end.try_send_value(pointer());",
        &[NO_POINTERS],
    ),
    (
        "a text in a struct that is received",
        "(void)end.try_recv_value<pointer>();",
        &[NO_POINTERS],
    ),
    (
        "a pointer in a cell",
        "unixipc::cell<pointer> cell;",
        &[NO_POINTERS],
    ),
    (
        "a string in a cell",
        "unixipc::cell<std::string> cell;",
        &[NO_POINTERS],
    ),
    (
        "a pointer in a feed",
        "unixipc::feed feed; (void)feed.try_publish_value(pointer());",
        &[NO_POINTERS],
    ),
    (
        "a pointer from a feed",
        "unixipc::subscriber sub; (void)sub.try_recv_value<pointer>();",
        &[NO_POINTERS],
    ),
    (
        "the bytes of pointers",
        "(void)unixipc::bytes_of(std::vector<int *>());",
        &[NO_POINTERS],
    ),
    (
        "a pointer in a region",
        "(void)unixipc::region().try_at<pointer>();",
        &["no destructor, virtual functions or pointers"],
    ),
    (
        "a string in a region",
        "(void)unixipc::region().try_at<std::string>();",
        &["no destructor, virtual functions or pointers"],
    ),
    (
        "a text that may lack its null byte as a path",
        "(void)unixipc::channel::try_connect(std::string_view(\"x\"));",
        &["convert", "conversion", "no matching"],
    ),
    (
        "a descriptor from a number",
        "unixipc::descriptor d = 3;",
        &["conversion", "no viable"],
    ),
    (
        "a result that is ignored",
        "end.try_send(unixipc::bytes_of(\"x\"));",
        &["nodiscard"],
    ),
    (
        "a lock without its state",
        "unixipc::mutex *m = nullptr; m->try_acquire();",
        &["nodiscard"],
    ),
];

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for compiler in COMPILERS {
        trials.push(trial_with_tools(
            format!("compiles without a mistake, {compiler}"),
            &[compiler],
            move || match message(compiler, "(void)end.try_send_value(1);")? {
                None => Ok(()),
                Some(message) => Err(message.into()),
            },
        ));
        for (what, statement, expected) in MISTAKES {
            trials.push(trial_with_tools(
                format!("refuses {what}, {compiler}"),
                &[compiler],
                move || match message(compiler, statement)? {
                    Some(message) if expected.iter().any(|part| message.contains(part)) => Ok(()),
                    Some(message) => Err(message.into()),
                    None => Err(Failed::from("it compiles")),
                },
            ));
        }
    }
    trials
}

/// What the compiler prints about a statement that it refuses.
fn message(compiler: &str, statement: &str) -> Result<Option<String>, Failed> {
    let directory = tempfile::tempdir()?;
    let source = directory.path().join("mistake.cc");
    fs::write(
        &source,
        format!(
            "#include <unixipc.hpp>\n\
             #include <string>\n\
             #include <string_view>\n\
             #include <vector>\n\
             struct pointer {{ int length; const char *text; }};\n\
             void use(unixipc::channel &end, unixipc::mutable_bytes buffer);\n\
             void use(unixipc::channel &end, unixipc::mutable_bytes buffer)\n\
             {{\n\
                 static_cast<void>(end);\n\
                 static_cast<void>(buffer);\n\
                 {statement}\n\
             }}\n"
        ),
    )?;
    let output = Command::new(compiler)
        .arg("-std=c++17")
        .args(WARNINGS)
        .args(["-Wno-unused", "-Wunused-result", "-fsyntax-only", "-I"])
        .arg(root().join("include"))
        .arg(&source)
        .output()?;
    Ok((!output.status.success()).then(|| text(&output)))
}
