//! Recordings as text: a line with the size, and a line for each 32 bytes that are not all zero.

use std::fmt::Write;

const LINE: usize = 32;

/// The text of some bytes.
pub fn print(bytes: &[u8]) -> String {
    let mut text = format!("size {}\n", bytes.len());
    for (number, line) in bytes.chunks(LINE).enumerate() {
        if line.iter().all(|byte| *byte == 0) {
            continue;
        }
        write!(text, "{:05x}:", number * LINE).unwrap();
        for word in line.chunks(4) {
            text.push(' ');
            for byte in word {
                write!(text, "{byte:02x}").unwrap();
            }
        }
        text.push('\n');
    }
    text
}

/// The bytes of a text.
#[track_caller]
pub fn parse(text: &str) -> Vec<u8> {
    let mut lines = text.lines();
    let size = lines.next().and_then(|line| line.strip_prefix("size "));
    let mut bytes = vec![0; size.unwrap().parse().unwrap()];
    for line in lines {
        let (at, digits) = line.split_once(':').unwrap();
        let at = usize::from_str_radix(at, 16).unwrap();
        let digits: String = digits.split_whitespace().collect();
        for (number, pair) in digits.as_bytes().chunks(2).enumerate() {
            let pair = std::str::from_utf8(pair).unwrap();
            bytes[at + number] = u8::from_str_radix(pair, 16).unwrap();
        }
    }
    bytes
}
