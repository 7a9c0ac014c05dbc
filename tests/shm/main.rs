//! Regions of shared memory, as include/unixipc.h describes them.

#[allow(dead_code, unused_macros)] // made for the tests of layer 1
#[path = "../calls/both.rs"]
mod both;
#[path = "../common/mod.rs"]
mod common;
mod create;
mod filter;
mod names;
mod once;
mod passed;
mod storm;
mod sysv;
mod tool;

fn main() -> std::process::ExitCode {
    let tests = tests![
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
        names::arguments,
        names::rules,
        names::publish,
        names::killed_before,
        names::shm_open_and_us,
        names::other_files,
        names::unlink_while_open,
        names::read_only,
        once::arguments,
        once::create_then_open,
        once::init_fails,
        once::nested,
        once::overtaken,
        once::wait_for_the_maker,
        once::killed_in_init,
        once::child_of_the_maker,
        once::claimed_at_once,
        once::hundred_at_once,
        once::killed_at_random,
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
        names::another_user,
        sysv::another_user,
    ];
    common::isolated::main(tests, for_root)
}
