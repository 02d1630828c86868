//! `RUN --mount`: what the mounts mean for the key, and what they are when the step runs.

use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use oci::Digest;
use oci::runtime::Mount as SpecMount;
use sys::fs::{FileLock, LockKind};

use crate::agent::Agent;
use crate::copy::{self, Placement};
use crate::dockerfile::{Mount, MountKind, Sharing};
use crate::error::StepError;
use crate::filesystem::Origin;
use crate::ignore::Ignore;
use crate::layer::Writer;
use crate::metadata::StageImage;
use crate::select::{Options, select};
use crate::solve::Solve;
use crate::stop::Stop;
use crate::tree::{Format, Last, Tree, display};

/// Tells programs where their SSH agent is.
const AUTH_SOCK: &str = "SSH_AUTH_SOCK=";

/// A mount with its words expanded and its source known.
pub struct Planned<'a> {
    pub target: String,
    pub what: What<'a>,
}

/// What is mounted.
pub enum What<'a> {
    Files {
        origin: Origin<'a>,
        source: String,
        writable: bool,
    },
    Cache {
        id: String,
        sharing: Sharing,
        read_only: bool,
        mode: u32,
        uid: u32,
        gid: u32,
    },
    Tmpfs {
        size_bytes: Option<u64>,
    },
    Secret {
        id: String,
        required: bool,
        env: Option<String>,
        file: bool,
        mode: u32,
        uid: u32,
        gid: u32,
    },
    /// The socket of an SSH agent.
    Ssh {
        id: String,
        required: bool,
        mode: u32,
        uid: u32,
        gid: u32,
    },
    /// A heredoc that is a script.
    Script {
        name: String,
        content: String,
    },
}

/// Expands and checks the mounts of one RUN.
///
/// # Errors
/// A word that does not expand, a source that does not exist, a required secret that was not given.
pub fn plan<'a>(
    solve: &Solve<'a>,
    stage: usize,
    image: &StageImage,
    mounts: &[Mount],
) -> Result<Vec<Planned<'a>>, StepError> {
    // BuildKit numbers agents, not mounts.
    let agents_before =
        |at: usize| mounts[..at].iter().filter(|mount| matches!(mount.kind, MountKind::Ssh { .. })).count();
    mounts
        .iter()
        .enumerate()
        .map(|(at, mount)| plan_one(solve, stage, image, mount, agents_before(at)))
        .collect()
}

fn plan_one<'a>(
    solve: &Solve<'a>,
    stage: usize,
    image: &StageImage,
    mount: &Mount,
    index: usize,
) -> Result<Planned<'a>, StepError> {
    let expand = |word: &str| image.expand(word).map_err(StepError::Invalid);
    let target = mount.target.as_deref().map(expand).transpose()?;
    let absolute = |target: Option<String>| image.absolute(&target.unwrap_or_default());
    let what = match &mount.kind {
        MountKind::Bind { from, source, writable } => What::Files {
            origin: solve.origin(stage, from.as_deref())?,
            source: expand(source)?,
            writable: *writable,
        },
        MountKind::Cache { id, sharing, read_only, mode, uid, gid } => What::Cache {
            id: match id {
                Some(id) => expand(id)?,
                None => absolute(target.clone()),
            },
            sharing: *sharing,
            read_only: *read_only,
            mode: *mode,
            uid: *uid,
            gid: *gid,
        },
        MountKind::Tmpfs { size_bytes } => What::Tmpfs { size_bytes: *size_bytes },
        MountKind::Secret { id, env, required, mode, uid, gid } => {
            let id = match (id, &target) {
                (Some(id), _) => expand(id)?,
                (None, Some(target)) => display(Path::new(target).file_name().unwrap_or_default().as_ref()),
                (None, None) => String::new(),
            };
            let file = env.is_none() || target.is_some();
            let target = Some(target.unwrap_or_else(|| format!("/run/secrets/{id}")));
            let env = env.clone();
            let what = What::Secret { id, required: *required, env, file, mode: *mode, uid: *uid, gid: *gid };
            return Ok(Planned { target: absolute(target), what });
        }
        MountKind::Ssh { id, required, mode, uid, gid } => {
            let id = id.as_deref().map(expand).transpose()?.unwrap_or_else(|| "default".to_owned());
            let target = Some(target.unwrap_or_else(|| format!("/run/buildkit/ssh_agent.{index}")));
            let what = What::Ssh { id, required: *required, mode: *mode, uid: *uid, gid: *gid };
            return Ok(Planned { target: absolute(target), what });
        }
    };
    Ok(Planned { target: absolute(target), what })
}

impl Planned<'_> {
    /// Everything about the mount that the step's result depends on.
    ///
    /// # Errors
    /// A source that does not exist or cannot be read.
    pub fn key(&self, solve: &Solve<'_>) -> Result<String, StepError> {
        let target = &self.target;
        Ok(match &self.what {
            What::Files { origin, source, writable } => {
                let none = Ignore::default();
                let options = Options { exclude: &none, parents: false };
                let (digest, _) = solve.digest(origin, std::slice::from_ref(source), options)?;
                format!("bind {target} {writable} {digest}")
            }
            What::Cache { id, sharing, read_only, mode, uid, gid } => {
                format!("cache {target} {id} {sharing:?} {read_only} {mode:o} {uid} {gid}")
            }
            What::Tmpfs { size_bytes } => format!("tmpfs {target} {size_bytes:?}"),
            What::Secret { env, file, mode, uid, gid, .. } => {
                format!("secret {target} {env:?} {file} {mode:o} {uid} {gid}")
            }
            What::Ssh { id, mode, uid, gid, .. } => format!("ssh {target} {id} {mode:o} {uid} {gid}"),
            What::Script { name, content } => format!("script {target} {name} {content}"),
        })
    }
}

/// Mounts made real for one run of a step.
#[derive(Default)]
pub struct Realised {
    pub mounts: Vec<SpecMount>,
    pub env: Vec<String>,
    /// Cache mounts in use by nobody else.
    _locks: Vec<FileLock>,
    _agents: Vec<Agent>,
}

/// Where a step may put things: `scratch` on the data root, `bundle` on the run root.
#[derive(Clone, Copy)]
pub struct Places<'a> {
    pub scratch: &'a Path,
    pub bundle: &'a Path,
}

/// Makes what the mounts show.
///
/// # Errors
/// What cannot be read or made.
pub fn realise(
    solve: &Solve<'_>,
    planned: &[Planned<'_>],
    places: Places<'_>,
) -> Result<Realised, StepError> {
    let mut real = Realised::default();
    for (index, mount) in planned.iter().enumerate() {
        let target = Path::new(&mount.target);
        match &mount.what {
            What::Files { origin, source, writable } => {
                let scratch = places.scratch.join(format!("mount-{index}"));
                real.mounts.push(files(origin, source, *writable, target, &scratch, &solve.stop)?);
            }
            What::Cache { id, sharing, read_only, mode, uid, gid } => {
                let (path, lock) =
                    cache_dir(solve, id, *sharing, Owner { mode: *mode, uid: *uid, gid: *gid })?;
                real._locks.extend(lock);
                real.mounts.push(mapped(bind(&path, target, *read_only)));
            }
            What::Tmpfs { size_bytes } => {
                let mut options = vec!["nosuid".to_owned(), "nodev".to_owned(), "mode=1777".to_owned()];
                options.extend(size_bytes.map(|size| format!("size={size}")));
                real.mounts.push(SpecMount {
                    destination: target.to_owned(),
                    r#type: Some("tmpfs".to_owned()),
                    source: Some("tmpfs".into()),
                    options,
                    ..SpecMount::default()
                });
            }
            What::Secret { id, required, env, file, mode, uid, gid } => {
                let bytes = solve.options.attachments.secret(id).map_err(StepError::io("read secret", id))?;
                let bytes = match bytes {
                    Some(bytes) => bytes,
                    None if *required => {
                        return Err(StepError::NotFound { what: "secret", name: id.clone() });
                    }
                    None => continue,
                };
                if let Some(name) = env {
                    real.env.push(format!("{name}={}", String::from_utf8_lossy(&bytes)));
                }
                if *file {
                    let path = places.bundle.join(format!("secret-{index}"));
                    let write = || -> io::Result<()> {
                        fs::write(&path, b"")?;
                        let file = fs::OpenOptions::new().write(true).open(&path)?;
                        sys::fs::chown(file.as_fd(), *uid, *gid)?;
                        sys::fs::chmod(file.as_fd(), *mode)?;
                        io::Write::write_all(&mut &file, &bytes)
                    };
                    write().map_err(StepError::io("write", path.display()))?;
                    real.mounts.push(bind(&path, target, true));
                }
            }
            What::Ssh { id, required, mode, uid, gid } => {
                let attachments = &solve.options.attachments;
                match attachments.ssh_agent(id).map_err(StepError::io("reach SSH agent", id))? {
                    Some(_) => {}
                    None if *required => {
                        return Err(StepError::NotFound { what: "SSH agent", name: id.clone() });
                    }
                    None => continue,
                }
                let path = places.bundle.join(format!("agent-{index}"));
                let agent = Agent::serve(&path, id, attachments.clone());
                let own = |path: &Path| -> io::Result<()> {
                    let directory = sys::fs::open_dir(places.bundle)?;
                    let name = path.file_name().unwrap_or_default();
                    sys::fs::chown_at(&directory, name, *uid, *gid)?;
                    sys::fs::chmod_at(&directory, name, *mode)
                };
                real._agents.push(agent.map_err(StepError::io("listen on", path.display()))?);
                own(&path).map_err(StepError::io("make", path.display()))?;
                if !real.env.iter().any(|entry| entry.starts_with(AUTH_SOCK)) {
                    real.env.push(format!("{AUTH_SOCK}{}", mount.target));
                }
                real.mounts.push(bind(&path, target, false));
            }
            What::Script { name, content } => {
                let path = places.bundle.join(format!("script-{index}"));
                let write = || -> io::Result<()> {
                    fs::create_dir(&path)?;
                    fs::write(path.join(name), content)?;
                    sys::fs::chmod(fs::File::open(path.join(name))?, 0o755)
                };
                write().map_err(StepError::io("write", path.display()))?;
                real.mounts.push(bind(&path, target, true));
            }
        }
    }
    Ok(real)
}

fn bind(source: &Path, destination: &Path, read_only: bool) -> SpecMount {
    SpecMount {
        destination: destination.to_owned(),
        r#type: Some("bind".to_owned()),
        source: Some(source.to_owned()),
        options: vec!["bind".to_owned(), if read_only { "ro" } else { "rw" }.to_owned()],
        ..SpecMount::default()
    }
}

/// A mount whose files show the owners they have, whatever user ids the step runs with.
fn mapped(mut mount: SpecMount) -> SpecMount {
    mount.options.push("idmap".to_owned());
    mount
}

/// Files of the context are copied, so that they are what the key says; layers are mounted where they are.
fn files(
    origin: &Origin<'_>,
    source: &str,
    writable: bool,
    target: &Path,
    scratch: &Path,
    stop: &Stop,
) -> Result<SpecMount, StepError> {
    let io = |path: &Path| StepError::io("make", path.display().to_string());
    // CVE-2024-23651, -23652: the source is resolved inside its tree, by descriptors, and what is mounted is a layer's
    // immutable file or our own copy.
    let resolved = origin.tree().resolve(Path::new(source), Last::Follow);
    let entry = resolved.map_err(StepError::io("read", source))?.entry;
    let entry = entry.ok_or_else(|| StepError::NotFound { what: "mount source", name: source.to_owned() })?;
    let lower = if origin.is_context() {
        let copy_dir = scratch.join("files");
        fs::create_dir_all(&copy_dir).map_err(io(&copy_dir))?;
        let none = Ignore::default();
        let nothing = Tree::open(&[], Format::Plain).map_err(io(&copy_dir))?;
        let selection =
            select(origin.source(), &[source.to_owned()], Options { exclude: &none, parents: false })?;
        let mut writer = Writer::new(&copy_dir, &nothing).map_err(io(&copy_dir))?;
        let placement = Placement {
            destination: if entry.is_dir() { "/" } else { "/file" }.to_owned(),
            ..Placement::default()
        };
        copy::copy(&mut writer, origin.source(), &selection, &placement, stop)?;
        writer.finish().map_err(io(&copy_dir))?;
        vec![if entry.is_dir() { copy_dir } else { copy_dir.join("file") }]
    } else {
        origin.tree().host_paths(&entry).map_err(StepError::io("read", source))?
    };
    match lower.as_slice() {
        [path] if !writable => Ok(mapped(bind(path, target, true))),
        [path] if !entry.is_dir() => {
            // Writes to the one file go to a copy of it.
            fs::create_dir_all(scratch).map_err(io(scratch))?;
            let copy = scratch.join("writable");
            fs::copy(path, &copy).map_err(io(&copy))?;
            Ok(mapped(bind(&copy, target, false)))
        }
        _ => {
            let mut options: Vec<String> =
                lower.iter().map(|path| format!("lowerdir+={}", path.display())).collect();
            if writable {
                for name in ["upper", "work"] {
                    let dir = scratch.join(name);
                    fs::create_dir_all(&dir).map_err(io(&dir))?;
                    options.push(format!("{name}dir={}", dir.display()));
                }
                options.push("volatile".to_owned());
            } else {
                options.push("ro".to_owned());
            }
            Ok(SpecMount {
                destination: target.to_owned(),
                r#type: Some("overlay".to_owned()),
                source: Some("overlay".into()),
                options,
                ..SpecMount::default()
            })
        }
    }
}

#[derive(Clone, Copy)]
struct Owner {
    mode: u32,
    uid: u32,
    gid: u32,
}

/// The directory of a cache mount and, unless it is shared, the hold on it.
fn cache_dir(
    solve: &Solve<'_>,
    id: &str,
    sharing: Sharing,
    owner: Owner,
) -> Result<(PathBuf, Option<FileLock>), StepError> {
    let base = crate::workspace::cache_mounts(solve.store).join(Digest::of(id.as_bytes()).hex());
    fs::create_dir_all(&base).map_err(StepError::io("make", base.display()))?;
    let mut number = 0;
    loop {
        let path = base.join(format!("{number}"));
        let lock_path = base.join(format!("{number}.lock"));
        let lock = match sharing {
            Sharing::Shared => None,
            _ => {
                let lock = FileLock::try_acquire(&lock_path, LockKind::Exclusive)
                    .map_err(StepError::io("lock", lock_path.display()))?;
                match (lock, sharing) {
                    (None, Sharing::Private) => {
                        number += 1;
                        continue;
                    }
                    (None, _) => {
                        if solve.stop.is_set() {
                            return Err(StepError::Cancelled);
                        }
                        std::thread::sleep(Duration::from_millis(20));
                        continue;
                    }
                    (lock, _) => lock,
                }
            }
        };
        match fs::create_dir(&path) {
            Ok(()) => {
                let own = || -> io::Result<()> {
                    let dir = sys::fs::open_dir(path.as_path())?;
                    sys::fs::chown(&dir, owner.uid, owner.gid)?;
                    sys::fs::chmod(&dir, owner.mode)
                };
                own().map_err(StepError::io("make", path.display()))?;
            }
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(StepError::io("make", path.display())(error)),
        }
        return Ok((path, lock));
    }
}
