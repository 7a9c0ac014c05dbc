//! include/unixipc.h: it agrees with the code, compiles in every language revision and beside
//! every other header, refuses unsupported systems, and takes only names with its own prefixes.

use common::stage;
use common::{assert_golden, root, run, text, trial_with_tools};
use libtest_mimic::{Arguments, Failed, Trial};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use tempfile::TempDir;

/// A C and a C++ compiler.
const COMPILERS: [(&str, &str); 2] = [("gcc", "g++"), ("clang", "clang++")];
/// Each revision of the languages under the names that compilers know it by.
const C_STANDARDS: [&[&str]; 8] = [
    &["c99"],
    &["gnu99"],
    &["c11"],
    &["gnu11"],
    &["c17"],
    &["gnu17"],
    &["c23", "c2x"],
    &["gnu23", "gnu2x"],
];
const CXX_STANDARDS: [&[&str]; 10] = [
    &["c++11"],
    &["gnu++11"],
    &["c++14"],
    &["gnu++14"],
    &["c++17"],
    &["gnu++17"],
    &["c++20"],
    &["gnu++20"],
    &["c++23", "c++2b"],
    &["gnu++23", "gnu++2b"],
];
/// What a program may ask the system's headers for.
const FEATURES: [&str; 4] = [
    "",
    "-D_POSIX_C_SOURCE=200809L",
    "-D_XOPEN_SOURCE=700",
    "-D_GNU_SOURCE",
];
const WARNINGS: [&str; 9] = [
    "-Wall",
    "-Wextra",
    "-Wpedantic",
    "-Wconversion",
    "-Wshadow",
    "-Wundef",
    "-Wredundant-decls",
    "-Wmissing-declarations",
    "-Werror",
];
/// Headers that a program may include before or after.
const NEIGHBOURS: [&str; 21] = [
    "errno.h",
    "fcntl.h",
    "linux/futex.h",
    "mqueue.h",
    "poll.h",
    "pthread.h",
    "semaphore.h",
    "signal.h",
    "stddef.h",
    "stdint.h",
    "stdio.h",
    "sys/ipc.h",
    "sys/mman.h",
    "sys/sem.h",
    "sys/shm.h",
    "sys/socket.h",
    "sys/stat.h",
    "sys/types.h",
    "sys/un.h",
    "time.h",
    "unistd.h",
];
/// A use of every function; it is compiled and not run.
const USE: &str = "\
extern int use(void);
static int init(void *addr, size_t size, void *arg)
{
    return addr == arg && size > 1;
}
int use(void)
{
    union { int val; struct semid_ds *buf; unsigned short *array; } arg;
    int (*pointer)(int, int, int, ...) = ipc_semctl;
    const char *version = ipc_version();
    const struct timespec *limit = 0;
    struct sembuf op = {0, -1, SEM_UNDO};
    struct shmid_ds ds;
    struct ipc_cred cred;
    struct ipc_spawn_fd passed = {2, 2};
    struct ipc_spawn_opts opts;
    struct ipc_shm_opts shm_opts;
    struct ipc_shm *region;
    struct ipc_mutex mutex;
    struct ipc_rwlock rwlock;
    struct ipc_cond cond;
    struct ipc_event event;
    struct ipc_channel_opts channel_opts;
    struct ipc_channel_stats stats;
    struct ipc_channel *ch[2];
    const void *message = 0;
    char name[] = \"sort\", buffer[IPC_FIFO_RECORD_MAX];
    char *const argv[] = {name, 0};
    struct ipc_cell *cell = 0;
    uint64_t seen = 0;
    size_t done = 0, nfds = IPC_MSG_FDS_MAX;
    int sv[2], fds[IPC_MSG_FDS_MAX];
    unsigned fifo_flags = IPC_FIFO_F_READ | IPC_FIFO_F_PERSIST | IPC_FIFO_F_PACKET;
    key_t key = ipc_ftok(\"/\", 1);
    int shm = ipc_shmget(key, sizeof(int), IPC_CREAT | IPC_EXCL | 0600);
    int sem = ipc_semget(IPC_PRIVATE, 1, 0600);
    void *memory = ipc_shmat(shm, 0, SHM_RDONLY);
    opts.fds = &passed;
    opts.nfds = 1;
    opts.flags = IPC_SPAWN_F_STDERR_NULL;
    arg.val = 1;
    shm_opts.flags = IPC_SHM_F_PUBLISH | IPC_SHM_F_HUGE | IPC_SHM_F_PREFAULT | IPC_SHM_F_LOCK;
    shm_opts.flags |= IPC_SHM_F_TRANSIENT | IPC_SHM_F_REPLACE_STALE;
    shm_opts.mode = 0600;
    shm_opts.timeout_ms = (int)(shm_opts.layout = shm_opts.reserved = 0);
    channel_opts.flags =
        IPC_CHANNEL_F_PREFAULT | IPC_CHANNEL_F_LOCK | IPC_CHANNEL_F_NO_SPIN;
    channel_opts.spin_us = 0;
    channel_opts.send_size = channel_opts.recv_size = channel_opts.recv_size_max = 0;
    channel_opts.message_max = 1;
    return version[0] == '0' &&
           ipc_socketpair(AF_UNIX, SOCK_SEQPACKET, 0, sv) == 0 &&
           ipc_mkfifo(\"fifo\", S_IRUSR | S_IWUSR) == 0 &&
           ipc_shmctl(shm, IPC_STAT, &ds) == 0 &&
           ipc_shmdt(memory) == 0 &&
           ipc_semctl(sem, 0, SETVAL, arg) == 0 &&
           pointer(sem, 0, GETVAL) == 1 &&
           ipc_semop(sem, &op, 1) == 0 &&
           ipc_semtimedop(sem, &op, 1, limit) == 0 &&
           ipc_pair_open(SOCK_STREAM | SOCK_NONBLOCK, sv) == 0 &&
           ipc_send_full(sv[0], buffer, 1, &done, IPC_WAIT_INTR) == 1 &&
           ipc_recv_full(sv[1], buffer, 1, 0, -1) == 1 &&
           ipc_msg_send(sv[0], buffer, IPC_MSG_MAX, fds, 0, 0) == 0 &&
           ipc_msg_recv(sv[1], buffer, sizeof buffer, fds, &nfds, 1) >= 0 &&
           ipc_peer_cred(sv[0], &cred, sizeof cred) == 0 &&
           ipc_spawn(name, argv, &opts, sizeof opts, sv) == cred.pid &&
           ipc_fifo_create(name, 0600, IPC_FIFO_F_EXIST_OK) == 0 &&
           ipc_fifo_open(name, fifo_flags, 0) >= 0 &&
           ipc_fifo_send(sv[0], buffer, sizeof buffer, 0) == 0 &&
           ipc_fifo_recv(sv[1], buffer, sizeof buffer, 0) > 0 &&
           ipc_fifo_recv_any(sv[1], buffer, sizeof buffer, NULL, 0) > 0 &&
           ipc_fifo_unlink(name) == 0 &&
           (sem = ipc_semlock_open(key, IPC_CREAT | 0600)) >= 0 &&
           ipc_semlock_rdlock(sem, -1) == 0 &&
           ipc_semlock_rdunlock(sem) == 0 &&
           ipc_semlock_wrlock(sem, IPC_WAIT_INTR) == IPC_OWNER_DIED &&
           ipc_semlock_consistent(sem) == 0 &&
           ipc_semlock_wrunlock(sem) == 0 &&
           ipc_semlock_remove(sem) == 0 &&
           ipc_shm_create(1, &shm_opts, sizeof shm_opts, &region) == 0 &&
           ipc_shm_publish(region, name) == 0 &&
           ipc_shm_open(name, IPC_SHM_F_RDONLY, &region) == 0 &&
           ipc_shm_open_or_create(name, 1, init, 0, 0, 0, &region) == 0 &&
           ipc_shm_from_fd(ipc_shm_fd(region), IPC_SHM_F_TRUST, &region) == 0 &&
           ipc_shm_attach(key, ipc_shm_size(region), IPC_CREAT | 0600, &region) == 0 &&
           ipc_shm_addr(region) != memory &&
           ipc_shm_is_current(region) == (ipc_shm_layout(region) == seen) &&
           ipc_shm_unlink(name) == 0 &&
           (ipc_shm_close(region), 1) &&
           ipc_mutex_init(&mutex, 0) == 0 &&
           ipc_mutex_lock(&mutex, -1) == IPC_OWNER_DIED &&
           ipc_mutex_consistent(&mutex) == 0 &&
           ipc_mutex_owner(&mutex) > 0 &&
           ipc_event_init(&event, IPC_EVENT_F_AUTO_RESET | IPC_EVENT_F_SET) == 0 &&
           ipc_event_set(&event) == 0 &&
           ipc_event_wait(&event, 0) == 0 &&
           ipc_event_clear(&event) == 0 &&
           ipc_event_is_set(&event) == 0 &&
           ipc_cond_init(&cond, 0) == 0 &&
           ipc_cond_signal(&cond) == 0 &&
           ipc_cond_broadcast(&cond) == 0 &&
           ipc_cond_wait(&cond, &mutex, 0) < 0 &&
           ipc_mutex_unlock(&mutex) == 0 &&
           ipc_rwlock_init(&rwlock, 0) == 0 &&
           ipc_rwlock_rdlock(&rwlock, IPC_RWLOCK_READERS_MAX) == 0 &&
           ipc_rwlock_rdunlock(&rwlock) == 0 &&
           ipc_rwlock_wrlock(&rwlock, 0) == 0 &&
           ipc_rwlock_consistent(&rwlock) == 0 &&
           ipc_rwlock_wrunlock(&rwlock) == 0 &&
           ipc_channel_pair(&channel_opts, sizeof channel_opts, ch) == 0 &&
           ipc_channel_from_fd(sv[0], 0, 0, -1, ch) == 0 &&
           ipc_channel_listen(name, 0600, 0) >= 0 &&
           ipc_channel_accept(sv[0], 0, 0, 0, ch) == 0 &&
           ipc_channel_connect(name, 0, 0, IPC_WAIT_INTR, &ch[1]) == 0 &&
           ipc_channel_send(ch[0], buffer, ipc_channel_max(ch[0]), -1) == 0 &&
           ipc_channel_recv(ch[1], buffer, sizeof buffer, -1) > 0 &&
           ipc_channel_reserve(ch[0], 1, -1) != 0 &&
           ipc_channel_commit(ch[0], 1) == 0 &&
           ipc_channel_cancel(ch[0]) < 0 &&
           ipc_channel_peek(ch[1], &message, -1) == 1 &&
           ipc_channel_release(ch[1]) == 0 &&
           ipc_channel_shutdown(ch[1], SHUT_RDWR) == 0 &&
           ipc_channel_fd(ch[1]) >= 0 &&
           ipc_channel_peer_cred(ch[0], &cred, sizeof cred) == 0 &&
           ipc_channel_stats(ch[0], &stats, sizeof stats) == 0 &&
           stats.sent_messages + stats.wakes > 0 &&
           (ipc_channel_close(ch[0]), 1) &&
           ipc_cell_init(memory, ipc_cell_memory_size(8), 8, IPC_CELL_F_WAITABLE | IPC_CELL_F_WAITABLE_RDONLY, &cell) == 0 &&
           ipc_cell_open(memory, 4096, IPC_CELL_F_RDONLY, &cell) == 0 &&
           ipc_cell_store(cell, buffer, ipc_cell_value_size(cell), -1) == 0 &&
           ipc_cell_load(cell, buffer, sizeof buffer, &seen) == 8 &&
           ipc_cell_wait(cell, seen, 0) == 0 &&
           (ipc_cell_close(cell), 1) &&
           UNIXIPC_VERSION_NUMBER == 10000 * UNIXIPC_VERSION_MAJOR +
               100 * UNIXIPC_VERSION_MINOR + UNIXIPC_VERSION_PATCH &&
           sizeof UNIXIPC_VERSION > 5;
}
";

fn main() -> ExitCode {
    let mut trials = vec![
        Trial::test("golden: unixipc.h is what the code gives", drift),
        Trial::test("every function is compiled here", all_used),
    ];
    for (c, cxx) in COMPILERS {
        for feature in FEATURES {
            trials.extend(C_STANDARDS.map(|names| compiles(c, names, feature)));
            trials.extend(CXX_STANDARDS.map(|names| compiles(cxx, names, feature)));
        }
        trials.push(trial_with_tools(
            format!("takes its own names only, {c}"),
            &[c],
            move || own_names(c),
        ));
        trials.push(trial_with_tools(
            format!("negative constants are in parentheses, {c}"),
            &[c],
            move || negative_constants(c),
        ));
    }
    trials.extend(refusals());
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

fn include() -> PathBuf {
    root().join("include")
}

fn header() -> PathBuf {
    include().join("unixipc.h")
}

fn drift() -> Result<(), Failed> {
    let config = cbindgen::Config::from_file(root().join("cbindgen.toml"))?;
    let bindings = cbindgen::Builder::new()
        .with_crate(root())
        .with_config(config)
        .generate()
        .map_err(|error| error.to_string())?;
    let mut made = Vec::new();
    bindings.write(&mut made);
    let made = parenthesize_negatives(&String::from_utf8(made)?);
    assert_golden(&header(), &made)
}

/// Puts the values of macros that are negative numbers in parentheses, which cbindgen does not.
fn parenthesize_negatives(header: &str) -> String {
    let line = |line: &str| match line.splitn(3, ' ').collect::<Vec<_>>()[..] {
        ["#define", name, value] if value.starts_with('-') => format!("#define {name} ({value})\n"),
        _ => format!("{line}\n"),
    };
    header.lines().map(line).collect()
}

/// So that a new function cannot be forgotten in USE.
fn all_used() -> Result<(), Failed> {
    let functions = stage::header_functions()?;
    match functions
        .iter()
        .find(|name| !USE.contains(&format!("{name}(")))
    {
        Some(name) => Err(format!("{name} is not in USE").into()),
        None => Ok(()),
    }
}

/// The header in one revision of a language: alone, twice, before and after all its
/// neighbours; in the oldest and the newest one before and after each of them too.
fn compiles(
    compiler: &'static str,
    names: &'static [&'static str],
    feature: &'static str,
) -> Trial {
    let name = format!("compiles: {compiler} {} {feature}", names[0]);
    trial_with_tools(name.trim_end(), &[compiler], move || {
        let folder = TempDir::new()?;
        let standard = standard(compiler, names)?;
        let is_cxx = compiler.ends_with("++");
        let extension = if is_cxx { "cpp" } else { "c" };
        let ends = ["c99", "c23", "c++11", "c++23"];
        let each = feature.is_empty() && ends.contains(&names[0]);
        let sources = translation_units(folder.path(), extension, each)?;
        let mut command = Command::new(compiler);
        command
            .current_dir(&folder)
            .args([&standard, "-fsyntax-only", "-I"])
            .arg(include())
            .args(WARNINGS)
            .args(sources);
        if !is_cxx {
            command.args(["-Wstrict-prototypes", "-Wmissing-prototypes"]);
        }
        if !feature.is_empty() {
            // g++ and clang++ define _GNU_SOURCE by themselves.
            command.args(["-U_GNU_SOURCE", feature]);
        }
        run(&mut command).map(drop)
    })
}

/// The name by which the compiler knows this revision of the language.
fn standard(compiler: &str, names: &[&str]) -> Result<String, Failed> {
    for name in names {
        let flag = format!("-std={name}");
        let language = if compiler.ends_with("++") { "c++" } else { "c" };
        let output = Command::new(compiler)
            .args([&flag, "-x", language, "-E", "/dev/null"])
            .output()?;
        if output.status.success() {
            return Ok(flag);
        }
    }
    Err(format!("{compiler} knows none of {names:?}").into())
}

/// Writes them, and returns the names of the files.
fn translation_units(folder: &Path, extension: &str, each: bool) -> Result<Vec<String>, Failed> {
    let ours = "#include <unixipc.h>\n";
    let mut units = vec![ours.to_string(), ours.repeat(2)];
    let mut all = String::new();
    for neighbour in NEIGHBOURS {
        let line = format!("#include <{neighbour}>\n");
        if each {
            units.extend([format!("{line}{ours}"), format!("{ours}{line}")]);
        }
        all += &line;
    }
    units.extend([format!("{all}{ours}"), format!("{ours}{all}")]);
    let mut names = Vec::new();
    for (i, unit) in units.iter().enumerate() {
        let name = format!("{i}.{extension}");
        fs::write(folder.join(&name), format!("{unit}{USE}"))?;
        names.push(name);
    }
    Ok(names)
}

/// Systems that the library does not support meet the header's own #error.
fn refusals() -> Vec<Trial> {
    const ERROR: &str = "unixipc supports Linux on 64-bit (LP64) systems only";
    let tricks: [(&str, &str, bool); 9] = [
        ("gcc", "", false),
        ("gcc", "-m32", true),
        ("gcc", "-mx32", true),
        ("gcc", "-U__LP64__", true),
        ("gcc", "-U__linux__", true),
        ("clang", "", false),
        ("clang", "--target=i686-linux-gnu", true),
        ("clang", "--target=x86_64-apple-darwin", true),
        ("clang", "--target=x86_64-w64-windows-gnu", true),
    ];
    let trial = |(compiler, trick, refused): (&'static str, &'static str, bool)| {
        let word = if refused { "refuses" } else { "accepts" };
        trial_with_tools(
            format!("{word} {compiler} {trick}").trim_end(),
            &[compiler],
            move || {
                let mut command = Command::new(compiler);
                // An unsupported target of the compiler's is no refusal of the header's.
                command
                    .args(trick.split_whitespace())
                    .arg("-E")
                    .arg(header());
                let output = command.output()?;
                let said = String::from_utf8_lossy(&output.stderr).contains(ERROR);
                if said == refused && output.status.success() != refused {
                    Ok(())
                } else {
                    Err(format!("{}\n{}", output.status, text(&output)).into())
                }
            },
        )
    };
    tricks.into_iter().map(trial).collect()
}

/// Macros, types and functions of the header have its prefixes; no type ends in _t;
/// and the system's headers have none of its IPC_ macros.
fn own_names(compiler: &str) -> Result<(), Failed> {
    let own = own_text(compiler)?;
    let macros: BTreeSet<&str> = own.lines().filter_map(macro_name).collect();
    if !macros.contains("UNIXIPC_VERSION") {
        return Err(format!("the header's macros were not found: {macros:?}").into());
    }
    let mut wrong = Vec::new();
    for name in &macros {
        let prefixed = name.starts_with("UNIXIPC_") || name.starts_with("IPC_");
        if !prefixed || name.ends_with("_t") {
            wrong.push(*name);
        }
    }
    let theirs = system_macros(compiler)?;
    if !theirs.contains("IPC_CREAT") {
        return Err("the system's macros were not found".into());
    }
    wrong.extend(macros.iter().filter(|name| theirs.contains(**name)));

    let code: String = own
        .lines()
        .filter(|line| !line.starts_with('#'))
        .flat_map(|line| [line, "\n"])
        .collect();
    let declared = declared_names(&code);
    if !declared.contains("ipc_version") {
        return Err(format!("the header's functions were not found: {declared:?}").into());
    }
    for name in &declared {
        let prefixed = name.starts_with("ipc_") || name.starts_with("IPC_");
        // C99 has a prototype's scope only for a struct that is declared in it first.
        let forward = name == "timespec";
        if !(prefixed || forward) || name.ends_with("_t") {
            wrong.push(name);
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(format!("not the header's to take: {wrong:?}").into())
    }
}

/// A negative constant is an operand like any other, and a missing operator before it is an error:
/// without parentheses, `n IPC_WAIT_INTR` would subtract 2.
fn negative_constants(compiler: &str) -> Result<(), Failed> {
    for line in own_text(compiler)?.lines() {
        if line.starts_with("#define ") && line.contains(" -") {
            return Err(format!("without parentheses: {line}").into());
        }
    }
    compile_expressions(
        compiler,
        &[
            "n - IPC_WAIT_INTR == n + 2",
            "n -IPC_WAIT_INTR == n + 2",
            "-IPC_WAIT_INTR == 2",
            "2*IPC_WAIT_INTR == -4",
            "IPC_WAIT_INTR == -2 && IPC_WAIT_INTR < -1",
        ],
    )?;
    for mistake in ["n IPC_WAIT_INTR", "\"ab\" IPC_WAIT_INTR != 0"] {
        if compile_expressions(compiler, &[mistake]).is_ok() {
            return Err(format!("{mistake:?} was compiled").into());
        }
    }
    Ok(())
}

/// Compiles and runs a program: `Err` unless each expression in `n` compiles and is true.
fn compile_expressions(compiler: &str, expressions: &[&str]) -> Result<(), Failed> {
    let folder = TempDir::new()?;
    let (source, program) = (folder.path().join("n.c"), folder.path().join("n"));
    let all = expressions.join(") && (");
    fs::write(
        &source,
        format!(
            "#include <unixipc.h>\n#if IPC_WAIT_INTR != -2\n#error \"another value\"\n#endif\n\
             int main(int n, char **words) {{ return words && ({all}) ? 0 : 1; }}\n"
        ),
    )?;
    run(Command::new(compiler)
        .arg("-I")
        .arg(include())
        .arg("-o")
        .args([&program, &source]))?;
    run(&mut Command::new(program)).map(drop)
}

/// The header itself after preprocessing, with its #define lines.
fn own_text(compiler: &str) -> Result<String, Failed> {
    let output = run(Command::new(compiler).args(["-E", "-dD"]).arg(header()))?;
    let mut own = String::new();
    let mut inside = false;
    for line in String::from_utf8(output.stdout)?.lines() {
        // `# 1 "file" 2`: what follows comes from this file.
        if let Some(marker) = line.strip_prefix("# ") {
            inside = marker.contains("/unixipc.h\"");
        } else if inside {
            own += line;
            own.push('\n');
        }
    }
    Ok(own)
}

fn macro_name(line: &str) -> Option<&str> {
    line.strip_prefix("#define ")?.split([' ', '(']).next()
}

/// The macros of the system's headers, with all that they have.
fn system_macros(compiler: &str) -> Result<BTreeSet<String>, Failed> {
    let folder = TempDir::new()?;
    let source = folder.path().join("system.c");
    fs::write(
        &source,
        "#include <sys/ipc.h>\n#include <sys/shm.h>\n#include <sys/sem.h>\n",
    )?;
    let output = run(Command::new(compiler)
        .args(["-D_GNU_SOURCE", "-E", "-dM"])
        .arg(source))?;
    let text = String::from_utf8(output.stdout)?;
    Ok(text
        .lines()
        .filter_map(macro_name)
        .map(String::from)
        .collect())
}

/// The names that C code takes at file scope: of functions, types, tags and enumerators.
/// Parameters and members do not count.
fn declared_names(code: &str) -> BTreeSet<String> {
    let tokens = tokens(code);
    let is_keyword = |token: &str| matches!(token, "struct" | "union" | "enum");
    let is_name = |token: &str| token.starts_with(|c: char| c.is_alphabetic() || c == '_');
    let mut names = BTreeSet::new();
    let mut parens = 0;
    let mut braces: Vec<&str> = Vec::new();
    let mut in_typedef = false;
    for (i, token) in tokens.iter().copied().enumerate() {
        let before = |n: usize| i.checked_sub(n).map_or("", |at| tokens[at]);
        let after = tokens.get(i + 1).copied().unwrap_or("");
        match token {
            "(" => parens += 1,
            ")" => parens -= 1,
            "{" if is_keyword(before(1)) => braces.push(before(1)),
            "{" => braces.push(before(2)),
            "}" => drop(braces.pop()),
            ";" if braces.is_empty() => in_typedef = false,
            "typedef" => in_typedef = true,
            name if is_name(name) => {
                let is_tag = is_keyword(before(1));
                let at_top = braces.is_empty() && parens == 0;
                let is_enumerator = braces.last() == Some(&"enum");
                let is_pointer = braces.is_empty() && before(1) == "*" && before(2) == "(";
                if is_tag && matches!(after, "{" | ";")
                    || is_enumerator && matches!(after, "," | "=" | "}")
                    || at_top && !is_tag && matches!(after, "(" | "[" | "=" | ";")
                    || in_typedef && is_pointer
                {
                    names.insert(name.to_string());
                }
            }
            _ => {}
        }
    }
    names
}

/// Names and single characters.
fn tokens(code: &str) -> Vec<&str> {
    let mut tokens = Vec::new();
    let mut rest = code.trim_start();
    while let Some(first) = rest.chars().next() {
        let is_word = |c: char| c.is_alphanumeric() || c == '_';
        let length = match rest.find(|c| !is_word(c)) {
            Some(0) => first.len_utf8(),
            Some(end) => end,
            None => rest.len(),
        };
        tokens.push(&rest[..length]);
        rest = rest[length..].trim_start();
    }
    tokens
}
