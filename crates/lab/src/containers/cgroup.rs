//! The one place that knows the difference between cgroup v1 and v2.

use camino::Utf8Path;
use fs_err as fs;

use super::guest::Guest;

/// Which hierarchy the controllers are in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cgroup {
    /// A folder for each controller. `swap` says whether the kernel accounts for swap.
    V1 {
        /// `memory.memsw.*` exists.
        swap: bool,
    },
    /// One unified tree.
    V2,
}

/// One setting, as `lxc-cgroup` takes it.
pub(crate) type Setting = (&'static str, String);

const ROOT: &str = "/sys/fs/cgroup";

impl Cgroup {
    /// Looks at this machine.
    pub(crate) fn detect() -> Self {
        if Utf8Path::new(ROOT).join("cgroup.controllers").exists() {
            return Self::V2;
        }
        Self::V1 { swap: Utf8Path::new(ROOT).join("memory/memory.memsw.limit_in_bytes").exists() }
    }

    /// The prefix of these keys in a container's LXC configuration.
    pub(crate) fn prefix(self) -> &'static str {
        match self {
            Self::V1 { .. } => "lxc.cgroup",
            Self::V2 => "lxc.cgroup2",
        }
    }

    /// Memory and swap limits, in an order that is right for a new container.
    pub(crate) fn memory(self, guest: &Guest) -> Vec<Setting> {
        let (memory, swap) = (guest.memory << 20, guest.swap << 20);
        match self {
            Self::V1 { swap: false } => vec![("memory.limit_in_bytes", memory.to_string())],
            Self::V1 { swap: true } => vec![
                ("memory.limit_in_bytes", memory.to_string()),
                // v1 counts memory and swap together.
                ("memory.memsw.limit_in_bytes", (memory + swap).to_string()),
            ],
            Self::V2 => vec![("memory.max", memory.to_string()), ("memory.swap.max", swap.to_string())],
        }
    }

    /// The same for a running container. In v1 the sum may never be below the first limit, so it is lifted before.
    pub(crate) fn memory_live(self, guest: &Guest) -> Vec<Setting> {
        let mut settings = self.memory(guest);
        if self == (Self::V1 { swap: true }) {
            settings.insert(0, ("memory.memsw.limit_in_bytes", "-1".to_owned()));
        }
        settings
    }

    /// Which processors, and how much of them. `cpus` are those of the node.
    pub(crate) fn processor(self, guest: &Guest, cpus: &[u32]) -> Vec<Setting> {
        let mut settings = Vec::new();
        if !cpus.is_empty() {
            settings.push(("cpuset.cpus", cpu_set(guest, cpus)));
        }
        const PERIOD: u32 = 100_000;
        #[expect(clippy::cast_possible_truncation, reason = "a limit of processors times 100000")]
        let quota = guest.cpulimit.map(|limit| (limit * f64::from(PERIOD)) as i64);
        match self {
            Self::V1 { .. } => {
                settings.push(("cpu.cfs_period_us", PERIOD.to_string()));
                settings.push(("cpu.cfs_quota_us", quota.unwrap_or(-1).to_string()));
                settings.extend(guest.cpuunits.map(|units| ("cpu.shares", units.max(2).to_string())));
            }
            Self::V2 => {
                let quota = quota.map_or_else(|| "max".to_owned(), |q| q.to_string());
                settings.push(("cpu.max", format!("{quota} {PERIOD}")));
                settings
                    .extend(guest.cpuunits.map(|units| ("cpu.weight", units.clamp(1, 10_000).to_string())));
            }
        }
        settings
    }

    /// The processors of the node, empty when it cannot be known.
    pub(crate) fn node_cpus(self) -> Vec<u32> {
        let file = match self {
            Self::V1 { .. } => "cpuset/cpuset.effective_cpus",
            Self::V2 => "cpuset.cpus.effective",
        };
        fs::read_to_string(Utf8Path::new(ROOT).join(file)).map(|text| cpu_list(&text)).unwrap_or_default()
    }

    /// Bytes of memory that a running container uses, without the page cache that can be given back.
    pub(crate) fn memory_used(self, id: u32) -> Option<u64> {
        let (folder, usage, stat, cache) = match self {
            Self::V1 { .. } => (
                format!("{ROOT}/memory/lxc.payload.{id}"),
                "memory.usage_in_bytes",
                "memory.stat",
                "total_inactive_file",
            ),
            Self::V2 => {
                (format!("{ROOT}/lxc.payload.{id}"), "memory.current", "memory.stat", "inactive_file")
            }
        };
        let used: u64 = fs::read_to_string(format!("{folder}/{usage}")).ok()?.trim().parse().ok()?;
        let stat = fs::read_to_string(format!("{folder}/{stat}")).unwrap_or_default();
        let cache: u64 =
            stat.lines().find_map(|line| line.strip_prefix(cache)?.trim().parse().ok()).unwrap_or_default();
        Some(used.saturating_sub(cache))
    }
}

/// `cores` of the node's processors, beginning at another one for each guest; all of them without a limit.
fn cpu_set(guest: &Guest, cpus: &[u32]) -> String {
    let count = guest.cores.map_or(cpus.len(), |n| (n as usize).min(cpus.len()));
    let first = if count == cpus.len() { 0 } else { guest.id as usize % cpus.len() };
    let mut chosen: Vec<u32> = cpus.iter().copied().cycle().skip(first).take(count).collect();
    chosen.sort_unstable();
    chosen.iter().map(u32::to_string).collect::<Vec<_>>().join(",")
}

/// Reads `0-3,8`.
fn cpu_list(text: &str) -> Vec<u32> {
    text.trim()
        .split(',')
        .filter_map(|part| match part.split_once('-') {
            Some((from, to)) => Some(from.parse::<u32>().ok()?..=to.parse::<u32>().ok()?),
            None => part.parse::<u32>().ok().map(|n| n..=n),
        })
        .flatten()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::runtime::Config;

    fn guest(pairs: &[(&str, &str)]) -> Guest {
        let mut config: Config = pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        config.entry("rootfs".to_owned()).or_insert_with(|| "local:101/vm-101-disk-0.raw,size=1G".to_owned());
        Guest::parse(101, &config).unwrap()
    }

    #[test]
    fn memory_means_the_same_in_both_versions() {
        let guest = guest(&[("memory", "256"), ("swap", "128")]);
        assert_eq!(
            Cgroup::V1 { swap: true }.memory(&guest),
            [
                ("memory.limit_in_bytes", "268435456".to_owned()),
                ("memory.memsw.limit_in_bytes", "402653184".to_owned())
            ]
        );
        assert_eq!(
            Cgroup::V2.memory(&guest),
            [("memory.max", "268435456".to_owned()), ("memory.swap.max", "134217728".to_owned())]
        );
        // Without swap accounting there is no such file, and setting it would stop the container from starting.
        assert_eq!(Cgroup::V1 { swap: false }.memory(&guest).len(), 1);
        assert_eq!(
            Cgroup::V1 { swap: true }.memory_live(&guest)[0],
            ("memory.memsw.limit_in_bytes", "-1".to_owned())
        );
    }

    #[test]
    fn processors_are_chosen_from_those_the_node_has() {
        assert_eq!(cpu_list("0-2,5\n"), [0, 1, 2, 5]);
        assert_eq!(cpu_list(""), [0; 0]);
        assert_eq!(cpu_set(&guest(&[("cores", "1")]), &[0, 1]), "1");
        assert_eq!(cpu_set(&guest(&[("cores", "8")]), &[0, 1]), "0,1");
        assert_eq!(cpu_set(&guest(&[]), &[0, 1]), "0,1");
        let limited = Cgroup::V2.processor(&guest(&[("cpulimit", "1.5"), ("cpuunits", "200")]), &[]);
        assert_eq!(limited, [("cpu.max", "150000 100000".to_owned()), ("cpu.weight", "200".to_owned())]);
    }
}
