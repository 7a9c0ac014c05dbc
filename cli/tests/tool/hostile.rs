//! Processes that write nonsense, and names that would control the terminal.

use crate::support::*;
use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::ptr;
use std::slice;

/// A sequence that clears the screen, one that sets the title, a C1 control character, a change of the
/// direction, and bytes that are not UTF-8.
const NAMES: [&[u8]; 5] = [
    b"\x1b[2J",
    b"\x1b]0;title\x07",
    "\u{9b}2J".as_bytes(),
    "a\u{202e}b".as_bytes(),
    b"a\xff\xfeb",
];

/// Whether a text has nothing that a terminal interprets.
fn is_safe(text: &str) -> bool {
    let mut characters = text.chars();
    !characters
        .any(|character| character.is_control() && character != '\n' || character == '\u{202e}')
}

#[apply(isolated)]
#[needs(needs::root)]
fn names_of_regions() {
    in_container(|| {
        let _regions: Vec<Region> = NAMES
            .iter()
            .map(|name| {
                let name = CString::new([b"/", *name].concat()).unwrap();
                Region::create(&name, 4096, true)
            })
            .collect();
        for arguments in [
            &["ls"][..],
            &["ls", "--json"],
            &["--color", "never", "ls"],
            &["top", "--prometheus"],
        ] {
            let shown = run(tool(arguments), 0);
            assert!(is_safe(&shown), "{arguments:?}: {shown:?}");
        }
        let found = objects("region", &[]);
        assert_eq!(found.len(), NAMES.len());
        let names: Vec<_> = found.iter().map(|region| &region["name"]).collect();
        assert!(names.iter().any(|name| **name == "/\u{1b}[2J"), "{names:?}");
        assert!(
            names.iter().any(|name| name["hex"] == "2f61fffe62"),
            "{names:?}"
        );
    });
}

/// The name of a program and of a subscriber, and the path of a feed.
#[apply(isolated)]
#[needs(needs::root)]
fn names_of_programs() {
    in_container(|| {
        let path = "/run/\u{1b}[31mred";
        let feed = feed(path);
        let _subscriber = fork(|| {
            // SAFETY: a name.
            unsafe { libc::prctl(libc::PR_SET_NAME, c"\x1b[2J\n\r".as_ptr()) };
            subscribe(path, c"\x1b]0;x\x07\n", 0);
            sleep_until_killed();
        });
        admit(feed, 1);
        wait_for_subscriber();
        for arguments in [
            &["ls", "--dir", "/run"][..],
            &["ls", "--json"],
            &["top", "--once", "-i", "0.1"],
            &["top", "--prometheus"],
        ] {
            let shown = run(tool(arguments), 0);
            assert!(is_safe(&shown), "{arguments:?}: {shown:?}");
            assert!(shown.contains("31mred"), "{shown}");
        }
        let found = only("feed");
        assert_eq!(found["subscribers"][0]["name"], "\u{1b}]0;x\u{7}\n");
    });
}

/// Error messages contain names too.
#[apply(isolated)]
fn names_in_errors() {
    let output = tool(&["gc", "--dir", "/no/\u{1b}[2J"]).output().unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.contains("\\x1b[2J") && is_safe(&errors),
        "{errors:?}"
    );
}

/// The bytes of this process's own memory of a channel or a feed. It is mapped writable.
fn own_memory(name: &str) -> &'static mut [u8] {
    let maps = fs::read_to_string("/proc/self/maps").unwrap();
    let line = maps
        .lines()
        .find(|line| line.contains(name) && line.contains("rw-s"));
    let range = line.unwrap().split(' ').next().unwrap();
    let (begin, _) = range.split_once('-').unwrap();
    let begin = usize::from_str_radix(begin, 16).unwrap();
    // SAFETY: the first page of a writable mapping, whose other references are to atomics.
    unsafe { slice::from_raw_parts_mut(ptr::with_exposed_provenance_mut(begin), 4096) }
}

/// A process that fills its control words with any bytes.
#[apply(isolated)]
#[needs(needs::root)]
fn nonsense_in_control_words() {
    in_container(|| {
        let feed = feed("/run/feed");
        let _subscriber = fork(|| {
            subscribe("/run/feed", c"hostile", 0);
            let [_, _] = channel_pair();
            loop {
                for name in ["unixipc-subscriber", "unixipc-channel"] {
                    for byte in own_memory(name) {
                        *byte = byte.wrapping_mul(5).wrapping_add(113);
                    }
                }
            }
        });
        admit(feed, 1);
        publish(feed, b"message");
        for _ in 0..20 {
            for arguments in [
                &["ls"][..],
                &["ls", "--json"],
                &["top", "--prometheus"],
                &["top", "--once", "-i", "0.05"],
            ] {
                let shown = run(tool(arguments), 0);
                assert!(is_safe(&shown), "{arguments:?}: {shown:?}");
            }
        }
    });
}

/// Regions with any bytes, and headers of objects without objects.
#[apply(isolated)]
#[needs(needs::root)]
fn nonsense_in_regions() {
    in_container(|| {
        let headers = [
            unixipc::lock::mutex::Mutex::TYPE,
            unixipc::lock::rwlock::Rwlock::TYPE,
            unixipc::lock::cond::Cond::TYPE,
            unixipc::lock::event::Event::TYPE,
            unixipc::cell::Control::TYPE,
        ];
        for (number, header) in headers.iter().enumerate() {
            for fill in [0u8, 0xff, 0x55] {
                let mut bytes = vec![fill; 12288];
                for at in (0..bytes.len() - 16).step_by(256) {
                    bytes[at..at + 8].copy_from_slice(&header.word().to_ne_bytes());
                }
                // The last header has no object behind it.
                let end = bytes.len() - 16;
                bytes[end..end + 8].copy_from_slice(&header.word().to_ne_bytes());
                fs::write(format!("/dev/shm/{number}-{fill}"), &bytes).unwrap();
            }
        }
        fs::write("/dev/shm/empty", "").unwrap();
        let sparse = fs::File::create("/dev/shm/sparse").unwrap();
        sparse.set_len(1 << 40).unwrap();
        for arguments in [
            &["ls", "--all"][..],
            &["top", "--once", "-i", "0.05"],
            &["gc", "-n", "--older-than", "0"],
        ] {
            run(tool(arguments), 0);
        }
        let found = objects("region", &["--all"]);
        assert_eq!(found.len(), 17);
        let sparse = found
            .iter()
            .find(|region| region["name"] == "/sparse")
            .unwrap();
        assert_eq!(sparse["partly_read"], true);
    });
}

/// A file that is full of headers, and has many names.
#[apply(isolated)]
#[needs(needs::root)]
fn many_objects() {
    const NAMES: usize = 20;
    const MUTEXES: usize = 4000;
    const TOTAL: usize = 1 << 16;
    in_container(|| {
        let mut bytes = vec![0u8; MUTEXES * 256];
        for mutex in bytes.chunks_mut(256) {
            let header = unixipc::lock::mutex::Mutex::TYPE.word();
            mutex[..8].copy_from_slice(&header.to_ne_bytes());
        }
        fs::write("/dev/shm/0", &bytes).unwrap();
        for number in 1..NAMES {
            fs::hard_link("/dev/shm/0", format!("/dev/shm/{number}")).unwrap();
        }
        let found = objects("region", &[]);
        assert_eq!(found.len(), NAMES);
        let (full, others): (Vec<_>, Vec<_>) = found
            .iter()
            .partition(|region| region["partly_read"].is_null());
        assert_eq!(full.len(), TOTAL / MUTEXES);
        for region in full {
            assert_eq!(region["objects"].as_array().unwrap().len(), MUTEXES);
        }
        for region in others {
            assert!(region["objects"].as_array().unwrap().is_empty());
        }
        let removed = json(&["gc", "-n", "--older-than", "0"]);
        assert_eq!(removed["objects"].as_array().unwrap().len(), NAMES);
    });
}

/// Files that are no regions.
#[apply(isolated)]
#[needs(needs::root)]
fn other_files() {
    in_container(|| {
        let fifo = CString::new("/dev/shm/fifo").unwrap();
        // SAFETY: a path.
        assert_eq!(unsafe { libc::mkfifo(fifo.as_ptr(), 0o600) }, 0);
        std::os::unix::fs::symlink("/etc/passwd", "/dev/shm/link").unwrap();
        fs::create_dir("/dev/shm/directory").unwrap();
        let name = std::ffi::OsStr::from_bytes(b"/dev/shm/.\xff.lock");
        fs::write(name, "").unwrap();
        assert!(objects("region", &["--all"]).is_empty());
        run(tool(&["gc", "--older-than", "0", "--dir", "/dev/shm"]), 0);
        for path in ["/dev/shm/fifo", "/dev/shm/link", "/dev/shm/directory"] {
            assert!(exists(path), "{path}");
        }
    });
}
