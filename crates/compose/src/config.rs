//! `compose config`: the project as one canonical file, and lists out of it.

use std::collections::BTreeSet;

use crate::error::LoadError;
use crate::model::Project;
use crate::yaml::{self, Map, Node, Plain, Scalar, Value};

/// The notation of a printed project.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    #[default]
    Yaml,
    Json,
}

impl Project {
    /// The whole project, or `services` with what they depend on, in canonical form.
    ///
    /// # Errors
    /// [`LoadError::NoSuchService`].
    pub fn render(&self, services: &[String], format: Format) -> Result<String, LoadError> {
        let shown = self.selection(services)?;
        let mut tree = self.tree.clone();
        if let Some(top) = tree.as_map_mut() {
            retain(top, "services", |name| shown.contains(name));
            if !services.is_empty() {
                self.drop_unused(top, &shown);
            }
            top.retain(|entry| entry.value.as_map().is_none_or(|map| !map.is_empty()));
        }
        tidy(&mut tree, &mut Vec::new());
        Ok(match format {
            Format::Yaml => yaml::emit(&tree),
            Format::Json => {
                let mut text = serde_json::to_string_pretty(&json(&tree)).unwrap_or_default();
                text.push('\n');
                text
            }
        })
    }

    /// The enabled services, or `names` and everything they depend on.
    pub(crate) fn selection(&self, names: &[String]) -> Result<BTreeSet<String>, LoadError> {
        if names.is_empty() {
            return Ok(self.enabled().map(|service| service.name.clone()).collect());
        }
        let mut out = BTreeSet::new();
        let mut open: Vec<&str> = Vec::new();
        for name in names {
            open.push(&self.enabled_service(name)?.name);
        }
        while let Some(name) = open.pop() {
            if out.insert(name.to_owned())
                && let Some(service) = self.services.get(name)
            {
                open.extend(
                    service
                        .depends_on
                        .keys()
                        .map(String::as_str)
                        .filter(|name| self.services.get(*name).is_some_and(|dependency| dependency.enabled)),
                );
            }
        }
        Ok(out)
    }

    /// The service called `name`.
    ///
    /// # Errors
    /// [`LoadError::NoSuchService`], with the names there are.
    pub fn service(&self, name: &str) -> Result<&crate::Service, LoadError> {
        self.services.get(name).ok_or_else(|| LoadError::NoSuchService {
            name: name.to_owned(),
            known: self.services.keys().cloned().collect(),
        })
    }

    /// [`Project::service`], which must also be enabled.
    pub(crate) fn enabled_service(&self, name: &str) -> Result<&crate::Service, LoadError> {
        match self.service(name)? {
            service if service.enabled => Ok(service),
            service => {
                let profiles = service.profiles.clone();
                Err(LoadError::ProfileOff { name: name.to_owned(), profiles })
            }
        }
    }

    fn drop_unused(&self, top: &mut Map, shown: &BTreeSet<String>) {
        let services: Vec<_> = shown.iter().filter_map(|name| self.services.get(name)).collect();
        retain(top, "networks", |key| services.iter().any(|s| s.networks.iter().any(|n| n == key)));
        retain(top, "volumes", |key| services.iter().any(|s| s.volumes.iter().any(|v| v == key)));
        retain(top, "secrets", |key| services.iter().any(|s| s.secrets.iter().any(|u| u.source == key)));
        retain(top, "configs", |key| services.iter().any(|s| s.configs.iter().any(|u| u.source == key)));
    }
}

fn retain(top: &mut Map, section: &str, keep: impl Fn(&str) -> bool) {
    if let Some(map) = top.get_mut(section).and_then(Node::as_map_mut) {
        map.retain(|entry| keep(&entry.key));
    }
}

/// Keys that come before the others, which follow by name.
fn order(path: &[String]) -> &'static [&'static str] {
    match path.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => &["name", "services", "networks", "volumes", "secrets", "configs"],
        ["services", _] => &["profiles", "annotations", "attach", "build"],
        ["services", _, "build"] => &["context", "dockerfile", "dockerfile_inline", "args"],
        ["services", _, "depends_on", _] => &["condition", "restart", "required"],
        ["services", _, "healthcheck"] => {
            &["test", "timeout", "interval", "retries", "start_period", "start_interval"]
        }
        ["services", _, "ports", _] => &["name", "mode", "host_ip", "target", "published", "protocol"],
        ["services", _, "volumes", _] => &["type", "source", "target"],
        ["services", _, "secrets" | "configs", _] => &["source", "target"],
        ["networks" | "volumes" | "secrets" | "configs", _] => &["name"],
        _ => &[],
    }
}

/// Sorts mappings and gives numbers and booleans that were written as text their type.
fn tidy(node: &mut Node, path: &mut Vec<String>) {
    match &mut node.value {
        Value::Map(map) => {
            let first = order(path);
            map.sort_by_key(|entry| {
                let rank = first.iter().position(|key| *key == entry.key).unwrap_or(first.len());
                (rank, entry.key.clone())
            });
            for entry in map.iter_mut() {
                path.push(entry.key.clone());
                tidy(&mut entry.value, path);
                path.pop();
            }
        }
        Value::Seq(items) => {
            path.push(String::new());
            items.iter_mut().for_each(|item| tidy(item, path));
            path.pop();
        }
        Value::Scalar(scalar) if is_typed(path) => {
            let plain = Scalar { plain: true, ..scalar.clone() };
            if plain.resolve() != Plain::Text {
                *scalar = plain;
            }
        }
        _ => {}
    }
}

fn is_typed(path: &[String]) -> bool {
    const TYPED: [&str; 27] = [
        "attach",
        "attachable",
        "cpu_period",
        "cpu_quota",
        "cpu_shares",
        "cpus",
        "disable",
        "external",
        "init",
        "internal",
        "nocopy",
        "no_cache",
        "oom_kill_disable",
        "oom_score_adj",
        "pids",
        "pids_limit",
        "privileged",
        "read_only",
        "replicas",
        "required",
        "restart",
        "retries",
        "scale",
        "stdin_open",
        "target",
        "tty",
        "create_host_path",
    ];
    let Some((key, parents)) = path.split_last() else { return false };
    // `restart` is a policy on a service and a boolean below `depends_on`; labels and variables are always text.
    let scope = parents.get(2).map(String::as_str);
    TYPED.contains(&key.as_str())
        && !matches!(scope, Some("environment" | "labels" | "annotations" | "sysctls"))
        && (key != "target" || scope == Some("ports"))
        && (key != "restart" || scope == Some("depends_on"))
        && !parents
            .iter()
            .any(|parent| matches!(parent.as_str(), "args" | "labels" | "options" | "driver_opts"))
}

fn json(node: &Node) -> serde_json::Value {
    match &node.value {
        Value::Null => serde_json::Value::Null,
        Value::Seq(items) => items.iter().map(json).collect(),
        Value::Map(map) => {
            serde_json::Value::Object(map.iter().map(|e| (e.key.clone(), json(&e.value))).collect())
        }
        Value::Scalar(scalar) => match scalar.resolve() {
            Plain::Bool(value) => value.into(),
            Plain::Int(value) => value.into(),
            Plain::Float(value) => value.into(),
            Plain::Text => scalar.text.clone().into(),
        },
    }
}
