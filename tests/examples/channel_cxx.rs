use crate::support::{example, fail, succeed};
use common::isolated::{apply, isolated};
use common::needs;

#[apply(isolated)]
#[needs(needs::cxx_compiler)]
fn sums() {
    let shown = succeed(&mut example("channel_cxx"));
    assert!(shown.contains("the sum of 1 to 1000 is 500500"), "{shown}");
    assert!(succeed(example("channel_cxx").arg("--help")).starts_with("usage:"));
    fail(example("channel_cxx").arg("x"), 2);
}
