//! The tables.

use std::collections::BTreeMap;

use crate::plan::{Shown, TESTS, Test};
use crate::record::{Facts, Record};
use crate::stats::Summary;
use crate::table::{Table, bytes, digits, scaled};

/// Whose a row is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Ours,
    /// Does no more than is necessary: a bound of what can be had, and no competitor.
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

/// The costs of one row against others, from a table of costs where less is better.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ratios {
    /// Against the best of all other rows but limits. What is ours doesn't compete with itself.
    pub to_best_other: Option<f64>,
    /// Against the limit. Of several the one that costs most, because it is the nearest.
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

/// The index of what costs least, limits aside.
fn best(rows: &[(Class, f64)]) -> Option<usize> {
    let competing = rows
        .iter()
        .enumerate()
        .filter(|(_, row)| row.0 != Class::Limit);
    competing
        .min_by(|a, b| a.1.1.total_cmp(&b.1.1))
        .map(|(i, _)| i)
}

/// All repetitions of one thing.
pub struct Line<'a> {
    pub first: &'a Record,
    pub class: Class,
    pub cost: Option<Summary>,
    good: Vec<&'a Record>,
    failed: Vec<&'a Record>,
}

impl<'a> Line<'a> {
    fn of(records: Vec<&'a Record>) -> Line<'a> {
        let first = records[0];
        let (failed, good) = records
            .into_iter()
            .partition(|record| !record.error.is_empty());
        let mut line = Line {
            first,
            class: class(first),
            cost: None,
            good,
            failed,
        };
        line.cost = line.summary(Record::cost);
        line
    }

    pub fn summary(&self, figure: impl Fn(&Record) -> Option<f64>) -> Option<Summary> {
        let values: Vec<f64> = self
            .good
            .iter()
            .filter_map(|record| figure(record))
            .collect();
        Summary::of(&values)
    }

    /// The median, in the form given.
    fn cell(
        &self,
        figure: impl Fn(&Record) -> Option<f64>,
        form: impl Fn(f64) -> String,
    ) -> String {
        self.summary(figure)
            .map_or("-".into(), |summary| form(summary.median))
    }

    /// What it is, whether it spins, and why there are no figures.
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

/// A table's worth of lines, the best first.
pub struct Place<'a> {
    pub test: &'static Test,
    pub len: u64,
    pub cores: &'a str,
    pub n: u64,
    pub lines: Vec<Line<'a>>,
}

impl Place<'_> {
    /// What stands above the table.
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

    /// Class and cost of the lines that have a cost; they are the first ones.
    fn costs(&self) -> Vec<(Class, f64)> {
        self.lines
            .iter()
            .filter_map(|line| Some((line.class, line.cost?.median)))
            .collect()
    }
}

/// All places, in the order of the tests.
pub fn places(records: &[Record]) -> Vec<Place<'_>> {
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
        for ((cores, len, n), lines) in of_test {
            let mut lines: Vec<Line> = lines.into_values().map(Line::of).collect();
            let cost = |line: &Line| line.cost.map_or(f64::INFINITY, |cost| cost.median);
            lines.sort_by(|a, b| cost(a).total_cmp(&cost(b)));
            all.push(Place {
                test,
                len,
                cores,
                n,
                lines,
            });
        }
    }
    all
}

/// A picture: below which test it stands, what it shows, its file.
pub struct Picture {
    pub test: &'static str,
    pub title: String,
    pub file: String,
}

/// The whole report, as Markdown.
pub fn report(facts: &Facts, records: &[Record], pictures: &[Picture]) -> String {
    let places = places(records);
    let mut text = String::from("# unixipc beside the kernel's mechanisms and other libraries\n\n");
    for (name, value) in facts {
        text += &format!("- {name}: {value}\n");
    }
    text += "\n## In short\n\n";
    text += "The best of unixipc and the best of the others. A ratio is one of costs, the time \
             of a message or an operation: below 1 unixipc is the better one.\n\n";
    text += &in_short(&places).render();
    text += "\n## In full\n\n\
        Figures are medians over the repetitions; the range goes from the lowest to the highest \
        of them. The two last columns are ratios of costs, the time of a message or an operation \
        (also where the table shows a rate), so less is better: against the limit, which does no \
        more than necessary and guards against nothing, and against the best other row, limits \
        left out; rows of unixipc are not compared with one another.\n";
    for test in &TESTS {
        let of_test: Vec<_> = places
            .iter()
            .filter(|place| place.test.name == test.name)
            .collect();
        if of_test.is_empty() {
            continue;
        }
        text += &format!("\n### {}\n\n{}\n", test.title, test.about);
        for picture in pictures.iter().filter(|picture| picture.test == test.name) {
            text += &format!("\n![{}]({})\n", picture.title, picture.file);
        }
        if matches!(test.shown, Shown::TimeByN | Shown::RateByN) {
            text += &format!("\n{}", table_by_n(test, &of_test).render());
        } else {
            for place in &of_test {
                if let Some(heading) = place.heading() {
                    text += &format!("\n#### {heading}\n");
                }
                text += &format!("\n{}", table(place).render());
            }
        }
        text += &failures(&of_test);
    }
    text
}

/// What has failed, each message once.
fn failures(places: &[&Place]) -> String {
    let mut messages: BTreeMap<(&str, &str), usize> = BTreeMap::new();
    for line in places.iter().flat_map(|place| &place.lines) {
        for record in line.failed.iter().filter(|record| record.repetition > 0) {
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

/// How a cost in ns is shown in a table, and its unit.
fn form(shown: Shown) -> (fn(f64) -> String, &'static str) {
    match shown {
        Shown::LatencyNs | Shown::TimeNs => (digits, "ns"),
        Shown::LatencyUs | Shown::TimeUs | Shown::TimeByN => (|ns| digits(ns / 1e3), "µs"),
        Shown::Rate => (|ns| scaled(1e9 / ns), "messages/s"),
        Shown::Operations => (|ns| scaled(1e9 / ns), "operations/s"),
        Shown::Reads | Shown::RateByN => (|ns| scaled(1e9 / ns), "reads/s"),
        Shown::Calls => (|calls| format!("{calls:.2}"), "calls a message"),
    }
}

fn range(shown: Shown, cost: Summary) -> String {
    let (form, _) = form(shown);
    let (a, b) = (form(cost.min), form(cost.max));
    // What costs most is the lowest rate.
    match shown {
        Shown::Rate | Shown::Operations | Shown::Reads | Shown::RateByN => format!("{b} – {a}"),
        _ => format!("{a} – {b}"),
    }
}

fn ratio(value: Option<f64>) -> String {
    value.map_or("-".into(), |value| format!("{value:.2}"))
}

/// The second column.
fn mark(line: &Line, is_best: bool) -> String {
    let class = match line.class {
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

fn table(place: &Place) -> Table {
    let shown = place.test.shown;
    let (form, unit) = form(shown);
    let costs = place.costs();
    let best = best(&costs);
    let has_limit = costs.iter().any(|(class, _)| *class == Class::Limit);

    let mut header: Vec<&str> = vec!["mechanism", ""];
    match shown {
        Shown::LatencyNs => header.extend(["time, ns", "range", "p50", "p99", "p99.9", "CPU, ns"]),
        Shown::LatencyUs => header.extend(["time, µs", "range", "p50", "p99", "p99.9", "CPU, µs"]),
        Shown::Rate => header.extend(["messages/s", "range", "GB/s", "CPU s a million"]),
        Shown::Reads => header.extend(["reads/s", "range", "failed tries a read", "writes/s"]),
        Shown::Calls => header.extend([unit, "which"]),
        Shown::Operations => header.extend([unit, "range", "CPU, ns"]),
        Shown::TimeNs | Shown::TimeUs | Shown::TimeByN | Shown::RateByN => {
            header.extend([unit, "range"]);
        }
    }
    if has_limit {
        header.push("to limit");
    }
    header.push("to best other");
    let mut table = Table::new(2, header.iter().copied());

    for (at, line) in place.lines.iter().enumerate() {
        let mut row = vec![line.name(), mark(line, best == Some(at))];
        if let Some(cost) = line.cost {
            row.push(form(cost.median));
            if shown == Shown::Calls {
                row.push(line.good[0].which_calls.clone());
            } else {
                row.push(range(shown, cost));
            }
            row.extend(more_cells(line, place));
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

/// What stands between the range and the ratios.
fn more_cells(line: &Line, place: &Place) -> Vec<String> {
    let (form, _) = form(place.test.shown);
    let cpu = |record: &Record| record.each(record.cpu_ns);
    match place.test.shown {
        Shown::LatencyNs | Shown::LatencyUs => vec![
            line.cell(|record| record.p50_ns, form),
            line.cell(|record| record.p99_ns, form),
            line.cell(|record| record.p999_ns, form),
            line.cell(cpu, form),
        ],
        Shown::Rate => vec![
            line.cost
                .map_or("-".into(), |cost| digits(place.len as f64 / cost.median)),
            // A million messages of so many ns.
            line.cell(cpu, |ns| digits(ns / 1e3)),
        ],
        Shown::Operations => vec![line.cell(cpu, digits)],
        Shown::Reads => vec![
            line.cell(|record| record.each(record.failed), digits),
            line.cell(|record| Some(record.written? / record.ns? * 1e9), scaled),
        ],
        _ => Vec::new(),
    }
}

/// A row for each mechanism, a column for each n; the ratio is that of the largest n.
fn table_by_n(test: &Test, places: &[&Place]) -> Table {
    let (form, unit) = form(test.shown);
    let last = places[places.len() - 1];
    let costs = last.costs();
    let best = best(&costs);
    let mut header = vec!["mechanism".to_owned(), String::new()];
    header.extend(
        places
            .iter()
            .map(|place| format!("{unit}, n = {}", place.n)),
    );
    header.push("last / first".into());
    header.push("to best other".into());
    let mut table = Table::new(2, header);
    for (at, line) in last.lines.iter().enumerate() {
        let mut row = vec![line.name(), mark(line, best == Some(at))];
        let medians: Vec<Option<f64>> = places
            .iter()
            .map(|place| {
                let same = |other: &&Line| {
                    other.first.subject == line.first.subject
                        && other.first.variant == line.first.variant
                };
                Some(place.lines.iter().find(same)?.cost?.median)
            })
            .collect();
        row.extend(medians.iter().map(|cost| cost.map_or("-".into(), form)));
        let growth = match (medians[0], medians[medians.len() - 1]) {
            (Some(first), Some(last)) if test.shown == Shown::RateByN => Some(first / last),
            (Some(first), Some(last)) => Some(last / first),
            _ => None,
        };
        row.push(ratio(growth));
        let to_best = line.cost.and_then(|_| ratios(&costs, at).to_best_other);
        row.push(ratio(to_best));
        table.add(row);
    }
    table
}

/// A row for each place: the best of ours, the best of the others.
fn in_short(places: &[Place]) -> Table {
    let mut table = Table::new(
        3,
        [
            "what",
            "best of unixipc",
            "best other",
            "unixipc",
            "other",
            "to limit",
            "ratio",
        ],
    );
    for (i, place) in places.iter().enumerate() {
        // Of several n the largest.
        let next = places.get(i + 1);
        if next.is_some_and(|next| next.test.name == place.test.name && next.n > place.n) {
            continue;
        }
        let costs = place.costs();
        let first = |wanted| costs.iter().position(|(class, _)| *class == wanted);
        let (form, unit) = form(place.test.shown);
        let title = |at: Option<usize>| at.map_or("-".into(), |at| place.lines[at].name());
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
        let mut what = place.test.title.to_owned();
        if let Some(heading) = place.heading() {
            what += &format!(", {heading}");
        }
        if place.n > 1 {
            what += &format!(", n = {}", place.n);
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
        // Ours against the best other, not against ours, not against a limit.
        assert_eq!(to(2).to_best_other, Some(0.5));
        assert_eq!(to(3).to_best_other, Some(0.625));
        // The others against the best of all, itself left out.
        assert_eq!(to(4).to_best_other, Some(2.0));
        assert_eq!(to(5).to_best_other, Some(4.0));
        // A limit against the best that is none.
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
        // No system calls at all: nothing to divide by.
        assert_eq!(ratios(&[(Ours, 0.0), (Other, 0.0)], 0).to_best_other, None);
        assert_eq!(
            ratios(&[(Ours, 0.0), (Other, 2.0)], 0).to_best_other,
            Some(0.0)
        );
        assert_eq!(best(&[(Limit, 1.0)]), None);
        // The best of the others is below 1, as the best of a table always is.
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
