//! The tests, their sizes, the libraries that they expect, and the plan of a run.

use crate::record::Record;
use crate::subject::Subject;

/// The kind of the table of a test.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TableKind {
    /// The time of half a round trip, with percentiles, in ns or µs.
    LatencyNs,
    LatencyUs,
    /// Messages per second, bytes per second, CPU time.
    Rate,
    /// The time of one operation.
    TimeNs,
    TimeUs,
    /// Operations per second of all processes together.
    Operations,
    /// Reads per second, and writes per second at the same time.
    Reads,
    /// System calls per message.
    Calls,
    /// A column for each n: the time of one operation, or operations per second.
    TimeByN,
    RateByN,
    /// The same for each size: the time of a message to n subscribers.
    Broadcast,
}

pub struct Test {
    pub name: &'static str,
    pub title: &'static str,
    /// The text below the title.
    pub about: &'static str,
    pub kind: TableKind,
    pub lens: &'static [u64],
    pub quick_lens: &'static [u64],
    pub cores: &'static [&'static str],
    /// If the test counts system calls: the test that runs under strace.
    pub traced: Option<&'static str>,
}

pub const TESTS: [Test; 13] = [
    Test {
        name: "latency-poll",
        title: "Half a round trip, polling",
        about: "Both processes spin until the next message arrives, on two cores.",
        kind: TableKind::LatencyNs,
        lens: &[8, 64, 4096],
        quick_lens: &[8, 4096],
        cores: &["two"],
        traced: None,
    },
    Test {
        name: "latency-block",
        title: "Half a round trip, blocking",
        about: "Each process waits for the next message in the default way of the mechanism, \
                which usually sleeps. On one core, the time includes a context switch; across \
                cores, it includes the wake-up of the other core.",
        kind: TableKind::LatencyUs,
        lens: &[8, 64, 4096],
        quick_lens: &[8, 4096],
        cores: &["one", "two"],
        traced: None,
    },
    Test {
        name: "rate",
        title: "One way",
        about: "One process sends as fast as it can and the other one receives, on two cores. A \
                mechanism that spins uses a whole core even while it waits, which the CPU time \
                shows.",
        kind: TableKind::Rate,
        // Between 1 KiB and 16 KiB, C libraries change how they copy.
        lens: &[8, 64, 1024, 2048, 3000, 4096, 8192, 16384, 65536, 1 << 20],
        quick_lens: &[8, 4096, 1 << 20],
        cores: &["two"],
        traced: None,
    },
    Test {
        name: "broadcast",
        title: "One publisher, n subscribers",
        about: "One process publishes as fast as it can, and n processes receive every message. \
                The publisher has a processor of its own, and the subscribers share the other \
                ones. Nothing may be lost, so the publisher waits for the slowest subscriber. The \
                time of a message is that of a block, until the last subscriber has received the \
                last message. If there are more subscribers than other processors, most of it is \
                the time that the subscribers take one after another; build/benches/feed measures \
                the publisher alone.",
        kind: TableKind::Broadcast,
        lens: &[64, 4096],
        quick_lens: &[64],
        cores: &["two"],
        traced: None,
    },
    Test {
        name: "calls-latency",
        title: "System calls per message, round trips on one core",
        about: "strace counts the calls and makes them slow, so a mechanism may sleep more often \
                than it does without strace.",
        kind: TableKind::Calls,
        lens: &[64],
        quick_lens: &[64],
        cores: &["one"],
        traced: Some("latency-block"),
    },
    Test {
        name: "calls-rate",
        title: "System calls per message, one way",
        about: "strace counts the calls, on two cores.",
        kind: TableKind::Calls,
        lens: &[64],
        quick_lens: &[],
        cores: &["two"],
        traced: Some("rate"),
    },
    Test {
        name: "lock",
        title: "Lock and unlock, uncontended",
        about: "One process.",
        kind: TableKind::TimeNs,
        lens: &[8],
        quick_lens: &[8],
        cores: &["one"],
        traced: None,
    },
    Test {
        name: "lock-contended",
        title: "Lock and unlock, contended",
        about: "Two processes on two cores increment a counter under the lock. An operation is a \
                pair of lock and unlock; the rate is that of both processes together.",
        kind: TableKind::Operations,
        lens: &[8],
        quick_lens: &[8],
        cores: &["two"],
        traced: None,
    },
    Test {
        name: "read",
        title: "Reading a shared value, no writer",
        about: "One process reads.",
        kind: TableKind::Reads,
        lens: &[64, 4096],
        quick_lens: &[64],
        cores: &["one"],
        traced: None,
    },
    Test {
        name: "read-written",
        title: "Reading a shared value, one writer",
        about: "Another process writes the value at full speed on the other core. A try fails if \
                the value changes during the read; the reader repeats it.",
        kind: TableKind::Reads,
        lens: &[64, 4096],
        quick_lens: &[64],
        cores: &["two"],
        traced: None,
    },
    Test {
        name: "setup",
        title: "Setting up and tearing down",
        about: "The mechanism is created, used for one message or one operation, and removed.",
        kind: TableKind::TimeUs,
        lens: &[8],
        quick_lens: &[8],
        cores: &["one"],
        traced: None,
    },
    Test {
        name: "idle",
        title: "A server with many connections",
        about: "A server waits with epoll for n connections. A client on the same core uses the \
                connections in turn: it sends a message and waits for the answer. The time is \
                that of a message and its answer.",
        kind: TableKind::TimeByN,
        lens: &[8],
        quick_lens: &[8],
        cores: &["one"],
        traced: None,
    },
    Test {
        name: "readers",
        title: "Many readers of a shared value",
        about: "n processes read a value of 64 bytes. The rate is that of all processes together.",
        kind: TableKind::RateByN,
        lens: &[64],
        quick_lens: &[64],
        cores: &["two"],
        traced: None,
    },
];

pub fn test_named(name: &str) -> Option<&'static Test> {
    TESTS.iter().find(|test| test.name == name)
}

impl Test {
    /// Whether the test has a histogram and percentiles.
    pub fn is_latency(&self) -> bool {
        matches!(self.kind, TableKind::LatencyNs | TableKind::LatencyUs)
    }

    /// Whether the test runs with several numbers of connections, readers or subscribers.
    pub fn has_n(&self) -> bool {
        matches!(
            self.kind,
            TableKind::TimeByN | TableKind::RateByN | TableKind::Broadcast
        )
    }

    /// The numbers of connections, readers or subscribers; 1 for all other tests.
    fn ns(&self, quick: bool, processors: u64) -> Vec<u64> {
        match self.kind {
            TableKind::TimeByN if quick => vec![1, 1000],
            TableKind::TimeByN => vec![1, 10, 100, 1000],
            TableKind::Broadcast if quick => vec![1, 8],
            TableKind::Broadcast => vec![1, 2, 4, 8],
            TableKind::RateByN => {
                // With twice as many processes as processors, the processes must share them.
                let mut ns: Vec<u64> = (0..)
                    .map(|bit| 1 << bit)
                    .take_while(|&n| n < processors)
                    .collect();
                ns.push(processors);
                if !quick {
                    ns.push(2 * processors);
                }
                ns
            }
            _ => vec![1],
        }
    }

    /// Each name in ONLY= selects the tests whose names begin with it.
    pub fn is_chosen(&self, only: &[String]) -> bool {
        only.is_empty() || only.iter().any(|name| self.name.starts_with(name.as_str()))
    }
}

/// A library that is compared with unixipc, and that may not be installed.
pub struct Library {
    pub subject: &'static str,
    pub title: &'static str,
    pub missing: &'static str,
    /// The tests in which a row reports that the library is missing.
    pub tests: &'static [&'static str],
}

const NOT_INSTALLED: &str = "not installed (make bench-deps)";
/// The tests of a library that sleeps, and of one that can also spin.
const SLEEPING: &[&str] = &[
    "latency-block",
    "rate",
    "calls-latency",
    "calls-rate",
    "setup",
];
const SPINNING: &[&str] = &[
    "latency-poll",
    "latency-block",
    "rate",
    "calls-latency",
    "calls-rate",
    "setup",
];

pub const LIBRARIES: [Library; 5] = [
    Library {
        subject: "boost",
        title: "Boost.Interprocess",
        missing: NOT_INSTALLED,
        tests: &[
            "latency-block",
            "rate",
            "calls-latency",
            "calls-rate",
            "setup",
            "lock",
            "lock-contended",
            "read",
            "read-written",
            "readers",
        ],
    },
    Library {
        subject: "libqb",
        title: "libqb",
        missing: NOT_INSTALLED,
        tests: SPINNING,
    },
    Library {
        subject: "nng",
        title: "nng",
        missing: NOT_INSTALLED,
        tests: SLEEPING,
    },
    Library {
        subject: "zeromq",
        title: "ZeroMQ",
        missing: NOT_INSTALLED,
        tests: &[
            "latency-block",
            "rate",
            "broadcast",
            "calls-latency",
            "calls-rate",
            "setup",
        ],
    },
    Library {
        subject: "iceoryx2",
        title: "iceoryx2",
        missing: "not built (make bench-deps)",
        tests: &[
            "latency-poll",
            "latency-block",
            "rate",
            "broadcast",
            "calls-latency",
            "calls-rate",
            "setup",
        ],
    },
];

/// Whether a subject is a library that is compared with unixipc.
pub fn is_library(subject: &str) -> bool {
    LIBRARIES.iter().any(|library| library.subject == subject)
}

/// A run, which is done once in each repetition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub test: &'static str,
    pub subject: usize,
    pub row: usize,
    pub len: u64,
    pub cores: &'static str,
    pub n: u64,
}

impl Item {
    /// The record of the run, without figures.
    pub fn record(&self, subjects: &[Subject]) -> Record {
        let subject = &subjects[self.subject];
        let row = &subject.rows[self.row];
        Record {
            test: self.test.into(),
            subject: subject.name.clone(),
            variant: row.variant.clone(),
            title: row.title.clone(),
            flags: row.flags.clone(),
            len: self.len,
            cores: self.cores.into(),
            n: self.n,
            ..Record::default()
        }
    }
}

/// The tests and sizes to measure.
pub struct Selection<'a> {
    pub quick: bool,
    pub only: &'a [String],
    /// The number of processors that this process may use.
    pub processors: u64,
}

/// Returns all runs, and records of those that are not possible, with the reason.
pub fn plan(selection: &Selection, subjects: &[Subject]) -> (Vec<Item>, Vec<Record>) {
    let mut items = Vec::new();
    let mut notes = Vec::new();
    for test in TESTS.iter().filter(|test| test.is_chosen(selection.only)) {
        let lens = if selection.quick {
            test.quick_lens
        } else {
            test.lens
        };
        for &len in lens {
            for &cores in test.cores {
                // There is no second core.
                if cores == "two" && selection.processors < 2 {
                    continue;
                }
                for n in test.ns(selection.quick, selection.processors) {
                    add_items(test, (len, cores, n), subjects, &mut items, &mut notes);
                }
            }
        }
    }
    (items, notes)
}

fn add_items(
    test: &'static Test,
    (len, cores, n): (u64, &'static str, u64),
    subjects: &[Subject],
    items: &mut Vec<Item>,
    notes: &mut Vec<Record>,
) {
    for (at, subject) in subjects.iter().enumerate() {
        for (row, can) in subject.rows.iter().enumerate() {
            if can.test != test.traced.unwrap_or(test.name) {
                continue;
            }
            let item = Item {
                test: test.name,
                subject: at,
                row,
                len,
                cores,
                n,
            };
            match can.max {
                Some(max) if max < len => notes.push(Record {
                    error: format!("at most {max} bytes"),
                    ..item.record(subjects)
                }),
                _ => items.push(item),
            }
        }
    }
    let absent = LIBRARIES.iter().filter(|library| {
        library.tests.contains(&test.name)
            && !subjects
                .iter()
                .any(|subject| subject.name == library.subject)
    });
    notes.extend(absent.map(|library| Record {
        test: test.name.into(),
        subject: library.subject.into(),
        title: library.title.into(),
        error: library.missing.into(),
        len,
        cores: cores.into(),
        n,
        ..Record::default()
    }));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::subject::Row;

    fn subject(name: &str, rows: &[(&str, Option<u64>)]) -> Subject {
        Subject {
            name: name.into(),
            path: name.into(),
            version: String::new(),
            rows: rows
                .iter()
                .map(|&(test, max)| Row {
                    variant: "v".into(),
                    test: test.into(),
                    title: name.into(),
                    max,
                    ..Row::default()
                })
                .collect(),
        }
    }

    #[test]
    fn sizes_and_absent_peers() {
        let subjects = [
            subject("kernel", &[("rate", Some(8192))]),
            subject("libqb", &[("rate", None)]),
        ];
        let only = ["rate".to_owned()];
        let mut selection = Selection {
            quick: false,
            only: &only,
            processors: 2,
        };
        let (items, notes) = plan(&selection, &subjects);
        let lens = items
            .iter()
            .filter(|item| item.subject == 0)
            .map(|item| item.len);
        assert_eq!(
            lens.collect::<Vec<_>>(),
            [8, 64, 1024, 2048, 3000, 4096, 8192]
        );
        assert_eq!(items.len(), 7 + 10);
        let too_long = notes
            .iter()
            .filter(|note| note.error == "at most 8192 bytes");
        assert_eq!(too_long.count(), 3);
        let absent: Vec<_> = notes.iter().filter(|note| note.len == 8).collect();
        assert_eq!(absent.len(), 4, "all but libqb");
        assert!(notes.iter().all(|note| note.repetition == 0));

        selection.processors = 1;
        let (items, _) = plan(&selection, &subjects);
        assert!(items.is_empty(), "there is no second core");
    }

    #[test]
    fn numbers_of_readers() {
        let readers = test_named("readers").unwrap();
        assert_eq!(readers.ns(false, 2), [1, 2, 4]);
        assert_eq!(readers.ns(true, 2), [1, 2]);
        assert_eq!(readers.ns(false, 6), [1, 2, 4, 6, 12]);
        assert_eq!(test_named("rate").unwrap().ns(false, 8), [1]);
        let broadcast = test_named("broadcast").unwrap();
        assert_eq!(broadcast.ns(false, 2), [1, 2, 4, 8]);
        assert_eq!(broadcast.ns(true, 64), [1, 8]);
    }

    #[test]
    fn names_in_the_table() {
        for library in &LIBRARIES {
            for name in library.tests {
                assert!(test_named(name).is_some(), "{name}");
            }
        }
        for test in &TESTS {
            assert!(test.traced.is_none_or(|of| test_named(of).is_some()));
            assert!(test.quick_lens.iter().all(|len| test.lens.contains(len)));
        }
        let only = ["latency".to_owned()];
        assert_eq!(TESTS.iter().filter(|test| test.is_chosen(&only)).count(), 2);
    }
}
