//! Patterns for names, as the shell has them: `*` for any bytes, `?` for one byte.

/// Whether a name matches a pattern. Without a wildcard it must be equal; the slash before the name
/// of a region may be omitted.
pub fn matches(pattern: &[u8], name: &[u8]) -> bool {
    is_match(pattern, name)
        || name
            .strip_prefix(b"/")
            .is_some_and(|name| is_match(pattern, name))
}

/// The usual algorithm: on a mismatch, the last star takes one more byte.
fn is_match(pattern: &[u8], name: &[u8]) -> bool {
    let (mut p, mut n) = (0, 0);
    let mut star = None;
    while let Some(byte) = name.get(n) {
        match pattern.get(p) {
            Some(b'*') => {
                star = Some((p, n));
                p += 1;
            }
            Some(wanted) if wanted == byte || *wanted == b'?' => (p, n) = (p + 1, n + 1),
            _ => match star {
                Some((at, taken)) => {
                    star = Some((at, taken + 1));
                    (p, n) = (at + 1, taken + 1);
                }
                None => return false,
            },
        }
    }
    pattern
        .get(p..)
        .unwrap_or_default()
        .iter()
        .all(|byte| *byte == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns() {
        for (pattern, name, expected) in [
            ("a", "a", true),
            ("a", "ab", false),
            ("a*", "ab", true),
            ("*", "", true),
            ("", "", true),
            ("", "a", false),
            ("*b*d", "abcd", true),
            ("*b*d", "abcde", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("sensor*", "/sensor-1", true),
            ("/sensor*", "/sensor-1", true),
            ("**a**", "bab", true),
        ] {
            let found = matches(pattern.as_bytes(), name.as_bytes());
            assert_eq!(found, expected, "{pattern} {name}");
        }
    }
}
