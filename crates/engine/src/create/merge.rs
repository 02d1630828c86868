//! Completes a request from its image, with Docker's rules.

use crate::create::InvalidSpec;
use crate::model::{ContainerSpec, HealthCommand, HealthSpec, Labels, Mount, MountKind, MountSyntax, Owners};
use oci::image::{Config, Healthcheck};
use std::path::Path;

/// Puts under `spec` what the image's `config` says; afterwards the request stands by itself.
///
/// # Errors
/// When no command remains, or the image's own configuration is broken.
pub fn image_config(spec: &mut ContainerSpec, config: &Config) -> Result<(), InvalidSpec> {
    let process = &mut spec.process;
    if process.entrypoint.as_ref().is_none_or(Vec::is_empty) {
        if process.command.as_ref().is_none_or(Vec::is_empty) {
            process.command = config.cmd.clone();
        }
        if process.entrypoint.is_none() {
            process.entrypoint = config.entrypoint.clone();
        }
    }
    if process.entrypoint.as_ref().is_some_and(|e| e.len() == 1 && e[0].is_empty()) {
        process.entrypoint = None;
    }
    if argv(spec).is_empty() {
        return Err(InvalidSpec::new("no command specified"));
    }
    let process = &mut spec.process;
    merge_env(&mut process.env, &process.unset_env, &config.env);
    if process.working_dir.is_none() && !config.working_dir.is_empty() {
        process.working_dir = Some(config.working_dir.clone());
    }
    if process.user.is_none() && !config.user.is_empty() {
        process.user = Some(config.user.clone());
    }
    if process.stop_signal.is_none() && !config.stop_signal.is_empty() {
        crate::signal::number(&config.stop_signal)?;
        process.stop_signal = Some(config.stop_signal.clone());
    }
    for (key, value) in &config.labels {
        spec.labels.entry(key.clone()).or_insert_with(|| value.clone());
    }
    for port in config.exposed_ports.iter() {
        for port in crate::parse::expose(port)? {
            if !spec.network.expose.contains(&port) {
                spec.network.expose.push(port);
            }
        }
    }
    volumes(spec, config)?;
    health(spec, config.healthcheck.as_ref());
    Ok(())
}

/// What will be executed: entrypoint, then command.
pub fn argv(spec: &ContainerSpec) -> Vec<String> {
    let process = &spec.process;
    process.entrypoint.iter().flatten().chain(process.command.iter().flatten()).cloned().collect()
}

/// The key of a `KEY=value` entry.
pub fn env_key(entry: &str) -> &str {
    entry.split_once('=').map_or(entry, |(key, _)| key)
}

/// The image's entries first, replaced in place by the request's, then the request's other ones: the last of equal keys wins.
fn merge_env(env: &mut Vec<String>, unset: &[String], image: &[String]) {
    let mut merged: Vec<String> =
        image.iter().filter(|entry| !unset.iter().any(|key| key == env_key(entry))).cloned().collect();
    for entry in env.drain(..) {
        match merged.iter_mut().find(|have| env_key(have) == env_key(&entry)) {
            Some(have) => *have = entry,
            None => merged.push(entry),
        }
    }
    *env = merged;
}

fn volumes(spec: &mut ContainerSpec, config: &Config) -> Result<(), InvalidSpec> {
    for target in &config.volumes {
        let path = Path::new(target);
        if !path.is_absolute() || path == Path::new("/") {
            return Err(InvalidSpec::new(format!(
                "the image's volume {target:?} is not a directory below /"
            )));
        }
        // `--volumes-from` is resolved before this, so that it wins as well.
        if spec.mounts.iter().any(|mount| Path::new(&mount.target) == path) {
            continue;
        }
        let target = target.trim_end_matches('/').to_owned();
        let kind = MountKind::Volume {
            name: None,
            no_copy: false,
            subpath: None,
            driver: None,
            driver_opts: Labels::new(),
            labels: Labels::new(),
            owners: Owners::AsTheyAre,
        };
        spec.mounts.push(Mount { target, kind, read_only: false, syntax: MountSyntax::Image });
    }
    Ok(())
}

fn health(spec: &mut ContainerSpec, image: Option<&Healthcheck>) {
    if let Some(image) = image.and_then(from_image) {
        let health = spec.health.get_or_insert_with(HealthSpec::default);
        if health.test == Some(HealthCommand::Disabled) {
            return;
        }
        health.test = health.test.take().or(image.test);
        health.interval_ns = health.interval_ns.or(image.interval_ns);
        health.timeout_ns = health.timeout_ns.or(image.timeout_ns);
        health.start_period_ns = health.start_period_ns.or(image.start_period_ns);
        health.start_interval_ns = health.start_interval_ns.or(image.start_interval_ns);
        health.retries = health.retries.or(image.retries);
    }
}

/// An image's healthcheck as a request would say it; `None` when it has no test.
fn from_image(check: &Healthcheck) -> Option<HealthSpec> {
    let test = match check.test.split_first() {
        None => return None,
        Some((kind, _)) if kind == "NONE" => HealthCommand::Disabled,
        Some((kind, rest)) if kind == "CMD-SHELL" => HealthCommand::Shell(rest.join(" ")),
        Some((kind, rest)) if kind == "CMD" => HealthCommand::Exec(rest.to_vec()),
        Some(_) => HealthCommand::Exec(check.test.clone()),
    };
    let positive = |ns: i64| u64::try_from(ns).ok().filter(|ns| *ns > 0);
    Some(HealthSpec {
        test: Some(test),
        interval_ns: positive(check.interval),
        timeout_ns: positive(check.timeout),
        start_period_ns: positive(check.start_period),
        start_interval_ns: positive(check.start_interval),
        retries: positive(check.retries).and_then(|n| u32::try_from(n).ok()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> Config {
        Config {
            entrypoint: Some(vec!["/entry".into()]),
            cmd: Some(vec!["serve".into()]),
            env: vec!["PATH=/bin".into(), "A=image".into()],
            volumes: ["/data".to_owned()].into(),
            ..Default::default()
        }
    }

    fn check(entrypoint: Option<&[&str]>, command: Option<&[&str]>, expected: Result<&[&str], &str>) {
        let own = |list: Option<&[&str]>| list.map(|l| l.iter().map(|s| (*s).to_owned()).collect());
        let mut spec = ContainerSpec::default();
        spec.process.entrypoint = own(entrypoint);
        spec.process.command = own(command);
        let result = image_config(&mut spec, &image()).map(|()| argv(&spec)).map_err(|e| e.to_string());
        assert_eq!(
            result,
            expected.map(|l| l.iter().map(|s| (*s).to_owned()).collect()).map_err(str::to_owned)
        );
    }

    #[test]
    fn entrypoint_and_command() {
        check(None, None, Ok(&["/entry", "serve"]));
        check(None, Some(&["x"]), Ok(&["/entry", "x"]));
        check(Some(&["/mine"]), None, Ok(&["/mine"]));
        check(Some(&["/mine"]), Some(&["x"]), Ok(&["/mine", "x"]));
        check(Some(&[""]), Some(&["x"]), Ok(&["x"]));
        check(Some(&[""]), None, Err("no command specified"));
    }

    #[test]
    fn environment_and_volumes() {
        let mut spec = ContainerSpec::default();
        spec.process.env = vec!["A=mine".into(), "B=1".into(), "B=2".into()];
        spec.process.unset_env = vec!["PATH".into()];
        image_config(&mut spec, &image()).unwrap();
        assert_eq!(spec.process.env, ["A=mine", "B=2"]);
        assert_eq!(spec.mounts[0].syntax, MountSyntax::Image);
    }
}
