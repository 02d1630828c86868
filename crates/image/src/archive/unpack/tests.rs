//! Hostile and odd archives, on the real filesystem.

use std::fs as std_fs;
use std::os::fd::AsFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::*;
use crate::archive::{PackOptions, Writer, pack};

/// `outside` and `root` beside each other; the outside must never change.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("image-unpack-{}-{test}", std::process::id()));
        let _ = std_fs::remove_dir_all(&path);
        std_fs::create_dir_all(path.join("root")).unwrap();
        std_fs::create_dir_all(path.join("outside/dir")).unwrap();
        std_fs::write(path.join("outside/secret"), "untouched").unwrap();
        Self(path)
    }

    fn root(&self) -> PathBuf {
        self.0.join("root")
    }

    fn unpack_with(&self, options: &UnpackOptions, bytes: &[u8]) -> Result<Unpacked, UnpackError> {
        let root = fs::open_dir(self.root()).unwrap();
        let result = unpack(bytes, root.as_fd(), options);
        assert_eq!(std_fs::read(self.0.join("outside/secret")).unwrap(), b"untouched");
        assert_eq!(std_fs::metadata(self.0.join("outside/secret")).unwrap().nlink(), 1);
        assert_eq!(std_fs::read_dir(self.0.join("outside/dir")).unwrap().count(), 0);
        assert_eq!(std_fs::read_dir(&self.0).unwrap().count(), 2);
        result
    }

    fn unpack(&self, entries: &[(Entry, &str)]) -> Result<Unpacked, UnpackError> {
        self.unpack_with(&UnpackOptions::layer(), &archive(entries))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std_fs::remove_dir_all(&self.0);
    }
}

fn archive(entries: &[(Entry, &str)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (entry, data) in entries {
        writer.append(entry, data.as_bytes()).unwrap();
    }
    writer.finish().unwrap()
}

fn file(path: &str, data: &'static str) -> (Entry, &'static str) {
    (Entry::file(path, data.len() as u64), data)
}

fn dir(path: &str) -> (Entry, &'static str) {
    (Entry::directory(path), "")
}

fn link(kind: Kind, path: &str, target: &str) -> (Entry, &'static str) {
    (Entry { kind, link: target.as_bytes().to_vec(), ..Entry::file(path, 0) }, "")
}

fn refused(test: &str, entries: &[(Entry, &str)], expected: &str) {
    let error = Scratch::new(test).unpack(entries).unwrap_err();
    assert_eq!(error.to_string(), expected);
}

#[test]
fn names_that_leave_are_refused() {
    refused(
        "dotdot",
        &[file("../outside/secret", "x")],
        "archive entry \"../outside/secret\" leaves the directory it is unpacked into",
    );
    refused(
        "inner",
        &[dir("a"), file("a/../../outside/dir/x", "x")],
        "archive entry \"a/../../outside/dir/x\" leaves the directory it is unpacked into",
    );
    refused("root-file", &[file(".", "x")], "archive entry \".\" has no usable name");
    let scratch = Scratch::new("absolute");
    scratch.unpack(&[file("/outside/dir/x", "inside")]).unwrap();
    assert_eq!(std_fs::read(scratch.root().join("outside/dir/x")).unwrap(), b"inside");
}

#[test]
fn links_never_lead_out() {
    let outside = "../outside/dir";
    let scratch = Scratch::new("symlink");
    // Resolved inside the root, where there is no such directory: one is made there.
    let _ = scratch.unpack(&[link(Kind::Symlink, "l", outside), file("l/x", "x")]);
    let scratch = Scratch::new("symlink-absolute");
    let absolute = scratch.0.join("outside/dir");
    let _ = scratch.unpack(&[link(Kind::Symlink, "l", absolute.to_str().unwrap()), file("l/x", "x")]);
    let scratch = Scratch::new("symlink-file");
    // The link itself is replaced, its target is not written through.
    scratch.unpack(&[link(Kind::Symlink, "l", "../outside/secret"), file("l", "mine")]).unwrap();
    assert_eq!(std_fs::read(scratch.root().join("l")).unwrap(), b"mine");
    let scratch = Scratch::new("symlink-chmod");
    let mut entry = link(Kind::Symlink, "l", "../outside/secret");
    entry.0.mode = 0o777;
    entry.0.mtime = (1, 0);
    scratch.unpack(&[entry]).unwrap();
    assert_ne!(std_fs::metadata(scratch.0.join("outside/secret")).unwrap().mtime(), 1);
}

#[test]
fn hard_links_stay_inside() {
    let message = |target: &str| {
        format!("archive entry \"h\" is a hard link to {target:?}, which is not a file of the same archive")
    };
    let hard = |target| link(Kind::HardLink, "h", target);
    refused("hard-missing", &[hard("nothing")], &message("nothing"));
    refused("hard-dir", &[dir("d"), hard("d")], &message("d"));
    let error = Scratch::new("hard-up").unpack(&[hard("../outside/secret")]).unwrap_err();
    assert!(matches!(error, UnpackError::Escape(_)), "{error}");
    // Through a link to the outside: looked up inside, where it is not.
    let scratch = Scratch::new("hard-through");
    let target = scratch.0.join("outside");
    let through = link(Kind::Symlink, "l", target.to_str().unwrap());
    assert!(scratch.unpack(&[through, hard("l/secret")]).is_err());
    // To a link that leads out: the link is linked, and a file of that name then replaces it.
    let scratch = Scratch::new("hard-to-symlink");
    let out = link(Kind::Symlink, "l", "../outside/secret");
    scratch.unpack(&[out, hard("l"), file("h", "mine")]).unwrap();
    assert!(scratch.root().join("l").is_symlink());
    let scratch = Scratch::new("hard-good");
    scratch.unpack(&[file("f", "data"), hard("./f"), hard("f")]).unwrap();
    assert_eq!(std_fs::metadata(scratch.root().join("f")).unwrap().nlink(), 2);
}

#[test]
fn whiteouts_become_overlayfs_own() {
    let scratch = Scratch::new("whiteouts");
    scratch
        .unpack(&[
            dir("a"),
            file("a/.wh.gone", ""),
            file("a/.wh..wh..opq", ""),
            file("a/.wh..wh.plnk", ""),
            file("kept", "x"),
            file(".wh.kept", ""),
            file(".wh.again", ""),
            dir("again"),
            dir("before"),
            file(".wh.before", ""),
        ])
        .unwrap();
    let root = scratch.root();
    let gone = std_fs::symlink_metadata(root.join("a/gone")).unwrap();
    assert!(gone.file_type().is_char_device() && gone.rdev() == 0);
    let opaque = |path: &str| {
        fs::get_xattr(fs::open_dir(root.join(path)).unwrap(), sys::overlay::opaque()).unwrap().is_some()
    };
    assert!(opaque("a") && opaque("again") && opaque("before"));
    assert_eq!(std_fs::read(root.join("kept")).unwrap(), b"x");
    assert_eq!(std_fs::read_dir(root.join("a")).unwrap().count(), 1);
    for name in [".wh.", ".wh..", ".wh...", "a/.wh..."] {
        let error = Scratch::new("whiteout-parent").unpack(&[file(name, "")]).unwrap_err();
        assert_eq!(error.to_string(), format!("archive entry {name:?} has no usable name"));
    }
    let plain = Scratch::new("whiteouts-plain");
    plain.unpack_with(&UnpackOptions::default(), &archive(&[file(".wh.x", "y")])).unwrap();
    assert_eq!(std_fs::read(plain.root().join(".wh.x")).unwrap(), b"y");
}

#[test]
fn foreign_attributes_stay_out() {
    let scratch = Scratch::new("xattrs");
    let attribute = |name: &str, value: &[u8]| (name.as_bytes().to_vec(), value.to_vec());
    // cap_net_bind_service+ep, version 2.
    let capability = [1, 0, 0, 2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let (mut entry, data) = file("f", "x");
    entry.uid = 1000;
    entry.mode = 0o4755;
    entry.xattrs = vec![
        attribute("user.note", b"kept"),
        attribute("security.capability", &capability),
        attribute("trusted.overlay.redirect", b"/etc"),
        attribute("user.overlay.opaque", b"y"),
    ];
    scratch.unpack(&[(entry, data)]).unwrap();
    let fd = fs::open(scratch.root().join("f"), OFlags::RDONLY, 0).unwrap();
    let get = |name: &std::ffi::CStr| fs::get_xattr(&fd, name).unwrap();
    assert_eq!(get(c"user.note").as_deref(), Some(&b"kept"[..]));
    assert_eq!(get(c"security.capability").as_deref(), Some(&capability[..]));
    assert_eq!(fs::list_xattrs(&fd).unwrap().len(), 2);
    assert_eq!(fs::stat(&fd).unwrap().st_mode & 0o7777, 0o4755);
}

#[test]
fn directories_are_finished_last() {
    let scratch = Scratch::new("directories");
    let (mut sticky, _) = dir("d/");
    (sticky.mode, sticky.gid, sticky.mtime) = (0o2555, 5, (7, 0));
    let (mut again, _) = dir("twice");
    again.mode = 0o700;
    let (mut root, _) = dir("./");
    root.mode = 0o711;
    scratch
        .unpack(&[
            (root, ""),
            (sticky, ""),
            file("d/f", "x"),
            dir("d/sub"),
            dir("twice"),
            (again, ""),
            file("implied/x", ""),
        ])
        .unwrap();
    let stat = |path: &str| std_fs::symlink_metadata(scratch.root().join(path)).unwrap();
    assert_eq!((stat("d").mode() & 0o7777, stat("d").mtime(), stat("d").gid()), (0o2555, 7, 5));
    assert_eq!((stat("d/f").gid(), stat("d/sub").gid(), stat("d/sub").mode() & 0o7777), (0, 0, 0o755));
    assert_eq!(stat("twice").mode() & 0o7777, 0o700);
    assert_eq!(stat(".").mode() & 0o7777, 0o711);
    assert_eq!(stat("implied").mode() & 0o7777, 0o755);
}

#[test]
fn later_entries_replace_earlier_ones() {
    let scratch = Scratch::new("replace");
    scratch
        .unpack(&[
            dir("a"),
            dir("a/b"),
            file("a/b/c", "1"),
            file("a", "2"),
            file("x", "1"),
            dir("x"),
            file("x/y", "3"),
            file("f", "long text"),
            file("f", "s"),
        ])
        .unwrap();
    assert_eq!(std_fs::read(scratch.root().join("a")).unwrap(), b"2");
    assert_eq!(std_fs::read(scratch.root().join("x/y")).unwrap(), b"3");
    assert_eq!(std_fs::read(scratch.root().join("f")).unwrap(), b"s");
    let keep = UnpackOptions { keep_kinds: true, ..UnpackOptions::default() };
    let error = scratch.unpack_with(&keep, &archive(&[dir("a")])).unwrap_err();
    assert_eq!(error.to_string(), "cannot overwrite non-directory \"a\" with directory");
    let error = scratch.unpack_with(&keep, &archive(&[file("x", "")])).unwrap_err();
    assert_eq!(error.to_string(), "cannot overwrite directory \"x\" with non-directory");
    // Existing links on the way are followed inside the root.
    std_fs::create_dir(scratch.root().join("usr")).unwrap();
    symlink("/usr", scratch.root().join("lib")).unwrap();
    scratch.unpack_with(&keep, &archive(&[file("lib/so", "z")])).unwrap();
    assert_eq!(std_fs::read(scratch.root().join("usr/so")).unwrap(), b"z");
    let error = scratch.unpack(&[file("f/below", "")]).unwrap_err();
    assert_eq!(error.to_string(), "archive entry \"f/below\" is below \"f\", which is not a directory");
}

#[test]
fn limits_hold() {
    let scratch = Scratch::new("limits");
    let options = UnpackOptions { max_bytes: 3, max_entries: 2, ..UnpackOptions::default() };
    let error = scratch.unpack_with(&options, &archive(&[file("a", "12"), file("b", "34")])).unwrap_err();
    assert_eq!(error.to_string(), "archive has more than 3 bytes of files");
    let error = scratch.unpack_with(&options, &archive(&[dir("a"), dir("b"), dir("c")])).unwrap_err();
    assert_eq!(error.to_string(), "archive has more than 2 entries");
    let device = |kind| (Entry { kind, device: (1, 3), ..Entry::file("null", 0) }, "");
    let error = scratch.unpack_with(&options, &archive(&[device(Kind::Character)])).unwrap_err();
    assert_eq!(error.to_string(), "archive entry \"null\" is a device");
    Scratch::new("devices").unpack(&[device(Kind::Character), device(Kind::Block)]).unwrap();
}

/// Damages one archive at every byte: each time there is an answer, and the outside stays as it is.
#[test]
fn damaged_archives_are_survived() {
    let scratch = Scratch::new("damaged");
    let (mut entry, data) = file(&format!("d/{}", "n".repeat(120)), "data");
    entry.xattrs.push((b"user.x".to_vec(), b"y".to_vec()));
    let good = archive(&[dir("d"), (entry, data), link(Kind::Symlink, "l", "d")]);
    let mut random = 1u32;
    for position in (0..good.len()).step_by(3) {
        let mut bytes = good.clone();
        random = random.wrapping_mul(1664525).wrapping_add(1013904223);
        bytes[position] ^= (random >> 24) as u8 | 1;
        let _ = scratch.unpack_with(&UnpackOptions::layer(), &bytes);
        let _ = scratch.unpack_with(&UnpackOptions::layer(), &good[..position]);
    }
}

fn packed(root: &Path) -> Vec<u8> {
    let fd = fs::open_dir(root).unwrap();
    let mut writer = Writer::new(Vec::new());
    pack(&mut writer, fd.as_fd(), &PackOptions::layer()).unwrap();
    writer.finish().unwrap()
}

#[test]
fn packing_and_unpacking_are_inverse() {
    let first = Scratch::new("round-1");
    let (mut big, _) = file("owner", "");
    (big.uid, big.gid, big.mtime) = (3_000_000, 4_000_000, (-5, 0));
    first
        .unpack(&[
            dir("b"),
            file("b/two", "2"),
            file("a", "1"),
            link(Kind::HardLink, "c", "a"),
            link(Kind::Symlink, "s", &"long/".repeat(60)),
            file(&"deep/".repeat(50), ""),
            (big, ""),
            file("b/.wh.gone", ""),
            file("b/.wh..wh..opq", ""),
            (Entry { kind: Kind::Fifo, ..Entry::file("fifo", 0) }, ""),
            (Entry { kind: Kind::Character, device: (1, 3), mode: 0o666, ..Entry::file("null", 0) }, ""),
        ])
        .unwrap();
    std_fs::set_permissions(first.root(), std_fs::Permissions::from_mode(0o755)).unwrap();
    let bytes = packed(&first.root());
    assert_eq!(bytes, packed(&first.root()));
    let second = Scratch::new("round-2");
    std_fs::set_permissions(second.root(), std_fs::Permissions::from_mode(0o755)).unwrap();
    second.unpack_with(&UnpackOptions::layer(), &bytes).unwrap();
    assert_eq!(packed(&second.root()), bytes);
    assert_eq!(std_fs::metadata(second.root().join("owner")).unwrap().uid(), 3_000_000);
}
