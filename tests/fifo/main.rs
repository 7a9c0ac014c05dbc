//! FIFOs of layer 2, as include/unixipc.h describes them.

mod blocking;
#[allow(dead_code, unused_macros)] // made for the tests of layer 1
#[path = "../calls/both.rs"]
mod both;
#[path = "../common/mod.rs"]
mod common;
mod create;
mod crowd;
mod open;
mod record;
mod sigpipe;
mod text;
mod tool;
mod wait;

fn main() -> std::process::ExitCode {
    let tests = tests![
        create::arguments,
        create::paths,
        create::modes,
        create::existing,
        create::existing_and_removed,
        create::removal,
        create::no_descriptors,
        open::arguments,
        open::paths,
        open::descriptor_flags,
        open::time_outs,
        open::no_core_is_burnt,
        open::alike_do_not_meet,
        open::partners,
        open::few_descriptors,
        open::writer_comes_and_goes,
        open::reader_comes_and_goes,
        open::killed_while_waiting,
        open::removed_while_waiting,
        open::removed_by_the_writer,
        open::interrupted,
        open::time_outs_under_interruptions,
        open::persistent,
        open::sessions,
        open::threads,
        record::arguments,
        record::lengths,
        record::absurd_lengths,
        record::small_rooms,
        record::full,
        record::empty,
        record::packets_without_content,
        record::end_while_waiting,
        record::interrupted,
        record::foreign,
        record::random_bytes,
        record::threads,
        blocking::empty,
        blocking::full,
        blocking::records,
        blocking::two_readers,
        blocking::two_writers,
        blocking::interrupted,
        blocking::ends_of_the_session,
        blocking::no_descriptors,
        blocking::refused_splice,
        sigpipe::default_action,
        sigpipe::ignored,
        sigpipe::handler,
        sigpipe::blocked,
        sigpipe::pending_for_the_thread,
        sigpipe::pending_for_the_process,
        sigpipe::pending_for_both,
        sigpipe::threads,
        sigpipe::in_a_handler,
        sigpipe::while_it_waits,
        sigpipe::older_kernels_send,
        wait::the_other_side_is_found_soon,
        wait::short_time_outs_are_short,
        wait::record_after_the_time_out,
        wait::polling_reader,
        wait::next_session_before_the_last_is_closed,
        wait::readers_that_leave_are_no_writers,
        wait::one_sender_is_woken,
        text::arguments,
        text::records,
        text::mixed,
        text::long_text,
        text::pieces,
        text::waiting,
        text::descriptors_and_modes,
        text::refused_tee,
        text::shell,
        text::crowd,
        crowd::one_reader,
        crowd::two_readers,
        crowd::writers_killed,
        crowd::readers_killed,
        crowd::storm_over_records,
        crowd::storm_over_opens,
    ];
    let for_root = tests![
        create::another_user,
        create::set_group_id_folder,
        create::other_file_systems,
        create::no_proc,
        open::another_user,
        open::no_proc,
    ];
    common::isolated::main(tests, for_root)
}
