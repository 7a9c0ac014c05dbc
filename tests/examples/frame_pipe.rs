use crate::support::{child_of, example, said_by, signal, succeed, wait, wait_until_gone};
use std::process::{Child, Stdio};

pub fn frames_arrive() {
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

pub fn viewer_killed() {
    let mut camera = start();
    signal(child_of(&camera), libc::SIGKILL);
    assert_eq!(wait(&mut camera).code(), Some(1));
    assert!(said_by(&mut camera).contains("the viewer is gone"));
}

pub fn camera_killed() {
    let mut camera = start();
    let viewer = child_of(&camera);
    camera.kill().unwrap();
    wait(&mut camera);
    wait_until_gone(viewer);
    let said = said_by(&mut camera);
    assert!(said.contains("the camera is gone after"), "{said}");
}
