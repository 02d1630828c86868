//! What is mounted into a container.

use super::Labels;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::PathBuf;

/// One mount; later mounts on the same target replace earlier ones of the image, and are an error among themselves.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Mount {
    /// Absolute path in the container.
    pub target: String,
    /// What is mounted there.
    pub kind: MountKind,
    /// Without writing.
    pub read_only: bool,
    /// Which flag asked for it; decides whether a missing bind source is created, and how inspect shows it.
    pub syntax: MountSyntax,
}

/// Where the mounted tree comes from.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum MountKind {
    /// A path of the host.
    Bind {
        /// Absolute host path.
        source: PathBuf,
        /// Propagation; `rprivate` when absent.
        propagation: Option<BindPropagation>,
        /// Whether mounts below the source come along.
        recursive: bool,
        /// Create a missing source directory (`-v` does, `--mount` only when asked).
        create_source: bool,
        /// Whose its files are.
        #[serde(default)]
        owners: Owners,
    },
    /// A named volume, created when missing; anonymous without a name.
    Volume {
        /// Volume name; `None` makes an anonymous volume.
        name: Option<String>,
        /// Do not fill an empty volume from the image.
        no_copy: bool,
        /// Mount this directory of the volume instead of its root.
        subpath: Option<String>,
        /// Driver; only `local`.
        driver: Option<String>,
        /// Driver options for a volume that this mount creates.
        driver_opts: Labels,
        /// Labels for a volume that this mount creates.
        labels: Labels,
        /// Whose its files are.
        #[serde(default)]
        owners: Owners,
    },
    /// Memory.
    Tmpfs {
        /// Upper bound; half of memory when absent.
        size_bytes: Option<u64>,
        /// Mode of its root; 1777 when absent.
        mode: Option<u32>,
        /// Further options of `--tmpfs`, such as `exec` or `uid=33`.
        options: Vec<String>,
        /// All that `--tmpfs` was given, for inspect.
        #[serde(default)]
        given: String,
    },
}

/// Whose the files of a bind or a volume are, for the container and for the host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Owners {
    /// The same ids inside as on the disk: root's files are root's.
    #[default]
    AsTheyAre,
    /// The container's root is on the disk who owns the source; the others are as they are, and the disk's root is nobody.
    OfSource,
    /// As these ranges say. Who is in none of them owns nothing, and what he owns on the disk is nobody's.
    Mapped {
        /// Users.
        uids: Vec<IdRange>,
        /// Groups.
        gids: Vec<IdRange>,
    },
}

/// Ids of a container and what they are on the disk; written `inside-on_disk-count`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub struct IdRange {
    pub inside: u32,
    pub on_disk: u32,
    pub count: u32,
}

impl fmt::Display for IdRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}-{}", self.inside, self.on_disk, self.count)
    }
}

/// What follows `idmap=`.
impl fmt::Display for Owners {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |map: &[IdRange]| map.iter().map(ToString::to_string).collect::<Vec<_>>().join("#");
        match self {
            Self::AsTheyAre => Ok(()),
            Self::OfSource => f.write_str("owner"),
            Self::Mapped { uids, gids } => write!(f, "uids={};gids={}", list(uids), list(gids)),
        }
    }
}

/// Mount propagation of a bind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum BindPropagation {
    Private,
    RPrivate,
    Shared,
    RShared,
    Slave,
    RSlave,
}

impl BindPropagation {
    /// Whether what is mounted below it in the container appears on the host.
    pub fn is_shared(self) -> bool {
        matches!(self, Self::Shared | Self::RShared)
    }
}

/// The flag a mount was asked with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum MountSyntax {
    /// `-v`: `HostConfig.Binds`.
    #[default]
    Volume,
    /// `--mount`: `HostConfig.Mounts`.
    Mount,
    /// `--tmpfs`: `HostConfig.Tmpfs`.
    Tmpfs,
    /// VOLUME of the image.
    Image,
    /// `--volumes-from`.
    VolumesFrom,
}
