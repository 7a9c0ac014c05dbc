//! What is measured: the tests, their sizes, and who is expected in them.

use crate::record::Record;
use crate::subject::Subject;

/// How a test's figures are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shown {
    /// The time of a half round trip, with percentiles; in ns or µs.
    LatencyNs,
    LatencyUs,
    /// Messages a second, bytes a second, processor time.
    Rate,
    /// The time of one.
    TimeNs,
    TimeUs,
    /// How many a second, of all processes together.
    Operations,
    /// How many a second, and what the writer did meanwhile.
    Reads,
    /// System calls.
    Calls,
    /// A column for each n: the time of one, or how many a second.
    TimeByN,
    RateByN,
}

pub struct Test {
    pub name: &'static str,
    pub title: &'static str,
    /// What stands below the title.
    pub about: &'static str,
    pub shown: Shown,
    pub lens: &'static [u64],
    pub quick_lens: &'static [u64],
    pub cores: &'static [&'static str],
    /// System calls are counted while another test runs: which one.
    pub of: Option<&'static str>,
}

pub const TESTS: [Test; 12] = [
    Test {
        name: "latency-poll",
        title: "Half a round trip, polling",
        about: "Both sides look for the next message without sleeping, on two cores.",
        shown: Shown::LatencyNs,
        lens: &[8, 64, 4096],
        quick_lens: &[8, 4096],
        cores: &["two"],
        of: None,
    },
    Test {
        name: "latency-block",
        title: "Half a round trip, blocking",
        about: "Each side sleeps until the next message is there, as the mechanism does it by \
                default. On one core nothing but the mechanism and the change of processes \
                counts; across cores also the wake-up of the other core.",
        shown: Shown::LatencyUs,
        lens: &[8, 64, 4096],
        quick_lens: &[8, 4096],
        cores: &["one", "two"],
        of: None,
    },
    Test {
        name: "rate",
        title: "One way",
        about: "One process sends as fast as it can, the other one receives, on two cores. A \
                mechanism that spins uses a whole core also while it waits: the processor time \
                shows it.",
        shown: Shown::Rate,
        lens: &[8, 64, 4096, 65536, 1 << 20],
        quick_lens: &[8, 4096, 1 << 20],
        cores: &["two"],
        of: None,
    },
    Test {
        name: "calls-latency",
        title: "System calls a message, to and fro on one core",
        about: "Counted by strace, which makes calls slow: who seldom sleeps otherwise may sleep \
                more here.",
        shown: Shown::Calls,
        lens: &[64],
        quick_lens: &[64],
        cores: &["one"],
        of: Some("latency-block"),
    },
    Test {
        name: "calls-rate",
        title: "System calls a message, one way",
        about: "Counted in the same way, on two cores.",
        shown: Shown::Calls,
        lens: &[64],
        quick_lens: &[],
        cores: &["two"],
        of: Some("rate"),
    },
    Test {
        name: "lock",
        title: "Lock and unlock, nobody else",
        about: "One process.",
        shown: Shown::TimeNs,
        lens: &[8],
        quick_lens: &[8],
        cores: &["one"],
        of: None,
    },
    Test {
        name: "lock-contended",
        title: "Lock and unlock, contended",
        about: "Two processes on two cores count one counter up under the lock; pairs of lock \
                and unlock, of both together.",
        shown: Shown::Operations,
        lens: &[8],
        quick_lens: &[8],
        cores: &["two"],
        of: None,
    },
    Test {
        name: "read",
        title: "Reading a shared value, nobody writes",
        about: "One process reads.",
        shown: Shown::Reads,
        lens: &[64, 4096],
        quick_lens: &[64],
        cores: &["one"],
        of: None,
    },
    Test {
        name: "read-written",
        title: "Reading a shared value that is being written",
        about: "Another process writes it at full speed on the other core. Failed tries are \
                those that a reader has to repeat because the value changed meanwhile.",
        shown: Shown::Reads,
        lens: &[64, 4096],
        quick_lens: &[64],
        cores: &["two"],
        of: None,
    },
    Test {
        name: "setup",
        title: "Setting up and tearing down",
        about: "Made, used for one message (or one operation), and removed again.",
        shown: Shown::TimeUs,
        lens: &[8],
        quick_lens: &[8],
        cores: &["one"],
        of: None,
    },
    Test {
        name: "idle",
        title: "A server with many connections",
        about: "A server waits in one epoll for n connections; a client on the same core sends a \
                message on one of them in turn and waits for the answer. Time of a message and \
                its answer.",
        shown: Shown::TimeByN,
        lens: &[8],
        quick_lens: &[8],
        cores: &["one"],
        of: None,
    },
    Test {
        name: "readers",
        title: "Many readers of a shared value",
        about: "n processes read one value of 64 bytes; reads of all together.",
        shown: Shown::RateByN,
        lens: &[64],
        quick_lens: &[64],
        cores: &["two"],
        of: None,
    },
];

pub fn test_named(name: &str) -> Option<&'static Test> {
    TESTS.iter().find(|test| test.name == name)
}

impl Test {
    /// Whether there is a histogram, and percentiles.
    pub fn is_latency(&self) -> bool {
        matches!(self.shown, Shown::LatencyNs | Shown::LatencyUs)
    }

    /// Whether it is run with several numbers of connections or readers.
    pub fn has_n(&self) -> bool {
        matches!(self.shown, Shown::TimeByN | Shown::RateByN)
    }

    /// The numbers of connections or readers; 1 where there is but one.
    fn ns(&self, quick: bool, processors: u64) -> Vec<u64> {
        match self.shown {
            Shown::TimeByN if quick => vec![1, 1000],
            Shown::TimeByN => vec![1, 10, 100, 1000],
            Shown::RateByN => {
                // Twice as many as processors shows what happens when they have to take turns.
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

    /// A name in ONLY= chooses tests that it is the beginning of.
    pub fn is_chosen(&self, only: &[String]) -> bool {
        only.is_empty() || only.iter().any(|name| self.name.starts_with(name.as_str()))
    }
}

/// Libraries that are not ours and may not be there.
pub struct Peer {
    pub subject: &'static str,
    pub title: &'static str,
    pub missing: &'static str,
    /// The tests in which a row says that it is missing.
    pub tests: &'static [&'static str],
}

const NOT_INSTALLED: &str = "not installed (make bench-deps)";
const TRANSPORT: &[&str] = &[
    "latency-block",
    "rate",
    "calls-latency",
    "calls-rate",
    "setup",
];

pub const PEERS: [Peer; 5] = [
    Peer {
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
    Peer {
        subject: "libqb",
        title: "libqb",
        missing: NOT_INSTALLED,
        tests: &[
            "latency-poll",
            "latency-block",
            "rate",
            "calls-latency",
            "calls-rate",
            "setup",
        ],
    },
    Peer {
        subject: "nng",
        title: "nng",
        missing: NOT_INSTALLED,
        tests: TRANSPORT,
    },
    Peer {
        subject: "zeromq",
        title: "ZeroMQ",
        missing: NOT_INSTALLED,
        tests: TRANSPORT,
    },
    Peer {
        subject: "iceoryx2",
        title: "iceoryx2",
        missing: "not built (make bench-deps)",
        tests: &[
            "latency-poll",
            "latency-block",
            "rate",
            "calls-latency",
            "calls-rate",
            "setup",
        ],
    },
];

/// One thing to run, once in each repetition.
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
    /// The record of it, without figures.
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

/// What to measure.
pub struct Choice<'a> {
    pub quick: bool,
    pub only: &'a [String],
    /// How many there are for this process.
    pub processors: u64,
}

/// All that is to be run, and records of what cannot be, with the reason.
pub fn plan(choice: &Choice, subjects: &[Subject]) -> (Vec<Item>, Vec<Record>) {
    let mut items = Vec::new();
    let mut notes = Vec::new();
    for test in TESTS.iter().filter(|test| test.is_chosen(choice.only)) {
        let lens = if choice.quick {
            test.quick_lens
        } else {
            test.lens
        };
        for &len in lens {
            for &cores in test.cores {
                // A second core is not there to be measured.
                if cores == "two" && choice.processors < 2 {
                    continue;
                }
                for n in test.ns(choice.quick, choice.processors) {
                    add_place(test, (len, cores, n), subjects, &mut items, &mut notes);
                }
            }
        }
    }
    (items, notes)
}

fn add_place(
    test: &'static Test,
    (len, cores, n): (u64, &'static str, u64),
    subjects: &[Subject],
    items: &mut Vec<Item>,
    notes: &mut Vec<Record>,
) {
    for (at, subject) in subjects.iter().enumerate() {
        for (row, can) in subject.rows.iter().enumerate() {
            if can.test != test.of.unwrap_or(test.name) {
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
    let absent = PEERS.iter().filter(|peer| {
        peer.tests.contains(&test.name)
            && !subjects.iter().any(|subject| subject.name == peer.subject)
    });
    notes.extend(absent.map(|peer| Record {
        test: test.name.into(),
        subject: peer.subject.into(),
        title: peer.title.into(),
        error: peer.missing.into(),
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
        let mut choice = Choice {
            quick: false,
            only: &only,
            processors: 2,
        };
        let (items, notes) = plan(&choice, &subjects);
        let lens = items
            .iter()
            .filter(|item| item.subject == 0)
            .map(|item| item.len);
        assert_eq!(lens.collect::<Vec<_>>(), [8, 64, 4096]);
        assert_eq!(items.len(), 3 + 5);
        let too_long = notes
            .iter()
            .filter(|note| note.error == "at most 8192 bytes");
        assert_eq!(too_long.count(), 2);
        let absent: Vec<_> = notes.iter().filter(|note| note.len == 8).collect();
        assert_eq!(absent.len(), 4, "all but libqb");
        assert!(notes.iter().all(|note| note.repetition == 0));

        choice.processors = 1;
        let (items, _) = plan(&choice, &subjects);
        assert!(items.is_empty(), "there is no second core");
    }

    #[test]
    fn numbers_of_readers() {
        let readers = test_named("readers").unwrap();
        assert_eq!(readers.ns(false, 2), [1, 2, 4]);
        assert_eq!(readers.ns(true, 2), [1, 2]);
        assert_eq!(readers.ns(false, 6), [1, 2, 4, 6, 12]);
        assert_eq!(test_named("rate").unwrap().ns(false, 8), [1]);
    }

    #[test]
    fn names_in_the_table() {
        for peer in &PEERS {
            for name in peer.tests {
                assert!(test_named(name).is_some(), "{name}");
            }
        }
        for test in &TESTS {
            assert!(test.of.is_none_or(|of| test_named(of).is_some()));
            assert!(test.quick_lens.iter().all(|len| test.lens.contains(len)));
        }
        let only = ["latency".to_owned()];
        assert_eq!(TESTS.iter().filter(|test| test.is_chosen(&only)).count(), 2);
    }
}
