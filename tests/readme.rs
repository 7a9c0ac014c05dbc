//! The READMEs: the English and the Chinese one have the same structure, every relative link leads
//! to a file, and the first program prints what they say.

use common::{root, run, stage};
use std::fs;
use std::path::Path;
use std::process::Command;

const ENGLISH: &str = "README.md";
const CHINESE: &str = "README.zh-CN.md";
const COSTS: &str = "benches/COSTS.md";

/// The parts of a Markdown file that the tests compare.
#[derive(Default)]
struct Document {
    /// The level of each heading.
    headings: Vec<usize>,
    blocks: Vec<Block>,
    /// The targets of links and pictures.
    links: Vec<String>,
}

/// A fenced code block.
#[derive(Debug, PartialEq)]
struct Block {
    language: String,
    code: String,
}

impl Document {
    fn read(name: &str) -> Document {
        let text = fs::read_to_string(root().join(name)).expect(name);
        let mut document = Document::default();
        let mut open: Option<Block> = None;
        for line in text.lines() {
            match (line.strip_prefix("```"), &mut open) {
                (Some(language), None) => {
                    open = Some(Block {
                        language: language.into(),
                        code: String::new(),
                    });
                }
                (Some(_), Some(_)) => document.blocks.extend(open.take()),
                (None, Some(block)) => block.code += &format!("{line}\n"),
                (None, None) => document.read_line(line),
            }
        }
        assert!(open.is_none(), "{name}: the last code block has no end");
        document
    }

    /// A line outside code blocks.
    fn read_line(&mut self, line: &str) {
        let level = line.bytes().take_while(|byte| *byte == b'#').count();
        if level > 0 && line[level..].starts_with(' ') {
            self.headings.push(level);
        }
        let targets = line.split("](").skip(1);
        self.links
            .extend(targets.map(|rest| rest.split(')').next().unwrap_or(rest).into()));
    }

    /// The first block of a language.
    fn block(&self, language: &str) -> &str {
        let found = self.blocks.iter().find(|block| block.language == language);
        &found.expect(language).code
    }
}

/// Each file links to the other one first.
#[test]
fn both_have_the_same_structure() {
    let [english, chinese] = [ENGLISH, CHINESE].map(Document::read);
    assert_eq!(english.headings, chinese.headings);
    assert_eq!(english.blocks.len(), chinese.blocks.len());
    for (block, translated) in english.blocks.iter().zip(&chinese.blocks) {
        assert_eq!(block, translated);
    }
    assert_eq!(english.links[0], CHINESE);
    assert_eq!(chinese.links[0], ENGLISH);
    assert_eq!(english.links[1..], chinese.links[1..]);
}

#[test]
fn every_relative_link_leads_to_a_file() {
    let mut broken = Vec::new();
    for name in [ENGLISH, CHINESE, COSTS] {
        let file = root().join(name);
        let directory = file.parent().unwrap_or(root());
        let links = Document::read(name).links;
        assert!(!links.is_empty(), "{name} has no links");
        for link in links.iter().filter(|link| !link.contains("://")) {
            let path = link.split('#').next().unwrap_or(link);
            if !directory.join(path).is_file() {
                broken.push(format!("{name}: {link}"));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

/// The program and the command are those that a reader copies.
#[test]
fn the_first_program_prints_what_the_readme_says() {
    let readme = Document::read(ENGLISH);
    let command = readme.block("sh");
    let source = command
        .split_whitespace()
        .find(|word| word.ends_with(".c"))
        .expect("the command compiles a C file");
    let directory = tempfile::tempdir().expect("a temporary directory");
    fs::write(directory.path().join(source), readme.block("c")).expect(source);

    let library = stage::prefix().expect("make stage").join("lib");
    let output = run(&mut shell(command, directory.path(), &library)).expect(command);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "");
    assert_eq!(
        String::from_utf8_lossy(&output.stdout),
        readme.block("text")
    );
}

/// A shell that finds the library in `library`, and stops at the first error.
fn shell(script: &str, directory: &Path, library: &Path) -> Command {
    let mut command = Command::new("sh");
    command
        .args(["-e", "-c", script])
        .current_dir(directory)
        .env("PKG_CONFIG_PATH", library.join("pkgconfig"))
        .env("LD_LIBRARY_PATH", library);
    command
}
