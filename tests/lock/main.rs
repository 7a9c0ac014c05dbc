//! The mutex, the reader-writer lock, the condition and the event in shared memory, as include/unixipc.h
//! describes them.

#[path = "../common/mod.rs"]
mod common;
mod cond;
mod crowd;
mod event;
mod mutex;
mod rwlock;
mod tool;

fn main() -> std::process::ExitCode {
    let tests = tests![
        mutex::arguments,
        mutex::not_a_mutex,
        mutex::any_contents,
        mutex::owner,
        mutex::wrong_thread,
        mutex::time_outs,
        mutex::interrupted,
        mutex::storm,
        mutex::owner_killed,
        mutex::killed_while_others_wait,
        mutex::thread_ends,
        mutex::exec,
        mutex::fork_while_held,
        mutex::waiter_killed,
        mutex::wake_up_lost,
        mutex::sleeper_is_announced,
        mutex::sleeper_wakes_the_next,
        mutex::cost_without_contention,
        mutex::unmapped_while_held,
        mutex::many_at_once,
        rwlock::arguments,
        rwlock::not_a_lock,
        rwlock::alignments,
        rwlock::readers_and_writers,
        rwlock::deadlocks,
        rwlock::wrong_thread,
        rwlock::most_readers,
        rwlock::any_slot_will_do,
        rwlock::waits_for_another_reader,
        rwlock::readers_share_no_line,
        rwlock::time_outs,
        rwlock::interrupted,
        rwlock::interrupted_and_seldom_awake,
        rwlock::reader_killed,
        rwlock::writer_killed,
        rwlock::waiting_writer_killed,
        rwlock::writer_is_not_starved,
        rwlock::writer_is_not_overtaken,
        cond::arguments,
        cond::not_held,
        cond::time_outs,
        cond::interrupted,
        cond::mutex_is_free_meanwhile,
        cond::signal_wakes_all,
        cond::signal_to_nobody,
        cond::owner_died,
        cond::producer_and_consumers,
        cond::killed_waiter,
        cond::refused_signal,
        event::arguments,
        event::any_contents,
        event::manual_reset,
        event::automatic_reset,
        event::many_states,
        event::time_outs,
        event::interrupted,
        event::manual_releases_all,
        event::automatic_releases_one,
        event::cost,
        event::killed_waiter,
        event::killed_after_its_wake_up,
        event::killed_between,
        event::lost_announcement,
        event::refused_wake_up,
        event::nothing_is_missed,
        event::crowd_automatic,
        event::crowd_manual,
        event::crowd_consumes_each_set,
        crowd::nobody_dies,
        crowd::mutex,
        crowd::rwlock,
        crowd::cond,
    ];
    common::isolated::main(tests, &[])
}
