use crate::support::{example, signal, succeed, system_v_objects, wait, wait_until};
use common::isolated::{apply, isolated};
use common::needs;

/// The columns of a row: reads, torn, reads/s, writes/s.
fn row(table: &str, guard: &str) -> Vec<u64> {
    let row = table
        .lines()
        .find(|line| line.starts_with(guard))
        .expect(guard);
    row[guard.len()..]
        .split_whitespace()
        .map(|field| field.parse().unwrap())
        .collect()
}

#[apply(isolated)]
fn lock_prevents_torn_reads() {
    let table = succeed(example("shm_race").args(["--seconds", "1"]));
    assert!(
        row(&table, "no lock")[1] > 0,
        "the race was not seen: {table}"
    );
    for guard in [
        "semaphore lock",
        "ipc_semlock",
        "ipc_mutex",
        "ipc_rwlock",
        "ipc_cell",
    ] {
        let row = row(&table, guard);
        assert!(row[0] > 0 && row[1] == 0 && row[3] > 0, "{table}");
    }
}

#[apply(isolated)]
#[needs(needs::ipc_namespace)]
fn interrupted() {
    let mut race = example("shm_race")
        .args(["--seconds", "3600"])
        .spawn()
        .unwrap();
    wait_until("a segment", || system_v_objects() > 0);
    signal(race.id(), libc::SIGINT);
    assert_eq!(wait(&mut race).code(), Some(128 + libc::SIGINT));
    assert_eq!(system_v_objects(), 0);
}
