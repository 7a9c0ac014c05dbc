//! Killed at any instruction: every operation that touches what processes share is
//! single-stepped, its process is killed after each instruction in turn, and another process
//! has to go on. [`harness`] does it; the other modules say what is done and what must hold.

// The library is for older compilers, the tests are not.

mod cell;
mod channel;
mod channel_handshake;
mod child;
#[path = "../common/mod.rs"]
mod common;
mod event;
mod fifo;
mod harness;
mod library;
mod lock;
mod message;
mod self_test;
mod semlock;
mod shm;
mod spawn;

use common::isolated::{self, Test};
use harness::{Report, Scenario};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::process::ExitCode;
use std::time::Instant;

/// Where the scenarios' processes note their lines of the table that is printed at the end.
const TABLE: &str = "UNIXIPC_KILLSTEP_TABLE";

fn main() -> ExitCode {
    let tests = tests![
        self_test::plain_mutex_hangs,
        self_test::two_words_are_torn,
        self_test::crash_of_the_survivor,
        self_test::orphan_is_seen,
        self_test::victim_that_dies,
        self_test::victim_that_loops,
        self_test::victim_that_sleeps,
        message::send_on_stream,
        message::send_on_stream_with_descriptors,
        message::send_on_stream_in_pieces,
        message::send_on_stream_that_is_full,
        message::send_on_seqpacket,
        message::send_on_seqpacket_with_descriptors,
        message::recv_on_stream,
        message::recv_on_stream_with_descriptors,
        message::recv_on_stream_in_pieces,
        message::recv_on_stream_too_long,
        message::recv_on_stream_that_is_empty,
        message::recv_on_seqpacket,
        message::recv_on_seqpacket_with_descriptors,
        message::send_full,
        message::send_full_in_pieces,
        message::recv_full,
        fifo::create,
        fifo::create_over_another_mode,
        fifo::unlink,
        fifo::open_reader_that_waits,
        fifo::open_writer_that_waits,
        fifo::open_reader,
        fifo::open_writer,
        fifo::open_reader_that_leaves,
        fifo::send_a_record,
        fifo::send_to_a_full_one,
        fifo::recv_a_record,
        fifo::recv_from_an_empty_one,
        fifo::recv_a_record_or_text,
        lock::mutex_init,
        lock::mutex_lock,
        lock::mutex_lock_write_unlock,
        lock::mutex_unlock,
        lock::mutex_that_is_busy,
        lock::mutex_timed_out,
        lock::mutex_asleep,
        lock::mutex_asleep_until_signal,
        lock::mutex_of_a_dead_owner,
        lock::mutex_that_inherits,
        lock::mutex_consistent,
        lock::mutex_repair_and_unlock,
        lock::rwlock_init,
        lock::rwlock_rdlock,
        lock::rwlock_rdunlock,
        lock::rwlock_rdlock_that_is_busy,
        lock::rwlock_rdlock_asleep,
        lock::rwlock_wrlock,
        lock::rwlock_wrlock_write_unlock,
        lock::rwlock_wrunlock,
        lock::rwlock_wrlock_timed_out,
        lock::rwlock_wrlock_asleep,
        lock::rwlock_of_a_dead_writer,
        lock::rwlock_rdlock_of_a_dead_writer,
        lock::rwlock_repair_and_unlock,
        lock::cond_init,
        lock::cond_wait_asleep,
        lock::cond_wait_timed_out,
        lock::cond_signal,
        lock::cond_broadcast,
        cell::init,
        cell::init_over_another,
        cell::open,
        cell::close,
        cell::open_as_sole_writer,
        cell::store_short,
        cell::store_long,
        cell::store_waitable,
        cell::store_waitable_by_readers,
        cell::store_after_a_waiter,
        cell::store_waitable_as_sole_writer,
        cell::store_as_sole_writer,
        cell::store_to_a_sleeper,
        cell::store_to_a_sleeping_reader,
        cell::store_that_times_out,
        cell::load_short,
        cell::load_long,
        cell::wait_that_sleeps,
        cell::wait_that_times_out,
        spawn::program,
        spawn::program_that_does_not_exist,
        semlock::open_that_creates,
        semlock::open_an_existing_one,
        semlock::rdlock,
        semlock::rdlock_that_is_told,
        semlock::rdlock_that_waits,
        semlock::rdunlock,
        semlock::wrlock,
        semlock::wrlock_that_is_told,
        semlock::wrlock_that_times_out,
        semlock::wrlock_that_waits_for_a_reader,
        semlock::wrlock_that_waits_for_a_writer,
        semlock::wrunlock,
        semlock::wrunlock_without_repair,
        semlock::write_section,
        semlock::consistent,
        semlock::repair_section,
        semlock::remove,
        shm::create,
        shm::create_sole_writer,
        shm::create_to_publish,
        shm::publish,
        shm::open,
        shm::open_or_create_creates,
        shm::open_or_create_opens,
        shm::open_or_create_replaces,
        shm::transient_makes,
        shm::transient_publishes,
        shm::transient_closes,
        shm::transient_opens,
        shm::unlink,
        shm::from_fd,
        shm::attach,
        shm::close,
        event::init,
        event::set,
        event::set_automatic,
        event::set_after_a_waiter,
        event::clear,
        event::consume,
        event::wait_that_is_set,
        event::wait_asleep,
        event::wait_asleep_automatic,
        event::wait_that_times_out,
        event::wait_that_is_woken,
        event::set_to_sleepers,
        event::set_to_sleepers_automatic,
        channel::send,
        channel::send_long,
        channel::send_to_one_asleep,
        channel::send_unfenced,
        channel::send_unfenced_to_one_asleep,
        channel::send_that_goes_over,
        channel::send_to_a_full_one,
        channel::send_that_is_woken,
        channel::send_timed_out,
        channel::reserve_and_commit,
        channel::reserve_and_cancel,
        channel::recv,
        channel::recv_long,
        channel::recv_too_long,
        channel::recv_from_an_empty_one,
        channel::recv_timed_out,
        channel::peek_and_release,
        channel::recv_that_is_woken,
        channel::recv_that_frees_room,
        channel::release_that_frees_room,
        channel::shutdown_writing,
        channel::shutdown_both,
        channel::close,
        channel::shutdown_reading,
        channel::send_to_one_that_polls,
        channel::fd,
        channel_handshake::pair,
        channel_handshake::from_fd,
        channel_handshake::from_fd_that_waits,
        channel_handshake::listen,
        channel_handshake::listen_stale,
        channel_handshake::listen_abstract,
        channel_handshake::accept,
        channel_handshake::accept_that_waits,
        channel_handshake::accept_with_a_late_hello,
        channel_handshake::accept_without_a_hello,
        channel_handshake::send_without_a_hello,
        channel_handshake::shutdown_before_the_handshake,
        channel_handshake::fd_before_the_handshake,
        channel_handshake::close_before_the_handshake,
        channel_handshake::connect,
        channel_handshake::connect_that_waits,
    ];
    if isolated::is_child() {
        return isolated::main(tests, &[]);
    }
    library::build().expect("make stage");
    let table = tempfile::NamedTempFile::new().expect("a temporary file");
    // SAFETY: this process has one thread yet.
    unsafe { std::env::set_var(TABLE, table.path()) };
    let code = isolated::main(with_reason(tests), &[]);
    let lines = fs::read_to_string(table.path()).expect("the table");
    if !lines.is_empty() {
        println!("{}\n{lines}", Report::HEADINGS);
    }
    code
}

/// The tests, and why they cannot be run here, if so.
fn with_reason(tests: &[Test]) -> &'static [Test] {
    let ignored = child::why_no_stepping();
    let tests: Vec<Test> = tests.iter().map(|test| Test { ignored, ..*test }).collect();
    tests.leak()
}

/// Runs a scenario in which every point has to be survived.
fn check<S: Scenario>(name: &str, scenario: &S) {
    let begin = Instant::now();
    let report = harness::run(scenario).unwrap_or_else(|error| panic!("{name}: {error}"));
    let line = format!("{report}  {:7.1}  {name}", begin.elapsed().as_secs_f64());
    note(&line);
    assert!(
        report.points > 0 && report.survived == report.points,
        "{}\n{line}\n{:#?}",
        Report::HEADINGS,
        report.failures
    );
}

/// Adds a line to the table.
fn note(line: &str) {
    if let Some(path) = std::env::var_os(TABLE) {
        let mut table = OpenOptions::new().append(true).open(path).unwrap();
        table.write_all(format!("{line}\n").as_bytes()).unwrap();
    }
}
