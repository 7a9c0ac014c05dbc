//! Growing pauses between attempts.

use std::time::Duration;

/// The pauses of one operation that is repeated until it succeeds.
#[derive(Debug)]
pub struct Pauses {
    next: Duration,
    max: Duration,
}

/// The first pause.
const FIRST: Duration = Duration::from_millis(20);

impl Pauses {
    /// Pauses that grow up to `max`.
    pub fn up_to(max: Duration) -> Self {
        Self { next: FIRST, max }
    }

    /// The next pause: twice the last one. It varies by a quarter, so that many bridges that have
    /// lost a server do not return to it at the same moment.
    pub fn next(&mut self) -> Duration {
        let pause = self.next.min(self.max);
        self.next = pause * 2;
        pause.mul_f64(0.75 + 0.5 * fastrand::f64())
    }

    /// Begins again with the first pause.
    pub fn reset(&mut self) {
        self.next = FIRST;
    }
}

/// The pause before an attempt with this number, which counts from 1.
pub fn before_attempt(attempt: usize, max: Duration) -> Duration {
    let mut pauses = Pauses::up_to(max);
    let exponent = attempt.saturating_sub(1).min(20) as u32;
    pauses.next = FIRST.saturating_mul(1 << exponent);
    pauses.next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth() {
        let max = Duration::from_secs(2);
        let mut pauses = Pauses::up_to(max);
        let list: Vec<_> = (0..12).map(|_| pauses.next()).collect();
        assert!(list[0] < FIRST * 2 && list[11] > max / 2, "{list:?}");
        assert!(list.iter().all(|&pause| pause < max * 2), "{list:?}");
        pauses.reset();
        assert!(pauses.next() < FIRST * 2);
        assert!(before_attempt(1000, max) < max * 2);
        assert!(before_attempt(0, max) < FIRST * 2);
    }
}
