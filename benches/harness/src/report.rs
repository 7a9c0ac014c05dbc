//! The report: summary and tables, as Markdown.

use std::collections::BTreeMap;

use crate::plan::{TESTS, TableKind, Test};
use crate::record::{Facts, Record};
use crate::stats::Summary;
use crate::table::{Table, bytes, digits, scaled};

/// The class of a mechanism.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Ours,
    /// Does only what is necessary: a bound, and not a competitor.
    Limit,
    Other,
}

pub fn class(record: &Record) -> Class {
    if record.has_flag("ours") {
        Class::Ours
    } else if record.has_flag("limit") {
        Class::Limit
    } else {
        Class::Other
    }
}

/// The cost of one row relative to other rows. Less is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratios {
    /// Relative to the best other row. Limits do not count, nor does a row of unixipc for another one.
    pub to_best_other: Option<f64>,
    /// Relative to the nearest limit, which is the one with the highest cost.
    pub to_limit: Option<f64>,
}

pub fn ratios(rows: &[(Class, f64)], at: usize) -> Ratios {
    let (own, cost) = rows[at];
    let others = rows.iter().enumerate().filter(|&(i, &(class, _))| {
        i != at && class != Class::Limit && !(own == Class::Ours && class == Class::Ours)
    });
    let limits = rows.iter().filter(|(class, _)| *class == Class::Limit);
    let against = |other: f64| (other > 0.0).then(|| cost / other);
    Ratios {
        to_best_other: others
            .map(|(_, &(_, cost))| cost)
            .reduce(f64::min)
            .and_then(against),
        to_limit: limits
            .map(|&(_, cost)| cost)
            .reduce(f64::max)
            .and_then(against),
    }
}

/// The index of the row with the lowest cost, except limits.
fn best(rows: &[(Class, f64)]) -> Option<usize> {
    let competing = rows
        .iter()
        .enumerate()
        .filter(|(_, row)| row.0 != Class::Limit);
    competing
        .min_by(|a, b| a.1.1.total_cmp(&b.1.1))
        .map(|(i, _)| i)
}

/// All repetitions of one mechanism in a section.
pub struct Mechanism<'a> {
    pub first: &'a Record,
    pub class: Class,
    pub cost: Option<Summary>,
    good: Vec<&'a Record>,
    failed: Vec<&'a Record>,
}

impl<'a> Mechanism<'a> {
    fn of(records: Vec<&'a Record>) -> Mechanism<'a> {
        let first = records[0];
        let (failed, good) = records
            .into_iter()
            .partition(|record| !record.error.is_empty());
        let mut mechanism = Mechanism {
            first,
            class: class(first),
            cost: None,
            good,
            failed,
        };
        mechanism.cost = mechanism.summary(Record::cost);
        mechanism
    }

    pub fn summary(&self, figure: impl Fn(&Record) -> Option<f64>) -> Option<Summary> {
        let values: Vec<f64> = self
            .good
            .iter()
            .filter_map(|record| figure(record))
            .collect();
        Summary::of(&values)
    }

    /// The median, formatted by `form`.
    fn cell(
        &self,
        figure: impl Fn(&Record) -> Option<f64>,
        form: impl Fn(f64) -> String,
    ) -> String {
        self.summary(figure)
            .map_or("-".into(), |summary| form(summary.median))
    }

    /// The title, whether it spins, and the reason why figures are missing.
    fn name(&self) -> String {
        let mut name = self.first.title.clone();
        if self.first.has_flag("spins") {
            name += " (spins)";
        }
        let tried = self.good.len() + self.failed.len();
        match self.failed.first() {
            Some(failed) if failed.repetition == 0 => name += &format!(": {}", failed.error),
            Some(_) => name += &format!(": failed {} of {tried}, see below", self.failed.len()),
            None => {}
        }
        name
    }

    pub fn records(&self) -> &[&'a Record] {
        &self.good
    }
}

/// The mechanisms of one table, the best first.
pub struct Section<'a> {
    pub test: &'static Test,
    pub len: u64,
    pub cores: &'a str,
    pub n: u64,
    pub mechanisms: Vec<Mechanism<'a>>,
}

impl Section<'_> {
    /// The heading of the table.
    fn heading(&self) -> Option<String> {
        let mut words = Vec::new();
        if self.test.lens.len() > 1 {
            words.push(bytes(self.len));
        }
        if self.test.cores.len() > 1 {
            words.push(match self.cores {
                "one" => "both on one core".into(),
                _ => "across cores".into(),
            });
        }
        (!words.is_empty()).then(|| words.join(", "))
    }

    /// Class and cost of the mechanisms that have a cost, which are the first ones.
    fn costs(&self) -> Vec<(Class, f64)> {
        self.mechanisms
            .iter()
            .filter_map(|mechanism| Some((mechanism.class, mechanism.cost?.median)))
            .collect()
    }
}

/// All sections, in the order of the tests.
pub fn sections(records: &[Record]) -> Vec<Section<'_>> {
    let mut all = Vec::new();
    for test in &TESTS {
        let mut of_test: BTreeMap<(&str, u64, u64), BTreeMap<_, Vec<&Record>>> = BTreeMap::new();
        for record in records.iter().filter(|record| record.test == test.name) {
            of_test
                .entry((&record.cores, record.len, record.n))
                .or_default()
                .entry((&record.subject, &record.variant))
                .or_default()
                .push(record);
        }
        for ((cores, len, n), mechanisms) in of_test {
            let mut mechanisms: Vec<Mechanism> =
                mechanisms.into_values().map(Mechanism::of).collect();
            let cost =
                |mechanism: &Mechanism| mechanism.cost.map_or(f64::INFINITY, |cost| cost.median);
            mechanisms.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
            all.push(Section {
                test,
                len,
                cores,
                n,
                mechanisms,
            });
        }
    }
    all
}

/// A chart below the heading of a test.
pub struct Picture {
    pub test: &'static str,
    pub title: String,
    pub file: String,
}

/// The whole report, as Markdown.
pub fn report(facts: &Facts, records: &[Record], pictures: &[Picture]) -> String {
    let sections = sections(records);
    let mut text =
        String::from("# unixipc compared with kernel mechanisms and other libraries\n\n");
    for (name, value) in facts {
        text += &format!("- {name}: {value}\n");
    }
    text += "\n## Summary\n\n";
    text += "The best mechanism of unixipc and the best other mechanism. The cost is the time per \
             message or operation. The ratio is the cost of unixipc divided by that of the other: \
             below 1, unixipc is faster.\n\n";
    text += &summary(&sections).render();
    text += "\n## Details\n\n\
        Figures are medians of the repetitions; the range is from the lowest to the highest one. \
        The last two columns are ratios of costs, so less is better. The cost is the time per \
        message or operation, also where the table shows a rate. One ratio is relative to the \
        limit, which does only what is necessary and detects no errors. The other is relative to \
        the best other row, except limits. Rows of unixipc are not compared with one another.\n";
    for test in &TESTS {
        let of_test: Vec<_> = sections
            .iter()
            .filter(|section| section.test.name == test.name)
            .collect();
        if of_test.is_empty() {
            continue;
        }
        text += &format!("\n### {}\n\n{}\n", test.title, test.about);
        for picture in pictures.iter().filter(|picture| picture.test == test.name) {
            text += &format!("\n![{}]({})\n", picture.title, picture.file);
        }
        // A table has one section, or the sections of all n.
        for of_table in
            of_test.chunk_by(|a, b| test.has_n() && (a.len, a.cores) == (b.len, b.cores))
        {
            let first = of_table[0];
            if let Some(heading) = first.heading() {
                text += &format!("\n#### {heading}\n");
            }
            let table = match test.has_n() {
                true => table_by_n(test, of_table),
                false => table(first),
            };
            text += &format!("\n{}", table.render());
        }
        text += &failures(&of_test);
    }
    text
}

/// The failures, each message once.
fn failures(sections: &[&Section]) -> String {
    let mut messages: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for mechanism in sections.iter().flat_map(|section| &section.mechanisms) {
        for record in mechanism
            .failed
            .iter()
            .filter(|record| record.repetition > 0)
        {
            *messages.entry((&record.title, &record.error)).or_default() += 1;
        }
    }
    let mut text = String::new();
    for ((title, error), times) in messages {
        text += if text.is_empty() { "\n" } else { "" };
        let times = if times == 1 {
            "once".into()
        } else {
            format!("{times} times")
        };
        text += &format!("- failed {times}: {title}: {}\n", error.trim());
    }
    text
}

/// The function that formats a cost in ns, and the unit of its result.
fn form(kind: TableKind) -> (fn(f64) -> String, &'static str) {
    match kind {
        TableKind::LatencyNs | TableKind::TimeNs | TableKind::Broadcast => (digits, "ns"),
        TableKind::LatencyUs | TableKind::TimeUs | TableKind::TimeByN => {
            (|ns| digits(ns / 1e3), "µs")
        }
        TableKind::Rate => (|ns| scaled(1e9 / ns), "messages/s"),
        TableKind::Operations => (|ns| scaled(1e9 / ns), "operations/s"),
        TableKind::Reads | TableKind::RateByN => (|ns| scaled(1e9 / ns), "reads/s"),
        TableKind::Calls => (|calls| format!("{calls:.2}"), "calls per message"),
    }
}

fn range(kind: TableKind, cost: Summary) -> String {
    let (form, _) = form(kind);
    let (a, b) = (form(cost.min), form(cost.max));
    // The highest cost is the lowest rate.
    match kind {
        TableKind::Rate | TableKind::Operations | TableKind::Reads | TableKind::RateByN => {
            format!("{b} – {a}")
        }
        _ => format!("{a} – {b}"),
    }
}

fn ratio(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{value:.2}"))
}

/// The content of the second column.
fn mark(mechanism: &Mechanism, is_best: bool) -> String {
    let class = match mechanism.class {
        Class::Ours => "ours",
        Class::Limit => "limit",
        Class::Other => "",
    };
    match (class, is_best) {
        ("", true) => "best".into(),
        (class, true) => format!("{class}, best"),
        (class, false) => class.into(),
    }
}

fn table(section: &Section) -> Table {
    let kind = section.test.kind;
    let (form, unit) = form(kind);
    let costs = section.costs();
    let best = best(&costs);
    let has_limit = costs.iter().any(|(class, _)| *class == Class::Limit);

    let mut header: Vec<&str> = vec!["mechanism", ""];
    match kind {
        TableKind::LatencyNs => {
            header.extend(["time, ns", "range", "p50", "p99", "p99.9", "CPU, ns"])
        }
        TableKind::LatencyUs => {
            header.extend(["time, µs", "range", "p50", "p99", "p99.9", "CPU, µs"])
        }
        TableKind::Rate => header.extend(["messages/s", "range", "GB/s", "CPU s per million"]),
        TableKind::Reads => {
            header.extend(["reads/s", "range", "failed tries per read", "writes/s"])
        }
        TableKind::Calls => header.extend([unit, "which"]),
        TableKind::Operations => header.extend([unit, "range", "CPU, ns"]),
        TableKind::TimeNs
        | TableKind::TimeUs
        | TableKind::TimeByN
        | TableKind::RateByN
        | TableKind::Broadcast => header.extend([unit, "range"]),
    }
    if has_limit {
        header.push("to limit");
    }
    header.push("to best other");
    let mut table = Table::new(2, header.iter().copied());

    for (at, mechanism) in section.mechanisms.iter().enumerate() {
        let mut row = vec![mechanism.name(), mark(mechanism, best == Some(at))];
        if let Some(cost) = mechanism.cost {
            row.push(form(cost.median));
            if kind == TableKind::Calls {
                row.push(mechanism.good[0].which_calls.clone());
            } else {
                row.push(range(kind, cost));
            }
            row.extend(more_cells(mechanism, section));
            let ratios = ratios(&costs, at);
            if has_limit {
                row.push(ratio(ratios.to_limit));
            }
            row.push(ratio(ratios.to_best_other));
        }
        row.resize(header.len(), "-".into());
        table.add(row);
    }
    table
}

/// The columns between the range and the ratios.
fn more_cells(mechanism: &Mechanism, section: &Section) -> Vec<String> {
    let (form, _) = form(section.test.kind);
    let cpu = |record: &Record| record.each(record.cpu_ns);
    match section.test.kind {
        TableKind::LatencyNs | TableKind::LatencyUs => vec![
            mechanism.cell(|record| record.p50_ns, form),
            mechanism.cell(|record| record.p99_ns, form),
            mechanism.cell(|record| record.p999_ns, form),
            mechanism.cell(cpu, form),
        ],
        TableKind::Rate => vec![
            mechanism
                .cost
                .map_or("-".into(), |cost| digits(section.len as f64 / cost.median)),
            // Nanoseconds per message are milliseconds per million messages.
            mechanism.cell(cpu, |ns| digits(ns / 1e3)),
        ],
        TableKind::Operations => vec![mechanism.cell(cpu, digits)],
        TableKind::Reads => vec![
            mechanism.cell(|record| record.each(record.failed), digits),
            mechanism.cell(|record| Some(record.written? / record.ns? * 1e9), scaled),
        ],
        _ => Vec::new(),
    }
}

/// A table with a row for each mechanism and a column for each n. The ratio is that of the largest n.
fn table_by_n(test: &Test, sections: &[&Section]) -> Table {
    let (form, unit) = form(test.kind);
    let last = sections[sections.len() - 1];
    let costs = last.costs();
    let best = best(&costs);
    let mut header = vec!["mechanism".to_owned(), String::new()];
    header.extend(
        sections
            .iter()
            .map(|section| format!("{unit}, n = {}", section.n)),
    );
    header.push("last / first".into());
    header.push("to best other".into());
    let mut table = Table::new(2, header);
    for (at, mechanism) in last.mechanisms.iter().enumerate() {
        let mut row = vec![mechanism.name(), mark(mechanism, best == Some(at))];
        let medians: Vec<Option<f64>> = sections
            .iter()
            .map(|section| {
                let same = |other: &&Mechanism| {
                    other.first.subject == mechanism.first.subject
                        && other.first.variant == mechanism.first.variant
                };
                Some(section.mechanisms.iter().find(same)?.cost?.median)
            })
            .collect();
        row.extend(medians.iter().map(|cost| cost.map_or("-".into(), form)));
        let growth = match (medians[0], medians[medians.len() - 1]) {
            (Some(first), Some(last)) if test.kind == TableKind::RateByN => Some(first / last),
            (Some(first), Some(last)) => Some(last / first),
            _ => None,
        };
        row.push(ratio(growth));
        let to_best = mechanism
            .cost
            .and_then(|_| ratios(&costs, at).to_best_other);
        row.push(ratio(to_best));
        table.add(row);
    }
    table
}

/// A table with a row for each section: the best of unixipc, and the best other mechanism.
fn summary(sections: &[Section]) -> Table {
    let mut table = Table::new(
        3,
        [
            "test",
            "best of unixipc",
            "best other",
            "unixipc",
            "other",
            "to limit",
            "ratio",
        ],
    );
    for (i, section) in sections.iter().enumerate() {
        // Of a test with several n, the table has the largest one.
        let same = |next: &Section| next.test.name == section.test.name && next.len == section.len;
        let next = sections.get(i + 1);
        if next.is_some_and(|next| same(next) && next.n > section.n) {
            continue;
        }
        let costs = section.costs();
        let first = |wanted| costs.iter().position(|(class, _)| *class == wanted);
        let (form, unit) = form(section.test.kind);
        let title = |at: Option<usize>| at.map_or("-".into(), |at| section.mechanisms[at].name());
        let value = |at: Option<usize>| {
            at.map_or("-".into(), |at: usize| {
                format!(
                    "{} {}",
                    form(costs[at].1),
                    unit.split(' ').next().unwrap_or(unit)
                )
            })
        };
        let (ours, other) = (first(Class::Ours), first(Class::Other));
        let ratios = ours.map(|at| ratios(&costs, at));
        let mut what = section.test.title.to_owned();
        if let Some(heading) = section.heading() {
            what += &format!(", {heading}");
        }
        if section.n > 1 {
            what += &format!(", n = {}", section.n);
        }
        table.add(vec![
            what,
            title(ours),
            title(other),
            value(ours),
            value(other),
            ratio(ratios.and_then(|ratios| ratios.to_limit)),
            ratio(ratios.and_then(|ratios| ratios.to_best_other)),
        ]);
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use Class::{Limit, Other, Ours};

    #[test]
    fn the_rule_of_ratios() {
        let rows = [
            (Limit, 1.0),
            (Limit, 2.0),
            (Ours, 4.0),
            (Ours, 5.0),
            (Other, 8.0),
            (Other, 16.0),
        ];
        let to = |at| ratios(&rows, at);
        // A row of unixipc is compared with the best other row.
        assert_eq!(to(2).to_best_other, Some(0.5));
        assert_eq!(to(3).to_best_other, Some(0.625));
        // Another row is compared with the best row except itself.
        assert_eq!(to(4).to_best_other, Some(2.0));
        assert_eq!(to(5).to_best_other, Some(4.0));
        // A limit is compared with the best row that is not a limit.
        assert_eq!(to(0).to_best_other, Some(0.25));
        // The nearest limit counts.
        assert_eq!(to(2).to_limit, Some(2.0));
        assert_eq!(best(&rows), Some(2));
    }

    #[test]
    fn ratios_of_little() {
        let alone = ratios(&[(Ours, 1.0)], 0);
        assert_eq!((alone.to_best_other, alone.to_limit), (None, None));
        assert_eq!(ratios(&[(Ours, 1.0), (Ours, 2.0)], 1).to_best_other, None);
        // With no system calls at all, there is no divisor.
        assert_eq!(ratios(&[(Ours, 0.0), (Other, 0.0)], 0).to_best_other, None);
        assert_eq!(
            ratios(&[(Ours, 0.0), (Other, 2.0)], 0).to_best_other,
            Some(0.0)
        );
        assert_eq!(best(&[(Limit, 1.0)]), None);
        // The best row of a table has a ratio below 1.
        assert_eq!(
            ratios(&[(Other, 1.0), (Other, 2.0)], 0).to_best_other,
            Some(0.5)
        );
    }

    fn record(subject: &str, flags: &str, repetition: u32, ns: f64) -> Record {
        Record {
            test: "rate".into(),
            subject: subject.into(),
            variant: "v".into(),
            title: format!("{subject}'s"),
            flags: flags.into(),
            len: 8,
            cores: "two".into(),
            n: 1,
            repetition,
            messages: Some(1000.0),
            ns: Some(ns),
            cpu_ns: Some(2.0 * ns),
            ..Record::default()
        }
    }

    #[test]
    fn tables_by_n() {
        let broadcast = |len: u64, n: u64, subject: &str, flags: &str, ns: f64| Record {
            test: "broadcast".into(),
            len,
            n,
            ..record(subject, flags, 1, ns)
        };
        let records = [
            broadcast(64, 1, "unixipc", "ours", 20e3),
            broadcast(64, 8, "unixipc", "ours", 40e3),
            broadcast(64, 1, "kernel", "", 50e3),
            broadcast(64, 8, "kernel", "", 400e3),
            broadcast(4096, 1, "unixipc", "ours", 200e3),
            broadcast(4096, 8, "unixipc", "ours", 300e3),
        ];
        let text = report(&Vec::new(), &records, &[]);
        let tables: Vec<&str> = text.split("#### ").skip(1).collect();
        let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
        let all: Vec<String> = tables.iter().map(|table| words(table)).collect();
        assert_eq!(all.len(), 2, "{text}");
        assert!(all[0].starts_with("64 B | mechanism | | ns, n = 1 | ns, n = 8 |"));
        assert!(all[0].contains("| unixipc's | ours, best | 20.0 | 40.0 | 2.00 | 0.10 |"));
        assert!(all[0].contains("| kernel's | | 50.0 | 400 | 8.00 | 10.00 |"));
        assert!(all[1].starts_with("4 KiB |"));
        assert!(all[1].contains("| unixipc's | ours, best | 200 | 300 | 1.50 | - |"));
        // The summary has the largest n of each size.
        let summary = text.split("## Details").next().unwrap();
        let of_summary: Vec<String> = summary
            .lines()
            .filter(|line| line.starts_with("| One publisher"))
            .map(words)
            .collect();
        assert_eq!(of_summary.len(), 2, "{summary}");
        assert!(of_summary[0].starts_with("| One publisher, n subscribers, 64 B, n = 8 |"));
        assert!(of_summary[1].starts_with("| One publisher, n subscribers, 4 KiB, n = 8 |"));
    }

    #[test]
    fn a_report() {
        let mut records = vec![
            record("unixipc", "ours", 1, 20e3),
            record("unixipc", "ours", 2, 10e3),
            record("unixipc", "ours", 3, 12e3),
            record("kernel", "", 1, 24e3),
            record("ring", "limit,spins", 1, 6e3),
        ];
        let mut failed = record("nng", "", 1, 0.0);
        failed.error = "exit code 1: wrong | sequence".into();
        records.push(failed);
        let mut absent = record("libqb", "", 0, 0.0);
        absent.error = "not installed (make bench-deps)".into();
        records.push(absent);

        let text = report(&vec![("kernel".into(), "Linux".into())], &records, &[]);
        let row = |name: &str| {
            let line = text
                .lines()
                .rfind(|line| line.starts_with(&format!("| {name}")));
            let cells = line
                .unwrap_or_else(|| panic!("no {name} in {text}"))
                .split('|');
            cells
                .map(str::trim)
                .filter(|cell| !cell.is_empty())
                .collect::<Vec<_>>()
                .join(" | ")
        };
        assert_eq!(
            row("unixipc's"),
            "unixipc's | ours, best | 83.3 M | 50.0 M – 100 M | 0.667 | 0.024 | 2.00 | 0.50"
        );
        assert_eq!(
            row("kernel's"),
            "kernel's | 41.7 M | 41.7 M – 41.7 M | 0.333 | 0.048 | 4.00 | 2.00"
        );
        assert!(row("ring's").starts_with("ring's (spins) | limit | 167 M"));
        assert!(row("nng's").starts_with("nng's: failed 1 of 1, see below | - | -"));
        assert!(row("libqb's").starts_with("libqb's: not installed (make bench-deps) | - | -"));
        assert!(text.contains("- failed once: nng's: exit code 1: wrong | sequence\n"));
        assert!(row("One way").ends_with("83.3 M messages/s | 41.7 M messages/s | 2.00 | 0.50"));
    }
}
