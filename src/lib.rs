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
//! | [`deadline`] | time-outs, and waiting for descriptors under them |
//! | [`fd`], [`bytes`] | what C gives: descriptors, and memory that need not be initialised |
//! | [`pair`] | socket pairs, whole transfers through a stream, who is at the other end |
//! | [`message`] | messages with descriptors, framed where the kernel keeps no borders |
//! | [`spawn`] | child programs at the other end of a pair |
//! | [`fifo`] | FIFOs: opening with a time-out, records |
//! | [`semlock`] | a reader-writer lock in a semaphore set |
//! | [`lock`] | the locks in shared memory, waiting for a change of the guarded data, and how a lock was acquired |
//! | [`name_lock`] | a lock on a name in a directory |
//! | [`shm`] | regions of shared memory: making, naming, opening, checking |
//! | [`object`] | the beginning of an object in shared memory, by which it is known |
//! | [`cell`] | a value in shared memory that many read, and never in part |
//! | [`channel`] | socket pairs at memory speed |
//! | [`transport`] | the parts of message passing through shared memory, from which channels are built |
//! | [`init_once`] | a value that is set once, without waiting |
//! | [`process_lock`] | a lock between threads that a fork cannot leave held |
//! | [`shared_copy`] | copying memory that another process may access at the same time |
//! | [`atomic`] | the atomics of the protocols in shared memory |
//! | [`sys`] | the raw system calls, each with its reason for being sound |
//!
//! # The layers
//!
//! 1. **calls**: the system's own calls under the prefix `ipc_`, unchanged.
//!    `ffi::calls` hands them to [`sys`].
//! 2. **kernel channels made safe**: [`pair`], [`message`], [`spawn`], [`fifo`],
//!    [`semlock`]. They give plain descriptors and ids, and keep no state between calls.
//! 3. **memory**: [`shm`], and the objects in shared memory, which outlive their users:
//!    [`lock`], [`cell`].
//! 4. **channels**: [`channel`], built from the parts in [`transport`].

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

pub mod atomic;
pub mod bytes;
pub mod cell;
pub mod channel;
pub mod deadline;
pub mod errno;
pub mod fd;
pub mod ffi;
pub mod fifo;
pub mod init_once;
pub mod lock;
pub mod message;
pub mod name_lock;
pub mod object;
pub mod pair;
pub mod process_lock;
pub mod semlock;
pub mod shared_copy;
pub mod shm;
pub mod spawn;
pub mod sys;
pub mod transport;
