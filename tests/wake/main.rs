//! No wake-up of a channel is lost: two processes sleep, and wake each other, at pseudorandom
//! times. A wait that reaches its time limit has missed its wake-up.

mod end;
mod storm;

fn main() -> std::process::ExitCode {
    common::isolated::main()
}
