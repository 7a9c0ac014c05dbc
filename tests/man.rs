//! The manual pages: every function has a page that matches the header, renders without
//! warnings, and has examples that compile and run.

use common::header::{self, Function};
use common::isolated::{apply, isolated};
use common::needs;
use common::stage::{self, Link};
use common::{root, run, text};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

/// The sections that every page of a function has, in this order; other sections may stand between
/// them.
const SECTIONS: [&str; 9] = [
    "NAME",
    "LIBRARY",
    "SYNOPSIS",
    "DESCRIPTION",
    "RETURN VALUE",
    "ERRORS",
    "ATTRIBUTES",
    "EXAMPLES",
    "SEE ALSO",
];
/// The rows of the table under ATTRIBUTES that each function has.
const ATTRIBUTES: [&str; 3] = ["Thread safety", "Async-signal safety", "After fork"];
/// Characters that a formatter replaces unless they are escaped, so that code copied from the
/// page would not compile.
const REPLACED: [char; 5] = ['-', '\'', '`', '^', '~'];
const OVERVIEW: &str = "unixipc.7";
/// The page of the C++ header, which is not one of functions.
const CXX: &str = "unixipc.hpp.3";
const WARNINGS: [&str; 4] = ["-Wall", "-Wextra", "-Wpedantic", "-Werror"];

fn main() -> ExitCode {
    common::isolated::main_after(|| {
        if needs::c_compiler().is_none() {
            stage::prefix().expect("make stage");
        }
    })
}

/// A page that is not an alias.
struct Page {
    /// For example `ipc_semop.3`.
    file: String,
    source: String,
}

impl Page {
    fn open(file: &str) -> Self {
        Self {
            file: file.into(),
            source: fs::read_to_string(directory().join(file))
                .unwrap_or_else(|error| panic!("man/{file}: {error}")),
        }
    }

    /// The file name without its suffix.
    fn name(&self) -> &str {
        self.file.rsplit_once('.').unwrap().0
    }

    /// The names of the sections and their lines.
    fn sections(&self) -> Vec<(String, Vec<&str>)> {
        let mut sections = Vec::new();
        for line in self.source.lines() {
            if line.starts_with(".SH ") {
                sections.push((plain(line), Vec::new()));
            } else if let Some((_, lines)) = sections.last_mut() {
                lines.push(line);
            }
        }
        sections
    }

    fn section(&self, name: &str) -> Vec<&str> {
        let mut sections = self.sections().into_iter();
        sections
            .find(|(section, _)| section == name)
            .unwrap_or_else(|| panic!("{} has no section {name}", self.file))
            .1
    }

    /// The text of a section, as one line.
    fn section_text(&self, name: &str) -> String {
        self.section(name)
            .into_iter()
            .map(plain)
            .collect::<Vec<_>>()
            .join(" ")
    }

    /// The functions that the NAME section lists.
    fn functions(&self) -> Vec<String> {
        let text = self.section_text("NAME");
        let (names, _) = text
            .split_once(" - ")
            .unwrap_or_else(|| panic!("{}: NAME has no dash", self.file));
        names.split(", ").map(|name| name.trim().into()).collect()
    }

    /// The entries of ERRORS: the errors of each tag, and their description.
    fn errors(&self) -> Vec<(Vec<String>, String)> {
        let mut entries: Vec<(Vec<String>, String)> = Vec::new();
        let mut lines = self.section("ERRORS").into_iter();
        while let Some(line) = lines.next() {
            if line.starts_with(".TP") {
                let tag = plain(lines.next().expect("a tag"));
                let names: Vec<String> = tag.split(", ").map(String::from).collect();
                for name in &names {
                    assert!(header::is_errno(name), "{}: ERRORS has {name:?}", self.file);
                }
                entries.push((names, String::new()));
            } else if let Some((_, said)) = entries.last_mut() {
                *said += &format!("{} ", plain(line));
            }
        }
        entries
    }

    /// The programs under EXAMPLES.
    fn programs(&self) -> Vec<String> {
        let mut programs = Vec::new();
        let mut lines = self.section("EXAMPLES").into_iter();
        while lines.by_ref().any(|line| line == ".EX") {
            let code: Vec<&str> = lines.by_ref().take_while(|line| *line != ".EE").collect();
            for line in &code {
                let bare = line.replace("\\-", "");
                assert!(
                    !bare.contains(REPLACED) && !bare.starts_with('.'),
                    "{}: one of {REPLACED:?} or a leading dot is not escaped in {line:?}",
                    self.file
                );
            }
            let program: String = code.into_iter().map(|line| plain(line) + "\n").collect();
            if program.contains("main(") {
                programs.push(program);
            }
        }
        programs
    }
}

fn directory() -> PathBuf {
    root().join("man")
}

/// The files in man/; for an alias, with the file that it includes.
fn files() -> BTreeMap<String, Option<String>> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(directory()).unwrap() {
        let file = entry.unwrap().file_name().into_string().unwrap();
        let source = fs::read_to_string(directory().join(&file)).unwrap();
        let alias = source.strip_prefix(".so man3/").map(|target| {
            let target = target.strip_suffix('\n').unwrap_or_default();
            assert!(!target.contains('\n'), "{file} is not only an alias");
            target.into()
        });
        files.insert(file, alias);
    }
    files
}

/// All pages with these suffixes, except aliases.
fn pages(suffixes: &[&str]) -> Vec<Page> {
    files()
        .into_iter()
        .filter(|(file, alias)| {
            alias.is_none() && suffixes.iter().any(|suffix| file.ends_with(suffix))
        })
        .map(|(file, _)| Page::open(&file))
        .collect()
}

fn function_pages() -> Vec<Page> {
    let mut pages = pages(&[".3"]);
    pages.retain(|page| page.file != CXX);
    pages
}

/// The functions that the shared library exports.
fn exports() -> BTreeSet<String> {
    let map = fs::read_to_string(root().join("packaging/unixipc.map")).unwrap();
    let exports: BTreeSet<String> = map
        .split_whitespace()
        .filter_map(|word| word.strip_suffix(';'))
        .filter(|word| word.starts_with("ipc_"))
        .map(String::from)
        .collect();
    assert!(!exports.is_empty());
    exports
}

/// The declarations in the header of the functions of a page.
fn declared(page: &Page) -> Vec<Function> {
    let names = page.functions();
    let mut functions = header::functions();
    functions.retain(|function| names.contains(&function.name));
    assert_eq!(
        functions.len(),
        names.len(),
        "{}: not all of {names:?} are in the header",
        page.file
    );
    functions
}

/// The text of a line of a page: without macros, fonts and escapes.
fn plain(line: &str) -> String {
    if line.starts_with("'\\\"") {
        return String::new(); // the line that names the preprocessors
    }
    let Some(request) = line.strip_prefix('.') else {
        return unescape(line);
    };
    let (name, arguments) = request.split_once(' ').unwrap_or((request, ""));
    let between = match name {
        "B" | "I" | "SH" | "SS" | "IP" => " ",
        "BI" | "BR" | "IB" | "IR" | "RB" | "RI" => "",
        _ => return String::new(),
    };
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in arguments.chars() {
        match c {
            '"' => quoted = !quoted,
            // A space after a backslash is part of the word.
            ' ' if !quoted && !words.last().unwrap().ends_with('\\') => words.push(String::new()),
            _ => words.last_mut().unwrap().push(c),
        }
    }
    unescape(&words.join(between))
}

fn unescape(text: &str) -> String {
    const ESCAPES: [(&str, &str); 10] = [
        ("-", "-"),
        ("e", "\\"),
        (" ", " "),
        ("(aq", "'"),
        ("(dq", "\""),
        ("(bu", "*"),
        ("fB", ""),
        ("fI", ""),
        ("fP", ""),
        ("fR", ""),
    ];
    let mut parts = text.split('\\');
    let mut plain = parts.next().unwrap_or_default().to_string();
    for part in parts {
        let known = ESCAPES
            .into_iter()
            .find_map(|(escape, meaning)| Some((meaning, part.strip_prefix(escape)?)));
        let (meaning, rest) = known.unwrap_or_else(|| panic!("unknown escape: \\{part}"));
        plain += meaning;
        plain += rest;
    }
    plain
}

/// The words of a text that look like function names, except page names of section 7.
fn function_words(text: &str) -> BTreeSet<&str> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_';
    text.match_indices("ipc_")
        .filter(|(at, _)| !text[..*at].ends_with(is_name))
        // The name of a structure is not a function.
        .filter(|(at, _)| !text[..*at].trim_end().ends_with("struct"))
        .map(|(at, _)| {
            text[at..].split_at(text[at..].find(|c| !is_name(c)).unwrap_or(text.len() - at))
        })
        .filter(|(word, rest)| *word != "ipc_" && !rest.starts_with("(7)"))
        .map(|(word, _)| word)
        .collect()
}

#[track_caller]
fn none(problems: Vec<String>) {
    assert!(problems.is_empty(), "\n{}", problems.join("\n"));
}

#[apply(isolated)]
fn functions_have_pages() {
    let files = files();
    let mut problems = Vec::new();
    for function in exports() {
        let file = format!("{function}.3");
        let page = match files.get(&file) {
            None => {
                problems.push(format!("man/{file} is missing"));
                continue;
            }
            Some(alias) => alias.as_ref().unwrap_or(&file),
        };
        if !matches!(files.get(page), Some(None)) {
            problems.push(format!("man/{file}: {page} is not a page"));
        } else if !Page::open(page).functions().contains(&function) {
            problems.push(format!("man/{page} does not have {function} in NAME"));
        }
    }
    none(problems);
}

#[apply(isolated)]
fn pages_have_functions() {
    let exports = exports();
    let files = files();
    let mut problems = Vec::new();
    for file in files
        .keys()
        .filter(|file| file.ends_with(".3") && *file != CXX)
    {
        let function = file.strip_suffix(".3");
        if !function.is_some_and(|function| exports.contains(function)) {
            problems.push(format!("man/{file}: its function is not exported"));
        }
    }
    for page in function_pages() {
        for function in page.functions() {
            let alias = files.get(&format!("{function}.3"));
            let leads_here = function == page.name()
                || matches!(alias, Some(Some(target)) if *target == page.file);
            if !exports.contains(&function) || !leads_here {
                problems.push(format!(
                    "man/{}: {function} is not exported, or has another page",
                    page.file
                ));
            }
        }
    }
    none(problems);
}

#[apply(isolated)]
fn sections() {
    let mut problems = Vec::new();
    for page in function_pages() {
        let mut sections = page.sections().into_iter();
        for name in SECTIONS {
            match sections.find(|(section, _)| section == name) {
                Some((_, lines)) if lines.is_empty() => {
                    problems.push(format!("man/{}: {name} is empty", page.file));
                }
                Some(_) => {}
                None => {
                    problems.push(format!(
                        "man/{}: {name} is missing or out of order",
                        page.file
                    ));
                    break;
                }
            }
        }
    }
    none(problems);
}

#[apply(isolated)]
fn versions() {
    let mut problems = Vec::new();
    for page in pages(&[".1", ".3", ".7"]) {
        let (name, section) = page.file.rsplit_once('.').unwrap();
        let title = page.source.lines().find(|line| line.starts_with(".TH "));
        let words: Vec<&str> = title.unwrap_or_default().splitn(5, ' ').collect();
        let version = concat!(
            "\"unixipc ",
            env!("CARGO_PKG_VERSION"),
            "\" \"unixipc Manual\""
        );
        let right = matches!(words[..], [_, n, s, date, rest]
            if n == name.to_uppercase() && s == section && date.len() == 10 && rest == version);
        if !right {
            problems.push(format!("man/{}: {title:?}", page.file));
        }
    }
    none(problems);
}

#[apply(isolated)]
fn prototypes() {
    let mut problems = Vec::new();
    for page in function_pages() {
        let synopsis: String = page
            .section("SYNOPSIS")
            .into_iter()
            .map(plain)
            .filter(|line| !line.starts_with('#'))
            .collect::<Vec<_>>()
            .join(" ");
        let said: BTreeSet<String> = synopsis
            .split(';')
            .map(header::one_line)
            .filter(|prototype| !prototype.is_empty())
            .collect();
        let right: BTreeSet<String> = declared(&page)
            .into_iter()
            .map(|function| function.prototype)
            .collect();
        if said != right {
            problems.push(format!(
                "man/{}: {said:#?}\nthe header: {right:#?}",
                page.file
            ));
        }
    }
    none(problems);
}

#[apply(isolated)]
fn errors() {
    let mut problems = Vec::new();
    for page in function_pages() {
        let said: BTreeSet<String> = page
            .errors()
            .into_iter()
            .flat_map(|(names, _)| names)
            .collect();
        let right: BTreeSet<String> = declared(&page)
            .into_iter()
            .flat_map(|function| function.errnos)
            .collect();
        for name in said.symmetric_difference(&right) {
            let place = if right.contains(name) {
                "only in the header:"
            } else {
                "only in the page:"
            };
            problems.push(format!("man/{}: {place} {name}", page.file));
        }
    }
    none(problems);
}

#[apply(isolated)]
fn attributes() {
    let mut problems = Vec::new();
    for page in function_pages() {
        let lines = page.section("ATTRIBUTES");
        for function in page.functions() {
            for attribute in ATTRIBUTES {
                let row = format!("{function}();{attribute};");
                if !lines.iter().any(|line| line.starts_with(&row)) {
                    problems.push(format!("man/{}: no row {row}", page.file));
                }
            }
        }
    }
    none(problems);
}

#[apply(isolated)]
fn overview_functions() {
    let overview = Page::open(OVERVIEW);
    let lines = overview.section("FUNCTIONS");
    let problems = exports()
        .into_iter()
        .map(|function| format!(".BR {function} (3)"))
        .filter(|entry| !lines.contains(&entry.as_str()))
        .map(|entry| format!("man/{OVERVIEW} has no entry {entry:?}"))
        .collect();
    none(problems);
}

/// The overview explains each error that a function sets, once, and no other.
#[apply(isolated)]
fn overview_errors() {
    let mut explained: Vec<String> = Page::open(OVERVIEW)
        .errors()
        .into_iter()
        .filter(|(_, said)| !said.trim().is_empty())
        .flat_map(|(names, _)| names)
        .collect();
    explained.sort();
    let set: BTreeSet<String> = header::functions()
        .into_iter()
        .flat_map(|function| function.errnos)
        .collect();
    assert_eq!(explained, Vec::from_iter(set), "man/{OVERVIEW}: ERRORS");
}

#[apply(isolated)]
fn references() {
    let exports = exports();
    let mut problems = Vec::new();
    for page in pages(&[".1", ".3", ".7"]) {
        for line in page.source.lines().map(plain) {
            for word in function_words(&line) {
                if !exports.contains(word) {
                    problems.push(format!("man/{}: {word} does not exist", page.file));
                }
            }
        }
    }
    none(problems);
}

#[apply(isolated)]
#[needs(needs::c_compiler)]
fn examples() {
    for page in function_pages() {
        for program in run_examples(&page, "cc", "-std=c11") {
            for function in page.functions() {
                assert!(
                    program.contains(&format!("{function}(")),
                    "man/{}: the program does not call {function}",
                    page.file
                );
            }
        }
    }
}

#[apply(isolated)]
#[needs(needs::cxx_compiler)]
fn cxx_examples() {
    run_examples(&Page::open(CXX), "c++", "-std=c++17");
}

/// Compiles and runs the programs of a page, and returns them.
fn run_examples(page: &Page, compiler: &str, standard: &str) -> Vec<String> {
    let programs = page.programs();
    assert!(!programs.is_empty(), "man/{} has no program", page.file);
    for program in &programs {
        if let Err(failed) = run_example(program, compiler, standard) {
            panic!("man/{}: {}", page.file, failed.message().unwrap_or("?"));
        }
    }
    programs
}

/// A program runs in an empty directory, and must leave it empty.
fn run_example(program: &str, compiler: &str, standard: &str) -> Result<(), libtest_mimic::Failed> {
    let build = tempfile::tempdir()?;
    let source = build.path().join(if compiler == "cc" {
        "example.c"
    } else {
        "example.cc"
    });
    let binary = build.path().join("example");
    fs::write(&source, program)?;
    let prefix = stage::prefix()?;
    let flags = [&[standard], &WARNINGS[..]].concat();
    stage::compile(compiler, prefix, Link::Shared, &flags, &[&source], &binary)?;

    let place = tempfile::tempdir()?;
    let output = run(Command::new(binary).current_dir(place.path()))?;
    if output.stdout.is_empty() || !output.stderr.is_empty() {
        return Err(format!("unexpected output: {:?}", text(&output)).into());
    }
    match fs::read_dir(place.path())?.next() {
        None => Ok(()),
        Some(file) => Err(format!("the program left {:?} behind", file?.file_name()).into()),
    }
}

/// Runs a formatter on each page; it must not print a warning.
fn silent(formatter: &[&str], shows_text: bool) {
    let mut problems = Vec::new();
    for page in pages(&[".1", ".3", ".7"]) {
        let mut command = Command::new(formatter[0]);
        command
            .args(&formatter[1..])
            .arg(&page.file)
            .current_dir(directory());
        let output = command.output().unwrap();
        let complaints = String::from_utf8_lossy(if shows_text {
            &output.stderr
        } else {
            &output.stdout
        });
        if !output.status.success() || !complaints.is_empty() {
            problems.push(format!("{command:?}: {}\n{complaints}", output.status));
        }
        for function in page.functions() {
            if shows_text && !text(&output).contains(&function) {
                problems.push(format!("{command:?} does not show {function}"));
            }
        }
    }
    none(problems);
}

// Aliases are not checked: `mandoc` always warns about a .so request, and finds the included page
// only if the pages are installed.
#[apply(isolated)]
#[needs(needs::mandoc)]
fn mandoc() {
    silent(&["mandoc", "-T", "lint", "-W", "style"], false);
    silent(&["mandoc", "-T", "ascii", "-O", "width=200"], true);
}

#[apply(isolated)]
#[needs(needs::groff)]
fn groff() {
    silent(&["groff", "-man", "-t", "-T", "utf8", "-ww", "-P-c"], true);
}
