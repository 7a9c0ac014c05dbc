//! Many processes create, publish, open and remove regions at full speed.

use crate::support::*;
use crate::support::{open, unlink}; // libc has these names too
use common::child::fork;
use libc::*;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

const SIZES: [usize; 3] = [4096, 3 * 4096 + 1, 8 * 4096];

/// A region contains one number throughout; the number includes the region's length.
fn fill(region: &Region) {
    let number = region.size() as u64 * 1_000_003 + 1;
    for at in 0..region.size() / 8 {
        region.u64(at).store(number, Ordering::Relaxed);
    }
}

fn is_filled(region: &Region) -> bool {
    let number = region.size() as u64 * 1_000_003 + 1;
    (0..region.size() / 8).all(|at| region.u64(at).load(Ordering::Relaxed) == number)
}

/// Every opened region is complete; every failure is caused by another process.
#[apply(isolated)]
fn one_name() {
    let directory = NameDirectory::new();
    let name = name("storm");
    let shared = create(page_size(), 0, 0).unwrap();
    let time = Duration::from_millis(scaled(1500));
    let counts = |what: usize| shared.u32(what).fetch_add(1, Ordering::Relaxed);
    let has_enough = || (0..7).all(|what| shared.u32(what).load(Ordering::Relaxed) > 0);
    let work = |seed: u64| {
        let mut random = Random(seed);
        let began = Instant::now();
        while goes_on(began, time, has_enough) {
            let size = SIZES[random.below(3) as usize];
            match random.below(4) {
                0 => {
                    let region = create(size, PUBLISH, 0).unwrap();
                    fill(&region);
                    match region.publish(&name) {
                        Ok(_) => counts(0),
                        Err(error) => {
                            assert_eq!(error, EEXIST);
                            counts(1)
                        }
                    };
                }
                1 => match open(&name, 0) {
                    Ok(region) => {
                        assert!(SIZES.contains(&region.size()) && is_filled(&region));
                        counts(2);
                    }
                    Err(error) => {
                        assert_eq!(error, ENOENT);
                        counts(3);
                    }
                },
                2 => match unlink(&name) {
                    Ok(_) => drop(counts(4)),
                    Err(error) => assert_eq!(error, ENOENT),
                },
                _ => {
                    let mut made = false;
                    let region = open_or_create(&name, SIZES[0], (0, 0), |addr, size| {
                        made = true;
                        for at in 0..size / 8 {
                            // SAFETY: within the region, aligned.
                            let word = unsafe { addr.cast::<u64>().add(at) };
                            // SAFETY: as above; no other process has the region yet.
                            unsafe { word.write_volatile(size as u64 * 1_000_003 + 1) };
                        }
                        true
                    })
                    .unwrap();
                    assert!(is_filled(&region));
                    counts(if made { 5 } else { 6 });
                }
            }
        }
    };
    let children: Vec<Child> = (0..6).map(|seed| fork(|| work(seed))).collect();
    children.into_iter().for_each(Child::join);
    assert!(has_enough());
    assert!(directory.names().len() <= 1);
    let _ = unlink(&name);
    assert_eq!(directory.used(), 0, "no memory is lost");
}
