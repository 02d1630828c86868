//! Which files a COPY, ADD or bind mount means, and one digest over everything about them that matters.

use std::collections::HashSet;
use std::ffi::{OsStr, OsString};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path, PathBuf};

use oci::digest::Hasher;
use sys::fs::FileType;

use crate::error::StepError;
use crate::glob::{Glob, Stars, is_pattern};
use crate::ignore::Ignore;
use crate::tree::{Entry, Last, Tree, display, is_absent, lexical};

/// A tree to select from, and what of it does not exist for the build.
#[derive(Clone, Copy)]
pub struct Source<'a> {
    pub tree: &'a Tree,
    pub ignore: &'a Ignore,
    /// How errors call it: `build context`, `stage builder`.
    pub name: &'a str,
    pub owners: Owners,
}

/// Whether the owners of the files mean anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owners {
    /// Files of the context belong to root, whoever has them on the host.
    Root,
    Kept,
}

/// What one source word led to.
#[derive(Debug)]
pub struct Selected {
    /// The last component of the word, or of the match: a file's name in a destination directory.
    pub name: OsString,
    pub entry: Entry,
    /// Everything to copy, parents first. A directory's own item has an empty path.
    pub items: Vec<Item>,
}

/// One thing to copy.
#[derive(Debug)]
pub struct Item {
    /// Relative to the destination.
    pub path: PathBuf,
    pub entry: Entry,
}

/// The options of a selection.
#[derive(Clone, Copy)]
pub struct Options<'a> {
    pub exclude: &'a Ignore,
    pub parents: bool,
}

/// Resolves the words of a COPY to files.
///
/// # Errors
/// A word without a special character that leads nowhere, and what cannot be read.
pub fn select(
    source: Source<'_>,
    words: &[String],
    options: Options<'_>,
) -> Result<Vec<Selected>, StepError> {
    let mut all = Vec::new();
    for word in words {
        let io = |error| StepError::Io { what: "read", path: word.clone(), source: error };
        let (pivot, pattern) =
            if options.parents { split_pivot(word) } else { (PathBuf::new(), word.clone()) };
        let entries = if is_pattern(&pattern) {
            expand(source, &pivot, &pattern, options)?
        } else {
            let resolved = source.tree.resolve(&pivot.join(relative(&pattern)), Last::Follow);
            let entry = match resolved {
                Ok(resolved) => resolved.entry.filter(|entry| source.reaches(entry)),
                Err(error) if is_absent(&error) => None,
                Err(error) => return Err(io(error)),
            };
            let what = if source.ignore.is_empty() { "file" } else { "file (or excluded by .dockerignore)" };
            let entry = entry
                .ok_or_else(|| StepError::NotFound { what, name: format!("{word} in {}", source.name) })?;
            let typed = lexical(&pivot.join(relative(&pattern)));
            vec![(typed, entry)]
        };
        for (typed, entry) in entries {
            let name = typed.file_name().unwrap_or_default().to_owned();
            let mut selected = Selected { name, entry: entry.clone(), items: Vec::new() };
            let mut walk =
                Walk { source, exclude: options.exclude, items: &mut selected.items, pending: Vec::new() };
            let base = if options.parents {
                let below = typed.strip_prefix(lexical(&pivot)).unwrap_or(&typed).to_owned();
                walk.parents(&lexical(&pivot), &below).map_err(io)?;
                below
            } else if entry.is_dir() {
                PathBuf::new()
            } else {
                PathBuf::from(&selected.name)
            };
            walk.visit(base, entry).map_err(io)?;
            all.push(selected);
        }
    }
    Ok(all)
}

impl Source<'_> {
    /// Whether `entry` exists for the build, or may have something that does below it.
    fn reaches(&self, entry: &Entry) -> bool {
        let path = display(&entry.path);
        if entry.is_dir() { !self.ignore.prunes(&path) } else { !self.ignore.excludes(&path) }
    }
}

fn relative(word: &str) -> &Path {
    Path::new(word.trim_start_matches('/'))
}

/// `a/./b` keeps only `b` of the source's directories.
fn split_pivot(word: &str) -> (PathBuf, String) {
    match word.split_once("/./") {
        Some((pivot, rest)) => (relative(pivot).to_owned(), rest.to_owned()),
        None => (PathBuf::new(), word.trim_start_matches('/').to_owned()),
    }
}

/// Every entry whose path matches `pattern` below `pivot`, in order, with the path that matched.
fn expand(
    source: Source<'_>,
    pivot: &Path,
    pattern: &str,
    options: Options<'_>,
) -> Result<Vec<(PathBuf, Entry)>, StepError> {
    let io = |error| StepError::Io { what: "read", path: pattern.to_owned(), source: error };
    let mut parts = Vec::new();
    for component in Path::new(pattern).components() {
        match component {
            Component::Normal(part) => parts.push(part.to_string_lossy().into_owned()),
            Component::ParentDir => {
                parts.pop();
            }
            _ => {}
        }
    }
    let start = match source.tree.resolve(pivot, Last::Follow) {
        Ok(resolved) => resolved.entry,
        Err(error) if is_absent(&error) => None,
        Err(error) => return Err(io(error)),
    };
    let mut reached: Vec<(PathBuf, Entry)> = start.map(|entry| (lexical(pivot), entry)).into_iter().collect();
    let deep = options.parents && pattern.contains("**");
    if deep {
        let glob = Glob::parse(&parts.join("/"), Stars::Double).map_err(StepError::Invalid)?;
        let mut found = Vec::new();
        for (base, entry) in reached {
            descend(source, &base, &base, &entry, &glob, &mut found).map_err(io)?;
        }
        return Ok(found);
    }
    for part in &parts {
        let glob = Glob::parse(part, Stars::Single).map_err(StepError::Invalid)?;
        let mut next = Vec::new();
        for (path, dir) in reached.iter().filter(|(_, entry)| entry.is_dir()) {
            let names = match glob.literal() {
                Some(name) => vec![OsString::from(name)],
                None => {
                    let mut names = source.tree.list(dir).map_err(io)?;
                    names.retain(|name| glob.matches(&name.to_string_lossy()));
                    names
                }
            };
            for name in names {
                let resolved = source.tree.resolve(&dir.path.join(&name), Last::Follow);
                match resolved {
                    Ok(resolved) => {
                        let entry = resolved.entry.filter(|entry| source.reaches(entry));
                        next.extend(entry.map(|entry| (path.join(&name), entry)));
                    }
                    Err(error) if is_absent(&error) => {}
                    Err(error) => return Err(io(error)),
                }
            }
        }
        reached = next;
    }
    Ok(reached)
}

fn descend(
    source: Source<'_>,
    base: &Path,
    path: &Path,
    dir: &Entry,
    glob: &Glob,
    found: &mut Vec<(PathBuf, Entry)>,
) -> io::Result<()> {
    for name in source.tree.list(dir)? {
        let Some(entry) = source.tree.lookup(dir, &name)?.filter(|entry| source.reaches(entry)) else {
            continue;
        };
        let path = path.join(&name);
        let below = path.strip_prefix(base).unwrap_or(&path);
        if glob.matches(&display(below)) {
            found.push((path, entry));
        } else if entry.is_dir() {
            descend(source, base, &path, &entry, glob, found)?;
        }
    }
    Ok(())
}

/// Collects what is below one selected entry.
struct Walk<'a> {
    source: Source<'a>,
    exclude: &'a Ignore,
    items: &'a mut Vec<Item>,
    /// Excluded directories above the current one: they appear only if something below them does.
    pending: Vec<Item>,
}

impl Walk<'_> {
    fn visit(&mut self, path: PathBuf, entry: Entry) -> io::Result<()> {
        let in_source = display(&entry.path);
        let in_selection = display(&path);
        let root = path.as_os_str().is_empty();
        if !root && (self.source.ignore.prunes(&in_source) || self.exclude.prunes(&in_selection)) {
            return Ok(());
        }
        let excluded =
            !root && (self.source.ignore.excludes(&in_source) || self.exclude.excludes(&in_selection));
        if !entry.is_dir() {
            if !excluded && entry.kind() != FileType::Socket {
                self.push(Item { path, entry });
            }
            return Ok(());
        }
        let depth = self.pending.len();
        let item = Item { path: path.clone(), entry: entry.clone() };
        if excluded {
            self.pending.push(item);
        } else {
            self.push(item);
        }
        for name in self.source.tree.list(&entry)? {
            if let Some(child) = self.source.tree.lookup(&entry, &name)? {
                self.visit(path.join(&name), child)?;
            }
        }
        self.pending.truncate(depth);
        Ok(())
    }

    fn push(&mut self, item: Item) {
        self.items.append(&mut self.pending);
        self.items.push(item);
    }

    /// The directories between `pivot` and the last component of `below`.
    fn parents(&mut self, pivot: &Path, below: &Path) -> io::Result<()> {
        let mut path = PathBuf::new();
        for name in below.parent().unwrap_or(Path::new("")).iter() {
            path.push(name);
            if let Some(entry) = self.source.tree.resolve(&pivot.join(&path), Last::Follow)?.entry {
                self.items.push(Item { path: path.clone(), entry });
            }
        }
        Ok(())
    }
}

/// The digest over names, kinds, modes, owners and contents; times do not count.
///
/// # Errors
/// What cannot be read.
pub fn digest(source: Source<'_>, selection: &[Selected]) -> Result<String, StepError> {
    let mut all = Hasher::new();
    for selected in selection {
        field(&mut all, b"source", selected.name.as_bytes());
        for item in &selected.items {
            hash_item(source, item, &mut all).map_err(StepError::io("read", display(&item.entry.path)))?;
        }
    }
    Ok(all.finish().hex())
}

fn hash_item(source: Source<'_>, item: &Item, all: &mut Hasher) -> io::Result<()> {
    let Entry { stat, .. } = &item.entry;
    field(all, b"path", item.path.as_os_str().as_bytes());
    let (uid, gid) = if source.owners == Owners::Kept { (stat.st_uid, stat.st_gid) } else { (0, 0) };
    field(all, b"meta", format!("{:o} {uid} {gid}", stat.st_mode).as_bytes());
    match item.entry.kind() {
        FileType::RegularFile => {
            let mut content = Hasher::new();
            let mut file = source.tree.open_entry(&item.entry)?;
            let mut buffer = vec![0; (stat.st_size.clamp(1, 1 << 17)) as usize];
            loop {
                match file.read(&mut buffer)? {
                    0 => break,
                    n => content.update(&buffer[..n]),
                }
            }
            field(all, b"file", content.finish().as_bytes());
            if source.owners == Owners::Kept {
                for (name, value) in source.tree.xattrs(&item.entry)? {
                    field(all, name.as_bytes(), &value);
                }
            }
        }
        FileType::Symlink => {
            field(all, b"link", source.tree.read_link(&item.entry)?.as_os_str().as_bytes());
        }
        FileType::CharacterDevice | FileType::BlockDevice => {
            field(all, b"device", &stat.st_rdev.to_le_bytes());
        }
        _ => {}
    }
    Ok(())
}

/// Adds a named value so that no two sequences of fields hash alike.
pub fn field(hasher: &mut Hasher, name: &[u8], value: &[u8]) {
    hasher.update(&(name.len() as u64).to_le_bytes());
    hasher.update(name);
    hasher.update(&(value.len() as u64).to_le_bytes());
    hasher.update(value);
}

/// The names overlay layers and archives keep for deletions; no file of an image may have one.
pub fn is_reserved(name: &OsStr) -> bool {
    name.as_bytes().starts_with(b".wh.")
}

/// Whether several words or one match decide that the destination must be a directory.
pub fn is_many(words: &[String], selection: &[Selected]) -> bool {
    words.len() > 1 || selection.iter().map(|selected| &selected.entry.path).collect::<HashSet<_>>().len() > 1
}
