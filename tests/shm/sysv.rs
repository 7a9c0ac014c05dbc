//! ipc_shm_attach.

use crate::support::*;
use common::child::fork;
use common::clock::goes_on;
use libc::*;
use std::ptr;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use unixipc::ffi::shm::*;

/// Removes the segment of a key when dropped.
struct Segment(key_t);

impl Segment {
    fn id(&self) -> Option<c_int> {
        // SAFETY: no pointers.
        Some(unsafe { shmget(self.0, 0, 0) }).filter(|id| *id != -1)
    }

    fn remove(&self) -> bool {
        // SAFETY: IPC_RMID reads nothing.
        self.id()
            .is_some_and(|id| unsafe { shmctl(id, IPC_RMID, ptr::null_mut()) } == 0)
    }

    fn attached(&self) -> u64 {
        // SAFETY: all zero bytes are valid.
        let mut ds: shmid_ds = unsafe { std::mem::zeroed() };
        // SAFETY: a struct of ours.
        assert_eq!(unsafe { shmctl(self.id().unwrap(), IPC_STAT, &mut ds) }, 0);
        ds.shm_nattch
    }
}

impl Drop for Segment {
    fn drop(&mut self) {
        while self.remove() {}
    }
}

#[apply(isolated)]
fn arguments() {
    let segment = Segment(fresh_key());
    let key = segment.0;
    // SAFETY: NULL is refused.
    let made = outcome(|| unsafe { ipc_shm_attach(key, 1, IPC_CREAT, ptr::null_mut()) } as isize);
    assert_eq!(made, Err(EINVAL));
    assert_eq!(
        attach(IPC_PRIVATE, 1, IPC_CREAT | 0o600).unwrap_err(),
        EINVAL
    );
    for flag in [SHM_RND, SHM_REMAP, SHM_EXEC] {
        let made = attach(key, 1, IPC_CREAT | 0o600 | flag);
        assert_eq!(made.unwrap_err(), EINVAL);
    }
    assert_eq!(attach(key, 0, IPC_CREAT | 0o600).unwrap_err(), EINVAL);
    assert_eq!(attach(key, 1, 0).unwrap_err(), ENOENT);
    assert_eq!(
        attach(key, usize::MAX, IPC_CREAT | 0o600).unwrap_err(),
        EINVAL
    );
    assert!(segment.id().is_none(), "nothing was made");
}

#[apply(isolated)]
fn make_and_open() {
    let before = open_numbers();
    let segment = Segment(fresh_key());
    let key = segment.0;
    let made = attach(key, 5000, IPC_CREAT | IPC_EXCL | 0o640).unwrap();
    assert!(made.size() == 5000 && made.is_all(0));
    made.fill(3);
    assert_eq!(
        attach(key, 1, IPC_CREAT | IPC_EXCL | 0o600).unwrap_err(),
        EEXIST
    );
    for size in [0, 1, 5000] {
        let opened = attach(key, size, 0).unwrap();
        assert!(opened.size() == 5000 && opened.is_all(3));
        assert_eq!(segment.attached(), 2);
    }
    assert_eq!(segment.attached(), 1);
    assert_eq!(attach(key, 5001, 0).unwrap_err(), ESTALE);
    assert_eq!(attach(key, 5001, IPC_CREAT | 0o600).unwrap_err(), ESTALE);
    // SAFETY: an open handle.
    let fd = outcome(|| unsafe { ipc_shm_fd(made.0) } as isize);
    assert_eq!(fd, Err(EOPNOTSUPP));
    // SAFETY: an open handle and a string.
    let published = outcome(|| unsafe { ipc_shm_publish(made.0, c"/x".as_ptr()) } as isize);
    assert_eq!(published, Err(EINVAL));
    let reader = attach(key, 0, SHM_RDONLY).unwrap();
    assert!(reader.is_all(3));
    assert_eq!(killed_by(|| poke(&reader)), SIGSEGV);
    assert_eq!(open_numbers(), before);
    // Removed, but still usable by the processes that have attached it.
    assert!(segment.remove());
    let new = attach(key, 1, IPC_CREAT | 0o600).unwrap();
    assert!(new.is_all(0) && made.is_all(3));
    fork(|| {
        // SAFETY: this process no longer uses it.
        unsafe { ipc_shm_close(made.0) };
    })
    .join();
    made.fill(4);
}

#[apply(isolated)]
#[needs(needs::root)]
fn another_user() {
    let segment = Segment(fresh_key());
    let key = segment.0;
    let _made = attach(key, 1, IPC_CREAT | 0o644).unwrap();
    as_nobody(|| {
        assert_eq!(attach(key, 0, 0).unwrap_err(), EACCES);
        assert_eq!(attach(key, 0, 0o600).unwrap_err(), EACCES);
        assert!(attach(key, 0, SHM_RDONLY).unwrap().is_all(0));
        assert_eq!(attach(key, 1, IPC_CREAT | IPC_EXCL).unwrap_err(), EEXIST);
    });
}

/// One process removes the segment repeatedly; the only error that creators and openers see is that
/// it does not exist.
#[apply(isolated)]
fn removed_at_full_speed() {
    let segment = Segment(fresh_key());
    let key = segment.0;
    let stop = create(page_size(), 0, 0).unwrap();
    let run = |work: &dyn Fn()| {
        while stop.u32(0).load(Ordering::Relaxed) == 0 {
            work();
        }
    };
    let makers: Vec<Child> = (0..2)
        .map(|_| {
            fork(|| {
                run(&|| {
                    let region = attach(key, 100, IPC_CREAT | 0o600).unwrap();
                    assert_eq!(region.size(), 100);
                    stop.u32(1).fetch_add(1, Ordering::Relaxed);
                });
            })
        })
        .collect();
    let opener = fork(|| {
        run(&|| match attach(key, 0, 0) {
            Ok(region) => {
                assert_eq!(region.size(), 100);
                stop.u32(2).fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => assert_eq!(error, ENOENT),
        });
    });
    let has_both = || {
        [1, 2]
            .iter()
            .all(|at| stop.u32(*at).load(Ordering::Relaxed) > 0)
    };
    let (began, time) = (Instant::now(), Duration::from_millis(scaled(700)));
    while goes_on(began, time, has_both) {
        segment.remove();
    }
    stop.u32(0).store(1, Ordering::Relaxed);
    makers.into_iter().for_each(Child::join);
    opener.join();
    assert!(has_both());
}
