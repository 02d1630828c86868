//! Engines with names, kept where and as Docker's client keeps them.
//!
//! ```text
//! contexts/meta/<SHA-256 of the name>/meta.json    {"Name", "Metadata": {"Description"}, "Endpoints": {"docker": {"Host"}}}
//! contexts/tls/<SHA-256 of the name>/docker/       ca.pem, cert.pem, key.pem
//! hull.json                                        {"currentContext"}: hull's own, beside Docker's config.json
//! ```
//!
//! What others wrote into a context stays in it.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use diag::{Class, Diagnose};
use oci::Digest;
use serde_json::{Value, json};

use crate::endpoint::{Endpoint, EndpointError};

/// The context that is always there: the engine of this host.
pub const DEFAULT: &str = "default";
/// Names of the files for TLS, which `tcp://` needs.
const TLS: [&str; 3] = ["ca.pem", "cert.pem", "key.pem"];

/// The contexts of one user.
#[derive(Clone, Debug)]
pub struct Contexts {
    directory: PathBuf,
}

/// One of them.
#[derive(Clone, Debug)]
pub struct StoredContext {
    pub name: String,
    /// What is written of it.
    pub document: Value,
    /// Where that is, and where the directories of files for TLS are.
    pub meta_directory: PathBuf,
    pub tls_directory: PathBuf,
}

/// Contexts that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ContextError {
    #[error("context {0:?} does not exist")]
    NotFound(String),
    #[error("context {0:?} already exists")]
    Exists(String),
    #[error(
        "context name {0:?} is invalid, names are validated against regexp \"^[a-zA-Z0-9][a-zA-Z0-9_.+-]+$\""
    )]
    Name(String),
    #[error("{default:?} is a reserved context name", default = DEFAULT)]
    Reserved,
    #[error("context {0:?} is the current one, use --force to remove it")]
    Current(String),
    #[error("context {0:?} has no docker endpoint")]
    NoEndpoint(String),
    #[error("cannot use {}", path.display())]
    File { path: PathBuf, source: io::Error },
    #[error("cannot read {}", path.display())]
    Document { path: PathBuf, source: serde_json::Error },
    #[error("tcp:// needs ca, cert and key, and nothing else takes them")]
    Certificates,
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
}

impl Diagnose for ContextError {
    fn class(&self) -> Class {
        match self {
            Self::NotFound(_) => Class::NotFound,
            Self::Exists(_) | Self::Current(_) => Class::Conflict,
            Self::File { source, .. } => Class::of_io(source),
            Self::Endpoint(error) => error.class(),
            _ => Class::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        matches!(self, Self::NotFound(_)).then(|| "see `hull context ls`".into())
    }
}

type Result<T> = std::result::Result<T, ContextError>;

fn file(path: &Path) -> impl FnOnce(io::Error) -> ContextError {
    let path = path.to_owned();
    move |source| ContextError::File { path, source }
}

fn check(name: &str) -> Result<()> {
    let mut letters = name.chars();
    let begins = letters.next().is_some_and(|letter| letter.is_ascii_alphanumeric());
    let goes_on = letters.all(|letter| letter.is_ascii_alphanumeric() || "_.+-".contains(letter));
    match name {
        DEFAULT => Err(ContextError::Reserved),
        name if begins && goes_on && name.len() > 1 => Ok(()),
        name => Err(ContextError::Name(name.to_owned())),
    }
}

impl Contexts {
    /// Those in `directory`, the one of Docker's client's configuration. Nothing is read yet.
    pub fn in_directory(directory: PathBuf) -> Self {
        Self { directory }
    }

    fn meta(&self, name: &str) -> PathBuf {
        self.directory.join("contexts/meta").join(identity(name))
    }

    fn tls(&self, name: &str) -> PathBuf {
        self.directory.join("contexts/tls").join(identity(name))
    }

    /// The context hull uses when nobody says which; `None` is the engine of this host.
    ///
    /// # Errors
    /// [`ContextError`]; a file that is not there names none, nor does one of another user, whose home `sudo` may have left us.
    pub fn current(&self) -> Result<Option<String>> {
        let document = match document(&self.directory.join("hull.json")) {
            Err(ContextError::File { source, .. }) if source.kind() == io::ErrorKind::PermissionDenied => {
                None
            }
            document => document?,
        };
        let Some(document) = document else { return Ok(None) };
        let name = document["currentContext"].as_str().filter(|name| !matches!(*name, "" | DEFAULT));
        Ok(name.map(str::to_owned))
    }

    /// Makes `name` the current context.
    ///
    /// # Errors
    /// [`ContextError::NotFound`].
    pub fn make_current(&self, name: &str) -> Result<()> {
        if name != DEFAULT {
            self.get(name)?;
        }
        let document = json!({ "currentContext": name }).to_string();
        write(&self.directory.join("hull.json"), document.as_bytes(), 0o644)
    }

    /// All of them, by name.
    ///
    /// # Errors
    /// [`ContextError`] of one that cannot be read.
    pub fn list(&self) -> Result<Vec<StoredContext>> {
        let directory = self.directory.join("contexts/meta");
        let entries = match fs::read_dir(&directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(file(&directory)(error)),
        };
        let mut all = Vec::new();
        for entry in entries {
            let path = entry.map_err(file(&directory))?.path();
            all.extend(self.read(&path)?);
        }
        all.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(all)
    }

    /// The context `name`.
    ///
    /// # Errors
    /// [`ContextError::NotFound`].
    pub fn get(&self, name: &str) -> Result<StoredContext> {
        let found = self.read(&self.meta(name))?;
        found.ok_or_else(|| ContextError::NotFound(name.to_owned()))
    }

    /// The context whose document is in `directory`, if there is one.
    fn read(&self, directory: &Path) -> Result<Option<StoredContext>> {
        let Some(document) = document(&directory.join("meta.json"))? else { return Ok(None) };
        let name = document["Name"].as_str().unwrap_or_default().to_owned();
        let (meta_directory, tls_directory) = (directory.to_owned(), self.tls(&name));
        Ok(Some(StoredContext { name, document, meta_directory, tls_directory }))
    }

    /// Makes a context of the engine at `host`; `certificates` are the files for it, `ca`, `cert` and `key`.
    ///
    /// # Errors
    /// [`ContextError`]; nothing is made then.
    pub fn create(
        &self,
        name: &str,
        description: Option<&str>,
        host: &str,
        certificates: Option<&[PathBuf; 3]>,
    ) -> Result<()> {
        check(name)?;
        if self.meta(name).exists() {
            return Err(ContextError::Exists(name.to_owned()));
        }
        let directory = self.tls(name).join("docker");
        let endpoint = Endpoint::parse(host, &directory)?;
        if certificates.is_some() != matches!(endpoint, Endpoint::Tcp { .. }) {
            return Err(ContextError::Certificates);
        }
        let read = |path: &PathBuf| fs::read(path).map_err(file(path));
        let files = certificates.into_iter().flatten().map(read).collect::<Result<Vec<_>>>()?;
        for (name, bytes) in TLS.iter().zip(files) {
            write(&directory.join(name), &bytes, 0o600)?;
        }
        let metadata = description.map_or_else(|| json!({}), |text| json!({ "Description": text }));
        let document = json!({"Name": name, "Metadata": metadata,
                              "Endpoints": {"docker": {"Host": host, "SkipTLSVerify": false}}});
        write(&self.meta(name).join("meta.json"), document.to_string().as_bytes(), 0o644)
    }

    /// Removes a context.
    ///
    /// # Errors
    /// [`ContextError::Current`] of the current one, unless `force`.
    pub fn remove(&self, name: &str, force: bool) -> Result<()> {
        check(name)?;
        self.get(name)?;
        if self.current()?.as_deref() == Some(name) {
            match force {
                true => self.make_current(DEFAULT)?,
                false => return Err(ContextError::Current(name.to_owned())),
            }
        }
        remove(&self.tls(name))?;
        remove(&self.meta(name))
    }
}

impl StoredContext {
    /// The address of its engine, as it was written.
    pub fn host(&self) -> Option<&str> {
        self.document["Endpoints"]["docker"]["Host"].as_str().filter(|host| !host.is_empty())
    }

    /// What is said of it.
    pub fn description(&self) -> &str {
        self.document["Metadata"]["Description"].as_str().unwrap_or_default()
    }

    /// The files for TLS it has.
    pub fn certificates(&self) -> Vec<&'static str> {
        TLS.into_iter().filter(|name| self.tls_directory.join("docker").join(name).exists()).collect()
    }

    /// Its engine.
    ///
    /// # Errors
    /// [`ContextError::NoEndpoint`], or one that cannot be used.
    pub fn endpoint(&self) -> Result<Endpoint> {
        let host = self.host().ok_or_else(|| ContextError::NoEndpoint(self.name.clone()))?;
        Ok(Endpoint::parse(host, &self.tls_directory.join("docker"))?)
    }
}

/// What a directory of the store is called.
fn identity(name: &str) -> String {
    Digest::of(name.as_bytes()).hex()
}

/// The document in the file `path`, if there is one.
fn document(path: &Path) -> Result<Option<Value>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|source| ContextError::Document { path: path.to_owned(), source }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file(path)(error)),
    }
}

/// Writes a file and its directories, of this user alone; it appears when it is complete.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<()> {
    let parent = path.parent().expect("it is in the store");
    fs::DirBuilder::new().recursive(true).mode(0o700).create(parent).map_err(file(parent))?;
    let hidden = path.with_extension(format!("new-{}", std::process::id()));
    let written = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&hidden);
    let written = written.and_then(|mut file| file.write_all(bytes)).and_then(|()| fs::rename(&hidden, path));
    written.map_err(|error| {
        let _ = fs::remove_file(&hidden);
        file(path)(error)
    })
}

fn remove(directory: &Path) -> Result<()> {
    match fs::remove_dir_all(directory) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(file(directory)(error)),
        _ => Ok(()),
    }
}
