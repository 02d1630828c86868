use super::*;
use std::os::unix::fs::symlink;

struct Fixture {
    root: PathBuf,
}

impl Fixture {
    fn new(name: &str) -> Self {
        let root = std::env::temp_dir().join(format!("hull-tree-{name}-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&root);
        std::fs::create_dir_all(&root).unwrap();
        Self { root }
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

    fn whiteout(&self, path: &str) -> &Self {
        let path = self.root.join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        let dir = fs::open_dir(path.parent().unwrap()).unwrap();
        fs::mknod_at(&dir, path.file_name().unwrap(), fs::Node::Character { major: 0, minor: 0 }, 0).unwrap();
        self
    }

    fn opaque(&self, path: &str) -> &Self {
        let path = self.root.join(path);
        std::fs::create_dir_all(&path).unwrap();
        fs::set_xattr(fs::open_dir(path.as_path()).unwrap(), c"trusted.overlay.opaque", b"y").unwrap();
        self
    }

    fn tree(&self, layers: &[&str]) -> Tree {
        let layers: Vec<_> = layers.iter().map(|layer| self.root.join(layer)).collect();
        Tree::open(&layers, Format::Overlay).unwrap()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.root);
    }
}

fn resolve(tree: &Tree, path: &str) -> (String, bool) {
    let resolved = tree.resolve(Path::new(path), Last::Follow).unwrap();
    (display(&resolved.path), resolved.entry.is_some())
}

fn text(tree: &Tree, path: &str) -> Option<String> {
    tree.read(Path::new(path), 1 << 20).unwrap().map(|bytes| String::from_utf8(bytes).unwrap())
}

fn list(tree: &Tree, path: &str) -> Vec<String> {
    let dir = tree.resolve(Path::new(path), Last::Follow).unwrap().entry.unwrap();
    tree.list(&dir).unwrap().into_iter().map(|name| name.into_string().unwrap()).collect()
}

#[test]
fn links_stay_inside() {
    let fixture = Fixture::new("links");
    fixture
        .file("t/etc/passwd", "inner")
        .link("t/abs", "/etc")
        .link("t/up", "../../../../../../etc")
        .link("t/d/rel", "../etc/passwd")
        .link("t/loop", "loop")
        .link("t/dangling", "/no/where");
    let tree = fixture.tree(&["t"]);
    assert_eq!(resolve(&tree, "/abs/passwd"), ("etc/passwd".into(), true));
    assert_eq!(resolve(&tree, "up/passwd"), ("etc/passwd".into(), true));
    assert_eq!(resolve(&tree, "../../d/rel"), ("etc/passwd".into(), true));
    assert_eq!(resolve(&tree, "dangling"), ("no/where".into(), false));
    assert_eq!(resolve(&tree, "new/../other/x"), ("other/x".into(), false));
    assert_eq!(resolve(&tree, "/"), (String::new(), true));
    assert_eq!(text(&tree, "/up/passwd").as_deref(), Some("inner"));
    let error = tree.resolve(Path::new("loop/x"), Last::Follow).unwrap_err();
    assert_eq!(error.raw_os_error(), Some(ELOOP));
    let error = tree.resolve(Path::new("etc/passwd/x"), Last::Follow).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::NotADirectory);
    let kept = tree.resolve(Path::new("abs"), Last::Keep).unwrap().entry.unwrap();
    assert_eq!(kept.kind(), FileType::Symlink);
    assert_eq!(tree.read_link(&kept).unwrap(), Path::new("/etc"));
}

#[test]
fn layers_merge_as_overlayfs_does() {
    let fixture = Fixture::new("layers");
    fixture.file("low/a/x", "low x").file("low/a/y", "low y").file("low/b/z", "z").file("low/c/d/e", "e");
    fixture.whiteout("mid/a/y").file("mid/a/w", "mid w").whiteout("mid/c").file("mid/f", "file over nothing");
    fixture.file("top/a/x", "top x").opaque("top/b").file("top/b/new", "n").file("top/c/again", "c");
    let tree = fixture.tree(&["top", "mid", "low"]);
    assert_eq!(list(&tree, "/"), ["a", "b", "c", "f"]);
    assert_eq!(list(&tree, "/a"), ["w", "x"]);
    assert_eq!(list(&tree, "/b"), ["new"]);
    assert_eq!(list(&tree, "/c"), ["again"]);
    assert_eq!(text(&tree, "a/x").as_deref(), Some("top x"));
    assert_eq!(text(&tree, "a/w").as_deref(), Some("mid w"));
    assert_eq!(text(&tree, "a/y"), None);
    assert_eq!(text(&tree, "b/z"), None);
    assert_eq!(text(&tree, "c/d/e"), None);
    let a = tree.resolve(Path::new("a"), Last::Follow).unwrap().entry.unwrap();
    assert_eq!(tree.host_paths(&a).unwrap(), ["top/a", "mid/a", "low/a"].map(|p| fixture.root.join(p)));
    let c = tree.resolve(Path::new("c"), Last::Follow).unwrap().entry.unwrap();
    assert_eq!(tree.host_paths(&c).unwrap(), [fixture.root.join("top/c")]);
}
