//! The answer of a stream to a record that asks for a confirmation.

use crate::engine::{EngineError, Failure, Result};
use async_nats::{Message, StatusCode};
use serde::Deserialize;

/// The error numbers of JetStream that mean that a stream or a server has no space left.
const FULL: [u64; 6] = [
    10_023, // the resources of the server are exhausted
    10_028, // the storage of the account is exhausted
    10_047, // the server has no storage left
    10_077, // a limit of the stream is reached
    10_122, // the limits of the account's tier are reached
    10_054, // the message exceeds the largest message of the stream
];
/// The error numbers that mean that another record is the last one.
const DISORDERED: [u64; 2] = [10_070, 10_071];

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
    let failure = match error.err_code {
        code if FULL.contains(&code) => Failure::Refused,
        code if DISORDERED.contains(&code) => Failure::Disordered,
        // The code for an error of the store: it is also that of a full stream.
        10_167 => Failure::Refused,
        _ if error.description.starts_with("maximum") => Failure::Refused,
        _ => Failure::Disordered,
    };
    let text = format!("{} ({})", error.description, error.err_code);
    Err(EngineError::new(failure, text))
}
