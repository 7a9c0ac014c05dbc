//! Text that other programs have chosen, in a form that is safe on a terminal.

use std::fmt::Write;

/// Escapes bytes: a control character, a character that changes the direction of the text, and a
/// byte that is not UTF-8 become an escape sequence of C or Rust. A backslash is doubled, so that
/// different bytes give different texts.
pub fn escaped(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for character in chunk.valid().chars() {
            push(&mut text, character);
        }
        for byte in chunk.invalid() {
            let _ = write!(text, "\\x{byte:02x}");
        }
    }
    text
}

/// Escapes a string, as [`escaped`], but leaves backslashes as they are.
pub fn escaped_str(text: &str) -> String {
    let mut result = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '\\' | '\n' => result.push(character),
            _ => push(&mut result, character),
        }
    }
    result
}

fn push(text: &mut String, character: char) {
    match character {
        '\\' => text.push_str("\\\\"),
        '\n' => text.push_str("\\n"),
        '\r' => text.push_str("\\r"),
        '\t' => text.push_str("\\t"),
        _ if !is_unsafe(character) => text.push(character),
        _ if (character as u32) < 0x80 => {
            let _ = write!(text, "\\x{:02x}", character as u32);
        }
        _ => {
            let _ = write!(text, "\\u{{{:x}}}", character as u32);
        }
    }
}

/// Whether a terminal may interpret a character, or show it in another place or not at all.
pub fn is_unsafe(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e0fff}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ordinary_text_stays() {
        for text in ["", "/name", "a b", "größe", "名前", "~!@#$%^&*()'\""] {
            assert_eq!(escaped(text.as_bytes()), text);
        }
    }

    #[test]
    fn control_characters_are_escaped() {
        for (bytes, text) in [
            (&b"\x1b[2J"[..], "\\x1b[2J"),
            (b"a\nb\tc\r", "a\\nb\\tc\\r"),
            (b"\x7f\x00", "\\x7f\\x00"),
            (b"\\n", "\\\\n"),
            (b"\x9b2J", "\\x9b2J"),
            ("\u{9b}2J".as_bytes(), "\\u{9b}2J"),
            ("a\u{202e}b".as_bytes(), "a\\u{202e}b"),
            (b"\xff\xfe\xe2\x82", "\\xff\\xfe\\xe2\\x82"),
        ] {
            assert_eq!(escaped(bytes), text);
        }
    }

    #[test]
    fn messages_keep_lines() {
        assert_eq!(escaped_str("a\nb\\n\u{1b}"), "a\nb\\n\\x1b");
    }
}
