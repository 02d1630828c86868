//! The build context, opened: its files, what of them is ignored, and the Dockerfile.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use store::TempDir;

use crate::copy::Placement;
use crate::copy::extract;
use crate::error::BuildError;
use crate::ignore::Ignore;
use crate::layer::Writer;
use crate::repository::clone::Cloner;
use crate::request::{DockerfileSource, Source, TEXT_LIMIT};
use crate::select::{self, Owners};
use crate::stop::Stop;
use crate::tree::{Format, Tree, display, read_at_most};

/// The files of the build.
pub struct Context {
    tree: Tree,
    ignore: Ignore,
    /// Where the files are that nobody else keeps.
    _dir: Option<TempDir>,
}

impl Context {
    /// Opens `source`; streams and repositories come into the store's temporary directory.
    ///
    /// # Errors
    /// A directory that cannot be opened, a stream that is no archive, a repository that cannot be cloned.
    pub fn open(source: Source, cloner: &mut Cloner<'_>) -> Result<Self, BuildError> {
        let (layers, dir) = match source {
            Source::Empty => (Vec::new(), None),
            Source::Dir(path) => (vec![path], None),
            Source::Tar(stream) => {
                let tmp = cloner.store.tmp_dir("context");
                let tmp = tmp.map_err(BuildError::storage("unpack the build context"))?;
                unpack(stream, tmp.path(), cloner.stop)?;
                (vec![tmp.path().to_owned()], Some(tmp))
            }
            Source::Repository(repository) => {
                let (tmp, files) = cloner.clone(&repository)?;
                (vec![files], Some(tmp))
            }
        };
        let tree = Tree::open(&layers, Format::Plain).map_err(|source| BuildError::Read {
            what: "build context",
            path: layers.into_iter().next().unwrap_or_default(),
            source,
        })?;
        Ok(Self { tree, ignore: Ignore::default(), _dir: dir })
    }

    /// The files in `files`, a part of `dir`, which goes with this.
    pub fn of_dir(dir: TempDir, files: &Path) -> io::Result<Self> {
        let tree = Tree::open(&[files.to_owned()], Format::Plain)?;
        Ok(Self { tree, ignore: Ignore::default(), _dir: Some(dir) })
    }

    /// Opens further files of the build's, and reads their ignore file.
    ///
    /// # Errors
    /// As [`Context::open`], or an ignore pattern that is none.
    pub fn named(source: Source, cloner: &mut Cloner<'_>) -> Result<Self, BuildError> {
        let mut context = Self::open(source, cloner)?;
        context.ignore(None)?;
        Ok(context)
    }

    /// Reads the Dockerfile and, beside or above it, the ignore file. Returns how messages call the Dockerfile, and its text.
    ///
    /// # Errors
    /// A file that is not there, is not text, or an ignore pattern that is none.
    pub fn dockerfile(&mut self, source: &DockerfileSource) -> Result<(String, String), BuildError> {
        let fail = |path: &Path| {
            let path = path.to_owned();
            move |source| BuildError::Dockerfile { path, source }
        };
        let (name, bytes, beside) = match source {
            DockerfileSource::InContext(path) => {
                let bytes = self.tree.read(path, TEXT_LIMIT).map_err(fail(path))?;
                let bytes = bytes.ok_or_else(|| fail(path)(io::Error::from_raw_os_error(ENOENT)))?;
                let beside = PathBuf::from(format!("{}.dockerignore", display(path)));
                (display(path), bytes, self.read_ignore(&beside)?)
            }
            DockerfileSource::File(path) => {
                let bytes = read_text(path).map_err(fail(path))?;
                let mut beside = path.clone().into_os_string();
                beside.push(".dockerignore");
                let name = path.file_name().map_or_else(|| display(path), |name| display(Path::new(name)));
                let beside = match read_text(Path::new(&beside)) {
                    Ok(bytes) => Some(bytes),
                    Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                    Err(error) => return Err(cannot_read_ignore_file(Path::new(&beside))(error)),
                };
                (name, bytes, beside)
            }
            DockerfileSource::Text(text) => ("Dockerfile".to_owned(), text.clone().into_bytes(), None),
            DockerfileSource::Fetched { name, text, ignore } => {
                (name.clone(), text.clone().into_bytes(), ignore.clone().map(String::into_bytes))
            }
        };
        self.ignore(beside.map(|bytes| (format!("{name}.dockerignore"), bytes)))?;
        let text = String::from_utf8(bytes).map_err(|_| BuildError::Request {
            what: "Dockerfile",
            value: name.clone(),
            reason: "it is not UTF-8 text".to_owned(),
        })?;
        Ok((name, text))
    }

    fn read_ignore(&self, path: &Path) -> Result<Option<Vec<u8>>, BuildError> {
        self.tree.read(path, TEXT_LIMIT).map_err(cannot_read_ignore_file(path))
    }

    /// Parses the name and text of an ignore file, by default the context's own.
    fn ignore(&mut self, given: Option<(String, Vec<u8>)>) -> Result<(), BuildError> {
        let own = Path::new(".dockerignore");
        let found = match given {
            Some(found) => Some(found),
            None => self.read_ignore(own)?.map(|bytes| (display(own), bytes)),
        };
        if let Some((name, bytes)) = found {
            self.ignore = Ignore::parse(&String::from_utf8_lossy(&bytes)).map_err(|(line, reason)| {
                BuildError::Request { what: "pattern in", value: format!("{name}:{line}"), reason }
            })?;
        }
        Ok(())
    }

    /// The context as something to select files from.
    pub fn source(&self) -> select::Source<'_> {
        select::Source { tree: &self.tree, ignore: &self.ignore, name: "build context", owners: Owners::Root }
    }
}

const ENOENT: i32 = 2;

/// Reads a file outside the context.
fn read_text(path: &Path) -> io::Result<Vec<u8>> {
    read_at_most(File::open(path)?, TEXT_LIMIT)
}

fn cannot_read_ignore_file(path: &Path) -> impl FnOnce(io::Error) -> BuildError {
    let path = path.to_owned();
    move |source| BuildError::Read { what: "ignore file", path, source }
}

fn unpack(stream: Box<dyn Read + Send>, into: &Path, stop: &Stop) -> Result<(), BuildError> {
    let invalid = |reason: String| BuildError::Request {
        what: "build context",
        value: "tar stream".to_owned(),
        reason,
    };
    let nothing = Tree::open(&[], Format::Plain).map_err(|error| invalid(error.to_string()))?;
    let (_, archive) = image::archive::decode(stream).map_err(|error| invalid(error.to_string()))?;
    let mut writer = Writer::new(into, &nothing).map_err(|error| invalid(error.to_string()))?;
    let placement = Placement { destination: "/".to_owned(), owner: Some((0, 0)), ..Placement::default() };
    extract::extract(&mut writer, archive, Path::new(""), &placement, stop).map_err(|error| {
        let cause = std::error::Error::source(&error).map(|cause| format!(": {cause}")).unwrap_or_default();
        if stop.is_set() { BuildError::Cancelled } else { invalid(format!("{error}{cause}")) }
    })?;
    writer.finish().map_err(|error| invalid(error.to_string()))?;
    Ok(())
}
