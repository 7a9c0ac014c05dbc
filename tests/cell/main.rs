//! The cell, as include/unixipc.h describes it.

mod arguments;
#[path = "../common/mod.rs"]
mod common;
mod crowd;
mod memory;
mod sole;
mod threads;
mod tool;
mod value;
mod wait;

fn main() -> std::process::ExitCode {
    let tests = tests![
        arguments::bytes,
        arguments::init,
        arguments::open,
        arguments::store,
        arguments::load,
        arguments::wait,
        arguments::close,
        memory::anything_before,
        memory::not_a_cell,
        memory::read_only,
        memory::nothing_is_written,
        memory::sizes_are_checked,
        memory::overwritten_later,
        memory::lock_of_another_kind,
        memory::no_memory,
        value::lengths,
        value::every_size,
        value::versions,
        value::versions_beyond_32_bits,
        value::outputs_stay,
        value::small_buffers,
        value::two_handles_at_two_addresses,
        value::fork,
        value::a_reader_gives_up,
        wait::returns_at_once,
        wait::first_value,
        wait::time_outs,
        wait::sleeps_without_polling,
        wait::wakes_all,
        wait::moved_away,
        wait::read_only,
        wait::killed_waiter,
        wait::late_announcement,
        wait::killed_between,
        wait::cost,
        wait::refused_wake_up,
        wait::signals,
        wait::nothing_is_missed,
        wait::low_half_is_the_same,
        wait::store_waits_for_a_stopped_writer,
        wait::store_after_a_dead_writer,
        sole::keeps_others_out,
        sole::executes_a_program,
        sole::mistakes,
        sole::others_wait_for_its_end,
        sole::ends_with_its_thread,
        sole::is_no_later_thread,
        sole::from_the_beginning,
        sole::stays_the_parents,
        sole::child_becomes_the_writer,
        crowd::torn_small,
        crowd::torn_medium,
        crowd::torn_large,
        crowd::torn_waitable,
        crowd::torn_by_a_sole_writer,
        crowd::killed_writers,
        crowd::killed_waiters,
        threads::readers_and_writers,
    ];
    common::isolated::main(tests, &[])
}
