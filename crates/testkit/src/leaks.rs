//! What hull leaves on a host, seen with the system's own eyes.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::path::Path;
use std::process::Command;

/// Everything on this host that looks like hull's, one line each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot(BTreeSet<String>);

/// What is there now and was not there before.
#[derive(Debug, Default)]
pub struct Leaks(Vec<String>);

impl Snapshot {
    /// Looks at the whole host.
    pub fn of_host() -> Self {
        Self::matching(|_| true)
    }

    /// Looks at what belongs to one pair of roots: `marks` are their paths and their instance.
    pub fn of(marks: &[String]) -> Self {
        Self::matching(|line| marks.iter().any(|mark| line.contains(mark.as_str())))
    }

    fn matching(wanted: impl Fn(&str) -> bool) -> Self {
        let mut found = BTreeSet::new();
        found.extend(mounts());
        found.extend(links());
        found.extend(tables());
        found.extend(cgroups(Path::new("/sys/fs/cgroup"), 3));
        found.extend(processes());
        found.retain(|line| wanted(line));
        Self(found)
    }

    /// What `self` has that `before` had not.
    pub fn since(self, before: &Snapshot) -> Leaks {
        Leaks(self.0.difference(&before.0).cloned().collect())
    }
}

impl Leaks {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Display for Leaks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| writeln!(f, "  {line}"))
    }
}

fn mounts() -> Vec<String> {
    let table = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    let points = table.lines().filter_map(|line| line.split(' ').nth(4));
    points.filter(|point| point.contains("hull")).map(|point| format!("mount {point}")).collect()
}

fn links() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/sys/class/net") else { return Vec::new() };
    let names = entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned());
    names
        .filter(|name| name.starts_with("hb-") || name.starts_with("hv-"))
        .map(|name| format!("link {name}"))
        .collect()
}

fn tables() -> Vec<String> {
    let Ok(output) = Command::new("nft").args(["list", "tables"]).output() else { return Vec::new() };
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    text.lines().filter(|line| line.contains("hull")).map(|line| format!("nft {line}")).collect()
}

/// Control groups whose name begins with `hull`, at most `depth` levels down.
fn cgroups(directory: &Path, depth: usize) -> Vec<String> {
    let Ok(entries) = fs::read_dir(directory) else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir())) {
        if entry.file_name().to_string_lossy().starts_with("hull-") {
            found.push(format!("cgroup {}", entry.path().display()));
        } else if depth > 0 {
            found.extend(cgroups(&entry.path(), depth - 1));
        }
    }
    found
}

/// The helpers hull leaves running on purpose while a container runs, and must not leave afterwards.
fn processes() -> Vec<String> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let mut found = Vec::new();
    for entry in entries.flatten() {
        let Ok(line) = fs::read(entry.path().join("cmdline")) else { continue };
        let words: Vec<_> = line.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
        if words.iter().skip(1).any(|word| matches!(word.as_ref(), "monitor" | "build-step" | "reap"))
            && words.iter().any(|word| word.contains("hull") || word.contains("/proc/self/"))
        {
            found.push(format!(
                "process {} {}",
                entry.file_name().to_string_lossy(),
                words.join(" ").trim_end()
            ));
        }
    }
    found
}
