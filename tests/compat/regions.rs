//! The files of regions that an earlier version made.

use crate::call;
use crate::support::*;
use libc::{ENOENT, ESTALE, c_int, c_uint, c_void};
use std::{fs, ptr, slice};
use unixipc::ffi::shm::*;

const SIZE: usize = 5000;
const LAYOUT: u64 = 0x0102_0304_0506_0708;
/// The size of the end of the file, which records the attributes of the region.
const TRAILER: usize = 64;
/// The offsets of the version and of the flags in it.
const VERSION: usize = 16;
const FLAGS: usize = 20;

/// The file of a region that the present library makes.
fn fresh(flags: c_uint) -> Vec<u8> {
    let name = RegionName::new();
    let opts = ipc_shm_opts {
        flags: flags | IPC_SHM_F_PUBLISH,
        mode: 0,
        timeout_ms: 0,
        reserved: 0,
        layout: LAYOUT,
    };
    let mut shm = ptr::null_mut();
    let made = call!(ipc_shm_create(SIZE, &opts, size_of_val(&opts), &mut shm));
    assert_eq!(made, Ok(0));
    let content = content();
    // SAFETY: the region has this size.
    unsafe { ptr::copy_nonoverlapping(content.as_ptr(), ipc_shm_addr(shm).cast(), SIZE) };
    assert_eq!(
        call!(ipc_shm_publish(shm, c_path(name.as_str()).as_ptr())),
        Ok(0)
    );
    let bytes = fs::read(name.file()).unwrap();
    // SAFETY: an open region, and this is its last use.
    unsafe { ipc_shm_close(shm) };
    bytes
}

/// Opens a region whose file has these bytes. Checks its attributes and its content.
fn open(bytes: &[u8]) -> Result<(), c_int> {
    let name = RegionName::new();
    fs::write(name.file(), bytes).unwrap();
    let mut shm = ptr::null_mut();
    let opened = call!(ipc_shm_open(c_path(name.as_str()).as_ptr(), 0, &mut shm));
    if opened.is_ok() {
        // SAFETY: an open region.
        assert_eq!(unsafe { ipc_shm_size(shm) }, SIZE);
        // SAFETY: as above.
        assert_eq!(unsafe { ipc_shm_layout(shm) }, LAYOUT);
        // SAFETY: as above.
        assert_eq!(content_at(unsafe { ipc_shm_addr(shm) }), content());
        // SAFETY: an open region, and this is its last use.
        unsafe { ipc_shm_close(shm) };
    }
    opened.map(drop)
}

/// The content of the regions, most of which is zero.
fn content() -> Vec<u8> {
    let mut content = pattern(100, 1);
    content.resize(SIZE - 1, 0);
    content.push(1);
    content
}

fn content_at(at: *mut c_void) -> Vec<u8> {
    // SAFETY: a region of this size.
    unsafe { slice::from_raw_parts(at.cast::<u8>(), SIZE) }.to_vec()
}

#[apply(isolated)]
#[needs(old_objects)]
fn old_regions() {
    for set in sets() {
        assert_eq!(open(&set.recording("region")), Ok(()));
        // A transient region without users does not exist.
        assert_eq!(open(&set.recording("region-transient")), Err(ENOENT));
    }
}

#[apply(isolated)]
#[needs(old_objects)]
fn fresh_regions() {
    for set in sets() {
        set.assert_recorded("region", &fresh(0));
        set.assert_recorded("region-transient", &fresh(IPC_SHM_F_TRANSIENT));
    }
}

/// Another version of the attributes, and an attribute that this version does not know.
#[apply(isolated)]
#[needs(old_objects)]
fn other_attributes_are_refused() {
    let region = fresh(0);
    let trailer = region.len() - TRAILER;
    for at in [VERSION, VERSION + 3, FLAGS, FLAGS + 3] {
        let mut other = region.clone();
        other[trailer + at] ^= 0x40;
        assert_eq!(open(&other), Err(ESTALE));
    }
}
