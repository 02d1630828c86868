//! Drafts of lists, where Docker's client keeps them and in its form, so that either goes on with what the other began.
//!
//! ```text
//! <configuration>/manifests/<list>/<manifest>      both names in full, `:` written as `-` and `/` as `_`
//! ```

use std::fs;
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use oci::image::{Descriptor, Platform};
use oci::{Digest, Reference, media};
use registry::credentials::DockerConfig;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use sys::fs::NewFile;

use super::ManifestListError;
use crate::documents::Part;

/// What Docker's client lets a manifest be annotated with, and two more for which there are images by now.
const PLATFORMS: &[(&str, &[&str])] = &[
    ("darwin", &["386", "amd64", "arm", "arm64"]),
    ("dragonfly", &["amd64"]),
    ("freebsd", &["386", "amd64", "arm"]),
    (
        "linux",
        &["386", "amd64", "arm", "arm64", "loong64", "mips64", "mips64le", "ppc64le", "riscv64", "s390x"],
    ),
    ("netbsd", &["386", "amd64", "arm"]),
    ("openbsd", &["386", "amd64", "arm"]),
    ("plan9", &["386", "amd64"]),
    ("solaris", &["amd64"]),
    ("windows", &["386", "amd64", "arm64"]),
];

/// The lists of one user that are not pushed yet, or kept for the next push.
#[derive(Clone, Debug)]
pub struct ManifestLists {
    directory: PathBuf,
}

/// One manifest of a list, as it is written to its file.
#[derive(Debug, Serialize, Deserialize)]
pub struct ListEntry {
    /// Where it is.
    #[serde(rename = "Ref")]
    pub reference: Reference,
    /// What the list says of it.
    #[serde(rename = "Descriptor")]
    pub descriptor: Descriptor,
    #[serde(rename = "Raw", with = "base64_text")]
    pub bytes: Vec<u8>,
    #[serde(rename = "SchemaV2Manifest", default, skip_serializing_if = "Option::is_none")]
    docker: Option<Box<RawValue>>,
    #[serde(rename = "OCIManifest", default, skip_serializing_if = "Option::is_none")]
    oci: Option<Box<RawValue>>,
}

impl ListEntry {
    pub(super) fn new(
        reference: Reference,
        part: Part,
        platform: Option<Platform>,
    ) -> Result<Self, ManifestListError> {
        let Part { descriptor, bytes } = part;
        let manifest: Box<RawValue> = serde_json::from_slice(&bytes).map_err(ManifestListError::Serialize)?;
        let is_docker = descriptor.media_type == media::DOCKER_MANIFEST;
        let (docker, oci) = if is_docker { (Some(manifest), None) } else { (None, Some(manifest)) };
        Ok(Self { reference, descriptor: Descriptor { platform, ..descriptor }, bytes, docker, oci })
    }

    pub(super) fn part(&self) -> Part {
        Part { descriptor: self.descriptor.clone(), bytes: self.bytes.clone() }
    }

    /// The text of its file.
    ///
    /// # Errors
    /// [`ManifestListError::Serialize`].
    pub fn json(&self) -> Result<String, ManifestListError> {
        serde_json::to_string(self).map_err(ManifestListError::Serialize)
    }
}

impl ManifestLists {
    /// Those in the configuration of Docker's client.
    ///
    /// # Errors
    /// [`ManifestListError::Nowhere`].
    pub fn from_environment() -> Result<Self, ManifestListError> {
        let config = DockerConfig::from_environment();
        let directory = config.directory().ok_or(ManifestListError::Nowhere)?;
        Ok(Self { directory: directory.join("manifests") })
    }

    /// The manifests of a list in the order they are pushed in.
    ///
    /// # Errors
    /// [`ManifestListError::NoSuchDraft`], or a file that cannot be used.
    pub(super) fn list(&self, list: &Reference) -> Result<Vec<ListEntry>, ManifestListError> {
        let directory = self.path(list);
        let failed = |source| ManifestListError::Read { path: directory.clone(), source };
        let files = match fs::read_dir(&directory) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                return Err(ManifestListError::NoSuchDraft(list.canonical()));
            }
            files => files.map_err(failed)?,
        };
        let mut paths = files.map(|file| Ok(file?.path())).collect::<io::Result<Vec<_>>>().map_err(failed)?;
        paths.sort();
        paths.iter().map(|path| read(path, list)).collect()
    }

    /// One manifest of a list.
    ///
    /// # Errors
    /// [`ManifestListError::NoSuchDraft`], or a file that cannot be used.
    pub fn get(&self, list: &Reference, manifest: &Reference) -> Result<ListEntry, ManifestListError> {
        read(&self.path(list).join(file_name(manifest)), manifest)
    }

    /// Changes what a list says of a manifest; what `platform` leaves empty stays, and features are added.
    ///
    /// # Errors
    /// [`ManifestListError`]; nothing is changed then.
    pub fn annotate(
        &self,
        list: &Reference,
        manifest: &Reference,
        platform: &Platform,
    ) -> Result<(), ManifestListError> {
        let mut entry = self.get(list, manifest).map_err(|error| match error {
            ManifestListError::NoSuchDraft(_) => {
                let (manifest, list) = (manifest.familiar(), list.familiar());
                ManifestListError::NotInList { manifest, list }
            }
            error => error,
        })?;
        let known = entry.descriptor.platform.get_or_insert_default();
        for (known, given) in [
            (&mut known.os, &platform.os),
            (&mut known.architecture, &platform.architecture),
            (&mut known.variant, &platform.variant),
            (&mut known.os_version, &platform.os_version),
        ] {
            if !given.is_empty() {
                known.clone_from(given);
            }
        }
        for feature in &platform.os_features {
            if !known.os_features.contains(feature) {
                known.os_features.push(feature.clone());
            }
        }
        let (os, architecture) = (&*known.os, &*known.architecture);
        if !PLATFORMS.iter().any(|(known, all)| *known == os && all.contains(&architecture)) {
            return Err(ManifestListError::Platform(format!("{os}/{architecture}")));
        }
        self.save(list, &entry)
    }

    /// Forgets a list, whatever state it is in.
    ///
    /// # Errors
    /// [`ManifestListError::NoSuchDraft`] or [`ManifestListError::Write`].
    pub fn remove(&self, list: &Reference) -> Result<(), ManifestListError> {
        let path = self.path(list);
        match fs::remove_dir_all(&path) {
            Err(e) if e.kind() == io::ErrorKind::NotFound => {
                Err(ManifestListError::NoSuchDraft(list.canonical()))
            }
            removed => removed.map_err(|source| ManifestListError::Write { path, source }),
        }
    }

    pub(super) fn contains(&self, list: &Reference) -> bool {
        self.path(list).exists()
    }

    pub(super) fn save(&self, list: &Reference, entry: &ListEntry) -> Result<(), ManifestListError> {
        let directory = self.path(list);
        let path = directory.join(file_name(&entry.reference));
        let text = entry.json()?;
        let written = fs::create_dir_all(&directory).and_then(|()| NewFile::create(&path)).and_then(|file| {
            file.file().write_all(text.as_bytes())?;
            file.commit()
        });
        written.map_err(|source| ManifestListError::Write { path, source })
    }

    fn path(&self, list: &Reference) -> PathBuf {
        self.directory.join(file_name(list))
    }
}

fn file_name(reference: &Reference) -> String {
    reference.canonical().replace(':', "-").replace('/', "_")
}

/// Reads a file, whose bytes have to be those its descriptor speaks of; `sought` is what is missing when there is none.
fn read(path: &Path, sought: &Reference) -> Result<ListEntry, ManifestListError> {
    let text = fs::read(path).map_err(|source| match source.kind() {
        io::ErrorKind::NotFound => ManifestListError::NoSuchDraft(sought.canonical()),
        _ => ManifestListError::Read { path: path.to_owned(), source },
    })?;
    let entry: ListEntry = serde_json::from_slice(&text)
        .map_err(|source| ManifestListError::Syntax { path: path.to_owned(), source })?;
    let Descriptor { digest, size, .. } = entry.descriptor;
    match Digest::of(&entry.bytes) {
        found if found == digest && entry.bytes.len() as u64 == size => Ok(entry),
        _ => Err(ManifestListError::Damaged { path: path.to_owned(), digest }),
    }
}

mod base64_text {
    use base64::Engine as _;
    use base64::prelude::BASE64_STANDARD;
    use serde::de::{Deserialize as _, Deserializer, Error as _};
    use serde::ser::Serializer;

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64_STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(deserializer)?;
        BASE64_STANDARD.decode(text).map_err(D::Error::custom)
    }
}
