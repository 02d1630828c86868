//! Layers served to the real kernel.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use image::archive::{Entry, Kind, Writer};
use image::chunked::{ChunkedWriter, FileKind, IndexPlace};
use lazy::{Filesystem, Pieces, Source, Tree};
use oci::Digest;
use oci::image::Descriptor;
use sys::mount;

/// A blob in memory that notes what was asked of it.
struct Blob {
    bytes: Mutex<Vec<u8>>,
    asked: AtomicUsize,
}

impl Source for Blob {
    fn range(&self, start: u64, end: u64) -> io::Result<Vec<u8>> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        Ok(self.bytes.lock().unwrap()[start as usize..end as usize].to_owned())
    }
}

struct Mounted {
    mounted: PathBuf,
    /// The layer's root.
    at: PathBuf,
    blob: Arc<Blob>,
    server: Option<std::thread::JoinHandle<io::Result<()>>>,
}

impl Mounted {
    fn new(base: &Path, name: &str, entries: &[(Entry, &[u8])]) -> Self {
        let mut writer = Writer::new(Vec::new());
        for (entry, data) in entries {
            writer.append(entry, *data).unwrap();
        }
        let plain = writer.finish().unwrap();
        let (layer, annotations) = ChunkedWriter::new(Vec::new(), 3).unwrap().run(&plain[..]).unwrap();
        let mut descriptor =
            Descriptor::new(oci::media::OCI_LAYER_ZSTD, Digest::of(&layer), layer.len() as u64);
        descriptor.annotations = annotations;
        let place = IndexPlace::of(&descriptor).unwrap().unwrap();
        let (start, end) = place.range();
        let index = place.read(&layer[start as usize..end as usize]).unwrap().unwrap();
        let sizes = index.files.iter().flat_map(|file| match &file.kind {
            FileKind::Regular { pieces, .. } => pieces.iter().map(|p| p.size).collect(),
            _ => Vec::new(),
        });
        let blob = Arc::new(Blob { bytes: Mutex::new(layer), asked: AtomicUsize::new(0) });
        let kept_at = base.join(format!("{name}.kept"));
        let kept = fs::File::options().create_new(true).read(true).write(true).open(&kept_at).unwrap();
        let pieces = Pieces::new(blob.clone(), index.compression, sizes, kept, Arc::default());
        let (tree, server) = lazy::mount(Filesystem::new(Tree::new(&index), pieces)).unwrap();
        let at = base.join(name);
        fs::create_dir(&at).unwrap();
        tree.attach(sys::fs::open_dir(&at).unwrap()).unwrap();
        Self { at: at.join("layer"), mounted: at, blob, server: Some(server) }
    }

    fn asked(&self) -> usize {
        self.blob.asked.load(Ordering::SeqCst)
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        mount::detach(&*self.mounted).unwrap();
        // The last mount ends the service.
        self.server.take().unwrap().join().unwrap().unwrap();
    }
}

fn directory(name: &str) -> PathBuf {
    let path = std::env::temp_dir().join(format!("lazy-{name}-{}", std::process::id()));
    fs::create_dir(&path).unwrap();
    path
}

fn symlink(name: &str, target: &str) -> Entry {
    Entry { kind: Kind::Symlink, link: target.as_bytes().to_vec(), ..Entry::file(name, 0) }
}

#[test]
fn files_are_fetched_when_they_are_read() {
    let base = directory("read");
    let big: Vec<u8> = (0..5_000_000u32).map(|i| (i / 7) as u8).collect();
    let mut owned = Entry::file("etc/owned", 5);
    (owned.uid, owned.gid, owned.mode, owned.mtime) = (12, 34, 0o4750, (1_000_000_000, 0));
    let layer = Mounted::new(
        &base,
        "layer",
        &[
            (owned, b"alpha"),
            (Entry::file("big", big.len() as u64), &big),
            (symlink("link", "etc/owned"), b""),
        ],
    );
    let at = &layer.at;
    let mut names: Vec<_> = fs::read_dir(at).unwrap().map(|e| e.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["big", "etc", "link"]);
    let about = fs::metadata(at.join("etc/owned")).unwrap();
    assert_eq!((about.uid(), about.gid(), about.mode() & 0o7777), (12, 34, 0o4750));
    assert_eq!((about.len(), about.mtime()), (5, 1_000_000_000));
    assert_eq!(layer.asked(), 0, "names cost nothing");
    assert_eq!(fs::read(at.join("link")).unwrap(), b"alpha");
    assert_eq!(layer.asked(), 1);
    assert!(fs::read(at.join("big")).unwrap() == big);
    assert_eq!(layer.asked(), 1 + 5, "one request for each piece of 1 MiB");
    assert!(fs::write(at.join("etc/owned"), b"x").is_err());
    drop(layer);
    fs::remove_dir_all(&base).unwrap();
}

#[test]
fn a_piece_that_is_not_what_the_index_says_is_an_error() {
    let base = directory("lies");
    let layer = Mounted::new(&base, "layer", &[(Entry::file("f", 5), b"alpha")]);
    let honest = layer.blob.bytes.lock().unwrap().clone();
    let at = honest.windows(5).position(|bytes| bytes == b"alpha").expect("too short to be compressed");
    layer.blob.bytes.lock().unwrap()[at..at + 5].copy_from_slice(b"omega");
    let error = fs::read(layer.at.join("f")).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(5), "{error}");
    *layer.blob.bytes.lock().unwrap() = honest;
    assert_eq!(fs::read(layer.at.join("f")).unwrap(), b"alpha");
    drop(layer);
    fs::remove_dir_all(&base).unwrap();
}

#[test]
fn overlayfs_takes_it_for_a_layer() {
    let base = directory("overlay");
    let lower = Mounted::new(
        &base,
        "lower",
        &[(Entry::file("kept", 1), b"1"), (Entry::file("gone", 1), b"1"), (Entry::file("d/old", 1), b"1")],
    );
    let upper = Mounted::new(
        &base,
        "upper",
        &[
            (Entry::directory("d/"), b""),
            (Entry::file("d/.wh..wh..opq", 0), b""),
            (Entry::file("d/new", 1), b"2"),
            (Entry::file(".wh.gone", 0), b""),
        ],
    );
    assert!(fs::symlink_metadata(upper.at.join("gone")).unwrap().file_type().is_char_device());
    let context = mount::Context::open("overlay").unwrap();
    context.set("lowerdir+", &*upper.at).unwrap();
    context.set("lowerdir+", &*lower.at).unwrap();
    let merged = base.join("merged");
    fs::create_dir(&merged).unwrap();
    let tree = context.mount(mount::Attributes::READ_ONLY).unwrap();
    tree.attach(sys::fs::open_dir(&merged).unwrap()).unwrap();
    let names = |at: &Path| {
        let mut names: Vec<_> = fs::read_dir(at).unwrap().map(|e| e.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(&merged), ["d", "kept"]);
    assert_eq!(names(&merged.join("d")), ["new"]);
    assert_eq!(fs::read(merged.join("d/new")).unwrap(), b"2");
    mount::detach(&*merged).unwrap();
    // Each of them keeps the layers in use.
    drop((tree, context));
    drop((lower, upper));
    fs::remove_dir_all(&base).unwrap();
}
