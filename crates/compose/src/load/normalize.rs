//! What a project means but does not say: names, the default network, implied dependencies, resolved environments.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::dotenv;
use crate::error::LoadError;
use crate::yaml::{Map, Node, Span, Value};

pub(super) struct Context<'a> {
    pub name: &'a str,
    pub directory: &'a Path,
    pub profiles: &'a BTreeSet<String>,
    pub targets: &'a [String],
    pub environment: &'a BTreeMap<String, String>,
}

/// Completes `root` and tells which services are enabled.
pub(super) fn normalize(root: &mut Node, context: &Context) -> Result<BTreeSet<String>, LoadError> {
    let Some(top) = root.as_map_mut() else { return Ok(BTreeSet::new()) };
    top.retain(|entry| !entry.value.is_null());
    top.set("name", Node::text(context.name, Span::nowhere()));
    let mut default_used = None;
    let mut enabled = BTreeSet::new();
    if let Some(services) = top.get_mut("services").and_then(Node::as_map_mut) {
        for entry in services.iter_mut() {
            let name = &entry.key;
            let Some(service) = entry.value.as_map_mut() else { continue };
            if context.targets.contains(name) || profile_is_on(service, context.profiles) {
                enabled.insert(name.clone());
                environment(service, name, context)?;
            }
            if default_network(service) {
                default_used.get_or_insert_with(|| entry.key_at.clone());
            }
            build_defaults(service, context.directory);
            secret_targets(service);
            implied_dependencies(service);
        }
    }
    if let Some(at) = default_used {
        if !top.contains("networks") {
            top.set("networks", Node::map(at.clone()));
        }
        if let Some(networks) = top.get_mut("networks").and_then(Node::as_map_mut)
            && !networks.contains("default")
        {
            networks.set("default", Node::map(at));
        }
    }
    for section in ["networks", "volumes", "secrets", "configs"] {
        names(top, section, context.name);
    }
    Ok(enabled)
}

fn profile_is_on(service: &Map, profiles: &BTreeSet<String>) -> bool {
    match service.get("profiles").and_then(Node::as_seq) {
        None | Some([]) => true,
        Some(wanted) => {
            profiles.contains("*")
                || wanted.iter().filter_map(Node::as_text).any(|profile| profiles.contains(&profile))
        }
    }
}

/// Joins the network `default` when the service says nothing about networks; true when it is on `default`.
fn default_network(service: &mut Map) -> bool {
    if service.get("network_mode").is_some_and(|mode| !mode.is_null()) {
        return false;
    }
    match service.get("networks") {
        Some(node) if node.as_map().is_some_and(|networks| !networks.is_empty()) => {
            node.get("default").is_some()
        }
        _ => {
            let mut networks = Node::map(Span::nowhere());
            if let Some(map) = networks.as_map_mut() {
                map.set("default", Node::null(Span::nowhere()));
            }
            service.set("networks", networks);
            true
        }
    }
}

fn build_defaults(service: &mut Map, directory: &Path) {
    let Some(node) = service.get_mut("build") else { return };
    let at = node.at.clone();
    let Some(build) = node.as_map_mut() else { return };
    if !build.contains("context") {
        build.set("context", Node::text(directory.to_string_lossy(), at.clone()));
    }
    if !build.contains("dockerfile") && !build.contains("dockerfile_inline") {
        build.set("dockerfile", Node::text("Dockerfile", at));
    }
}

/// A secret without a target is in `/run/secrets`. Where a config is by default is not written down.
fn secret_targets(service: &mut Map) {
    let Some(Value::Seq(secrets)) = service.get_mut("secrets").map(|node| &mut node.value) else { return };
    for secret in secrets {
        let source = secret.get("source").and_then(Node::as_text);
        let (at, map) = (secret.at.clone(), secret.as_map_mut());
        if let (Some(source), Some(map)) = (source, map)
            && !map.contains("target")
        {
            map.set("target", Node::text(format!("/run/secrets/{source}"), at));
        }
    }
}

/// Sharing a namespace or volumes with another service means starting after it.
fn implied_dependencies(service: &mut Map) {
    let mut implied: Vec<(String, Span)> = Vec::new();
    for key in ["network_mode", "ipc", "pid"] {
        if let Some(node) = service.get(key)
            && let Some(text) = node.as_text()
            && let Some(other) = text.strip_prefix("service:")
        {
            implied.push((other.to_owned(), node.at.clone()));
        }
    }
    for item in service.get("volumes_from").and_then(Node::as_seq).unwrap_or_default() {
        let text = item.as_text().unwrap_or_default();
        if !text.starts_with("container:") {
            implied.push((text.split(':').next().unwrap_or_default().to_owned(), item.at.clone()));
        }
    }
    for item in service.get("links").and_then(Node::as_seq).unwrap_or_default() {
        let text = item.as_text().unwrap_or_default();
        implied.push((text.split(':').next().unwrap_or_default().to_owned(), item.at.clone()));
    }
    for (other, at) in implied {
        if service.get("depends_on").and_then(Node::as_map).is_none() {
            service.set("depends_on", Node::map(at.clone()));
        }
        let Some(dependencies) = service.get_mut("depends_on").and_then(Node::as_map_mut) else { continue };
        if !dependencies.contains(&other) {
            let mut dependency = Map::default();
            dependency.set("condition", Node::text("service_started", at.clone()));
            dependency.set("restart", Node::plain(true, at.clone()));
            dependency.set("required", Node::plain(true, at.clone()));
            dependencies.set(other, Node::new(Value::Map(dependency), at));
        }
    }
}

/// Puts the variables of `env_file` under `environment`, looks up the ones without a value, and does the same for label files.
fn environment(service: &mut Map, name: &str, context: &Context) -> Result<(), LoadError> {
    let mut resolved: BTreeMap<String, Node> = BTreeMap::new();
    let files = service.remove("env_file");
    for item in files.as_ref().and_then(Node::as_seq).unwrap_or_default() {
        for (key, value) in env_file(item, name, &resolved, context)? {
            resolved.insert(key, Node::text(value, item.at.clone()));
        }
    }
    if let Some(own) = service.get("environment").and_then(Node::as_map) {
        for entry in own.iter() {
            let given = match entry.value.is_null() {
                false => entry.value.clone(),
                true => match context.environment.get(&entry.key) {
                    Some(value) => Node::text(value, entry.key_at.clone()),
                    // Named but set nowhere: the container does not get it, not even from an env file.
                    None => Node::null(entry.key_at.clone()),
                },
            };
            resolved.insert(entry.key.clone(), given);
        }
    }
    replace(service, "environment", resolved);

    let mut labels: BTreeMap<String, Node> = BTreeMap::new();
    let files = service.remove("label_file");
    for item in files.as_ref().and_then(Node::as_seq).unwrap_or_default() {
        let path = PathBuf::from(item.as_text().unwrap_or_default());
        for (key, value) in dotenv::read(&path, &|name| context.environment.get(name).cloned())? {
            labels.insert(key, Node::text(value, item.at.clone()));
        }
    }
    if let Some(own) = service.get("labels").and_then(Node::as_map) {
        labels.extend(own.iter().map(|entry| (entry.key.clone(), entry.value.clone())));
    }
    replace(service, "labels", labels);
    Ok(())
}

fn replace(service: &mut Map, key: &str, values: BTreeMap<String, Node>) {
    let Some((_, first)) = values.first_key_value() else {
        service.remove(key);
        return;
    };
    let at = service.get(key).map_or_else(|| first.at.clone(), |node| node.at.clone());
    let mut map = Map::default();
    values.into_iter().for_each(|(key, value)| map.set(key, value));
    service.set(key, Node::new(Value::Map(map), at));
}

fn env_file(
    item: &Node,
    service: &str,
    earlier: &BTreeMap<String, Node>,
    context: &Context,
) -> Result<dotenv::Variables, LoadError> {
    let field = |key: &str| item.get(key).and_then(Node::as_text);
    if let Some(entry) = item.as_map().and_then(|map| {
        map.iter().find(|entry| !matches!(entry.key.as_str(), "path" | "required" | "format"))
    }) {
        return Err(LoadError::UnknownKey {
            at: entry.key_at.clone(),
            path: format!("services.{service}.env_file"),
            key: entry.key.clone(),
            similar: None,
        });
    }
    let path = PathBuf::from(field("path").unwrap_or_default());
    if field("required").as_deref() == Some("false") && !path.exists() {
        return Ok(Vec::new());
    }
    let lookup = |name: &str| {
        let known = context.environment.get(name).cloned();
        known.or_else(|| earlier.get(name).and_then(Node::as_text))
    };
    match field("format").as_deref() {
        Some("raw") => Ok(dotenv::parse_raw(&dotenv::read_text(&path)?)),
        None | Some("") => dotenv::read(&path, &lookup),
        Some(other) => Err(LoadError::Value {
            at: item.at.clone(),
            path: format!("services.{service}.env_file.format"),
            message: format!("must be \"raw\" or absent, not {other:?}"),
        }),
    }
}

/// `<project>_<key>` unless a name is given or somebody else made the resource.
fn names(top: &mut Map, section: &str, project: &str) {
    let Some(resources) = top.get_mut(section).and_then(Node::as_map_mut) else { return };
    for entry in resources.iter_mut() {
        if entry.value.is_null() {
            entry.value = Node::map(entry.value.at.clone());
        }
        let at = entry.value.at.clone();
        let Some(map) = entry.value.as_map_mut() else { continue };
        if map.get("name").is_none_or(Node::is_null) {
            let external = map.get("external").and_then(Node::as_text).as_deref() == Some("true");
            let name = if external { entry.key.clone() } else { format!("{project}_{}", entry.key) };
            map.set("name", Node::text(name, at));
        }
    }
}
