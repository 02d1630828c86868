//! What an idle container costs in processes and memory.

use std::fs;

/// One process's share, from /proc/PID/smaps_rollup and /proc/PID/status.
pub struct Share {
    pub private_kib: u64,
    pub proportional_kib: u64,
    pub threads: u64,
}

/// The share of every process whose command line satisfies `wanted`.
pub fn shares(wanted: impl Fn(&[String]) -> bool) -> Vec<Share> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let Ok(line) = fs::read(entry.path().join("cmdline")) else { continue };
        let words: Vec<String> =
            line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect();
        if !wanted(&words) {
            continue;
        }
        let rollup = fs::read_to_string(entry.path().join("smaps_rollup")).unwrap_or_default();
        let status = fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        found.push(Share {
            private_kib: field(&rollup, "Private_Clean:") + field(&rollup, "Private_Dirty:"),
            proportional_kib: field(&rollup, "Pss:"),
            threads: field(&status, "Threads:"),
        });
    }
    found
}

/// One line for `shares`: how many there are and their means.
pub fn summary(shares: &[Share]) -> String {
    let mean = |of: fn(&Share) -> u64| shares.iter().map(of).sum::<u64>() / shares.len().max(1) as u64;
    format!(
        "{} of them, each {} KiB private, {} KiB proportional, {} thread(s)",
        shares.len(),
        mean(|share| share.private_kib),
        mean(|share| share.proportional_kib),
        mean(|share| share.threads),
    )
}

/// Resident memory of a process, now and at most so far, in KiB.
pub fn resident(pid: u32) -> (u64, u64) {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    (field(&status, "VmRSS:"), field(&status, "VmHWM:"))
}

fn field(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|rest| rest.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
