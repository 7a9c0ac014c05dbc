//! Messages that are missing in the stream, or there twice. The ids of a feed show both.

use crate::engine::{Body, FeedId, MessageId};

/// The result of the check of an id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// It is the next one.
    InOrder,
    /// This number of messages before it is missing.
    Missing(u64),
    /// It has been seen before.
    Again,
    /// It is far before the expected one: one of the two is not of the feed.
    Backward,
}

/// The largest distance of a message that has been seen from the next sequence number. If one record
/// of another program has a large number, the later messages of the feed are not taken for repeated
/// ones.
const AGAIN_MAX: u64 = 1 << 20;

/// The feed of the last record, and the next sequence number.
#[derive(Debug, Default)]
pub struct Gaps(Option<(FeedId, u64)>);

impl Gaps {
    /// Looks at the id of the next record.
    pub fn check(&mut self, id: Option<MessageId>, body: &Body) -> Finding {
        let Some(id) = id else {
            return Finding::InOrder;
        };
        // A marker stands for the messages before its id too.
        let first = match body {
            Body::Lost(count, _) => id.next().wrapping_sub(*count),
            Body::Message(_) | Body::Replaced => id.sequence,
        };
        let finding = match self.0 {
            Some((feed, next)) if feed == id.feed && *body != Body::Replaced => {
                match next.checked_sub(id.sequence) {
                    Some(1..=AGAIN_MAX) => return Finding::Again,
                    Some(1..) => Finding::Backward,
                    _ => match first.saturating_sub(next) {
                        0 => Finding::InOrder,
                        missing => Finding::Missing(missing),
                    },
                }
            }
            _ => Finding::InOrder,
        };
        self.0 = Some((id.feed, id.next()));
        finding
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::Loss;

    fn check(gaps: &mut Gaps, feed: u8, sequence: u64, lost: u64) -> Finding {
        let id = MessageId {
            feed: [feed; 16],
            sequence,
        };
        let body = match lost {
            0 => Body::Message("a".into()),
            count => Body::Lost(count, Loss::Overwritten),
        };
        gaps.check(Some(id), &body)
    }

    #[test]
    fn findings() {
        let mut gaps = Gaps::default();
        assert_eq!(check(&mut gaps, 1, 5, 0), Finding::InOrder);
        assert_eq!(check(&mut gaps, 1, 6, 0), Finding::InOrder);
        assert_eq!(check(&mut gaps, 1, 6, 0), Finding::Again);
        assert_eq!(check(&mut gaps, 1, 9, 0), Finding::Missing(2));
        assert_eq!(
            check(&mut gaps, 1, 12, 3),
            Finding::InOrder,
            "a marker for all"
        );
        assert_eq!(
            check(&mut gaps, 1, 20, 3),
            Finding::Missing(5),
            "a marker for some"
        );
        assert_eq!(
            check(&mut gaps, 1, 1 << 40, 0),
            Finding::Missing((1 << 40) - 21)
        );
        assert_eq!(check(&mut gaps, 1, 21, 0), Finding::Backward);
        assert_eq!(check(&mut gaps, 1, 22, 0), Finding::InOrder);
        assert_eq!(check(&mut gaps, 2, 3, 0), Finding::InOrder, "another feed");
        assert_eq!(
            gaps.check(None, &Body::Message("a".into())),
            Finding::InOrder
        );
        let begin = MessageId::begin([2; 16]);
        assert_eq!(gaps.check(Some(begin), &Body::Replaced), Finding::InOrder);
        assert_eq!(check(&mut gaps, 2, 0, 0), Finding::InOrder);
    }
}
