//! The promise to programs that were linked with an earlier version: tests/compat/VERSION has its
//! symbols and its types.

use super::{Failed, Trial, exported, trial, types};
use common::{root, trial_with_tools};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

pub fn trials() -> Vec<Trial> {
    vec![
        trial(
            "frozen: no symbol is removed, or has another version",
            symbols,
        ),
        types::x86_64_only("frozen: no type changes", |name| {
            trial_with_tools(name, &types::TOOLS, same_types)
        }),
    ]
}

/// The directories of the frozen versions.
fn sets() -> Result<Vec<PathBuf>, Failed> {
    let mut sets = Vec::new();
    for entry in fs::read_dir(root().join("tests/compat"))? {
        let path = entry?.path();
        if path.join("symbols.txt").exists() {
            sets.push(path);
        }
    }
    if sets.is_empty() {
        return Err("no frozen version".into());
    }
    Ok(sets)
}

/// A frozen version keeps exactly its symbols: the loader refuses a program if one is missing, and
/// with a new one a program would need a later library than its symbol versions say.
fn symbols() -> Result<(), Failed> {
    let present: BTreeSet<String> = exported()?
        .iter()
        .map(|symbol| format!("{} {}", symbol.name, symbol.version))
        .collect();
    for set in sets()? {
        let frozen = fs::read_to_string(set.join("symbols.txt"))?;
        let frozen: BTreeSet<String> = frozen.lines().map(String::from).collect();
        let missing: Vec<_> = frozen.difference(&present).collect();
        let versions: BTreeSet<&str> = frozen.iter().filter_map(|line| version(line)).collect();
        let added: Vec<_> = present
            .difference(&frozen)
            .filter(|line| version(line).is_some_and(|version| versions.contains(version)))
            .collect();
        if !missing.is_empty() || !added.is_empty() {
            let set = set.display();
            return Err(format!("{set}: removed or moved: {missing:?}; added: {added:?}").into());
        }
    }
    Ok(())
}

/// The version of a line of symbols.txt.
fn version(line: &str) -> Option<&str> {
    line.split_once(' ').map(|(_, version)| version)
}

/// Compares types with abidiff. Only the changes that tests/compat/grow.abignore names are allowed.
fn same_types() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let library = types::debug_library(directory.path())?;
    let growth = root().join("tests/compat/grow.abignore");
    let growth = growth.to_str().ok_or("a path that is not UTF-8")?;
    for set in sets()? {
        let options = ["--no-added-syms", "--suppressions", growth];
        types::compare(&set.join("unixipc.abi"), &library, &options)?;
    }
    Ok(())
}
