//! The subjects, which are the programs that measure: their rows and their output.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::plan::test_named;
use crate::run::run;
use crate::stats::{Histogram, tenths};

/// A program in the directory of subjects.
pub struct Subject {
    pub name: String,
    pub path: PathBuf,
    pub version: String,
    pub rows: Vec<Row>,
}

/// A row of a subject: something that it can measure.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    pub variant: String,
    pub test: String,
    pub title: String,
    pub flags: String,
    pub max: Option<u64>,
}

/// Returns the subjects in the directory, sorted by name, and errors of subjects that do not work.
pub fn find(directory: &Path) -> std::io::Result<(Vec<Subject>, Vec<String>)> {
    let mut subjects = Vec::new();
    let mut faults = Vec::new();
    let mut entries: Vec<_> = fs::read_dir(directory)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let meta = fs::metadata(&path)?;
        let Ok(name) = entry.file_name().into_string() else {
            continue;
        };
        // The directory also contains object files.
        if !meta.is_file() || meta.permissions().mode() & 0o111 == 0 || name.contains('.') {
            continue;
        }
        let ask = |what| run(Command::new(&path).arg(what), Duration::from_secs(10));
        match (ask("version"), ask("list")) {
            (Ok(version), Ok(list)) => {
                let (rows, wrong) = parse_list(&list);
                faults.extend(
                    wrong
                        .into_iter()
                        .map(|fault| format!("{name} list: {fault}")),
                );
                subjects.push(Subject {
                    version: version.trim().to_owned(),
                    name,
                    path,
                    rows,
                });
            }
            (Err(fault), _) => faults.push(format!("{name} version: {fault}")),
            (_, Err(fault)) => faults.push(format!("{name} list: {fault}")),
        }
    }
    Ok((subjects, faults))
}

/// Returns the rows, and errors for the lines that are malformed.
fn parse_list(list: &str) -> (Vec<Row>, Vec<String>) {
    let mut rows: Vec<Row> = Vec::new();
    let mut faults = Vec::new();
    for line in list.lines().filter(|line| !line.is_empty()) {
        match parse_row(line) {
            Ok(row)
                if rows
                    .iter()
                    .any(|other| other.variant == row.variant && other.test == row.test) =>
            {
                faults.push(format!("duplicate: {line:?}"));
            }
            Ok(row) => rows.push(row),
            Err(fault) => faults.push(format!("{fault}: {line:?}")),
        }
    }
    (rows, faults)
}

fn parse_row(line: &str) -> Result<Row, String> {
    let columns: Vec<&str> = line.split('\t').map(str::trim).collect();
    let [variant, test, title, rest @ ..] = columns.as_slice() else {
        return Err("fewer than three columns".into());
    };
    if variant.is_empty() || title.is_empty() {
        return Err("an empty column".into());
    }
    if test_named(test).is_none_or(|test| test.traced.is_some()) {
        return Err(format!("unknown test {test}"));
    }
    let flags = rest.first().copied().unwrap_or_default();
    if let Some(flag) = flags
        .split(',')
        .find(|flag| !["", "ours", "limit", "spins", "isolated"].contains(flag))
    {
        return Err(format!("unknown flag {flag}"));
    }
    let max = match rest.get(1).copied().unwrap_or_default() {
        "" => None,
        sizes => Some(
            sizes
                .strip_prefix("max=")
                .and_then(|max| max.parse().ok())
                .ok_or(format!("unknown sizes {sizes}"))?,
        ),
    };
    if rest.len() > 2 {
        return Err("more than five columns".into());
    }
    Ok(Row {
        variant: (*variant).into(),
        test: (*test).into(),
        title: (*title).into(),
        flags: flags.into(),
        max,
    })
}

/// The output of a run.
#[derive(Debug, Default, PartialEq)]
pub struct Figures {
    pub values: BTreeMap<String, f64>,
    pub histogram: Histogram,
}

const KEYS: [&str; 11] = [
    "messages",
    "operations",
    "ns",
    "cpu_ns",
    "p50_ns",
    "p99_ns",
    "p999_ns",
    "min_ns",
    "max_ns",
    "failed",
    "written",
];

/// Parses the output, and fails on every deviation from the format, so that no wrong figure gets into
/// the report.
pub fn parse_figures(output: &str, latency: bool) -> Result<Figures, String> {
    let mut figures = Figures::default();
    for line in output.lines().filter(|line| !line.trim().is_empty()) {
        let wrong = || format!("printed {line:?}");
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.as_slice() {
            ["hist", ns, count] => {
                let ns = tenths(ns).ok_or_else(wrong)?;
                let count: u64 = count.parse().map_err(|_| wrong())?;
                let sum = figures.histogram.entry(ns).or_default();
                *sum = sum.checked_add(count).ok_or_else(wrong)?;
            }
            [key, value] if KEYS.contains(key) => {
                let value: f64 = value.parse().map_err(|_| wrong())?;
                if !value.is_finite() || value < 0.0 {
                    return Err(wrong());
                }
                if figures.values.insert((*key).into(), value).is_some() {
                    return Err(format!("printed {key} twice"));
                }
            }
            _ => return Err(wrong()),
        }
    }
    let get = |key: &str| {
        figures
            .values
            .get(key)
            .copied()
            .ok_or(format!("did not print {key}"))
    };
    let done = get("messages").or_else(|_| get("operations"))?;
    if done == 0.0 || get("ns")? == 0.0 {
        return Err("did nothing in the given time".into());
    }
    if latency {
        let (p50, p99, p999) = (get("p50_ns")?, get("p99_ns")?, get("p999_ns")?);
        if p50 > p99 || p99 > p999 {
            return Err(format!(
                "printed decreasing percentiles: {p50}, {p99}, {p999}"
            ));
        }
    }
    Ok(figures)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists() {
        let (rows, faults) = parse_list(
            "stream\trate\tsocketpair, stream\n\
             mq\trate\tPOSIX queue\t\tmax=8192\n\
             channel\tlatency-poll\tchannel\tours,spins\n\
             \n",
        );
        assert!(faults.is_empty(), "{faults:?}");
        assert_eq!(rows.len(), 3);
        assert_eq!(rows[0].title, "socketpair, stream");
        assert_eq!((rows[1].max, rows[1].flags.as_str()), (Some(8192), ""));
        assert_eq!(rows[2].flags, "ours,spins");
    }

    #[test]
    fn malformed_lists() {
        for line in [
            "stream rate no tabs",
            "stream\trate",
            "stream\trate\t",
            "\trate\ttitle",
            "stream\tspeed\ttitle",
            "stream\tcalls-rate\ttitle",
            "stream\trate\ttitle\tfast",
            "stream\trate\ttitle\t\tmin=8",
            "stream\trate\ttitle\t\tmax=8k",
            "stream\trate\ttitle\t\tmax=8\tmore",
        ] {
            let (rows, faults) = parse_list(line);
            assert!(rows.is_empty() && faults.len() == 1, "{line:?}: {rows:?}");
        }
        let (rows, faults) = parse_list("a\trate\tt\na\trate\tu\nb\trate\tv\n");
        assert_eq!((rows.len(), faults.len()), (2, 1));
    }

    #[test]
    fn figures() {
        let figures = parse_figures(
            "messages 10\nns 1000\ncpu_ns 1900\np50_ns 49.5\np99_ns 60\np999_ns 60\n\
             hist 40 9\nhist 60.5 1\n",
            true,
        )
        .unwrap();
        assert_eq!(figures.values["p50_ns"], 49.5);
        assert_eq!(figures.histogram, Histogram::from([(400, 9), (605, 1)]));
        assert!(parse_figures("operations 5\nns 10\nfailed 0\nwritten 3\n", false).is_ok());
    }

    #[test]
    fn malformed_figures() {
        for (output, latency, why) in [
            ("", false, "did not print"),
            ("messages 10\n", false, "did not print ns"),
            ("messages 0\nns 10\n", false, "did nothing"),
            ("messages 1\nns 0\n", false, "did nothing"),
            ("messages 1\nmessages 1\nns 10\n", false, "twice"),
            ("messages 1\nns -1\n", false, "printed"),
            ("messages 1\nns nan\n", false, "printed"),
            ("messages 1\nns inf\n", false, "printed"),
            ("messages 1\nns 1 2\n", false, "printed"),
            ("messages 1\nns\n", false, "printed"),
            ("messages 1\nns 1\nspeed 3\n", false, "printed"),
            ("messages 1\nns 1\nhist 3\n", false, "printed"),
            ("messages 1\nns 1\nhist 3 -1\n", false, "printed"),
            ("messages 1\nns 1\nhist -3 1\n", false, "printed"),
            (
                "messages 1\nns 1\nhist 1 18446744073709551615\nhist 1 1\n",
                false,
                "printed",
            ),
            ("messages 1\nns 1\n", true, "did not print p50_ns"),
            (
                "messages 1\nns 1\np50_ns 3\np99_ns 2\np999_ns 4\n",
                true,
                "decreasing",
            ),
        ] {
            let error = parse_figures(output, latency).unwrap_err();
            assert!(error.contains(why), "{output:?}: {error}");
        }
    }
}
