use crate::common::isolated::is_root;
use crate::support::{example, fail, succeed};
use std::env::temp_dir;
use std::fs;
use std::os::unix::fs::PermissionsExt;

pub fn worker_reads_passed_files() {
    let file = temp_dir().join("file");
    fs::write(&file, "one\ntwo\n").unwrap();
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    let text = succeed(example("fd_pass").arg(&file));
    assert!(text.contains("2 lines, 8 bytes"), "{text}");
    assert_eq!(text.contains("cannot open"), is_root(), "{text}");
    fs::remove_file(&file).unwrap();
}

pub fn missing_file() {
    fail(example("fd_pass").arg("/nonexistent"), 1);
}
