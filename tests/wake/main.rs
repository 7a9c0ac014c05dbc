//! No wake-up of a channel's is ever lost: two processes let each other sleep and wake, again
//! and again, at moments that only look random. Who waits for ever has waited in vain.

#[path = "../common/mod.rs"]
mod common;
mod end;
mod storm;

fn main() -> std::process::ExitCode {
    let tests = tests![
        storm::bursts,
        storm::bursts_that_are_looked_for,
        storm::bursts_on_one_processor,
        storm::full_ring,
        storm::polled,
        storm::polled_and_full,
        storm::two_threads,
        storm::two_threads_and_polled,
        storm::a_send_that_waits_hides_no_message,
    ];
    common::isolated::main(tests, &[])
}
