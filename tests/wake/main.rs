//! No wake-up of a channel is lost: two processes let each other sleep and wake, at pseudorandom
//! times. A wait that reaches its limit has missed its wake-up.

mod end;
mod storm;

fn main() -> std::process::ExitCode {
    common::isolated::main()
}
