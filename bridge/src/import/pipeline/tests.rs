//! The pipeline with an engine whose failures are exact.

use super::super::position::Remembered;
use super::*;
use crate::engine::MessageId;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use tokio::runtime::Builder;
use tokio::sync::watch;
use tokio::time::Instant;

/// A round: where it continues, and the deliveries, as numbers of the delivery and of the record.
type Round = (Resume, Vec<(u64, u64)>);

/// How rounds are played.
#[derive(Clone, Copy, Default)]
struct Play {
    /// Whether acknowledgements wait forever, as while the connection is blocked.
    is_blocked: bool,
    /// Whether a round ends with silence, and the stop of the bridge, instead of an error.
    is_quiet: bool,
}

/// An engine that plays rounds, and then stops the bridge.
struct Script {
    rounds: VecDeque<Round>,
    deliveries: VecDeque<(u64, u64)>,
    stop: watch::Sender<Option<Instant>>,
    play: Play,
    acknowledged: Rc<RefCell<Vec<u64>>>,
}

fn resume(acknowledged: u64, next_delivery: u64, unacknowledged: u64) -> Resume {
    Resume {
        stream: 5,
        last: 100,
        acknowledged,
        next_delivery,
        delivered: acknowledged + unacknowledged,
        unacknowledged,
    }
}

impl Inlet for Script {
    async fn restart(&mut self) -> Result<Resume> {
        match self.rounds.pop_front() {
            Some((resume, deliveries)) => {
                self.deliveries = deliveries.into();
                Ok(resume)
            }
            None => {
                let _ = self.stop.send(Some(Instant::now()));
                std::future::pending().await
            }
        }
    }

    fn repeats_after(&self) -> Duration {
        Duration::from_millis(10)
    }

    async fn next(&mut self) -> Result<Delivery> {
        match self.try_next()? {
            Some(delivery) => Ok(delivery),
            None if self.play.is_quiet => {
                sleep(2 * REPETITION_DELAY).await;
                let _ = self.stop.send(Some(Instant::now()));
                std::future::pending().await
            }
            None => Err(EngineError::new(Failure::Unreachable, "cut")),
        }
    }

    fn try_next(&mut self) -> Result<Option<Delivery>> {
        Ok(self
            .deliveries
            .pop_front()
            .map(|(delivery, number)| Delivery {
                number,
                delivery,
                id: Some(MessageId {
                    feed: [1; 16],
                    sequence: number,
                }),
                body: Body::Message(number.to_string().into()),
                receipt: number.to_string(),
            }))
    }

    async fn acknowledge(&mut self, receipt: &str) -> Result<()> {
        if self.play.is_blocked {
            std::future::pending::<()>().await;
        }
        self.acknowledged
            .borrow_mut()
            .push(receipt.parse().unwrap());
        Ok(())
    }
}

/// A sink that remembers.
#[derive(Default)]
struct Memory(Vec<u64>);

impl Sink for Memory {
    fn try_put(&mut self, bytes: &[u8]) -> Put {
        self.0
            .push(std::str::from_utf8(bytes).unwrap().parse().unwrap());
        Put::Done
    }

    async fn event(&mut self) {
        std::future::pending().await
    }
}

/// A sink that is full once, and then looks at the position, as after a kill.
struct FullOnce<'a> {
    position: &'a Position,
    tries: u64,
    seen: Option<Remembered>,
}

impl<'a> FullOnce<'a> {
    fn new(position: &'a Position) -> Self {
        Self {
            position,
            tries: 0,
            seen: None,
        }
    }
}

impl Sink for FullOnce<'_> {
    fn try_put(&mut self, _: &[u8]) -> Put {
        self.tries += 1;
        if self.tries == 2 {
            Put::Full
        } else {
            Put::Done
        }
    }

    async fn event(&mut self) {
        if self.seen.is_some() {
            std::future::pending().await
        }
        self.seen = Some(self.position.begin(5));
    }
}

/// Plays rounds. Returns the published records, and the last acknowledgement.
fn play(rounds: &[Round], position: &Position) -> (Vec<u64>, Option<u64>) {
    let mut sink = Memory::default();
    let last = play_into(&mut sink, rounds, position);
    (sink.0, last)
}

/// Plays rounds into a sink. Returns the last acknowledgement.
fn play_into(sink: &mut impl Sink, rounds: &[Round], position: &Position) -> Option<u64> {
    Play::default().into(sink, rounds, position)
}

impl Play {
    /// See [`play_into`].
    fn into(self, sink: &mut impl Sink, rounds: &[Round], position: &Position) -> Option<u64> {
        let runtime = Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let (mut context, stop) = Context::for_tests("feed:/a", "<-", "a");
            context.timeout = Duration::from_millis(100);
            let acknowledged = Rc::default();
            let script = Script {
                rounds: rounds.to_vec().into(),
                deliveries: VecDeque::new(),
                stop,
                play: self,
                acknowledged: Rc::clone(&acknowledged),
            };
            let mut pipeline = Pipeline::new(&context, script, sink, position);
            let limit = Duration::from_secs(60);
            let run = tokio::time::timeout(limit, pipeline.run()).await;
            run.expect("a limit").unwrap();
            acknowledged.borrow().last().copied()
        })
    }
}

/// A delivery that is missing, and later ones: nothing is taken until the missing one is repeated.
#[test]
fn missing_delivery() {
    let rounds = [
        (resume(0, 1, 0), vec![(1, 1), (2, 2), (4, 4), (5, 5)]),
        // The wait for the repetition, and the round after it.
        (resume(2, 6, 3), vec![]),
        (resume(2, 6, 3), vec![(6, 3), (7, 4), (8, 5), (9, 6)]),
    ];
    let published = play(&rounds, &Position::in_memory());
    assert_eq!(published, (vec![1, 2, 3, 4, 5, 6], Some(6)));
}

/// The engine repeats deliveries in the order of their times, which need not be that of the records, and
/// perhaps later than new ones.
#[test]
fn repeated_in_any_order() {
    for deliveries in [
        vec![(6, 5), (7, 3), (8, 4), (9, 6)],
        vec![(6, 4), (7, 6), (8, 5), (9, 5), (10, 3), (11, 7)],
    ] {
        let last = deliveries.last().unwrap().1;
        let rounds = [(resume(2, 6, 3), vec![]), (resume(2, 6, 3), deliveries)];
        let published = play(&rounds, &Position::in_memory());
        assert_eq!(published, ((3..=last).collect(), Some(last)));
    }
}

/// Records that were delivered, and that the stream no longer has, are not waited for without limit.
#[test]
fn not_repeated() {
    let rounds = [
        (resume(2, 6, 3), vec![]),
        (resume(2, 6, 3), vec![(6, 5), (7, 6)]),
    ];
    let mut sink = Memory::default();
    let how = Play {
        is_quiet: true,
        ..Play::default()
    };
    let last = how.into(&mut sink, &rounds, &Position::in_memory());
    assert_eq!((sink.0, last), (vec![5, 6], Some(6)));
}

/// Records that were published, and whose acknowledgement was lost, are not published again.
#[test]
fn lost_acknowledgement() {
    let rounds = [
        (resume(0, 1, 0), vec![(1, 1), (2, 2)]),
        (resume(0, 3, 0), vec![(3, 1), (4, 2), (5, 3)]),
    ];
    let position = Position::in_memory();
    assert_eq!(play(&rounds, &position), (vec![1, 2, 3], Some(3)));
    // The same after a crash: the position is that of the file.
    let rounds = [(resume(0, 6, 0), vec![(6, 2), (7, 3), (8, 4)])];
    assert_eq!(play(&rounds, &position), (vec![4], Some(4)));
}

/// An interrupted publication is repeated.
#[test]
fn uncertain() {
    let position = Position::in_memory();
    position.begin(5);
    position.begin_record(3);
    position.end_record(3);
    position.begin_record(4);
    let rounds = [(resume(3, 1, 0), vec![(1, 4), (2, 5)])];
    assert_eq!(play(&rounds, &position), (vec![4, 5], Some(5)));
    assert_eq!(position.begin(5).uncertain, None);
}

/// A message that waits for space is not uncertain: it was not published.
#[test]
fn certain_while_the_sink_is_full() {
    let position = Position::in_memory();
    let mut sink = FullOnce::new(&position);
    let rounds = [(resume(0, 1, 0), vec![(1, 1), (2, 2)])];
    assert_eq!(play_into(&mut sink, &rounds, &position), Some(2));
    let remembered = Remembered {
        done: 1,
        uncertain: None,
    };
    assert_eq!(sink.seen, Some(remembered));
}

/// A blocked connection takes no acknowledgement: the sink gets its messages all the same, and the
/// bridge stops.
#[test]
fn blocked_acknowledgements() {
    let position = Position::in_memory();
    let mut sink = FullOnce::new(&position);
    let rounds = [(resume(0, 1, 0), vec![(1, 1), (2, 2), (3, 3)])];
    let how = Play {
        is_blocked: true,
        ..Play::default()
    };
    assert_eq!(how.into(&mut sink, &rounds, &position), None);
    assert_eq!(sink.tries, 4);
    assert_eq!(position.begin(5).done, 3);
}

/// A stream that was restored has new records with numbers that the position includes.
#[test]
fn restored_stream() {
    let position = Position::in_memory();
    let rounds = [(resume(0, 1, 0), vec![(1, 1), (2, 2), (3, 3)])];
    assert_eq!(play(&rounds, &position), (vec![1, 2, 3], Some(3)));
    let restored = |acknowledged| Resume {
        last: 1,
        ..resume(acknowledged, 1, 0)
    };
    for acknowledged in [0, 1, 3] {
        position.reset(5, 3);
        let rounds = [(restored(acknowledged), vec![(1, 2), (2, 3), (3, 4)])];
        assert_eq!(play(&rounds, &position), (vec![2, 3, 4], Some(4)));
    }
}
