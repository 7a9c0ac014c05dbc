//! The mutex, the reader-writer lock and the condition in shared memory, as include/unixipc.h
//! describes them.

#[path = "../common/mod.rs"]
mod common;
mod cond;
mod crowd;
mod ends;
mod fairness;
mod lost_owner;
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
        mutex::inheriting,
        mutex::inheriting_with_condition,
        lost_owner::exec_by_a_thread,
        lost_owner::unmapped_at_exit,
        lost_owner::found_by_polling,
        lost_owner::more_than_the_kernel_finds,
        lost_owner::id_is_used_again,
        lost_owner::earlier_boot,
        lost_owner::bare_clone,
        fairness::mutex,
        fairness::reader,
        fairness::writer,
        fairness::stopped_waiter,
        fairness::stopped_writer,
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
        cond::signal_wakes_one,
        cond::broadcast_wakes_all,
        cond::broadcast_queues_at_the_mutex,
        cond::without_waiters,
        cond::cancelled,
        cond::signal_to_nobody,
        cond::owner_died,
        cond::producer_and_consumers,
        cond::killed_waiter,
        cond::refused_signal,
        crowd::nobody_dies,
        crowd::mutex,
        crowd::rwlock,
        crowd::cond,
        ends::in_every_way,
    ];
    let for_root = tests![lost_owner::other_namespace, mutex::priority_is_inherited];
    common::isolated::main(tests, for_root)
}
