//! Markdown tables that are also readable on a terminal, and the format of figures.

/// A table. The first columns are left-aligned; the others contain figures and are right-aligned.
pub struct Table {
    left: usize,
    rows: Vec<Vec<String>>,
}

impl Table {
    pub fn new<S: Into<String>>(left: usize, header: impl IntoIterator<Item = S>) -> Table {
        Table {
            left,
            rows: vec![header.into_iter().map(Into::into).collect()],
        }
    }

    pub fn add(&mut self, row: Vec<String>) {
        assert_eq!(row.len(), self.rows[0].len(), "{row:?}");
        self.rows.push(row);
    }

    pub fn is_empty(&self) -> bool {
        self.rows.len() == 1
    }

    pub fn render(&self) -> String {
        let columns = self.rows[0].len();
        // A bar would end the cell, and a line break would end the table.
        let clean = |cell: &String| cell.replace('|', "/").replace(['\n', '\r'], " ");
        let rows: Vec<Vec<String>> = self
            .rows
            .iter()
            .map(|row| row.iter().map(clean).collect())
            .collect();
        let widths: Vec<usize> = (0..columns)
            .map(|i| {
                rows.iter()
                    .map(|row| row[i].chars().count())
                    .max()
                    .unwrap_or(0)
                    .max(2)
            })
            .collect();
        let mut text = String::new();
        for (at, row) in rows.iter().enumerate() {
            for (i, cell) in row.iter().enumerate() {
                let width = widths[i];
                text += &if i < self.left {
                    format!("| {cell:<width$} ")
                } else {
                    format!("| {cell:>width$} ")
                };
            }
            text += "|\n";
            if at == 0 {
                for (i, width) in widths.iter().enumerate() {
                    let dashes = "-".repeat(width + 1);
                    text += &if i < self.left {
                        format!("|{dashes}-")
                    } else {
                        format!("|{dashes}:")
                    };
                }
                text += "|\n";
            }
        }
        text
    }
}

/// A figure with three significant digits.
pub fn digits(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.9995 => format!("{value:.2}"),
        0.0 => "0".into(),
        _ => format!("{value:.3}"),
    }
}

/// The same with a unit prefix: k, M or G.
pub fn scaled(value: f64) -> String {
    let (unit, by) = match value.abs() {
        size if size >= 999.5e6 => (" G", 1e9),
        size if size >= 999.5e3 => (" M", 1e6),
        size if size >= 9995.0 => (" k", 1e3),
        _ => ("", 1.0),
    };
    format!("{}{unit}", digits(value / by))
}

pub fn bytes(len: u64) -> String {
    match len {
        len if len >= 1 << 20 && len % (1 << 20) == 0 => format!("{} MiB", len >> 20),
        len if len >= 1 << 10 && len % (1 << 10) == 0 => format!("{} KiB", len >> 10),
        len => format!("{len} B"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures() {
        let cases = [
            (0.0, "0"),
            (0.1256, "0.126"),
            (0.9996, "1.00"),
            (9.994, "9.99"),
            (9.996, "10.0"),
        ];
        for (value, text) in cases.into_iter().chain([(99.96, "100"), (123.6, "124")]) {
            assert_eq!(digits(value), text);
        }
        for (value, text) in [
            (950.0, "950"),
            (9994.0, "9994"),
            (12345.0, "12.3 k"),
            (999_600.0, "1.00 M"),
            (45.2e6, "45.2 M"),
            (1.5e9, "1.50 G"),
        ] {
            assert_eq!(scaled(value), text);
        }
        assert_eq!(
            [8, 4096, 1 << 20, 1500].map(bytes),
            ["8 B", "4 KiB", "1 MiB", "1500 B"]
        );
    }

    #[test]
    fn columns_are_aligned() {
        let mut table = Table::new(1, ["what", "µs"]);
        table.add(vec!["a | b".into(), "12.5".into()]);
        assert_eq!(
            table.render(),
            "| what  |   µs |\n|-------|-----:|\n| a / b | 12.5 |\n"
        );
    }
}
