//! Flags about the process: namespaces, devices, rlimits, restart policy, environment files.

use super::FlagError;
use crate::model::{
    Device, IpcMode, Isolation, NamespaceMode, RestartPolicy, SeccompChoice, Ulimit, UserNamespace,
};
use std::path::PathBuf;

/// `--pid`, `--uts`, `--cgroupns`: empty, `private`, `host` or `container:NAME`.
pub fn namespace_mode(flag: &str, text: &str) -> Result<NamespaceMode, FlagError> {
    match text {
        "" | "private" => Ok(NamespaceMode::Private),
        "host" => Ok(NamespaceMode::Host),
        _ => match text.split_once(':') {
            Some(("container", name)) if !name.is_empty() && flag == "pid" => {
                Ok(NamespaceMode::Container(name.to_owned()))
            }
            _ => Err(FlagError::new(format!("--{flag}: invalid {} mode", flag.to_uppercase()))),
        },
    }
}

/// `--userns`: empty, `private` or `host`.
pub fn user_namespace(text: &str) -> Result<UserNamespace, FlagError> {
    match text {
        "" => Ok(UserNamespace::Default),
        "private" => Ok(UserNamespace::Private),
        "host" => Ok(UserNamespace::Host),
        _ => Err(FlagError::new(format!("--userns: invalid USER mode: {text}"))),
    }
}

/// `--ipc`.
pub fn ipc_mode(text: &str) -> Result<IpcMode, FlagError> {
    Ok(match text {
        "" | "private" => IpcMode::Private,
        "shareable" => IpcMode::Shareable,
        "host" => IpcMode::Host,
        "none" => IpcMode::None,
        _ => match text.split_once(':') {
            Some(("container", name)) if !name.is_empty() => IpcMode::Container(name.to_owned()),
            _ => return Err(FlagError::new(format!("invalid IPC mode: {text}"))),
        },
    })
}

/// `host[:container[:rwm]]`.
pub fn device(text: &str) -> Result<Device, FlagError> {
    let invalid = || FlagError::new(format!("invalid device specification: {text}"));
    let is_mode = |mode: &str| !mode.is_empty() && mode.bytes().all(|b| b"rwm".contains(&b));
    let parts: Vec<&str> = text.split(':').collect();
    let (host, container, mode) = match parts[..] {
        [host] => (host, host, "rwm"),
        [host, mode] if is_mode(mode) => (host, host, mode),
        [host, container] => (host, container, "rwm"),
        [host, container, mode] if is_mode(mode) => (host, container, mode),
        _ => return Err(invalid()),
    };
    if !host.starts_with('/') || !container.starts_with('/') {
        return Err(FlagError::new(format!("{text} is not an absolute path")));
    }
    Ok(Device { host: PathBuf::from(host), container: container.to_owned(), permissions: mode.to_owned() })
}

/// The rlimits Linux has, without `RLIMIT_`.
pub const RLIMITS: [&str; 16] = [
    "as",
    "core",
    "cpu",
    "data",
    "fsize",
    "locks",
    "memlock",
    "msgqueue",
    "nice",
    "nofile",
    "nproc",
    "rss",
    "rtprio",
    "rttime",
    "sigpending",
    "stack",
];

/// `name=soft[:hard]`.
pub fn ulimit(text: &str) -> Result<Ulimit, FlagError> {
    let (name, values) = text
        .split_once('=')
        .filter(|(name, values)| !name.is_empty() && !values.is_empty())
        .ok_or_else(|| FlagError::new(format!("invalid ulimit argument: {text}")))?;
    if !RLIMITS.contains(&name) {
        return Err(FlagError::new(format!("invalid ulimit type: {name}")));
    }
    let number = |value: &str| match value {
        "unlimited" | "-1" => Ok(-1),
        value => value
            .parse::<i64>()
            .ok()
            .filter(|n| *n >= 0)
            .ok_or_else(|| FlagError::new(format!("invalid ulimit value {value:?} in {text}"))),
    };
    let (soft, hard) = match values.split_once(':') {
        Some((soft, hard)) => (number(soft)?, number(hard)?),
        None => (number(values)?, number(values)?),
    };
    if hard != -1 && (soft == -1 || soft > hard) {
        return Err(FlagError::new(format!(
            "ulimit soft limit must be less than or equal to hard limit: {soft} > {hard}"
        )));
    }
    Ok(Ulimit { name: name.to_owned(), soft, hard })
}

/// `no`, `always`, `unless-stopped`, `on-failure[:max]`.
pub fn restart_policy(text: &str) -> Result<RestartPolicy, FlagError> {
    let (name, count) = text.split_once(':').map_or((text, None), |(name, count)| (name, Some(count)));
    let policy = match name {
        "" | "no" => RestartPolicy::No,
        "always" => RestartPolicy::Always,
        "unless-stopped" => RestartPolicy::UnlessStopped,
        "on-failure" => {
            let count = count.unwrap_or("0");
            let why = match count.strip_prefix('-').is_some_and(|number| number.parse::<u32>().is_ok()) {
                true => "invalid restart policy: maximum retry count cannot be negative",
                false => "invalid restart policy format: maximum retry count must be an integer",
            };
            return count
                .parse()
                .map(|max| RestartPolicy::OnFailure { max })
                .map_err(|_| FlagError::new(why));
        }
        _ => {
            return Err(FlagError::new(format!(
                "invalid restart policy: unknown policy '{name}'; use one of 'no', 'always', 'on-failure', or \
                 'unless-stopped'"
            )));
        }
    };
    match count {
        Some(_) => Err(FlagError::new(format!(
            "invalid restart policy: maximum retry count cannot be used with restart policy '{name}'"
        ))),
        None => Ok(policy),
    }
}

/// Applies one `--security-opt` to `isolation`; `read` fetches the text of a seccomp profile file.
pub fn security_opt(
    isolation: &mut Isolation,
    text: &str,
    read: impl FnOnce(&str) -> std::io::Result<String>,
) -> Result<(), FlagError> {
    let (key, value) = text.split_once('=').or_else(|| text.split_once(':')).unwrap_or((text, ""));
    match (key, value) {
        ("no-new-privileges", _) => isolation.no_new_privileges = super::boolean(key, value)?,
        ("seccomp", "unconfined") => isolation.seccomp = SeccompChoice::Unconfined,
        ("seccomp", "builtin" | "default") => isolation.seccomp = SeccompChoice::Default,
        ("seccomp", path) => {
            let profile = read(path)
                .map_err(|e| FlagError::new(format!("opening seccomp profile ({path}) failed: {e}")))?;
            // An inspection shows the profile, and an engine over the API does not have our files.
            isolation.security_opts.push(format!("seccomp={profile}"));
            isolation.seccomp = SeccompChoice::Profile(profile);
            return Ok(());
        }
        // Hosts without these modules: switching them off is what they already do.
        ("apparmor", "unconfined") | ("label", "disable") => {}
        ("systempaths", "unconfined") => {
            isolation.masked_paths = Some(Vec::new());
            isolation.readonly_paths = Some(Vec::new());
            // As from Docker's client: the lists of paths say it.
            return Ok(());
        }
        ("apparmor" | "label", _) => {
            return Err(FlagError::new(format!("security option {text:?} is not supported yet")));
        }
        _ => return Err(FlagError::new(format!("invalid --security-opt: {text:?}"))),
    }
    isolation.security_opts.push(text.to_owned());
    Ok(())
}

/// The lines of an `--env-file`: `KEY=value` or a bare `KEY`, which takes its value from `lookup` or is left out.
pub fn env_file(
    name: &str,
    text: &str,
    lookup: impl Fn(&str) -> Option<String>,
) -> Result<Vec<String>, FlagError> {
    let mut out = Vec::new();
    for line in text.trim_start_matches('\u{feff}').lines() {
        let line = line.trim_start();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let (key, value) = line.split_once('=').map_or((line, None), |(key, value)| (key, Some(value)));
        if key.is_empty() {
            return Err(FlagError::new(format!(
                "invalid env file ({name}): no variable name on line '{line}'"
            )));
        }
        if key.contains(char::is_whitespace) {
            return Err(FlagError::new(format!(
                "invalid env file ({name}): variable '{key}' contains whitespaces"
            )));
        }
        match value {
            Some(_) => out.push(line.to_owned()),
            None => out.extend(lookup(key).map(|value| format!("{key}={value}"))),
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_and_ulimits() {
        assert_eq!(
            device("/dev/fuse").map(|d| (d.container, d.permissions)),
            Ok(("/dev/fuse".into(), "rwm".into()))
        );
        assert_eq!(
            device("/dev/a:r").map(|d| (d.container, d.permissions)),
            Ok(("/dev/a".into(), "r".into()))
        );
        assert_eq!(device("/dev/a:/dev/b:rw").map(|d| d.container), Ok("/dev/b".into()));
        assert!(device("fuse").is_err() && device("/a:/b:x").is_err());
        assert_eq!(ulimit("nofile=1:2"), Ok(Ulimit { name: "nofile".into(), soft: 1, hard: 2 }));
        assert_eq!(ulimit("core=-1").map(|u| u.hard), Ok(-1));
        assert!(ulimit("nofile=2:1").is_err() && ulimit("wat=1").is_err() && ulimit("nofile").is_err());
    }

    #[test]
    fn policies_and_environment() {
        assert_eq!(restart_policy("on-failure:3"), Ok(RestartPolicy::OnFailure { max: 3 }));
        let text = |policy: &str| restart_policy(policy).map_err(|error| error.to_string());
        assert!(text("on-failure:-1").is_err_and(|error| error.ends_with("cannot be negative")));
        assert!(text("on-failure:x").is_err_and(|error| error.ends_with("must be an integer")));
        assert!(restart_policy("always:3").is_err() && restart_policy("sometimes").is_err());
        let file = "# comment\nA=1\n  B\nC\nD=x y = z\n";
        let lookup = |key: &str| (key == "B").then(|| "2".to_owned());
        assert_eq!(env_file("f", file, lookup), Ok(vec!["A=1".into(), "B=2".into(), "D=x y = z".into()]));
        assert!(env_file("f", "A B=1", lookup).is_err() && env_file("f", "=1", lookup).is_err());
    }
}
