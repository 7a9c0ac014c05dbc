//! Tables.

use super::printable::escaped_str;
use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, Color, ContentArrangement};
use crossterm::terminal;
use std::io::{self, IsTerminal};

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
        table.load_style(NOTHING);
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

/// The width of the terminal. None if standard output is no terminal.
pub fn terminal_width() -> Option<u16> {
    if !io::stdout().is_terminal() {
        return None;
    }
    terminal::size().ok().map(|(columns, _)| columns)
}
