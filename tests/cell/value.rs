//! Values, their lengths and their versions.

use crate::support::*;
use libc::{EAGAIN, EMSGSIZE, ENODATA, PROT_READ, PROT_WRITE, c_int};
use std::cell::Cell as Count;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use unixipc::cell::protocol::{self, SlotHeader, Wake};
use unixipc::errno::Errno;
use unixipc::lock::announce::Waiters;

#[apply(isolated)]
fn lengths() {
    let (memory, cell) = new_cell(600, 0);
    let reader = memory.open(RDONLY).unwrap();
    let mut value = vec![0; 600];
    for len in (1..=600).chain((1..=600).rev()) {
        let version = reader.load().map_or(0, |(_, version)| version);
        fill_value(&mut value[..len], len as u64 ^ version << 20);
        assert_eq!(cell.store(&value[..len], 0), Ok(0));
        assert_eq!(
            reader.load(),
            Ok((value[..len].to_vec(), version + 1)),
            "{len}"
        );
    }
}

/// Cells of all sizes around the boundaries of the layout, with full and with shorter values,
/// stored more often than the cell has slots.
#[apply(isolated)]
fn every_size() {
    let sizes = (1..=300).chain([
        511,
        512,
        513,
        1023,
        1024,
        1025,
        4095,
        4096,
        4097,
        65535,
        65536,
        65537,
        1 << 20,
        (1 << 20) + 1,
        2 << 20,
        5_000_001,
    ]);
    let mut scratch = Vec::new();
    for size in sizes {
        let _case = Case(format!("size {size}"));
        let (memory, cell) = new_cell(size, 0);
        assert_eq!(cell.size(), size);
        assert_eq!(cell.load(), Err(ENODATA));
        let reader = memory.open(RDONLY).unwrap();
        for number in 0..20 {
            let len = if number % 3 == 2 {
                size.div_ceil(2)
            } else {
                size
            };
            scratch.resize(len, 0);
            fill_value(&mut scratch, number);
            assert_eq!(cell.store(&scratch, -1), Ok(0));
            let (value, version) = reader.load().unwrap();
            assert!(value == scratch && version == number + 1);
        }
    }
}

#[apply(isolated)]
fn versions() {
    let (memory, cell) = new_cell(8, 0);
    let other = memory.open(0).unwrap();
    for number in 1..=1000u64 {
        let writer = if number % 2 == 0 { &cell } else { &other };
        assert_eq!(writer.store(&number.to_le_bytes(), 0), Ok(0));
        for reader in [&cell, &other] {
            assert_eq!(reader.load(), Ok((number.to_le_bytes().to_vec(), number)));
        }
    }
    cell.store(b"123456789", 0).unwrap_err();
    assert_eq!(cell.version(), 1000, "a failed store");
}

/// The low half of the version wraps to 0, which does not mean an empty cell.
#[apply(isolated)]
fn versions_beyond_32_bits() {
    for flags in [0, WAITABLE, WAITABLE_RDONLY] {
        let (memory, cell) = new_cell(8, flags);
        let stride = memory.peek::<u64>(layout::STRIDE) as usize;
        let slots = memory.peek::<u32>(layout::SLOTS) as u64;
        let mut version = (7 << 32) - 2 * slots;
        let slot = layout::FIRST_SLOT + stride * (version % slots) as usize;
        memory.poke(slot, version);
        memory.poke(slot + 8, 8u64);
        memory.poke(layout::PUBLISHED, version as u32);
        assert_eq!(cell.version(), version);
        for _ in 0..4 * slots {
            if flags != 0 {
                assert_eq!(cell.wait(version, 0), Err(EAGAIN));
                assert_eq!(cell.wait(version - 1, 0), Ok(0));
            }
            version += 1;
            assert_eq!(cell.store(&version.to_le_bytes(), 0), Ok(0));
            assert_eq!(cell.load(), Ok((version.to_le_bytes().to_vec(), version)));
        }
        assert!(version > 7 << 32);
    }
}

/// After an error other than EAGAIN and EPROTO the buffer is unchanged.
#[apply(isolated)]
fn outputs_stay() {
    let (_memory, cell) = new_cell(64, 0);
    let untouched = |expected: c_int| {
        let mut buffer = [0x5a_u8; 63];
        let mut version = 5;
        // SAFETY: a handle, and a buffer.
        let ret = outcome(|| unsafe {
            unixipc::ffi::cell::ipc_cell_load(cell.0, buffer.as_mut_ptr().cast(), 63, &mut version)
        });
        assert_eq!(ret, Err(expected));
        assert_eq!((buffer, version), ([0x5a; 63], 5));
    };
    untouched(ENODATA);
    cell.store(&[1; 64], 0).unwrap();
    untouched(EMSGSIZE);
    // Nor does the call write beyond a value that no writer was replacing.
    cell.store(&[1; 20], 0).unwrap();
    let mut buffer = [0x5a_u8; 64];
    // SAFETY: a handle, and a buffer.
    let ret = outcome(|| unsafe {
        unixipc::ffi::cell::ipc_cell_load(cell.0, buffer.as_mut_ptr().cast(), 64, &mut 0)
    });
    assert_eq!((ret, &buffer[20..]), (Ok(20), &[0x5a; 44][..]));
}

#[apply(isolated)]
fn small_buffers() {
    let (_memory, cell) = new_cell(5000, 0);
    for len in [1, 2, 3, 8, 64, 65, 4096, 5000] {
        cell.store(&vec![3; len], 0).unwrap();
        for cap in [1, 2, len / 2, len - 1]
            .into_iter()
            .filter(|cap| (1..len).contains(cap))
        {
            assert_eq!(cell.load_cap(cap), Err(EMSGSIZE), "{len} into {cap}");
        }
        for cap in [len, len + 1, 5000, 10000] {
            if cap >= len {
                assert_eq!(cell.load_cap(cap).unwrap().0, vec![3; len]);
            }
        }
    }
}

/// The same memory, mapped twice: it contains no addresses.
#[apply(isolated)]
fn two_handles_at_two_addresses() {
    let size = unixipc::ffi::cell::ipc_cell_memory_size(100);
    let file = memfd(size);
    let first = Memory::of(&file, size, PROT_READ | PROT_WRITE);
    let second = Memory::of(&file, size, PROT_READ | PROT_WRITE);
    assert_ne!(first.at, second.at);
    let a = first.init(100, 0).unwrap();
    let b = second.open(0).unwrap();
    for i in 1..100u64 {
        let (writer, reader) = if i % 2 == 0 { (&a, &b) } else { (&b, &a) };
        assert_eq!(writer.store(&i.to_le_bytes(), -1), Ok(0));
        assert_eq!(reader.load(), Ok((i.to_le_bytes().to_vec(), i)));
    }
}

/// A handle works in the child; the child may close it, and so may the parent.
#[apply(isolated)]
fn fork() {
    let (_memory, cell) = new_cell(100, WAITABLE);
    let child = crate::support::fork(|| {
        assert_eq!(cell.wait(0, LONG), Ok(0));
        assert_eq!(cell.load(), Ok((b"question".to_vec(), 1)));
        assert_eq!(cell.store(b"answer", LONG), Ok(0));
        // SAFETY: the child's own handle.
        unsafe { unixipc::ffi::cell::ipc_cell_close(cell.0) };
    });
    assert_eq!(cell.store(b"question", LONG), Ok(0));
    assert_eq!(cell.wait(1, LONG), Ok(0));
    assert_eq!(cell.load(), Ok((b"answer".to_vec(), 2)));
    child.join();
}

/// A cell whose writers always overtake the reader: each access shows a slot that is being filled,
/// and another published version.
struct Busy {
    looked: Count<u32>,
    published: [AtomicU32; 2],
    slot: SlotHeader,
}

impl protocol::CellMemory for Busy {
    type Slot = ();

    fn published(&self) -> &AtomicU32 {
        self.looked.set(self.looked.get() + 1);
        &self.published[self.looked.get() as usize % 2]
    }

    fn slot(&self, _: u32) {}

    fn header(&self, (): ()) -> &SlotHeader {
        &self.slot
    }

    fn waiters(&self) -> &Waiters {
        unreachable!()
    }

    fn wake(&self) -> Wake {
        Wake::Never
    }

    fn increment_and_wake(&self) -> unixipc::errno::Result<u32> {
        unreachable!()
    }

    fn wake_all(&self) -> u32 {
        unreachable!()
    }
}

/// Whatever the writers do, a load ends, both with copies that are overtaken and without any copy.
#[apply(isolated)]
fn a_reader_gives_up() {
    let busy = Busy {
        looked: Count::new(0),
        published: [AtomicU32::new(1), AtomicU32::new(2)],
        slot: SlotHeader {
            version: AtomicU64::new(u64::MAX),
            len: AtomicU64::new(1),
        },
    };
    let loaded = protocol::load(&busy, |(), _, _| -> unixipc::errno::Result<()> {
        unreachable!("nothing is there to be copied")
    });
    assert_eq!(loaded, Err(Errno::EAGAIN));
    assert_eq!(
        busy.looked.get(),
        1 + 2 * 63,
        "two accesses for each attempt but the first"
    );

    let mut copies = 0;
    // The content is copied, and overtaken each time.
    let always = [AtomicU32::new(4), AtomicU32::new(4)];
    let busy = Busy {
        published: always,
        ..busy
    };
    busy.slot.version.store(4, Ordering::Relaxed);
    let loaded = protocol::load(&busy, |(), _, _| {
        copies += 1;
        busy.slot.version.fetch_add(1 << 32, Ordering::Relaxed);
        Ok(())
    });
    assert_eq!((loaded, copies), (Err(Errno::EAGAIN), 64));
}
