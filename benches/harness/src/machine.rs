//! The machine on which the figures were measured, and its other load during the run.

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use nix::sched::{CpuSet, sched_getaffinity};
use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::unistd::{Pid, SysconfVar, sysconf};

use crate::record::Facts;
use crate::run::run;

/// The processors that this process may use.
pub fn processors() -> Vec<usize> {
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap_or_else(|_| CpuSet::new());
    (0..CpuSet::count())
        .filter(|&cpu| allowed.is_set(cpu).unwrap_or(false))
        .collect()
}

fn read(path: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    Some(text.trim().to_owned())
}

/// The value in the first line `name : value`.
fn field<'a>(text: &'a str, name: &str) -> Option<&'a str> {
    text.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.trim() == name)
        .map(|(_, value)| value.trim())
}

/// Describes the machine. The measured processes run on the two given processors.
pub fn describe(cpus: [usize; 2]) -> Facts {
    let cpuinfo = read("/proc/cpuinfo").unwrap_or_default();
    // On some architectures, the kernel shows only a part number.
    let model = ["model name", "Model Name", "cpu model", "uarch", "CPU part"]
        .iter()
        .find_map(|name| field(&cpuinfo, name))
        .unwrap_or("unknown");
    let memory = read("/proc/meminfo")
        .and_then(|text| {
            field(&text, "MemTotal")?
                .split(' ')
                .next()?
                .parse::<f64>()
                .ok()
        })
        .map_or("unknown".into(), |kib| {
            format!("{:.1} GiB", kib / 1048576.0)
        });
    let kernel = ["/proc/sys/kernel/ostype", "/proc/sys/kernel/osrelease"]
        .map(|path| read(path).unwrap_or_default())
        .join(" ");
    let online = sysconf(SysconfVar::_NPROCESSORS_ONLN)
        .ok()
        .flatten()
        .unwrap_or(0);
    let allowed = processors().len();
    let mut facts = vec![
        (
            "processor".to_owned(),
            format!(
                "{model} ({}), {online} online, {allowed} for this run",
                std::env::consts::ARCH
            ),
        ),
        (
            "cores used".to_owned(),
            match cpus {
                [a, b] if a == b => format!("only {a}, so no test across cores"),
                [a, b] => format!("{a} and {b}: {}", relation(a, b)),
            },
        ),
    ];
    let mut add = |name: &str, value: String| facts.push((name.to_owned(), value));
    add("frequency governor", governor(cpus));
    add("kernel", kernel);
    add("virtual machine", virtual_machine(&cpuinfo));
    add("memory", memory);
    facts
}

/// The relation of two processors in the topology.
fn relation(a: usize, b: usize) -> String {
    let of = |cpu: usize, file: &str| read(&format!("/sys/devices/system/cpu/cpu{cpu}/{file}"));
    let shares = |file: &str| of(a, file).is_some_and(|list| in_list(&list, b));
    if shares("topology/thread_siblings_list") {
        return "two threads of one core".into();
    }
    // The caches of the processor, the first level first.
    for index in 0..8 {
        let cache = format!("cache/index{index}");
        if shares(&format!("{cache}/shared_cpu_list")) {
            let level = of(a, &format!("{cache}/level")).unwrap_or_default();
            let size = of(a, &format!("{cache}/size")).unwrap_or_default();
            return format!("two cores that share the L{level} cache ({size})");
        }
    }
    let package = |cpu| of(cpu, "topology/physical_package_id");
    match (package(a), package(b)) {
        (Some(one), Some(other)) if one != other => "cores of two packages".into(),
        (Some(_), Some(_)) => "two cores of one package without a known shared cache".into(),
        _ => "unknown topology".into(),
    }
}

/// Whether a list such as "0-3,8" contains the number.
fn in_list(list: &str, number: usize) -> bool {
    list.trim().split(',').any(|range| {
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        match (first.parse::<usize>(), last.parse::<usize>()) {
            (Ok(first), Ok(last)) => (first..=last).contains(&number),
            _ => false,
        }
    })
}

fn governor(cpus: [usize; 2]) -> String {
    let [a, b] = cpus.map(|cpu| {
        read(&format!(
            "/sys/devices/system/cpu/cpu{cpu}/cpufreq/scaling_governor"
        ))
        .unwrap_or("none".into())
    });
    if a == b { a } else { format!("{a} and {b}") }
}

fn virtual_machine(cpuinfo: &str) -> String {
    let ask = |kind| {
        // The exit status is 1 if there is none.
        let command = &mut Command::new("sh");
        let script = format!("systemd-detect-virt {kind} || [ $? -eq 1 ]");
        run(command.args(["-c", &script]), Duration::from_secs(5)).ok()
    };
    let flagged = || {
        let flags = field(cpuinfo, "flags").unwrap_or_default();
        flags.split(' ').any(|flag| flag == "hypervisor")
    };
    let machine = match ask("--vm").as_deref().map(str::trim) {
        Some("none") if flagged() => "yes (unknown hypervisor)".into(),
        Some("none") => "no".into(),
        Some(name) if !name.is_empty() => format!("yes ({name})"),
        _ if flagged() => "yes".into(),
        _ => "not detected".into(),
    };
    match ask("--container").as_deref().map(str::trim) {
        Some(name) if !name.is_empty() && name != "none" => {
            format!("{machine}; in a container ({name})")
        }
        _ => machine,
    }
}

/// The load averages of 1, 5 and 15 minutes.
pub fn load() -> String {
    let text = read("/proc/loadavg").unwrap_or_default();
    let words: Vec<_> = text.split(' ').take(3).collect();
    words.join(" ")
}

/// Times of all processors since boot, in seconds.
#[derive(Clone, Copy)]
pub struct Snapshot {
    at: Instant,
    busy: f64,
    stolen: f64,
    own: f64,
    preempted: f64,
}

/// The other load between two snapshots.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Interference {
    /// The shares of the machine's CPU time that other processes used, and that the hypervisor took.
    pub others: f64,
    pub stolen: f64,
    /// The number of involuntary context switches of the measured processes.
    pub preempted: f64,
}

impl Snapshot {
    pub fn now() -> Snapshot {
        let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten().unwrap_or(100) as f64;
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let (busy, stolen) = parse_stat(&stat).unwrap_or((0.0, 0.0));
        let usages = [UsageWho::RUSAGE_SELF, UsageWho::RUSAGE_CHILDREN]
            .map(|who| getrusage(who).expect("getrusage cannot fail"));
        Snapshot {
            at: Instant::now(),
            busy: busy / ticks,
            stolen: stolen / ticks,
            own: usages.iter().map(seconds).sum(),
            preempted: usages[1].involuntary_context_switches() as f64,
        }
    }

    /// None if the kernel does not report the times, or if no time has passed.
    pub fn until(&self, later: &Snapshot) -> Option<Interference> {
        let whole = (later.at - self.at).as_secs_f64() * online() as f64;
        if later.busy == 0.0 || whole == 0.0 {
            return None;
        }
        let others = (later.busy - self.busy) - (later.own - self.own);
        Some(Interference {
            others: (others / whole).clamp(0.0, 1.0),
            stolen: ((later.stolen - self.stolen) / whole).clamp(0.0, 1.0),
            preempted: later.preempted - self.preempted,
        })
    }
}

fn online() -> i64 {
    let count = sysconf(SysconfVar::_NPROCESSORS_ONLN);
    count.ok().flatten().unwrap_or(1).max(1)
}

fn seconds(usage: &Usage) -> f64 {
    [usage.user_time(), usage.system_time()]
        .iter()
        .map(|time| time.tv_sec() as f64 + time.tv_usec() as f64 / 1e6)
        .sum()
}

/// The numbers of busy ticks and of stolen ticks.
fn parse_stat(stat: &str) -> Option<(f64, f64)> {
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<f64> = line
        .split_whitespace()
        .map(str::parse)
        .collect::<Result<_, _>>()
        .ok()?;
    // user, nice, system, idle, iowait, irq, softirq, steal; user includes guests.
    let busy = ticks.get(..3)?.iter().sum::<f64>() + ticks.get(5..7)?.iter().sum::<f64>();
    Some((busy, ticks.get(7).copied().unwrap_or(0.0)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_processors() {
        assert!(in_list("0-3,8\n", 2) && in_list("0-3,8", 8) && in_list("5", 5));
        assert!(!in_list("0-3,8", 4) && !in_list("", 0) && !in_list("a-b", 0));
    }

    #[test]
    fn ticks() {
        let stat = "cpu  10 1 5 100 7 2 3 4 0 0\ncpu0 1 1 1\n";
        assert_eq!(parse_stat(stat), Some((21.0, 4.0)));
        assert_eq!(parse_stat("cpu  1 2\n"), None);
        assert_eq!(parse_stat("cpu  1 2 x 4 5 6 7 8\n"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn shares() {
        let at = Instant::now();
        let first = Snapshot {
            at,
            busy: 10.0,
            stolen: 0.0,
            own: 1.0,
            preempted: 5.0,
        };
        let later = Snapshot {
            at: at + Duration::from_secs(1),
            busy: 10.0 + 0.5 * online() as f64,
            stolen: 0.1 * online() as f64,
            own: 1.0 + 0.3 * online() as f64,
            preempted: 8.0,
        };
        let seen = first.until(&later).unwrap();
        assert!((seen.others - 0.2).abs() < 1e-9 && (seen.stolen - 0.1).abs() < 1e-9);
        assert_eq!(seen.preempted, 3.0);
        // The kernel counts ticks, so the own time may exceed the total.
        assert_eq!(
            later
                .until(&Snapshot {
                    at: at + Duration::from_secs(2),
                    own: 100.0,
                    ..later
                })
                .unwrap()
                .others,
            0.0
        );
    }

    #[test]
    fn this_machine() {
        let cpus = processors();
        assert!(!cpus.is_empty());
        let facts = describe([cpus[0], cpus[cpus.len() - 1]]);
        assert!(
            facts.iter().all(|(_, value)| !value.is_empty()),
            "{facts:?}"
        );
    }
}
