//! One handle, used by several threads of one process; `make tsan` runs this test too.

use crate::support::*;
use libc::{EAGAIN, ENODATA};
use std::thread;

struct Handle(Cell);
// SAFETY: the functions may be called from any thread, by several at once.
unsafe impl Sync for Handle {}

impl Handle {
    fn get(&self) -> &Cell {
        &self.0
    }
}

#[apply(isolated)]
fn readers_and_writers() {
    for (size, flags) in [(8, 0), (64, WAITABLE), (64, WAITABLE_RDONLY), (1000, 0)] {
        let (_memory, cell) = new_cell(size, flags);
        let handle = Handle(cell);
        let stores = scaled(20_000);
        thread::scope(|scope| {
            for writer in 0..2 {
                let handle = &handle;
                scope.spawn(move || {
                    let mut value = vec![0; size];
                    for number in 0..stores {
                        fill_value(&mut value, number * 2 + writer);
                        assert_eq!(handle.get().store(&value, LONG), Ok(0));
                    }
                });
            }
            for _ in 0..2 {
                let handle = &handle;
                scope.spawn(move || {
                    let mut scratch = Vec::new();
                    let mut last = 0;
                    while last < 2 * stores {
                        if flags != 0 {
                            assert_eq!(handle.get().wait(last, LONG), Ok(0));
                        }
                        match handle.get().load() {
                            Ok((value, version)) => {
                                assert!(version >= last);
                                last = version;
                                check_value(&value, &mut scratch);
                            }
                            Err(errno) => assert!([EAGAIN, ENODATA].contains(&errno), "{errno}"),
                        }
                    }
                });
            }
        });
        assert_eq!(handle.get().version(), 2 * stores);
    }
}
