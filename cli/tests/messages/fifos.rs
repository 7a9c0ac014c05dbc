//! `cat` and `send` with FIFOs.

use crate::support::*;
use std::fs::OpenOptions;
use std::io::Write;

fn fifo(place: &Place) -> String {
    unixipc::fifo::create(&c_path(&place.path("fifo")), 0o600, false).unwrap();
    place.text("fifo")
}

#[test]
fn from_send_to_cat() {
    let place = Place::new();
    let path = fifo(&place);
    let cat = Running::start(&mut command(&["cat", &path]));
    assert_output(&run_with_input(&["send", &path], b"one\ntwo"), "");
    assert_output(&cat.output(), "one\ntwo\n");
}

#[test]
fn text_of_another_program() {
    let place = Place::new();
    let path = fifo(&place);
    let cat = Running::start(&mut command(&["--json", "cat", &path]));
    let mut writer = OpenOptions::new().write(true).open(&path).unwrap();
    writer.write_all(b"a line\nno newline").unwrap();
    drop(writer);
    let expected =
        "{\"length\":6,\"message\":\"a line\"}\n{\"length\":10,\"message\":\"no newline\"}\n";
    assert_output(&cat.output(), expected);
}

#[test]
fn the_reader_leaves() {
    let place = Place::new();
    let path = fifo(&place);
    let cat = Running::start(&mut command(&["cat", "-n", "1", &path]));
    let lines = "x".repeat(1000) + "\n";
    let output = run_with_input(&["send", &path], lines.repeat(1000).as_bytes());
    assert_code(&output, 3);
    assert_code(&cat.output(), 0);
}

#[test]
fn a_record_that_is_too_long() {
    let place = Place::new();
    let path = fifo(&place);
    let cat = Running::start(&mut command(&["cat", &path]));
    assert_code(&run(&["send", &path, &"x".repeat(5000)]), 3);
    assert_output(&cat.output(), "");
}

#[test]
fn nobody_opens_the_other_side() {
    let place = Place::new();
    let path = fifo(&place);
    assert_code(&run(&["cat", "-t", "0.05", &path]), 4);
    assert_code(&run(&["send", "-t", "0.05", &path, "x"]), 4);
}
