//! The output of the commands: tables, lines and JSON. Names that other programs have chosen are
//! escaped, so that they cannot control the terminal.

mod json;
mod printable;
mod table;
pub mod units;

pub use json::{Name, line as json_line};
pub use printable::{escaped, escaped_str};
pub use table::{Cell, Table, cut};

use crate::error::{Context, Error, Result};
use clap::ValueEnum;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// When to use colours.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum ColourChoice {
    /// If standard output is a terminal, NO_COLOR is not set and TERM is not "dumb"
    #[default]
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

impl ColourChoice {
    fn is_wanted(self) -> bool {
        let refused = || std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        let dumb = || std::env::var_os("TERM").is_none_or(|term| term == "dumb");
        match self {
            Self::Always => true,
            Self::Never => false,
            Self::Auto => io::stdout().is_terminal() && !refused() && !dumb(),
        }
    }
}

/// Standard output and its form.
pub struct Output {
    json: bool,
    colour: bool,
}

impl Output {
    /// An output of this form.
    pub fn new(json: bool, colour: ColourChoice) -> Self {
        Self {
            json,
            colour: colour.is_wanted(),
        }
    }

    /// Whether the commands write JSON.
    pub fn is_json(&self) -> bool {
        self.json
    }

    /// Whether the commands use colours.
    pub fn is_coloured(&self) -> bool {
        self.colour
    }

    /// Writes bytes as they are.
    pub fn bytes(&self, bytes: &[u8]) -> Result<()> {
        let mut stdout = io::stdout().lock();
        let written = stdout.write_all(bytes).and_then(|()| stdout.flush());
        written.context("standard output")
    }

    /// Writes a line of text, which is already escaped.
    pub fn line(&self, text: &str) -> Result<()> {
        self.bytes(format!("{text}\n").as_bytes())
    }

    /// Writes a value as JSON, on one line.
    pub fn value(&self, value: &impl Serialize) -> Result<()> {
        self.bytes(&json::line(value)?)
    }

    /// Writes a table.
    pub fn table(&self, table: &Table) -> Result<()> {
        self.line(&table.render(self.colour, table::terminal_width()))
    }

    /// Writes a message to standard error.
    pub fn note(&self, message: &str) {
        let _ = writeln!(io::stderr(), "unixipc: {}", escaped_str(message));
    }

    /// Writes an error to standard error.
    pub fn report(&self, error: &Error) {
        self.note(&error.to_string());
    }
}
