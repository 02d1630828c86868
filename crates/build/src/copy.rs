//! COPY and ADD: selected files into a layer.

pub mod extract;

use std::collections::HashMap;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use sys::fs::{FileType, Node};

use crate::error::StepError;
use crate::layer::{Attributes, Writer};
use crate::mode::ModeChange;
use crate::select::{Owners, Selected, Source, is_reserved};
use crate::stop::Stop;
use crate::tree::{Entry, display};

/// How the files arrive.
#[derive(Clone, Debug, Default)]
pub struct Placement {
    /// Absolute: the working directory is already in front. A slash at the end counts.
    pub destination: String,
    /// `--chown`, resolved.
    pub owner: Option<(u32, u32)>,
    /// `--chmod`.
    pub mode: Option<ModeChange>,
    /// More than one source, so the destination must be a directory.
    pub many: bool,
    /// `--parents`.
    pub parents: bool,
    /// ADD: archives are unpacked.
    pub unpack: bool,
}

impl Placement {
    fn created_dir(&self) -> Attributes {
        let (uid, gid) = self.owner.unwrap_or((0, 0));
        Attributes::dir(uid, gid)
    }

    /// The permission bits of what arrives with `mode`.
    fn mode_of(&self, mode: u32, is_dir: bool) -> u32 {
        self.mode.as_ref().map_or(mode, |change| change.apply(mode, is_dir))
    }
}

/// A file given in the Dockerfile itself.
#[derive(Clone, Debug)]
pub struct Inline {
    pub name: String,
    pub content: String,
}

/// Copies `selection` of `source` into `writer`; false when a file changed since it was selected.
///
/// # Errors
/// What cannot be read or written, and a destination that is not what the sources need.
pub fn copy(
    writer: &mut Writer,
    source: Source<'_>,
    selection: &[Selected],
    placement: &Placement,
    stop: &Stop,
) -> Result<bool, StepError> {
    let mut job = Job { writer, source, placement, stop, linked: HashMap::new(), steady: true };
    for selected in selection {
        job.place(selected)?;
    }
    Ok(job.steady)
}

/// Writes heredoc files into `writer`.
///
/// # Errors
/// As [`copy`].
pub fn write_inline(writer: &mut Writer, files: &[Inline], placement: &Placement) -> Result<(), StepError> {
    for file in files {
        let target = file_target(writer, placement, Path::new(&file.name))?;
        let (uid, gid) = placement.owner.unwrap_or((0, 0));
        let attributes = Attributes { mode: placement.mode_of(0o644, false), ..Attributes::dir(uid, gid) };
        let fail = explain(&target);
        if let Some(parent) = target.parent() {
            writer.ensure_dir(parent, &placement.created_dir()).map_err(&fail)?;
        }
        writer.put_file(&target, &attributes, |out| out.write_all(file.content.as_bytes())).map_err(fail)?;
    }
    Ok(())
}

struct Job<'a> {
    writer: &'a mut Writer,
    source: Source<'a>,
    placement: &'a Placement,
    stop: &'a Stop,
    /// Where files with several names were written first.
    linked: HashMap<(u64, u64), PathBuf>,
    /// No file was written to while the build read it.
    steady: bool,
}

impl Job<'_> {
    fn place(&mut self, selected: &Selected) -> Result<(), StepError> {
        let is_dir = selected.entry.is_dir();
        if self.placement.unpack && selected.entry.kind() == FileType::RegularFile {
            let file = self
                .source
                .tree
                .open_entry(&selected.entry)
                .map_err(StepError::io("read", display(&selected.entry.path)))?;
            if let Some(archive) =
                extract::open(file).map_err(StepError::io("read", display(&selected.entry.path)))?
            {
                let base = self.directory_target()?;
                return extract::extract(self.writer, archive, &base, self.placement, self.stop);
            }
        }
        let base = if is_dir || self.placement.parents {
            self.directory_target()?
        } else {
            // The one item's own path is the file's name.
            let target = file_target(self.writer, self.placement, Path::new(&selected.name))?;
            let parent = target.parent().map(Path::to_owned).unwrap_or_default();
            self.writer.ensure_dir(&parent, &self.placement.created_dir()).map_err(explain(&parent))?;
            for item in &selected.items {
                self.put(&target, &item.entry)?;
            }
            return Ok(());
        };
        for item in &selected.items {
            if self.stop.is_set() {
                return Err(StepError::Cancelled);
            }
            if item.path.as_os_str().is_empty() {
                self.put_base(&base, &item.entry)?;
                continue;
            }
            if item.path.iter().any(is_reserved) {
                return Err(reserved(&item.path));
            }
            self.put(&base.join(&item.path), &item.entry)?;
        }
        Ok(())
    }

    /// The destination as a directory, links resolved.
    fn directory_target(&self) -> Result<PathBuf, StepError> {
        let resolved = self
            .writer
            .resolve(Path::new(&self.placement.destination))
            .map_err(explain(Path::new(&self.placement.destination)))?;
        if resolved.entry.is_some_and(|entry| !entry.is_dir()) {
            return Err(StepError::Invalid(format!(
                "cannot copy to non-directory: {}",
                self.placement.destination
            )));
        }
        Ok(resolved.path)
    }

    /// A copied directory gives its own attributes to the destination only when that is new.
    fn put_base(&mut self, base: &Path, entry: &Entry) -> Result<(), StepError> {
        let exists = self.writer.resolve(base).map_err(explain(base))?.entry.is_some();
        if exists {
            return self.writer.ensure_dir(base, &self.placement.created_dir()).map_err(explain(base));
        }
        if let Some(parent) = base.parent() {
            self.writer.ensure_dir(parent, &self.placement.created_dir()).map_err(explain(base))?;
        }
        let attributes = self.attributes(entry);
        self.writer.put_dir(base, &attributes).map_err(explain(base))
    }

    fn attributes(&self, entry: &Entry) -> Attributes {
        let mut attributes = Attributes::of(entry);
        if self.source.owners == Owners::Root {
            (attributes.uid, attributes.gid) = (0, 0);
        }
        if let Some((uid, gid)) = self.placement.owner {
            (attributes.uid, attributes.gid) = (uid, gid);
        }
        attributes.mode = self.placement.mode_of(attributes.mode, entry.is_dir());
        attributes
    }

    fn put(&mut self, target: &Path, entry: &Entry) -> Result<(), StepError> {
        if target.file_name().is_some_and(is_reserved) {
            return Err(reserved(target));
        }
        self.put_entry(target, entry).map_err(explain(target))
    }

    fn put_entry(&mut self, target: &Path, entry: &Entry) -> io::Result<()> {
        let mut attributes = self.attributes(entry);
        match entry.kind() {
            FileType::Directory => self.writer.put_dir(target, &attributes),
            FileType::RegularFile => {
                let inode = (entry.stat.st_dev, entry.stat.st_ino);
                if entry.stat.st_nlink > 1 {
                    if let Some(first) = self.linked.get(&inode) {
                        return self.writer.put_hard_link(target, &first.clone());
                    }
                    self.linked.insert(inode, target.to_owned());
                }
                let file = self.source.tree.open_entry(entry)?;
                if self.source.owners == Owners::Kept {
                    attributes.xattrs = self.source.tree.xattrs(entry)?;
                }
                self.writer
                    .put_file(target, &attributes, |out| sys::fs::copy_contents(&file, out).map(drop))?;
                self.steady &= is_same(&entry.stat, &sys::fs::stat(&file)?);
                Ok(())
            }
            FileType::Symlink => {
                let link = self.source.tree.read_link(entry)?;
                self.writer.put_link(target, &link, &attributes)
            }
            FileType::Fifo => self.writer.put_node(target, Node::Fifo, &attributes),
            kind @ (FileType::CharacterDevice | FileType::BlockDevice) => {
                let (major, minor) = sys::fs::device_numbers(entry.stat.st_rdev);
                let node = match kind {
                    FileType::BlockDevice => Node::Block { major, minor },
                    // Overlayfs would take it for a whiteout.
                    _ if (major, minor) == (0, 0) => return Ok(()),
                    _ => Node::Character { major, minor },
                };
                self.writer.put_node(target, node, &attributes)
            }
            FileType::Socket | FileType::Unknown => Ok(()),
        }
    }
}

/// Whether a file's contents cannot have changed between two looks.
fn is_same(before: &sys::fs::Stat, after: &sys::fs::Stat) -> bool {
    let key = |stat: &sys::fs::Stat| {
        (stat.st_ino, stat.st_size, stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec)
    };
    key(before) == key(after)
}

/// Where a single file goes: into the destination when that is a directory, else to exactly that name.
fn file_target(writer: &Writer, placement: &Placement, name: &Path) -> Result<PathBuf, StepError> {
    let destination = Path::new(&placement.destination);
    let resolved = writer.resolve(destination).map_err(explain(destination))?;
    let wants_dir =
        placement.many || placement.destination.ends_with('/') || placement.destination.ends_with("/.");
    match resolved.entry {
        Some(entry) if entry.is_dir() => {
            // A link in the directory under this name is replaced, not followed.
            Ok(resolved.path.join(name))
        }
        Some(_) if wants_dir => {
            Err(StepError::Invalid(format!("cannot copy to non-directory: {}", placement.destination)))
        }
        None if wants_dir => Ok(resolved.path.join(name)),
        _ => Ok(resolved.path),
    }
}

fn reserved(path: &Path) -> StepError {
    StepError::Invalid(format!(
        "{}: names that begin with .wh. are kept for deletions in layers",
        display(path)
    ))
}

/// Turns the kernel's answer into Docker's words where there are some.
pub(crate) fn explain(path: &Path) -> impl Fn(io::Error) -> StepError {
    let path = format!("/{}", display(path).trim_start_matches('/'));
    move |error| match error.kind() {
        io::ErrorKind::NotADirectory => StepError::Invalid(format!("cannot copy to non-directory: {path}")),
        io::ErrorKind::IsADirectory => {
            StepError::Invalid(format!("cannot replace directory {path} with file"))
        }
        _ => StepError::Io { what: "write", path: path.clone(), source: error },
    }
}

#[cfg(test)]
mod tests;
