//! No wake-up of a channel is lost: two processes let each other sleep and wake, at pseudorandom
//! times. A wait that reaches its limit has missed its wake-up.

#[path = "../common/mod.rs"]
mod common;
mod end;
mod storm;

fn main() -> std::process::ExitCode {
    let tests = tests![
        storm::bursts,
        storm::bursts_with_spinning,
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
