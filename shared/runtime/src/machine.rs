//! What this machine gives us: cores and memory, within the limits of the container or service we run in.

use std::fs;
use std::path::{Path, PathBuf};

/// Cores this process may use: affinity and the CPU quota of its control group counted.
pub fn cores() -> u16 {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    u16::try_from(cores).unwrap_or(u16::MAX)
}

/// Memory this process may use, bytes: that of the machine, or the smallest limit of its control groups.
///
/// Where neither can be read (no `/proc`), 2 GiB are taken for granted.
pub fn memory_bytes() -> u64 {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let limits = limit_files(&own)
        .into_iter()
        .filter_map(|file| fs::read_to_string(file).ok())
        .filter_map(|text| text.trim().parse().ok());
    let total = fs::read_to_string("/proc/meminfo").ok();
    let total = total.and_then(|text| total_of(&text)).unwrap_or(2 << 30);
    limits.fold(total, u64::min)
}

/// Where the memory limits of a process are written, from the lines of its `/proc/self/cgroup`: its own group's and
/// those of all groups above it (`max` or a number beyond the machine's when there is none).
fn limit_files(own: &str) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for line in own.lines() {
        let mut parts = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(group)) = (parts.next(), parts.next(), parts.next())
        else {
            continue;
        };
        let (root, name) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            "memory" => ("/sys/fs/cgroup/memory", "memory.limit_in_bytes"),
            _ => continue,
        };
        let group = Path::new(group.trim_start_matches('/'));
        files.extend(
            group
                .ancestors()
                .map(|group| Path::new(root).join(group).join(name)),
        );
    }
    files
}

/// `MemTotal` of `/proc/meminfo`, in bytes.
fn total_of(meminfo: &str) -> Option<u64> {
    let line = meminfo
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kibibytes: u64 = line.split_whitespace().next()?.parse().ok()?;
    kibibytes.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_looked_for_in_the_own_group_and_all_above() {
        let found = limit_files("0::/system.slice/nexis.service\n");
        let expected = [
            "/sys/fs/cgroup/system.slice/nexis.service/memory.max",
            "/sys/fs/cgroup/system.slice/memory.max",
            "/sys/fs/cgroup/memory.max",
        ];
        assert_eq!(found, expected.map(PathBuf::from));
        let old = limit_files("5:cpu,cpuacct:/a\n4:memory:/pod\n");
        assert_eq!(
            old[0],
            Path::new("/sys/fs/cgroup/memory/pod/memory.limit_in_bytes")
        );
        assert_eq!(old.len(), 2);
    }

    #[test]
    fn the_memory_of_the_machine_is_read_in_bytes() {
        assert_eq!(
            total_of("MemFree: 1 kB\nMemTotal:  2048 kB\n"),
            Some(2 << 20)
        );
        assert_eq!(total_of("nothing of that kind"), None);
        assert!(memory_bytes() > 64 << 20 && cores() > 0);
    }
}
