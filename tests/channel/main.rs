//! Channels, as include/unixipc.h describes them.
//!
//! UNIXIPC_TEST_SCALE multiplies how much the tests with many messages do.

mod accept;
mod arguments;
mod barriers;
mod blocking;
#[path = "../common/mod.rs"]
mod common;
mod concurrent;
mod cost;
mod end;
mod event_loop;
mod first_call;
mod fork;
mod fork_points;
mod handshake;
mod listen;
mod listen_lock;
#[allow(dead_code, unused_imports)] // made for the tests of the locks
#[path = "../lock/tool.rs"]
mod lock_tool;
mod message;
mod peer;
mod poll;
mod priority;
mod readiness;
mod retry;
mod storm;
mod threads;
mod timeout;
mod tool;
mod two_processes;

use common::isolated::{self, Test};

fn main() -> std::process::ExitCode {
    if isolated::is_child() {
        // Rust programs ignore SIGPIPE; the callers of a C library do not.
        // SAFETY: no handler is installed.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    }
    let tests = tests![
        accept::few_descriptors_leave_the_client,
        accept::wrong_options_leave_the_client,
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
        blocking::another_acceptor_is_faster,
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
        two_processes::receiver_with_message,
        two_processes::waiting_sender,
        two_processes::waiting_receiver,
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
        first_call::hello_wakes_the_event_loop,
        first_call::accept_answers_at_once,
        first_call::wrong_hellos,
        first_call::partial_hello_on_a_stream,
        first_call::clients_that_close,
        first_call::killed_client,
        first_call::few_descriptors,
        first_call::sparse_ring,
        first_call::largest_ring,
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
        retry::after_a_time_out,
        retry::after_a_signal,
        retry::beside_an_attempt_of_the_peer,
        listen_lock::locks_on_the_directory,
        listen_lock::held_by_a_stopped_process,
        listen_lock::leased_file,
        listen_lock::leftover_file,
        listen_lock::other_files,
        listen_lock::hard_link,
        listen_lock::fork_in_another_thread,
        listen_lock::crowd,
        listen_lock::mutual_exclusion,
        listen_lock::killed_at_any_moment,
        listen_lock::cancelled,
        listen_lock::long_directory,
        listen_lock::refused_chmod,
        listen_lock::long_names,
        listen_lock::paths_without_a_name,
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
        two_processes::two_senders_in_turn,
        two_processes::sent_since_reserved,
        two_processes::two_senders_at_once,
        two_processes::two_receivers_in_turn,
        two_processes::two_receivers_at_once,
        concurrent::shutdown_ends_both,
        concurrent::shutdown_ends_both_in_the_handshake,
        concurrent::invalid_peer_ends_both,
        concurrent::receiver_polls_sender_waits,
        concurrent::sender_polls_receiver_waits,
        priority::beside_a_stopped_thread,
        priority::no_priority_inversion,
        priority::no_spinning_on_one_processor,
        readiness::second_send_waits,
        readiness::sender_polls_beside_receiver,
        readiness::peer_ends_receiving,
        readiness::peer_closes,
        readiness::half_closed,
        readiness::best_effort_sender,
        readiness::first_send,
        readiness::refused_send_notices_death,
    ];
    let thousand = Test {
        name: "poll::a_thousand_channels",
        run: poll::a_thousand_channels,
        ignored: poll::too_few_descriptors(),
    };
    let passrights = Test {
        name: "accept::peer_refuses_descriptors",
        run: accept::peer_refuses_descriptors,
        ignored: accept::no_passrights(),
    };
    let no_strace = common::find_tool("strace")
        .is_none()
        .then_some("strace is missing");
    let traced = tests![cost::no_system_calls, cost::streaming];
    let forking = tests![
        fork::during_accept,
        fork::during_connect,
        fork::during_from_fd,
        fork::during_handshake,
    ];
    let no_notification = fork_points::why_not();
    let mut all = vec![thousand, passrights];
    all.extend(forking.iter().map(|test| Test {
        ignored: no_notification,
        ..*test
    }));
    all.extend(traced.iter().map(|test| Test {
        ignored: no_strace,
        ..*test
    }));
    all.extend(tests.iter().map(|test| Test { ..*test }));
    let for_root = tests![
        accept::unread_clients_cost_a_descriptor,
        first_call::sparse_ring_and_lock,
        listen::another_user,
        listen_lock::another_users_file,
        listen_lock::file_that_cannot_be_removed,
        cost::locked_memory,
        cost::all_memory_locked
    ];
    isolated::main(all.leak(), for_root)
}
