//! Compares the calls of layer 1 with libc's: the same arguments give the same result, the same
//! errno and the same effect.

// `call!` makes exactly one call in each expansion.
#![allow(clippy::macro_metavars_in_unsafe)]

mod both;
mod fifo;
mod ftok;
mod permission;
mod sem;
mod semctl;
mod shm;
mod shmctl;
mod socketpair;
mod traced;
mod undo;
mod wait;

fn main() -> std::process::ExitCode {
    common::isolated::main()
}
