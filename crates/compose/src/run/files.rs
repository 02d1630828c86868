//! Secrets and configs as read-only files in containers.
//!
//! A file without further wishes is bound as it is. A text, or a file with owner or mode, becomes a file of its own under
//! `<data root>/compose/<project>/`, named by its content, so that making it twice is the same as making it once.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _, chown};
use std::path::{Path, PathBuf};

use engine::model::{Mount, MountKind, MountSyntax, Owners};
use oci::Hasher;

use super::{Stack, StackError};
use crate::model::{FileSource, FileUse, Service};

impl Stack<'_> {
    /// Where this project's made-up files are.
    pub(crate) fn files_directory(&self) -> PathBuf {
        self.engine.store().data().join("compose").join(&self.project.name)
    }

    /// Mounts of the secrets and configs of `service`.
    pub(crate) fn file_mounts(&self, service: &Service) -> Result<Vec<Mount>, StackError> {
        let secrets = service.secrets.iter().map(|file| ("secret", &self.project.secrets, file));
        let configs = service.configs.iter().map(|file| ("config", &self.project.configs, file));
        let mut out = Vec::new();
        for (kind, resources, file) in secrets.chain(configs) {
            let Some(resource) = resources.get(&file.source) else { continue };
            let source = self.materialise(kind, &resource.source, file)?;
            out.push(Mount {
                target: file.target.clone(),
                kind: MountKind::Bind {
                    source,
                    propagation: None,
                    recursive: false,
                    create_source: false,
                    owners: Owners::AsTheyAre,
                },
                read_only: true,
                syntax: MountSyntax::Mount,
            });
        }
        Ok(out)
    }

    fn materialise(
        &self,
        kind: &'static str,
        source: &FileSource,
        file: &FileUse,
    ) -> Result<PathBuf, StackError> {
        let unreadable = |path: &Path, source| StackError::MissingFile {
            kind,
            key: file.source.clone(),
            path: path.to_owned(),
            source,
        };
        let changed = file.uid.is_some() || file.gid.is_some() || file.mode.is_some();
        let (content, mode) = match source {
            FileSource::File(path) if !changed => {
                fs::metadata(path).map_err(|error| unreadable(path, error))?;
                return Ok(path.clone());
            }
            FileSource::File(path) => {
                let content = fs::read(path).map_err(|error| unreadable(path, error))?;
                let metadata = fs::metadata(path).map_err(|error| unreadable(path, error))?;
                (content, metadata.permissions().mode() & 0o7777)
            }
            FileSource::Text(text) => (text.clone().into_bytes(), 0o444),
        };
        let mode = file.mode.unwrap_or(mode);
        let mut hasher = Hasher::new();
        hasher.update(&content);
        hasher.update(format!("{:?} {:?} {mode:o}", file.uid, file.gid).as_bytes());
        let digest = hasher.finish().hex();
        let directory = self.files_directory();
        let path = directory.join(format!("{kind}-{}-{}", file.source, &digest[..16]));
        if !path.exists() {
            write(&directory, &path, &content, file, mode)
                .map_err(|source| StackError::Write { path: path.clone(), source })?;
        }
        Ok(path)
    }
}

fn write(directory: &Path, path: &Path, content: &[u8], file: &FileUse, mode: u32) -> std::io::Result<()> {
    // Only root of the host may list what is here; containers see single files through their mounts.
    fs::DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    let temporary = path.with_extension(format!("{}.{:?}", std::process::id(), std::thread::current().id()));
    let mut out = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
    let done = (|| {
        out.write_all(content)?;
        if file.uid.is_some() || file.gid.is_some() {
            chown(&temporary, file.uid, file.gid)?;
        }
        // After chown, which clears set-id bits.
        fs::set_permissions(&temporary, fs::Permissions::from_mode(mode))?;
        out.sync_all()?;
        fs::rename(&temporary, path)
    })();
    if done.is_err() {
        let _ = fs::remove_file(&temporary);
    }
    done
}
