use crate::support::{example, succeed};
use common::isolated::{apply, isolated};

#[apply(isolated)]
fn both_sides_send() {
    for kind in ["stream", "dgram"] {
        let talk = succeed(example("socketpair_talk").args(["--type", kind]));
        for line in [
            "parent sends",
            "parent receives",
            "child  sends",
            "child  receives",
        ] {
            assert!(talk.contains(line), "{line} is missing from\n{talk}");
        }
    }
}
