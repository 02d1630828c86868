//! Images in a store of their own, on the real filesystem.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use image::archive::{Entry, Kind, Writer};
use image::{
    ChangeKind, Format, Images, ImportOptions, Layer, RemoveError, RemoveOptions, Removed, SaveOptions,
};
use oci::image::{History, ImageConfig};
use oci::{Digest, Reference};
use store::db::containers::{self, ContainerRecord};
use store::{Durability, Roots, Store};

struct World {
    base: PathBuf,
    store: Store,
}

impl World {
    fn new(test: &str) -> Self {
        let base = std::env::temp_dir().join(format!("image-{}-{test}", std::process::id()));
        let _ = std::fs::remove_dir_all(&base);
        Self { store: open(&base), base }
    }

    fn images(&self) -> Images<'_> {
        Images::new(&self.store)
    }

    /// Names below the data root that are content or on their way to it.
    fn content(&self) -> Vec<String> {
        let mut names = Vec::new();
        for directory in ["blobs/sha256", "snapshots", "tmp"] {
            for entry in std::fs::read_dir(self.base.join("data").join(directory)).unwrap() {
                names.push(format!("{directory}/{}", entry.unwrap().file_name().display()));
            }
        }
        names.sort();
        names
    }

    fn import(&self, bytes: &[u8], reference: &str) -> image::Image {
        let options =
            ImportOptions { reference: Some(reference.parse().unwrap()), ..ImportOptions::default() };
        self.images().import(&mut &bytes[..], &options).unwrap()
    }

    /// Adds a layer to `base` as a build step does.
    fn extend(&self, base: &image::Image, name: &str, text: &str, reference: &str) -> image::Image {
        let upper = self.store.tmp_dir("step").unwrap();
        let tree = upper.path().join("upper");
        std::fs::create_dir(&tree).unwrap();
        std::fs::write(tree.join(name), text).unwrap();
        let _lock = self.store.lock_shared().unwrap();
        let mut layers = self.images().layers(base).unwrap();
        layers.push(self.images().commit_layer(&tree).unwrap());
        assert!(!tree.exists());
        let mut config = base.config.clone();
        config.history.push(History { created_by: format!("COPY {name}"), ..History::default() });
        config.history.push(History { created_by: "ENV".into(), empty_layer: true, ..History::default() });
        self.images().create_image(config, &layers, &[reference.parse().unwrap()]).unwrap()
    }

    fn save(&self, names: &[&str], format: Format) -> Vec<u8> {
        let names: Vec<String> = names.iter().map(|&name| name.to_owned()).collect();
        let mut bytes = Vec::new();
        self.images().save(&names, &mut bytes, &SaveOptions { format, ..SaveOptions::default() }).unwrap();
        bytes
    }

    fn container(&self, id: &str, image: &image::Image) {
        let record = ContainerRecord {
            id: id.to_owned(),
            name: id.to_owned(),
            created_ns: 1,
            image: Some(image.id),
            layers: image.diff_ids.clone(),
            record: "{}".to_owned(),
        };
        self.store.database().write(Durability::Full, |w| containers::insert(w, &record)).unwrap();
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.base);
    }
}

fn open(base: &Path) -> Store {
    Store::open(&Roots::new(base.join("data"), base.join("run"))).unwrap()
}

fn tar(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (path, data) in entries {
        match path.strip_suffix('/') {
            Some(_) => writer.append(&Entry::directory(path), std::io::empty()).unwrap(),
            None => writer.append_bytes(path, data.as_bytes()).unwrap(),
        }
    }
    writer.finish().unwrap()
}

fn root() -> Vec<u8> {
    tar(&[("etc/", ""), ("etc/hostname", "base\n"), ("bin/", ""), ("bin/sh", "not really")])
}

const KEEP: RemoveOptions<'static> =
    RemoveOptions { force: false, is_running: &|_| false, mounted_at: &|_| None };
const FORCE: RemoveOptions<'static> =
    RemoveOptions { force: true, is_running: &|_| false, mounted_at: &|_| None };

#[test]
fn imported_images_are_found_by_every_name() {
    let world = World::new("import");
    let options = ImportOptions {
        changes: vec!["CMD [\"sh\"]".into(), "ENV A=b".into()],
        message: "Imported from -".into(),
        reference: Some("debian:bookworm".parse().unwrap()),
        platform: None,
    };
    let bytes = root();
    let image = world.images().import(&mut &bytes[..], &options).unwrap();
    assert_eq!(image.config.config.cmd.as_deref(), Some(&["sh".to_owned()][..]));
    assert_eq!(image.diff_ids[0].0, Digest::of(&bytes));
    assert_eq!(image.size, 15);
    let id = image.id.to_string();
    for name in ["debian:bookworm", "docker.io/library/debian:bookworm", &id, &id[7..], &id[7..15], &id[..12]]
    {
        assert_eq!(world.images().resolve(name).unwrap(), image, "{name}");
    }
    let by_manifest = format!("debian@{}", image.manifest);
    assert_eq!(world.images().resolve(&by_manifest).unwrap(), image);
    let error = |name: &str| world.images().resolve(name).unwrap_err().to_string();
    assert_eq!(error("debian"), "No such image: debian:latest");
    assert_eq!(
        error("Debian"),
        "invalid reference format: repository name (library/Debian) must be lowercase"
    );
    let history = world.images().history("debian:bookworm", None).unwrap();
    assert_eq!((history[0].comment.as_str(), history[0].size), ("Imported from -", 15));
    let snapshot = world.store.snapshots().path(&image.diff_ids[0]);
    assert_eq!(std::fs::read_to_string(snapshot.join("etc/hostname")).unwrap(), "base\n");
}

#[test]
fn compressed_archives_are_recognised() {
    let world = World::new("compressed");
    let plain = root();
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&plain).unwrap();
    let zstd = zstd::encode_all(&plain[..], 1).unwrap();
    let mut xz = liblzma::write::XzEncoder::new(Vec::new(), 0);
    xz.write_all(&plain).unwrap();
    let mut bzip2 = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    bzip2.write_all(&plain).unwrap();
    for bytes in [gzip.finish().unwrap(), zstd, xz.finish().unwrap(), bzip2.finish().unwrap(), plain.clone()]
    {
        let image = world.import(&bytes, "x");
        assert_eq!(image.diff_ids[0].0, Digest::of(&plain));
    }
    let mut endless = (&plain[..]).chain(std::io::repeat(0));
    let error = world.images().import(&mut endless, &ImportOptions::default()).unwrap_err();
    let text = diag::render(&diag::Failure::from(error));
    assert!(text.contains("do not belong to it"), "{text}");
    for bytes in
        [&b""[..], b"no archive at all, but long enough to look at", &[0x1f, 0x8b, 1, 2, 3], &plain[..700]]
    {
        let before = world.content();
        world.images().import(&mut &bytes[..], &ImportOptions::default()).unwrap_err();
        assert_eq!(world.content(), before);
    }
}

#[test]
fn layers_stack_and_are_shared() {
    let world = World::new("layers");
    let base = world.import(&root(), "base");
    let first = world.extend(&base, "file", "one", "first");
    let second = world.extend(&base, "file", "two", "second");
    assert_ne!(first.id, second.id);
    assert_eq!(first.diff_ids[0], base.diff_ids[0]);
    assert_eq!(first.size, base.size + 3);
    let history = world.images().history("first", None).unwrap();
    let sizes: Vec<_> = history.iter().map(|step| step.size).collect();
    assert_eq!(sizes, [0, 3, 15]);
    assert_eq!((history[0].id, history[1].id), (Some(first.id), None));
    // The same step again gives the same layer and leaves nothing of its own.
    let before = world.content();
    let again: Layer = {
        let tmp = world.store.tmp_dir("step").unwrap();
        let tree = tmp.path().join("upper");
        std::fs::create_dir(&tree).unwrap();
        std::fs::write(tree.join("file"), "one").unwrap();
        let old = std::fs::metadata(world.store.snapshots().path(&first.diff_ids[1]).join("file")).unwrap();
        let file = std::fs::File::open(tree.join("file")).unwrap();
        file.set_modified(old.modified().unwrap()).unwrap();
        world.images().commit_layer(&tree).unwrap()
    };
    assert_eq!(again.diff_id, first.diff_ids[1]);
    assert_eq!(world.content(), before);
}

#[test]
fn saved_images_load_with_the_same_ids() {
    let world = World::new("save");
    let base = world.import(&root(), "base:1");
    let image = world.extend(&base, "file", "text", "app:1");
    world.images().tag("app:1", &"app:2".parse().unwrap()).unwrap();
    for format in [Format::DockerArchive, Format::OciArchive] {
        let bytes = world.save(&["app", "base:1"], format);
        assert_eq!(bytes, world.save(&["app", "base:1"], format));
        let other = World::new(if format == Format::OciArchive { "load-oci" } else { "load-docker" });
        let loaded = other.images().load(&mut &bytes[..], None).unwrap();
        let names: Vec<_> = loaded.iter().map(|l| (l.image, l.references.len())).collect();
        assert_eq!(names, [(image.id, 2), (base.id, 1)]);
        let copy = other.images().resolve("app:2").unwrap();
        assert_eq!((copy.manifest, &copy.config, copy.size), (image.manifest, &image.config, image.size));
        // Again, where everything is there already, and then back where it came from.
        other.images().load(&mut &bytes[..], None).unwrap();
        assert_eq!(other.save(&["app", "base:1"], format), bytes);
        world.images().load(&mut &bytes[..], None).unwrap();
    }
    let by_id = world.save(&[&image.id.to_string()], Format::DockerArchive);
    let other = World::new("load-id");
    assert!(other.images().load(&mut &by_id[..], None).unwrap()[0].references.is_empty());
}

/// A docker-archive as old tools wrote it: `<id>/layer.tar`, a link for a shared layer, the manifest last.
fn legacy_archive(diff_id: &Digest, layer: &[u8]) -> Vec<u8> {
    let config = format!(
        r#"{{"architecture":"amd64","os":"linux","config":{{"Cmd":["sh"]}},"rootfs":{{"type":"layers","diff_ids":["{diff_id}","{diff_id}"]}}}}"#
    );
    let id = Digest::of(config.as_bytes()).hex();
    let mut writer = Writer::new(Vec::new());
    writer.append(&Entry::directory("aaa/"), std::io::empty()).unwrap();
    writer.append(&Entry::file("aaa/layer.tar", layer.len() as u64), layer).unwrap();
    let link =
        Entry { kind: Kind::Symlink, link: b"../aaa/layer.tar".to_vec(), ..Entry::file("bbb/layer.tar", 0) };
    writer.append(&link, std::io::empty()).unwrap();
    writer.append_bytes(&format!("{id}.json"), config.as_bytes()).unwrap();
    let manifest = format!(
        r#"[{{"Config":"{id}.json","RepoTags":["old:1","old:2"],"Layers":["aaa/layer.tar","bbb/layer.tar"]}}]"#
    );
    writer.append_bytes("manifest.json", manifest.as_bytes()).unwrap();
    writer.finish().unwrap()
}

#[test]
fn old_docker_archives_load() {
    let world = World::new("legacy");
    let layer = root();
    let bytes = legacy_archive(&Digest::of(&layer), &layer);
    let loaded = world.images().load(&mut &bytes[..], None).unwrap();
    assert_eq!(loaded[0].references.len(), 2);
    let image = world.images().resolve("old:2").unwrap();
    assert_eq!(image.config.config.cmd.as_deref(), Some(&["sh".to_owned()][..]));
    assert_eq!(image.diff_ids.len(), 2);
}

#[test]
fn archives_that_lie_leave_nothing() {
    let world = World::new("lies");
    let refused = |bytes: &[u8], expected: &str| {
        let error = world.images().load(&mut &bytes[..], None).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
        assert!(world.content().is_empty(), "{expected}: {:?}", world.content());
        assert!(world.images().list().unwrap().is_empty());
    };
    let layer = root();
    refused(&legacy_archive(&Digest::of(b"other"), &layer), "archive has a damaged layer \"aaa/layer.tar\"");
    refused(&root(), "neither a manifest.json nor an index.json");
    refused(&tar(&[("manifest.json", "[{\"Config\":\"x\"}]")]), "archive has no \"x\"");
    refused(&tar(&[("manifest.json", "{")]), "malformed \"manifest.json\"");
    let hostile = tar(&[("../escape", "x")]);
    refused(&legacy_archive(&Digest::of(&hostile), &hostile), "damaged layer");
    let both = r#"{"schemaVersion":2,"manifests":[],"layers":[],"config":{}}"#;
    refused(&tar(&[("index.json", both)]), "malformed \"index.json\"");
    // A good archive with one blob changed.
    let source = World::new("lies-source");
    source.import(&layer, "x");
    let good = source.save(&["x"], Format::OciArchive);
    let position = good.windows(10).position(|w| w == b"not really").unwrap();
    let mut bad = good.clone();
    bad[position] = b'N';
    refused(&bad, "damaged layer");
    let position = good
        .windows(9)
        .position(|w| w == b"\"amd64\",\"")
        .or_else(|| good.windows(7).position(|w| w == b"\"linux\""))
        .unwrap();
    let mut bad = good.clone();
    bad[position + 1] = b'X';
    refused(&bad, "whose content is");
    for end in [600, 5000, good.len() - 2000] {
        refused(&good[..end], "");
    }
}

fn removed(world: &World, name: &str, options: &RemoveOptions<'_>) -> Vec<String> {
    let lines = world.images().remove(name, options).unwrap();
    lines
        .iter()
        .map(|line| match line {
            Removed::Untagged(reference, _) => format!("untagged {reference}"),
            Removed::Deleted(digest) | Removed::DeletedLayer(digest) => format!("deleted {}", digest.short()),
        })
        .collect()
}

#[test]
fn removing_follows_docker() {
    let world = World::new("remove");
    let base = world.import(&root(), "base");
    let image = world.extend(&base, "file", "text", "app");
    let more: Reference = "app:more".parse().unwrap();
    world.images().tag("app", &more).unwrap();
    assert_eq!(removed(&world, "app:more", &KEEP), ["untagged app:more"]);
    let id = "c0ffee0123456789".to_owned() + &"0".repeat(48);
    world.container(&id, &image);
    let error = world.images().remove("app", &KEEP).unwrap_err();
    assert_eq!(
        error.to_string(),
        format!(
            "conflict: unable to remove repository reference \"app\" (must force) - \
             container c0ffee012345 is using its referenced image {}",
            image.id.short()
        )
    );
    let by_id = image.id.hex();
    let error = world.images().remove(&by_id, &KEEP).unwrap_err().to_string();
    let expected = format!(
        "conflict: unable to delete {} (must be forced) - image is being used by stopped container c0ffee012345",
        image.id.short()
    );
    assert_eq!(error, expected);
    let running = RemoveOptions { force: true, is_running: &|_| true, mounted_at: &|_| None };
    let error = world.images().remove(&by_id, &running).unwrap_err();
    assert!(matches!(error, RemoveError::InUse { hard: true, .. }));
    // A running container: the name goes, the image stays without one.
    assert_eq!(removed(&world, "app", &running), ["untagged app:latest"]);
    world.images().tag(&by_id, &"app".parse().unwrap()).unwrap();
    // A stopped one keeps only what it stands on.
    let lines = removed(&world, "app", &FORCE);
    assert_eq!(lines, ["untagged app:latest".to_owned(), format!("deleted {}", image.id.short())]);
    assert!(world.store.snapshots().contains(&image.diff_ids[1]));
    world.store.database().write(Durability::Full, |w| containers::remove(w, &id)).unwrap();
    let lines = removed(&world, &base.id.short(), &KEEP);
    let layer = base.diff_ids[0].0.short();
    let id = base.id.short();
    assert_eq!(
        lines,
        ["untagged base:latest".to_owned(), format!("deleted {id}"), format!("deleted {layer}")]
    );
    assert!(world.content().is_empty(), "{:?}", world.content());
}

#[test]
fn shared_layers_survive_and_prune_takes_the_rest() {
    let world = World::new("prune");
    let base = world.import(&root(), "base");
    let image = world.extend(&base, "file", "text", "app");
    removed(&world, "base", &KEEP);
    assert_eq!(world.images().layers(&image).unwrap().len(), 2);
    // Another image takes the name: the old one dangles.
    let newer = world.extend(&base, "file", "newer", "app");
    let pruned = world.images().prune(false, &|_| true, &|_| None).unwrap();
    assert_eq!(pruned.removed[0], Removed::Deleted(image.id));
    assert!(pruned.reclaimed_bytes > 0);
    assert_eq!(world.images().list().unwrap().len(), 1);
    assert_eq!(world.images().prune(true, &|_| false, &|_| None).unwrap().removed, []);
    let pruned = world.images().prune(true, &|image| image.record.id == newer.id, &|_| None).unwrap();
    assert!(!pruned.removed.is_empty());
    assert!(world.content().is_empty());
}

#[test]
fn content_being_made_is_not_collected() {
    let world = World::new("collect");
    let base = world.import(&root(), "base");
    let lock = world.store.lock_shared().unwrap();
    let tmp = world.store.tmp_dir("step").unwrap();
    let tree = tmp.path().join("upper");
    std::fs::create_dir(&tree).unwrap();
    std::fs::write(tree.join("x"), "x").unwrap();
    let layer = world.images().commit_layer(&tree).unwrap();
    removed(&world, "base", &KEEP);
    assert!(world.store.snapshots().contains(&layer.diff_id));
    let made = world.images().create_image(ImageConfig::default(), &[layer], &[]).unwrap();
    drop(lock);
    drop(tmp);
    world.images().prune(false, &|image| image.record.id != made.id, &|_| None).unwrap();
    assert_eq!(world.images().resolve(&made.id.to_string()).unwrap().diff_ids.len(), 1);
    assert!(!world.store.snapshots().contains(&base.diff_ids[0]));
}

#[test]
fn changes_are_listed() {
    let world = World::new("diff");
    let lower = world.base.join("lower");
    let upper = world.base.join("upper");
    for path in ["lower/etc", "lower/gone/sub", "lower/opaque", "upper/etc", "upper/new", "upper/opaque"] {
        std::fs::create_dir_all(world.base.join(path)).unwrap();
    }
    for path in
        ["lower/etc/passwd", "lower/opaque/old", "upper/etc/passwd", "upper/new/file", "upper/opaque/fresh"]
    {
        std::fs::write(world.base.join(path), "").unwrap();
    }
    let directory = sys::fs::open_dir(upper.as_path()).unwrap();
    let whiteout = sys::fs::Node::Character { major: 0, minor: 0 };
    sys::fs::mknod_at(&directory, "gone", whiteout, 0).unwrap();
    sys::fs::mknod_at(&directory, "never", whiteout, 0).unwrap();
    sys::fs::set_xattr_at(&directory, "opaque", c"trusted.overlay.opaque", b"y").unwrap();
    let changes = image::diff(&upper, &[lower]).unwrap();
    let lines: Vec<String> = changes
        .iter()
        .map(|change| {
            let letter = match change.kind {
                ChangeKind::Added => 'A',
                ChangeKind::Modified => 'C',
                ChangeKind::Deleted => 'D',
            };
            format!("{letter} {}", change.path.display())
        })
        .collect();
    let expected = [
        "C /etc",
        "C /etc/passwd",
        "D /gone",
        "A /new",
        "A /new/file",
        "C /opaque",
        "A /opaque/fresh",
        "D /opaque/old",
    ];
    assert_eq!(lines, expected);
}

#[test]
#[ignore = "a child process of a_killed_import_leaves_nothing"]
fn child_importing() {
    let base = PathBuf::from(std::env::var_os("TEST_BASE").expect("only run as a child of another test"));
    let store = open(&base);
    let _ = Images::new(&store).import(&mut std::io::stdin(), &ImportOptions::default());
}

#[test]
fn a_killed_import_leaves_nothing() {
    let world = World::new("killed");
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_importing", "--ignored"])
        .env("TEST_BASE", &world.base)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    // Several pieces of an archive that never ends.
    let mut input = child.stdin.take().unwrap();
    let mut writer = Writer::new(Vec::new());
    for n in 0..3000 {
        writer.append_bytes(&format!("dir-{}/file-{n}", n % 10), &[b'x'; 2000]).unwrap();
    }
    input.write_all(writer.output()).unwrap();
    let unpacked = || {
        let mut trees = std::fs::read_dir(world.base.join("data/tmp")).unwrap();
        trees.any(|tree| tree.unwrap().path().join("tree/dir-9").exists())
    };
    while !unpacked() {
        std::thread::yield_now();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(!world.content().is_empty());
    drop(open(&world.base));
    assert!(world.content().is_empty(), "{:?}", world.content());
}

#[test]
#[ignore = "a child process of a_killed_build_leaves_nothing"]
fn child_building() {
    let base = PathBuf::from(std::env::var_os("TEST_BASE").expect("only run as a child of another test"));
    let store = open(&base);
    let _lock = store.lock_shared().unwrap();
    let step = store.tmp_dir("step").unwrap();
    std::fs::create_dir(step.path().join("upper")).unwrap();
    Images::new(&store).commit_layer(&step.path().join("upper")).unwrap();
    println!("committed");
    let _ = std::io::stdin().read_line(&mut String::new());
}

#[test]
fn a_killed_build_leaves_nothing() {
    use std::io::BufRead;
    let world = World::new("killed-build");
    let base = world.import(&root(), "base");
    let before = world.content();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "child_building", "--ignored", "--nocapture"])
        .env("TEST_BASE", &world.base)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = std::io::BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.any(|line| line.unwrap().contains("committed")));
    // Removed while the build holds the lock: the content goes later.
    world.extend(&base, "file", "text", "app");
    removed(&world, "app", &FORCE);
    drop(open(&world.base));
    assert!(world.content().len() > before.len());
    child.kill().unwrap();
    child.wait().unwrap();
    drop(open(&world.base));
    assert_eq!(world.content(), before);
}

#[test]
#[ignore = "a child process of killed_at_any_moment_the_store_is_whole"]
fn child_busy() {
    let base = PathBuf::from(std::env::var_os("TEST_BASE").expect("only run as a child of another test"));
    let store = open(&base);
    let images = Images::new(&store);
    let mut saved = Vec::new();
    for n in 0.. {
        let text = format!("text {n} {}", std::process::id());
        let bytes = tar(&[("a/", ""), ("a/file", &text), ("b", &text)]);
        let options = ImportOptions { reference: Some("x".parse().unwrap()), ..ImportOptions::default() };
        images.import(&mut &bytes[..], &options).unwrap();
        if n % 3 == 0 {
            saved.clear();
            images.save(&["x".to_owned()], &mut saved, &SaveOptions::default()).unwrap();
        }
        images.remove("x", &KEEP).unwrap();
        images.load(&mut &saved[..], None).unwrap();
        images.prune(n % 2 == 0, &|_| true, &|_| None).unwrap();
    }
}

#[test]
fn killed_at_any_moment_the_store_is_whole() {
    let world = World::new("whole");
    let mut random = std::process::id();
    for _ in 0..25 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_busy", "--ignored"])
            .env("TEST_BASE", &world.base)
            .stdout(Stdio::null())
            .spawn()
            .unwrap();
        random = random.wrapping_mul(1664525).wrapping_add(1013904223);
        // The moment is the point here, not a wait for something.
        std::thread::sleep(std::time::Duration::from_micros(u64::from(random >> 16) % 50_000));
        assert!(child.try_wait().unwrap().is_none(), "the child failed by itself");
        child.kill().unwrap();
        child.wait().unwrap();
        let store = open(&world.base);
        let images = Images::new(&store);
        let mut named = 0;
        for image in images.list().unwrap() {
            let layers = images.layers(&image.image().unwrap()).unwrap();
            for layer in &layers {
                let tree = store.snapshots().path(&layer.diff_id);
                assert_eq!(
                    std::fs::read(tree.join("a/file")).unwrap(),
                    std::fs::read(tree.join("b")).unwrap()
                );
                assert_eq!(Digest::of(&store.blobs().read(&layer.blob).unwrap()), layer.blob);
            }
            // Config, manifest, and each layer as blob and as snapshot.
            named += 2 + 2 * layers.len();
        }
        assert_eq!(world.content().len(), named, "{:?}", world.content());
    }
}

/// A filesystem of 6 MiB that is unmounted at the end.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn new(path: &Path) -> Self {
        std::fs::create_dir(path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=6m", "tmpfs"]).arg(path);
        assert!(mount.status().unwrap().success());
        Self(path.to_owned())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_is_one_clear_error() {
    let mut world = World::new("full");
    let disk = SmallDisk::new(&world.base.join("disk"));
    world.base = disk.0.clone();
    world.store = open(&world.base);
    let base = world.import(&root(), "base");
    let before = world.content();
    let mut writer = Writer::new(Vec::new());
    for n in 0..70 {
        writer.append_bytes(&format!("file-{n}"), &[b'x'; 100_000]).unwrap();
    }
    let bytes = writer.finish().unwrap();
    let zstd = zstd::encode_all(&[&bytes[..], &bytes].concat()[..], 1).unwrap();
    for bytes in [&bytes, &zstd] {
        let error = world.images().import(&mut &bytes[..], &ImportOptions::default()).unwrap_err();
        let failure = diag::Failure::from(error);
        let text = diag::render(&failure);
        assert_eq!(failure.class(), diag::Class::Unavailable, "{text}");
        assert!(text.contains("No space left on device") && text.contains("hint: free some space"), "{text}");
        assert_eq!(world.content(), before);
    }
    assert_eq!(world.images().resolve("base").unwrap(), base);
    world.store = open(&std::env::temp_dir().join(format!("image-{}-full", std::process::id())));
    world.base = disk.0.parent().unwrap().to_owned();
}

/// Archives of a real tool, in its three formats.
#[test]
fn archives_of_python_tarfile() {
    let world = World::new("python");
    let script = r#"
import tarfile, io, sys
path, form = sys.argv[1], getattr(tarfile, sys.argv[2])
with tarfile.open(path, "w", format=form) as t:
    def add(name, data=b"", **kw):
        i = tarfile.TarInfo(name); i.size = len(data); i.mode = 0o644
        for k, v in kw.items(): setattr(i, k, v)
        t.addfile(i, io.BytesIO(data))
    add("d", type=tarfile.DIRTYPE, mode=0o750)
    add("d/" + "n" * 80 + "/" + "m" * 90, b"long")
    ustar = form == tarfile.USTAR_FORMAT
    add("link", type=tarfile.SYMTYPE, linkname="t" * (99 if ustar else 300))
    add("short", b"long")
    add("hard", type=tarfile.LNKTYPE, linkname="short" if ustar else "d/" + "n" * 80 + "/" + "m" * 90)
    add("big-id", b"x", uid=1234567 if form == tarfile.USTAR_FORMAT else 123456789)
"#;
    for form in ["USTAR_FORMAT", "GNU_FORMAT", "PAX_FORMAT"] {
        let path = world.base.join("python.tar");
        let status = Command::new("python3").args(["-c", script]).arg(&path).arg(form).status();
        let Ok(status) = status else { return eprintln!("no python3 here") };
        assert!(status.success());
        let image = world.import(&std::fs::read(&path).unwrap(), "python");
        let tree = world.store.snapshots().path(&image.diff_ids[0]);
        assert_eq!(std::fs::read_to_string(tree.join("hard")).unwrap(), "long", "{form}");
        assert!(std::fs::read_link(tree.join("link")).unwrap().as_os_str().len() >= 99);
        use std::os::unix::fs::MetadataExt;
        assert!(std::fs::metadata(tree.join("big-id")).unwrap().uid() >= 1234567);
        assert_eq!(std::fs::metadata(tree.join("d")).unwrap().mode() & 0o777, 0o750);
    }
}

/// GNU tar's sparse files in all four formats.
#[test]
fn sparse_files_of_gnu_tar() {
    let world = World::new("sparse");
    let tree = world.base.join("tree");
    std::fs::create_dir(&tree).unwrap();
    let file = std::fs::File::create(tree.join("sparse")).unwrap();
    use std::os::unix::fs::FileExt;
    for n in 0..40u64 {
        file.write_all_at(format!("piece {n}").as_bytes(), n << 20).unwrap();
    }
    file.set_len(64 << 20).unwrap();
    let expected = Digest::of(&std::fs::read(tree.join("sparse")).unwrap());
    let formats = [
        &["--format=gnu"][..],
        &["--format=pax", "--sparse-version=0.0"],
        &["--format=pax", "--sparse-version=0.1"],
        &["--format=pax", "--sparse-version=1.0"],
    ];
    for format in formats {
        let path = world.base.join("sparse.tar");
        let mut tar = Command::new("tar");
        tar.arg("-cSf").arg(&path).args(format).arg("-C").arg(&tree).arg(".");
        let Ok(status) = tar.status() else { return eprintln!("no GNU tar here") };
        assert!(status.success());
        assert!(std::fs::metadata(&path).unwrap().len() < 1 << 20);
        let image = world.import(&std::fs::read(&path).unwrap(), "sparse");
        let unpacked = world.store.snapshots().path(&image.diff_ids[0]).join("sparse");
        assert_eq!(Digest::of(&std::fs::read(&unpacked).unwrap()), expected, "{format:?}");
        use std::os::unix::fs::MetadataExt;
        assert!(std::fs::metadata(&unpacked).unwrap().blocks() * 512 < 4 << 20);
    }
}

/// Prints how long a real root filesystem takes; run by hand: `IMPORT=/path/to.tar cargo test ... -- --ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn importing_takes() {
    let path = std::env::var("IMPORT").expect("IMPORT names a tar archive");
    let world = World::new("measure");
    let mut file = std::fs::File::open(&path).unwrap();
    let start = std::time::Instant::now();
    let image = world.images().import(&mut file, &ImportOptions::default()).unwrap();
    println!("import {:?}: {} bytes of files", start.elapsed(), image.size);
    if std::env::var_os("IMPORT_ONLY").is_some() {
        return;
    }
    let names = [image.id.to_string()];
    let start = std::time::Instant::now();
    let out = std::fs::File::create(world.base.join("saved.tar")).unwrap();
    world.images().save(&names, out, &SaveOptions::default()).unwrap();
    println!("save {:?}", start.elapsed());
    let other = World::new("measure-load");
    let mut file = std::fs::File::open(world.base.join("saved.tar")).unwrap();
    let start = std::time::Instant::now();
    other.images().load(&mut file, None).unwrap();
    println!("load {:?}", start.elapsed());
    let tmp = other.store.tmp_dir("x").unwrap();
    let tree = tmp.path().join("upper");
    assert!(
        Command::new("cp")
            .arg("-a")
            .arg(other.store.snapshots().path(&image.diff_ids[0]))
            .arg(&tree)
            .status()
            .unwrap()
            .success()
    );
    std::fs::write(tree.join("different"), "x").unwrap();
    let start = std::time::Instant::now();
    other.images().commit_layer(&tree).unwrap();
    println!("commit_layer {:?}", start.elapsed());
    let start = std::time::Instant::now();
    other.images().remove(&names[0], &FORCE).unwrap();
    println!("remove {:?}", start.elapsed());
}
