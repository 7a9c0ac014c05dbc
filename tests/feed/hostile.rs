//! A publisher that changes the words of its memory.

use crate::support::*;
use libc::{EPROTO, ETIMEDOUT};
use std::ptr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;

/// The offset of *oldest*, the cursor of the oldest message.
const OLDEST: usize = 128;

/// A word of the memory of the feed, which is the only shared memory of this process that is
/// writable.
fn word_of_feed(offset: usize) -> *const AtomicU64 {
    ptr::with_exposed_provenance(shared_mappings()[0].begin + offset)
}

/// A subscriber waits while the oldest message changes all the time: it may see that it was
/// overtaken, and then that it was not.
#[apply(isolated)]
fn oldest_changes() {
    let feed = Feed::with(&SMALL);
    // SAFETY: the feed is not closed before the end of the test.
    let oldest = unsafe { &*word_of_feed(OLDEST) };
    let stopped = AtomicBool::new(false);
    thread::scope(|scope| {
        scope.spawn(|| {
            for number in 0.. {
                oldest.store(number % 2 * 64, Ordering::Relaxed);
                if stopped.load(Ordering::Relaxed) {
                    break;
                }
            }
        });
        // Each one receives until it has noticed a violation.
        let ends: Vec<_> = (0..scaled(500))
            .filter_map(|_| {
                let sub = feed.subscribe(&LOSSY);
                (0..100).find_map(|_| match sub.recv(1) {
                    Ok(Received::Lost(_)) | Err(ETIMEDOUT) => None,
                    end => Some(end),
                })
            })
            .collect();
        stopped.store(true, Ordering::Relaxed);
        assert_ne!(ends, []);
        ends.iter().for_each(|end| assert_eq!(*end, Err(EPROTO)));
    });
    oldest.store(0, Ordering::Relaxed);
}
