//! The charts: lines on logarithmic axes, as SVG.

use std::collections::BTreeMap;
use std::error::Error;
use std::fs;
use std::path::Path;

use plotters::coord::ranged1d::{KeyPointHint, Ranged, ValueFormatter};
use plotters::prelude::*;

use crate::plan::{TESTS, TableKind};
use crate::record::Record;
use crate::report::{Class, Picture, Section, sections};
use crate::stats::{Histogram, survival};
use crate::table::{bytes, digits};

/// With more lines, a chart is hard to read.
const LINES_MAX: usize = 10;
const SIZE: (u32, u32) = (1000, 560);
const LEGEND: u32 = 290;

/// Colours of Okabe and Ito, which colour-blind readers can distinguish. Further lines are dashed.
const OTHERS: [RGBColor; 5] = [
    RGBColor(0, 114, 178),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(130, 130, 130),
];
const OURS: [RGBColor; 2] = [RGBColor(213, 94, 0), RGBColor(230, 159, 0)];
const GRID: RGBColor = RGBColor(225, 225, 225);

struct Series {
    name: String,
    subject: String,
    class: Class,
    /// Decimal logarithms.
    points: Vec<(f64, f64)>,
    /// The order of the selection: less is better.
    rank: f64,
    /// The number of sizes without a figure. A series with missing sizes is selected last.
    missing: usize,
}

struct Chart {
    title: String,
    x_title: String,
    y_title: &'static str,
    x_marks: Marks,
    y_form: fn(f64) -> String,
    dots: bool,
}

/// The range of an axis, and its tick marks with their labels.
struct Marks {
    limits: (f64, f64),
    at: Vec<(f64, String)>,
}

impl Ranged for Marks {
    type FormatOption = plotters::coord::ranged1d::NoDefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, (low, high): (i32, i32)) -> i32 {
        let (first, last) = self.limits;
        low + ((value - first) / (last - first) * f64::from(high - low)).round() as i32
    }

    fn key_points<Hint: KeyPointHint>(&self, _: Hint) -> Vec<f64> {
        self.at.iter().map(|mark| mark.0).collect()
    }

    fn range(&self) -> std::ops::Range<f64> {
        self.limits.0..self.limits.1
    }
}

impl ValueFormatter<f64> for Marks {
    fn format_ext(&self, value: &f64) -> String {
        let mark = self.at.iter().find(|mark| mark.0 == *value);
        mark.map_or(String::new(), |mark| mark.1.clone())
    }
}

impl Marks {
    /// Marks at 1, 2 and 5 of each decade, or at each decade if there are many.
    fn decades(low: f64, high: f64, form: fn(f64) -> String) -> Marks {
        let pad = (0.04 * (high - low)).max(0.05);
        let limits = (low - pad, high + pad);
        let steps: &[f64] = match high - low {
            wide if wide > 3.5 => &[1.0],
            _ => &[1.0, 2.0, 5.0],
        };
        let mut at = Vec::new();
        for decade in limits.0.floor() as i32..=limits.1.ceil() as i32 {
            for step in steps {
                let value = step * 10f64.powi(decade);
                if (limits.0..=limits.1).contains(&value.log10()) {
                    at.push((value.log10(), form(value)));
                }
            }
        }
        Marks { limits, at }
    }
}

/// Draws all charts for which there are figures, into the directory.
pub fn draw(records: &[Record], directory: &Path) -> Result<Vec<Picture>, Box<dyn Error>> {
    let sections = sections(records);
    let mut pictures = Vec::new();
    for test in &TESTS {
        let of_test = |cores: &str| -> Vec<&Section> {
            let wanted =
                |section: &&Section| section.test.name == test.name && section.cores == cores;
            sections.iter().filter(wanted).collect()
        };
        for cores in test.cores {
            let sections = of_test(cores);
            let mut name = test.name.to_owned();
            let mut title = test.title.to_owned();
            if test.cores.len() > 1 {
                name += &format!("-{cores}");
                title += if *cores == "one" {
                    ", both on one core"
                } else {
                    ", across cores"
                };
            }
            let mut charts = Vec::new();
            if test.is_latency() || test.kind == TableKind::Rate {
                charts.push((format!("{name}.svg"), by_size(&sections, &title)));
            }
            if test.is_latency() {
                charts.push((
                    format!("{name}-distribution.svg"),
                    distribution(&sections, &title),
                ));
            }
            for (file, chart) in charts {
                // An old chart must not remain beside new figures.
                match fs::remove_file(directory.join(&file)) {
                    Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                        return Err(error.into());
                    }
                    _ => {}
                }
                let Some((chart, series)) = chart else {
                    continue;
                };
                draw_one(&directory.join(&file), &chart, &series)?;
                pictures.push(Picture {
                    test: test.name,
                    title: chart.title,
                    file,
                });
            }
        }
    }
    Ok(pictures)
}

/// Latency or rate by message size. None if there is only one size.
fn by_size(sections: &[&Section], title: &str) -> Option<(Chart, Vec<Series>)> {
    let (first, last) = (sections.first()?, sections.last()?);
    if first.len == last.len {
        return None;
    }
    let is_rate = first.test.kind == TableKind::Rate;
    let mut all: BTreeMap<(&str, &str), Series> = BTreeMap::new();
    for section in sections {
        for mechanism in &section.mechanisms {
            let Some(cost) = mechanism.cost else { continue };
            let series = all
                .entry((&mechanism.first.subject, &mechanism.first.variant))
                .or_insert_with(|| Series {
                    name: mechanism.first.title.clone(),
                    subject: mechanism.first.subject.clone(),
                    class: mechanism.class,
                    points: Vec::new(),
                    rank: 0.0,
                    missing: 0,
                });
            let value = if is_rate {
                1e9 / cost.median
            } else {
                cost.median
            };
            series
                .points
                .push(((section.len as f64).log10(), value.log10()));
        }
    }
    let mut series: Vec<Series> = all.into_values().collect();
    series.retain(|series| series.points.len() > 1);
    for series in &mut series {
        let sum: f64 = series.points.iter().map(|point| point.1).sum();
        let mean = sum / series.points.len() as f64;
        series.rank = if is_rate { -mean } else { mean };
        series.missing = sections.len() - series.points.len();
    }
    let log = |len: u64| (len as f64).log10();
    let pad = 0.03 * (log(last.len) - log(first.len));
    let chart = Chart {
        title: format!("{title}, by size"),
        x_title: "message size".into(),
        y_title: if is_rate {
            "messages per second"
        } else {
            "half a round trip"
        },
        x_marks: Marks {
            limits: (log(first.len) - pad, log(last.len) + pad),
            at: sections
                .iter()
                .map(|section| (log(section.len), bytes(section.len)))
                .collect(),
        },
        y_form: if is_rate { rate } else { time },
        dots: true,
    };
    Some((chart, select(series)))
}

/// The distribution of the latency of the shortest messages.
fn distribution(sections: &[&Section], title: &str) -> Option<(Chart, Vec<Series>)> {
    let section = sections.first()?;
    let mut series = Vec::new();
    for mechanism in &section.mechanisms {
        let mut sum = Histogram::new();
        for (ns, count) in mechanism
            .records()
            .iter()
            .flat_map(|record| record.histogram())
        {
            *sum.entry(ns).or_default() += count;
        }
        // 0 has no logarithm.
        let points: Vec<_> = survival(&sum)
            .into_iter()
            .map(|(ns, share)| (-share.log10(), ns.max(0.1).log10()))
            .take_while(|point| point.0 <= 4.0)
            .collect();
        if let (Some(cost), true) = (mechanism.cost, points.len() > 1) {
            series.push(Series {
                name: mechanism.first.title.clone(),
                subject: mechanism.first.subject.clone(),
                class: mechanism.class,
                points,
                rank: cost.median,
                missing: 0,
            });
        }
    }
    if series.is_empty() {
        return None;
    }
    let nines = [
        (0.5, "50 %"),
        (0.9, "90 %"),
        (0.99, "99 %"),
        (0.999, "99.9 %"),
        (0.9999, "99.99 %"),
    ];
    let chart = Chart {
        title: format!("{title}, {}: distribution", bytes(section.len)),
        x_title: "share of round trips that took no longer".into(),
        y_title: "half a round trip",
        x_marks: Marks {
            limits: (0.0, 4.02),
            at: nines
                .map(|(share, text)| (-f64::log10(1.0 - share), text.to_owned()))
                .into(),
        },
        y_form: time,
        dots: false,
    };
    Some((chart, select(series)))
}

fn time(ns: f64) -> String {
    match ns {
        ns if ns >= 1e6 => format!("{} ms", trimmed(ns / 1e6)),
        ns if ns >= 1e3 => format!("{} µs", trimmed(ns / 1e3)),
        ns => format!("{} ns", trimmed(ns)),
    }
}

fn rate(value: f64) -> String {
    match value {
        value if value >= 1e6 => format!("{} M", trimmed(value / 1e6)),
        value if value >= 1e3 => format!("{} k", trimmed(value / 1e3)),
        value => trimmed(value),
    }
}

fn trimmed(value: f64) -> String {
    let text = digits(value);
    if text.contains('.') {
        text.trim_end_matches('0').trim_end_matches('.').to_owned()
    } else {
        text
    }
}

/// Selects the best two series of unixipc, the nearest limit, the best series of each other subject,
/// and then the best of the remaining series.
fn select(mut all: Vec<Series>) -> Vec<Series> {
    all.sort_by(|a, b| a.missing.cmp(&b.missing).then(a.rank.total_cmp(&b.rank)));
    let limits: Vec<usize> = (0..all.len())
        .filter(|&i| all[i].class == Class::Limit)
        .collect();
    let nearest = limits
        .iter()
        .rfind(|&&i| all[i].missing == 0)
        .or(limits.last())
        .copied();
    let mut at = 0;
    all.retain(|series| {
        at += 1;
        series.class != Class::Limit || Some(at - 1) == nearest
    });
    let mut chosen: Vec<Series> = Vec::new();
    let mut later = Vec::new();
    for series in all {
        let same = chosen.iter().filter(|other| other.class == series.class);
        let wanted = match series.class {
            Class::Ours => same.count() < OURS.len(),
            Class::Limit => true,
            Class::Other if chosen.iter().any(|other| other.subject == series.subject) => {
                later.push(series);
                continue;
            }
            Class::Other => true,
        };
        if wanted {
            chosen.push(series);
        }
    }
    later.truncate(LINES_MAX.saturating_sub(chosen.len()));
    chosen.append(&mut later);
    chosen.sort_by(|a, b| a.rank.total_cmp(&b.rank));
    chosen
}

struct Style {
    colour: RGBColor,
    width: u32,
    dashed: bool,
}

/// The style of each series. Those of unixipc have the thickest lines.
fn styles(series: &[Series]) -> Vec<Style> {
    let mut counts = [0usize; 3];
    let of = |series: &Series| {
        let count = &mut counts[series.class as usize];
        let at = *count;
        *count += 1;
        match series.class {
            Class::Ours => Style {
                colour: OURS[at % OURS.len()],
                width: 4,
                dashed: false,
            },
            Class::Limit => Style {
                colour: BLACK,
                width: 1,
                dashed: true,
            },
            Class::Other => Style {
                colour: OTHERS[at % OTHERS.len()],
                width: 2,
                dashed: at >= OTHERS.len(),
            },
        }
    };
    series.iter().map(of).collect()
}

fn draw_one(file: &Path, chart: &Chart, series: &[Series]) -> Result<(), Box<dyn Error>> {
    let all = || {
        series
            .iter()
            .flat_map(|series| &series.points)
            .map(|point| point.1)
    };
    let (low, high) = (
        all().fold(f64::MAX, f64::min),
        all().fold(f64::MIN, f64::max),
    );

    let root = SVGBackend::new(file, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let (left, right) = root.split_horizontally(SIZE.0 - LEGEND);
    let x_marks = Marks {
        limits: chart.x_marks.limits,
        at: chart.x_marks.at.clone(),
    };
    let mut plot = ChartBuilder::on(&left)
        .caption(&chart.title, ("sans-serif", 18))
        .margin(12)
        .x_label_area_size(46)
        .y_label_area_size(78)
        .build_cartesian_2d(x_marks, Marks::decades(low, high, chart.y_form))?;
    plot.configure_mesh()
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .x_desc(&chart.x_title)
        .y_desc(chart.y_title)
        .label_style(("sans-serif", 14))
        .axis_desc_style(("sans-serif", 15))
        .draw()?;

    let styles = styles(series);
    // Draws those of unixipc last, so that no other line covers them.
    let mut order: Vec<usize> = (0..series.len()).collect();
    order.sort_by_key(|&i| series[i].class == Class::Ours);
    for &i in &order {
        let (series, style) = (&series[i], &styles[i]);
        let line = style.colour.stroke_width(style.width);
        if style.dashed {
            let dashes = DashedLineSeries::new(series.points.iter().copied(), 7, 5, line);
            plot.draw_series(dashes)?;
        } else {
            plot.draw_series(LineSeries::new(series.points.iter().copied(), line))?;
        }
        if chart.dots {
            let size = 2 + style.width as i32 / 2;
            let dots = series.points.iter();
            plot.draw_series(dots.map(|&point| Circle::new(point, size, style.colour.filled())))?;
        }
    }

    // The legend has the order of the lines at the right end, from the top.
    let end = |i: &usize| series[*i].points.last().map_or(f64::MIN, |point| point.1);
    order.sort_by(|a, b| {
        let missing = series[*a].missing.cmp(&series[*b].missing);
        missing.then(end(b).total_cmp(&end(a)))
    });
    for (at, &i) in order.iter().enumerate() {
        let y = 52 + 26 * at as i32;
        let style = &styles[i];
        let line = style.colour.stroke_width(style.width);
        let ends = [(4, y), (36, y)];
        if style.dashed {
            for x in [4, 16, 28] {
                right.draw(&PathElement::new(vec![(x, y), (x + 7, y)], line))?;
            }
        } else {
            right.draw(&PathElement::new(ends, line))?;
        }
        let name: String = match series[i].class {
            Class::Ours => format!("unixipc: {}", series[i].name),
            Class::Limit => format!("limit: {}", series[i].name),
            Class::Other => series[i].name.clone(),
        };
        let name: String = name.chars().take(36).collect();
        let text = TextStyle::from(("sans-serif", 14)).color(&BLACK);
        right.draw(&Text::new(name, (44, y - 8), text))?;
    }
    root.present()?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(subject: &str, class: Class, rank: f64) -> Series {
        Series {
            name: format!("{subject} {rank}"),
            subject: subject.into(),
            class,
            points: Vec::new(),
            rank,
            missing: 0,
        }
    }

    #[test]
    fn which_lines_are_drawn() {
        let mut all: Vec<_> = (0..20)
            .map(|i| series("kernel", Class::Other, f64::from(i)))
            .collect();
        all.extend((0..5).map(|i| series("unixipc", Class::Ours, f64::from(i))));
        all.extend((0..3).map(|i| series("ring", Class::Limit, f64::from(i))));
        all.push(series("nng", Class::Other, 99.0));
        let chosen = select(all);
        let count = |subject| {
            chosen
                .iter()
                .filter(|series| series.subject == subject)
                .count()
        };
        assert_eq!(chosen.len(), LINES_MAX);
        assert_eq!((count("unixipc"), count("ring"), count("nng")), (2, 1, 1));
        let limit = chosen.iter().find(|series| series.class == Class::Limit);
        assert_eq!(limit.unwrap().rank, 2.0, "the nearest");
        assert!(chosen.is_sorted_by(|a, b| a.rank <= b.rank));
        assert!(styles(&chosen).iter().any(|style| style.dashed));
    }

    #[test]
    fn marks_of_axes() {
        let marks = Marks::decades(2.0, 4.0, time);
        let texts: Vec<_> = marks.at.iter().map(|mark| mark.1.as_str()).collect();
        assert_eq!(
            texts,
            [
                "100 ns", "200 ns", "500 ns", "1 µs", "2 µs", "5 µs", "10 µs"
            ]
        );
        let wide = Marks::decades(0.0, 9.0, rate);
        assert_eq!(wide.at.len(), 10);
        // An axis needs a range even if all values are equal.
        let flat = Marks::decades(2.0, 2.0, time);
        assert!(flat.limits.0 < flat.limits.1);
    }
}
