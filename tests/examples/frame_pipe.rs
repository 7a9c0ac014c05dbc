use crate::support::{child_of, example, signal, stderr_of, succeed, wait, wait_until_gone};
use common::isolated::{apply, isolated};
use std::process::{Child, Stdio};

#[apply(isolated)]
fn frames_arrive() {
    for args in [
        &["--frames", "20"][..],
        &["--frames", "20", "--copy"],
        &["--frames", "5000", "--size", "1x1"],
        &["--frames", "300", "--size", "333x77"],
    ] {
        let shown = succeed(example("frame_pipe").args(args));
        assert!(
            shown.contains("frames/s") && shown.contains("GB/s"),
            "{shown}"
        );
    }
}

fn start() -> Child {
    example("frame_pipe")
        .args(["--frames", "1000000000"])
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

#[apply(isolated)]
fn viewer_killed() {
    let mut camera = start();
    signal(child_of(&camera), libc::SIGKILL);
    assert_eq!(wait(&mut camera).code(), Some(1));
    assert!(stderr_of(&mut camera).contains("the viewer has ended"));
}

#[apply(isolated)]
fn camera_killed() {
    let mut camera = start();
    let viewer = child_of(&camera);
    camera.kill().unwrap();
    wait(&mut camera);
    wait_until_gone(viewer);
    let text = stderr_of(&mut camera);
    assert!(text.contains("the camera has ended after"), "{text}");
}
