use crate::support::{example, succeed};

pub fn both_sides_speak() {
    for kind in ["stream", "dgram"] {
        let talk = succeed(example("socketpair_talk").args(["--type", kind]));
        for who in ["parent says", "parent hears", "child  says", "child  hears"] {
            assert!(talk.contains(who), "{who} is missing from\n{talk}");
        }
    }
}
