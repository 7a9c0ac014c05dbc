use crate::support::{example, fail, succeed};
use common::isolated::{apply, isolated};
use common::user::is_root;
use std::env::temp_dir;
use std::fs;
use std::os::unix::fs::PermissionsExt;

#[apply(isolated)]
fn worker_reads_passed_files() {
    let file = temp_dir().join("file");
    fs::write(&file, "one\ntwo\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let text = succeed(example("fd_pass").arg(&file));
    assert!(text.contains("2 lines, 8 bytes"), "{text}");
    assert_eq!(text.contains("cannot open"), is_root(), "{text}");
    fs::remove_file(&file).unwrap();
}

#[apply(isolated)]
fn missing_file() {
    fail(example("fd_pass").arg("/nonexistent"), 1);
}
