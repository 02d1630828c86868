//! Layers made by an attacker: whatever they say, they are refused and leave nothing, or are unpacked inside and mean nothing else
//! than they say.

use std::fs;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use image::archive::{Entry, Kind, Writer};
use image::{Images, ImportOptions};
use store::{Roots, Store};

/// A store, and files beside it that no layer may reach.
struct World {
    base: PathBuf,
    store: Store,
}

impl World {
    fn new(test: &str) -> Self {
        let base = std::env::temp_dir().join(format!("image-hostile-{}-{test}", std::process::id()));
        let _ = fs::remove_dir_all(&base);
        fs::create_dir_all(base.join("outside/dir")).unwrap();
        fs::write(base.join("outside/secret"), "untouched").unwrap();
        let store = Store::open(&Roots::new(base.join("data"), base.join("run"))).unwrap();
        Self { base, store }
    }

    fn outside(&self) -> String {
        self.base.join("outside").to_str().unwrap().to_owned()
    }

    /// Unpacks a layer; where, or what was wrong with it.
    fn unpack(&self, layer: &[u8]) -> Result<PathBuf, String> {
        let images = Images::new(&self.store);
        let imported = images.import(&mut &layer[..], &ImportOptions::default());
        let secret = fs::metadata(self.base.join("outside/secret")).unwrap();
        assert_eq!((secret.len(), secret.nlink(), secret.mode() & 0o7777), (9, 1, 0o644));
        assert_eq!(fs::read_dir(self.base.join("outside/dir")).unwrap().count(), 0);
        assert_eq!(fs::read_dir(self.outside()).unwrap().count(), 2);
        match imported {
            Ok(image) => Ok(self.store.snapshots().path(&image.diff_ids[0])),
            Err(error) => {
                for directory in ["blobs/sha256", "snapshots", "tmp"] {
                    let left = fs::read_dir(self.base.join("data").join(directory)).unwrap().count();
                    assert_eq!(left, 0, "{directory} after {error}");
                }
                let mut text = error.to_string();
                let mut source = std::error::Error::source(&error);
                while let Some(cause) = source {
                    text = format!("{text}: {cause}");
                    source = cause.source();
                }
                Err(text)
            }
        }
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.base);
    }
}

fn file(path: &str) -> Entry {
    Entry { mode: 0o644, ..Entry::file(path, 0) }
}

fn link(kind: Kind, path: &str, target: &str) -> Entry {
    Entry { kind, link: target.as_bytes().to_vec(), ..file(path) }
}

fn device(path: &str, major: u32, minor: u32) -> Entry {
    Entry { kind: Kind::Character, device: (major, minor), ..file(path) }
}

fn with_xattrs(entry: Entry, xattrs: &[(&str, &[u8])]) -> Entry {
    let xattrs = xattrs.iter().map(|(name, value)| (name.as_bytes().to_vec(), value.to_vec())).collect();
    Entry { xattrs, ..entry }
}

/// A layer of empty files, links and directories.
fn layer(entries: &[Entry]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    entries.iter().for_each(|entry| writer.append(entry, std::io::empty()).unwrap());
    writer.finish().unwrap()
}

/// A header block of `kind` that says `size` in its size field, whatever that is, with the right checksum, and then `data`.
fn raw(kind: u8, size: &[u8; 12], data: &[u8]) -> Vec<u8> {
    let mut bytes = layer(&[file("raw")]);
    bytes.truncate(512);
    bytes[124..136].copy_from_slice(size);
    bytes[156] = kind;
    bytes[148..156].fill(b' ');
    let sum: u32 = bytes.iter().map(|&byte| u32::from(byte)).sum();
    bytes[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    bytes.extend_from_slice(data);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

fn octal(size: usize) -> [u8; 12] {
    format!("{size:011o}\0").into_bytes().try_into().unwrap()
}

/// An extended header of these records before an empty file named `raw`.
fn extended(kind: u8, records: &[(&str, &str)]) -> Vec<u8> {
    extended_with(kind, records, b"")
}

fn extended_with(kind: u8, records: &[(&str, &str)], data: &[u8]) -> Vec<u8> {
    let mut text = String::new();
    for (key, value) in records {
        let rest = key.len() + value.len() + 3;
        let digits = (1..8).find(|&n| (rest + n).to_string().len() == n).unwrap();
        text.push_str(&format!("{} {key}={value}\n", rest + digits));
    }
    [raw(kind, &octal(text.len()), text.as_bytes()), raw(b'0', &octal(data.len()), data), vec![0; 1024]]
        .concat()
}

fn refused(world: &World, layer: &[u8], why: &str) {
    match world.unpack(layer) {
        Ok(path) => panic!("{why}: unpacked at {}", path.display()),
        Err(error) => assert!(error.contains(why), "{why}: {error}"),
    }
}

#[test]
fn names_and_links_that_lead_out() {
    let world = World::new("names");
    let outside = world.outside();
    let secret = format!("{outside}/secret");
    for name in ["../x", "a/../../x", "..", "a/..", "/../x"] {
        refused(&world, &layer(&[file(name)]), "leaves the directory");
    }
    for target in ["../../../outside/secret", "..", "a/../../x"] {
        refused(&world, &layer(&[link(Kind::HardLink, "h", target)]), "leaves the directory");
    }
    for target in [secret.as_str(), "/etc/passwd", "missing", "/"] {
        refused(&world, &layer(&[link(Kind::HardLink, "h", target)]), "not a file of the same archive");
    }
    let through = [link(Kind::Symlink, "l", &outside), link(Kind::HardLink, "h", "l/secret")];
    refused(&world, &layer(&through), "not a file of the same archive");
    // Below a link that leads out, in every order: inside, whatever it is called.
    let out = || link(Kind::Symlink, "l", &outside);
    for entries in [
        vec![file(&secret), Entry::directory(&format!("{outside}/dir/sub"))],
        vec![out(), file("l/dir/x"), file("l/secret")],
        vec![out(), Entry::directory("l"), file("l/x")],
        vec![Entry::directory("l"), out(), file("l/dir/x")],
        vec![Entry::directory("l"), file("l/x"), out(), file("l/y"), Entry::directory("l/dir")],
        vec![out(), Entry { mode: 0o777, uid: 5, ..Entry::directory("l/") }, file("l/.wh.secret")],
        vec![out(), file("l/dir/.wh..wh..opq"), file("l/.wh.secret")],
        vec![link(Kind::Symlink, "m", "l"), out(), link(Kind::HardLink, "h", "m"), file("h/dir/x")],
        vec![out(), link(Kind::HardLink, "h", "l"), Entry { mode: 0o4777, uid: 7, ..file("h") }],
    ] {
        let _ = world.unpack(&layer(&entries));
    }
}

#[test]
fn lengths_that_cannot_be() {
    let world = World::new("lengths");
    let long = "n".repeat(64 << 10);
    refused(&world, &layer(&[file(&long)]), "a name of 65536 bytes");
    refused(&world, &layer(&[link(Kind::Symlink, "l", &long)]), "a name of 65536 bytes");
    refused(&world, &layer(&[file(&"n".repeat(300))]), "File name too long");
    refused(&world, &raw(b'0', &[0xff; 12], b""), "invalid size");
    refused(&world, &raw(b'0', b"-0000000001\0", b""), "invalid size");
    let largest = [0x80, 0, 0, 0, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
    refused(&world, &raw(b'0', &largest, b"x"), "more than 17592186044416 bytes");
    refused(&world, &raw(b'0', &octal(1 << 32), b"x"), "middle of an entry");
    refused(&world, &raw(b'L', &octal(1 << 30), b"x"), "extended header of 1073741824 bytes");
    refused(&world, &raw(b'x', &octal(1 << 30), b"x"), "extended header of 1073741824 bytes");
    refused(&world, &raw(b'x', &largest, b"x"), "extended header of");
    refused(&world, &extended(b'g', &[("comment", &"c".repeat(65 << 10))]), "global extended headers");
    for (key, value, why) in [
        ("size", "-1", "extended header (size)"),
        ("size", "99999999999999999999", "extended header (size)"),
        ("uid", "4294967295", "invalid uid"),
        ("gid", "-1", "extended header (gid)"),
        ("path", "a\0b", "extended header (path)"),
        ("SCHILY.xattr.", "x", "extended header (xattr)"),
    ] {
        refused(&world, &extended(b'x', &[(key, value)]), why);
    }
    // So many attributes that comparing their names would take for ever.
    let names: Vec<String> = (0..20_000).map(|n| format!("SCHILY.xattr.user.{n}")).collect();
    let records: Vec<(&str, &str)> = names.iter().map(|name| (name.as_str(), "")).collect();
    refused(&world, &extended(b'x', &records), "too many attributes");
}

#[test]
fn maps_of_holes_that_lie() {
    let world = World::new("sparse");
    for (size, map, data) in [
        ("10", "5,10", 10),
        ("10", "4,2,0,2", 4),
        ("10", "0,4,2,4", 8),
        ("10", "18446744073709551615,2", 2),
        ("10", "0,18446744073709551615", 2),
        ("10", "-1,1", 1),
        ("10", "0", 0),
        // More data than there is in the archive, and less.
        ("10", "0,4", 0),
        ("10", "0,4", 6),
        ("2199023255552", "0,0", 0),
    ] {
        let records = [("GNU.sparse.size", size), ("GNU.sparse.map", map)];
        refused(&world, &extended_with(b'x', &records, &[b'x'; 16][..data]), "invalid map");
    }
    let first = [("GNU.sparse.major", "1"), ("GNU.sparse.realsize", "10"), ("GNU.sparse.name", "../x")];
    refused(&world, &extended(b'x', &first), "invalid map");
    let renamed = [("GNU.sparse.size", "10"), ("GNU.sparse.map", "10,0"), ("GNU.sparse.name", "../x")];
    refused(&world, &extended(b'x', &renamed), "leaves the directory");
    // A terabyte of nothing takes no room.
    let holes = [("GNU.sparse.size", "1099511627776"), ("GNU.sparse.map", "1099511627776,0")];
    let root = world.unpack(&extended(b'x', &holes)).unwrap();
    let metadata = fs::metadata(root.join("raw")).unwrap();
    assert_eq!((metadata.len(), metadata.blocks()), (1 << 40, 0));
}

/// Every attribute below `root` but those of whiteouts the archive named as such.
fn attributes(root: &Path) -> Vec<String> {
    let mut found = Vec::new();
    let mut todo = vec![root.to_owned()];
    while let Some(path) = todo.pop() {
        let parent = sys::fs::open_dir(path.parent().unwrap()).unwrap();
        for name in sys::fs::list_xattrs_at(&parent, path.file_name().unwrap()).unwrap() {
            found.push(name.into_string().unwrap());
        }
        let metadata = fs::symlink_metadata(&path).unwrap();
        assert!(!metadata.file_type().is_char_device() || metadata.rdev() != 0, "{}", path.display());
        if metadata.is_dir() {
            todo.extend(fs::read_dir(&path).unwrap().map(|entry| entry.unwrap().path()));
        }
    }
    found.sort();
    found
}

#[test]
fn no_layer_writes_overlayfs_own_notes() {
    let world = World::new("notes");
    let forged: Vec<(String, &[u8])> = ["trusted.overlay.", "user.overlay.", "trusted.overlay.overlay."]
        .iter()
        .flat_map(|prefix| {
            ["redirect", "metacopy", "opaque", "whiteout", "origin", "impure", "nlink", "uuid"]
                .map(|note| (format!("{prefix}{note}"), if note == "opaque" { &b"y"[..] } else { b"/etc" }))
        })
        .collect();
    let mut forged: Vec<(&str, &[u8])> = forged.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    // Nor labels and measurements of the host's policy, and what only looks like an attribute that travels.
    forged.extend([
        ("security.selinux", &b"system_u:object_r:bin_t:s0\0"[..]),
        ("security.ima", b"\x03"),
        ("security.evm", b"\x03"),
        ("security.capability.x", b"x"),
        ("trusted.md5", b"x"),
        ("system.nfs4_acl", b"x"),
    ]);
    let root = world
        .unpack(&layer(&[
            with_xattrs(Entry::directory("./"), &forged),
            with_xattrs(Entry::directory("d"), &forged),
            with_xattrs(file("d/f"), &forged),
            with_xattrs(link(Kind::Symlink, "l", "d"), &forged),
            with_xattrs(device("null", 1, 3), &forged),
            with_xattrs(Entry { kind: Kind::Fifo, ..file("fifo") }, &forged),
            with_xattrs(file("note"), &[("user.note", b"kept")]),
        ]))
        .unwrap();
    assert_eq!(attributes(&root), ["user.note"]);
    // Global headers speak for every entry that follows, and are no other way in.
    let global =
        [("SCHILY.xattr.trusted.overlay.opaque", "y"), ("SCHILY.xattr.user.overlay.redirect", "/etc")];
    let root = world.unpack(&extended(b'g', &global)).unwrap();
    assert_eq!(attributes(&root), [""; 0]);
}

#[test]
fn whiteouts_have_one_way_of_being_written() {
    let world = World::new("whiteouts");
    let raw_whiteout = "is the device 0:0";
    refused(&world, &layer(&[device("bin", 0, 0)]), raw_whiteout);
    refused(&world, &layer(&[Entry::directory("d"), device("d/x", 0, 0)]), raw_whiteout);
    // The kernel keeps twelve and twenty bits of these: 0:0 again.
    for (major, minor) in [(1 << 12, 0), (0, 1 << 20), (1 << 20, 1 << 20)] {
        refused(&world, &layer(&[device("bin", major, minor)]), "cannot create \"bin\"");
    }
    let second = [file(".wh.gone"), link(Kind::HardLink, "bin", "gone")];
    refused(&world, &layer(&second), "not a file of the same archive");
    // Of the directory itself, of the one above, and below a name that is gone.
    for name in [".wh.", ".wh..", ".wh...", "d/.wh...", "d/.wh..", ".wh.d/x", "d/.wh.e/f/x", ".wh.d/.wh.x"] {
        refused(&world, &layer(&[file(name)]), "has no usable name");
    }
    refused(&world, &layer(&[Entry::directory(".wh.d"), file(".wh.d/x")]), "has no usable name");
    refused(&world, &layer(&[file(".wh.d"), file("d/x")]), "which is not a directory");
    // What aufs left in old layers is no part of them.
    let root = world
        .unpack(&layer(&[
            Entry::directory(".wh..wh.plnk"),
            file(".wh..wh.plnk/12.34"),
            file(".wh..wh.aufs"),
            file(".wh..wh.orph/.wh.x"),
            file("kept"),
        ]))
        .unwrap();
    assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
    assert_eq!(attributes(&root), [""; 0]);
}

#[test]
fn one_name_many_times() {
    let world = World::new("again");
    let kinds = |name: &str| {
        [
            file(name),
            Entry::directory(name),
            link(Kind::Symlink, name, "/etc"),
            Entry { kind: Kind::Fifo, ..file(name) },
            device(name, 1, 3),
        ]
    };
    for first in kinds("n") {
        for second in kinds("n") {
            let root = world.unpack(&layer(&[first.clone(), second.clone()])).unwrap();
            let metadata = fs::symlink_metadata(root.join("n")).unwrap();
            let fits = match second.kind {
                Kind::Regular => metadata.is_file(),
                Kind::Directory => metadata.is_dir(),
                Kind::Symlink => metadata.is_symlink(),
                Kind::Fifo => metadata.file_type().is_fifo(),
                _ => metadata.rdev() == 259,
            };
            assert!(fits, "{:?} after {:?}", second.kind, first.kind);
            assert_eq!(fs::read_dir(&root).unwrap().count(), 1);
        }
    }
}
