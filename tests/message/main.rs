//! Pairs and messages: ipc_pair_open, ipc_send_full, ipc_recv_full, ipc_msg_send,
//! ipc_msg_recv, ipc_peer_cred.
//!
//! UNIXIPC_TEST_SCALE multiplies how much the tests with many messages do.

mod arguments;
mod call;
#[path = "../common/mod.rs"]
mod common;
mod cost;
mod cred;
mod descriptors;
mod end;
mod storm;
mod timeout;
mod transfer;

use common::isolated::{self, Test};

fn main() -> std::process::ExitCode {
    if isolated::is_child() {
        // Rust programs ignore SIGPIPE; the callers of a C library do not.
        // SAFETY: no handler is installed.
        unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    }
    let tests = tests![
        arguments::pair_types,
        arguments::bad_arguments,
        arguments::memory_that_is_not_there,
        arguments::other_sockets,
        arguments::too_long,
        transfer::round_trips,
        transfer::borders,
        transfer::longer_than_cap,
        transfer::progress,
        transfer::beside_raw_calls,
        transfer::over_udp,
        transfer::over_tcp,
        transfer::descriptors_over_tcp,
        transfer::time_out_inside_over_tcp,
        transfer::across_fork,
        timeout::not_at_all_and_short,
        timeout::until_ready,
        timeout::under_signals,
        timeout::interrupted,
        timeout::stopped_and_continued,
        timeout::wakings_without_end,
        timeout::beside_the_sockets_own,
        descriptors::contents,
        descriptors::fewer_places,
        descriptors::beside_long_messages,
        descriptors::slipped_in,
        descriptors::beside_other_control_data,
        descriptors::no_room_for_what_comes,
        descriptors::none_left,
        end::between_messages,
        end::sent_while_the_kernel_looked,
        end::empty_packets,
        end::only_empty_packets,
        end::peer_left_something_unread,
        end::peer_went_while_one_waited,
        end::while_waiting,
        end::inside_a_message,
        end::lying_headers,
        end::half_sent,
        end::half_received,
        end::signal_inside_a_message,
        end::no_signal,
        end::random_bytes,
        storm::interrupted_all_the_time,
        storm::interrupted_stream,
        storm::many_messages,
        storm::long_messages,
        storm::sender_killed,
        storm::receiver_killed,
        storm::killed_while_both_talk,
        storm::several_threads,
        cred::of_pairs,
        cred::sizes,
        cred::errors,
        cred::of_connected_sockets,
        cred::of_another_namespace,
    ];
    let for_root = tests![descriptors::too_many_on_their_way, cred::of_another_user];
    let strace = Test {
        name: "cost::system_calls",
        run: cost::system_calls,
        ignored: common::find_tool("strace")
            .is_none()
            .then_some("strace is missing"),
    };
    let mut all = vec![strace];
    all.extend(tests.iter().map(|test| Test { ..*test }));
    isolated::main(all.leak(), for_root)
}
