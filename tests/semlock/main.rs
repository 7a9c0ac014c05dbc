//! The semaphore lock, as include/unixipc.h describes it.

#[path = "../common/mod.rs"]
mod common;
mod death;
mod fairness;
mod hold;
mod open;
mod timeout;
mod tool;

fn main() -> std::process::ExitCode {
    let tests = tests![
        open::flags,
        open::by_key,
        open::foreign_sets,
        open::foreign_sets_of_the_same_size,
        open::not_marked_yet,
        open::ids,
        open::all_at_once,
        open::exclusively_at_once,
        hold::who_excludes_whom,
        hold::exclusion,
        hold::not_held,
        hold::held_by_another,
        hold::child_of_the_owner,
        hold::threads,
        hold::over_exec,
        hold::most_readers,
        hold::removed_while_held,
        fairness::in_the_order_of_coming,
        fairness::writer_among_readers,
        fairness::reader_among_writers,
        fairness::next_and_stopped,
        timeout::values,
        timeout::over,
        timeout::late_success,
        timeout::interrupted,
        timeout::stopped_and_continued,
        timeout::under_signals,
        timeout::removed,
        timeout::removed_while_stopped,
        death::reader,
        death::waiting,
        death::writer,
        death::told_while_waiting,
        death::after_repair,
        death::again_and_again,
        death::at_random,
    ];
    let for_root = tests![open::another_user, open::limits];
    common::isolated::main(tests, for_root)
}
