//! Regions of shared memory, as include/unixipc.h describes them.

#[allow(dead_code, unused_macros)] // made for the tests of layer 1
#[path = "../calls/both.rs"]
mod both;
mod closed;
#[path = "../common/mod.rs"]
mod common;
mod create;
mod filter;
mod memory;
mod names;
mod open_or_create;
mod passed;
mod stale;
mod storm;
mod support;
mod sysv;
mod transient;
mod waiting;

fn main() -> std::process::ExitCode {
    let tests = tests![
        closed::other_files,
        closed::no_files,
        create::arguments,
        create::options,
        create::sizes,
        create::sealed,
        create::sole_writer,
        create::modes,
        create::file_size_limit,
        create::descriptors,
        create::few_descriptors,
        create::little_address_space,
        create::prefault,
        create::locked,
        create::signals,
        create::older_kernels,
        create::after_fork,
        create::threads,
        create::passed_on,
        filter::create_and_publish,
        filter::passed_without_statfs,
        memory::attach_without_address_space,
        names::arguments,
        names::rules,
        names::publish,
        names::killed_before,
        names::shm_open_and_us,
        names::other_files,
        names::unlink_while_open,
        names::read_only,
        open_or_create::arguments,
        open_or_create::create_then_open,
        open_or_create::init_fails,
        open_or_create::nested,
        open_or_create::overtaken,
        open_or_create::wait_for_the_maker,
        open_or_create::killed_in_init,
        open_or_create::child_of_the_maker,
        open_or_create::hundred_at_once,
        open_or_create::killed_at_random,
        passed::arguments,
        passed::duplicates,
        passed::refusals,
        passed::sealed_by_others,
        passed::asks_no_file_system,
        passed::truncated_meanwhile,
        passed::absurd_sizes,
        passed::sparse,
        passed::holes,
        passed::access,
        stale::layout_tags,
        stale::mismatches,
        stale::of_another_program,
        stale::replaced,
        stale::replaced_by_one,
        stale::is_current,
        stale::forged,
        stale::of_another_version,
        transient::ends_with_the_last_handle,
        transient::published,
        transient::ends_of_a_user,
        transient::readers,
        transient::stopped_while_joining,
        transient::between_the_steps,
        transient::killed_at_random,
        waiting::times_out,
        waiting::signals,
        waiting::stopped_anywhere,
        waiting::locks_of_a_stranger,
        waiting::lock_files,
        sysv::arguments,
        sysv::make_and_open,
        sysv::removed_at_full_speed,
        storm::one_name,
    ];
    let for_root = tests![
        create::full,
        create::other_file_systems,
        create::huge,
        filter::full,
        memory::prefault_sparse,
        memory::prefault_on_older_kernels,
        memory::mlockall_future,
        names::another_user,
        sysv::another_user,
        waiting::another_user,
    ];
    common::isolated::main(tests, for_root)
}
