//! The places that the probe `error` reports.

use common::root;
use libtest_mimic::{Failed, Trial};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use unixipc::place::FILES;

pub fn trials() -> Vec<Trial> {
    vec![
        Trial::test(
            "places: the table lists the files that return errors",
            files,
        ),
        Trial::test(
            "places: every error that the library returns has one",
            all_errors,
        ),
    ]
}

/// The Rust files below a directory.
fn sources(directory: &Path, found: &mut Vec<PathBuf>) -> Result<(), Failed> {
    for entry in fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            sources(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    Ok(())
}

/// The files of src/ without their unit tests, by their names below it.
fn library() -> Result<Vec<(String, String)>, Failed> {
    let directory = root().join("src");
    let mut paths = Vec::new();
    sources(&directory, &mut paths)?;
    let mut files = Vec::new();
    for path in paths {
        let name = path.strip_prefix(&directory)?.display().to_string();
        let text = fs::read_to_string(&path)?;
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        if name != "errno.rs" {
            files.push((name, code.to_owned()));
        }
    }
    Ok(files)
}

fn files() -> Result<(), Failed> {
    let mut used = BTreeSet::from(["system call".to_owned()]);
    for (name, code) in library()? {
        if code.contains("errno!(") {
            used.insert(name);
        }
    }
    let listed: BTreeSet<String> = FILES.iter().copied().map(String::from).collect();
    if used == listed {
        return Ok(());
    }
    let missing: Vec<_> = used.difference(&listed).collect();
    let unused: Vec<_> = listed.difference(&used).collect();
    Err(format!("not in place::FILES: {missing:?}; without errors: {unused:?}").into())
}

/// `Errno::EINVAL` is for comparisons: an error that is made from it has no place.
fn all_errors() -> Result<(), Failed> {
    let mut found = Vec::new();
    for (name, code) in library()? {
        for (number, line) in code.lines().enumerate() {
            let line = line.trim();
            let returns = [
                "ok_or(Errno::",
                "|_| Errno::",
                "=> Errno::",
                "return Errno::",
            ]
            .iter()
            .any(|form| line.contains(form));
            let makes = line.match_indices("Err(Errno::E").any(|(at, _)| {
                let before = line[..at].trim_end();
                let is_compared = before.ends_with("==") || before.ends_with("!=");
                // An error of the crate nix in a pattern.
                !is_compared && !line[at..].contains("=>")
            });
            if returns || makes {
                found.push(format!("src/{name}:{}: {line}", number + 1));
            }
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    Err(format!("use errno!():\n{}", found.join("\n")).into())
}
