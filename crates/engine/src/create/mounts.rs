//! Settles where every mount of a request comes from.

use crate::create::{CreateError, InvalidSpec};
use crate::model::{Mount, MountKind, MountSyntax};
use crate::names;
use crate::record::{Container, MountSource, ResolvedMount};
use crate::view::bind_mode;
use std::io;
use std::path::Path;

/// The mounts of `mounts`, parents before children; anonymous volumes get their random names.
///
/// # Errors
/// A bind source that is missing and shall not be created.
pub fn resolve(mounts: &[Mount]) -> Result<Vec<ResolvedMount>, CreateError> {
    let mut resolved = mounts.iter().map(resolve_one).collect::<Result<Vec<_>, _>>()?;
    resolved.sort_by_key(|mount| Path::new(&mount.target).components().count());
    Ok(resolved)
}

fn resolve_one(mount: &Mount) -> Result<ResolvedMount, CreateError> {
    let source = match &mount.kind {
        MountKind::Bind { source, propagation, recursive, create_source, owners } => {
            match std::fs::metadata(source) {
                Err(e) if e.kind() == io::ErrorKind::NotFound && *create_source => {}
                Err(e) if e.kind() == io::ErrorKind::NotFound => {
                    return Err(CreateError::BindSource { path: source.clone() });
                }
                Err(e) => return Err(CreateError::io("look at", source, e)),
                Ok(_) => {}
            }
            MountSource::Bind {
                path: source.clone(),
                propagation: *propagation,
                recursive: *recursive,
                owners: owners.clone(),
            }
        }
        MountKind::Volume { name, no_copy, driver, owners, .. } => {
            if let Some(driver) = driver.as_deref().filter(|driver| !matches!(*driver, "" | "local")) {
                return Err(CreateError::VolumeDriver { driver: driver.to_owned() });
            }
            let name = match name {
                Some(name) => name.clone(),
                None => crate::ids::random().map_err(CreateError::Random)?,
            };
            MountSource::Volume { name, no_copy: *no_copy, owners: owners.clone() }
        }
        MountKind::Tmpfs { size_bytes, mode, options, .. } => {
            MountSource::Tmpfs { size_bytes: *size_bytes, mode: *mode, options: options.clone() }
        }
    };
    let target = mount.target.clone();
    Ok(ResolvedMount {
        target,
        source,
        read_only: mount.read_only,
        syntax: mount.syntax,
        mode: bind_mode(mount),
    })
}

/// Makes the missing sources of `-v` binds, as Docker does: directories of root.
///
/// # Errors
/// The directory that could not be made.
pub fn create_sources(mounts: &[Mount]) -> Result<(), CreateError> {
    for mount in mounts {
        if let MountKind::Bind { source, create_source: true, .. } = &mount.kind
            && std::fs::symlink_metadata(source).is_err()
        {
            std::fs::create_dir_all(source).map_err(|e| CreateError::io("create", source, e))?;
        }
    }
    Ok(())
}

/// The mounts of `other` as `--volumes-from other[:ro]` hands them on: its volumes and binds, not its tmpfs.
///
/// # Errors
/// An option that is neither `ro` nor `rw`.
pub fn volumes_from(other: &Container, option: &str) -> Result<Vec<Mount>, InvalidSpec> {
    let read_only = match option {
        "" | "rw" | "z" | "Z" => false,
        "ro" => true,
        other => return Err(InvalidSpec::new(format!("invalid mode for volumes-from: {other}"))),
    };
    let inherited = other.doc.mounts.iter().filter_map(|mount| {
        let kind = match &mount.source {
            MountSource::Bind { path, propagation, recursive, owners } => MountKind::Bind {
                source: path.clone(),
                propagation: *propagation,
                recursive: *recursive,
                create_source: false,
                owners: owners.clone(),
            },
            MountSource::Volume { name, owners, .. } => MountKind::Volume {
                name: Some(name.clone()),
                no_copy: true,
                subpath: None,
                driver: None,
                driver_opts: Default::default(),
                labels: Default::default(),
                owners: owners.clone(),
            },
            MountSource::Tmpfs { .. } => return None,
        };
        let read_only = read_only || mount.read_only;
        Some(Mount { target: mount.target.clone(), kind, read_only, syntax: MountSyntax::VolumesFrom })
    });
    Ok(inherited.collect())
}

/// Whether a volume's name is one that [`resolve`] made up.
pub fn is_anonymous_name(name: &str) -> bool {
    name.len() == 64 && names::is_valid(name) && name.bytes().all(|b| b.is_ascii_hexdigit())
}
