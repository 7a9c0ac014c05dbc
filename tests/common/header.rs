//! The functions of include/unixipc.h: their prototypes, and the errno values that their
//! comments list.

use crate::root;
use std::collections::BTreeSet;
use std::fs;

/// A function of the header.
pub struct Function {
    pub name: String,
    /// On one line, without the semicolon.
    pub prototype: String,
    pub errnos: BTreeSet<String>,
}

/// The documented functions, in the order of the header.
pub fn functions() -> Vec<Function> {
    let header = fs::read_to_string(root().join("include/unixipc.h")).unwrap();
    let mut functions: Vec<Function> = Vec::new();
    for part in header.split("/**").skip(1) {
        let (comment, rest) = part.split_once("*/").expect("a comment has an end");
        let prototype = one_line(rest.split(';').next().unwrap_or_default());
        let Some(name) = declared(&prototype) else {
            continue; // a macro or a type
        };
        let errnos = errnos(comment, &functions);
        assert_eq!(
            errnos.is_empty(),
            !["-1 with errno", "NULL with errno:", "0 with errno:"]
                .iter()
                .any(|failed| comment.contains(failed)),
            "the comment of {name} does not list errno values in the usual form"
        );
        functions.push(Function {
            name: name.into(),
            prototype,
            errnos,
        });
    }
    assert!(!functions.is_empty(), "the header has no functions");
    functions
}

/// A declaration on one line, with single spaces and without `extern`.
pub fn one_line(declaration: &str) -> String {
    let words: Vec<&str> = declaration
        .split_whitespace()
        .filter(|word| *word != "extern")
        .collect();
    words.join(" ")
}

/// The name of the function that a prototype declares.
pub fn declared(prototype: &str) -> Option<&str> {
    let (before, _) = prototype.split_once('(')?;
    let name = before.rsplit([' ', '*']).next()?;
    (name.starts_with("ipc_") && !prototype.starts_with('#')).then_some(name)
}

/// Whether a word is the name of an error.
pub fn is_errno(word: &str) -> bool {
    word.len() > 2
        && word.starts_with('E')
        && word
            .bytes()
            .all(|c| c.is_ascii_uppercase() || c.is_ascii_digit())
}

/// The errors that a comment lists: each line has names and their meaning. A word such as
/// "ipc_semop's" before the list includes the list of that earlier function.
fn errnos(comment: &str, earlier: &[Function]) -> BTreeSet<String> {
    let lines = comment
        .lines()
        .map(|line| line.trim_start().trim_start_matches('*'));
    let mut errnos = BTreeSet::new();
    let mut in_returns = false;
    for line in lines {
        in_returns |= line.starts_with(" Returns ");
        let entry = line.strip_prefix("   ").unwrap_or_default();
        let names: Vec<&str> = entry
            .split("  ")
            .next()
            .unwrap_or_default()
            .split(", ")
            .collect();
        if names.iter().all(|name| is_errno(name)) {
            errnos.extend(names.into_iter().map(String::from));
        } else if in_returns {
            let others = line
                .split_whitespace()
                .filter_map(|word| word.trim_end_matches([',', ';', ':']).strip_suffix("'s"))
                .filter(|word| word.starts_with("ipc_"));
            for other in others {
                let other = earlier
                    .iter()
                    .find(|function| function.name == other)
                    .unwrap_or_else(|| {
                        panic!("{other} is not declared before this reference to it")
                    });
                errnos.extend(other.errnos.iter().cloned());
            }
        }
    }
    errnos
}
