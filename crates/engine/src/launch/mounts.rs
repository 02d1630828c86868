//! The mounts of the specification: defaults, generated files, then what the user asked for.

use super::owners;
use crate::engine::Engine;
use crate::model::IpcMode;
use crate::record::{Container, MountSource, ResolvedMount};
use crate::start::StartError;
use crate::view::propagation;
use oci::runtime::Mount;
use std::path::{Path, PathBuf};

impl Engine {
    /// Completes `mounts`, the default ones. A user's mount on the place of a default one replaces it.
    pub(super) fn mounts(&self, container: &Container, mounts: &mut Vec<Mount>) -> Result<(), StartError> {
        self.shared_memory(container, mounts)?;
        let files = self.files_dir(container)?;
        for (name, target) in
            [("resolv.conf", "/etc/resolv.conf"), ("hostname", "/etc/hostname"), ("hosts", "/etc/hosts")]
        {
            // A restart by policy reuses them, so that what a process wrote into them stays, as in Docker.
            mounts.push(bind(&files.join(name), target, &["rbind", "rprivate"]));
        }
        for mount in &container.doc.mounts {
            let target = Path::new(&mount.target);
            mounts.retain(|default| default.destination != target);
            mounts.push(self.user_mount(mount)?);
        }
        // Parents first: a volume on /etc must not hide the files mounted in it. The sort keeps the order of equals.
        mounts.sort_by_key(|mount| mount.destination.components().count());
        Ok(())
    }

    fn user_mount(&self, mount: &ResolvedMount) -> Result<Mount, StartError> {
        let access = if mount.read_only { "ro" } else { "rw" };
        match &mount.source {
            MountSource::Bind { path, propagation: spread, recursive, owners } => {
                let depth = if *recursive { "rbind" } else { "bind" };
                let spread = spread.map_or("rprivate", propagation);
                let mut made = bind(path, &mount.target, &[depth, spread, access]);
                owners::apply(owners, path, &mut made)?;
                Ok(made)
            }
            MountSource::Volume { name, owners, .. } => {
                let source = self.ensure_volume_directory(name)?;
                let mut made = bind(&source, &mount.target, &["rbind", "rprivate", access]);
                owners::apply(owners, &source, &mut made)?;
                Ok(made)
            }
            MountSource::Tmpfs { size_bytes, mode, options } => {
                // Docker's defaults first; what the user says comes later and wins.
                let mut words =
                    vec!["noexec".to_owned(), "nosuid".to_owned(), "nodev".to_owned(), access.to_owned()];
                words.retain(|word| {
                    !options.iter().any(|option| Some(option.as_str()) == word.strip_prefix("no"))
                });
                words.extend(size_bytes.map(|size| format!("size={size}")));
                words.push(format!("mode={:o}", mode.unwrap_or(0o1777)));
                words.extend(
                    options.iter().filter(|option| !words.contains(option)).cloned().collect::<Vec<_>>(),
                );
                Ok(Mount {
                    destination: (&mount.target).into(),
                    r#type: Some("tmpfs".into()),
                    source: Some("tmpfs".into()),
                    options: words,
                    ..Mount::default()
                })
            }
        }
    }

    /// `/dev/shm`, which goes with the ipc namespace.
    fn shared_memory(&self, container: &Container, mounts: &mut Vec<Mount>) -> Result<(), StartError> {
        let isolation = &container.doc.spec.isolation;
        let at = mounts.iter().position(|mount| mount.destination == Path::new("/dev/shm"));
        let Some(at) = at else { return Ok(()) };
        match &isolation.ipc {
            IpcMode::Host => mounts[at] = bind(Path::new("/dev/shm"), "/dev/shm", &["rbind", "rprivate"]),
            IpcMode::None => drop(mounts.remove(at)),
            IpcMode::Container(other) => {
                let theirs = format!("/proc/{}/root/dev/shm", self.pid_with_ipc(other)?);
                mounts[at] = bind(Path::new(&theirs), "/dev/shm", &["bind", "rprivate"]);
            }
            IpcMode::Private | IpcMode::Shareable => {
                if let Some(size) = isolation.shm_size_bytes {
                    mounts[at].options.retain(|option| !option.starts_with("size="));
                    mounts[at].options.push(format!("size={size}"));
                }
            }
        }
        Ok(())
    }

    /// The directory with the generated files: of the container whose network is shared, else its own.
    fn files_dir(&self, container: &Container) -> Result<PathBuf, StartError> {
        match &container.doc.spec.network.mode {
            crate::model::NetworkMode::Container(other) => Ok(self.run_dir(&self.find(other)?.id)),
            _ => Ok(self.run_dir(&container.id)),
        }
    }
}

fn bind(source: &Path, target: &str, options: &[&str]) -> Mount {
    Mount {
        destination: target.into(),
        r#type: Some("bind".into()),
        source: Some(source.to_owned()),
        options: options.iter().map(|&option| option.to_owned()).collect(),
        ..Mount::default()
    }
}
