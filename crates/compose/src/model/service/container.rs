//! Process, isolation, health and logging of a service's containers.

use engine::model::{
    Device, HealthCommand, HealthSpec, IpcMode, Isolation, LogSpec, NamespaceMode, ProcessSpec,
};

use super::super::Project;
use super::super::section::Section;
use crate::error::LoadError;

pub(super) fn process(section: &Section) -> Result<ProcessSpec, LoadError> {
    let words = |key: &'static str| match section.node(key) {
        None => Ok(None),
        Some(_) => section.texts(key).map(Some),
    };
    let grace = section.parsed("stop_grace_period", engine::parse::duration_ns)?;
    Ok(ProcessSpec {
        entrypoint: words("entrypoint")?,
        command: words("command")?,
        env: section
            .optional_dictionary("environment")?
            .into_iter()
            .filter_map(|(key, value)| Some(format!("{key}={}", value?)))
            .collect(),
        working_dir: section.text("working_dir")?,
        user: section.text("user")?,
        groups: section.texts("group_add")?,
        tty: section.flag("tty")?,
        open_stdin: section.flag("stdin_open")?,
        init: section.flag("init")?,
        stop_signal: section.text("stop_signal")?,
        stop_timeout_s: grace.map(|ns| i64::try_from(ns.div_ceil(1_000_000_000)).unwrap_or(i64::MAX)),
        ..ProcessSpec::default()
    })
}

pub(super) fn isolation(section: &Section, project: &Project) -> Result<Isolation, LoadError> {
    let own = |text: &str| -> Option<String> {
        let other = text.strip_prefix("service:")?;
        Some(container_of(project, other))
    };
    let mut isolation = Isolation {
        hostname: section.text("hostname")?,
        domainname: section.text("domainname")?,
        privileged: section.flag("privileged")?,
        cap_add: section.texts("cap_add")?,
        cap_drop: section.texts("cap_drop")?,
        read_only: section.flag("read_only")?,
        pid: section
            .parsed("pid", |text| match own(text) {
                Some(container) => Ok(NamespaceMode::Container(container)),
                None => engine::parse::namespace_mode("pid", text),
            })?
            .unwrap_or_default(),
        ipc: section
            .parsed("ipc", |text| match own(text) {
                Some(container) => Ok(IpcMode::Container(container)),
                None => engine::parse::ipc_mode(text),
            })?
            .unwrap_or_default(),
        uts: section.parsed("uts", |text| engine::parse::namespace_mode("uts", text))?.unwrap_or_default(),
        cgroupns: section
            .parsed("cgroup", |text| engine::parse::namespace_mode("cgroup", text))?
            .unwrap_or_default(),
        cgroup_parent: section.text("cgroup_parent")?,
        sysctls: section.dictionary("sysctls")?,
        devices: devices(section)?,
        device_rules: section.texts("device_cgroup_rules")?,
        shm_size_bytes: section.parsed("shm_size", str::parse)?,
        oom_score_adj: section.int("oom_score_adj", -1000..=1000)?,
        users: section.parsed("userns_mode", engine::parse::user_namespace)?.unwrap_or_default(),
        ..Isolation::default()
    };
    section.parsed_list("security_opt", |text| {
        engine::parse::security_opt(&mut isolation, text, |path| {
            std::fs::read_to_string(project.directory.join(path))
        })
    })?;
    Ok(isolation)
}

/// The name of the first container of `service`, which need not be read yet.
pub(super) fn container_of(project: &Project, service: &str) -> String {
    let node = project.tree.get("services").and_then(|services| services.get(service));
    let own = node.and_then(|node| node.get("container_name")).and_then(crate::yaml::Node::as_text);
    own.unwrap_or_else(|| format!("{}-{service}-1", project.name))
}

fn devices(section: &Section) -> Result<Vec<Device>, LoadError> {
    let mut out = Vec::new();
    for item in section.sections("devices")? {
        let Some(host) = item.text("source")? else {
            return Err(item.invalid("source", "is missing"));
        };
        let permissions = item.text("permissions")?.unwrap_or_else(|| "rwm".into());
        if permissions.is_empty() || !permissions.chars().all(|c| "rwm".contains(c)) {
            return Err(item.invalid("permissions", format!("must be some of `rwm`, not {permissions:?}")));
        }
        if !host.starts_with('/') {
            return Err(item.invalid("source", format!("must be the path of a device node, not {host:?}")));
        }
        let container = item.text("target")?.unwrap_or_else(|| host.clone());
        item.finish()?;
        out.push(Device { host: host.into(), container, permissions });
    }
    Ok(out)
}

pub(super) fn health(section: &Section) -> Result<Option<HealthSpec>, LoadError> {
    let Some(health) = section.section("healthcheck")? else { return Ok(None) };
    let time = |key| health.parsed(key, engine::parse::duration_ns);
    let words = health.texts("test")?;
    let disabled = health.flag("disable")?;
    let test = match words.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        _ if disabled => Some(HealthCommand::Disabled),
        [] => None,
        ["NONE"] => Some(HealthCommand::Disabled),
        ["CMD-SHELL", command] => Some(HealthCommand::Shell(command.to_owned())),
        ["CMD", _, ..] => Some(HealthCommand::Exec(words[1..].to_vec())),
        _ => {
            return Err(
                health.invalid("test", "must be a string, or a list that starts with NONE, CMD or CMD-SHELL")
            );
        }
    };
    let spec = HealthSpec {
        test,
        interval_ns: time("interval")?,
        timeout_ns: time("timeout")?,
        start_period_ns: time("start_period")?,
        start_interval_ns: time("start_interval")?,
        retries: health.int("retries", 0..=1_000_000)?.and_then(|retries| u32::try_from(retries).ok()),
    };
    health.finish()?;
    Ok(Some(spec))
}

pub(super) fn log(section: &Section) -> Result<LogSpec, LoadError> {
    let Some(logging) = section.section("logging")? else { return Ok(LogSpec::default()) };
    let spec = LogSpec { driver: logging.text("driver")?, options: logging.dictionary("options")? };
    logging.finish()?;
    Ok(spec)
}
