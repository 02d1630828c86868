//! `cp`: files between a container and here, as tar streams.
//!
//! What lands where follows `cp -r`: onto a directory goes below it under its own name, onto nothing becomes that name, and a
//! source ending in `/.` means a directory's content.

use std::fs::File;
use std::io::{self, BufReader, Read as _, Write};
use std::os::fd::AsFd as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use diag::{Class, Diagnose, Failure};
use engine::Engine;
use engine::archive::{PathStat, PutOptions};
use image::archive::{
    Devices, Entry, Kind, PackOptions, Reader, UnpackOptions, Writer, attributes, pack, unpack,
};

use crate::commands::{Ended, Invocation, Outcome, parse};
use crate::context::Context;
use crate::output::file::Output;

/// What `cp` and `compose cp` share.
#[derive(clap::Args)]
pub struct Flags {
    /// Archive mode (copy all uid/gid information)
    #[arg(short, long)]
    archive: bool,
    /// Always follow symbol link in SRC_PATH
    #[arg(short = 'L', long)]
    follow_link: bool,
    /// Suppress progress output during copy
    #[arg(short, long)]
    quiet: bool,
}

/// Copy files/folders between a container and the local filesystem
#[derive(clap::Parser)]
struct Args {
    #[command(flatten)]
    flags: Flags,
    #[arg(value_name = "CONTAINER:SRC_PATH|SRC_PATH|-")]
    source: String,
    #[arg(value_name = "DEST_PATH|-|CONTAINER:DEST_PATH")]
    destination: String,
}

/// Files that were not copied.
#[derive(Debug, thiserror::Error)]
enum CopyError {
    #[error("must specify at least one container source")]
    NoContainer,
    #[error("copying between containers is not supported")]
    TwoContainers,
    #[error("no such directory: {path}")]
    NoSuchDirectory { path: String },
    #[error("cannot copy directory {source_path} to file {path}")]
    DirectoryToFile { source_path: String, path: String },
    #[error("cannot copy {path}")]
    Local { path: String, source: io::Error },
    #[error("cannot pack {path}")]
    Pack { path: String, source: image::archive::PackError },
    #[error("cannot unpack into {path}")]
    Unpack { path: String, source: image::archive::UnpackError },
}

impl Diagnose for CopyError {
    fn class(&self) -> Class {
        match self {
            CopyError::NoContainer | CopyError::DirectoryToFile { .. } => Class::Invalid,
            CopyError::TwoContainers => Class::Unsupported,
            CopyError::NoSuchDirectory { .. } => Class::NotFound,
            CopyError::Local { source, .. } => Class::of_io(source),
            CopyError::Pack { source, .. } => source.class(),
            CopyError::Unpack { source, .. } => source.class(),
        }
    }
}

fn local(path: impl AsRef<Path>) -> impl FnOnce(io::Error) -> CopyError {
    let path = path.as_ref().display().to_string();
    move |source| CopyError::Local { path, source }
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    let files: &dyn Files = match context.remote()? {
        Some(remote) => remote,
        None => context.engine()?,
    };
    copy(files, &invocation.path, (&args.source, &args.destination), &args.flags)
}

/// An engine, as far as the files of its containers are concerned.
pub trait Files: Sync {
    /// What a path is; a link at its end is not followed unless the path ends in a slash.
    fn stat(&self, container: &str, path: &str) -> Result<PathStat, Failure>;

    /// Writes a path as an archive whose names begin with the path's last component.
    fn get(&self, container: &str, path: &str, output: &mut dyn Write) -> Result<(), Failure>;

    /// Unpacks an archive in a directory.
    fn put(&self, container: &str, path: &str, archive: Archive, options: &PutOptions)
    -> Result<(), Failure>;

    /// Whether there is such a container.
    fn is_there(&self, container: &str) -> bool;
}

/// What is put into a container.
pub type Archive = Box<dyn io::Read + Send>;

impl Files for Engine {
    fn stat(&self, container: &str, path: &str) -> Result<PathStat, Failure> {
        Ok(self.archive_stat(container, path)?)
    }

    fn get(&self, container: &str, path: &str, mut output: &mut dyn Write) -> Result<(), Failure> {
        Ok(self.archive_get(container, path, &mut output).map(drop)?)
    }

    fn put(
        &self,
        container: &str,
        path: &str,
        mut archive: Archive,
        options: &PutOptions,
    ) -> Result<(), Failure> {
        Ok(self.archive_put(container, path, &mut archive, options)?)
    }

    fn is_there(&self, container: &str) -> bool {
        self.inspect(container).is_ok()
    }
}

/// Copies between a container and here; the sides are as typed, `container:path` being the container's.
pub fn copy(files: &dyn Files, command: &str, sides: (&str, &str), flags: &Flags) -> Outcome {
    let (keep_owner, follow) = (flags.archive, flags.follow_link);
    match (container_side(sides.0), container_side(sides.1)) {
        (None, None) => Err(CopyError::NoContainer.into()),
        (Some(_), Some(_)) => Err(CopyError::TwoContainers.into()),
        (Some((container, path)), None) => {
            let path = if follow { followed(files, container, path)? } else { path.to_owned() };
            if sides.1 == "-" {
                return Output::new(None, command)?.write(|mut out| files.get(container, &path, &mut out));
            }
            copy_out(files, container, &path, Path::new(sides.1), keep_owner)?;
            Ok(ExitCode::SUCCESS)
        }
        (None, Some((container, path))) => {
            let owner = (!keep_owner).then_some((0, 0));
            let options = PutOptions { keep_kinds: true, owner };
            if sides.0 == "-" {
                let options = PutOptions { owner: None, ..options };
                files.put(container, path, Box::new(io::stdin()), &options).map_err(Ended::plain)?;
            } else {
                copy_in(files, sides.0, container, path, &options, follow)?;
            }
            Ok(ExitCode::SUCCESS)
        }
    }
}

/// `container:path`; absolute paths and those beginning with a dot are local whatever they contain.
pub fn container_side(text: &str) -> Option<(&str, &str)> {
    if text.starts_with(['/', '.']) {
        return None;
    }
    text.split_once(':').filter(|(container, _)| !container.is_empty() && !container.contains('/'))
}

/// `path` of the container with a link at its end replaced by what it points to.
fn followed(files: &dyn Files, container: &str, path: &str) -> Result<String, Ended> {
    let mut path = path.to_owned();
    for _ in 0..40 {
        let stat = files.stat(container, &path).map_err(Ended::plain)?;
        if !stat.is_link() {
            break;
        }
        let parent = Path::new(&path).parent().unwrap_or(Path::new("/"));
        path = parent.join(&stat.link_target).to_string_lossy().into_owned();
    }
    Ok(path)
}

/// Whether `path` means the content of a directory, and the path without what says so.
fn content_of(path: &str) -> (bool, &str) {
    match path.strip_suffix("/.") {
        Some(directory) => (true, if directory.is_empty() { "/" } else { directory }),
        None => (path == ".", path),
    }
}

fn copy_out(
    files: &dyn Files,
    container: &str,
    path: &str,
    destination: &Path,
    keep_owner: bool,
) -> Result<(), Ended> {
    let (content, path) = content_of(path);
    let stat = files.stat(container, path).map_err(Ended::plain)?;
    let text = destination.to_string_lossy().into_owned();
    let target = match std::fs::metadata(destination) {
        Ok(meta) if meta.is_dir() && content => Target { directory: destination.into(), name: None },
        Ok(meta) if meta.is_dir() => Target { directory: destination.into(), name: Some(stat.name.clone()) },
        Ok(_) if stat.is_dir() => {
            return Err(CopyError::DirectoryToFile { source_path: path.into(), path: text }.into());
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound && text.ends_with('/') && !stat.is_dir() => {
            return Err(CopyError::NoSuchDirectory { path: text }.into());
        }
        Ok(_) => Target::named(destination),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Target::named(destination),
        Err(error) => return Err(local(destination)(error).into()),
    };
    let directory = File::open(&target.directory).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => {
            CopyError::NoSuchDirectory { path: target.directory.display().to_string() }
        }
        _ => local(&target.directory)(error),
    })?;
    let options = UnpackOptions {
        owner: (!keep_owner).then(|| (sys::process::user_id(), group_id())),
        keep_kinds: true,
        devices: Devices::Create,
        ..UnpackOptions::default()
    };
    let (packed, mut packing) = io::pipe().map_err(local(destination))?;
    let (renamed, renaming) = io::pipe().map_err(local(destination))?;
    let (got, written) = std::thread::scope(|scope| {
        let getting = scope.spawn(move || {
            // Dropped at the end of this thread, which is the end of the stream.
            let got = files.get(container, path, &mut packing);
            drop(packing);
            got
        });
        let from = &stat.name;
        let renaming = scope.spawn(|| rename(BufReader::new(packed), renaming, from, target.name.as_deref()));
        let unpacked = unpack(BufReader::new(renamed), directory.as_fd(), &options);
        let renamed = renaming.join().expect("it does not panic");
        let got = getting.join().expect("it does not panic");
        let failed = |source| Failure::from(CopyError::Unpack { path: text.clone(), source });
        let renamed =
            renamed.map_err(|source| Failure::from(CopyError::Local { path: text.clone(), source }));
        (got, unpacked.map_err(failed).and(renamed))
    });
    // When unpacking fails, getting ends with a broken pipe that says nothing.
    written.map_err(Ended::plain)?;
    got.map_err(Ended::plain)?;
    Ok(())
}

/// Where something goes: below a directory, under a name, or as its content.
struct Target {
    directory: PathBuf,
    name: Option<String>,
}

impl Target {
    fn named(path: &Path) -> Self {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        Self { directory: directory.unwrap_or(Path::new(".")).into(), name }
    }
}

fn group_id() -> u32 {
    std::fs::metadata("/proc/self").map_or(0, |meta| meta.gid())
}

/// Passes an archive on with its first component `from` called `to`, or left out.
fn rename(input: impl io::BufRead, output: impl Write, from: &str, to: Option<&str>) -> io::Result<()> {
    let mut reader = Reader::new(input);
    let mut writer = Writer::new(io::BufWriter::new(output));
    let other = |error| io::Error::other(error);
    while let Some(mut entry) = reader.next_entry().map_err(other)? {
        let Some(path) = moved(&entry.path, from, to) else { continue };
        entry.path = path;
        if entry.kind == Kind::HardLink {
            entry.link = moved(&entry.link, from, to).unwrap_or_default();
        }
        writer.header(&entry)?;
        loop {
            let data = reader.data().map_err(other)?;
            let length = data.len();
            if length == 0 {
                break;
            }
            writer.output().write_all(data)?;
            reader.consume(length);
        }
        if entry.kind == Kind::Regular {
            writer.pad(entry.size)?;
        }
    }
    writer.finish()?.flush()
}

fn moved(path: &[u8], from: &str, to: Option<&str>) -> Option<Vec<u8>> {
    let from = from.trim_matches('/').as_bytes();
    let rest = path.strip_prefix(b"./").unwrap_or(path);
    let rest = rest.strip_prefix(from).unwrap_or(rest);
    let rest = rest.strip_prefix(b"/").unwrap_or(rest);
    match to {
        None if rest.is_empty() || rest == b"." => None,
        None => Some(rest.to_vec()),
        Some(to) if rest.is_empty() => Some(to.as_bytes().to_vec()),
        Some(to) => Some([to.as_bytes(), b"/", rest].concat()),
    }
}

fn copy_in(
    files: &dyn Files,
    source: &str,
    container: &str,
    path: &str,
    options: &PutOptions,
    follow: bool,
) -> Result<(), Ended> {
    let (content, from) = content_of(source);
    let mut from = PathBuf::from(from);
    let read = |from: &Path| if follow { std::fs::metadata(from) } else { std::fs::symlink_metadata(from) };
    let meta = read(&from).map_err(local(&from))?;
    if from.file_name().is_none() || follow {
        from = from.canonicalize().map_err(local(&from))?;
    }
    let own_name = from.file_name().map_or_else(|| "/".into(), |name| name.to_string_lossy().into_owned());
    let exists = match files.stat(container, path) {
        Ok(stat) if stat.is_link() => Some(files.stat(container, &format!("{path}/")).is_ok()),
        Ok(stat) => Some(stat.is_dir()),
        Err(error) if error.class() == Class::NotFound && files.is_there(container) => None,
        Err(error) => return Err(Ended::plain(error)),
    };
    let target = match exists {
        Some(true) if content && meta.is_dir() => Target { directory: path.into(), name: None },
        Some(true) => Target { directory: path.into(), name: Some(own_name) },
        Some(false) if meta.is_dir() => {
            return Err(CopyError::DirectoryToFile { source_path: source.into(), path: path.into() }.into());
        }
        None if path.ends_with('/') && !meta.is_dir() => {
            return Err(CopyError::NoSuchDirectory { path: path.into() }.into());
        }
        _ => Target::named(Path::new(path.trim_end_matches('/'))),
    };
    let directory = match target.directory.to_string_lossy().as_ref() {
        "." | "" => "/".to_owned(),
        directory => directory.to_owned(),
    };
    let (packed, packing) = io::pipe().map_err(local(&from))?;
    let (put, written) = std::thread::scope(|scope| {
        let packer = scope.spawn(|| pack_local(&from, &meta, target.name.as_deref(), options.owner, packing));
        let put = files.put(container, &directory, Box::new(packed), options);
        (put, packer.join().expect("it does not panic"))
    });
    put.map_err(Ended::plain)?;
    written?;
    Ok(())
}

/// Packs a local file or directory under `name`, as what `owner` owns.
fn pack_local(
    from: &Path,
    meta: &std::fs::Metadata,
    name: Option<&str>,
    owner: Option<(u32, u32)>,
    output: impl Write,
) -> Result<(), CopyError> {
    let failed = || local(from);
    let mut writer = Writer::new(io::BufWriter::new(output));
    if meta.is_dir() {
        let directory = File::open(from).map_err(failed())?;
        let prefix = name.unwrap_or_default().as_bytes();
        let options = PackOptions { prefix, owner, ..PackOptions::default() };
        pack(&mut writer, directory.as_fd(), &options)
            .map_err(|source| CopyError::Pack { path: from.display().to_string(), source })?;
    } else {
        let mut entry = Entry::file(name.unwrap_or_default(), 0);
        entry.mode = meta.mode() & 0o7777;
        (entry.uid, entry.gid) = owner.unwrap_or((meta.uid(), meta.gid()));
        entry.mtime = (meta.mtime(), u32::try_from(meta.mtime_nsec()).unwrap_or(0));
        if meta.is_symlink() {
            entry.kind = Kind::Symlink;
            let link = std::fs::read_link(from).map_err(failed())?;
            entry.link = link.into_os_string().into_encoded_bytes();
            writer.append(&entry, io::empty()).map_err(failed())?;
        } else {
            let file = File::open(from).map_err(failed())?;
            entry.xattrs = attributes(file.as_fd(), &entry.path, 0)
                .map_err(|source| CopyError::Pack { path: from.display().to_string(), source })?;
            entry.size = file.metadata().map_err(failed())?.len();
            writer.append(&entry, file.take(entry.size)).map_err(failed())?;
        }
    }
    writer.finish().and_then(|mut output| output.flush()).map_err(failed())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sides_are_told_apart() {
        assert_eq!(container_side("web:/etc"), Some(("web", "/etc")));
        assert_eq!(container_side("./a:b"), None);
        assert_eq!(container_side("/a:b"), None);
        assert_eq!(container_side("file"), None);
    }

    #[test]
    fn first_components_are_replaced() {
        let check = |path: &str, to, expected: Option<&str>| {
            assert_eq!(moved(path.as_bytes(), "etc", to).as_deref(), expected.map(str::as_bytes), "{path}");
        };
        check("etc/passwd", Some("new"), Some("new/passwd"));
        check("etc", Some("new"), Some("new"));
        check("etc/", None, None);
        check("etc/passwd", None, Some("passwd"));
    }
}
