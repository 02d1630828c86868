//! Overlay mounts: their options, and mounts that are attached nowhere.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use sys::mount::{Attributes, Change, Context, Depth, Propagation, Tree};
use sys::namespace::{Kind, KindSet};

/// mount(2) takes at most a page of options, its terminating zero included.
pub(crate) const OPTIONS_MAX: usize = 4095;

/// What the mount table calls an overlay that nobody looks for by name.
pub const SOURCE: &str = "overlay";

/// The options that mount `lower`, topmost first, with `over` as the writable and the work directory.
pub(crate) fn options(lower: &[Vec<u8>], over: Option<(&[u8], &[u8])>, volatile: bool) -> Vec<u8> {
    let mut options = Vec::new();
    for (name, value) in sys::overlay::options() {
        options.extend(name.as_bytes());
        if let Some(value) = value {
            options.push(b'=');
            options.extend(value.as_bytes());
        }
        options.push(b',');
    }
    if volatile {
        options.extend(b"volatile,");
    }
    options.extend(b"lowerdir=");
    for (n, name) in lower.iter().enumerate() {
        if n > 0 {
            options.push(b':');
        }
        escape(&mut options, name);
    }
    if let Some((upper, work)) = over {
        options.extend(b",upperdir=");
        escape(&mut options, upper);
        options.extend(b",workdir=");
        escape(&mut options, work);
    }
    options
}

/// Whether layers may be given one by one, where a value of the new mount API holds 256 bytes.
pub(crate) fn takes_layers_one_by_one() -> bool {
    sys::features::kernel_version() >= (6, 5)
}

/// Mounts `lower`, topmost first, attached to nothing, on a kernel that [takes them one by one](takes_layers_one_by_one).
pub(crate) fn one_by_one<N: AsRef<OsStr>>(
    source: &str,
    lower: &[N],
    over: Option<(&OsStr, &OsStr)>,
    volatile: bool,
    attributes: Attributes,
) -> io::Result<Tree> {
    let context = Context::open("overlay")?;
    let set = || {
        context.set("source", source)?;
        for option in sys::overlay::options() {
            match option {
                (name, Some(value)) => context.set(name, *value)?,
                (name, None) => context.flag(name)?,
            }
        }
        if volatile {
            context.flag("volatile")?;
        }
        for name in lower {
            context.set("lowerdir+", name.as_ref())?;
        }
        if let Some((upper, work)) = over {
            context.set("upperdir", upper)?;
            context.set("workdir", work)?;
        }
        context.mount(attributes)
    };
    set().map_err(|error| match context.complaint() {
        Some(text) => io::Error::new(error.kind(), format!("{text} ({error})")),
        None => error,
    })
}

/// Mounts `lower`, topmost first, attached to nothing: visible through its descriptor only, and gone when that is closed.
///
/// The mount table calls it `source`. `over` are the writable and the work directory. May be called by any thread of any process
/// that may mount.
///
/// # Errors
/// What the kernel says.
pub fn detached(
    source: &str,
    lower: &[PathBuf],
    over: Option<(&Path, &Path)>,
    attributes: Attributes,
) -> io::Result<Tree> {
    if takes_layers_one_by_one() {
        let over = over.map(|(upper, work)| (upper.as_os_str(), work.as_os_str()));
        return one_by_one(source, lower, over, false, attributes);
    }
    let attach_and_copy = || {
        // Nobody else sees what is mounted here; it goes with the thread.
        sys::namespace::unshare(KindSet::EMPTY.with(Kind::Mount))?;
        sys::mount::set_propagation("/", Propagation::Slave, Depth::Recursive)?;
        let names = enter_links(lower)?;
        let over = over.map(|(upper, work)| (upper.as_os_str().as_bytes(), work.as_os_str().as_bytes()));
        let options = CString::new(options(&names, over, false))?;
        let place = lower.first().map_or(Path::new("/"), PathBuf::as_path);
        sys::mount::mount_overlay(source, place, &options)?;
        let tree = Tree::copy(place, Depth::One)?;
        tree.change(Change::set(attributes), Depth::One)?;
        Ok(tree)
    };
    std::thread::scope(|scope| scope.spawn(attach_and_copy).join())
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// Moves to a directory that is mounted nowhere, where the layers are links called `0`, `1`, ...: hundreds fit the page.
pub(crate) fn enter_links(lower: &[PathBuf]) -> io::Result<Vec<Vec<u8>>> {
    let tree = Context::open("tmpfs")?.mount(Attributes::NONE)?;
    let mut names = Vec::with_capacity(lower.len());
    for (number, path) in lower.iter().enumerate() {
        let name = number.to_string();
        sys::fs::symlink_at(path.as_path(), &tree, name.as_str())?;
        names.push(name.into_bytes());
    }
    sys::process::change_directory(&tree)?;
    Ok(names)
}

fn escape(out: &mut Vec<u8>, path: &[u8]) {
    for &byte in path {
        if matches!(byte, b'\\' | b',' | b':') {
            out.push(b'\\');
        }
        out.push(byte);
    }
}
