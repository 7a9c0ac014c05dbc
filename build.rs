//! Gives the shared library that cargo builds the soname of the installed one, so that a program
//! that was linked with it also runs with the installed library. The Makefile links the library
//! that `make` installs.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let major = std::env::var("CARGO_PKG_VERSION_MAJOR").expect("cargo sets it");
    println!("cargo:rustc-cdylib-link-arg=-Wl,-soname,libunixipc.so.{major}");
}
