use crate::support::{example, fail, succeed};
use common::isolated::{apply, isolated};
use common::needs;

#[apply(isolated)]
#[needs(needs::cxx_compiler)]
fn hello_channel() {
    let shown = succeed(&mut example("hello_channel_cxx"));
    assert_eq!(shown, succeed(&mut example("hello_channel")));
}

#[apply(isolated)]
#[needs(needs::cxx_compiler)]
fn market_feed() {
    let shown = succeed(&mut example("market_feed_cxx"));
    assert!(shown.contains("wrong 0"), "{shown}");
    assert!(shown.contains("stalled"), "{shown}");
    assert!(succeed(example("market_feed_cxx").arg("--help")).starts_with("usage:"));
    fail(example("market_feed_cxx").arg("x"), 2);
}
