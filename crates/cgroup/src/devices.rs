//! Device rules: v1's two files, v2's program.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::os::fd::AsFd;
use std::path::Path;

use oci::runtime::LinuxDeviceCgroup;
use sys::bpf::{self, DeviceAccess, DeviceKind, DeviceRule};

use crate::CgroupError;

/// Parses the rules of the specification, in their order.
pub fn rules(devices: &[LinuxDeviceCgroup]) -> Result<Vec<DeviceRule>, CgroupError> {
    devices.iter().map(rule).collect()
}

fn rule(device: &LinuxDeviceCgroup) -> Result<DeviceRule, CgroupError> {
    let kind = match device.r#type.as_deref() {
        None | Some("" | "a") => DeviceKind::Any,
        Some("c" | "u") => DeviceKind::Char,
        Some("b") => DeviceKind::Block,
        Some(other) => return Err(CgroupError::Invalid { what: "device type", value: other.to_string() }),
    };
    let number = |n: Option<i64>| match n {
        // -1 is how runc's configurations write "all".
        None | Some(-1) => Ok(None),
        Some(n) => u32::try_from(n)
            .map(Some)
            .map_err(|_| CgroupError::Invalid { what: "device number", value: n.to_string() }),
    };
    let mut access = DeviceAccess::default();
    let letters = device.access.as_deref().unwrap_or("rwm");
    for letter in letters.chars() {
        match letter {
            'r' => access.read = true,
            'w' => access.write = true,
            'm' => access.mknod = true,
            _ => return Err(CgroupError::Invalid { what: "device access", value: letters.to_string() }),
        }
    }
    let (major, minor) = (number(device.major)?, number(device.minor)?);
    Ok(DeviceRule { allow: device.allow, kind, major, minor, access })
}

/// Whether the last word is that everything is allowed.
pub fn allow_everything(rules: &[DeviceRule]) -> bool {
    rules.last().is_some_and(|rule| rule.allow && is_everything(rule))
}

fn is_everything(rule: &DeviceRule) -> bool {
    rule.kind == DeviceKind::Any
        && rule.major.is_none()
        && rule.minor.is_none()
        && rule.access == DeviceAccess::ALL
}

/// Writes `rules` one by one to `devices.allow` and `devices.deny` of a v1 group.
pub fn apply_v1(directory: &Path, rules: &[DeviceRule]) -> Result<(), CgroupError> {
    let mut files: [Option<File>; 2] = [None, None];
    for rule in rules {
        let path = directory.join(if rule.allow { "devices.allow" } else { "devices.deny" });
        for line in v1_lines(rule) {
            let file = &mut files[usize::from(rule.allow)];
            let written = match file {
                Some(file) => file.write_all(line.as_bytes()),
                None => OpenOptions::new()
                    .write(true)
                    .open(&path)
                    .and_then(|opened| file.insert(opened).write_all(line.as_bytes())),
            };
            written.map_err(|source| CgroupError::Write { path: path.clone(), value: line, source })?;
        }
    }
    Ok(())
}

/// The lines of one rule; a rule for both kinds that is not for everything needs one for each, because the kernel reads `a` as
/// "everything" whatever follows.
fn v1_lines(rule: &DeviceRule) -> Vec<String> {
    if is_everything(rule) {
        return vec!["a".to_string()];
    }
    let number = |n: Option<u32>| n.map_or("*".to_string(), |n| n.to_string());
    let mut access = String::new();
    for (letter, on) in [('r', rule.access.read), ('w', rule.access.write), ('m', rule.access.mknod)] {
        if on {
            access.push(letter);
        }
    }
    let line = |kind: char| format!("{kind} {}:{} {access}", number(rule.major), number(rule.minor));
    match rule.kind {
        _ if access.is_empty() => vec![],
        DeviceKind::Char => vec![line('c')],
        DeviceKind::Block => vec![line('b')],
        DeviceKind::Any => vec![line('c'), line('b')],
    }
}

/// Whether a v2 group has a device program of its own.
pub fn is_restricted(directory: &Path) -> bool {
    let programs = File::open(directory).and_then(|opened| bpf::device_programs(opened.as_fd()));
    programs.is_ok_and(|programs| !programs.is_empty())
}

/// Attaches a program that decides by `rules` to a v2 group.
pub fn apply_v2(directory: &Path, rules: &[DeviceRule]) -> Result<(), CgroupError> {
    File::open(directory)
        .and_then(|opened| bpf::set_device_rules(opened.as_fd(), rules))
        .map_err(|source| CgroupError::Devices { path: directory.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn device(
        allow: bool,
        kind: &str,
        major: Option<i64>,
        minor: Option<i64>,
        access: &str,
    ) -> LinuxDeviceCgroup {
        let (r#type, access) = (Some(kind.to_string()), Some(access.to_string()));
        LinuxDeviceCgroup { allow, r#type, major, minor, access }
    }

    fn check(device: LinuxDeviceCgroup, expected: &[&str]) {
        let lines = match rule(&device) {
            Ok(rule) => v1_lines(&rule),
            Err(error) => vec![error.to_string()],
        };
        assert_eq!(lines, expected);
    }

    #[test]
    fn v1_lines_are_what_the_kernel_reads() {
        check(device(false, "a", None, None, "rwm"), &["a"]);
        check(device(true, "c", Some(1), Some(3), "rw"), &["c 1:3 rw"]);
        check(device(true, "b", Some(8), Some(-1), "m"), &["b 8:* m"]);
        check(device(true, "a", None, None, "m"), &["c *:* m", "b *:* m"]);
        check(LinuxDeviceCgroup { allow: true, ..Default::default() }, &["a"]);
    }

    #[test]
    fn nonsense_is_refused() {
        check(device(true, "x", None, None, "r"), &["invalid device type: `x`"]);
        check(device(true, "c", Some(-7), None, "r"), &["invalid device number: `-7`"]);
        check(device(true, "c", None, None, "rx"), &["invalid device access: `rx`"]);
    }
}
