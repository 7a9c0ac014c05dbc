//! The live table, on one screen of the terminal.

use super::sample::Sample;
use super::{Args, flow, terminal_error};
use crate::commands::ls::not_inspected;
use crate::error::{Code, Context, Result};
use crate::output::{Output, cut};
use crossterm::event::{self, Event, KeyCode, KeyEvent, KeyModifiers};
use crossterm::style::{Color, Print, ResetColor, SetForegroundColor};
use crossterm::{cursor, execute, queue, terminal};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, sigaction};
use std::io::{self, Write};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// The lines above the table.
const HEADER: u16 = 2;

/// Whether a signal asks this program to end.
static ENDS: AtomicBool = AtomicBool::new(false);

/// The terminal in raw mode, with its alternate screen. Dropping it restores the terminal.
struct Screen;

impl Screen {
    fn new() -> io::Result<Self> {
        terminal::enable_raw_mode()?;
        let screen = Self;
        execute!(io::stdout(), terminal::EnterAlternateScreen, cursor::Hide)?;
        Ok(screen)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        let _ = execute!(io::stdout(), cursor::Show, terminal::LeaveAlternateScreen);
        let _ = terminal::disable_raw_mode();
    }
}

extern "C" fn note_signal(_: libc::c_int) {
    ENDS.store(true, Ordering::Relaxed);
}

/// Shows the table until the user ends it.
pub fn run(args: &Args, output: &Output) -> Result<Code> {
    let handler = SigHandler::Handler(note_signal);
    let action = SigAction::new(handler, SaFlags::empty(), SigSet::empty());
    for signal in [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT] {
        // SAFETY: the handler only stores to an atomic.
        unsafe { sigaction(signal, &action) }.context("sigaction")?;
    }
    let interval = Duration::from_secs_f64(args.interval);
    let mut sort = args.sort;
    let mut before = Sample::take().context("/proc")?;
    let mut now = None;
    let _screen = Screen::new().map_err(terminal_error)?;
    let mut next = Instant::now() + interval.min(Duration::from_millis(300));
    loop {
        draw(&before, now.as_ref(), sort, output).map_err(terminal_error)?;
        match wait_for_key(next).map_err(terminal_error)? {
            Some(KeyCode::Char('q') | KeyCode::Esc) => return Ok(Code::Success),
            Some(KeyCode::Char('s')) => sort = sort.next(),
            Some(_) => {}
            None if ENDS.load(Ordering::Relaxed) => return Ok(Code::Success),
            None => {
                if let Some(sample) = now.replace(Sample::take().context("/proc")?) {
                    before = sample;
                }
                next = Instant::now() + interval;
            }
        }
    }
}

/// Waits for a key until a time. None if the time has come, or a signal.
fn wait_for_key(until: Instant) -> io::Result<Option<KeyCode>> {
    loop {
        let left = until.saturating_duration_since(Instant::now());
        if ENDS.load(Ordering::Relaxed) || !event::poll(left.min(Duration::from_millis(100)))? {
            if left.is_zero() || ENDS.load(Ordering::Relaxed) {
                return Ok(None);
            }
            continue;
        }
        match event::read()? {
            Event::Key(KeyEvent {
                code: KeyCode::Char('c'),
                modifiers: KeyModifiers::CONTROL,
                ..
            }) => return Ok(Some(KeyCode::Esc)),
            Event::Key(key) => return Ok(Some(key.code)),
            Event::Resize(..) => return Ok(Some(KeyCode::Null)),
            _ => {}
        }
    }
}

fn draw(
    before: &Sample,
    now: Option<&Sample>,
    sort: super::Sort,
    output: &Output,
) -> io::Result<()> {
    let (columns, lines) = terminal::size()?;
    let mut out = io::stdout().lock();
    let mut line = |at: u16, text: &str, colour: Option<Color>| -> io::Result<()> {
        queue!(
            out,
            cursor::MoveTo(0, at),
            terminal::Clear(terminal::ClearType::CurrentLine)
        )?;
        match colour.filter(|_| output.is_coloured()) {
            Some(colour) => {
                queue!(
                    out,
                    SetForegroundColor(colour),
                    Print(cut(text, columns)),
                    ResetColor
                )
            }
            None => queue!(out, Print(cut(text, columns))),
        }
    };
    let Some(now) = now else {
        line(0, "unixipc top: measures", None)?;
        return out.flush();
    };
    let mut flows = flow::between(before, now);
    sort.apply(&mut flows);
    let summary = format!(
        "unixipc top: {} channels, {} feeds, {} regions; sorted by {sort:?}. s: sort, q: quit",
        now.channels.len(),
        now.feeds.len(),
        now.regions
            .iter()
            .filter(|region| region.recognised)
            .count(),
    );
    line(0, &summary, None)?;
    let unseen = match now.snapshot.unseen {
        0 => String::new(),
        count => not_inspected(count),
    };
    line(1, &unseen, Some(Color::Yellow))?;
    let rows = flow::table(&flows).render(false, None);
    // The first line of the table is its header.
    let colours = std::iter::once(Some(Color::Cyan))
        .chain(flows.iter().map(|flow| flow.bad.then_some(Color::Red)));
    let mut at = HEADER;
    for (row, colour) in rows.lines().zip(colours) {
        if at >= lines {
            break;
        }
        line(at, row, colour)?;
        at += 1;
    }
    if at < lines {
        queue!(
            out,
            cursor::MoveTo(0, at),
            terminal::Clear(terminal::ClearType::FromCursorDown)
        )?;
    }
    out.flush()
}
