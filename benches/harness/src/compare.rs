//! The comparison of a run with an earlier one.

use std::collections::BTreeMap;

use crate::plan::test_named;
use crate::record::{Facts, Key, Record};
use crate::report::{Class, class};
use crate::stats::Summary;
use crate::table::{Table, bytes};

/// A smaller change is ignored, whatever the spread.
const MIN_CHANGE: f64 = 0.03;
/// With fewer repetitions, the spread is unknown.
const MIN_REPETITIONS: usize = 3;

/// How a cost has changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Change {
    /// Not by more than the spread of a run.
    None,
    Slower,
    Faster,
    /// There are too few repetitions.
    Unknown,
}

/// Compares medians. They must differ by more than the spread of either run.
pub fn change(before: Summary, now: Summary) -> Change {
    if before.count < MIN_REPETITIONS || now.count < MIN_REPETITIONS {
        return Change::Unknown;
    }
    let difference = now.median - before.median;
    let noise = before
        .spread()
        .max(now.spread())
        .max(MIN_CHANGE * before.median);
    match difference {
        more if more > noise => Change::Slower,
        less if -less > noise => Change::Faster,
        _ => Change::None,
    }
}

fn costs(records: &[Record]) -> BTreeMap<Key, (&Record, Summary)> {
    let mut all: BTreeMap<Key, (&Record, Vec<f64>)> = BTreeMap::new();
    for record in records.iter().filter(|record| record.error.is_empty()) {
        if let Some(cost) = record.cost() {
            all.entry(record.key())
                .or_insert((record, Vec::new()))
                .1
                .push(cost);
        }
    }
    all.into_iter()
        .filter_map(|(key, (record, costs))| Some((key, (record, Summary::of(&costs)?))))
        .collect()
}

/// The rows that became slower or faster, as Markdown.
pub fn compare(
    (facts_before, before): (&Facts, &[Record]),
    (facts, now): (&Facts, &[Record]),
) -> String {
    let (old, new) = (costs(before), costs(now));
    let mut text = String::from("\n## Comparison with the earlier run\n\n");
    for name in ["processor", "kernel", "cores used", "milliseconds a run"] {
        let of = |facts: &Facts| {
            facts
                .iter()
                .find(|(key, _)| key == name)
                .map(|fact| fact.1.clone())
        };
        let (was, is) = (of(facts_before), of(facts));
        if was != is {
            let text_of = |fact: Option<String>| fact.unwrap_or("unknown".into());
            text += &format!("- another {name}: {}, now {}\n", text_of(was), text_of(is));
        }
    }

    let mut changed: Vec<(f64, Change, &Key, &Record, Summary, Summary)> = Vec::new();
    let (mut both, mut unknown) = (0, 0);
    for (key, &(record, now)) in &new {
        // System calls are counted only in the first repetition.
        let Some(&(_, before)) = old.get(key).filter(|_| record.calls.is_none()) else {
            continue;
        };
        both += 1;
        match change(before, now) {
            Change::None => {}
            Change::Unknown => unknown += 1,
            which => changed.push((now.median / before.median, which, key, record, before, now)),
        }
    }
    text += &format!(
        "{both} rows are in both runs. A change is listed if the medians differ by more than the \
         spread of either run, and by more than {} %.\n\n",
        100.0 * MIN_CHANGE
    );
    if unknown > 0 {
        text += &format!(
            "Rows that cannot be compared, because a run has fewer than {MIN_REPETITIONS} \
             repetitions: {unknown}.\n\n"
        );
    }
    let count = |which, ours: bool| {
        let same = |row: &&(f64, Change, &Key, &Record, Summary, Summary)| {
            row.1 == which && (class(row.3) == Class::Ours) == ours
        };
        changed.iter().filter(same).count()
    };
    let (slower, faster) = (count(Change::Slower, true), count(Change::Faster, true));
    if slower == 0 {
        text += "No row of unixipc became slower. ";
    } else {
        text += &format!("Rows of unixipc that became slower: {slower}. ");
    }
    text += &format!(
        "Faster: {faster}. Of the other rows, {} became slower and {} faster. A change of the \
         library cannot affect them, so this is the effect of the machine.\n",
        count(Change::Slower, false),
        count(Change::Faster, false)
    );

    changed.sort_by(|a, b| b.0.total_cmp(&a.0));
    let mut table = Table::new(
        4,
        [
            "",
            "test",
            "mechanism",
            "",
            "before, ns",
            "spread",
            "now, ns",
            "spread",
            "now/before",
        ],
    );
    for (ratio, which, key, record, before, now) in changed {
        let share = |cost: Summary| format!("{:.0} %", 100.0 * cost.spread() / cost.median);
        table.add(vec![
            if which == Change::Slower {
                "slower"
            } else {
                "faster"
            }
            .into(),
            section_name(key),
            record.title.clone(),
            if class(record) == Class::Ours {
                "ours"
            } else {
                ""
            }
            .into(),
            format!("{:.1}", before.median),
            share(before),
            format!("{:.1}", now.median),
            share(now),
            format!("{ratio:.2}"),
        ]);
    }
    if !table.is_empty() {
        text += &format!("\n{}", table.render());
    }
    text
}

fn section_name(key: &Key) -> String {
    let mut text = key.test.clone();
    let test = test_named(&key.test);
    if test.is_none_or(|test| test.lens.len() > 1) {
        text += &format!(", {}", bytes(key.len));
    }
    if test.is_none_or(|test| test.cores.len() > 1) {
        text += &format!(
            ", {} core{}",
            key.cores,
            if key.cores == "one" { "" } else { "s" }
        );
    }
    if key.n > 1 {
        text += &format!(", n = {}", key.n);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Summary {
        Summary::of(values).unwrap()
    }

    #[test]
    fn what_a_change_is() {
        let before = of(&[98.0, 100.0, 102.0]);
        assert_eq!(change(before, of(&[99.0, 103.0, 104.0])), Change::None);
        assert_eq!(change(before, of(&[109.0, 110.0, 111.0])), Change::Slower);
        assert_eq!(change(before, of(&[89.0, 90.0, 91.0])), Change::Faster);
        // The spread of either run can explain the difference.
        assert_eq!(change(before, of(&[99.0, 110.0, 120.0])), Change::None);
        assert_eq!(
            change(of(&[90.0, 100.0, 120.0]), of(&[110.0, 111.0, 112.0])),
            Change::None
        );
        // A small change is ignored, even if all repetitions agree.
        assert_eq!(change(of(&[100.0; 3]), of(&[102.0; 3])), Change::None);
        assert_eq!(change(of(&[100.0; 3]), of(&[104.0; 3])), Change::Slower);
        assert_eq!(change(before, of(&[200.0, 200.0])), Change::Unknown);
    }

    fn records(subject: &str, flags: &str, costs: [f64; 3]) -> Vec<Record> {
        let each = |(i, ns): (usize, f64)| Record {
            test: "rate".into(),
            subject: subject.into(),
            title: subject.into(),
            flags: flags.into(),
            len: 64,
            cores: "two".into(),
            n: 1,
            repetition: i as u32 + 1,
            messages: Some(1.0),
            ns: Some(ns),
            ..Record::default()
        };
        costs.into_iter().enumerate().map(each).collect()
    }

    #[test]
    fn a_comparison() {
        let facts = |kernel: &str| vec![("kernel".to_owned(), kernel.to_owned())];
        let steady = [100.0, 101.0, 102.0];
        let worse = [200.0, 201.0, 202.0];
        let before = [
            records("unixipc", "ours", steady),
            records("nng", "", worse),
        ]
        .concat();
        let (one, other) = (facts("1"), facts("2"));

        let same = compare((&one, &before), (&one, &before));
        assert!(same.contains("2 rows are in both") && same.contains("No row of unixipc became"));
        assert!(!same.contains("another kernel") && !same.contains("| slower"));

        let now = [
            records("unixipc", "ours", worse),
            records("nng", "", steady),
        ]
        .concat();
        let text = compare((&one, &before), (&other, &now));
        assert!(text.contains("another kernel: 1, now 2"));
        assert!(text.contains("Rows of unixipc that became slower: 1. Faster: 0."));
        assert!(text.contains("0 became slower and 1 faster"));
        assert!(text.contains("| slower | rate, 64 B | unixipc"), "{text}");
        assert!(text.contains("1.99 |") && text.contains("0.50 |"));
    }
}
