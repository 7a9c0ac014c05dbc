//! Programs that use pkg-config.

use crate::install::files;
use crate::support::*;
use common::{root, run, stage, text};
use libtest_mimic::Trial;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

pub fn trials() -> Vec<Trial> {
    let tools = ["make", "cc", "pkg-config", "readelf"];
    let mut trials = Vec::new();
    for compiler in ["cc -std=c11", "c++ -std=c++11", "c++ -std=c++17"] {
        for (flags, is_static) in [
            ("--cflags --libs", false),
            ("--static --cflags --libs", false),
            ("--static --cflags --libs", true),
        ] {
            let option = if is_static { " -static" } else { "" };
            let name = format!("pkg-config: {compiler}{option}, {flags}");
            let tools = [&tools[..], &[compiler.split(' ').next().unwrap()][..]].concat();
            trials.push(trial(&name, &tools, move |directory| {
                let lib = install_prefix(directory)?.join("lib");
                compile_and_run(&work(directory)?, &lib, compiler, flags, is_static)
            }));
        }
    }
    trials.push(trial(
        "pkg-config: only the static library",
        &tools,
        |directory| {
            let lib = install_prefix(directory)?.join("lib");
            remove_shared(&lib)?;
            let work = work(directory)?;
            let line = "cc -o prog prog.c $(pkg-config --static --cflags --libs unixipc) && ./prog";
            shell(&work, &lib, line)?;
            expect_link(&work.join("prog"), false)
        },
    ));
    trials.push(trial("pkg-config: what it prints", &tools, printed));
    trials.push(trial("pkg-config: PKG_CONFIG_SYSROOT_DIR", &tools, sysroot));
    trials.push(trial(
        "pkg-config: a prefix that was moved",
        &tools,
        |directory| {
            let moved = moved_prefix(directory)?;
            let flags = "--define-prefix --cflags --libs";
            compile_and_run(
                &work(directory)?,
                &moved.join("lib"),
                "cc -std=c11",
                flags,
                false,
            )
        },
    ));
    trials.push(trial("c_examples build outside the tree", &tools, examples));
    trials
}

/// The output of pkg-config for the system's directories and for others.
fn printed(directory: &Path) -> Result<()> {
    let prefix = install_prefix(directory)?;
    let dest = directory.join("dest");
    files(&dest)?;
    let own = prefix.display().to_string();
    let system = dest.join("usr/lib/x86_64-linux-gnu").display().to_string();
    for (libdir, args, want) in [
        (format!("{own}/lib"), "--modversion", VERSION.into()),
        (format!("{own}/lib"), "--cflags", format!("-I{own}/include")),
        (
            format!("{own}/lib"),
            "--libs",
            format!("-L{own}/lib -lunixipc"),
        ),
        (
            format!("{own}/lib"),
            "--static --libs",
            format!("-L{own}/lib -lunixipc"),
        ),
        // The compiler searches this directory by default.
        (system.clone(), "--cflags", String::new()),
        (
            system.clone(),
            "--variable=libdir",
            MULTIARCH[1]["libdir=".len()..].into(),
        ),
        (
            system.clone(),
            "--variable=includedir",
            "/usr/include".into(),
        ),
    ] {
        let line = format!("pkg-config {args} unixipc");
        let output = shell(directory, Path::new(&libdir), &line)?;
        if text(&output).trim() != want {
            return Err(format!("{line}: {:?}, not {want:?}", text(&output)).into());
        }
    }
    Ok(())
}

/// A system image below a directory, as a cross compiler uses it.
fn sysroot(directory: &Path) -> Result<()> {
    let dest = directory.join("dest");
    install(&[&setting("DESTDIR", &dest), "prefix=/opt/unixipc"])?;
    let line = format!(
        "export PKG_CONFIG_SYSROOT_DIR='{}'; cc -o prog prog.c $(pkg-config --cflags --libs unixipc) && ./prog",
        dest.display()
    );
    let work = work(directory)?;
    shell(&work, &dest.join("opt/unixipc/lib"), &line)?;
    expect_link(&work.join("prog"), true)
}

/// The examples need nothing from the source tree.
fn examples(directory: &Path) -> Result<()> {
    let lib = install_prefix(directory)?.join("lib");
    let copy = directory.join("c_examples");
    run(Command::new("cp")
        .arg("-r")
        .arg(root().join("c_examples"))
        .arg(&copy))?;
    let out = directory.join("out");
    let mut make = stage::make_command();
    make.current_dir(&copy)
        .env("PKG_CONFIG_PATH", lib.join("pkgconfig"))
        .env_remove("LDFLAGS")
        .arg(setting("out", &out));
    run(&mut make)?;
    let programs: Vec<PathBuf> = fs::read_dir(&out)?
        .map(|entry| entry.map(|entry| entry.path()))
        .collect::<std::io::Result<_>>()?;
    // A program that only reads a FIFO needs no function of the library.
    if !programs
        .iter()
        .any(|program| expect_link(program, true).is_ok())
    {
        return Err(format!("none uses the library: {programs:?}").into());
    }
    Ok(())
}
