//! A route: a local end, a direction, a subject.

use super::{ConfigError, RouteOptions, fail};
use std::fmt;

/// One thing that is carried.
#[derive(Clone, Debug)]
pub struct Route {
    /// The local end.
    pub local: Local,
    /// The direction.
    pub direction: Direction,
    /// The subject.
    pub subject: String,
    /// Everything else.
    pub options: RouteOptions,
}

/// The local end of a route.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Local {
    /// The kind of object.
    pub kind: LocalKind,
    /// Its path.
    pub path: String,
}

/// The kind of a local object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LocalKind {
    /// A feed.
    Feed,
    /// A listener for channels, or a client of one.
    Channel,
    /// A FIFO with records or lines of text.
    Fifo,
    /// Calls over channels.
    Call,
}

/// The direction of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From this machine to the subject. For calls: local programs call, the reply comes back.
    Out,
    /// From the subject to this machine. For calls: a local program serves.
    In,
}

impl Route {
    /// Checks and makes a route.
    pub fn new(
        local: &str,
        arrow: &str,
        subject: &str,
        options: RouteOptions,
    ) -> Result<Self, ConfigError> {
        let local = parse_local(local)?;
        let direction = match (arrow, local.kind) {
            ("->", _) | ("<->", LocalKind::Call) => Direction::Out,
            ("<-", _) => Direction::In,
            ("<->", _) => return fail(format!("{local}: only calls go in both directions")),
            _ => return fail(format!("the arrow is '->', '<-' or '<->': {arrow}")),
        };
        check_subject(subject)?;
        Ok(Self {
            local,
            direction,
            subject: subject.into(),
            options,
        })
    }

    /// Whether the bridge creates the path.
    pub fn owns_path(&self) -> bool {
        use {Direction::*, LocalKind::*};
        matches!(
            (self.local.kind, self.direction),
            (Feed, In) | (Channel | Call, Out) | (Fifo, Out)
        )
    }

    /// Whether the route sends to a stream.
    pub fn writes_stream(&self) -> bool {
        self.direction == Direction::Out && self.local.kind != LocalKind::Call
    }

    /// Whether the route receives from a stream.
    pub fn reads_stream(&self) -> bool {
        self.direction == Direction::In && self.local.kind != LocalKind::Call
    }

    /// The name of a stream that the bridge creates for this route.
    pub fn stream_name(&self) -> String {
        let name = || self.subject.replace('.', "_");
        self.options.stream.clone().unwrap_or_else(name)
    }

    /// The name of the durable consumer: given, or from the name of the machine and the path.
    pub fn durable_name(&self) -> String {
        let name = || {
            let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
            let text = format!("{}-{}-{}", host.trim(), self.local, self.subject);
            let keep = |c: char| {
                if c.is_ascii_alphanumeric() || c == '-' {
                    c
                } else {
                    '_'
                }
            };
            text.chars().map(keep).collect()
        };
        self.options.durable.clone().unwrap_or_else(name)
    }
}

impl fmt::Display for Route {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        let arrow = match (self.local.kind, self.direction) {
            (LocalKind::Call, Direction::Out) => "<->",
            (_, Direction::Out) => "->",
            (_, Direction::In) => "<-",
        };
        write!(f, "{} {arrow} {}", self.local, self.subject)
    }
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{}:{}", self.kind.name(), self.path)
    }
}

impl LocalKind {
    /// The name in a route.
    pub fn name(self) -> &'static str {
        match self {
            Self::Feed => "feed",
            Self::Channel => "channel",
            Self::Fifo => "fifo",
            Self::Call => "call",
        }
    }
}

fn parse_local(text: &str) -> Result<Local, ConfigError> {
    use LocalKind::*;
    let Some((name, path)) = text.split_once(':') else {
        return fail(format!("a local end is KIND:PATH: {text}"));
    };
    let Some(kind) = [Feed, Channel, Fifo, Call]
        .into_iter()
        .find(|kind| kind.name() == name)
    else {
        return fail(format!("the kind is feed, channel, call or fifo: {text}"));
    };
    let is_abstract = path.starts_with('@') && kind != Fifo;
    if !path.starts_with('/') && !is_abstract || path == "@" || path.contains('\0') {
        return fail(format!("not an absolute path: {text}"));
    }
    let path = path.into();
    Ok(Local { kind, path })
}

/// A subject has tokens, which are separated by dots. Wildcards are not possible: a subject stands
/// for one feed.
fn check_subject(subject: &str) -> Result<(), ConfigError> {
    let is_token = |token: &str| {
        !token.is_empty()
            && token
                .chars()
                .all(|c| c.is_ascii_graphic() && c != '*' && c != '>')
    };
    match subject.split('.').all(is_token) && !subject.starts_with('$') && subject.len() <= 200 {
        true => Ok(()),
        false => fail(format!("not a subject without wildcards: {subject}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn route(text: &str) -> Result<Route, String> {
        let words: Vec<_> = text.split(' ').collect();
        Route::new(words[0], words[1], words[2], RouteOptions::default()).map_err(|error| error.0)
    }

    #[test]
    fn routes() {
        for text in [
            "feed:/run/md.sock -> md",
            "feed:/run/md.sock <- md.eu",
            "channel:@in -> ingest",
            "call:/run/svc <-> svc",
            "call:/run/svc <- svc",
            "fifo:/run/log.fifo -> log",
        ] {
            assert_eq!(route(text).unwrap().to_string(), text);
        }
        assert_eq!(route("call:/a -> b").unwrap().to_string(), "call:/a <-> b");
    }

    #[test]
    fn bad_routes() {
        for text in [
            "feed:md.sock -> md",
            "feed: -> md",
            "feed:@ -> md",
            "fifo:@a -> md",
            "pipe:/a -> md",
            "/a -> md",
            "feed:/a => md",
            "feed:/a <-> md",
            "feed:/a -> ",
            "feed:/a -> a..b",
            "feed:/a -> a.*",
            "feed:/a -> >",
            "feed:/a -> $JS.API",
        ] {
            assert!(route(text).is_err(), "{text}");
        }
    }
}
