//! The notes in the shared library and in a program that is linked with the archive.

use common::stage::{self, Link};
use common::{root, run, trial_with_tools};
use libtest_mimic::{Failed, Trial};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::TempDir;

const TOOLS: [&str; 5] = ["make", "cc", "pkg-config", "readelf", "objdump"];

pub fn trials() -> Vec<Trial> {
    vec![
        trial_with_tools(
            "notes: doc/probes.md lists those of the library",
            &TOOLS,
            documented,
        ),
        trial_with_tools("notes: each probe is one nop", &TOOLS, nops),
        trial_with_tools("notes: a static program has them", &TOOLS, static_program),
        trial_with_tools("notes: no memory is loaded for them", &TOOLS, not_loaded),
    ]
}

/// A probe, as readelf prints its note.
struct Note {
    name: String,
    address: u64,
    base: u64,
    semaphore: u64,
    arguments: usize,
}

/// The notes of this library in a file.
fn notes(file: &Path) -> Result<Vec<Note>, Failed> {
    let output = run(Command::new("readelf").args(["-W", "--notes"]).arg(file))?;
    let text = String::from_utf8(output.stdout)?;
    let mut notes = Vec::new();
    for note in text.split("Provider: ").skip(1) {
        let field = |name: &str| -> Option<&str> {
            let (_, rest) = note.split_once(name)?;
            rest.split([',', '\n']).next().map(str::trim)
        };
        let number = |name| -> Result<u64, Failed> {
            let text = field(name).and_then(|text| text.strip_prefix("0x"));
            Ok(u64::from_str_radix(
                text.ok_or_else(|| format!("{name}: {note}"))?,
                16,
            )?)
        };
        if !note.starts_with("unixipc\n") {
            continue;
        }
        notes.push(Note {
            name: field("Name: ").ok_or("no name")?.into(),
            address: number("Location: ")?,
            base: number("Base: ")?,
            semaphore: number("Semaphore: ")?,
            arguments: field("Arguments: ")
                .unwrap_or("")
                .split_whitespace()
                .count(),
        });
    }
    if notes.is_empty() {
        return Err(format!("no notes in {}", file.display()).into());
    }
    Ok(notes)
}

fn library() -> Result<PathBuf, Failed> {
    Ok(stage::prefix()?.join("lib/libunixipc.so").canonicalize()?)
}

/// A line of `readelf --sections`: address and flags.
fn section(file: &Path, name: &str) -> Result<Option<(u64, String)>, Failed> {
    let output = run(Command::new("readelf").args(["-W", "--sections"]).arg(file))?;
    let text = String::from_utf8(output.stdout)?;
    for line in text.lines() {
        let Some((_, rest)) = line.split_once(']') else {
            continue;
        };
        // Name Type Address Offset Size EntSize Flags ..., and the flags may be missing.
        let fields: Vec<&str> = rest.split_whitespace().collect();
        if fields.first() == Some(&name) {
            let flags = if fields.len() > 9 { fields[6] } else { "" };
            return Ok(Some((u64::from_str_radix(fields[2], 16)?, flags.into())));
        }
    }
    Ok(None)
}

/// The table of doc/probes.md: each probe and the number of its arguments.
fn table() -> Result<BTreeMap<String, usize>, Failed> {
    let text = fs::read_to_string(root().join("doc/probes.md"))?;
    let mut probes = BTreeMap::new();
    for line in text.lines().filter(|line| line.starts_with("| `")) {
        let columns: Vec<&str> = line.split('|').map(str::trim).collect();
        let arguments = columns[2].matches('`').count() / 2;
        probes.insert(columns[1].trim_matches('`').to_owned(), arguments);
    }
    Ok(probes)
}

fn documented() -> Result<(), Failed> {
    let mut found = BTreeMap::new();
    for note in notes(&library()?)? {
        let name = note.name;
        if let Some(before) = found.insert(name.clone(), note.arguments)
            && before != note.arguments
        {
            return Err(format!("{name} has {before} or {} arguments", note.arguments).into());
        }
    }
    let documented = table()?;
    if found == documented {
        return Ok(());
    }
    Err(format!("the library has {found:?}, and doc/probes.md {documented:?}").into())
}

/// The addresses of the `nop` instructions of a file.
fn nop_addresses(file: &Path) -> Result<BTreeSet<u64>, Failed> {
    let output = run(Command::new("objdump")
        .args(["--disassemble", "--no-show-raw-insn", "--section=.text"])
        .arg(file))?;
    let text = String::from_utf8(output.stdout)?;
    let mut addresses = BTreeSet::new();
    for line in text.lines() {
        if let Some((address, instruction)) = line.trim_start().split_once(":\t")
            && instruction.trim() == "nop"
        {
            addresses.insert(u64::from_str_radix(address, 16)?);
        }
    }
    Ok(addresses)
}

/// A tracer replaces an instruction, which must be one that does nothing. Without a semaphore, the
/// code does not ask whether a tracer is there.
fn nops() -> Result<(), Failed> {
    check_nops(&library()?)
}

fn check_nops(file: &Path) -> Result<(), Failed> {
    let nops = nop_addresses(file)?;
    let base = section(file, ".stapsdt.base")?.ok_or("no base section")?.0;
    for note in notes(file)? {
        let (name, address) = (&note.name, note.address);
        // Tracers move the address by the difference between the section and the base.
        if note.base != base {
            return Err(format!("{name}: the base is {:#x}, and not {base:#x}", note.base).into());
        }
        if !nops.contains(&address) {
            return Err(format!("{name}: no nop at {address:#x}").into());
        }
        if note.semaphore != 0 {
            return Err(format!("{name} has a semaphore").into());
        }
    }
    Ok(())
}

/// The archive keeps the notes. Its sections are combined with those of other libraries: the C
/// library and an object of the program have probes of their own.
fn static_program() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let program = directory.path().join("program");
    let other = root().join("tests/probes/other.c");
    let source = root().join("tests/probes/program.c");
    for sources in [[&*other, &*source], [&*source, &*other]] {
        // The linker keeps the order.
        stage::compile(
            "cc",
            stage::prefix()?,
            Link::Static,
            &["-pthread"],
            &sources,
            &program,
        )?;
        check_nops(&program)?;
        let names = |notes: Vec<Note>| -> BTreeSet<String> {
            notes.into_iter().map(|note| note.name).collect()
        };
        let (found, expected) = (names(notes(&program)?), table()?.into_keys().collect());
        if found != expected {
            return Err(format!("the program has {found:?}, and not {expected:?}").into());
        }
    }
    Ok(())
}

fn not_loaded() -> Result<(), Failed> {
    match section(&library()?, ".note.stapsdt")? {
        Some((0, flags)) if !flags.contains('A') => Ok(()),
        other => Err(format!(".note.stapsdt: {other:?}").into()),
    }
}
