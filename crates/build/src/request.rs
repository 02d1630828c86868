//! What a face asks for, and what it gets back.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, BufRead as _, BufReader, Read};
use std::net::IpAddr;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use image::PullPolicy;
use image::archive::Compression;
use oci::runtime::{LinuxResources, Rlimit};

use crate::cache::{CacheSource, CacheTarget};
use crate::error::BuildError;
use crate::progress::{NoProgress, Progress};
use crate::repository::Repository;

/// Where the files that COPY and ADD name come from.
#[derive(Default)]
pub enum Source {
    /// A directory of this host; its `.dockerignore` is honoured.
    Dir(PathBuf),
    /// A tar stream, plain or compressed; unpacked into a temporary directory first.
    Tar(Box<dyn Read + Send>),
    /// A git repository; cloned into a temporary directory first.
    Repository(Repository),
    /// No context at all (`hull build - < Dockerfile`).
    #[default]
    Empty,
}

/// Where the Dockerfile's text comes from.
#[derive(Clone, Debug)]
pub enum DockerfileSource {
    /// A path inside the context, `Dockerfile` by default.
    InContext(PathBuf),
    /// A file of this host, wherever it is. Its own `<name>.dockerignore` goes before the context's.
    File(PathBuf),
    /// The text itself (standard input, Compose's `dockerfile_inline`).
    Text(String),
    /// The text itself, what messages call it, and the text of the ignore file that goes before the context's, if one does.
    Fetched { name: String, text: String, ignore: Option<String> },
}

impl Default for DockerfileSource {
    fn default() -> Self {
        Self::InContext(PathBuf::from("Dockerfile"))
    }
}

/// What is longer is no Dockerfile, nor an ignore file; in bytes.
pub(crate) const TEXT_LIMIT: u64 = 16 << 20;

/// Context and Dockerfile in a stream: an archive, in which `file` is the Dockerfile's path, or else the Dockerfile itself.
///
/// # Errors
/// It cannot be read, or is neither.
pub fn sources(stream: impl Read + Send + 'static, file: &Path) -> io::Result<(Source, DockerfileSource)> {
    let mut input = BufReader::with_capacity(1024, stream);
    let mut start = Vec::new();
    while start.len() < 512 {
        let piece = input.fill_buf()?;
        if piece.is_empty() {
            break;
        }
        let taken = piece.len();
        start.extend_from_slice(piece);
        input.consume(taken);
    }
    let is_archive = Compression::of(&start) != Compression::None
        || start.get(257..262) == Some(b"ustar")
        || start.iter().all(|byte| *byte == 0);
    let whole = io::Cursor::new(start).chain(input);
    if is_archive {
        return Ok((Source::Tar(Box::new(whole)), DockerfileSource::InContext(file.to_owned())));
    }
    let mut text = String::new();
    if whole.take(TEXT_LIMIT + 1).read_to_string(&mut text)? as u64 > TEXT_LIMIT {
        let text = format!("it is no archive, and longer than a Dockerfile may be, {TEXT_LIMIT} bytes");
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok((Source::Empty, DockerfileSource::Text(text)))
}

/// What a name means in FROM, COPY --from and from=, before any stage or image is looked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NamedContext {
    /// A directory of this host; its `.dockerignore` is honoured.
    Dir(PathBuf),
    /// A git repository; its `.dockerignore` is honoured.
    Repository(Repository),
    /// An image, by its reference.
    Image(String),
}

impl NamedContext {
    /// Reads `docker-image://reference` and the addresses that [`Repository::parse`] reads; `None` is something else, such as a directory.
    ///
    /// # Errors
    /// As [`Repository::parse`].
    pub fn elsewhere(place: &str) -> Result<Option<Self>, BuildError> {
        match place.strip_prefix("docker-image://") {
            Some(image) => Ok(Some(Self::Image(image.to_owned()))),
            None => Ok(Repository::parse(place)?.map(Self::Repository)),
        }
    }
}

/// Which network RUN steps see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RunNetwork {
    /// The default bridge.
    #[default]
    Default,
    /// Loopback only.
    None,
    /// The host's own.
    Host,
}

/// A secret for `RUN --mount=type=secret,id=...`.
#[derive(Clone)]
pub struct Secret {
    /// The name the Dockerfile uses.
    pub id: String,
    /// Where its bytes are read from when a step needs them.
    pub source: SecretSource,
}

/// Where a secret's bytes are.
#[derive(Clone)]
pub enum SecretSource {
    /// A file of this host.
    File(PathBuf),
    /// The bytes themselves, such as the value of a variable of the caller's environment.
    Value(Vec<u8>),
}

/// What steps may use without it becoming part of a layer, a cache key or a log line.
pub trait Attachments: Send + Sync {
    /// The bytes of a secret; `None` when there is none of this name.
    ///
    /// # Errors
    /// It cannot be read.
    fn secret(&self, id: &str) -> io::Result<Option<Vec<u8>>>;

    /// A connection to an SSH agent, `default` or another; `None` when there is none of this name.
    ///
    /// # Errors
    /// It cannot be reached.
    fn ssh_agent(&self, id: &str) -> io::Result<Option<UnixStream>>;
}

/// Attachments of this host's.
#[derive(Debug, Default)]
pub struct Given {
    pub secrets: Vec<Secret>,
    /// Sockets of agents by their names.
    pub ssh_agents: BTreeMap<String, PathBuf>,
}

impl Attachments for Given {
    fn secret(&self, id: &str) -> io::Result<Option<Vec<u8>>> {
        let secret = self.secrets.iter().find(|secret| secret.id == id);
        let read = |secret: &Secret| match &secret.source {
            SecretSource::Value(bytes) => Ok(bytes.clone()),
            SecretSource::File(path) => std::fs::read(path)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display()))),
        };
        secret.map(read).transpose()
    }

    fn ssh_agent(&self, id: &str) -> io::Result<Option<UnixStream>> {
        let connect = |path: &PathBuf| {
            UnixStream::connect(path)
                .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", path.display())))
        };
        self.ssh_agents.get(id).map(connect).transpose()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secret({}=****)", self.id)
    }
}

/// The caller's wish to stop; set from a signal handler or another thread, never reset.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Shares an existing flag, such as the one a SIGINT handler sets.
    pub fn from_flag(flag: Arc<AtomicBool>) -> Self {
        Self(flag)
    }

    /// Asks the build to stop.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }

    /// The flag that tells it.
    pub fn flag(&self) -> Arc<AtomicBool> {
        self.0.clone()
    }

    /// Whether the build should stop.
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::SeqCst)
    }
}

/// One build, as `hull build` or a Compose service describes it.
pub struct BuildRequest {
    pub context: Source,
    pub dockerfile: DockerfileSource,
    /// `--build-context`, by name.
    pub contexts: BTreeMap<String, NamedContext>,
    /// References the finished image gets, as typed: `name[:tag]`.
    pub tags: Vec<String>,
    /// `--target`: a stage's name or index; the last stage when `None`.
    pub target: Option<String>,
    /// `--build-arg`, already looked up in the environment where only a name was given.
    pub build_args: BTreeMap<String, String>,
    /// `--label`, added to the finished image.
    pub labels: BTreeMap<String, String>,
    /// Runs every step, whatever the cache says; the results still enter the cache.
    pub no_cache: bool,
    /// `--cache-from`: where results are looked for that are not here, in this order. One that has none is a warning.
    pub cache_from: Vec<CacheSource>,
    /// `--cache-to`: where results go when the image is there.
    pub cache_to: Vec<CacheTarget>,
    /// When registries are asked for the images that FROM and COPY --from name.
    pub pull: PullPolicy,
    pub network: RunNetwork,
    /// `--add-host`: extra lines of /etc/hosts in RUN steps. They do not change the cache key.
    pub add_hosts: Vec<(String, IpAddr)>,
    pub attachments: Arc<dyn Attachments>,
    /// Size of /dev/shm in RUN steps; 64 MiB when `None`.
    pub shm_size_bytes: Option<u64>,
    /// What RUN steps may use of memory and processors; the rest of it does not count. It does not change the cache key.
    pub resources: LinuxResources,
    /// `--cgroup-parent`: the control group, from the root of the hierarchy, below which those of RUN steps are made; hull's own when `None`.
    /// It does not change the cache key.
    pub cgroup_parent: Option<String>,
    /// Resource limits of RUN steps, in place of the default's of the same type. They change the cache key.
    pub rlimits: Vec<Rlimit>,
    pub progress: Arc<dyn Progress>,
    pub cancel: Cancel,
}

impl Default for BuildRequest {
    fn default() -> Self {
        Self {
            context: Source::Empty,
            dockerfile: DockerfileSource::default(),
            contexts: BTreeMap::new(),
            tags: Vec::new(),
            target: None,
            build_args: BTreeMap::new(),
            labels: BTreeMap::new(),
            no_cache: false,
            cache_from: Vec::new(),
            cache_to: Vec::new(),
            pull: PullPolicy::default(),
            network: RunNetwork::Default,
            add_hosts: Vec::new(),
            attachments: Arc::new(Given::default()),
            shm_size_bytes: None,
            resources: LinuxResources::default(),
            cgroup_parent: None,
            rlimits: Vec::new(),
            progress: Arc::new(NoProgress),
            cancel: Cancel::default(),
        }
    }
}

/// The finished image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BuildOutput {
    /// The image's ID: the digest of its configuration, `sha256:<hex>`.
    pub image_id: String,
    /// The references it carries now, in their canonical form.
    pub references: Vec<String>,
    /// Steps that were taken from the cache.
    pub cached_steps: usize,
    /// Steps that were executed.
    pub executed_steps: usize,
}
