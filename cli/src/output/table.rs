//! Tables.

use super::printable::escaped_str;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Color, ContentArrangement};
use crossterm::terminal;
use std::io::{self, IsTerminal};
use unicode_width::UnicodeWidthChar;

/// A cell of a table.
#[derive(Clone, Debug)]
pub struct Cell {
    text: String,
    colour: Option<Color>,
    right: bool,
}

impl Cell {
    /// A text. Control characters are escaped.
    pub fn text(text: impl AsRef<str>) -> Self {
        Self {
            text: escaped_str(text.as_ref()),
            colour: None,
            right: false,
        }
    }

    /// A number.
    pub fn number(number: impl ToString) -> Self {
        Self {
            text: number.to_string(),
            colour: None,
            right: true,
        }
    }

    /// This cell in green: all is well.
    pub fn good(self) -> Self {
        self.with(Color::Green)
    }

    /// This cell in yellow: worth a look.
    pub fn notable(self) -> Self {
        self.with(Color::Yellow)
    }

    /// This cell in red: something is wrong.
    pub fn bad(self) -> Self {
        self.with(Color::Red)
    }

    fn with(mut self, colour: Color) -> Self {
        self.colour = Some(colour);
        self
    }
}

/// Rows of cells below a header.
pub struct Table(comfy_table::Table);

impl Table {
    /// A table without rows.
    pub fn new(header: &[&str]) -> Self {
        let mut table = comfy_table::Table::new();
        table.load_preset(NOTHING);
        table.set_header(header.to_vec());
        Self(table)
    }

    /// Appends a row.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.0.add_row(cells.into_iter().map(|cell| {
            let alignment = match cell.right {
                true => CellAlignment::Right,
                false => CellAlignment::Left,
            };
            let made = comfy_table::Cell::new(cell.text).set_alignment(alignment);
            match cell.colour {
                Some(colour) => made.fg(colour),
                None => made,
            }
        }));
    }

    /// The lines of the table. If `width` is given, no line is longer, and long cells are wrapped.
    pub fn render(&self, colour: bool, width: Option<u16>) -> String {
        let mut table = self.0.clone();
        if colour {
            table.enforce_styling();
        } else {
            table.force_no_tty();
        }
        if let Some(width) = width {
            table.set_width(width);
            table.set_content_arrangement(ContentArrangement::Dynamic);
        }
        let lines: Vec<String> = table.lines().map(|line| line.trim_end().into()).collect();
        lines.join("\n")
    }
}

/// The beginning of a line that fits into this number of columns.
pub fn cut(line: &str, columns: u16) -> &str {
    let mut width = 0;
    for (at, character) in line.char_indices() {
        width += character.width().unwrap_or(0);
        if width > columns.into() {
            return line.get(..at).unwrap_or_default();
        }
    }
    line
}

/// The width of the terminal. None if standard output is no terminal.
pub fn terminal_width() -> Option<u16> {
    if !io::stdout().is_terminal() {
        return None;
    }
    terminal::size().ok().map(|(columns, _)| columns)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_cut_by_their_width() {
        for (line, columns, expected) in [
            ("abc", 3, "abc"),
            ("abc", 2, "ab"),
            ("abc", 0, ""),
            ("名前", 3, "名"),
            ("a\u{301}bc", 2, "a\u{301}b"),
        ] {
            assert_eq!(cut(line, columns), expected);
        }
    }

    #[test]
    fn names_are_escaped() {
        let mut table = Table::new(&["NAME", "SIZE"]);
        table.row(vec![Cell::text("\u{1b}[2Ja").bad(), Cell::number(7)]);
        let text = table.render(false, None);
        assert!(text.contains("\\x1b[2Ja"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
        assert!(table.render(true, None).contains('\u{1b}'));
    }
}
