//! Channels, as include/unixipc.h describes them.
//!
//! UNIXIPC_TEST_SCALE multiplies how much the tests with many messages do.

mod arguments;
mod barriers;
#[path = "../common/mod.rs"]
mod common;
mod cost;
mod end;
mod handshake;
mod listen;
#[allow(dead_code, unused_imports)] // made for the tests of the locks
#[path = "../lock/tool.rs"]
mod lock_tool;
mod message;
mod poll;
mod storm;
mod threads;
mod timeout;
mod tool;

use common::isolated::{self, Test};

fn main() -> std::process::ExitCode {
    if isolated::is_child() {
        // Rust programs ignore SIGPIPE; the callers of a C library do not.
        // SAFETY: no handler is installed.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    }
    let tests = tests![
        arguments::null_pointers,
        arguments::lengths,
        arguments::time_outs_that_are_none,
        arguments::out_of_order,
        arguments::options,
        arguments::sizes_of_options,
        arguments::sizes_of_rings,
        arguments::structures,
        arguments::descriptors_that_are_none,
        barriers::no_more,
        message::every_length,
        message::mixture,
        message::capacity,
        message::too_long_for_the_buffer,
        message::reserve,
        message::commit_less,
        message::cancel,
        message::peek,
        message::peek_in_a_full_ring,
        message::all_ways_mixed,
        message::statistics,
        timeout::not_at_all,
        timeout::for_a_while,
        timeout::no_periodic_wake_ups,
        timeout::interrupted,
        timeout::under_a_storm,
        timeout::for_ever_under_a_storm,
        timeout::until_there_is_something,
        timeout::stopped_and_continued,
        timeout::back_pressure,
        timeout::room_for_the_longest,
        timeout::room_at_last,
        timeout::looking_for_long,
        timeout::woken_too_early,
        end::known_in_recv,
        end::known_in_peek_with_time_out,
        end::known_in_send,
        end::known_in_reserve_with_time_out,
        end::known_without_waiting,
        end::sender_alone,
        end::full_ring,
        end::drained_first,
        end::killed_half_way,
        end::across_fork,
        end::half_used_before_fork,
        end::copies_that_are_closed,
        end::copies_that_are_closed_meanwhile,
        end::last_one_ends,
        end::shutdown,
        end::shutdown_in_a_child,
        end::shutdown_before_commit,
        threads::both_directions,
        threads::both_wait,
        threads::one_times_out,
        threads::end_while_both_wait,
        threads::shutdown_ends_waiting,
        threads::shutdown_of_the_other_side,
        threads::shutdown_at_any_time,
        threads::interrupted,
        threads::message_before_the_end,
        cost::descriptors,
        cost::few_descriptors,
        cost::memory,
        cost::limits,
        storm::many_messages,
        storm::killed_and_reconnected,
        storm::killed_receivers,
        handshake::kinds_of_sockets,
        handshake::socket_stays_the_callers,
        handshake::sizes,
        handshake::time_outs,
        handshake::partner_goes,
        handshake::every_byte,
        handshake::wrong_descriptors,
        handshake::wrong_lengths,
        handshake::full_socket,
        handshake::byte_by_byte,
        handshake::memory_of_the_other,
        listen::arguments,
        listen::modes,
        listen::meetings,
        listen::stale_paths,
        listen::living_ones,
        listen::not_sockets,
        listen::race_for_a_stale_path,
        listen::full_queue,
        listen::accept_time_outs,
        listen::silent_clients,
        listen::ends_before_the_hello,
        listen::late_client,
        listen::polled_beside_a_call_that_waits,
        listen::copies_of_the_socket,
        listen::other_clients,
        listen::clients_that_go,
        listen::threads_with_a_silent_client,
        listen::who_it_is,
        listen::other_listeners,
        listen::several_acceptors,
        poll::one_descriptor,
        poll::readable_or_not,
        poll::asked_for_late,
        poll::no_wake_ups_before_the_first_call,
        poll::room,
        poll::room_asked_for_late,
        poll::room_for_a_long_one,
        poll::asked_for_meanwhile,
        poll::room_beside_a_blocking_receive,
        poll::nobody_receives_any_more,
        poll::asked_for_at_the_end,
        poll::room_for_a_long_one_beside_short_ones,
        poll::room_beside_a_receive_with_a_time,
        poll::no_edge_of_a_refused_send,
        poll::no_busy_loop,
        poll::mixed_with_others,
        poll::nothing_is_lost,
        poll::beside_a_blocking_call,
        poll::beside_a_blocking_send,
        poll::one_polls_one_blocks,
        poll::one_looks_one_blocks,
    ];
    let thousand = Test {
        name: "poll::a_thousand_channels",
        run: poll::a_thousand_channels,
        ignored: poll::too_few_descriptors(),
    };
    let no_strace = common::find_tool("strace")
        .is_none()
        .then_some("strace is missing");
    let traced = tests![cost::no_system_calls, cost::streaming];
    let mut all = vec![thousand];
    all.extend(traced.iter().map(|test| Test {
        ignored: no_strace,
        ..*test
    }));
    all.extend(tests.iter().map(|test| Test { ..*test }));
    let for_root = tests![
        listen::another_user,
        cost::locked_memory,
        cost::all_memory_locked
    ];
    isolated::main(all.leak(), for_root)
}
