//! Gives cargo's own shared library the soname of the installed one, so that a
//! program linked with it by chance finds the same file later. The library that
//! `make` installs is linked by the Makefile.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let major = std::env::var("CARGO_PKG_VERSION_MAJOR").expect("cargo sets it");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libunixipc.so.{major}");
}
