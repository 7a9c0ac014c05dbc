//! The sets of frozen files, and their recordings.

use crate::dump;
pub use common::prelude::*;
use common::root;
use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// A set: the frozen files of one version.
pub struct Set {
    /// The version, such as `0.1`.
    pub version: String,
    directory: PathBuf,
}

/// The sets of all versions, or the one that `scripts/freeze` makes.
pub fn sets() -> Vec<Set> {
    let directory = root().join("tests/compat");
    let mut versions: Vec<String> = match env::var("UNIXIPC_FREEZE") {
        Ok(version) => vec![version],
        Err(_) => fs::read_dir(&directory)
            .unwrap()
            .filter_map(|entry| entry.unwrap().file_name().into_string().ok())
            .filter(|name| name.starts_with(|c: char| c.is_ascii_digit()))
            .collect(),
    };
    versions.sort();
    assert!(!versions.is_empty(), "no sets");
    let set = |version: String| Set {
        directory: directory.join(&version),
        version,
    };
    versions.into_iter().map(set).collect()
}

/// Whether `scripts/freeze` makes a set.
pub fn is_freezing() -> bool {
    env::var_os("UNIXIPC_FREEZE").is_some()
}

impl Set {
    pub fn path(&self, name: &str) -> PathBuf {
        let path = self.directory.join(name);
        assert!(path.exists(), "{} is missing", path.display());
        path
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    /// A recording.
    #[track_caller]
    pub fn recording(&self, name: &str) -> Vec<u8> {
        dump::parse(&fs::read_to_string(self.path(&format!("{name}.hex"))).unwrap())
    }

    /// Compares a text with a frozen file, or writes the file.
    #[track_caller]
    pub fn assert_frozen(&self, name: &str, text: &str) {
        if is_freezing() {
            fs::write(self.directory.join(name), text).unwrap();
            return;
        }
        let frozen = fs::read_to_string(self.path(name)).unwrap();
        for (number, (old, new)) in frozen.lines().zip(text.lines()).enumerate() {
            assert_eq!(
                new,
                old,
                "{} of {}: line {}",
                name,
                self.version,
                number + 1
            );
        }
        let lines = (text.lines().count(), frozen.lines().count());
        assert_eq!(lines.0, lines.1, "the lines of {name} of {}", self.version);
    }

    /// Compares bytes with a recording, or writes it.
    #[track_caller]
    pub fn assert_recorded(&self, name: &str, bytes: &[u8]) {
        self.assert_frozen(&format!("{name}.hex"), &dump::print(bytes));
    }
}

/// The outcome of a call of the C interface that returns a number.
#[macro_export]
macro_rules! call {
    ($call:expr) => {{
        #[allow(clippy::macro_metavars_in_unsafe)]
        // SAFETY: each caller passes the arguments that the header demands.
        let outcome = $crate::support::outcome(|| (unsafe { $call }) as isize);
        outcome
    }};
}

/// The frozen objects contain types of this C library.
pub fn old_objects() -> Option<&'static str> {
    let is_same = cfg!(all(target_arch = "x86_64", target_env = "gnu"));
    (!is_same).then_some("only on x86-64 with glibc")
}

/// The frozen programs run here, and `make stage` makes the present library.
pub fn old_programs() -> Option<&'static str> {
    old_objects()
        .or_else(|| (!has_c_library()).then_some("only with glibc 2.34 or newer"))
        .or_else(needs::c_compiler)
}

/// Whether the C library has the symbols that the frozen programs need.
#[cfg(target_env = "gnu")]
fn has_c_library() -> bool {
    // SAFETY: the string is constant.
    let version = unsafe { CStr::from_ptr(libc::gnu_get_libc_version()) };
    let mut numbers = version.to_str().unwrap().split('.');
    let mut number = || numbers.next().and_then(|number| number.parse().ok());
    (number(), number()) >= (Some(2u32), Some(34u32))
}

#[cfg(not(target_env = "gnu"))]
fn has_c_library() -> bool {
    false
}

/// As [`old_programs`], and no other process has the same System V keys: those in the programs are
/// constants.
pub fn old_programs_alone() -> Option<&'static str> {
    old_programs().or_else(needs::ipc_namespace)
}

/// The name of a region that only this test uses. Dropping it removes the name.
pub struct RegionName(String);

impl RegionName {
    pub fn new() -> Self {
        Self(format!("/unixipc-compat-{}", std::process::id()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The file of the region.
    pub fn file(&self) -> PathBuf {
        PathBuf::from(format!("/dev/shm{}", self.0))
    }
}

impl Drop for RegionName {
    fn drop(&mut self) {
        let _ = fs::remove_file(self.file());
    }
}

/// Replaces bytes that differ between two runs.
pub fn mask(bytes: &mut [u8], at: usize, value: &[u8]) {
    bytes[at..at + value.len()].copy_from_slice(value);
}

/// Replaces the words of a memory's label that differ from run to run: the process, its namespace, the
/// time, and the memory of the other side.
pub fn mask_label(memory: &mut [u8]) {
    memory[1032..1056].fill(1);
}
