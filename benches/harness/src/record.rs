//! The results of a run, and their file, results.csv.

use std::io::{self, Read, Write};

use serde::{Deserialize, Serialize};

use crate::stats::{Histogram, histogram_from_text};

/// The result of one run. Repetition 0 means that there was no run; `error` is the reason.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub test: String,
    pub subject: String,
    pub variant: String,
    pub title: String,
    pub flags: String,
    pub len: u64,
    pub cores: String,
    pub n: u64,
    pub repetition: u32,
    pub error: String,
    pub messages: Option<f64>,
    pub operations: Option<f64>,
    pub ns: Option<f64>,
    pub cpu_ns: Option<f64>,
    pub p50_ns: Option<f64>,
    pub p99_ns: Option<f64>,
    pub p999_ns: Option<f64>,
    pub min_ns: Option<f64>,
    pub max_ns: Option<f64>,
    pub failed: Option<f64>,
    pub written: Option<f64>,
    /// System calls per message, and the names of the most frequent calls.
    pub calls: Option<f64>,
    pub which_calls: String,
    /// The share of the CPU time that other processes used during the run.
    pub others: Option<f64>,
    /// The number of involuntary context switches of the run's processes.
    pub preempted: Option<f64>,
    pub histogram: String,
}

/// Records with the same key are repetitions of the same measurement.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub test: String,
    pub len: u64,
    pub cores: String,
    pub n: u64,
    pub subject: String,
    pub variant: String,
}

impl Record {
    pub fn key(&self) -> Key {
        Key {
            test: self.test.clone(),
            len: self.len,
            cores: self.cores.clone(),
            n: self.n,
            subject: self.subject.clone(),
            variant: self.variant.clone(),
        }
    }

    pub fn has_flag(&self, flag: &str) -> bool {
        self.flags.split(',').any(|other| other == flag)
    }

    pub fn has_failed(&self) -> bool {
        self.repetition > 0 && !self.error.is_empty()
    }

    fn done(&self) -> Option<f64> {
        self.messages.or(self.operations)
    }

    /// The cost of a message or an operation; less is better. Nanoseconds, or a number of system calls
    /// in a test that counts them.
    pub fn cost(&self) -> Option<f64> {
        self.calls.or_else(|| self.each(self.ns))
    }

    /// The figure per message or operation.
    pub fn each(&self, figure: Option<f64>) -> Option<f64> {
        Some(figure? / self.done()?)
    }

    pub fn histogram(&self) -> Histogram {
        histogram_from_text(&self.histogram).unwrap_or_default()
    }
}

/// Properties of a whole run in a fixed order: the machine, the time, the versions.
pub type Facts = Vec<(String, String)>;

/// A writer of results.csv, which flushes each record.
pub struct Writer<W: Write> {
    csv: csv::Writer<W>,
}

impl<W: Write> Writer<W> {
    /// Writes the facts as comments at the beginning of the file.
    pub fn new(mut to: W, facts: &Facts) -> io::Result<Self> {
        for (name, value) in facts {
            writeln!(to, "# {name}: {}", value.replace(['\n', '\r'], " "))?;
        }
        Ok(Writer {
            csv: csv::Writer::from_writer(to),
        })
    }

    pub fn add(&mut self, record: &Record) -> io::Result<()> {
        self.csv.serialize(record)?;
        self.csv.flush()
    }
}

/// Reads a file that a `Writer` has written.
pub fn read(mut from: impl Read) -> Result<(Facts, Vec<Record>), String> {
    let mut text = String::new();
    from.read_to_string(&mut text)
        .map_err(|error| error.to_string())?;
    let facts = text
        .lines()
        .filter_map(|line| line.strip_prefix("# ")?.split_once(": "))
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect();
    let records = csv::ReaderBuilder::new()
        .comment(Some(b'#'))
        .from_reader(text.as_bytes())
        .deserialize()
        .collect::<Result<Vec<Record>, _>>()
        .map_err(|error| error.to_string())?;
    if records.is_empty() {
        return Err("the file has no results".into());
    }
    Ok((facts, records))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn write_and_read() {
        let facts: Facts = vec![("processor".into(), "a, b: \"c\"".into())];
        let record = Record {
            test: "rate".into(),
            title: "stream, \"quoted\"".into(),
            error: "two\nlines".into(),
            len: 8,
            repetition: 2,
            messages: Some(10.0),
            ns: Some(12.5),
            histogram: "1:2 3:4".into(),
            ..Record::default()
        };
        let mut file = Vec::new();
        let mut writer = Writer::new(&mut file, &facts).unwrap();
        writer.add(&record).unwrap();
        writer.add(&Record::default()).unwrap();
        drop(writer);
        let (facts_read, records) = read(file.as_slice()).unwrap();
        assert_eq!(facts_read, facts);
        assert_eq!(records, [record, Record::default()]);
        assert_eq!(records[0].cost(), Some(1.25));
        assert_eq!(records[1].cost(), None);
    }

    #[test]
    fn malformed_files() {
        assert!(read(&b""[..]).is_err());
        assert!(read(&b"# a: b\n"[..]).is_err());
        assert!(read(&b"a,b\n1,2\n"[..]).is_err());
        assert!(read(&b"\xff\xfe"[..]).is_err());
    }
}
