//! Pseudorandom numbers, and the factor that scales the long tests.

use std::env;

/// A pseudorandom number generator with a fixed seed: splitmix64.
pub struct Random(pub u64);

impl Random {
    pub fn next_u64(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut x = self.0;
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^ (x >> 31)
    }

    /// A number below `end`.
    pub fn below(&mut self, end: u64) -> u64 {
        self.next_u64() % end
    }

    /// An index below `end`.
    pub fn index(&mut self, end: usize) -> usize {
        self.below(end as u64) as usize
    }

    /// Fills a buffer.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            chunk.copy_from_slice(&self.next_u64().to_le_bytes()[..chunk.len()]);
        }
    }
}

/// Pseudorandom bytes, different for each seed.
pub fn pattern(len: usize, seed: u64) -> Vec<u8> {
    let mut bytes = vec![0; len];
    Random(seed).fill(&mut bytes);
    bytes
}

/// UNIXIPC_TEST_SCALE: the factor by which the long tests multiply their work.
pub fn scale() -> f64 {
    env::var("UNIXIPC_TEST_SCALE").map_or(1.0, |scale| scale.parse().unwrap())
}

/// A count, multiplied by UNIXIPC_TEST_SCALE.
pub fn scaled(count: u64) -> u64 {
    (count as f64 * scale()).ceil() as u64
}
