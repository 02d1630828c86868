use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;

use super::*;

/// A directory of its own below the system's temporary one, removed at the end.
struct Scratch(PathBuf);

impl Scratch {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("sys-fs-{}-{test}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir(&path).unwrap();
        Self(path)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn resolution_stays_inside() {
    let scratch = Scratch::new("resolution");
    let root = scratch.0.join("root");
    fs::create_dir_all(root.join("etc")).unwrap();
    fs::write(root.join("etc/passwd"), "inside").unwrap();
    fs::write(scratch.0.join("secret"), "outside").unwrap();
    symlink("/etc/passwd", root.join("absolute")).unwrap();
    symlink("../../../secret", root.join("up")).unwrap();
    let fd = open_dir(&root).unwrap();
    let read = |path: &str| {
        open_in_root(&fd, path, OFlags::RDONLY, 0).map(|f| std::io::read_to_string(File::from(f)).unwrap())
    };
    assert_eq!(read("absolute").unwrap(), "inside");
    assert_eq!(read("/../../etc/passwd").unwrap(), "inside");
    assert_eq!(read("up").unwrap_err().kind(), io::ErrorKind::NotFound);
    for path in ["absolute", "up", "../secret", "/etc/passwd"] {
        assert!(open_beneath(&fd, path, OFlags::RDONLY, 0).is_err(), "{path}");
        assert!(open_plain(&fd, path, OFlags::RDONLY, 0).is_err(), "{path}");
    }
    assert!(open_plain(&fd, "etc/passwd", OFlags::RDONLY, 0).is_ok());
}

#[test]
fn directories_are_made_inside_the_root() {
    let scratch = Scratch::new("mkdirs");
    let root = scratch.0.join("root");
    fs::create_dir_all(root.join("real")).unwrap();
    symlink("/real", root.join("link")).unwrap();
    symlink("../..", root.join("out")).unwrap();
    fs::write(root.join("file"), "").unwrap();
    let fd = open_dir(&root).unwrap();
    create_dir_all_in_root(&fd, Path::new("/link/a/b"), 0o755).unwrap();
    create_dir_all_in_root(&fd, Path::new("out/c"), 0o755).unwrap();
    assert!(root.join("real/a/b").is_dir() && root.join("c").is_dir());
    assert!(create_dir_all_in_root(&fd, Path::new("file/x"), 0o755).is_err());
    symlink("/run/nowhere", root.join("dangling")).unwrap();
    symlink("../../../../up", root.join("real/dangling")).unwrap();
    create_dir_all_in_root(&fd, Path::new("/dangling/a"), 0o755).unwrap();
    create_dir_all_in_root(&fd, Path::new("/real/dangling/b"), 0o755).unwrap();
    assert!(root.join("run/nowhere/a").is_dir() && root.join("up/b").is_dir());
    symlink("circle", root.join("circle")).unwrap();
    assert!(create_dir_all_in_root(&fd, Path::new("/circle/a"), 0o755).is_err());
    assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 1);
}

#[test]
fn trees_of_any_depth_are_removed_and_links_are_not_followed() {
    let scratch = Scratch::new("remove");
    fs::create_dir(scratch.0.join("keep")).unwrap();
    fs::write(scratch.0.join("keep/file"), "x").unwrap();
    let tree = scratch.0.join("tree");
    fs::create_dir(&tree).unwrap();
    symlink("../keep", tree.join("link")).unwrap();
    let mut dir = open_dir(&tree).unwrap();
    for _ in 0..1000 {
        for name in ["d", "e"] {
            mkdir_at(&dir, name, 0o700).unwrap();
        }
        drop(open_at(&dir, "f", OFlags::CREATE | OFlags::WRONLY, 0o600).unwrap());
        dir = open_dir_at(&dir, "d").unwrap();
    }
    remove_tree(&tree).unwrap();
    assert!(!tree.exists());
    assert!(scratch.0.join("keep/file").exists());
    remove_tree(&tree).unwrap();
}

#[test]
fn locks_exclude_and_end_with_their_holder() {
    let scratch = Scratch::new("lock");
    let path = scratch.0.join("lock");
    let shared = FileLock::acquire(&path, LockKind::Shared).unwrap();
    assert!(FileLock::try_acquire(&path, LockKind::Shared).unwrap().is_some());
    assert!(FileLock::try_acquire(&path, LockKind::Exclusive).unwrap().is_none());
    drop(shared);
    assert!(FileLock::try_existing(&path, LockKind::Exclusive).unwrap().is_some());
    assert!(FileLock::try_existing(scratch.0.join("none"), LockKind::Shared).is_err());
    // A child's copy of the descriptor keeps it only when it is left to the child.
    let alone = || FileLock::try_acquire(&path, LockKind::Exclusive).unwrap();
    let copy = |lock: &FileLock| lock.as_fd().try_clone_to_owned().unwrap();
    let lock = alone().unwrap();
    let _forgotten = copy(&lock);
    drop(lock);
    let lock = alone().unwrap();
    let of_child = copy(&lock);
    lock.leave();
    assert!(alone().is_none());
    drop(of_child);
    assert!(alone().is_some());
}

#[test]
fn sparse_copies_stay_sparse() {
    let scratch = Scratch::new("copy");
    let from = File::create_new(scratch.0.join("from")).unwrap();
    use std::os::unix::fs::FileExt;
    from.write_all_at(b"data", 8 << 20).unwrap();
    from.set_len(64 << 20).unwrap();
    let from = File::open(scratch.0.join("from")).unwrap();
    let to = File::create_new(scratch.0.join("to")).unwrap();
    copy_hole_aware(&from, &to, 64 << 20).unwrap();
    let copied = fs::metadata(scratch.0.join("to")).unwrap();
    assert_eq!(copied.len(), 64 << 20);
    assert!(copied.blocks() * 512 < 1 << 20);
    let mut word = [0; 4];
    File::open(scratch.0.join("to")).unwrap().read_exact_at(&mut word, 8 << 20).unwrap();
    assert_eq!(&word, b"data");
}

#[test]
fn names_and_attributes() {
    let scratch = Scratch::new("names");
    let dir = open_dir(&scratch.0).unwrap();
    write_atomic(&scratch.0.join("a"), b"1", 0o600, true).unwrap();
    write_atomic(&scratch.0.join("b"), b"2", 0o600, false).unwrap();
    exchange(scratch.0.join("a"), scratch.0.join("b")).unwrap();
    assert_eq!(fs::read(scratch.0.join("a")).unwrap(), b"2");
    let error = rename_noreplace(scratch.0.join("a"), scratch.0.join("b")).unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
    symlink("a", scratch.0.join("l")).unwrap();
    set_times_at(&dir, "l", (1, 2), (3, 4)).unwrap();
    let link = stat_at(&dir, "l").unwrap();
    assert_eq!((link.st_mtime, link.st_mtime_nsec), (3, 4));
    set_xattr_at(&dir, "a", c"user.hull", b"v").unwrap();
    assert_eq!(list_xattrs_at(&dir, "a").unwrap(), [c"user.hull".to_owned()]);
    assert_eq!(get_xattr_at(&dir, "a", c"user.hull").unwrap().unwrap(), b"v");
    assert_eq!(get_xattr_at(&dir, "b", c"user.hull").unwrap(), None);
    assert!(chown_at(&dir, "a", u32::MAX, 0).is_err());
    chmod_at(&dir, "a", 0o640).unwrap();
    assert_eq!(stat_at(&dir, "a").unwrap().st_mode & 0o7777, 0o640);
    assert!(chmod_at(&dir, "l", 0o666).is_err());
    assert_eq!(stat_at(&dir, "a").unwrap().st_mode & 0o7777, 0o640);
    mknod_at(&dir, "fifo", Node::Fifo, 0o600).unwrap();
    let mut names: Vec<_> = read_dir(dir.as_fd()).unwrap();
    names.sort_by(|a, b| a.0.cmp(&b.0));
    assert_eq!(names.len(), 4);
}
