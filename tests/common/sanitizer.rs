//! Programs under the sanitizers, and the library built for them, of which they then check
//! each access too.

use crate::{find_tool, root, run, stage};
use libtest_mimic::Failed;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// A sanitizer of the compilers.
#[derive(Clone, Copy)]
pub enum Sanitizer {
    /// AddressSanitizer.
    Address,
    /// ThreadSanitizer.
    Thread,
}

impl Sanitizer {
    /// As both compilers call it.
    fn name(self) -> &'static str {
        match self {
            Sanitizer::Address => "address",
            Sanitizer::Thread => "thread",
        }
    }

    /// The sanitizer's run-time library. The compiler's own is taken for the C code too: what
    /// clang brings along may be too old for what it makes of the library.
    fn runtime(self) -> Result<PathBuf, Failed> {
        let output = run(Command::new("rustc").args(["--print", "target-libdir"]))?;
        let folder = PathBuf::from(String::from_utf8(output.stdout)?.trim());
        let end = match self {
            Sanitizer::Address => "_rt.asan.a",
            Sanitizer::Thread => "_rt.tsan.a",
        };
        let found = fs::read_dir(folder)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| {
                path.as_os_str()
                    .as_encoded_bytes()
                    .ends_with(end.as_bytes())
            });
        Ok(found.ok_or("the compiler has no such sanitizer")?)
    }

    /// Why programs cannot be built with it here, if so.
    pub fn why_not(self) -> Option<&'static str> {
        if find_tool("clang").is_none() {
            return Some("clang is missing");
        }
        let missing = self.runtime().is_err();
        missing.then_some("the compiler has no such sanitizer")
    }

    /// The library with the sanitizer's checks, and with a copy that they see; built once a
    /// test process. The compiler has them without being a nightly one only if it is told so.
    pub fn library(self) -> Result<PathBuf, Failed> {
        static ADDRESS: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        static THREAD: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        let done = match self {
            Sanitizer::Address => &ADDRESS,
            Sanitizer::Thread => &THREAD,
        };
        done.get_or_init(|| self.build().map_err(|failed| format!("{failed:?}")))
            .clone()
            .map_err(Failed::from)
    }

    fn build(self) -> Result<PathBuf, Failed> {
        // The standard library is not built with the sanitizer, which is an ABI of its
        // own to the compiler; what is used of it here does not touch shared memory.
        let flags = format!(
            "-Zsanitizer={} -Cunsafe-allow-abi-mismatch=sanitizer --cfg atomic_copy \
             -Cdebug-assertions=on -Coverflow-checks=on",
            self.name()
        );
        let folder = format!("sanitized/{}", self.name());
        stage::archive(&folder, &flags, &[("RUSTC_BOOTSTRAP", "1")])
    }

    /// Compiles a C program and links it with a library.
    pub fn compile(
        self,
        source: &Path,
        flags: &[&str],
        library: &Path,
        program: &Path,
    ) -> Result<(), Failed> {
        let object = program.with_extension("o");
        run(Command::new("clang")
            .args(["-std=c11", "-Wall", "-Wextra", "-Wpedantic", "-Werror"])
            .args(["-g", "-O1", "-pthread", "-c", "-I"])
            .arg(root().join("include"))
            .arg(format!("-fsanitize={}", self.name()))
            .arg(source)
            .arg("-o")
            .arg(&object))?;
        run(Command::new("clang")
            .arg(&object)
            .arg(library)
            .arg("-Wl,--whole-archive")
            .arg(self.runtime()?)
            .args(["-Wl,--no-whole-archive", "-Wl,--export-dynamic"])
            .args(["-pthread", "-ldl", "-lm", "-lrt"])
            .args(flags)
            .arg("-o")
            .arg(program))?;
        Ok(())
    }
}
