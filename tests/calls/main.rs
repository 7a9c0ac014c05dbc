//! Layer 1 beside libc's own calls: the same arguments give the same result, the
//! same errno and the same effect.

// `call!` makes exactly one call each time.
#![allow(clippy::macro_metavars_in_unsafe)]

mod both;
#[path = "../common/mod.rs"]
mod common;
mod fifo;
mod ftok;
mod permission;
mod sem;
mod semctl;
mod shm;
mod shmctl;
mod socketpair;
mod traced;
mod undo;
mod wait;

use common::isolated::{self, Test};

fn main() -> std::process::ExitCode {
    let tests: &[Test] = tests![
        socketpair::arguments,
        socketpair::errors,
        socketpair::pointers,
        socketpair::no_descriptors,
        fifo::paths,
        fifo::lengths,
        fifo::modes,
        fifo::pointers,
        fifo::removed_folder,
        fifo::made_by_one_used_by_the_other,
        ftok::keys,
        ftok::every_bit_of_the_inode,
        ftok::errors,
        ftok::lengths,
        ftok::pointers,
        shm::keys_and_flags,
        shm::sizes,
        shm::sizes_of_an_existing_one,
        shm::every_flag_of_get,
        shm::attach_address,
        shm::attach_remap,
        shm::attach_every_flag,
        shm::attach_ids,
        shm::attach_without_address_space,
        shm::write_to_read_only,
        shm::detaching,
        shm::made_by_one_used_by_the_other,
        shmctl::every_command,
        shmctl::set,
        shmctl::remove,
        shmctl::lock,
        sem::sizes,
        sem::sizes_of_an_existing_one,
        sem::keys_and_flags,
        sem::operations,
        sem::every_operation_flag,
        sem::number_of_operations,
        sem::operation_pointers,
        sem::operation_ids,
        sem::made_by_one_used_by_the_other,
        semctl::every_command,
        semctl::forms_of_the_fourth_argument,
        semctl::set_value,
        semctl::set_all,
        semctl::arrays_end_where_they_end,
        semctl::set,
        semctl::remove,
        wait::time_outs,
        wait::time_out_pointers,
        wait::woken,
        wait::all_or_none,
        wait::interrupted_by_a_handler,
        wait::interrupted_by_stop_and_continue,
        wait::removed,
        wait::counts_and_pids,
        wait::taking_turns,
        undo::at_the_end,
        undo::not_inherited,
        undo::erased_by_setval,
        undo::out_of_range,
    ];
    let for_root = tests![
        fifo::another_user,
        fifo::set_group_id_folder,
        fifo::other_file_systems,
        ftok::every_bit_of_the_device,
        ftok::another_user,
        shm::limits,
        sem::limits,
        shmctl::lock_limits,
        permission::segments,
        permission::sets,
        permission::own_objects,
        permission::given_away,
    ];
    let strace = Test {
        name: "traced::same_as_libc",
        run: traced::same_as_libc,
        ignored: common::find_tool("strace")
            .is_none()
            .then_some("strace is missing"),
    };
    let mut all = vec![strace];
    all.extend(tests.iter().map(|test| Test { ..*test }));
    isolated::main(all.leak(), for_root)
}
