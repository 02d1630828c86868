//! Relative paths, made absolute against the directory of the file that owns them.

use std::path::{Path, PathBuf};

use super::discover::clean;
use crate::yaml::{Map, Node, Value};

/// Resolves every host path in the canonical tree `root` against `base`; absolute ones stay.
pub(super) fn resolve(root: &mut Node, base: &Path, home: Option<&str>) {
    let resolver = Resolver { base, home };
    each(root, "services", |service| resolver.service(service));
    for section in ["secrets", "configs"] {
        each(root, section, |map| resolver.at(map, "file"));
    }
    each(root, "volumes", |volume| {
        let Some(options) = volume.get_mut("driver_opts").and_then(Node::as_map_mut) else { return };
        let flags = options.get("o").and_then(Node::as_text).unwrap_or_default();
        if flags.split(',').any(|word| matches!(word.trim(), "bind" | "rbind")) {
            resolver.at(options, "device");
        }
    });
}

fn each(root: &mut Node, section: &str, mut step: impl FnMut(&mut Map)) {
    let Some(map) = root.as_map_mut().and_then(|map| map.get_mut(section)).and_then(Node::as_map_mut) else {
        return;
    };
    for entry in map.iter_mut() {
        if let Some(map) = entry.value.as_map_mut() {
            step(map);
        }
    }
}

/// `path` against `base`, `~` being the home directory.
pub(super) fn absolute(path: &str, base: &Path, home: Option<&str>) -> PathBuf {
    match (path.strip_prefix('~'), home) {
        (Some(rest), Some(home)) if rest.is_empty() || rest.starts_with('/') => {
            clean(&PathBuf::from(format!("{home}{rest}")))
        }
        _ => clean(&base.join(path)),
    }
}

struct Resolver<'a> {
    base: &'a Path,
    home: Option<&'a str>,
}

impl Resolver<'_> {
    fn node(&self, node: &mut Node) {
        if let Value::Scalar(scalar) = &mut node.value
            && !scalar.text.is_empty()
        {
            scalar.text = absolute(&scalar.text, self.base, self.home).to_string_lossy().into_owned();
        }
    }

    fn at(&self, map: &mut Map, key: &str) {
        if let Some(node) = map.get_mut(key) {
            self.node(node);
        }
    }

    fn items(&self, map: &mut Map, key: &str, step: impl Fn(&mut Node)) {
        if let Some(Value::Seq(items)) = map.get_mut(key).map(|node| &mut node.value) {
            items.iter_mut().for_each(step);
        }
    }

    fn service(&self, service: &mut Map) {
        if let Some(build) = service.get_mut("build").and_then(Node::as_map_mut) {
            self.context(build);
        }
        self.items(service, "env_file", |item| {
            if let Some(map) = item.as_map_mut() {
                self.at(map, "path");
            }
        });
        self.items(service, "label_file", |item| self.node(item));
        self.items(service, "volumes", |item| {
            let bind = item.get("type").and_then(Node::as_text).as_deref() == Some("bind");
            if let Some(map) = item.as_map_mut().filter(|_| bind) {
                self.at(map, "source");
            }
        });
        if let Some(extends) = service.get_mut("extends").and_then(Node::as_map_mut) {
            self.at(extends, "file");
        }
    }

    /// A build context may be a URL; only directories are paths.
    fn context(&self, build: &mut Map) {
        let is_path = |node: &Node| {
            let text = node.as_text().unwrap_or_default();
            !["git@", "github.com/", "service:"].iter().any(|start| text.starts_with(start))
                && !text.contains("://")
        };
        if build.get("context").is_none_or(is_path) {
            self.at(build, "context");
        }
        if let Some(named) = build.get_mut("additional_contexts").and_then(Node::as_map_mut) {
            let nodes = named.iter_mut().map(|entry| &mut entry.value);
            nodes.filter(|node| is_path(node)).for_each(|node| self.node(node));
        }
    }
}
