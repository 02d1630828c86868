//! Volumes, tmpfs, secrets and configs of a service's containers.

use std::path::PathBuf;

use engine::model::{BindPropagation, ContainerSpec, Labels, Mount, MountKind, MountSyntax, Owners};

use super::super::Project;
use super::super::section::Section;
use super::container::container_of;
use crate::canon::volumes::ID_MAP;
use crate::error::LoadError;

/// One secret or config as a service sees it.
#[derive(Clone, Debug)]
pub struct FileUse {
    /// Key of the project's secret or config.
    pub source: String,
    /// Absolute path in the container.
    pub target: String,
    pub uid: Option<u32>,
    pub gid: Option<u32>,
    pub mode: Option<u32>,
}

/// Fills `container.mounts`; returns the keys of the project's volumes among them.
pub(super) fn read(
    section: &Section,
    name: &str,
    project: &Project,
    container: &mut ContainerSpec,
) -> Result<Vec<String>, LoadError> {
    let mut keys = Vec::new();
    for item in section.sections("volumes")? {
        let mount = mount(&item, name, project, &mut keys)?;
        item.finish()?;
        container.mounts.push(mount);
    }
    container.mounts.extend(section.parsed_list("tmpfs", engine::parse::tmpfs)?);
    container.volumes_from = section.parsed_list("volumes_from", |text| {
        let mut parts = text.split(':');
        let (source, mode) = match (parts.next(), parts.next(), parts.next()) {
            (Some("container"), Some(name), mode) => (name.to_owned(), mode),
            (Some(service), mode, None) => (container_of(project, service), mode),
            _ => return Err("must be SERVICE[:ro|rw] or container:NAME[:ro|rw]"),
        };
        Ok(mode.map_or(source.clone(), |mode| format!("{source}:{mode}")))
    })?;
    keys.sort();
    keys.dedup();
    Ok(keys)
}

fn mount(
    item: &Section,
    service: &str,
    project: &Project,
    keys: &mut Vec<String>,
) -> Result<Mount, LoadError> {
    let source = item.text("source")?;
    let Some(target) = item.text("target")? else { return Err(item.invalid("target", "is missing")) };
    if !target.starts_with('/') {
        return Err(item.invalid("target", format!("must be an absolute path, not {target:?}")));
    }
    // A hint for desktop file sharing; on Linux all of its values are the same.
    item.text("consistency")?;
    item.unsupported("image", "mounts are bind, volume or tmpfs")?;
    let kind = match item.text("type")?.as_deref() {
        Some("bind") => bind(item, source)?,
        Some("volume") => volume(item, source, service, project, keys)?,
        Some("tmpfs") => tmpfs(item)?,
        Some("image" | "cluster" | "npipe") => {
            item.unsupported("type", "mounts are bind, volume or tmpfs")?;
            return Err(item.invalid("type", "is not supported"));
        }
        Some(other) => {
            return Err(item.invalid("type", format!("must be bind, volume or tmpfs, not {other:?}")));
        }
        None => return Err(item.invalid("type", "is missing")),
    };
    let syntax = match kind {
        MountKind::Tmpfs { .. } => MountSyntax::Mount,
        _ => MountSyntax::Volume,
    };
    Ok(Mount { target, kind, read_only: item.flag("read_only")?, syntax })
}

fn bind(item: &Section, source: Option<String>) -> Result<MountKind, LoadError> {
    let Some(source) = source else { return Err(item.invalid("source", "is missing")) };
    let (mut propagation, mut recursive, mut create_source) = (None, true, true);
    let mut owners = Owners::AsTheyAre;
    if let Some(bind) = item.section("bind")? {
        owners = bind.parsed(ID_MAP, engine::parse::owners)?.unwrap_or_default();
        propagation = bind.parsed("propagation", |text| {
            Ok::<_, String>(match text {
                "private" => BindPropagation::Private,
                "rprivate" => BindPropagation::RPrivate,
                "shared" => BindPropagation::Shared,
                "rshared" => BindPropagation::RShared,
                "slave" => BindPropagation::Slave,
                "rslave" => BindPropagation::RSlave,
                other => return Err(format!("{other:?} is no propagation")),
            })
        })?;
        create_source = bind.boolean("create_host_path")?.unwrap_or(true);
        recursive = match bind.text("recursive")?.as_deref() {
            None | Some("enabled") => true,
            Some("disabled") => false,
            Some(_) => {
                bind.unsupported("recursive", "it is `enabled` or `disabled`")?;
                true
            }
        };
        // Without SELinux there are no labels to set, and the key is in many files that run on both kinds of hosts.
        if bind.text("selinux")?.is_some() && std::path::Path::new("/sys/fs/selinux/enforce").exists() {
            bind.unsupported("selinux", "files are not relabelled")?;
        }
        bind.finish()?;
    }
    Ok(MountKind::Bind { source: PathBuf::from(source), propagation, recursive, create_source, owners })
}

fn volume(
    item: &Section,
    source: Option<String>,
    service: &str,
    project: &Project,
    keys: &mut Vec<String>,
) -> Result<MountKind, LoadError> {
    let (mut no_copy, mut subpath, mut labels) = (false, None, Labels::new());
    let mut owners = Owners::AsTheyAre;
    if let Some(volume) = item.section("volume")? {
        owners = volume.parsed(ID_MAP, engine::parse::owners)?.unwrap_or_default();
        no_copy = volume.flag("nocopy")?;
        subpath = volume.text("subpath")?;
        labels = volume.dictionary("labels")?;
        volume.finish()?;
    }
    let name = match source {
        None => None,
        Some(key) => match project.volumes.get(&key) {
            Some(volume) => {
                keys.push(key);
                Some(volume.name.clone())
            }
            None => {
                return Err(LoadError::Inconsistent {
                    at: item.node("source").map_or_else(crate::yaml::Span::nowhere, |node| node.at.clone()),
                    message: format!("service {service:?} refers to undefined volume {key}"),
                });
            }
        },
    };
    Ok(MountKind::Volume { name, no_copy, subpath, driver: None, driver_opts: Labels::new(), labels, owners })
}

fn tmpfs(item: &Section) -> Result<MountKind, LoadError> {
    let (mut size_bytes, mut mode) = (None, None);
    if let Some(tmpfs) = item.section("tmpfs")? {
        size_bytes = tmpfs.parsed("size", str::parse)?;
        mode = tmpfs.parsed("mode", file_mode)?;
        tmpfs.finish()?;
    }
    Ok(MountKind::Tmpfs { size_bytes, mode, options: Vec::new(), given: String::new() })
}

/// A mode as its scalar reads: `0440` was octal in the file and is a decimal number here; a quoted one is still octal text.
fn file_mode(text: &str) -> Result<u32, String> {
    let parsed = match text.strip_prefix('0') {
        Some(octal) if !octal.is_empty() => u32::from_str_radix(octal.trim_start_matches('o'), 8).ok(),
        _ => text.parse().ok(),
    };
    parsed.filter(|mode| *mode <= 0o7777).ok_or_else(|| format!("{text:?} is no file mode"))
}

/// The secrets or configs a service uses.
pub(super) fn files(
    section: &Section,
    key: &'static str,
    project: &Project,
) -> Result<Vec<FileUse>, LoadError> {
    let (known, directory) = match key {
        "secrets" => (&project.secrets, "/run/secrets/"),
        _ => (&project.configs, "/"),
    };
    let mut out = Vec::new();
    for item in section.sections(key)? {
        let Some(source) = item.text("source")? else { return Err(item.invalid("source", "is missing")) };
        if !known.contains_key(&source) {
            let kind = key.trim_end_matches('s');
            return Err(item.invalid("source", format!("refers to undefined {kind} {source}")));
        }
        let target = item.text("target")?.unwrap_or_else(|| source.clone());
        let target = if target.starts_with('/') { target } else { format!("{directory}{target}") };
        let mode = item.parsed("mode", file_mode)?;
        let (uid, gid) = (item.parsed("uid", str::parse)?, item.parsed("gid", str::parse)?);
        item.finish()?;
        out.push(FileUse { source, target, uid, gid, mode });
    }
    Ok(out)
}
