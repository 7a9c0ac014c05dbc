//! Runs the programs of tests/c under seccomp filters. A filter refuses a system call that the
//! library does not require, or all of these calls, with `ENOSYS` or `EPERM`. The programs must still
//! pass.

use common::filter::{SYS_FCHMODAT2, refuse, refuse_where};
use common::programs::{self, CANNOT_RUN};
use common::{text, trial_with_tools};
use libc::{BPF_JSET, ENOSYS, EPERM, c_int, c_long};
use libtest_mimic::{Arguments, Failed, Trial};
use std::env;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, OnceLock};
use tempfile::TempDir;

/// A system call that the library does not require.
struct Optional {
    name: &'static str,
    number: c_long,
    /// The index of an argument, and bits: the call is refused only if the argument has these bits.
    refused_bits: Option<(u32, u32)>,
}

const fn always(name: &'static str, number: c_long) -> Optional {
    Optional {
        name,
        number,
        refused_bits: None,
    }
}

/// `MFD_NOEXEC_SEAL` of linux/memfd.h.
const MFD_NOEXEC_SEAL: u32 = 8;

const OPTIONAL: [Optional; 17] = [
    always("close_range", libc::SYS_close_range),
    always("fallocate", libc::SYS_fallocate),
    always("fchmodat2", SYS_FCHMODAT2),
    always("fstatfs", libc::SYS_fstatfs),
    always("get_robust_list", libc::SYS_get_robust_list),
    always("getcpu", libc::SYS_getcpu),
    always("getrandom", libc::SYS_getrandom),
    always("inotify_add_watch", libc::SYS_inotify_add_watch),
    always("inotify_init1", libc::SYS_inotify_init1),
    always("madvise", libc::SYS_madvise),
    always("membarrier", libc::SYS_membarrier),
    always("preadv2", libc::SYS_preadv2),
    always("pwritev2", libc::SYS_pwritev2),
    always("sysinfo", libc::SYS_sysinfo),
    always("vmsplice", libc::SYS_vmsplice),
    Optional {
        name: "linkat with AT_EMPTY_PATH",
        number: libc::SYS_linkat,
        refused_bits: Some((4, libc::AT_EMPTY_PATH as u32)),
    },
    Optional {
        name: "memfd_create with MFD_NOEXEC_SEAL",
        number: libc::SYS_memfd_create,
        refused_bits: Some((1, MFD_NOEXEC_SEAL)),
    },
];

impl Optional {
    fn refuse(&self, error: c_int) {
        match self.refused_bits {
            None => refuse(self.number, error),
            Some((argument, bits)) => {
                refuse_where(self.number, argument, BPF_JSET, bits, error);
            }
        }
    }
}

/// The compiled programs, which all tests share.
struct Binaries {
    _directory: TempDir,
    paths: Vec<PathBuf>,
}

impl Binaries {
    fn build() -> Result<Self, Failed> {
        let directory = TempDir::new()?;
        let mut paths = Vec::new();
        for source in programs::programs() {
            let compiler = if programs::is_cxx(&source) {
                "c++"
            } else {
                "cc"
            };
            let name = source.file_name().unwrap_or_default();
            let path = directory.path().join(name);
            programs::build(&source, compiler, programs::link_of(&source), &[], &path)?;
            paths.push(path);
        }
        Ok(Self {
            _directory: directory,
            paths,
        })
    }
}

/// The programs, or the error of the build.
type Shared = Arc<OnceLock<Result<Binaries, String>>>;

fn main() -> ExitCode {
    let shared = Shared::default();
    let mut trials = Vec::new();
    for (errno, error) in [("ENOSYS", ENOSYS), ("EPERM", EPERM)] {
        for call in &OPTIONAL {
            let name = format!("{}: {errno}", call.name);
            trials.push(trial(name, &shared, move || call.refuse(error)));
        }
        let name = format!("all: {errno}");
        trials.push(trial(name, &shared, move || {
            OPTIONAL.iter().for_each(|call| call.refuse(error));
        }));
    }
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// A test that runs each program in a process that has called `filter`.
fn trial(name: String, shared: &Shared, filter: impl Fn() + Copy + Send + Sync + 'static) -> Trial {
    let shared = shared.clone();
    let tools = ["cc", "c++", "pkg-config", "timeout"];
    trial_with_tools(name, &tools, move || {
        let binaries = shared
            .get_or_init(|| Binaries::build().map_err(|failed| format!("{failed:?}")))
            .as_ref()
            .map_err(String::clone)?;
        let mut failures = String::new();
        for path in &binaries.paths {
            if let Err(failed) = run(path, filter) {
                let why = failed.message().unwrap_or_default();
                failures += &format!("{}: {why}\n", path.display());
            }
        }
        if failures.is_empty() {
            Ok(())
        } else {
            Err(failures.into())
        }
    })
}

/// Runs one program. If it cannot run here, this fails in CI only.
fn run(program: &Path, filter: impl Fn() + Send + Sync + 'static) -> Result<(), Failed> {
    let directory = TempDir::new()?;
    let command = [programs::path_text(program)?];
    let environment = programs::environment()?;
    let output = programs::run_bounded(directory.path(), &command, &environment, |command| {
        let install = move || {
            filter();
            Ok(())
        };
        // SAFETY: the child only makes system calls; if it panics, it ends.
        unsafe { command.pre_exec(install) };
    })?;
    match output.status.code() {
        Some(0) => Ok(()),
        Some(CANNOT_RUN) if env::var_os("CI").is_none() => Ok(()),
        _ => Err(format!("{}\n{}", output.status, text(&output)).into()),
    }
}
