//! Statistics of repeated measurements.

use std::collections::BTreeMap;

/// The median and the range of repeated measurements.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Summary {
    pub median: f64,
    pub min: f64,
    pub max: f64,
    pub count: usize,
}

impl Summary {
    /// None if there are no values.
    pub fn of(values: &[f64]) -> Option<Summary> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let count = sorted.len();
        let median = match count {
            0 => return None,
            n if n % 2 == 1 => sorted[n / 2],
            n => f64::midpoint(sorted[n / 2 - 1], sorted[n / 2]),
        };
        Some(Summary {
            median,
            min: sorted[0],
            max: sorted[count - 1],
            count,
        })
    }

    pub fn spread(&self) -> f64 {
        self.max - self.min
    }
}

/// A histogram of times: the lower bounds of its buckets and their counts. The bounds are in tenths of
/// nanoseconds, because half a round trip may not be a whole number.
pub type Histogram = BTreeMap<u64, u64>;

/// The format in results.csv: "NS:COUNT NS:COUNT ...".
pub fn histogram_to_text(histogram: &Histogram) -> String {
    let buckets: Vec<_> = histogram
        .iter()
        .map(|(&tenths, count)| format!("{}:{count}", tenths as f64 / 10.0))
        .collect();
    buckets.join(" ")
}

pub fn histogram_from_text(text: &str) -> Option<Histogram> {
    let mut histogram = Histogram::new();
    for bucket in text.split_whitespace() {
        let (ns, count) = bucket.split_once(':')?;
        *histogram.entry(tenths(ns)?).or_default() += count.parse::<u64>().ok()?;
    }
    Some(histogram)
}

/// Converts a time in ns to tenths.
pub fn tenths(ns: &str) -> Option<u64> {
    let ns: f64 = ns.parse().ok()?;
    (0.0..1e15)
        .contains(&ns)
        .then(|| (10.0 * ns).round() as u64)
}

/// For each bucket, the time in ns and the share of all values that are in it or above.
pub fn survival(histogram: &Histogram) -> Vec<(f64, f64)> {
    let total: u64 = histogram.values().sum();
    let mut above = total;
    let mut shares = Vec::new();
    for (&tenths, &count) in histogram {
        if count > 0 {
            shares.push((tenths as f64 / 10.0, above as f64 / total as f64));
            above -= count;
        }
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians() {
        assert_eq!(Summary::of(&[]), None);
        let one = Summary::of(&[3.0]).unwrap();
        assert_eq!(
            (one.median, one.min, one.max, one.count),
            (3.0, 3.0, 3.0, 1)
        );
        assert_eq!(Summary::of(&[9.0, 1.0, 5.0]).unwrap().median, 5.0);
        let even = Summary::of(&[4.0, 1.0, 2.0, 100.0]).unwrap();
        assert_eq!((even.median, even.spread()), (3.0, 99.0));
    }

    #[test]
    fn histograms() {
        let histogram = histogram_from_text("100:1 200.5:8 400:1").unwrap();
        assert_eq!(histogram_to_text(&histogram), "100:1 200.5:8 400:1");
        let shares = survival(&histogram);
        assert_eq!(shares, [(100.0, 1.0), (200.5, 0.9), (400.0, 0.1)]);
        assert_eq!(histogram_from_text("1:2:3"), None);
        assert_eq!(histogram_from_text("1:x"), None);
        assert_eq!(histogram_from_text("nan:1"), None);
        assert_eq!(histogram_from_text(""), Some(Histogram::new()));
    }
}
