//! What COPY and ADD take: files of the context, a stage or an image, files of the web, and git repositories.

use std::ffi::OsString;
use std::path::Path;
use std::time::SystemTime;

use oci::Digest;

use super::Running;
use crate::cache::KeyBuilder;
use crate::context::Context;
use crate::copy::{self, Placement};
use crate::download::Download;
use crate::error::{BuildError, StepError};
use crate::filesystem::Origin;
use crate::layer::Writer;
use crate::repository::Repository;
use crate::select::{self, Options, Selected, is_many, select};
use crate::solve::Solve;
use crate::tree::{Last, Tree};

/// Where the sources of one step are, and what is to be made of them.
pub struct Sources<'s, 'a> {
    pub solve: &'s Solve<'a>,
    pub origin: Origin<'a>,
    pub options: Options<'s>,
    /// `--checksum`, of a file of the web.
    pub checksum: Option<Digest>,
    /// Whether a file of the web is unpacked.
    pub unpack_web: bool,
    /// The step.
    pub running: &'s Running,
}

/// Sources that stand beside each other and come from one place.
pub enum Part<'w> {
    Files {
        words: &'w [String],
        selection: Option<Vec<Selected>>,
    },
    /// It is not fetched yet where a checksum says enough for the key.
    Web {
        url: &'w str,
        name: OsString,
        file: Option<Download>,
    },
    /// All of its files.
    Repository {
        files: Context,
        selection: Vec<Selected>,
    },
}

impl Sources<'_, '_> {
    /// The parts of `words` in their order, and digests over everything about them that decides what comes of them.
    ///
    /// # Errors
    /// A source that is not there, or has no name for the directory `destination` in `lower`.
    pub fn parts<'w>(
        &self,
        words: &'w [String],
        destination: &str,
        lower: &Tree,
    ) -> Result<(String, Vec<Part<'w>>), StepError> {
        let (mut digests, mut parts) = (String::new(), Vec::new());
        let is_file = |word: &str| !is_web(word) && !is_repository(word);
        for words in words.chunk_by(|a, b| is_file(a) && is_file(b)) {
            let (digest, part) = match words {
                [url] if is_web(url) => self.web(url, file_name(url, destination, lower)?)?,
                [address] if is_repository(address) => self.repository(address)?,
                words => {
                    let (digest, selection) = self.solve.digest(&self.origin, words, self.options)?;
                    (digest, Part::Files { words, selection })
                }
            };
            digests.push_str(&digest);
            parts.push(part);
        }
        Ok((digests, parts))
    }

    fn web<'w>(&self, url: &'w str, name: OsString) -> Result<(String, Part<'w>), StepError> {
        let (digest, modified, file) = match self.checksum {
            Some(checksum) => (checksum, None, None),
            None => {
                let file = Download::fetch(self.solve, url, None)?;
                (file.digest, file.modified.duration_since(SystemTime::UNIX_EPOCH).ok(), Some(file))
            }
        };
        let key = KeyBuilder::new("download")
            .add("content", digest.to_string())
            .add("name", name.as_encoded_bytes())
            .add("modified", modified.map_or(String::new(), |since| since.as_secs().to_string()))
            .add("unpack", [u8::from(self.unpack_web)])
            .finish();
        Ok((key.0, Part::Web { url, name, file }))
    }

    fn repository<'w>(&self, address: &str) -> Result<(String, Part<'w>), StepError> {
        let failed = |error| match error {
            BuildError::Cancelled => StepError::Cancelled,
            error => StepError::engine("add a repository")(error),
        };
        let repository = Repository::parse(address).map_err(failed)?;
        let repository =
            repository.ok_or_else(|| StepError::Invalid(format!("{address} is no repository")))?;
        let (dir, files) =
            self.solve.cloner().fetch(&repository, self.running.id, self.running.start).map_err(failed)?;
        let files = Context::of_dir(dir, &files).map_err(StepError::io("read", &repository))?;
        let selection = select(files.source(), &[".".to_owned()], self.options)?;
        let digest = select::digest(files.source(), &selection)?;
        Ok((digest, Part::Repository { files, selection }))
    }

    /// Copies `part` into `writer`; false when a file changed since the key was made.
    ///
    /// # Errors
    /// As [`copy::copy`], and what cannot be fetched.
    pub fn write(
        &self,
        part: Part<'_>,
        writer: &mut Writer,
        placement: &Placement,
    ) -> Result<bool, StepError> {
        let (mut placement, stop) = (placement.clone(), &self.solve.stop);
        match part {
            Part::Files { words, selection } => {
                let selection = match selection {
                    Some(selection) => selection,
                    None => select(self.origin.source(), words, self.options)?,
                };
                placement.many |= is_many(words, &selection);
                copy::copy(writer, self.origin.source(), &selection, &placement, stop)
            }
            Part::Web { url, name, file } => {
                let file = match file {
                    Some(file) => file,
                    None => Download::fetch(self.solve, url, self.checksum)?,
                };
                placement.unpack = self.unpack_web;
                let selection = [file.selected(&name, self.options.exclude)?];
                copy::copy(writer, file.source(), &selection, &placement, stop)
            }
            Part::Repository { files, selection } => {
                copy::copy(writer, files.source(), &selection, &placement, stop)
            }
        }
    }
}

/// Refuses sources of the web that are not to be had, COPY's in Docker's words.
pub fn check_remote(words: &[String], is_add: bool) -> Result<(), StepError> {
    let invalid = |text: &str| Err(StepError::Invalid(text.to_owned()));
    match words.iter().find(|word| is_repository(word)) {
        Some(_) if !is_add => invalid("source can't be a git ref for COPY"),
        None if !is_add && words.iter().any(|word| is_web(word)) => invalid("source can't be a URL for COPY"),
        _ => Ok(()),
    }
}

/// What `--checksum` says of `sources`; nothing when it is empty, as it is to BuildKit.
pub fn parse_checksum(text: &str, sources: &[String]) -> Result<Option<Digest>, StepError> {
    let invalid = |text: &str| Err(StepError::Invalid(text.to_owned()));
    match sources {
        _ if text.is_empty() => Ok(None),
        [source] if is_web(source) => {
            let digest = text.parse::<Digest>();
            digest.map(Some).map_err(|error| StepError::Invalid(format!("--checksum={text}: {error}")))
        }
        [_] => invalid("checksum requires HTTP(S) sources"),
        _ => invalid("checksum can't be specified for multiple sources"),
    }
}

/// Whether ADD clones a source. Without a scheme it is a path.
fn is_repository(word: &str) -> bool {
    !word.starts_with("github.com/") && !matches!(Repository::parse(word), Ok(None))
}

/// Whether ADD downloads a source.
fn is_web(word: &str) -> bool {
    ["http://", "https://"].iter().any(|scheme| word.starts_with(scheme)) && !is_repository(word)
}

/// The name that what is at `url` has in a directory; empty where the destination is its name.
fn file_name(url: &str, destination: &str, lower: &Tree) -> Result<OsString, StepError> {
    if let Some(name) = registry::file_name(url) {
        return Ok(name);
    }
    let path = Path::new(destination);
    let existing = lower.resolve(path, Last::Follow).map_err(copy::explain(path))?.entry;
    if destination.ends_with('/') || existing.is_some_and(|entry| entry.is_dir()) {
        let url = registry::without_credentials(url);
        return Err(StepError::Invalid(format!("cannot determine filename for source {url}")));
    }
    Ok(OsString::new())
}
