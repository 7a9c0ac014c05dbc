//! The content of the memory.

use crate::support::*;
use libc::{
    _exit, EAGAIN, EBADF, EMSGSIZE, ENODATA, ENOMEM, EPROTO, ESTALE, PROT_READ, PROT_WRITE,
    RLIMIT_AS,
};
use unixipc::ffi::cell::*;

/// Memory of any content can be initialised as a cell without a value.
#[apply(isolated)]
fn any_initial_content() {
    let memory = Memory::new(ipc_cell_memory_size(200));
    let mut random = Random(3);
    for round in 0..20 {
        memory.fill(|_| match round {
            0 => 0xff,
            1 => 0,
            _ => random.next_u64() as u8,
        });
        let cell = memory
            .init(200, [0, WAITABLE, WAITABLE_RDONLY][round as usize % 3])
            .unwrap();
        assert_eq!(cell.load(), Err(ENODATA));
        assert_eq!(cell.store(&[round; 200], 0), Ok(0));
        assert_eq!(
            memory.open(RDONLY).unwrap().load(),
            Ok((vec![round; 200], 1))
        );
        // A cell with a value becomes one without a value, of another size.
        let cell = memory.init(10, 0).unwrap();
        assert_eq!((cell.size(), cell.load()), (10, Err(ENODATA)));
        assert_eq!(cell.store(b"0123456789", 0), Ok(0));
        assert_eq!(cell.load(), Ok((b"0123456789".to_vec(), 1)));
    }
}

#[apply(isolated)]
fn not_a_cell() {
    let memory = Memory::new(ipc_cell_memory_size(200));
    let mut random = Random(4);
    assert_eq!(memory.open(0).unwrap_err(), EPROTO, "zeros");
    for _ in 0..200 {
        memory.fill(|_| random.next_u64() as u8);
        assert_eq!(memory.open(RDONLY).unwrap_err(), EPROTO);
    }
    memory.init(200, 0).unwrap();
    memory.poke(layout::VERSION, memory.peek::<u32>(layout::VERSION) + 1);
    assert_eq!(memory.open(0).unwrap_err(), ESTALE, "another version");
    memory.poke(layout::MAGIC, 0u32);
    assert_eq!(memory.open(0).unwrap_err(), EPROTO);
}

/// In memory that is mapped read-only, everything except storing works, and sees the values of
/// other processes.
#[apply(isolated)]
fn read_only() {
    let size = ipc_cell_memory_size(1000);
    let file = memfd(size);
    let memory = Memory::of(&file, size, PROT_READ | PROT_WRITE);
    let cell = memory.init(1000, WAITABLE_RDONLY).unwrap();
    let view = Memory::of(&file, size, PROT_READ);
    for flags in [RDONLY, 0] {
        let reader = view.open(flags).unwrap();
        assert_eq!(reader.size(), 1000);
        for i in 1..50u8 {
            let seen = reader.load().map_or(0, |(_, version)| version);
            assert_eq!(reader.wait(seen, 0), Err(EAGAIN));
            assert_eq!(cell.store(&[i; 1000], 0), Ok(0));
            assert_eq!(reader.wait(seen, -1), Ok(0));
            assert_eq!(reader.load(), Ok((vec![i; 1000], seen + 1)));
        }
    }
    assert_eq!(view.open(RDONLY).unwrap().store(b"x", 0), Err(EBADF));
}

/// Opening and loading write nothing, and neither does waiting without an announcement.
#[apply(isolated)]
fn nothing_is_written() {
    for waitable in [WAITABLE, WAITABLE_RDONLY] {
        let (memory, cell) = new_cell(300, waitable);
        cell.store(&[1; 300], 0).unwrap();
        let before = memory.bytes();
        for flags in [0, RDONLY] {
            let other = memory.open(flags).unwrap();
            other.load().unwrap();
            other.load_cap(5).unwrap_err();
            if waitable == WAITABLE_RDONLY || flags == 0 {
                other.wait(0, 0).unwrap();
                other.wait(1, 0).unwrap_err();
            }
            if waitable == WAITABLE_RDONLY {
                other.wait(1, 2).unwrap_err();
            }
        }
        cell.store(&[1; 301], 0).unwrap_err();
        assert!(memory.bytes() == before);
    }
}

/// Numbers that lead to addresses outside the memory, or to none.
#[apply(isolated)]
fn sizes_are_checked() {
    let (memory, _cell) = new_cell(300, 0);
    let right = memory.bytes();
    let restore = || memory.fill(|i| right[i]);
    let slots: u32 = memory.peek(layout::SLOTS);
    let stride: u64 = memory.peek(layout::STRIDE);
    let refused = |what: &str| {
        assert_eq!(memory.open(0).unwrap_err(), EPROTO, "{what}");
        restore();
        memory.open(0).unwrap();
    };
    for bad in [
        0,
        1,
        3,
        slots - 1,
        slots + 1,
        2 * slots,
        1 << 17,
        1 << 31,
        u32::MAX,
    ] {
        memory.poke(layout::SLOTS, bad);
        refused(&format!("{bad} slots"));
    }
    for bad in [
        0,
        1,
        63,
        stride - 64,
        stride + 1,
        stride + 64,
        1 << 32,
        1 << 63,
        u64::MAX,
        u64::MAX - 63,
    ] {
        memory.poke(layout::STRIDE, bad);
        refused(&format!("stride {bad:#x}"));
    }
    for bad in [
        0,
        stride - 63,
        stride,
        stride + 1,
        1 << 32,
        i64::MAX as u64,
        u64::MAX,
    ] {
        memory.poke(layout::VALUE_SIZE, bad);
        refused(&format!("value size {bad:#x}"));
    }
    for bad in [2, 4, 5, 7, 1 << 31, u32::MAX] {
        memory.poke(layout::FLAGS, bad);
        refused(&format!("flags {bad:#x}"));
    }
    // Products that overflow to a small number.
    for (slots, stride) in [
        (2, 1u64 << 63),
        (1u32 << 16, 1 << 48),
        (1 << 16, (1 << 48) + 64),
    ] {
        memory.poke(layout::SLOTS, slots);
        memory.poke(layout::STRIDE, stride);
        refused(&format!("{slots} slots, stride {stride:#x}"));
    }
    // Fewer slots than this version would create are valid.
    memory.poke(layout::SLOTS, slots / 2);
    assert_eq!(memory.open(0).unwrap().store(b"x", 0), Ok(0));
}

/// A handle keeps the numbers that it has checked; it refuses later damage that it detects, and
/// ignores other changes.
#[apply(isolated)]
fn overwritten_later() {
    let (memory, cell) = new_cell(64, WAITABLE);
    cell.store(&[1; 64], 0).unwrap();
    let right = memory.bytes();
    let restore = || memory.fill(|i| right[i]);
    let stride = memory.peek::<u64>(layout::STRIDE) as usize;
    let slot = layout::FIRST_SLOT + stride; // of version 1

    for bad in [0, 65, 1 << 32, u64::MAX] {
        memory.poke(slot + 8, bad);
        assert_eq!(cell.load(), Err(EPROTO), "length {bad:#x}");
    }
    restore();
    for bad in [0, 2, 1 << 32, (1 << 32) + 2, u64::MAX] {
        memory.poke(slot, bad);
        assert_eq!(cell.load(), Err(EPROTO), "version {bad:#x}");
        assert_eq!(cell.wait(1, 1000), Err(EPROTO), "version {bad:#x}");
        assert_eq!(cell.store(b"x", 0), Err(EPROTO), "version {bad:#x}");
    }
    restore();
    for bad in [2, 17, u32::MAX] {
        memory.poke(layout::PUBLISHED, bad);
        assert_eq!(cell.load(), Err(EPROTO), "published {bad:#x}");
        assert_eq!(cell.store(b"x", 0), Err(EPROTO), "published {bad:#x}");
    }
    restore();
    // The highest versions; one of them marks a slot that is being filled.
    for high in [u64::MAX, u64::MAX - 1] {
        let slot = layout::FIRST_SLOT + stride * (high & 15) as usize;
        memory.poke(slot, high);
        memory.poke(slot + 8, 4u64);
        memory.poke(layout::PUBLISHED, high as u32);
        assert_eq!(cell.store(b"x", 0), Err(EPROTO), "version {high:#x}");
    }
    assert_eq!(cell.load().unwrap().1, u64::MAX - 1);
    restore();
    // Fields that are not checked again.
    for offset in [
        layout::MAGIC,
        layout::VERSION,
        layout::FLAGS,
        layout::SLOTS,
        layout::VALUE_SIZE,
        layout::STRIDE,
    ] {
        memory.poke(offset, u32::MAX);
    }
    assert_eq!(cell.load(), Ok((vec![1; 64], 1)));
    restore();
    // The longest and the shortest length that are accepted.
    for len in [1u64, 64] {
        memory.poke(slot + 8, len);
        assert_eq!(cell.load(), Ok((vec![1; len as usize], 1)));
    }
    assert_eq!(cell.load_cap(63), Err(EMSGSIZE));
}

/// Readers do not depend on the locks of their C library; writers do.
#[apply(isolated)]
fn lock_of_another_type() {
    let (memory, cell) = new_cell(64, 0);
    cell.store(&[1; 64], 0).unwrap();
    memory.poke(layout::LOCK + 7, 9u8);
    assert_eq!(cell.store(&[2; 64], 0), Err(ESTALE));
    memory.poke(layout::LOCK, 9u8);
    assert_eq!(cell.store(&[2; 64], 0), Err(EPROTO));
    assert_eq!(memory.open(0).unwrap().load(), Ok((vec![1; 64], 1)));
}

/// Without memory for handles the call fails with ENOMEM, and the process continues.
#[apply(isolated)]
fn no_memory() {
    let (memory, cell) = new_cell(64, 0);
    cell.store(b"x", 0).unwrap();
    let opened = fork(|| {
        let mut handles: Vec<Cell> = Vec::with_capacity(1 << 20);
        set_soft_limit(RLIMIT_AS, 0);
        let errno = loop {
            match memory.open(0) {
                Ok(cell) => handles.push(cell),
                Err(errno) => break errno,
            }
        };
        assert_eq!(errno, ENOMEM);
        assert_eq!(memory.init(64, 0).map(drop), Err(ENOMEM));
        // SAFETY: the child ends here, because its heap is full.
        unsafe { _exit(0) };
    });
    opened.join();
}
