//! Objects in shared memory that an earlier version made: the present library uses them, or refuses
//! them with ESTALE if the layout has another version. It never misreads them.

use crate::states::{STATES, State};
use crate::support::*;
use libc::{EPROTO, ESTALE, c_void};
use std::{fs, ptr, slice};

/// The header has the type (4 bytes), the version of the layout (2), the C library and the size of a
/// word (1 each; 0 in an object without types of the C library).
const HEADER: usize = 8;

/// Shared memory with these bytes, until the test ends.
fn memory_with(bytes: &[u8]) -> *mut c_void {
    let memory = shared_words(bytes.len().div_ceil(8))
        .as_ptr()
        .cast_mut()
        .cast::<u8>();
    // SAFETY: new memory of at least this size.
    unsafe { ptr::copy_nonoverlapping(bytes.as_ptr(), memory, bytes.len()) };
    memory.cast()
}

fn bytes_at(at: *mut c_void, size: usize) -> Vec<u8> {
    // SAFETY: memory of this size, which no other thread uses.
    unsafe { slice::from_raw_parts(at.cast::<u8>(), size) }.to_vec()
}

/// An object that the present library makes. It belongs to another boot.
fn fresh(state: &State) -> Vec<u8> {
    let at = memory_with(&vec![0; (state.size)()]);
    (state.make)(at);
    let mut bytes = bytes_at(at, (state.size)());
    if let Some(release) = state.release {
        release(at);
    }
    for word in state.home {
        assert_ne!(bytes[*word..][..4], [0; 4], "no home at {word}");
        mask(&mut bytes, *word, &1u32.to_le_bytes());
    }
    bytes
}

#[apply(isolated)]
#[needs(old_objects)]
fn old_objects_are_used_or_refused() {
    for set in sets() {
        for state in &STATES {
            let _case = Case(format!("{} of {}", state.name, set.version));
            let old = set.recording(state.name);
            let outcomes = (state.calls)(memory_with(&old));
            if old[..HEADER] == fresh(state)[..HEADER] {
                assert_eq!(outcomes, state.expected);
            } else {
                assert_refused(&outcomes, ESTALE);
            }
        }
    }
}

#[track_caller]
fn assert_refused(outcomes: &[Outcome], errno: i32) {
    for outcome in outcomes {
        assert_eq!(*outcome, Err(errno));
    }
}

/// A later version may use the reserved space of an object: this version neither depends on it nor
/// changes it.
#[apply(isolated)]
#[needs(old_objects)]
fn reserved_space() {
    for state in &STATES {
        let _case = Case(state.name);
        let mut bytes = fresh(state);
        for &(from, to) in state.reserved {
            bytes[from..to].fill(0xa5);
        }
        let at = memory_with(&bytes);
        assert_eq!((state.calls)(at), state.expected);
        let used = bytes_at(at, bytes.len());
        for &(from, to) in state.reserved {
            assert_eq!(used[from..to], bytes[from..to]);
        }
    }
}

/// A layout does not change without its version.
#[apply(isolated)]
#[needs(old_objects)]
fn fresh_objects() {
    for set in sets() {
        for state in &STATES {
            let _case = Case(format!("{} of {}", state.name, set.version));
            let fresh = fresh(state);
            let is_comparable = || {
                let old = set.recording(state.name);
                state.release.is_none() && old[..HEADER] == fresh[..HEADER]
            };
            if is_freezing() || is_comparable() {
                set.assert_recorded(state.name, &fresh);
            }
        }
    }
}

/// The names of the objects in layouts.txt.
const LAYOUTS: [(&str, &str); 5] = [
    ("mutex", "ipc_mutex"),
    ("rwlock", "ipc_rwlock"),
    ("cond", "ipc_cond"),
    ("event", "ipc_event"),
    ("cell", "cell"),
];

/// The lines of an object in layouts.txt: its size, and the offset of each field.
fn lines<'a>(layouts: &'a str, object: &str) -> Vec<&'a str> {
    let mut lines = layouts
        .lines()
        .skip_while(|line| !line.starts_with(&format!("{object} ")));
    let size = lines.next();
    size.into_iter()
        .chain(lines.take_while(|line| line.starts_with(' ')))
        .collect()
}

/// A field does not move without a new version of the layout, even if it is 0 in a new object.
#[apply(isolated)]
#[needs(old_objects)]
fn fields_stay() {
    let layouts = fs::read_to_string(common::root().join("tests/abi/layouts.txt")).unwrap();
    for set in sets() {
        let frozen = fs::read_to_string(set.path("layouts.txt")).unwrap();
        for (name, object) in LAYOUTS {
            let state = STATES.iter().find(|state| state.name == name).unwrap();
            if set.recording(name)[..HEADER] != fresh(state)[..HEADER] {
                continue;
            }
            let (old, present) = (lines(&frozen, object), lines(&layouts, object));
            assert!(!old.is_empty(), "{object} of {}", set.version);
            for line in old {
                assert!(
                    present.contains(&line),
                    "{object} of {}: {line}",
                    set.version
                );
            }
        }
    }
}

/// Another version of a layout is ESTALE, whether it is earlier or later, and so is another C
/// library. Another type of object is EPROTO. Nothing is written to such an object.
#[apply(isolated)]
#[needs(old_objects)]
fn other_layouts_are_refused() {
    // An object that this thread holds is one of this version.
    for state in STATES.iter().filter(|state| state.release.is_none()) {
        let fresh = fresh(state);
        for (byte, name, errno) in [
            (0, "the type", EPROTO),
            (3, "the type", EPROTO),
            (4, "the version", ESTALE),
            (5, "the version", ESTALE),
            (6, "the C library", ESTALE),
            (7, "the size of a word", ESTALE),
        ] {
            for change in [1, 0xff] {
                let _case = Case(format!("{}: {name} + {change}", state.name));
                let mut other = fresh.clone();
                other[byte] = other[byte].wrapping_add(change);
                let at = memory_with(&other);
                assert_refused(&(state.calls)(at), errno);
                assert_eq!(bytes_at(at, other.len()), other);
            }
        }
    }
}
