//! The installed library's promises to the linker, the loader and existing programs. The golden
//! files are in this directory; `make header` replaces them.

mod frozen;
mod types;

use common::{assert_golden, root, run, stage, trial_with_tools};
use libtest_mimic::{Arguments, Failed, Trial};
use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use tempfile::TempDir;

/// The maximum size of the stripped shared library.
const SIZE_LIMIT: u64 = 270 * 1024;

fn main() -> ExitCode {
    let mut trials = vec![
        trial("golden: symbols.txt lists the exported symbols", exports),
        trial("static library defines exactly the same names", archive),
        trial("header declares exactly the exported functions", header),
        trial("dynamic section", dynamic_section),
        trial("segments", segments),
        trial("undefined symbols are those of the C library", undefined),
        trial("no function can panic", no_panics),
        trial("file modes", modes),
        trial_with_tools("size", &["make", "cc", "strip"], size),
        Trial::test(
            "golden: layouts.txt lists the layouts in shared memory",
            layouts,
        ),
        types::golden_trial(),
    ];
    trials.extend(frozen::trials());
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn trial(name: &str, run: fn() -> Result<(), Failed>) -> Trial {
    trial_with_tools(name, &["make", "cc", "readelf"], run)
}

fn golden(name: &str) -> PathBuf {
    root().join("tests/abi").join(name)
}

fn shared_library() -> Result<PathBuf, Failed> {
    Ok(stage::prefix()?.join("lib/libunixipc.so").canonicalize()?)
}

fn readelf(args: &[&str], file: &Path) -> Result<String, Failed> {
    let output = run(Command::new("readelf").arg("-W").args(args).arg(file))?;
    Ok(String::from_utf8(output.stdout)?)
}

/// A line of a symbol table that readelf prints.
struct Symbol {
    name: String,
    version: String,
    binding: String,
    visibility: String,
    section: String,
}

/// The global and weak symbols of a table.
fn symbols(table: &str, file: &Path) -> Result<Vec<Symbol>, Failed> {
    let printed = readelf(&[table], file)?;
    let mut symbols = Vec::new();
    for line in printed.lines() {
        // Num: Value Size Type Bind Vis Ndx Name
        let fields: Vec<&str> = line.split_whitespace().collect();
        if fields.len() < 8 || !matches!(fields[4], "GLOBAL" | "WEAK") {
            continue;
        }
        let (name, version) = fields[7].split_once('@').unwrap_or((fields[7], ""));
        symbols.push(Symbol {
            name: name.into(),
            version: version.trim_start_matches('@').into(),
            binding: fields[4].into(),
            visibility: fields[5].into(),
            section: fields[6].into(),
        });
    }
    if symbols.is_empty() {
        return Err(format!("no symbols:\n{printed}").into());
    }
    Ok(symbols)
}

/// The symbols that the shared library exports.
fn exported() -> Result<Vec<Symbol>, Failed> {
    let mut symbols = symbols("--dyn-syms", &shared_library()?)?;
    // A version is also a symbol; it has no section.
    symbols.retain(|symbol| symbol.section != "UND" && symbol.section != "ABS");
    Ok(symbols)
}

fn exports() -> Result<(), Failed> {
    let mut lines: Vec<String> = exported()?
        .iter()
        .map(|symbol| format!("{} {}\n", symbol.name, symbol.version))
        .collect();
    lines.sort();
    assert_golden(&golden("symbols.txt"), &lines.concat())
}

/// Compares sizes, alignments and offsets: processes with different versions of the library share
/// the objects.
fn layouts() -> Result<(), Failed> {
    use unixipc::ffi::{cond::ipc_cond, event::ipc_event, mutex::ipc_mutex, rwlock::ipc_rwlock};
    use unixipc::shm::trailer;
    fn object<T>(name: &str, parts: &[&[(&str, usize)]]) -> String {
        let mut text = format!("{name} size {} align {}\n", size_of::<T>(), align_of::<T>());
        for (field, offset) in parts.concat() {
            text += &format!("    {field} at {offset}\n");
        }
        text
    }
    use unixipc::lock::{mutex::Mutex, robust_mutex::RobustMutex};
    let robust = Mutex::LAYOUT
        .iter()
        .find(|(field, _)| *field == "robust")
        .map_or(0, |(_, offset)| *offset);
    let robust = RobustMutex::LAYOUT.map(|(field, offset)| (field, robust + offset));
    let objects = [
        object::<ipc_mutex>("ipc_mutex", &[&Mutex::LAYOUT, &robust]),
        object::<ipc_rwlock>("ipc_rwlock", &[&unixipc::lock::rwlock::Rwlock::LAYOUT]),
        object::<ipc_cond>("ipc_cond", &[&unixipc::lock::cond::Cond::LAYOUT]),
        object::<ipc_event>("ipc_event", &[&unixipc::lock::event::Event::LAYOUT]),
        object::<unixipc::cell::Control>("cell", &[&unixipc::cell::Control::LAYOUT]),
    ];
    let mut layouts = objects.concat();
    layouts += &format!("the end of a region's file size {}\n", trailer::SIZE);
    for (member, offset) in trailer::LAYOUT {
        layouts += &format!("    {member} at {offset}\n");
    }
    assert_golden(&golden("layouts.txt"), &layouts)
}

fn archive() -> Result<(), Failed> {
    let mut symbols = symbols("--symbols", &stage::prefix()?.join("lib/libunixipc.a"))?;
    // The notes of all probes in a program refer to the same byte (doc/probes.md).
    let is_base =
        |symbol: &Symbol| symbol.name == "_.stapsdt.base" && symbol.visibility == "HIDDEN";
    symbols.retain(|symbol| symbol.section != "UND" && !is_base(symbol));
    let exported = names(exported()?);
    compare(
        "the archive defines",
        names(symbols),
        "the shared library exports",
        exported,
    )
}

fn header() -> Result<(), Failed> {
    let declared = stage::header_functions()?;
    compare(
        "the shared library exports",
        names(exported()?),
        "the header declares",
        declared,
    )
}

fn names(symbols: Vec<Symbol>) -> BTreeSet<String> {
    symbols.into_iter().map(|symbol| symbol.name).collect()
}

fn compare(
    one: &str,
    in_one: BTreeSet<String>,
    two: &str,
    in_two: BTreeSet<String>,
) -> Result<(), Failed> {
    if in_one == in_two {
        return Ok(());
    }
    let only_one: Vec<_> = in_one.difference(&in_two).collect();
    let only_two: Vec<_> = in_two.difference(&in_one).collect();
    Err(format!("only {one}: {only_one:?}\nonly {two}: {only_two:?}").into())
}

/// The values of the entries with this tag in the dynamic section.
fn entries(section: &str, tag: &str) -> Vec<String> {
    section
        .lines()
        .filter(|line| line.contains(&format!("({tag})")))
        .map(|line| match line.split_once('[') {
            Some((_, name)) => name.trim_end_matches(']').into(),
            None => line.split(')').next_back().unwrap_or("").trim().into(),
        })
        .collect()
}

fn dynamic_section() -> Result<(), Failed> {
    let section = readelf(&["--dynamic"], &shared_library()?)?;
    let expect = |holds: bool, what: &str| {
        if holds {
            Ok(())
        } else {
            Err(Failed::from(format!("{what}:\n{section}")))
        }
    };
    expect(
        entries(&section, "SONAME") == ["libunixipc.so.0"],
        "the soname",
    )?;
    let needed = entries(&section, "NEEDED");
    let is_libc = |name: &String| {
        ["libc.so.", "libc.musl-", "ld-linux"]
            .iter()
            .any(|start| name.starts_with(start))
    };
    expect(
        needed.iter().all(is_libc),
        "a needed library other than libc",
    )?;
    expect(
        needed.iter().any(|name| name.starts_with("libc.")),
        "libc is not needed",
    )?;
    expect(
        entries(&section, "FLAGS").concat().contains("BIND_NOW"),
        "no BIND_NOW",
    )?;
    let flags = entries(&section, "FLAGS_1").concat();
    expect(flags.contains("NOW"), "no NOW")?;
    expect(flags.contains("NODELETE"), "no NODELETE")?;
    expect(!section.contains("TEXTREL"), "text relocations")?;
    expect(entries(&section, "RPATH").is_empty(), "a search path")?;
    expect(entries(&section, "RUNPATH").is_empty(), "a search path")
}

fn segments() -> Result<(), Failed> {
    let printed = readelf(&["--segments"], &shared_library()?)?;
    // Type Offset VirtAddr PhysAddr FileSiz MemSiz Flg Align, and Flg may have spaces.
    let segments: Vec<(&str, String)> = printed
        .lines()
        .map(|line| line.split_whitespace().collect::<Vec<_>>())
        .filter(|fields| fields.len() >= 8 && fields[1].starts_with("0x"))
        .map(|fields| (fields[0], fields[6..fields.len() - 1].concat()))
        .collect();
    let stack = segments
        .iter()
        .find(|(segment_type, _)| *segment_type == "GNU_STACK");
    if stack.is_none_or(|(_, flags)| flags != "RW") {
        return Err(format!("the stack is executable:\n{printed}").into());
    }
    if !segments
        .iter()
        .any(|(segment_type, _)| *segment_type == "GNU_RELRO")
    {
        return Err(format!("no GNU_RELRO:\n{printed}").into());
    }
    if segments
        .iter()
        .any(|(_, flags)| flags.contains('W') && flags.contains('E'))
    {
        return Err(format!("a segment is writable and executable:\n{printed}").into());
    }
    Ok(())
}

fn undefined() -> Result<(), Failed> {
    let library = shared_library()?;
    let needed = entries(&readelf(&["--dynamic"], &library)?, "NEEDED");
    // musl has no symbol versions; only the loader can check the symbols.
    let is_glibc = needed.iter().any(|name| name == "libc.so.6");
    for symbol in symbols("--dyn-syms", &library)? {
        if symbol.section != "UND" || symbol.version.starts_with("GLIBC_") {
            continue;
        }
        // The compiler's start files refer to these, and do not require them.
        let optional = symbol.binding == "WEAK"
            && (symbol.name.starts_with("_ITM_") || symbol.name == "__gmon_start__");
        if !optional && (is_glibc || !symbol.version.is_empty()) {
            return Err(format!("undefined: {} {}", symbol.name, symbol.version).into());
        }
    }
    Ok(())
}

/// If a function could panic, the library would contain Rust's code for panics, which prints a
/// backtrace, reads RUST_BACKTRACE, and is larger than all else in the library.
fn no_panics() -> Result<(), Failed> {
    let library = fs::read(shared_library()?)?;
    let variable = b"RUST_BACKTRACE";
    if library.windows(variable.len()).any(|part| part == variable) {
        return Err("the library contains the code for panics".into());
    }
    Ok(())
}

fn modes() -> Result<(), Failed> {
    let library = shared_library()?;
    for file in [library.clone(), library.with_file_name("libunixipc.a")] {
        let mode = fs::metadata(&file)?.permissions().mode() & 0o7777;
        if mode != 0o644 {
            return Err(format!("{}: mode {mode:o}", file.display()).into());
        }
    }
    Ok(())
}

fn size() -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let stripped = directory.path().join("stripped.so");
    run(Command::new("strip")
        .arg("-o")
        .arg(&stripped)
        .arg(shared_library()?))?;
    let size = fs::metadata(&stripped)?.len();
    if size > SIZE_LIMIT {
        return Err(format!("{size} bytes, more than {SIZE_LIMIT}").into());
    }
    Ok(())
}
