//! Sizes, times and rates, and how people read them.

/// A number of bytes, such as `256K`, with at most three significant digits.
pub fn bytes(number: u64) -> String {
    scaled(number as f64, 1024.0)
}

/// A rate or a count, such as `1.25M`.
pub fn count(number: f64) -> String {
    scaled(number, 1000.0)
}

fn scaled(mut number: f64, base: f64) -> String {
    for unit in ["", "K", "M", "G", "T", "P"] {
        // What would be rounded up to the base belongs to the next unit.
        if number < base - 0.5 {
            let digits = match number {
                _ if unit.is_empty() || number.fract() == 0.0 || number >= 99.95 => 0,
                _ if number >= 9.995 => 1,
                _ => 2,
            };
            return format!("{number:.digits$}{unit}");
        }
        number /= base;
    }
    format!("{number:.0}E")
}

/// The change of a counter in a second. None if it was not seen before, or has moved back.
pub fn rate(before: Option<u64>, now: u64, seconds: f64) -> Option<f64> {
    let change = now.wrapping_sub(before?);
    (change < 1 << 62).then_some(change as f64 / seconds)
}

/// A time in seconds, such as `3h`, in its largest unit.
pub fn age(seconds: u64) -> String {
    let units = [(86400, "d"), (3600, "h"), (60, "m")];
    let unit = units.into_iter().find(|(size, _)| seconds >= *size);
    let (size, name) = unit.unwrap_or((1, "s"));
    format!("{}{name}", seconds / size)
}

/// Parses a time such as `90`, `90s`, `5m`, `2h` or `7d`, in seconds.
pub fn parse_age(text: &str) -> Result<u64, String> {
    let end = text.find(|character: char| !character.is_ascii_digit());
    let (number, unit) = text.split_at(end.unwrap_or(text.len()));
    let size = match unit {
        "" | "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86400,
        _ => return Err("a number, and s, m, h or d".into()),
    };
    let number: u64 = number.parse().map_err(|_| "not a number".to_string())?;
    number.checked_mul(size).ok_or_else(|| "too large".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes() {
        for (number, text) in [
            (0, "0"),
            (1023, "1023"),
            (1024, "1K"),
            (1536, "1.50K"),
            (65536, "64K"),
            (1 << 20, "1M"),
            (u64::MAX, "16E"),
        ] {
            assert_eq!(bytes(number), text);
        }
        for (number, text) in [
            (0.0, "0"),
            (999.6, "1.00K"),
            (1234.0, "1.23K"),
            (12_345.0, "12.3K"),
        ] {
            assert_eq!(count(number), text);
        }
    }

    #[test]
    fn ages() {
        for (seconds, text) in [
            (0, "0s"),
            (59, "59s"),
            (60, "1m"),
            (7200, "2h"),
            (200_000, "2d"),
        ] {
            assert_eq!(age(seconds), text);
        }
        for (text, seconds) in [
            ("0", 0),
            ("90", 90),
            ("90s", 90),
            ("5m", 300),
            ("2h", 7200),
            ("7d", 604_800),
        ] {
            assert_eq!(parse_age(text), Ok(seconds));
        }
        for text in [
            "",
            "s",
            "-1",
            "5x",
            "99999999999999999999",
            "18446744073709551615d",
            "1 s",
        ] {
            assert!(parse_age(text).is_err(), "{text}");
        }
    }
}
