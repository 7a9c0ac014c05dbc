//! include/unixipc.h: it agrees with the code, compiles in every language revision and together
//! with other headers, refuses unsupported systems, and declares only names with its own prefixes.

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
/// The revisions of the languages, with the names by which compilers know them.
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
/// Feature test macros that a program may define.
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
/// Headers that a program may include before or after this one.
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
/// A use of every function, which is compiled but not run.
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
    char name[] = \"sort\", buffer[IPC_FIFO_RECORD_MAX];
    struct sembuf op = {0, -1, SEM_UNDO};
    struct shmid_ds ds;
    struct ipc_cred cred;
    struct ipc_spawn_fd passed = {2, 2};
    struct ipc_spawn_limit spawn_limit = {0, 1, 2};
    struct ipc_spawn_user user = {1, 1, 0, 0};
    struct ipc_spawn_opts opts;
    struct ipc_shm_opts shm_opts;
    struct ipc_shm *region;
    struct ipc_mutex mutex;
    struct ipc_rwlock rwlock;
    struct ipc_cond cond;
    struct ipc_event event;
    struct ipc_channel_opts channel_opts;
    struct iovec part = {name, 1};
    struct ipc_channel_stats stats;
    struct ipc_channel *ch[2];
    struct ipc_feed_opts feed_opts;
    struct ipc_sub_opts sub_opts;
    struct ipc_feed_subscriber subscriber;
    struct ipc_feed_info feed_info;
    struct ipc_sub_info sub_info;
    struct ipc_feed *feed = 0;
    struct ipc_sub *sub = 0;
    const void *message = 0;
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
    opts.flags = IPC_SPAWN_F_STDERR_NULL | IPC_SPAWN_F_NO_NEW_PRIVS | IPC_SPAWN_F_PIPES;
    opts.limits = &spawn_limit;
    opts.nlimits = 1;
    opts.user = &user;
    opts.ret_pidfd = opts.ret_out_fd = &sv[1];
    opts.pdeathsig = 9;
    arg.val = 1;
    shm_opts.flags = IPC_SHM_F_PUBLISH | IPC_SHM_F_HUGE | IPC_SHM_F_PREFAULT | IPC_SHM_F_LOCK;
    shm_opts.flags |= IPC_SHM_F_TRANSIENT | IPC_SHM_F_REPLACE_STALE;
    shm_opts.mode = 0600;
    shm_opts.timeout_ms = (int)(shm_opts.layout = shm_opts.reserved = 0);
    channel_opts.flags =
        IPC_CHANNEL_F_PREFAULT | IPC_CHANNEL_F_LOCK | IPC_CHANNEL_F_NO_SPIN | IPC_CHANNEL_F_FDS;
    channel_opts.spin_us = 0;
    channel_opts.send_size = channel_opts.recv_size = channel_opts.recv_size_max = 0;
    channel_opts.message_max = 1;
    channel_opts.message_align = channel_opts.reserved = 0;
    feed_opts.flags = IPC_FEED_F_PREFAULT | IPC_FEED_F_LOCK | IPC_FEED_F_NO_SPIN;
    feed_opts.spin_us = feed_opts.message_align = feed_opts.subscribers_max = 0;
    feed_opts.size = feed_opts.message_max = 0;
    feed_opts.stall_ms = (int)(feed_opts.lossy_only = 1);
    sub_opts.flags = IPC_SUB_F_LOSSY | IPC_SUB_F_OLDEST | IPC_SUB_F_FROM_SEQ | IPC_SUB_F_NO_SPIN |
                     IPC_SUB_F_WAIT;
    sub_opts.spin_us = 0;
    sub_opts.seq = sub_opts.size_max = 0;
    sub_opts.name = name;
    sub_opts.feed_id[IPC_FEED_ID_SIZE - 1] = 0;
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
           ipc_msg_sendv(sv[0], &part, 1, fds, 0, 0) == 1 &&
           ipc_msg_recv(sv[1], buffer, sizeof buffer, fds, &nfds, 1) >= 0 &&
           ipc_peer_cred(sv[0], &cred, sizeof cred) == 0 &&
           ipc_peer_pidfd(sv[0]) >= 0 &&
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
           ipc_channel_sendv(ch[0], &part, 1, -1) == 1 &&
           ipc_channel_send_many(ch[0], &part, 1, -1) == 1 &&
           ipc_channel_recv(ch[1], buffer, sizeof buffer, -1) > 0 &&
           ipc_channel_recv_many(ch[1], &part, 1, -1) == 1 &&
           ipc_channel_send_fds(ch[0], buffer, 1, fds, 1, -1) == 0 &&
           ipc_channel_recv_fds(ch[1], buffer, sizeof buffer, fds, &nfds, -1) > 0 &&
           ipc_channel_call(ch[0], name, sizeof name, buffer, sizeof buffer, -1) == 0 &&
           ipc_channel_next_call(ch[1], buffer, sizeof buffer, &seen, 0) > 0 &&
           ipc_channel_reply(ch[1], seen, buffer, sizeof buffer - IPC_CHANNEL_CALL_OVERHEAD, 0) == 0 &&
           ipc_channel_reserve(ch[0], 1, -1) != 0 &&
           ipc_channel_commit(ch[0], 1) == 0 &&
           ipc_channel_cancel(ch[0]) < 0 &&
           ipc_channel_peek(ch[1], &message, -1) == 1 &&
           ipc_channel_release(ch[1]) == 0 &&
           ipc_channel_shutdown(ch[1], SHUT_RDWR) == 0 &&
           ipc_channel_fd(ch[1]) >= 0 &&
           ipc_channel_peer_cred(ch[0], &cred, sizeof cred) == 0 &&
           ipc_channel_peer_pidfd(ch[0]) >= 0 &&
           ipc_channel_stats(ch[0], &stats, sizeof stats) == 0 &&
           stats.sent_messages + stats.wakes > 0 &&
           (ipc_channel_close(ch[0]), 1) &&
           ipc_feed_create(&feed_opts, sizeof feed_opts, &feed) == 0 &&
           ipc_feed_listen(feed, name, 0600, 0) == 0 &&
           ipc_feed_add(feed, sv[0]) == 0 &&
           ipc_sub_connect(name, &sub_opts, sizeof sub_opts, 0, &sub) == 0 &&
           ipc_sub_from_fd(sv[0], 0, 0, -1, &sub) == 0 &&
           ipc_feed_publish(feed, buffer, 1, -1) == 0 &&
           ipc_feed_reserve(feed, 1, -1) != 0 &&
           ipc_feed_commit(feed, 1) == 0 &&
           ipc_feed_cancel(feed) < 0 &&
           ipc_feed_service(feed) == 0 &&
           ipc_feed_fd(feed) >= 0 &&
           ipc_feed_info(feed, &feed_info, sizeof feed_info) == 0 &&
           ipc_feed_subscribers(feed, &subscriber, 1, sizeof subscriber) == 1 &&
           subscriber.name[IPC_SUB_NAME_SIZE - 1] == 0 &&
           (subscriber.state & (IPC_SUB_S_LOSSY | IPC_SUB_S_STALLED | IPC_SUB_S_ASLEEP | IPC_SUB_S_HOLDS)) == 0 &&
           ipc_sub_recv(sub, buffer, sizeof buffer, &seen, -1) == 1 &&
           ipc_sub_peek(sub, &message, 0, -1) == 1 &&
           ipc_sub_release(sub) == 0 &&
           ipc_sub_fd(sub) >= 0 &&
           ipc_sub_info(sub, &sub_info, sizeof sub_info) == 0 &&
           (ipc_sub_close(sub), 1) &&
           (ipc_feed_close(feed), 1) &&
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
        Trial::test("golden: unixipc.h agrees with the code", drift),
        Trial::test("every function is compiled here", all_used),
    ];
    for (c, cxx) in COMPILERS {
        for feature in FEATURES {
            trials.extend(C_STANDARDS.map(|names| compiles(c, names, feature)));
            trials.extend(CXX_STANDARDS.map(|names| compiles(cxx, names, feature)));
        }
        trials.push(trial_with_tools(
            format!("declares only its own names, {c}"),
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

/// A piece of the header.
enum Section {
    /// The beginning of a layer: its title.
    Layer(&'static str),
    /// Types, constants and functions that belong together: their title, and the source files in
    /// which they are defined.
    Part(&'static str, &'static [&'static str]),
}
use Section::{Layer, Part};

const SECTIONS: [Section; 31] = [
    Part("Version", &["src/ffi/version.rs"]),
    Part(
        "Time-outs, and return values of locks",
        &["src/ffi/timeout.rs", "src/ffi/lock.rs"],
    ),
    Layer("Layer 1: the system's own calls, unchanged"),
    Part("Socket pairs, FIFOs and keys", &["src/ffi/calls/files.rs"]),
    Part("System V shared memory", &["src/ffi/calls/shm.rs"]),
    Part("System V semaphores", &["src/ffi/calls/sem.rs"]),
    Layer("Layer 2: sockets, child processes, FIFOs and System V semaphores, made safe"),
    Part("Socket pairs", &["src/pair.rs", "src/ffi/pair.rs"]),
    Part("Messages over sockets", &["src/ffi/message.rs"]),
    Part(
        "Child processes",
        &[
            "src/spawn/descriptors.rs",
            "src/spawn/child.rs",
            "src/ffi/spawn.rs",
        ],
    ),
    Part("FIFOs", &["src/ffi/fifo.rs"]),
    Part(
        "Reader-writer lock in a System V semaphore set",
        &["src/ffi/semlock.rs"],
    ),
    Layer("Layer 3: shared memory, and objects in it"),
    Part(
        "Regions",
        &["src/ffi/shm.rs", "src/ffi/shm_open_or_create.rs"],
    ),
    Part("Mutex", &["src/ffi/mutex.rs"]),
    Part("Reader-writer lock", &["src/ffi/rwlock.rs"]),
    Part("Condition", &["src/ffi/cond.rs"]),
    Part("Event", &["src/ffi/event.rs"]),
    Part("Cell", &["src/ffi/cell.rs"]),
    Layer("Layer 4: channels and feeds"),
    Part(
        "Channels: options and opening",
        &["src/ffi/channel/options.rs", "src/ffi/channel/open.rs"],
    ),
    Part("Channels: sending", &["src/ffi/channel/send.rs"]),
    Part("Channels: receiving", &["src/ffi/channel/recv.rs"]),
    Part("Channels: descriptors", &["src/ffi/channel/descriptors.rs"]),
    Part("Channels: calls", &["src/ffi/channel/call.rs"]),
    Part(
        "Readiness, state and closing",
        &["src/ffi/channel/state.rs"],
    ),
    Part(
        "Feeds: options and opening",
        &["src/ffi/feed/options.rs", "src/ffi/feed/open.rs"],
    ),
    Part("Feeds: publishing", &["src/ffi/feed/publish.rs"]),
    Part("Feeds: subscribers and state", &["src/ffi/feed/state.rs"]),
    Part(
        "Feeds: subscribing",
        &["src/ffi/feed/sub_options.rs", "src/ffi/feed/subscribe.rs"],
    ),
    Part("Feeds: receiving", &["src/ffi/feed/receive.rs"]),
];

/// The longest line of the header.
const LINE_MAX: usize = 100;

fn drift() -> Result<(), Failed> {
    let made = generate()?;
    if let Some(line) = made.lines().find(|line| line.len() > LINE_MAX) {
        return Err(format!("longer than {LINE_MAX} bytes: {line}").into());
    }
    assert_golden(&header(), &made)
}

/// Generates the header from the source.
fn generate() -> Result<String, Failed> {
    let mut config = cbindgen::Config::from_file(root().join("cbindgen.toml"))?;
    let header = config.header.take().unwrap_or_default();
    let trailer = config.trailer.take().unwrap_or_default();
    let mut made = header.trim_start().to_string();
    for section in SECTIONS {
        match section {
            Layer(title) => {
                let rule = "=".repeat(LINE_MAX - 6);
                made += &format!("\n\n/* {rule}\n * {title}\n * {rule} */\n");
            }
            Part(title, sources) => {
                let rule = "-".repeat(LINE_MAX - 7 - title.len());
                made += &format!("\n/* {title} {rule} */\n\n");
                if title == "Version" {
                    made += &version();
                }
                made += &part(&mut config, sources)?;
            }
        }
    }
    Ok(made + "\n" + trailer.trim_start())
}

/// The declarations of a part. `config` learns the structures that it defines, so that later parts
/// can refer to them.
fn part(config: &mut cbindgen::Config, sources: &[&str]) -> Result<String, Failed> {
    let mut builder = cbindgen::Builder::new().with_config(config.clone());
    for source in sources {
        builder = builder.with_src(root().join(source));
    }
    let bindings = builder.generate().map_err(|error| error.to_string())?;
    let mut made = Vec::new();
    bindings.write(&mut made);
    let made = edit(String::from_utf8(made)?.trim());
    for name in made.lines().filter_map(defined_structure) {
        let reference = format!("struct {name}");
        let rename = &mut config.export.rename;
        rename
            .values_mut()
            .filter(|c_name| *c_name == name)
            .for_each(|c_name| c_name.clone_from(&reference));
        rename.insert(name.to_string(), reference);
    }
    Ok(made)
}

/// The name of the structure whose definition begins with this line.
fn defined_structure(line: &str) -> Option<&str> {
    let line = line.strip_prefix("struct ")?.strip_suffix(" {")?;
    line.rsplit(' ').next()
}

/// Makes the changes for which cbindgen has no option: no `extern` before a function, parentheses
/// around a negative number, and a line of its own for the value of a long macro.
fn edit(declarations: &str) -> String {
    const EXTERN: &str = "extern ";
    let mut made = String::new();
    let mut is_extern = false;
    for line in declarations.lines() {
        let rest = line.strip_prefix(EXTERN);
        is_extern |= rest.is_some();
        // The parameters are aligned to the parenthesis, which moves.
        let aligned = line.strip_prefix(&" ".repeat(EXTERN.len()));
        let line = match rest.or(aligned) {
            Some(rest) if is_extern => rest,
            _ => line,
        };
        is_extern &= !line.ends_with(';');
        made += &match line.splitn(3, ' ').collect::<Vec<_>>()[..] {
            ["#define", name, value] if value.starts_with('-') => {
                format!("#define {name} ({value})\n")
            }
            ["#define", name, value] if line.len() > LINE_MAX => {
                format!("#define {name} \\\n    {value}\n")
            }
            _ => format!("{line}\n"),
        };
    }
    made
}

/// The version as text: cbindgen has no strings.
fn version() -> String {
    let version = env!("CARGO_PKG_VERSION");
    format!(
        "/**\n * The version of this header as text; ipc_version returns that of the library.\n */\n\
         #define UNIXIPC_VERSION \"{version}\"\n\n"
    )
}

/// Fails if USE lacks a function of the header.
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

/// Compiles the header in one revision of a language: alone, twice, and before and after all its
/// neighbours; in the oldest and the newest revision also before and after each of them.
fn compiles(
    compiler: &'static str,
    names: &'static [&'static str],
    feature: &'static str,
) -> Trial {
    let name = format!("compiles: {compiler} {} {feature}", names[0]);
    trial_with_tools(name.trim_end(), &[compiler], move || {
        let directory = TempDir::new()?;
        let standard = standard(compiler, names)?;
        let is_cxx = compiler.ends_with("++");
        let extension = if is_cxx { "cpp" } else { "c" };
        let ends = ["c99", "c23", "c++11", "c++23"];
        let each = feature.is_empty() && ends.contains(&names[0]);
        let sources = translation_units(directory.path(), extension, each)?;
        let mut command = Command::new(compiler);
        command
            .current_dir(&directory)
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

/// Writes the source files, and returns their names.
fn translation_units(directory: &Path, extension: &str, each: bool) -> Result<Vec<String>, Failed> {
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
        fs::write(directory.join(&name), format!("{unit}{USE}"))?;
        names.push(name);
    }
    Ok(names)
}

/// On systems that the library does not support, the header's #error is reported.
fn refusals() -> Vec<Trial> {
    const ERROR: &str = "unixipc supports Linux on 64-bit (LP64) systems only";
    let targets: [(&str, &str, bool); 9] = [
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
    let trial = |(compiler, option, refused): (&'static str, &'static str, bool)| {
        let word = if refused { "refuses" } else { "accepts" };
        trial_with_tools(
            format!("{word} {compiler} {option}").trim_end(),
            &[compiler],
            move || {
                let mut command = Command::new(compiler);
                // The output tells the header's #error from a target that the compiler lacks.
                command
                    .args(option.split_whitespace())
                    .arg("-E")
                    .arg(header());
                let output = command.output()?;
                let reported = String::from_utf8_lossy(&output.stderr).contains(ERROR);
                if reported == refused && output.status.success() != refused {
                    Ok(())
                } else {
                    Err(format!("{}\n{}", output.status, text(&output)).into())
                }
            },
        )
    };
    targets.into_iter().map(trial).collect()
}

/// The macros, types and functions of the header have its prefixes, no name ends in _t, and no
/// header of the system has the same IPC_ macros.
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
    let of_system = system_macros(compiler)?;
    if !of_system.contains("IPC_CREAT") {
        return Err("the system's macros were not found".into());
    }
    wrong.extend(macros.iter().filter(|name| of_system.contains(**name)));

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
        // In C99 a struct that is first declared in a prototype has only the prototype's scope.
        let forward = name == "timespec";
        if !(prefixed || forward) || name.ends_with("_t") {
            wrong.push(name);
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(format!("names that the header must not declare: {wrong:?}").into())
    }
}

/// Negative constants work as operands, and a missing operator before them is an error: without
/// parentheses, `n IPC_WAIT_INTR` would subtract 2.
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
    let directory = TempDir::new()?;
    let (source, program) = (directory.path().join("n.c"), directory.path().join("n"));
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

/// The text of the header itself after preprocessing, with its #define lines.
fn own_text(compiler: &str) -> Result<String, Failed> {
    let output = run(Command::new(compiler).args(["-E", "-dD"]).arg(header()))?;
    let mut own = String::new();
    let mut inside = false;
    for line in String::from_utf8(output.stdout)?.lines() {
        // `# 1 "file" 2`: the following lines are from this file.
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

/// All macros of the system's headers, with every feature enabled.
fn system_macros(compiler: &str) -> Result<BTreeSet<String>, Failed> {
    let directory = TempDir::new()?;
    let source = directory.path().join("system.c");
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

/// The names that C code declares at file scope: functions, types, tags and enumerators, but not
/// parameters and members.
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

/// Splits C code into names and single characters.
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
