//! A layer's names, as overlayfs wants to find them in a lower directory.

use std::collections::{BTreeMap, HashMap};

use image::chunked::{FileIndex, FileKind, Indexed, Piece};

/// A node's number.
pub type NodeId = u64;

/// The filesystem's own root, as FUSE numbers it. It has nothing but the layer: overlayfs is given a directory of a mount.
const OUTSIDE: NodeId = 1;
/// The layer's root.
const ROOT: NodeId = 2;
/// What the layer's root is called in the filesystem's.
pub const LAYER: &str = "layer";
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// All names of one layer.
#[derive(Debug)]
pub struct Tree {
    nodes: Vec<Node>,
}

#[derive(Clone, Debug)]
pub struct Node {
    pub kind: NodeKind,
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    /// Seconds since 1970.
    pub modified: i64,
    pub links: u32,
    pub xattrs: Vec<(String, Vec<u8>)>,
}

#[derive(Clone, Debug)]
pub enum NodeKind {
    Directory(BTreeMap<String, NodeId>),
    /// The pieces' numbers among all of the layer are `first..`.
    Regular {
        size: u64,
        pieces: Vec<Piece>,
        first: usize,
    },
    Symlink(String),
    Character(u32, u32),
    Block(u32, u32),
    Fifo,
}

impl Tree {
    /// Builds the tree of a layer. A later entry of the same name replaces an earlier one, as in unpacking.
    ///
    /// Directories the layer has files in without naming them are root's; hard links to what the layer does not have are left out.
    pub fn new(index: &FileIndex) -> Self {
        let mut tree = Self { nodes: vec![directory()] };
        tree.enter(OUTSIDE, LAYER, directory());
        let mut links = HashMap::new();
        let mut first = 0;
        for file in &index.files {
            if let FileKind::Regular { pieces, .. } = &file.kind {
                tree.add(file, first, &mut links);
                first += pieces.len();
            } else {
                tree.add(file, first, &mut links);
            }
        }
        tree
    }

    pub fn node(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(usize::try_from(id.checked_sub(OUTSIDE)?).ok()?)
    }

    /// What `name` is in a directory.
    pub fn child(&self, parent: NodeId, name: &str) -> Option<NodeId> {
        match &self.node(parent)?.kind {
            NodeKind::Directory(children) => children.get(name).copied(),
            _ => None,
        }
    }

    fn is_directory(&self, id: NodeId) -> bool {
        self.node(id).is_some_and(|node| matches!(node.kind, NodeKind::Directory(_)))
    }

    fn node_mut(&mut self, id: NodeId) -> &mut Node {
        &mut self.nodes[(id - OUTSIDE) as usize]
    }

    fn push(&mut self, node: Node) -> NodeId {
        self.nodes.push(node);
        self.nodes.len() as NodeId
    }

    fn add(&mut self, file: &Indexed, first: usize, links: &mut HashMap<String, NodeId>) {
        let (parent, name) = file.path.rsplit_once('/').unwrap_or(("", &file.path));
        if name.is_empty() {
            return self.describe(ROOT, file);
        }
        let parent = self.directory(parent);
        if name == OPAQUE {
            let opaque = (sys::overlay::opaque().to_string_lossy().into_owned(), b"y".to_vec());
            return self.node_mut(parent).xattrs.push(opaque);
        }
        if let Some(hidden) = name.strip_prefix(WHITEOUT) {
            let is_kept = matches!(hidden, "" | "." | "..") || hidden.starts_with(WHITEOUT);
            if !is_kept && self.child(parent, hidden).is_none() {
                let whiteout = Node { kind: NodeKind::Character(0, 0), mode: 0, ..directory() };
                self.enter(parent, hidden, whiteout);
            }
            return;
        }
        let kind = match &file.kind {
            FileKind::Directory => {
                let id = match self.child(parent, name) {
                    Some(id) if self.is_directory(id) => id,
                    _ => self.enter(parent, name, directory()),
                };
                return self.describe(id, file);
            }
            FileKind::HardLink(target) => {
                if let Some(&id) = links.get(target) {
                    self.link(parent, name, id);
                    links.insert(file.path.clone(), id);
                }
                return;
            }
            FileKind::Regular { size, pieces } => {
                NodeKind::Regular { size: *size, pieces: pieces.clone(), first }
            }
            FileKind::Symlink(target) => NodeKind::Symlink(target.clone()),
            // Only overlayfs makes something of this one, and only a whiteout may be made so.
            FileKind::Character(0, 0) => return,
            FileKind::Character(major, minor) => NodeKind::Character(*major, *minor),
            FileKind::Block(major, minor) => NodeKind::Block(*major, *minor),
            FileKind::Fifo => NodeKind::Fifo,
        };
        let id = self.enter(parent, name, Node { kind, ..directory() });
        self.describe(id, file);
        links.insert(file.path.clone(), id);
    }

    /// Makes a new node the one of this name.
    fn enter(&mut self, parent: NodeId, name: &str, node: Node) -> NodeId {
        let id = self.push(Node { links: 0, ..node });
        self.link(parent, name, id);
        id
    }

    fn link(&mut self, parent: NodeId, name: &str, id: NodeId) {
        self.node_mut(id).links += 1;
        let NodeKind::Directory(children) = &mut self.node_mut(parent).kind else { return };
        if let Some(replaced) = children.insert(name.to_owned(), id) {
            let replaced = self.node_mut(replaced);
            replaced.links = replaced.links.saturating_sub(1);
        }
    }

    /// The directory `path`, made as far as it is missing; what is in its way goes.
    fn directory(&mut self, path: &str) -> NodeId {
        let mut id = ROOT;
        for name in path.split('/').filter(|name| !name.is_empty()) {
            let child = self.child(id, name);
            let child = child.filter(|&child| self.is_directory(child));
            id = child.unwrap_or_else(|| self.enter(id, name, directory()));
        }
        id
    }

    fn describe(&mut self, id: NodeId, file: &Indexed) {
        let node = self.node_mut(id);
        node.mode = file.mode;
        node.uid = file.uid;
        node.gid = file.gid;
        node.modified = file.modified;
        let travels = |(name, _): &&(String, Vec<u8>)| image::archive::xattr_travels(name.as_bytes());
        // What makes a directory opaque may have come before the directory itself.
        node.xattrs.retain(|(name, _)| sys::overlay::is_note(name.as_bytes()));
        node.xattrs.extend(file.xattrs.iter().filter(travels).cloned());
    }
}

fn directory() -> Node {
    Node {
        kind: NodeKind::Directory(BTreeMap::new()),
        mode: 0o755,
        uid: 0,
        gid: 0,
        modified: 0,
        links: 1,
        xattrs: Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use image::chunked::PieceCompression;

    use super::*;

    fn tree(files: &[(&str, FileKind)]) -> Tree {
        let files = files.iter().map(|(path, kind)| Indexed {
            path: (*path).to_owned(),
            kind: kind.clone(),
            mode: 0o640,
            uid: 7,
            gid: 8,
            modified: 9,
            xattrs: vec![("trusted.overlay.opaque".to_owned(), b"y".to_vec())],
        });
        Tree::new(&FileIndex { compression: PieceCompression::Zstd, files: files.collect() })
    }

    fn find(tree: &Tree, path: &str) -> Option<NodeId> {
        path.split('/').try_fold(ROOT, |id, name| tree.child(id, name))
    }

    fn file(size: u64) -> FileKind {
        FileKind::Regular { size, pieces: Vec::new() }
    }

    #[test]
    fn names_lead_to_nodes() {
        let tree = tree(&[
            ("a/b/c", file(0)),
            ("a", FileKind::Directory),
            ("link", FileKind::HardLink("a/b/c".to_owned())),
            ("lost", FileKind::HardLink("nowhere".to_owned())),
            ("s", FileKind::Symlink("../x".to_owned())),
        ]);
        let c = find(&tree, "a/b/c").unwrap();
        assert_eq!(find(&tree, "link"), Some(c));
        assert_eq!(tree.node(c).unwrap().links, 2);
        assert_eq!(find(&tree, "lost"), None);
        let a = tree.node(find(&tree, "a").unwrap()).unwrap();
        assert_eq!((a.mode, a.uid), (0o640, 7));
        assert!(a.xattrs.is_empty(), "a layer cannot make its directories opaque by an attribute");
        assert_eq!(tree.node(find(&tree, "a/b").unwrap()).unwrap().uid, 0);
    }

    #[test]
    fn whiteouts_are_overlayfs_own() {
        let tree = tree(&[
            ("d/.wh.gone", file(0)),
            ("d/.wh..wh..opq", file(0)),
            ("d", FileKind::Directory),
            ("d/here", file(0)),
            ("d/.wh.here", file(0)),
            ("d/.wh...", file(0)),
            ("forged", FileKind::Character(0, 0)),
        ]);
        let gone = tree.node(find(&tree, "d/gone").unwrap()).unwrap();
        assert!(matches!(gone.kind, NodeKind::Character(0, 0)));
        let d = tree.node(find(&tree, "d").unwrap()).unwrap();
        assert_eq!(d.xattrs.len(), 1);
        assert!(matches!(tree.node(find(&tree, "d/here").unwrap()).unwrap().kind, NodeKind::Regular { .. }));
        assert_eq!(find(&tree, "forged"), None);
        let NodeKind::Directory(children) = &d.kind else { panic!() };
        assert_eq!(children.keys().collect::<Vec<_>>(), ["gone", "here"]);
    }
}
