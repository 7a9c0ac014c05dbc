//! Invalid arguments and options.

use crate::support::*;

#[apply(isolated)]
fn bad_arguments() {
    let _folder = WorkingDirectory::new();
    let words = [c"true".as_ptr().cast_mut(), ptr::null_mut()];
    let file = c"true".as_ptr();
    let mut fd = -77;
    for (file, argv, ret_fd) in [
        (ptr::null(), words.as_ptr(), &raw mut fd),
        (file, ptr::null(), &raw mut fd),
        (file, words[1..].as_ptr(), &raw mut fd),
        (file, words.as_ptr(), ptr::null_mut()),
    ] {
        assert_fails(
            || {
                // SAFETY: the NULLs are refused.
                let pid = unsafe { ipc_spawn(file, argv, ptr::null(), 0, ret_fd) };
                assert_eq!(pid, -1);
                Err(io::Error::last_os_error().raw_os_error().unwrap())
            },
            EINVAL,
        );
    }
    assert_eq!(fd, -77);
}

#[apply(isolated)]
fn bad_options() {
    for bit in 0..32 {
        let flags = 1 << bit;
        if flags & (IPC_SPAWN_F_STDERR_NULL | IPC_SPAWN_F_NO_NEW_PRIVS) == 0 {
            assert_fails(
                || {
                    start(
                        &["true"],
                        &ipc_spawn_opts {
                            flags,
                            ..defaults()
                        },
                    )
                },
                EINVAL,
            );
        }
    }
    for pdeathsig in [-1, 65, c_int::MIN, c_int::MAX] {
        assert_fails(
            || {
                start(
                    &["true"],
                    &ipc_spawn_opts {
                        pdeathsig,
                        ..defaults()
                    },
                )
            },
            EINVAL,
        );
    }
    for child_fd in [-1, c_int::MIN] {
        assert_fails(
            || {
                start(
                    &["true"],
                    &ipc_spawn_opts {
                        child_fd,
                        ..defaults()
                    },
                )
            },
            EINVAL,
        );
    }
    for nfds in [1, usize::MAX] {
        assert_fails(
            || start(&["true"], &ipc_spawn_opts { nfds, ..defaults() }),
            EINVAL,
        );
    }
}

#[apply(isolated)]
fn sizes_of_options() {
    #[repr(C)]
    struct Newer {
        known: ipc_spawn_opts,
        tail: [u8; 24],
    }
    let size = size_of::<ipc_spawn_opts>();
    for size in [0, 1, size, 100_000] {
        assert_eq!(
            output(start_sized(&sh("echo null"), ptr::null(), size)),
            "null\n"
        );
    }
    let mut newer = Newer {
        known: ipc_spawn_opts {
            cwd: c"/".as_ptr(),
            ..defaults()
        },
        tail: [0; 24],
    };
    let at = ptr::from_ref(&newer).cast();
    for size in [size, size + 1, size + 24] {
        assert_eq!(
            output(start_sized(&sh("pwd"), at, size)),
            "/\n",
            "{size} bytes"
        );
    }
    for too_small in [0, 1, size_of::<*const ipc_spawn_opts>(), size - 1] {
        assert_fails(|| start_sized(&["true"], at, too_small), EINVAL);
    }
    for byte in [0, 7, 23] {
        newer.tail[byte] = 1;
        let at = ptr::from_ref(&newer).cast();
        assert_fails(|| start_sized(&["true"], at, size + 24), E2BIG);
        newer.tail[byte] = 0;
    }
    newer.tail[23] = 1;
    let at = ptr::from_ref(&newer).cast();
    assert_eq!(output(start_sized(&sh("pwd"), at, size + 23)), "/\n");
}
