//! Processor time by program: what a job costs, and where.

use std::collections::BTreeMap;

/// Seconds of processor time so far: of this process as `own`, of the processes below it by the name of their program.
pub fn seconds() -> BTreeMap<String, f64> {
    let processes = processes();
    let own = std::process::id();
    let mut seconds = BTreeMap::new();
    for (pid, process) in &processes {
        let name = if *pid == own {
            "own"
        } else if descends(&processes, *pid, own) {
            process.name.as_str()
        } else {
            continue;
        };
        *seconds.entry(name.to_owned()).or_default() += process.seconds;
    }
    seconds
}

struct Process {
    name: String,
    parent: u32,
    seconds: f64,
}

/// What proc(5) says, in steps of 10 ms.
fn processes() -> BTreeMap<u32, Process> {
    let ids = std::fs::read_dir("/proc").expect("there is a /proc");
    let ids = ids.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    let process = |pid: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (head, fields) = stat.rsplit_once(')')?;
        let name = head.split_once('(')?.1.to_owned();
        let fields: Vec<&str> = fields.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
        let process = Process {
            name,
            parent: fields.get(1)?.parse().ok()?,
            seconds: (ticks(11)? + ticks(12)?) as f64 / 100.0,
        };
        Some((pid, process))
    };
    ids.filter_map(process).collect()
}

fn descends(processes: &BTreeMap<u32, Process>, mut pid: u32, from: u32) -> bool {
    while let Some(process) = processes.get(&pid) {
        if process.parent == from {
            return true;
        }
        pid = process.parent;
    }
    false
}
