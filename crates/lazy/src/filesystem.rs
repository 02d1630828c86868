//! A layer's tree as the kernel sees it, through FUSE. Read-only.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, SystemTime};

use fuser::{
    Config, Errno, FileAttr, FileHandle, FileType, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig,
    LockOwner, OpenFlags, ReplyAttr, ReplyData, ReplyDirectory, ReplyEntry, ReplyOpen, ReplyXattr, Request,
    Session, SessionACL,
};
use sys::mount::{Attributes, Context, Tree as MountTree};

use crate::pieces::Pieces;
use crate::tree::{Node, NodeId, NodeKind, Tree};

/// Nothing ever changes.
const FOREVER: Duration = Duration::from_secs(1 << 30);
const BLOCK: u32 = 4096;
/// Several, because each may be waiting for a piece.
const THREADS: usize = 8;

/// One layer, served.
pub struct Filesystem {
    tree: Tree,
    pieces: Pieces,
}

impl Filesystem {
    pub fn new(tree: Tree, pieces: Pieces) -> Self {
        Self { tree, pieces }
    }

    fn node(&self, ino: INodeNo) -> Result<&Node, Errno> {
        self.tree.node(ino.0).ok_or(Errno::ENOENT)
    }

    fn child(&self, parent: INodeNo, name: &OsStr) -> Result<NodeId, Errno> {
        name.to_str().and_then(|name| self.tree.child(parent.0, name)).ok_or(Errno::ENOENT)
    }

    fn bytes(&self, ino: INodeNo, offset: u64, length: u32) -> Result<Vec<u8>, Errno> {
        let NodeKind::Regular { size, pieces, first } = &self.node(ino)?.kind else {
            return Err(Errno::EISDIR);
        };
        let end = size.min(&offset.saturating_add(length.into())).to_owned();
        let mut bytes = Vec::with_capacity(length as usize);
        let mut at = offset;
        while at < end {
            // The first piece that ends behind it; they follow each other without gaps.
            let number = pieces.partition_point(|piece| piece.at + piece.size <= at);
            let Some(piece) = pieces.get(number) else { break };
            let wanted = usize::try_from(end - at).unwrap_or(usize::MAX);
            let read = self.pieces.read(first + number, piece, at - piece.at, wanted);
            bytes.extend_from_slice(&read.map_err(|_| Errno::EIO)?);
            at = offset + bytes.len() as u64;
        }
        Ok(bytes)
    }
}

fn attributes(id: NodeId, node: &Node) -> FileAttr {
    let (kind, size, rdev) = match &node.kind {
        NodeKind::Directory(_) => (FileType::Directory, 0, 0),
        NodeKind::Regular { size, .. } => (FileType::RegularFile, *size, 0),
        NodeKind::Symlink(target) => (FileType::Symlink, target.len() as u64, 0),
        NodeKind::Character(major, minor) => (FileType::CharDevice, 0, device(*major, *minor)),
        NodeKind::Block(major, minor) => (FileType::BlockDevice, 0, device(*major, *minor)),
        NodeKind::Fifo => (FileType::NamedPipe, 0, 0),
    };
    let seconds = Duration::from_secs(node.modified.unsigned_abs());
    let time = match node.modified {
        0.. => SystemTime::UNIX_EPOCH.checked_add(seconds),
        _ => SystemTime::UNIX_EPOCH.checked_sub(seconds),
    };
    let time = time.unwrap_or(SystemTime::UNIX_EPOCH);
    FileAttr {
        ino: INodeNo(id),
        size,
        blocks: size.div_ceil(512),
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind,
        perm: (node.mode & 0o7777) as u16,
        nlink: if kind == FileType::Directory { 2 } else { node.links },
        uid: node.uid,
        gid: node.gid,
        rdev,
        blksize: BLOCK,
        flags: 0,
    }
}

/// The kernel's 32-bit encoding of a device number.
fn device(major: u32, minor: u32) -> u32 {
    (minor & 0xff) | (major << 8) | ((minor & !0xff) << 12)
}

impl fuser::Filesystem for Filesystem {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // What the kernel lacks of these costs speed, or leaves the container the host's ids.
        for wanted in [
            InitFlags::FUSE_ASYNC_READ,
            InitFlags::FUSE_PARALLEL_DIROPS,
            InitFlags::FUSE_CACHE_SYMLINKS,
            InitFlags::FUSE_ALLOW_IDMAP,
        ] {
            let _ = config.add_capabilities(wanted);
        }
        Ok(())
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.child(parent, name).and_then(|id| Ok((id, self.node(INodeNo(id))?))) {
            Ok((id, node)) => reply.entry(&FOREVER, &attributes(id, node), Generation(0)),
            Err(e) => reply.error(e),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match self.node(ino) {
            Ok(node) => reply.attr(&FOREVER, &attributes(ino.0, node)),
            Err(e) => reply.error(e),
        }
    }

    fn readlink(&self, _: &Request, ino: INodeNo, reply: ReplyData) {
        match self.node(ino).map(|node| &node.kind) {
            Ok(NodeKind::Symlink(target)) => reply.data(target.as_bytes()),
            Ok(_) => reply.error(Errno::EINVAL),
            Err(e) => reply.error(e),
        }
    }

    fn open(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE);
    }

    fn opendir(&self, _: &Request, _: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        reply.opened(FileHandle(0), FopenFlags::FOPEN_KEEP_CACHE | FopenFlags::FOPEN_CACHE_DIR);
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        match self.bytes(ino, offset, size) {
            Ok(bytes) => reply.data(&bytes),
            Err(e) => reply.error(e),
        }
    }

    fn readdir(&self, _: &Request, ino: INodeNo, _: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let children = match self.node(ino).map(|node| &node.kind) {
            Ok(NodeKind::Directory(children)) => children,
            Ok(_) => return reply.error(Errno::ENOTDIR),
            Err(e) => return reply.error(e),
        };
        let dots = [(".", ino.0), ("..", ino.0)];
        let names = dots.into_iter().chain(children.iter().map(|(name, &id)| (name.as_str(), id)));
        for (at, (name, id)) in names.enumerate().skip(usize::try_from(offset).unwrap_or(usize::MAX)) {
            let kind = self.tree.node(id).map_or(FileType::RegularFile, |node| attributes(id, node).kind);
            if reply.add(INodeNo(id), at as u64 + 1, kind, name) {
                break;
            }
        }
        reply.ok();
    }

    fn getxattr(&self, _: &Request, ino: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        let found = self.node(ino).and_then(|node| {
            let found = node.xattrs.iter().find(|(known, _)| OsStr::new(known) == name);
            found.map(|(_, value)| value.as_slice()).ok_or(Errno::ENODATA)
        });
        answer(found, size, reply);
    }

    fn listxattr(&self, _: &Request, ino: INodeNo, size: u32, reply: ReplyXattr) {
        let names = self.node(ino).map(|node| {
            node.xattrs.iter().flat_map(|(name, _)| name.bytes().chain([0])).collect::<Vec<u8>>()
        });
        answer(names.as_deref().map_err(|e| *e), size, reply);
    }
}

fn answer(value: Result<&[u8], Errno>, size: u32, reply: ReplyXattr) {
    match value {
        Ok(value) if size == 0 => reply.size(value.len() as u32),
        Ok(value) if value.len() > size as usize => reply.error(Errno::ERANGE),
        Ok(value) => reply.data(value),
        Err(e) => reply.error(e),
    }
}

const DEVICE: &str = "/dev/fuse";

/// Makes the filesystem and begins to serve it: returns its mount, attached to nothing yet.
///
/// The service ends when the last mount of it has gone.
///
/// # Errors
/// Those of `/dev/fuse` and of mounting.
pub fn mount(filesystem: Filesystem) -> io::Result<(MountTree, std::thread::JoinHandle<io::Result<()>>)> {
    let device = File::options().read(true).write(true).open(DEVICE);
    let device = device.map_err(|e| io::Error::new(e.kind(), format!("cannot open {DEVICE}: {e}")))?;
    let context = Context::open("fuse")?;
    let set = |key, value: &str| {
        context.set(key, value).map_err(|e| match context.complaint() {
            Some(why) => io::Error::new(e.kind(), format!("{e} ({why})")),
            None => e,
        })
    };
    set("source", "hull")?;
    set("subtype", "hull")?;
    set("fd", &device.as_raw_fd().to_string())?;
    set("rootmode", "40000")?;
    set("user_id", "0")?;
    set("group_id", "0")?;
    context.flag("allow_other")?;
    context.flag("default_permissions")?;
    context.flag("ro")?;
    let tree = context.mount(Attributes::READ_ONLY)?;
    let mut config = Config::default();
    config.n_threads = Some(THREADS);
    let session = Session::from_fd(filesystem, OwnedFd::from(device), SessionACL::All, config)?;
    let server = std::thread::Builder::new().name("lazy".to_owned()).spawn(move || session.run())?;
    Ok((tree, server))
}
