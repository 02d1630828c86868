//! What a configuration may not say, whatever the host is: refused before anything is made, by the name of its field.
//!
//! Here is what concerns one field or two. What has a number in the kernel is checked where that is looked up, beside this file.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use oci::runtime::{Hook, Linux, NamespaceType, Process, Spec, User};

use super::invalid;
use crate::LaunchError;

/// Checks the parts beside `process`.
pub fn spec(spec: &Spec) -> Result<(), LaunchError> {
    version(&spec.oci_version)?;
    for (field, name) in [("hostname", &spec.hostname), ("domainname", &spec.domainname)] {
        if let Some(name) = name {
            host_name(field, name)?;
        }
    }
    if spec.annotations.contains_key("") {
        return Err(invalid("annotations", "a key is empty"));
    }
    for (number, mount) in spec.mounts.iter().enumerate() {
        let field = |name: &str| format!("mounts[{number}].{name}");
        no_nul(&mount.destination, || field("destination"))?;
        no_nul(mount.source.as_deref().unwrap_or(Path::new("")), || field("source"))?;
        no_nul(mount.r#type.as_deref().unwrap_or_default(), || field("type"))?;
        mount.options.iter().try_for_each(|option| no_nul(option, || field("options")))?;
    }
    if let Some(hooks) = &spec.hooks {
        for (point, hooks) in [
            ("prestart", &hooks.prestart),
            ("createRuntime", &hooks.create_runtime),
            ("createContainer", &hooks.create_container),
            ("startContainer", &hooks.start_container),
            ("poststart", &hooks.poststart),
            ("poststop", &hooks.poststop),
        ] {
            hooks.iter().enumerate().try_for_each(|(number, one)| hook(one, point, number))?;
        }
    }
    spec.linux.as_ref().map_or(Ok(()), linux)
}

/// Semantic versioning 2.0.0, and of the one major version there is.
fn version(text: &str) -> Result<(), LaunchError> {
    let refuse = |why: &str| Err(invalid("ociVersion", format!("{text:?} {why}")));
    let (text_before, build) = text.split_once('+').map_or((text, None), |(core, build)| (core, Some(build)));
    let (core, pre) =
        text_before.split_once('-').map_or((text_before, None), |(core, pre)| (core, Some(pre)));
    let is_identifier =
        |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let tails_fit = [pre, build].into_iter().flatten().all(|tail| tail.split('.').all(is_identifier));
    let is_number = |part: &&str| {
        !part.is_empty()
            && part.bytes().all(|b| b.is_ascii_digit())
            && (*part == "0" || !part.starts_with('0'))
    };
    let numbers: Vec<&str> = core.split('.').collect();
    if numbers.len() != 3 || !numbers.iter().all(is_number) || !tails_fit {
        return refuse("is not a version (SemVer 2.0.0)");
    }
    if numbers[0] != "1" { refuse("is not supported, versions 1.x are") } else { Ok(()) }
}

/// The kernel's limit on names of hosts and domains.
const MAX_HOST_NAME: usize = 64;

fn host_name(field: &str, name: &str) -> Result<(), LaunchError> {
    no_nul(name, || field.to_owned())?;
    match name.len() <= MAX_HOST_NAME {
        true => Ok(()),
        false => Err(invalid(field, format!("{name:?} has more than {MAX_HOST_NAME} bytes"))),
    }
}

fn hook(hook: &Hook, point: &str, number: usize) -> Result<(), LaunchError> {
    let field = |name: &str| format!("hooks.{point}[{number}].{name}");
    absolute(&hook.path, || field("path"))?;
    hook.args.iter().try_for_each(|arg| no_nul(arg, || field("args")))?;
    environment(&hook.env, || field("env"))?;
    match hook.timeout {
        Some(0) => Err(invalid(field("timeout"), "0 seconds are no time")),
        _ => Ok(()),
    }
}

fn linux(linux: &Linux) -> Result<(), LaunchError> {
    let mut seen: Vec<NamespaceType> = Vec::new();
    for namespace in &linux.namespaces {
        let name = super::kind_of(namespace.r#type).file();
        if seen.contains(&namespace.r#type) {
            return Err(invalid("linux.namespaces", format!("{name} is there twice")));
        }
        seen.push(namespace.r#type);
        if let Some(path) = &namespace.path {
            absolute(path, || format!("linux.namespaces: {name}"))?;
        }
    }
    for (field, paths) in
        [("linux.maskedPaths", &linux.masked_paths), ("linux.readonlyPaths", &linux.readonly_paths)]
    {
        paths.iter().try_for_each(|path| absolute(path, || field.to_owned()))?;
    }
    for (number, device) in linux.devices.iter().enumerate() {
        let field = |name: &str| format!("linux.devices[{number}].{name}");
        absolute(&device.path, || field("path"))?;
        if !matches!(device.r#type.as_str(), "c" | "b" | "u" | "p") {
            let why = format!("there is no kind of device called {:?}", device.r#type);
            return Err(invalid(field("type"), why));
        }
        for (name, value, limit) in [("major", device.major, 1 << 12), ("minor", device.minor, 1 << 20)] {
            if !(0..limit).contains(&value) {
                return Err(invalid(field(name), format!("{value} is not between 0 and {}", limit - 1)));
            }
        }
        if let Some(mode) = device.file_mode.filter(|mode| *mode > 0o777) {
            return Err(invalid(field("fileMode"), format!("{mode:#o} is more than 0o777")));
        }
        for (name, id) in [("uid", device.uid), ("gid", device.gid)] {
            id.map_or(Ok(()), |id| valid_id(id, || field(name)))?;
        }
    }
    Ok(())
}

/// Checks a process, the first or a further one.
pub fn process(process: &Process) -> Result<(), LaunchError> {
    if process.args.is_empty() {
        return Err(invalid("process.args", "no command specified"));
    }
    process.args.iter().try_for_each(|arg| no_nul(arg, || "process.args".to_owned()))?;
    environment(&process.env, || "process.env".to_owned())?;
    no_nul(&process.cwd, || "process.cwd".to_owned())?;
    if !process.cwd.is_absolute() {
        let why = format!(
            "the working directory '{}' is invalid, it needs to be an absolute path",
            process.cwd.display()
        );
        return Err(invalid("process.cwd", why));
    }
    let User { uid, gid, umask, additional_gids, .. } = &process.user;
    valid_id(*uid, || "process.user.uid".to_owned())?;
    valid_id(*gid, || "process.user.gid".to_owned())?;
    additional_gids.iter().try_for_each(|gid| valid_id(*gid, || "process.user.additionalGids".to_owned()))?;
    if let Some(mask) = umask.filter(|mask| *mask > 0o777) {
        return Err(invalid("process.user.umask", format!("{mask:#o} is more than 0o777")));
    }
    match process.oom_score_adj {
        Some(score) if !(-1000..=1000).contains(&score) => {
            Err(invalid("process.oomScoreAdj", format!("{score} is not between -1000 and 1000")))
        }
        _ => Ok(()),
    }
}

fn environment(variables: &[String], field: impl Fn() -> String) -> Result<(), LaunchError> {
    for variable in variables {
        no_nul(variable, &field)?;
        match variable.find('=') {
            None => return Err(invalid(field(), format!("{variable:?} has no value"))),
            Some(0) => return Err(invalid(field(), format!("{variable:?} has no name"))),
            Some(_) => {}
        }
    }
    Ok(())
}

fn absolute(path: &Path, field: impl Fn() -> String) -> Result<(), LaunchError> {
    no_nul(path, &field)?;
    match path.is_absolute() {
        true => Ok(()),
        false => Err(invalid(field(), format!("{:?} is not an absolute path", path.display().to_string()))),
    }
}

/// -1 means "unchanged" to the calls that set ids: whoever asks for it would stay root.
fn valid_id(id: u32, field: impl FnOnce() -> String) -> Result<(), LaunchError> {
    if id == u32::MAX { Err(invalid(field(), format!("{id} is no id"))) } else { Ok(()) }
}

fn no_nul(text: impl AsRef<OsStr>, field: impl FnOnce() -> String) -> Result<(), LaunchError> {
    let text = text.as_ref();
    match text.as_bytes().contains(&0) {
        true => Err(invalid(field(), format!("{text:?} contains a NUL byte"))),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_semantic_and_of_the_first_major() {
        for good in ["1.0.0", "1.3.0", "1.0.2-dev", "1.2.0+dev", "1.1.0-rc.1+a.b-c", "1.999.0"] {
            assert!(version(good).is_ok(), "{good}");
        }
        for bad in [
            "",
            "1",
            "1.0",
            "1.0.0.0",
            "v1.0.0",
            "1.0.x",
            "1.00.0",
            "01.0.0",
            "1.0.0-",
            "1.0.0+a..b",
            " 1.0.0",
        ] {
            let error = version(bad).expect_err(bad).to_string();
            assert_eq!(error, format!("invalid ociVersion: {bad:?} is not a version (SemVer 2.0.0)"));
        }
        for other in ["0.6.0", "2.0.0", "10.0.0"] {
            let error = version(other).expect_err(other).to_string();
            assert_eq!(error, format!("invalid ociVersion: {other:?} is not supported, versions 1.x are"));
        }
    }
}
