//! Builds C programs with a sanitizer, and the library too, so that the sanitizer also checks the
//! accesses that the library makes.

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
    /// The name that both compilers use.
    fn name(self) -> &'static str {
        match self {
            Sanitizer::Address => "address",
            Sanitizer::Thread => "thread",
        }
    }

    /// The sanitizer's run-time library. The C code uses the one of the Rust compiler too: clang's
    /// may be too old for the library's instrumented code.
    fn runtime(self) -> Result<PathBuf, Failed> {
        let output = run(Command::new("rustc").args(["--print", "target-libdir"]))?;
        let directory = PathBuf::from(String::from_utf8(output.stdout)?.trim());
        let suffix = match self {
            Sanitizer::Address => "_rt.asan.a",
            Sanitizer::Thread => "_rt.tsan.a",
        };
        let found = fs::read_dir(directory)?
            .filter_map(|entry| Some(entry.ok()?.path()))
            .find(|path| {
                path.as_os_str()
                    .as_encoded_bytes()
                    .ends_with(suffix.as_bytes())
            });
        Ok(found.ok_or("the Rust compiler has no such sanitizer")?)
    }

    /// Returns why programs cannot be built with the sanitizer here, or None.
    pub fn why_not(self) -> Option<&'static str> {
        if find_tool("clang").is_none() {
            return Some("clang is missing");
        }
        let missing = self.runtime().is_err();
        missing.then_some("the Rust compiler has no such sanitizer")
    }

    /// The library with the sanitizer's checks. It copies shared memory by atomic accesses, which
    /// the sanitizer sees. Each test process builds it once. RUSTC_BOOTSTRAP makes the sanitizers
    /// available in a stable compiler.
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
        // The standard library is built without the sanitizer, which the compiler treats as
        // another ABI. The parts that are used here do not access shared memory.
        let flags = format!(
            "-Zsanitizer={} -Cunsafe-allow-abi-mismatch=sanitizer --cfg atomic_copy \
             -Cdebug-assertions=on -Coverflow-checks=on",
            self.name()
        );
        let directory = format!("sanitized/{}", self.name());
        stage::archive(&directory, &flags, &[("RUSTC_BOOTSTRAP", "1")])
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
