//! The reply subject of a delivery. An acknowledgement goes to it, and it has the numbers of the
//! delivery:
//!
//! ```text
//! $JS.ACK.STREAM.CONSUMER.DELIVERED.STREAM-SEQUENCE.CONSUMER-SEQUENCE.TIME.PENDING
//! $JS.ACK.DOMAIN.ACCOUNT.STREAM.CONSUMER.DELIVERED....PENDING[.RANDOM]
//! ```

/// The numbers of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Numbers {
    /// The number of the message in the stream.
    pub stream: u64,
    /// The number of the delivery.
    pub consumer: u64,
}

/// Reads the numbers. None if the subject has another form.
pub fn parse(subject: &str) -> Option<Numbers> {
    let tokens = subject.strip_prefix("$JS.ACK.")?;
    let count = tokens.split('.').count();
    let before = match count {
        7 => 3,
        9.. => 5,
        _ => return None,
    };
    let mut numbers = tokens.split('.').skip(before).map(str::parse);
    let mut next = || numbers.next()?.ok();
    Some(Numbers {
        stream: next()?,
        consumer: next()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_forms() {
        let numbers = Numbers {
            stream: 20,
            consumer: 30,
        };
        for subject in [
            "$JS.ACK.md.host.1.20.30.1700000000000000000.4",
            "$JS.ACK._.hash.md.host.1.20.30.1700000000000000000.4",
            "$JS.ACK._.hash.md.host.1.20.30.1700000000000000000.4.random",
        ] {
            assert_eq!(parse(subject), Some(numbers), "{subject}");
        }
    }

    #[test]
    fn other_subjects() {
        for subject in [
            "",
            "md",
            "$JS.ACK.md.host.1.20.30.4",
            "$JS.ACK.md.host.1.x.30.1700000000000000000.4",
            "$JS.ACK.1.2.3.4.5.6.7.8",
        ] {
            assert_eq!(parse(subject), None, "{subject}");
        }
    }
}
