//! What a registry serves: the questions the protocol asks, without a word of HTTP in them.

use std::error::Error;
use std::fmt;
use std::fs::File;
use std::io::Write;

use oci::image::Descriptor;
use oci::reference::{is_repository_path, is_tag};
use oci::{Digest, DigestError};

/// The repositories of a registry. All calls may block, and several come at once.
pub trait Content: Send + Sync + 'static {
    type Upload: Upload;

    /// The names of all repositories, sorted by their bytes.
    fn repositories(&self) -> Result<Vec<String>, ContentError>;

    /// The tags of a repository, sorted by their bytes.
    fn tags(&self, repository: &RepositoryName) -> Result<Vec<String>, ContentError>;

    fn manifest(&self, repository: &RepositoryName, target: &Target) -> Result<KeptManifest, ContentError>;

    fn blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<KeptBlob, ContentError>;

    /// The manifests about `subject`, in the order of their digests; none is not an error.
    fn referrers(
        &self,
        repository: &RepositoryName,
        subject: &Digest,
        page: &ReferrersPage<'_>,
    ) -> Result<Referrers, ContentError>;

    /// Begins a blob that has no name yet; dropping it leaves nothing.
    fn begin_upload(&self) -> Result<Self::Upload, ContentError>;

    /// Gives an upload its name in `repository`, provided it is `expected`.
    fn finish_upload(
        &self,
        repository: &RepositoryName,
        upload: Self::Upload,
        expected: &Digest,
    ) -> Result<(), ContentError>;

    /// Lets `to` have a blob that `from` has; `false` when `from` has none.
    fn mount(
        &self,
        from: &RepositoryName,
        to: &RepositoryName,
        digest: &Digest,
    ) -> Result<bool, ContentError>;

    /// Keeps a manifest, lets `tags` name it, and returns its subject.
    fn put_manifest(
        &self,
        repository: &RepositoryName,
        manifest: NewManifest<'_>,
    ) -> Result<Option<Digest>, ContentError>;

    fn remove_manifest(&self, repository: &RepositoryName, target: &Target) -> Result<(), ContentError>;

    fn remove_blob(&self, repository: &RepositoryName, digest: &Digest) -> Result<(), ContentError>;

    /// Forgets what was begun and never finished; called now and then.
    fn tidy(&self) -> Result<(), ContentError>;
}

/// The bytes of a blob on their way, hashed as they are written.
pub trait Upload: Write + Send + 'static {
    /// Bytes written so far.
    fn size(&self) -> u64;
}

/// A repository's name by the specification's grammar, as it stands in URLs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct RepositoryName(String);

impl RepositoryName {
    /// `None` when `text` is no such name.
    pub fn parse(text: &str) -> Option<Self> {
        is_repository_path(text).then(|| Self(text.to_owned()))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RepositoryName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// By what a manifest is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Tag(String),
    Digest(Digest),
}

impl Target {
    /// `None` when `text` is neither a tag nor a digest.
    pub fn parse(text: &str) -> Option<Result<Self, DigestError>> {
        match text.contains(':') {
            true => Some(text.parse().map(Self::Digest)),
            false => is_tag(text).then(|| Ok(Self::Tag(text.to_owned()))),
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tag(tag) => f.write_str(tag),
            Self::Digest(digest) => digest.fmt(f),
        }
    }
}

/// A manifest, byte for byte as it came.
#[derive(Clone, Debug)]
pub struct KeptManifest {
    pub digest: Digest,
    pub media_type: String,
    pub bytes: Vec<u8>,
}

/// An open blob; it can be read to its end whatever happens to its name.
#[derive(Debug)]
pub struct KeptBlob {
    pub file: File,
    pub size: u64,
}

/// A manifest that somebody pushes.
#[derive(Clone, Copy, Debug)]
pub struct NewManifest<'a> {
    /// As it was announced.
    pub media_type: &'a str,
    pub bytes: &'a [u8],
    pub tags: &'a [String],
}

/// Which referrers are asked for.
#[derive(Clone, Copy, Debug, Default)]
pub struct ReferrersPage<'a> {
    pub artifact_type: Option<&'a str>,
    /// Only what follows this digest.
    pub after: Option<Digest>,
    /// About as much as one answer may hold.
    pub limit_bytes: usize,
}

/// Some referrers of a manifest.
#[derive(Clone, Debug, Default)]
pub struct Referrers {
    pub manifests: Vec<Descriptor>,
    /// Whether others follow.
    pub more: bool,
}

/// Why content is not given or not taken.
#[derive(Debug, thiserror::Error)]
pub enum ContentError {
    #[error("{0} is not a name repositories have here")]
    NameInvalid(RepositoryName),
    #[error("repository {0} is not known to this registry")]
    NameUnknown(RepositoryName),
    #[error("repository {repository} has no manifest {target}")]
    ManifestUnknown { repository: RepositoryName, target: Target },
    #[error("repository {repository} has no blob {digest}")]
    BlobUnknown { repository: RepositoryName, digest: Digest },
    #[error("manifest names content that repository {repository} does not have")]
    ContentUnknown { repository: RepositoryName, digests: Vec<Digest> },
    #[error("manifest is refused")]
    ManifestInvalid(#[source] Box<dyn Error + Send + Sync>),
    #[error("content is {found}, not {expected}")]
    Mismatch { expected: Digest, found: Digest },
    /// Somebody on this host needs what was to be removed, or another manifest leads to it.
    #[error("{target} is in use")]
    InUse { target: Target, source: Box<dyn Error + Send + Sync> },
    #[error("blob {0} is part of a manifest, which has to be deleted first")]
    BlobInUse(Digest),
    #[error("no space is left for content")]
    Full(#[source] Box<dyn Error + Send + Sync>),
    #[error("content cannot be accessed")]
    Internal(#[source] Box<dyn Error + Send + Sync>),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_the_specifications() {
        for name in ["app", "a/b-c/d__e", "ghcr.io/x/y", "x/blobs/uploads"] {
            assert!(RepositoryName::parse(name).is_some(), "{name}");
        }
        let long = "a".repeat(256);
        for name in ["", "/", "a//b", "../a", "a/..", "A", "a:5/b", "a b", "-a", "a\0", "ä", &long] {
            assert!(RepositoryName::parse(name).is_none(), "{name}");
        }
    }

    #[test]
    fn targets_are_tags_or_digests() {
        assert_eq!(Target::parse("v1"), Some(Ok(Target::Tag("v1".to_owned()))));
        let digest = Digest::of(b"x");
        assert_eq!(Target::parse(&digest.to_string()), Some(Ok(Target::Digest(digest))));
        assert!(matches!(Target::parse("sha256:12"), Some(Err(DigestError::Length(_)))));
        assert!(matches!(Target::parse("md5:d41d8cd9"), Some(Err(DigestError::Algorithm(_)))));
        for text in ["", ".", "..", "-v", "a/b", &"t".repeat(129)] {
            assert_eq!(Target::parse(text), None, "{text}");
        }
    }
}
