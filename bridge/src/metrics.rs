//! The counters of the bridge, for the status and for Prometheus.

use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// A counter or gauge that other threads read.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds to it.
    pub fn add(&self, amount: u64) {
        self.0.fetch_add(amount, Ordering::Relaxed);
    }

    /// Subtracts from it.
    pub fn subtract(&self, amount: u64) {
        self.0.fetch_sub(amount, Ordering::Relaxed);
    }

    /// Sets it.
    pub fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

macro_rules! metrics {
    ($($name:ident: $kind:literal, $help:literal;)*) => {
        /// The numbers of one route.
        #[derive(Debug, Default)]
        pub struct Metrics {
            $(#[doc = $help] pub $name: Counter,)*
            /// The last error, until something succeeds.
            error: Mutex<Option<String>>,
        }

        impl Metrics {
            /// All numbers, with their names.
            pub fn list(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name.get())),*]
            }
        }

        /// The name, the kind and the description of each number.
        const DESCRIPTIONS: &[(&str, &str, &str)] = &[$((stringify!($name), $kind, $help)),*];
    };
}

metrics! {
    messages: "counter", "Messages that were carried: confirmed by the engine, or given to the local object.";
    bytes: "counter", "Their bytes.";
    pending: "gauge", "Messages that the engine has not confirmed.";
    pending_bytes: "gauge", "Their bytes.";
    lost: "counter", "Messages that were lost and reported by a marker.";
    missing: "counter", "Messages that were missing in the stream.";
    replaced: "counter", "Feeds that ended while no bridge read them.";
    refused: "counter", "Times that the stream became full.";
    undeliverable: "counter", "Messages that the local object can never take, because of their size.";
    duplicates: "counter", "Messages that arrived again and were dropped.";
    uncertain: "counter", "Messages that were perhaps published twice, around a crash of the bridge.";
    failures: "counter", "Failures of the engine after which messages were sent or requested again.";
    clients: "gauge", "Clients of the listener.";
    calls: "counter", "Calls that were answered.";
    failed_calls: "counter", "Calls that were not answered.";
}

impl Metrics {
    /// Notes the last error; none after a success.
    pub fn set_error(&self, error: Option<String>) {
        if let Ok(mut last) = self.error.lock() {
            *last = error;
        }
    }

    /// The last error.
    pub fn error(&self) -> Option<String> {
        self.error.lock().ok()?.clone()
    }
}

/// The text format of Prometheus.
pub fn prometheus(routes: &[(String, &Metrics)]) -> String {
    let mut text = String::new();
    let values: Vec<_> = routes
        .iter()
        .map(|(name, metrics)| (name, metrics.list()))
        .collect();
    for (index, (name, kind, help)) in DESCRIPTIONS.iter().enumerate() {
        let suffix = if *kind == "counter" { "_total" } else { "" };
        let metric = format!("unixipc_bridge_{name}{suffix}");
        let _ = writeln!(text, "# HELP {metric} {help}\n# TYPE {metric} {kind}");
        for (route, values) in &values {
            let label = route.replace('\\', "\\\\").replace('"', "\\\"");
            let value = values.get(index).map_or(0, |(_, value)| *value);
            let _ = writeln!(text, "{metric}{{route=\"{label}\"}} {value}");
        }
    }
    text
}

/// The status, as JSON.
pub fn status(routes: &[(String, &Metrics)]) -> String {
    let routes: Vec<_> = routes
        .iter()
        .map(|(route, metrics)| {
            let mut object = serde_json::Map::new();
            object.insert("route".into(), route.as_str().into());
            object.insert("error".into(), metrics.error().into());
            for (name, value) in metrics.list() {
                object.insert(name.into(), value.into());
            }
            serde_json::Value::from(object)
        })
        .collect();
    let version = env!("CARGO_PKG_VERSION");
    serde_json::json!({"version": version, "pid": std::process::id(), "routes": routes}).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let metrics = Metrics::default();
        metrics.messages.add(3);
        metrics.set_error(Some("full".into()));
        let routes = [(r#"feed:/a"b -> c"#.to_owned(), &metrics)];
        let text = prometheus(&routes);
        let line = r#"unixipc_bridge_messages_total{route="feed:/a\"b -> c"} 3"#;
        assert!(text.lines().any(|found| found == line), "{text}");
        assert!(text.contains("# TYPE unixipc_bridge_pending gauge\n"));
        let status: serde_json::Value = serde_json::from_str(&status(&routes)).unwrap();
        assert_eq!(status["routes"][0]["messages"], 3);
        assert_eq!(status["routes"][0]["error"], "full");
    }
}
