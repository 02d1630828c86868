//! Files to one merged tree: reading, `extends`, `include`.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::path::{Path, PathBuf};

use super::{discover, paths, read_env_files};
use crate::error::LoadError;
use crate::interpolate::Interpolator;
use crate::yaml::{self, Map, Node, Span, Value};
use crate::{canon, merge};

/// How many services may extend one another in a row.
const MAX_TRAIL: usize = 64;
/// How many files a project may include: enough for anybody, and few enough that doubling at each level ends soon.
const MAX_INCLUDES: usize = 1_000;

/// A parsed file whose variables are not substituted yet.
pub(super) struct Source {
    path: PathBuf,
    root: Node,
}

impl Source {
    pub fn into_root(self) -> Node {
        self.root
    }
}

pub(super) struct Loader {
    /// Errors name files relative to it.
    here: PathBuf,
    pub environment: BTreeMap<String, String>,
    missing: BTreeSet<String>,
    warnings: Vec<String>,
    /// Files already read for `extends`, in canonical form with absolute paths.
    bases: BTreeMap<PathBuf, Node>,
    /// Files being included, outermost first.
    including: Vec<PathBuf>,
    included: usize,
}

/// The last `name:` among `sources`, substituted.
pub(super) fn declared_name(
    sources: &[Source],
    environment: &BTreeMap<String, String>,
) -> Result<Option<String>, LoadError> {
    let lookup = |name: &str| environment.get(name).cloned();
    let named = sources.iter().rev().find_map(|source| source.root.get("name"));
    let Some(mut node) = named.cloned() else { return Ok(None) };
    Interpolator::new(&lookup).node(&mut node, "name")?;
    match node.as_text() {
        Some(name) => Ok(Some(name).filter(|name| !name.is_empty())),
        None => Err(canon::invalid(&node, "name", "must be a string")),
    }
}

impl Loader {
    pub fn new(here: &Path, environment: BTreeMap<String, String>) -> Self {
        Self {
            here: here.to_owned(),
            environment,
            missing: BTreeSet::new(),
            warnings: Vec::new(),
            bases: BTreeMap::new(),
            including: Vec::new(),
            included: 0,
        }
    }

    pub fn home(&self) -> Option<&str> {
        self.environment.get("HOME").map(String::as_str)
    }

    /// What the user should know although it is no error.
    pub fn into_warnings(self) -> Vec<String> {
        let unset = self
            .missing
            .iter()
            .map(|name| format!("the {name:?} variable is not set, defaulting to a blank string"));
        self.warnings.into_iter().chain(unset).collect()
    }

    pub fn sources(&self, files: &[PathBuf]) -> Result<Vec<Source>, LoadError> {
        files.iter().map(|path| self.source(path)).collect()
    }

    fn shown(&self, path: &Path) -> String {
        path.strip_prefix(&self.here).unwrap_or(path).to_string_lossy().into_owned()
    }

    fn source(&self, path: &Path) -> Result<Source, LoadError> {
        let read = || {
            if path != Path::new("-") {
                return std::fs::read_to_string(path);
            }
            let mut text = String::new();
            std::io::stdin().read_to_string(&mut text).map(|_| text)
        };
        let text = read().map_err(|source| LoadError::Read {
            what: "Compose file",
            path: path.to_owned(),
            source,
        })?;
        Ok(Source { path: path.to_owned(), root: yaml::parse(&text, &self.shown(path))? })
    }

    /// Merges `sources` of the project in `directory`, everything they extend and include resolved.
    pub fn merged(&mut self, sources: Vec<Source>, directory: &Path) -> Result<Node, LoadError> {
        let mut merged: Option<Node> = None;
        for source in sources {
            let path = source.path.clone();
            let mut root = self.canonical(source)?;
            self.extend(&mut root, directory, &path)?;
            let included = root.as_map_mut().and_then(|map| map.remove("include"));
            let mut base = merged.unwrap_or_else(|| Node::map(root.at.clone()));
            if let Some(included) = included {
                self.include(&mut base, &included, directory)?;
            }
            merged = Some(merge::merge(base, root, &mut Vec::new())?);
        }
        Ok(merged.unwrap_or_else(|| Node::map(Span::nowhere())))
    }

    /// Substitutes variables and brings the tree into long form.
    fn canonical(&mut self, source: Source) -> Result<Node, LoadError> {
        let Source { path, mut root } = source;
        let environment = &self.environment;
        let lookup = |name: &str| environment.get(name).cloned();
        let mut interpolator = Interpolator::new(&lookup);
        interpolator.node(&mut root, "")?;
        self.missing.extend(interpolator.into_missing());
        canon::file(&mut root)?;
        if root.as_map_mut().and_then(|map| map.remove("version")).is_some() {
            let warning = format!("{}: the attribute `version` is obsolete and ignored", self.shown(&path));
            self.warnings.push(warning);
        }
        Ok(root)
    }

    /// Replaces every service of `root` that extends another one by the merged result.
    fn extend(&mut self, root: &mut Node, directory: &Path, path: &Path) -> Result<(), LoadError> {
        let services = root.as_map_mut().and_then(|map| map.get_mut("services")).and_then(Node::as_map_mut);
        let Some(services) = services else { return Ok(()) };
        let original = services.clone();
        for entry in services.iter_mut().filter(|entry| entry.value.get("extends").is_some()) {
            entry.value = self.extended(&original, &entry.key, directory, path, &mut Vec::new())?;
        }
        Ok(())
    }

    /// The service `name` of `services`, merged over what it extends.
    fn extended(
        &mut self,
        services: &Map,
        name: &str,
        directory: &Path,
        path: &Path,
        trail: &mut Vec<(PathBuf, String)>,
    ) -> Result<Node, LoadError> {
        let Some(mut service) = services.get(name).cloned() else { return Ok(Node::null(Span::nowhere())) };
        let Some(extends) = service.as_map_mut().and_then(|map| map.remove("extends")) else {
            return Ok(service);
        };
        let inconsistent = |message: String| LoadError::Inconsistent { at: extends.at.clone(), message };
        let here = (path.to_owned(), name.to_owned());
        if trail.contains(&here) || trail.len() > MAX_TRAIL {
            return Err(inconsistent(format!("service {name:?} extends itself in a circle")));
        }
        trail.push(here);
        let (base_name, file) = extends_target(&extends, &format!("services.{name}.extends"))?;
        let base = match file {
            None if services.contains(&base_name) => {
                self.extended(services, &base_name, directory, path, trail)?
            }
            None => {
                return Err(inconsistent(format!(
                    "service {name:?} extends the undefined service {base_name:?}"
                )));
            }
            Some(file) => {
                let file = paths::absolute(&file, directory, self.home());
                let root = self.base(&file)?;
                let Some(others) =
                    root.get("services").and_then(Node::as_map).filter(|others| others.contains(&base_name))
                else {
                    let file = file.display();
                    return Err(inconsistent(format!(
                        "service {name:?} extends {base_name:?}, which {file} does not define"
                    )));
                };
                let directory = file.parent().unwrap_or(directory);
                self.extended(others, &base_name, directory, &file, trail)?
            }
        };
        trail.pop();
        merge::merge(base, service, &mut vec!["services".to_owned(), name.to_owned()])
    }

    /// The canonical tree of a file that is extended from, read once.
    fn base(&mut self, file: &Path) -> Result<Node, LoadError> {
        if let Some(root) = self.bases.get(file) {
            return Ok(root.clone());
        }
        let source = self.source(file)?;
        let mut root = self.canonical(source)?;
        paths::resolve(&mut root, file.parent().unwrap_or(Path::new("/")), self.home());
        self.bases.insert(file.to_owned(), root.clone());
        Ok(root)
    }

    /// Adds the resources of each included project to `base`.
    fn include(&mut self, base: &mut Node, include: &Node, directory: &Path) -> Result<(), LoadError> {
        let Some(items) = include.as_seq() else {
            return Err(canon::invalid(include, "include", "must be a list"));
        };
        for item in items {
            let entry = Include::read(item)?;
            let resolve = |path: &String| paths::absolute(path, directory, self.home());
            let files: Vec<PathBuf> = entry.path.iter().map(resolve).collect();
            let own = match &entry.project_directory {
                Some(own) => resolve(own),
                None => files.first().and_then(|file| file.parent()).unwrap_or(directory).to_owned(),
            };
            let own = discover::clean(&own);
            let env_files = match entry.env_file.as_slice() {
                [] => Some(own.join(".env")).filter(|file| file.is_file()).into_iter().collect(),
                files => files.iter().map(resolve).collect::<Vec<_>>(),
            };
            let outer = self.environment.clone();
            read_env_files(&env_files, &mut self.environment)?;
            self.included += files.len();
            if self.included > MAX_INCLUDES {
                return Err(canon::invalid(
                    item,
                    "include",
                    format!("brings in more than {MAX_INCLUDES} files"),
                ));
            }
            if let Some(again) = files.iter().find(|file| self.including.contains(file)) {
                let again = again.display();
                return Err(canon::invalid(item, "include", format!("brings in {again} from within itself")));
            }
            let outer_files = self.including.len();
            self.including.extend(files.iter().cloned());
            let sources = self.sources(&files)?;
            let mut root = self.merged(sources, &own)?;
            self.including.truncate(outer_files);
            self.environment = outer;
            paths::resolve(&mut root, &own, self.home());
            import(base, root)?;
        }
        Ok(())
    }
}

/// Service and file of an `extends:`.
fn extends_target(extends: &Node, path: &str) -> Result<(String, Option<String>), LoadError> {
    let Some(map) = extends.as_map() else {
        return Err(canon::invalid(extends, path, "must be a string or a mapping"));
    };
    if let Some(entry) = map.iter().find(|entry| !matches!(entry.key.as_str(), "service" | "file")) {
        return Err(LoadError::UnknownKey {
            at: entry.key_at.clone(),
            path: path.into(),
            key: entry.key.clone(),
            similar: None,
        });
    }
    match map.get("service").and_then(Node::as_text) {
        Some(service) => Ok((service, map.get("file").and_then(Node::as_text))),
        None => Err(canon::invalid(extends, path, "needs the key `service`")),
    }
}

/// Moves the resources of an included project into `base`, where equal ones may be already.
fn import(base: &mut Node, root: Node) -> Result<(), LoadError> {
    let (Some(base), Value::Map(root)) = (base.as_map_mut(), root.value) else { return Ok(()) };
    for section in root {
        let Value::Map(resources) = section.value.value else { continue };
        if !base.contains(&section.key) {
            base.set(section.key.clone(), Node::map(section.key_at.clone()));
        }
        let Some(known) = base.get_mut(&section.key).and_then(Node::as_map_mut) else { continue };
        for entry in resources {
            match known.get(&entry.key) {
                Some(old) if yaml::emit(old) != yaml::emit(&entry.value) => {
                    return Err(LoadError::Inconsistent {
                        at: entry.key_at,
                        message: format!("{}.{} conflicts with imported resource", section.key, entry.key),
                    });
                }
                Some(_) => {}
                None => known.push(entry),
            }
        }
    }
    Ok(())
}

#[derive(Default)]
struct Include {
    path: Vec<String>,
    project_directory: Option<String>,
    env_file: Vec<String>,
}

impl Include {
    fn read(item: &Node) -> Result<Self, LoadError> {
        let texts = |node: &Node| match &node.value {
            Value::Seq(items) => items.iter().filter_map(Node::as_text).collect(),
            _ => node.as_text().into_iter().collect::<Vec<_>>(),
        };
        let mut include = Include::default();
        let Some(map) = item.as_map() else {
            include.path = texts(item);
            return Ok(include);
        };
        for entry in map.iter() {
            match entry.key.as_str() {
                "path" => include.path = texts(&entry.value),
                "project_directory" => include.project_directory = entry.value.as_text(),
                "env_file" => include.env_file = texts(&entry.value),
                key => {
                    return Err(LoadError::UnknownKey {
                        at: entry.key_at.clone(),
                        path: "include".into(),
                        key: key.into(),
                        similar: None,
                    });
                }
            }
        }
        Ok(include)
    }
}
