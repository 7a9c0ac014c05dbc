//! The declarations of the header: constants, structures and functions that an earlier version had.
//! A program that is compiled with the present header, or was compiled with an earlier one, finds the
//! same values, members and prototypes. tests/abi compares the types in the library; they contain no
//! constants, and abidiff does not check a structure further that has grown.

use crate::support::*;
use common::header::{declared, one_line};
use common::stage;
use std::collections::BTreeMap;

/// The structures that callers pass with their size. They may have more members in a later version.
const GROWING: [&str; 9] = [
    "ipc_spawn_opts",
    "ipc_shm_opts",
    "ipc_channel_opts",
    "ipc_channel_stats",
    "ipc_feed_opts",
    "ipc_feed_subscriber",
    "ipc_feed_info",
    "ipc_sub_opts",
    "ipc_sub_info",
];

/// A line of declarations.txt for each declaration: its name, with `struct` before that of a structure,
/// and its text, which is the members of a structure.
type Declarations = BTreeMap<String, String>;

/// The declarations of the present header.
fn present() -> Declarations {
    // Without continuation lines.
    let code = stage::header_code().unwrap().replace("\\\n", " ");
    let mut declarations = Declarations::new();
    for line in code.lines() {
        let Some((name, value)) = line
            .strip_prefix("#define ")
            .and_then(|definition| definition.split_once(' '))
        else {
            continue;
        };
        if !name.contains('(') && !name.starts_with("UNIXIPC_") {
            declarations.insert(name.into(), one_line(value));
        }
    }
    let others: String = code
        .lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect();
    let (mut members, mut structure) = (String::new(), None);
    for part in others.split_inclusive([';', '{', '}']) {
        let text = one_line(part.trim_end_matches([';', '{', '}']));
        match (part.chars().last(), &structure) {
            (Some('{'), _) if text.starts_with("struct ") => {
                structure = text.rsplit(' ').next().map(|name| format!("struct {name}"));
                members = if text.contains("ALIGNED") {
                    format!("{text};")
                } else {
                    String::new()
                };
            }
            (Some('}'), Some(name)) => {
                declarations.insert(name.clone(), members.clone());
                structure = None;
            }
            (Some(';'), Some(_)) => members += &format!("{text};"),
            (Some(';'), None) => {
                if let Some(name) = declared(&text) {
                    declarations.insert(name.into(), text.clone());
                }
            }
            _ => {}
        }
    }
    declarations
}

#[apply(isolated)]
fn fresh_declarations() {
    let present = present();
    let text: String = present
        .iter()
        .map(|(name, text)| format!("{name}: {text}\n"))
        .collect();
    for set in sets() {
        if is_freezing() {
            set.assert_frozen("declarations.txt", &text);
            continue;
        }
        let frozen = std::fs::read_to_string(set.path("declarations.txt")).unwrap();
        for line in frozen.lines() {
            let (name, old) = line.split_once(": ").unwrap();
            let _case = Case(format!("{name} of {}", set.version));
            let new = present.get(name).expect("the header has no such name");
            if name
                .strip_prefix("struct ")
                .is_some_and(|name| GROWING.contains(&name))
            {
                assert!(new.starts_with(old), "frozen: {old}\npresent: {new}");
            } else {
                assert_eq!(new, old);
            }
        }
    }
}
