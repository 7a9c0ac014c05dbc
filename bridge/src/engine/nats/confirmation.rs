//! The answer of a stream to a record that asks for a confirmation.

use crate::engine::{EngineError, Failure, Result};
use async_nats::{Message, StatusCode};
use serde::Deserialize;

/// The error numbers of JetStream that mean that a stream or a server has no space left.
const FULL: [u64; 5] = [
    10_002, // the limits of the account are reached
    10_023, // the resources of the server are exhausted
    10_028, // the server has no memory left
    10_047, // the server has no storage left
    10_077, // a limit of the stream is reached
];

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    error: Option<Error>,
    #[serde(default)]
    duplicate: bool,
}

#[derive(Deserialize)]
struct Error {
    #[serde(default)]
    err_code: u64,
    #[serde(default)]
    description: String,
}

/// Reads an answer. Returns whether the stream had the record already.
pub fn check(message: &Message) -> Result<bool> {
    if message.status == Some(StatusCode::NO_RESPONDERS) {
        return Err(EngineError::new(
            Failure::Disordered,
            "no stream receives the subject",
        ));
    }
    let answer: Answer = serde_json::from_slice(&message.payload).map_err(|error| {
        EngineError::new(Failure::Disordered, format!("an unknown answer: {error}"))
    })?;
    let Some(error) = answer.error else {
        return Ok(answer.duplicate);
    };
    let is_full = FULL.contains(&error.err_code) || error.description.starts_with("maximum");
    let failure = if is_full {
        Failure::Refused
    } else {
        // Most often another record is the last one.
        Failure::Disordered
    };
    let text = format!("{} ({})", error.description, error.err_code);
    Err(EngineError::new(failure, text))
}
