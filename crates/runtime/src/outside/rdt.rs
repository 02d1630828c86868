//! Intel's resource director technology: the group of the resctrl file system that the container's processes are in.
//!
//! Spec: OCI runtime-spec 1.3, `config-linux.md`, "IntelRdt".

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use oci::runtime::LinuxIntelRdt;

use crate::channel::{At, Fault};
use crate::error::Step;

/// Where the resctrl file system is mounted, if it is.
pub fn mounted_at() -> Option<PathBuf> {
    let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
    let line =
        mounts.lines().find(|line| line.split(" - ").nth(1).is_some_and(|s| s.starts_with("resctrl ")))?;
    line.split(' ').nth(4).map(PathBuf::from)
}

/// Puts the process `pid` of the container `id` into its group below `root`.
pub fn assign(root: &Path, rdt: &LinuxIntelRdt, id: &str, pid: i32) -> Result<(), Fault> {
    let group = root.join(rdt.clos_id.as_deref().unwrap_or(id).trim_start_matches('/'));
    let object = || format!("linux.intelRdt ({})", group.display());
    let failed = |error: io::Error| Fault::new(Step::Limit, object(), &error);
    let by_levels = levels(rdt);
    let existed = group.is_dir();
    match (existed, &rdt.clos_id) {
        (true, None) => return Err(failed(io::ErrorKind::AlreadyExists.into())),
        (true, Some(_)) => {
            let now = fs::read_to_string(group.join("schemata")).map_err(failed)?;
            // Somebody else's group is as it is.
            if !by_levels.iter().all(|line| now.lines().any(|known| normal(known) == normal(line))) {
                return Err(failed(io::ErrorKind::InvalidInput.into()));
            }
        }
        (false, Some(_)) if by_levels.is_empty() && rdt.schemata.is_empty() => {
            return Err(failed(io::ErrorKind::NotFound.into()));
        }
        (false, _) => fs::create_dir(&group).map_err(failed)?,
    }
    let settled = fill(&group, rdt, if existed { &[] } else { &by_levels }, id, pid);
    if settled.is_err() && !existed {
        let _ = fs::remove_dir(&group);
    }
    settled.at(Step::Limit, object)
}

fn fill(group: &Path, rdt: &LinuxIntelRdt, by_levels: &[&str], id: &str, pid: i32) -> io::Result<()> {
    // What is said of everything comes last.
    for lines in [by_levels.join("\n"), rdt.schemata.join("\n")] {
        if !lines.is_empty() {
            fs::write(group.join("schemata"), lines + "\n")?;
        }
    }
    fs::write(group.join("tasks"), pid.to_string())?;
    if rdt.enable_monitoring {
        let monitor = group.join("mon_groups").join(id);
        fs::create_dir_all(&monitor)?;
        fs::write(monitor.join("tasks"), pid.to_string())?;
    }
    Ok(())
}

/// The lines of the two older settings; a bandwidth in the one for caches counts only where the other is not there.
fn levels(rdt: &LinuxIntelRdt) -> Vec<&str> {
    let caches = rdt.l3_cache_schema.as_deref().unwrap_or_default().lines();
    let bandwidth = rdt.mem_bw_schema.as_deref();
    let caches = caches.filter(|line| !(bandwidth.is_some() && line.trim_start().starts_with("MB:")));
    caches.chain(bandwidth).map(str::trim).filter(|line| !line.is_empty()).collect()
}

/// A line as the kernel and as people write it: without spaces and leading zeros.
fn normal(line: &str) -> String {
    let (name, values) = line.split_once(':').unwrap_or((line, ""));
    let value = |part: &str| {
        let (domain, mask) = part.split_once('=').unwrap_or((part, ""));
        format!("{}={}", domain.trim(), mask.trim().trim_start_matches('0').to_lowercase())
    };
    let values: Vec<String> = values.split(';').map(value).collect();
    format!("{}:{}", name.trim(), values.join(";"))
}

/// Removes the group, or in somebody else's the monitoring group, that [`assign`] made for the container `id`, when it is there.
///
/// For who deletes the container; its processes have ended.
pub fn remove(rdt: &LinuxIntelRdt, id: &str) -> io::Result<()> {
    let Some(root) = mounted_at() else { return Ok(()) };
    let made = match &rdt.clos_id {
        None => root.join(id),
        Some(group) => root.join(group.trim_start_matches('/')).join("mon_groups").join(id),
    };
    match fs::remove_dir(made) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rdt(caches: Option<&str>, bandwidth: Option<&str>) -> LinuxIntelRdt {
        let text = |text: Option<&str>| text.map(str::to_owned);
        LinuxIntelRdt {
            l3_cache_schema: text(caches),
            mem_bw_schema: text(bandwidth),
            ..LinuxIntelRdt::default()
        }
    }

    #[test]
    fn a_bandwidth_replaces_that_among_the_caches() {
        assert_eq!(levels(&rdt(Some("L3:0=f\nMB:0=10"), None)), ["L3:0=f", "MB:0=10"]);
        assert_eq!(levels(&rdt(Some("L3:0=f\nMB:0=10"), Some("MB:0=20"))), ["L3:0=f", "MB:0=20"]);
        assert_eq!(levels(&rdt(None, None)), [""; 0]);
        assert_eq!(normal(" L3:0=07F0; 1 = 1f"), normal("L3:0=7f0;1=001F"));
        assert_ne!(normal("L3:0=7f0"), normal("L3:0=7f"));
    }

    #[test]
    fn groups_are_made_found_and_compared() {
        // A plain directory: the kernel's makes files by itself and checks what is written, this keeps it.
        let root = std::env::temp_dir().join(format!("hull-rdt-{}", std::process::id()));
        fs::create_dir(&root).expect("a directory");
        let read = |path: &str| fs::read_to_string(root.join(path)).expect("it was written");
        let mut own = rdt(Some("L3:0=f"), None);
        (own.schemata, own.enable_monitoring) = (vec!["L2:0=1".to_owned(), "MB:0=10".to_owned()], true);
        assign(&root, &own, "box", 7).expect("a group of its own");
        assert_eq!((read("box/schemata").as_str(), read("box/tasks").as_str()), ("L2:0=1\nMB:0=10\n", "7"));
        assert_eq!(read("box/mon_groups/box/tasks"), "7");
        assert!(assign(&root, &own, "box", 8).is_err(), "it is another container's");
        let group = |caches| LinuxIntelRdt { clos_id: Some("box".to_owned()), ..rdt(caches, None) };
        assign(&root, &group(None), "other", 9).expect("a group that is there");
        assign(&root, &group(Some("L2:0=01")), "other", 9).expect("the same schema");
        assert!(assign(&root, &group(Some("L2:0=2")), "other", 9).is_err(), "another schema");
        let none = LinuxIntelRdt { clos_id: Some("none".to_owned()), ..LinuxIntelRdt::default() };
        assert!(assign(&root, &none, "other", 9).is_err() && !root.join("none").exists());
        fs::remove_dir_all(&root).expect("its end");
    }
}
