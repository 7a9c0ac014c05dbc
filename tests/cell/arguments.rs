//! Arguments that the functions refuse.

use crate::support::*;
use libc::{EBADF, EINVAL, EMSGSIZE, ENODATA, ENOSPC, EOPNOTSUPP, EPROTO, c_int, c_void, ssize_t};
use std::ptr;
use unixipc::ffi::cell::*;

const MAX: usize = isize::MAX as usize;

#[apply(isolated)]
fn bytes() {
    assert_eq!(ipc_cell_memory_size(0), 0);
    for absurd in [MAX, MAX - 63, MAX / 4, usize::MAX, usize::MAX - 64, 1 << 62] {
        assert_eq!(ipc_cell_memory_size(absurd), 0, "{absurd:#x}");
    }
    let mut last = 0;
    for size in (1..5000).chain([1 << 16, (1 << 16) + 1, 1 << 20, 5 << 30, 1 << 40]) {
        let bytes = ipc_cell_memory_size(size);
        assert!(bytes > 4 * size && bytes % 64 == 0, "{size}: {bytes}");
        if size < 1000 {
            assert!(bytes >= last);
            last = bytes;
        }
    }
}

#[apply(isolated)]
fn init() {
    let memory = Memory::new(ipc_cell_memory_size(100) + 64);
    let at = memory.at.cast::<c_void>();
    assert_eq!(init_raw(ptr::null_mut(), 4096, 100, 0).unwrap_err(), EINVAL);
    for odd in 1..16 {
        let odd = at.wrapping_byte_add(odd);
        assert_eq!(init_raw(odd, memory.size, 100, 0).unwrap_err(), EINVAL);
        assert_eq!(open_raw(odd, memory.size, 0).unwrap_err(), EINVAL);
    }
    for flags in [
        RDONLY,
        WAITABLE | RDONLY,
        SOLE | RDONLY,
        WAITABLE_RDONLY | RDONLY,
        16,
        1 << 31,
        u32::MAX,
    ] {
        assert_eq!(memory.init(100, flags).unwrap_err(), EINVAL, "{flags:#x}");
    }
    for size in [0, MAX, MAX / 4, usize::MAX, usize::MAX - 64] {
        assert_eq!(memory.init(size, 0).unwrap_err(), EINVAL, "{size:#x}");
    }
    let needed = ipc_cell_memory_size(100);
    for size in [0, 1, 63, 64, 255, 256, needed - 1] {
        assert_eq!(init_raw(at, size, 100, 0).unwrap_err(), ENOSPC, "{size}");
    }
    assert_eq!(memory.init(1 << 40, 0).unwrap_err(), ENOSPC);
    // SAFETY: the memory is valid; the out pointer is NULL.
    let ret =
        outcome(|| unsafe { ipc_cell_init(at, memory.size, 100, 0, ptr::null_mut()) as ssize_t });
    assert_eq!(ret, Err(EINVAL));
    // None of these calls has written to the memory.
    assert!(memory.bytes().iter().all(|byte| *byte == 0));
    for (offset, flags) in [
        (0, 0),
        (16, WAITABLE),
        (32, WAITABLE_RDONLY),
        (48, WAITABLE | WAITABLE_RDONLY),
        (64, WAITABLE | WAITABLE_RDONLY | SOLE),
    ] {
        let cell = init_raw(at.wrapping_byte_add(offset), needed, 100, flags).unwrap();
        assert_eq!(cell.size(), 100);
        assert_eq!(cell.store(b"value", 0), Ok(0));
        assert_eq!(cell.load(), Ok((b"value".to_vec(), 1)));
    }
}

#[apply(isolated)]
fn open() {
    let (memory, _cell) = new_cell(100, 0);
    let at = memory.at.cast::<c_void>();
    assert_eq!(open_raw(ptr::null(), memory.size, 0).unwrap_err(), EINVAL);
    for flags in [
        WAITABLE,
        WAITABLE | RDONLY,
        SOLE | RDONLY,
        WAITABLE_RDONLY,
        16,
        u32::MAX,
    ] {
        assert_eq!(memory.open(flags).unwrap_err(), EINVAL, "{flags:#x}");
    }
    for size in [0, 1, 63, 255, 256, memory.size - 1] {
        assert_eq!(open_raw(at, size, 0).unwrap_err(), EPROTO, "{size}");
    }
    // SAFETY: the memory is valid; the out pointer is NULL.
    let ret = outcome(|| unsafe { ipc_cell_open(at, memory.size, 0, ptr::null_mut()) as ssize_t });
    assert_eq!(ret, Err(EINVAL));
    assert_eq!(open_raw(at, usize::MAX, 0).unwrap().size(), 100);
}

#[apply(isolated)]
fn store() {
    let (memory, cell) = new_cell(100, 0);
    let value = [7u8; 101];
    let at = value.as_ptr().cast::<c_void>();
    // SAFETY: a value of this many bytes.
    let ret = outcome(|| unsafe { ipc_cell_store(ptr::null_mut(), at, 5, 0) as ssize_t });
    assert_eq!(ret, Err(EINVAL));
    for len in [0, 5] {
        assert_eq!(cell.store_raw(ptr::null(), len, 0), Err(EINVAL));
    }
    assert_eq!(cell.store_raw(at, 0, 0), Err(EINVAL));
    for len in [101, 1 << 20, MAX, MAX + 1, usize::MAX] {
        assert_eq!(cell.store_raw(at, len, 0), Err(EMSGSIZE), "{len:#x}");
    }
    for timeout in [-3, c_int::MIN] {
        assert_eq!(cell.store(&value[..5], timeout), Err(EINVAL));
    }
    let reader = memory.open(RDONLY).unwrap();
    assert_eq!(reader.store(&value[..5], -1), Err(EBADF));
    assert_eq!(cell.load(), Err(ENODATA), "nothing was stored");
    for timeout in [-1, 0, 1, LONG, c_int::MAX] {
        assert_eq!(cell.store(&value[..100], timeout), Ok(0));
    }
    assert_eq!(cell.version(), 5);
}

#[apply(isolated)]
fn load() {
    let (_memory, cell) = new_cell(100, 0);
    let mut buffer = [0u8; 100];
    let at = buffer.as_mut_ptr().cast::<c_void>();
    let mut version = 77;
    let mut load = |cell: *const _, at: *mut c_void, cap: usize| {
        // SAFETY: a handle or NULL, and a buffer of cap bytes or NULL.
        outcome(|| unsafe { ipc_cell_load(cell, at, cap, &mut version) })
    };
    for stored in [false, true] {
        if stored {
            assert_eq!(cell.store(b"abc", 0), Ok(0));
        }
        assert_eq!(load(ptr::null(), at, 100), Err(EINVAL));
        assert_eq!(load(cell.0, ptr::null_mut(), 100), Err(EINVAL));
        assert_eq!(load(cell.0, ptr::null_mut(), 0), Err(EINVAL));
        assert_eq!(load(cell.0, at, 0), Err(EINVAL));
        assert_eq!(load(cell.0, at, MAX + 1), Err(EINVAL));
    }
    assert_eq!(version, 77);
    // SAFETY: a handle, and a buffer; a NULL version is allowed.
    let len = outcome(|| unsafe { ipc_cell_load(cell.0, at, 100, ptr::null_mut()) });
    assert_eq!((len, &buffer[..3]), (Ok(3), &b"abc"[..]));
    // SAFETY: NULL is allowed.
    assert_eq!(unsafe { ipc_cell_value_size(ptr::null()) }, 0);
}

#[apply(isolated)]
fn wait() {
    let (_memory, plain) = new_cell(100, 0);
    for timeout in [-1, 0, 5, INTR] {
        assert_eq!(plain.wait(0, timeout), Err(EOPNOTSUPP));
        assert_eq!(plain.wait(9, timeout), Err(EOPNOTSUPP));
    }
    for flags in [WAITABLE, WAITABLE_RDONLY] {
        let (_memory, cell) = new_cell(100, flags);
        for timeout in [-3, c_int::MIN] {
            assert_eq!(cell.wait(0, timeout), Err(EINVAL));
            assert_eq!(cell.wait(9, timeout), Err(EINVAL));
        }
    }
    // A read-only handle cannot announce its wait.
    let (memory, _cell) = new_cell(100, WAITABLE);
    let reader = memory.open(RDONLY).unwrap();
    for timeout in [-1, 0, 5, INTR] {
        assert_eq!(reader.wait(0, timeout), Err(EOPNOTSUPP));
        assert_eq!(reader.wait(9, timeout), Err(EOPNOTSUPP));
    }
    // SAFETY: NULL is refused.
    let ret = outcome(|| unsafe { ipc_cell_wait(ptr::null(), 9, 0) as ssize_t });
    assert_eq!(ret, Err(EINVAL));
}

/// A handle can be closed while another one is used; this does not change the memory.
#[apply(isolated)]
fn close() {
    let (memory, cell) = new_cell(100, 0);
    let other = memory.open(0).unwrap();
    let before = memory.bytes();
    drop(cell);
    assert!(memory.bytes() == before);
    assert_eq!(other.store(b"x", 0), Ok(0));
    set_errno(SENTINEL);
    // SAFETY: NULL is allowed.
    unsafe { ipc_cell_close(ptr::null_mut()) };
    assert_eq!(
        std::io::Error::last_os_error().raw_os_error(),
        Some(SENTINEL)
    );
}
