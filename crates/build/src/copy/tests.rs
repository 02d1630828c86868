use super::*;
use crate::ignore::Ignore;
use crate::select::{Options, digest, is_many, select};
use crate::tree::{Format, Tree};
use image::archive::Kind;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

/// A context, a base image of one layer and an empty upper.
struct Fixture {
    root: PathBuf,
}

impl Fixture {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("hull-copy-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        for dir in ["context", "base/etc", "upper"] {
            std::fs::create_dir_all(root.join(dir)).unwrap();
        }
        let fixture = Self { root };
        fixture.file("base/etc/passwd", "root:x:0:0::/:/bin/sh\nweb:x:33:44::/:/bin/sh\n");
        fixture.file("base/etc/group", "root:x:0:\nstaff:x:50:\n");
        fixture
    }

    fn file(&self, path: &str, text: &str) -> &Self {
        let path = self.root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    fn link(&self, path: &str, target: &str) -> &Self {
        let path = self.root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        symlink(target, path).unwrap();
        self
    }

    fn base(&self) -> Tree {
        Tree::open(&[self.root.join("base")], Format::Overlay).unwrap()
    }

    fn run(
        &self,
        words: &[&str],
        destination: &str,
        change: impl FnOnce(&mut Placement),
    ) -> Result<(), StepError> {
        self.run_ignoring("", words, destination, change)
    }

    fn run_ignoring(
        &self,
        ignore: &str,
        words: &[&str],
        destination: &str,
        change: impl FnOnce(&mut Placement),
    ) -> Result<(), StepError> {
        let tree = Tree::open(&[self.root.join("context")], Format::Plain).unwrap();
        let ignore = Ignore::parse(ignore).unwrap();
        let source = Source { tree: &tree, ignore: &ignore, name: "build context", owners: Owners::Root };
        let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
        let mut placement = Placement {
            destination: destination.to_owned(),
            owner: None,
            mode: None,
            many: false,
            parents: false,
            unpack: false,
        };
        change(&mut placement);
        let none = Ignore::default();
        let selection = select(source, &words, Options { exclude: &none, parents: placement.parents })?;
        placement.many = is_many(&words, &selection);
        let mut writer = Writer::new(&self.root.join("upper"), &self.base()).unwrap();
        copy(&mut writer, source, &selection, &placement, &Stop::default())?;
        writer.finish().unwrap();
        Ok(())
    }

    /// Every path in the upper layer, directories with a slash.
    fn upper(&self) -> Vec<String> {
        fn walk(dir: &Path, prefix: &str, out: &mut Vec<String>) {
            let mut entries: Vec<_> = std::fs::read_dir(dir).unwrap().map(Result::unwrap).collect();
            entries.sort_by_key(std::fs::DirEntry::file_name);
            for entry in entries {
                let name = format!("{prefix}{}", entry.file_name().to_str().unwrap());
                if entry.file_type().unwrap().is_dir() {
                    out.push(format!("{name}/"));
                    walk(&entry.path(), &format!("{name}/"), out);
                } else {
                    out.push(name);
                }
            }
        }
        let mut out = Vec::new();
        walk(&self.root.join("upper"), "", &mut out);
        out
    }

    #[track_caller]
    fn check(&self, words: &[&str], destination: &str, expected: &[&str]) {
        self.run(words, destination, |_| {}).unwrap();
        assert_eq!(self.upper(), expected, "{words:?} {destination}");
        std::fs::remove_dir_all(self.root.join("upper")).unwrap();
        std::fs::create_dir(self.root.join("upper")).unwrap();
    }

    fn stat(&self, path: &str) -> std::fs::Metadata {
        std::fs::symlink_metadata(self.root.join("upper").join(path)).unwrap()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

#[test]
fn destinations() {
    let fixture = Fixture::new("destinations");
    fixture.file("context/a", "a").file("context/b", "b").file("context/d/x", "x").file("context/d/s/y", "y");
    fixture.file("context/c1.txt", "").file("context/c2.txt", "");
    fixture.check(&["a"], "/new", &["new"]);
    fixture.check(&["a"], "/new/", &["new/", "new/a"]);
    fixture.check(&["a"], "/x/y/z", &["x/", "x/y/", "x/y/z"]);
    fixture.check(&["a"], "/etc", &["etc/", "etc/a"]);
    fixture.check(&["a"], "/etc/passwd", &["etc/", "etc/passwd"]);
    fixture.check(&["a", "b"], "/t/", &["t/", "t/a", "t/b"]);
    fixture.check(&["d"], "/t", &["t/", "t/s/", "t/s/y", "t/x"]);
    fixture.check(&["d/"], "/etc/", &["etc/", "etc/s/", "etc/s/y", "etc/x"]);
    fixture.check(&["d", "a"], "/t/", &["t/", "t/a", "t/s/", "t/s/y", "t/x"]);
    fixture.check(&["*.txt"], "/t/", &["t/", "t/c1.txt", "t/c2.txt"]);
    fixture.check(&["d/*"], "/t/", &["t/", "t/x", "t/y"]);
    fixture.check(&["nothing*", "a"], "/t/", &["t/", "t/a"]);
    fixture.check(&["../../a"], "/t", &["t"]);
    fixture.check(&["/a"], "/t", &["t"]);
    fixture.check(&["."], "/", &["a", "b", "c1.txt", "c2.txt", "d/", "d/s/", "d/s/y", "d/x"]);
}

#[test]
fn errors() {
    let fixture = Fixture::new("errors");
    fixture.file("context/a", "a").file("context/d/x", "x").file("context/.wh.gone", "");
    fixture.file("context/dir/etc", "file where the image has a directory");
    let fails = |words: &[&str], destination: &str, expected: &str| {
        let error = fixture.run(words, destination, |_| {}).unwrap_err().to_string();
        assert!(error.contains(expected), "{words:?}: {error}");
    };
    fails(&["missing"], "/", "file not found: missing in build context");
    fails(&["a/x"], "/", "file not found: a/x in build context");
    fails(&["d"], "/etc/passwd", "cannot copy to non-directory: /etc/passwd");
    fails(&["a"], "/etc/passwd/", "cannot copy to non-directory: /etc/passwd/");
    fails(&[".wh.gone"], "/", "names that begin with .wh.");
    fails(&["dir"], "/", "cannot replace directory /etc with file");
    fails(&["[", "a"], "/t/", "syntax error in pattern");
}

#[test]
fn hostile_links_lead_nowhere_else() {
    let fixture = Fixture::new("hostile");
    // In the context: to the host's files.
    fixture.link("context/out", "/etc/passwd").link("context/up", "../../../../../../etc/passwd");
    for name in ["out", "up"] {
        let error = fixture.run(&[name], "/t", |_| {}).unwrap_err();
        assert!(matches!(error, StepError::NotFound { .. }), "{error}");
    }
    // Nested links are copied as links, whatever they point at.
    fixture.link("context/d/l", "/etc/shadow");
    fixture.check(&["d"], "/t", &["t/", "t/l"]);
    // In the image: a destination through a link ends inside the image.
    let canary = fixture.root.join("canary");
    std::fs::create_dir(&canary).unwrap();
    fixture.link("base/escape", canary.to_str().unwrap()).link("base/deep", "../../../../escape2");
    fixture.file("context/a", "a");
    fixture.run(&["a"], "/escape/x", |_| {}).unwrap();
    fixture.run(&["a"], "/deep/x", |_| {}).unwrap();
    assert_eq!(std::fs::read_dir(&canary).unwrap().count(), 0);
    let inside = canary.strip_prefix("/").unwrap();
    assert!(fixture.root.join("upper").join(inside).join("x").exists());
    assert!(fixture.root.join("upper/escape2/x").exists());
    // A link an earlier file of the same copy brought along is no way out either.
    fixture.link("context/e/t", canary.to_str().unwrap()).file("context/f/t/x", "x");
    let error = fixture.run(&["e", "f"], "/q/", |_| {}).unwrap_err();
    assert!(error.to_string().contains("cannot copy to non-directory"), "{error}");
    assert_eq!(std::fs::read_dir(&canary).unwrap().count(), 0);
}

#[test]
fn links_of_the_image_are_followed_inside_it() {
    let fixture = Fixture::new("usrmerge");
    fixture.link("base/bin", "usr/bin").file("base/usr/bin/sh", "").file("context/a", "a");
    fixture.check(&["a"], "/bin/", &["usr/", "usr/bin/", "usr/bin/a"]);
    fixture.check(&["a"], "/bin/b", &["usr/", "usr/bin/", "usr/bin/b"]);
}

#[test]
fn attributes_follow_the_flags() {
    let fixture = Fixture::new("attributes");
    fixture.file("context/d/x", "x");
    let x = fixture.root.join("context/d/x");
    std::os::unix::fs::chown(&x, Some(1234), Some(1234)).unwrap();
    std::fs::set_permissions(&x, std::fs::Permissions::from_mode(0o4711)).unwrap();
    fixture.run(&["d"], "/t/u", |_| {}).unwrap();
    let stat = fixture.stat("t/u/x");
    assert_eq!((stat.uid(), stat.gid(), stat.mode() & 0o7777), (0, 0, 0o4711));
    assert_eq!(stat.mtime(), std::fs::metadata(&x).unwrap().mtime());
    let owner = crate::users::resolve(&fixture.base(), "web:staff").unwrap();
    fixture
        .run(&["d"], "/v/w", |placement| {
            (placement.owner, placement.mode) = (Some(owner), Some(ModeChange::Set(0o750)))
        })
        .unwrap();
    for path in ["v", "v/w", "v/w/x"] {
        assert_eq!((fixture.stat(path).uid(), fixture.stat(path).gid()), (33, 50), "{path}");
    }
    assert_eq!(fixture.stat("v/w/x").mode() & 0o7777, 0o750);
    // A directory of the image keeps its own attributes.
    std::fs::set_permissions(fixture.root.join("base/etc"), std::fs::Permissions::from_mode(0o711)).unwrap();
    fixture.run(&["d"], "/etc", |_| {}).unwrap();
    assert_eq!(fixture.stat("etc").mode() & 0o7777, 0o711);
}

#[test]
fn hard_links_stay_together() {
    let fixture = Fixture::new("hard");
    fixture.file("context/d/a", "a");
    std::fs::hard_link(fixture.root.join("context/d/a"), fixture.root.join("context/d/b")).unwrap();
    fixture.run(&["d"], "/t", |_| {}).unwrap();
    assert_eq!(fixture.stat("t/a").ino(), fixture.stat("t/b").ino());
}

#[test]
fn ignored_files_do_not_exist() {
    let fixture = Fixture::new("ignored");
    fixture
        .file("context/keep", "")
        .file("context/node/a/x", "")
        .file("context/node/b", "")
        .link("context/l", "secret");
    fixture.file("context/secret", "");
    let ignore = "node\nsecret\n!node/a/x";
    fixture.run_ignoring(ignore, &["."], "/t", |_| {}).unwrap();
    assert_eq!(fixture.upper(), ["t/", "t/keep", "t/l", "t/node/", "t/node/a/", "t/node/a/x"]);
    for word in ["secret", "l", "node/b"] {
        let error = fixture.run_ignoring(ignore, &[word], "/u", |_| {}).unwrap_err().to_string();
        assert!(error.contains("excluded by .dockerignore"), "{word}: {error}");
    }
}

#[test]
fn parents_keep_their_directories() {
    let fixture = Fixture::new("parents");
    fixture.file("context/a/b/x.txt", "").file("context/a/c/y.txt", "").file("context/a/c/z.o", "");
    fixture.run(&["a/b/x.txt"], "/t/", |placement| placement.parents = true).unwrap();
    fixture.run(&["./a/./c/y.txt"], "/u/", |placement| placement.parents = true).unwrap();
    fixture.run(&["**/*.txt"], "/v/", |placement| placement.parents = true).unwrap();
    let files: Vec<_> = fixture.upper().into_iter().filter(|path| !path.ends_with('/')).collect();
    assert_eq!(files, ["t/a/b/x.txt", "u/c/y.txt", "v/a/b/x.txt", "v/a/c/y.txt"]);
}

#[test]
fn the_digest_sees_what_matters() {
    let fixture = Fixture::new("digest");
    fixture.file("context/d/x", "x");
    let none = Ignore::default();
    let take = || {
        let tree = Tree::open(&[fixture.root.join("context")], Format::Plain).unwrap();
        let source = Source { tree: &tree, ignore: &none, name: "build context", owners: Owners::Root };
        let selection =
            select(source, &["d".to_owned()], Options { exclude: &none, parents: false }).unwrap();
        digest(source, &selection).unwrap()
    };
    let first = take();
    let x = fixture.root.join("context/d/x");
    std::fs::write(&x, "x").unwrap();
    std::os::unix::fs::chown(&x, Some(7), Some(7)).unwrap();
    assert_eq!(first, take(), "times and owners of the context do not count");
    std::fs::set_permissions(&x, std::fs::Permissions::from_mode(0o700)).unwrap();
    let moded = take();
    assert_ne!(first, moded);
    std::fs::write(&x, "y").unwrap();
    assert_ne!(moded, take());
    let edited = take();
    std::fs::rename(&x, fixture.root.join("context/d/z")).unwrap();
    assert_ne!(edited, take());
}

fn archive(entries: &[(&str, Kind, &str)]) -> Vec<u8> {
    let mut writer = image::archive::Writer::new(Vec::new());
    for (path, kind, content) in entries {
        let is_link = matches!(kind, Kind::Symlink | Kind::HardLink);
        let entry = image::archive::Entry {
            path: path.as_bytes().to_vec(),
            kind: *kind,
            mode: if *kind == Kind::Directory { 0o755 } else { 0o644 },
            uid: 5,
            gid: 6,
            size: if is_link { 0 } else { content.len() as u64 },
            link: if is_link { content.as_bytes().to_vec() } else { Vec::new() },
            xattrs: if *path == "d/f" { vec![(b"user.kept".to_vec(), b"1".to_vec())] } else { Vec::new() },
            ..image::archive::Entry::default()
        };
        writer.append(&entry, content.as_bytes()).unwrap();
    }
    writer.finish().unwrap()
}

#[test]
fn archives_are_unpacked_inside_the_image() {
    use Kind::{Directory, HardLink, Regular, Symlink};
    let fixture = Fixture::new("archive");
    let canary = fixture.root.join("canary");
    std::fs::create_dir(&canary).unwrap();
    fixture.link("base/bin", "usr/bin").file("base/usr/bin/sh", "");
    let escape = canary.to_str().unwrap();
    let bytes = archive(&[
        ("d/", Directory, ""),
        ("d/f", Regular, "hello"),
        ("d/h", HardLink, "d/f"),
        ("bin/tool", Regular, "tool"),
        ("l", Symlink, escape),
        ("l/evil", Regular, "inside"),
        ("../../up", Regular, "up"),
        ("etc/passwd", Directory, ""),
    ]);
    std::fs::write(fixture.root.join("context/plain.tar"), &bytes).unwrap();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&bytes).unwrap();
    std::fs::write(fixture.root.join("context/a.tgz"), gzip.finish().unwrap()).unwrap();
    std::fs::write(fixture.root.join("context/a.zst"), zstd::encode_all(&bytes[..], 1).unwrap()).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 1);
    xz.write_all(&bytes).unwrap();
    std::fs::write(fixture.root.join("context/a.txz"), xz.finish().unwrap()).unwrap();
    let mut bzip = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip.write_all(&bytes).unwrap();
    std::fs::write(fixture.root.join("context/a.tbz"), bzip.finish().unwrap()).unwrap();
    fixture.file("context/not.tar", "just text");
    for name in ["plain.tar", "a.tgz", "a.zst", "a.txz", "a.tbz"] {
        fixture.run(&[name], "/", |placement| placement.unpack = true).unwrap();
        let upper = fixture.root.join("upper");
        assert_eq!(std::fs::read_to_string(upper.join("d/f")).unwrap(), "hello");
        assert_eq!((fixture.stat("d/f").uid(), fixture.stat("d/f").gid()), (5, 6));
        assert_eq!(fixture.stat("d/f").ino(), fixture.stat("d/h").ino());
        assert!(upper.join("usr/bin/tool").exists(), "through the image's own link");
        assert!(upper.join("up").exists());
        assert!(fixture.stat("etc/passwd").is_dir(), "a file became a directory");
        assert_eq!(std::fs::read_dir(&canary).unwrap().count(), 0);
        assert!(upper.join(escape.trim_start_matches('/')).join("evil").exists());
        std::fs::remove_dir_all(&upper).unwrap();
        std::fs::create_dir(&upper).unwrap();
    }
    fixture.run(&["not.tar"], "/", |placement| placement.unpack = true).unwrap();
    fixture.run(&["plain.tar"], "/", |_| {}).unwrap();
    assert_eq!(fixture.upper(), ["not.tar", "plain.tar"]);
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]
    /// A damaged archive is an error or a strange tree, never a panic, and never a file outside.
    #[test]
    fn damaged_archives_are_harmless(changes in proptest::collection::vec((0..4096usize, proptest::num::u8::ANY), 1..8)) {
        use Kind::{Directory, HardLink, Regular, Symlink};
        let fixture = Fixture::new("damaged");
        let mut bytes = archive(&[
            ("d/", Directory, ""),
            ("d/f", Regular, "hello"),
            ("l", Symlink, "/tmp"),
            ("l/x", Regular, "x"),
            ("h", HardLink, "d/f"),
        ]);
        for (at, value) in changes {
            let at = at % bytes.len();
            bytes[at] = value;
        }
        std::fs::write(fixture.root.join("context/a.tar"), &bytes).unwrap();
        let _ = fixture.run(&["a.tar"], "/", |placement| placement.unpack = true);
        proptest::prop_assert!(!Path::new("/tmp/x").exists());
    }
}
