//! The client's files, as fsutil's protocol carries them.

use std::collections::{HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use api::buildkit::session::{Packet, PacketKind, Stat, mode};
use api::buildkit::{Status, code};
use axum::http::{HeaderMap, HeaderName, HeaderValue};
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sys::fs::{self, FileType, OFlags};

use super::grpc::{Call, failure};
use super::session::Session;

const DIFF_COPY: &str = "/moby.filesync.v1.FileSync/DiffCopy";

/// Where a client takes results, files or one stream.
pub const SEND: &str = "/moby.filesync.v1.FileSend/DiffCopy";
/// Bytes sent at once.
const PIECE: usize = 32 << 10;
/// Files that are asked for at once: fewer than the client takes (128), and than there are descriptors.
const MOST_OPEN: usize = 64;
/// A Dockerfile or ignore file larger than this is something else.
const TEXT_LIMIT: u64 = 16 << 20;

/// Which of a client's files are wanted.
#[derive(Default)]
pub struct Wanted<'a> {
    /// A directory the client has under this name.
    pub directory: &'a str,
    /// Only these, and what they lead to; everything when there are none.
    pub follow: &'a [String],
    /// `.dockerignore` patterns of what is left out.
    pub exclude: &'a [String],
}

impl Wanted<'_> {
    fn headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        let mut add = |name: &'static str, values: &[String]| {
            let encoded = values.iter().any(|value| !value.is_ascii());
            for value in values {
                let value = match encoded {
                    true => utf8_percent_encode(value, NON_ALPHANUMERIC).to_string(),
                    false => value.clone(),
                };
                if let Ok(value) = HeaderValue::try_from(value) {
                    headers.append(HeaderName::from_static(name), value);
                }
            }
            if encoded {
                let name =
                    HeaderName::try_from(format!("{name}-encoded")).expect("it is a name with a suffix");
                headers.insert(name, HeaderValue::from_static("1"));
            }
        };
        add("dir-name", &[self.directory.to_owned()]);
        add("followpaths", self.follow);
        add("exclude-patterns", self.exclude);
        headers
    }
}

fn refused(path: &str, reason: impl std::fmt::Display) -> Status {
    failure(code::UNKNOWN, format!("the client sent {path:?}: {reason}"))
}

fn failed(path: &str) -> impl FnOnce(io::Error) -> Status {
    let path = path.to_owned();
    move |error| failure(code::UNKNOWN, format!("cannot write {path:?} of the build context: {error}"))
}

/// Receives files into the empty directory `into`, and returns how many bytes they have. It waits for the disk.
///
/// # Errors
/// The client has no such directory, went away, or sends what is no tree of files.
pub async fn receive(session: &Session, wanted: &Wanted<'_>, into: &Path) -> Result<u64, Status> {
    let root = fs::open_dir(into).map_err(failed("/"))?;
    let mut receiver = Receiver {
        root,
        waiting: VecDeque::new(),
        writing: HashMap::new(),
        directories: Vec::new(),
        bytes: 0,
    };
    let mut call = session.channel.call(DIFF_COPY, wanted.headers());
    let received = receiver.run(&mut call).await;
    if let Err(status) = &received {
        let error = Packet {
            kind: PacketKind::Error.into(),
            data: status.message.clone().into_bytes(),
            ..Packet::default()
        };
        let _ = call.send(&error).await;
    }
    received.map(|()| receiver.bytes)
}

/// A tree that is being received.
struct Receiver {
    root: OwnedFd,
    /// Files that are not asked for yet, and their ids.
    waiting: VecDeque<(u32, Stat)>,
    /// Files that are asked for, by their ids.
    writing: HashMap<u32, Writing>,
    /// They get their times when everything is in them.
    directories: Vec<Stat>,
    bytes: u64,
}

struct Writing {
    file: File,
    stat: Stat,
}

impl Receiver {
    async fn run(&mut self, call: &mut Call) -> Result<(), Status> {
        let (mut next_id, mut all_known) = (0, false);
        while !all_known || !self.writing.is_empty() {
            let gone =
                || failure(code::UNAVAILABLE, "the client ended the transfer of its files in the middle");
            let packet: Packet = call.next().await?.ok_or_else(gone)?;
            match packet.kind() {
                PacketKind::Stat => match packet.stat {
                    None => all_known = true,
                    Some(stat) if all_known => return Err(refused(&stat.path, "after the last file")),
                    Some(stat) => {
                        self.make(stat, next_id)?;
                        next_id += 1;
                    }
                },
                PacketKind::Data => self.write(packet.id, &packet.data)?,
                PacketKind::Error => {
                    let text = String::from_utf8_lossy(&packet.data).into_owned();
                    return Err(failure(code::UNKNOWN, format!("error from sender: {text}")));
                }
                PacketKind::Request | PacketKind::Finish => {
                    return Err(failure(code::UNKNOWN, "the client takes us for the sender of files"));
                }
            }
            while self.writing.len() < MOST_OPEN
                && let Some((id, stat)) = self.waiting.pop_front()
            {
                let file = fs::open_plain(&self.root, stat.path.as_str(), OFlags::WRONLY, 0);
                let file = file.map_err(failed(&stat.path))?.into();
                self.writing.insert(id, Writing { file, stat });
                call.send(&Packet { kind: PacketKind::Request.into(), id, ..Packet::default() }).await?;
            }
        }
        for stat in std::mem::take(&mut self.directories).into_iter().rev() {
            let directory =
                fs::open_plain(&self.root, stat.path.as_str(), OFlags::RDONLY | OFlags::DIRECTORY, 0);
            directory.and_then(|directory| touch(directory, stat.modified_ns)).map_err(failed(&stat.path))?;
        }
        call.send(&Packet { kind: PacketKind::Finish.into(), ..Packet::default() }).await?;
        call.finish();
        while call.next::<Packet>().await?.is_some() {}
        Ok(())
    }

    /// Makes a file; its contents, if it has any, come later.
    fn make(&mut self, stat: Stat, id: u32) -> Result<(), Status> {
        let path = Path::new(&stat.path);
        let is_plain = path.components().all(|component| matches!(component, Component::Normal(_)));
        let (Some(name), true) = (path.file_name(), is_plain) else {
            return Err(refused(&stat.path, "it is no path inside a directory"));
        };
        // Nothing that the client has sent before is followed.
        let parent = match path.parent().filter(|parent| !parent.as_os_str().is_empty()) {
            Some(parent) => fs::open_plain(&self.root, parent, OFlags::PATH | OFlags::DIRECTORY, 0),
            None => self.root.try_clone(),
        };
        let parent = parent.map_err(failed(&stat.path))?;
        let permissions = permissions(stat.mode);
        match stat.mode & mode::KIND {
            0 if !stat.link_name.is_empty() => {
                let target = Path::new(&stat.link_name);
                let directory = target.parent().filter(|parent| !parent.as_os_str().is_empty());
                let directory = match directory {
                    Some(parent) => fs::open_plain(&self.root, parent, OFlags::PATH | OFlags::DIRECTORY, 0),
                    None => self.root.try_clone(),
                };
                let directory = directory.map_err(failed(&stat.link_name))?;
                let target =
                    target.file_name().ok_or_else(|| refused(&stat.path, "its link leads nowhere"))?;
                fs::link_at(directory, target, parent, name).map_err(failed(&stat.path))?;
            }
            0 => {
                let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL;
                let file = fs::open_at(parent, name, flags, 0o600).map_err(failed(&stat.path))?;
                fs::chmod(&file, permissions).map_err(failed(&stat.path))?;
                if stat.size > 0 {
                    self.waiting.push_back((id, stat));
                } else {
                    touch(file, stat.modified_ns).map_err(failed(&stat.path))?;
                }
            }
            mode::DIRECTORY => {
                let made = fs::mkdir_at(&parent, name, 0o700).and_then(|()| fs::open_dir_at(&parent, name));
                let directory = made.map_err(failed(&stat.path))?;
                fs::chmod(&directory, permissions).map_err(failed(&stat.path))?;
                self.directories.push(stat);
            }
            mode::SYMLINK => {
                fs::symlink_at(stat.link_name.as_str(), &parent, name).map_err(failed(&stat.path))?;
                let time = time(stat.modified_ns);
                fs::set_times_at(&parent, name, time, time).map_err(failed(&stat.path))?;
            }
            mode::NAMED_PIPE => {
                fs::mknod_at(&parent, name, fs::Node::Fifo, permissions).map_err(failed(&stat.path))?;
            }
            // BuildKit: what is no file of anybody's is not part of a context.
            mode::SOCKET => {}
            _ => return Err(refused(&stat.path, "devices are no part of a build context")),
        }
        Ok(())
    }

    fn write(&mut self, id: u32, data: &[u8]) -> Result<(), Status> {
        let unasked =
            || failure(code::UNKNOWN, format!("the client sent file {id}, which was not asked for"));
        let writing = self.writing.get_mut(&id).ok_or_else(unasked)?;
        if !data.is_empty() {
            self.bytes += data.len() as u64;
            return writing.file.write_all(data).map_err(failed(&writing.stat.path));
        }
        let Writing { file, stat } = self.writing.remove(&id).ok_or_else(unasked)?;
        touch(&file, stat.modified_ns).map_err(failed(&stat.path))
    }
}

/// Bits besides the permissions, Go's and Linux's.
const SPECIAL: &[(u32, u32)] = &[(mode::SETUID, 0o4000), (mode::SETGID, 0o2000), (mode::STICKY, 0o1000)];

fn permissions(mode: u32) -> u32 {
    SPECIAL.iter().filter(|(bit, _)| mode & bit != 0).fold(mode & 0o777, |all, (_, bit)| all | bit)
}

fn time(ns: i64) -> (i64, u32) {
    let nanos = u32::try_from(ns.rem_euclid(1_000_000_000)).expect("it is less than a second");
    (ns.div_euclid(1_000_000_000), nanos)
}

fn touch(file: impl AsFd, modified_ns: i64) -> io::Result<()> {
    fs::set_times(file, time(modified_ns), time(modified_ns))
}

/// Sends the files below `root` to the directory that the client has for output number `output`. It waits for the disk.
///
/// # Errors
/// A file that cannot be read, or a client that does not take them.
pub async fn send(session: &Session, output: usize, root: OwnedFd) -> Result<u64, Status> {
    let (mut out, mut answers) = session.channel.call(SEND, output_headers(output)).split();
    let mut files = Vec::new();
    walk(&root, "", &mut files).map_err(unread)?;
    for stat in &files {
        let packet = Packet { kind: PacketKind::Stat.into(), stat: Some(stat.clone()), ..Packet::default() };
        out.send(&packet).await?;
    }
    out.send(&Packet { kind: PacketKind::Stat.into(), ..Packet::default() }).await?;
    let mut bytes = 0;
    loop {
        let gone = || failure(code::UNAVAILABLE, "the client ended the transfer of the result in the middle");
        let packet: Packet = answers.next().await?.ok_or_else(gone)?;
        match packet.kind() {
            PacketKind::Request => {
                let missing = || {
                    failure(code::UNKNOWN, format!("the client asks for file {}: there is none", packet.id))
                };
                let stat = files.get(packet.id as usize).filter(|stat| stat.mode & mode::KIND == 0);
                let path = stat.ok_or_else(missing)?.path.as_str();
                let mut file = File::from(fs::open_plain(&root, path, OFlags::RDONLY, 0).map_err(unread)?);
                loop {
                    let mut data = vec![0; PIECE];
                    let length = file.read(&mut data).map_err(unread)?;
                    data.truncate(length);
                    bytes += length as u64;
                    let kind = PacketKind::Data.into();
                    out.send(&Packet { kind, id: packet.id, data, ..Packet::default() }).await?;
                    if length == 0 {
                        break;
                    }
                }
            }
            PacketKind::Finish => break,
            PacketKind::Error => {
                let text = String::from_utf8_lossy(&packet.data).into_owned();
                return Err(failure(code::UNKNOWN, format!("error from receiver: {text}")));
            }
            PacketKind::Stat | PacketKind::Data => {
                return Err(failure(code::UNKNOWN, "the client takes us for the receiver of files"));
            }
        }
    }
    out.send(&Packet { kind: PacketKind::Finish.into(), ..Packet::default() }).await?;
    drop(out);
    while answers.next::<Packet>().await?.is_some() {}
    Ok(bytes)
}

/// Says for which of its outputs a client gets something.
pub fn output_headers(output: usize) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert("buildkit-attachable-exporter-id", HeaderValue::from(output));
    headers
}

fn unread(error: io::Error) -> Status {
    failure(code::UNKNOWN, format!("cannot read the result: {error}"))
}

/// The files below `directory`, each directory before what is in it, names in the order of their bytes.
fn walk(directory: impl AsFd, path: &str, files: &mut Vec<Stat>) -> io::Result<()> {
    let mut names = fs::read_dir(directory.as_fd())?;
    names.sort_by(|(one, _), (other, _)| one.cmp(other));
    for (name, _) in names {
        let no_text = |_| io::Error::new(io::ErrorKind::InvalidData, format!("{name:?} is no UTF-8 text"));
        let text = name.to_str().map_err(no_text)?;
        let path = if path.is_empty() { text.to_owned() } else { format!("{path}/{text}") };
        let found = fs::stat_at(&directory, &*name)?;
        let kind = FileType::from_raw_mode(found.st_mode);
        let (device_major, device_minor) = fs::device_numbers(found.st_rdev);
        let stat = Stat {
            path: path.clone(),
            mode: go_mode(kind, found.st_mode),
            uid: found.st_uid,
            gid: found.st_gid,
            size: if kind == FileType::RegularFile { found.st_size } else { 0 },
            modified_ns: found.st_mtime * 1_000_000_000 + i64::try_from(found.st_mtime_nsec).unwrap_or(0),
            link_name: match kind {
                FileType::Symlink => fs::read_link_at(&directory, &*name)?.to_string_lossy().into_owned(),
                _ => String::new(),
            },
            device_major: device_major.into(),
            device_minor: device_minor.into(),
            ..Stat::default()
        };
        files.push(stat);
        if kind == FileType::Directory {
            walk(fs::open_dir_at(&directory, &*name)?, &path, files)?;
        }
    }
    Ok(())
}

fn go_mode(kind: FileType, raw: u32) -> u32 {
    let kind = match kind {
        FileType::Directory => mode::DIRECTORY,
        FileType::Symlink => mode::SYMLINK,
        FileType::Fifo => mode::NAMED_PIPE,
        FileType::Socket => mode::SOCKET,
        FileType::CharacterDevice => mode::DEVICE | mode::CHARACTER_DEVICE,
        FileType::BlockDevice => mode::DEVICE,
        _ => 0,
    };
    SPECIAL.iter().filter(|(_, bit)| raw & bit != 0).fold(kind | raw & 0o777, |all, (bit, _)| all | bit)
}

/// The text of a received file; `None` when there is none. Links lead nowhere outside of `directory`.
///
/// # Errors
/// It cannot be read, or is no text.
pub fn text(directory: &Path, name: &str) -> Result<Option<String>, Status> {
    let wrong = |reason: String| failure(code::UNKNOWN, format!("cannot read {name}: {reason}"));
    let root = fs::open_dir(directory).map_err(|error| wrong(error.to_string()))?;
    let file = match fs::open_in_root(root, name, OFlags::RDONLY | OFlags::NONBLOCK, 0) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        file => File::from(file.map_err(|error| wrong(error.to_string()))?),
    };
    let mut text = String::new();
    let read =
        file.take(TEXT_LIMIT + 1).read_to_string(&mut text).map_err(|error| wrong(error.to_string()))?;
    match read as u64 {
        ..=TEXT_LIMIT => Ok(Some(text)),
        _ => Err(wrong(format!("it is longer than {TEXT_LIMIT} bytes"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_a_client_sends_leads_outside() {
        let directory = std::env::temp_dir().join(format!("hull-files-{}", std::process::id()));
        let (inside, outside) = (directory.join("in"), directory.join("out"));
        std::fs::create_dir_all(&inside).unwrap();
        std::fs::create_dir_all(&outside).unwrap();
        let root = fs::open_dir(inside.as_path()).unwrap();
        let mut receiver = Receiver {
            root,
            waiting: VecDeque::new(),
            writing: HashMap::new(),
            directories: Vec::new(),
            bytes: 0,
        };
        let mut make = |path: &str, mode: u32, link: &str| {
            let stat = Stat { path: path.to_owned(), mode, link_name: link.to_owned(), ..Stat::default() };
            receiver.make(stat, 0)
        };
        make("up", mode::SYMLINK, "../out").unwrap();
        make("plain", 0o644, "").unwrap();
        make("again", 0o644, "plain").unwrap();
        for (path, mode, link) in [
            ("", 0o644, ""),
            ("..", mode::DIRECTORY, ""),
            ("../out/x", 0o644, ""),
            ("/etc/x", 0o644, ""),
            ("a/../../out/x", 0o644, ""),
            ("up/x", 0o644, ""),
            ("up/x", mode::DIRECTORY, ""),
            ("up", 0o644, ""),
            ("plain", 0o644, ""),
            ("linked", 0o644, "up/x"),
            ("linked", 0o644, "../out"),
            ("linked", 0o644, "/etc/passwd"),
            ("device", mode::DEVICE, ""),
        ] {
            assert!(make(path, mode, link).is_err(), "{path:?} {mode:o} {link:?}");
        }
        assert_eq!(text(&inside, "plain"), Ok(Some(String::new())));
        assert_eq!(text(&inside, "none"), Ok(None));
        std::fs::write(outside.join("secret"), "x").unwrap();
        std::os::unix::fs::symlink(outside.join("secret"), inside.join("Dockerfile")).unwrap();
        assert_eq!(text(&inside, "Dockerfile"), Ok(None));
        assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 1);
        std::fs::remove_dir_all(&directory).unwrap();
    }
}
