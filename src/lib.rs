//! Local IPC for C and C++ programs on Linux.
//!
//! The product is a C library: `#include <unixipc.h>`, link with what
//! `pkg-config --cflags --libs unixipc` prints. This crate is its source; the
//! Rust items are public only so that the tests reach them.
//!
//! # The map
//!
//! | module | what is in it |
//! |---|---|
//! | [`ffi`] | every function that C sees, and nothing else: it converts |
//! | [`errno`] | the error type of the inside, and the one place that sets `errno` |
//! | [`sys`] | the raw system calls, each with its reason for being sound |
//!
//! # The layers
//!
//! 1. **calls**: the system's own calls under the prefix `ipc_`, unchanged.
//!    `ffi::calls` hands them to [`sys`].

#![deny(missing_docs)]
#![deny(unsafe_op_in_unsafe_fn)]
#![deny(clippy::undocumented_unsafe_blocks)]
#![deny(clippy::multiple_unsafe_ops_per_block)]

// The supported ABIs: 64-bit little-endian Linux on which a variadic argument
// travels in the register that a fixed one would take (see `ipc_semctl`), and
// whose kernel has each System V call as a system call of its own.
#[cfg(not(all(
    target_os = "linux",
    target_pointer_width = "64",
    target_endian = "little",
    any(
        target_arch = "x86_64",
        target_arch = "aarch64",
        target_arch = "riscv64",
        target_arch = "loongarch64"
    )
)))]
compile_error!("unixipc supports Linux on x86-64, AArch64, RISC-V 64 and LoongArch 64");

pub mod errno;
pub mod ffi;
pub mod sys;
