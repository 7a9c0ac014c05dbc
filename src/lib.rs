//! Local IPC for C and C++ programs on Linux.
//!
//! The product is a C library: a program includes `<unixipc.h>` and links with the flags that
//! `pkg-config --cflags --libs unixipc` prints. This crate is its source. Its Rust items are public
//! only for the tests and for the programs of this repository, such as `bridge/`.
//!
//! # Modules
//!
//! | module | content |
//! |---|---|
//! | [`ffi`] | the functions that C calls: they only convert |
//! | [`errno`] | the error type, and the only function that sets `errno` |
//! | [`place`] | the places in the source that errors come from |
//! | [`deadline`] | time-outs, and waiting for descriptors and futexes under them |
//! | [`fd`], [`bytes`] | descriptors and buffers from C |
//! | [`pair`] | socket pairs, complete transfers through a stream, credentials of the peer |
//! | [`message`] | messages with descriptors, over any type of socket |
//! | [`spawn`] | child programs at the other end of a pair |
//! | [`fifo`] | FIFOs: opening with a time-out, records |
//! | [`semlock`] | a reader-writer lock in a System V semaphore set |
//! | [`lock`] | mutex, reader-writer lock, condition and event in shared memory |
//! | [`name_lock`] | a lock on a name in a directory |
//! | [`shm`] | regions of shared memory: making, naming, opening, checking |
//! | [`object`] | the header of an object in shared memory |
//! | [`cell`] | a value in shared memory that readers always see as a whole |
//! | [`channel`] | message passing through shared memory, between two processes |
//! | [`feed`] | message passing through shared memory, from one process to many |
//! | [`transport`] | the parts from which channels and feeds are built |
//! | [`fixed_vec`] | a vector whose memory is allocated when it is made |
//! | [`init_once`] | a value that is set once, without waiting |
//! | [`process_lock`] | a lock between threads that does not deadlock after a fork |
//! | [`shared_copy`] | copying memory that another process may access at the same time |
//! | [`iovec`] | buffers that C describes by `struct iovec` |
//! | [`atomic`] | the atomics of the protocols in shared memory |
//! | [`sys`] | raw system calls, each with the reason why it is sound |
//!
//! # The layers
//!
//! 1. **calls**: the system's own calls under the prefix `ipc_`, unchanged. `ffi::calls` passes
//!    them to [`sys`].
//! 2. **kernel channels made safe**: [`pair`], [`message`], [`spawn`], [`fifo`], [`semlock`]. They
//!    return plain descriptors and identifiers, and keep no state between calls.
//! 3. **memory**: [`shm`], and the objects in shared memory, which outlive their users: [`lock`],
//!    [`cell`].
//! 4. **channels and feeds**: [`channel`] and [`feed`], built from the parts in [`transport`].

#![deny(missing_docs)]
#![deny(unsafe_op_in_unsafe_fn)]
#![deny(clippy::undocumented_unsafe_blocks)]
#![deny(clippy::multiple_unsafe_ops_per_block)]

// The supported ABIs: 64-bit little-endian Linux on which a variadic argument is in the same
// register as a fixed one (see `ipc_semctl`), and whose kernel has a separate system call for each
// System V call.
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
pub mod feed;
pub mod ffi;
pub mod fifo;
pub mod fixed_vec;
pub mod init_once;
pub mod iovec;
pub mod lock;
pub mod message;
pub mod name_lock;
pub mod object;
pub mod pair;
pub mod peer_pidfd;
pub mod place;
pub mod proc_file;
pub mod process_lock;
pub mod process_start;
pub mod semlock;
pub mod shared_copy;
pub mod shm;
pub mod spawn;
pub mod sys;
pub mod transport;
