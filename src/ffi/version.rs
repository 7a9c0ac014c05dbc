//! The version.

use libc::{c_char, c_int};

/// The version of this header: incremented for incompatible changes.
pub const UNIXIPC_VERSION_MAJOR: c_int = 0;
/// The version of this header: incremented for additions.
pub const UNIXIPC_VERSION_MINOR: c_int = 1;
/// The version of this header: incremented for corrections.
pub const UNIXIPC_VERSION_PATCH: c_int = 0;

/// The version of this header as one number, for `#if`: 10203 is 1.2.3.
pub const UNIXIPC_VERSION_NUMBER: c_int =
    UNIXIPC_VERSION_MAJOR * 10000 + UNIXIPC_VERSION_MINOR * 100 + UNIXIPC_VERSION_PATCH;

/// Parses a decimal number from Cargo.toml.
#[allow(dead_code)] // Rust 1.85 does not count the use below
const fn parse(text: &str) -> c_int {
    let digits = text.as_bytes();
    let mut value = 0;
    let mut i = 0;
    while i < digits.len() {
        assert!(digits[i].is_ascii_digit());
        value = value * 10 + (digits[i] - b'0') as c_int;
        i += 1;
    }
    value
}

// cbindgen reads only literals, so the numbers are repeated above and compared here. It has no
// strings: the test that generates the header adds UNIXIPC_VERSION.
const _: () = assert!(
    parse(env!("CARGO_PKG_VERSION_MAJOR")) == UNIXIPC_VERSION_MAJOR
        && parse(env!("CARGO_PKG_VERSION_MINOR")) == UNIXIPC_VERSION_MINOR
        && parse(env!("CARGO_PKG_VERSION_PATCH")) == UNIXIPC_VERSION_PATCH
        && env!("CARGO_PKG_VERSION_PRE").is_empty(),
    "the version in src/ffi/version.rs is not the one in Cargo.toml"
);

/// Returns the version of the library that the program runs with, such as "0.1.0".
///
/// UNIXIPC_VERSION is the version of the header that the program was compiled with. The two differ
/// if another version of the shared library was installed since then.
///
/// The string is constant; do not free it. Does not block. May be called from any thread, from a
/// signal handler, and in the child after fork. Cannot fail.
#[unsafe(no_mangle)]
pub extern "C" fn ipc_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}
