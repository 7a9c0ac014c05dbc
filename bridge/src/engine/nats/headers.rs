//! The headers of the records of a bridge.
//!
//! | header | content |
//! |---|---|
//! | `Nats-Msg-Id` | the id: the feed in 32 hexadecimal digits, `-`, the sequence number |
//! | `Nats-Expected-Last-Msg-Id` | the id of the record before, if both are in flight |
//! | `Unixipc-Lost` | in a marker: the number of lost messages, or `unknown` |
//! | `Unixipc-Reason` | in a marker: why |
//!
//! A marker has no payload.

use crate::engine::{Body, Loss, MessageId, Record};
use async_nats::HeaderMap;
use async_nats::header::{NATS_EXPECTED_LAST_MESSAGE_ID, NATS_MESSAGE_ID};
use bytes::Bytes;

const LOST: &str = "Unixipc-Lost";
const REASON: &str = "Unixipc-Reason";
const UNKNOWN: &str = "unknown";
const REPLACED: &str = "feed replaced";

/// The headers and the payload of a record. `previous` is the record before, if it is in flight.
pub fn encode(record: &Record, previous: Option<MessageId>) -> (HeaderMap, Bytes) {
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, record.id.to_string());
    if let Some(previous) = previous {
        headers.insert(NATS_EXPECTED_LAST_MESSAGE_ID, previous.to_string());
    }
    let payload = match &record.body {
        Body::Message(bytes) => bytes.clone(),
        Body::Lost(count, loss) => {
            headers.insert(LOST, count.to_string());
            headers.insert(REASON, loss.name());
            Bytes::new()
        }
        Body::Replaced => {
            headers.insert(LOST, UNKNOWN);
            headers.insert(REASON, REPLACED);
            Bytes::new()
        }
    };
    (headers, payload)
}

/// The id that the headers contain.
pub fn id(headers: Option<&HeaderMap>) -> Option<MessageId> {
    headers?.get(NATS_MESSAGE_ID)?.as_str().parse().ok()
}

/// The body of a record with these headers and this payload.
pub fn decode(headers: Option<&HeaderMap>, payload: Bytes) -> Body {
    let get = |name| Some(headers?.get(name)?.as_str());
    if !payload.is_empty() {
        return Body::Message(payload);
    }
    match get(LOST) {
        None => Body::Message(payload),
        Some(UNKNOWN) => Body::Replaced,
        Some(count) => {
            let is_too_large = get(REASON) == Some(Loss::TooLarge.name());
            let loss = if is_too_large {
                Loss::TooLarge
            } else {
                Loss::Overwritten
            };
            match count.parse() {
                Ok(count) => Body::Lost(count, loss),
                Err(_) => Body::Replaced,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back() {
        let bodies = [
            Body::Message(Bytes::from_static(b"a")),
            Body::Lost(7, Loss::Overwritten),
            Body::Lost(1, Loss::TooLarge),
            Body::Replaced,
        ];
        for body in bodies {
            let id = MessageId {
                feed: [3; 16],
                sequence: 9,
            };
            let (headers, payload) = encode(
                &Record {
                    id,
                    body: body.clone(),
                },
                None,
            );
            assert_eq!(super::id(Some(&headers)), Some(id));
            assert_eq!(decode(Some(&headers), payload), body);
        }
        assert_eq!(decode(None, Bytes::new()), Body::Message(Bytes::new()));
        assert_eq!(id(None), None);
    }
}
