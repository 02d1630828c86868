//! Why a process could not be started in a container.

use std::io;

use cgroup::CgroupError;
use diag::{Class, Diagnose};

use crate::process::Exit;
use crate::seccomp::SeccompError;

/// The failure of [`create`](crate::create), [`start`](crate::Created::start) or [`exec`](crate::exec).
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// The specification asks for something this runtime does not do.
    #[error("{what} is not supported")]
    Unsupported { what: String },
    /// The specification contradicts itself or the system.
    #[error("invalid {what}: {why}")]
    Invalid { what: String, why: String },
    /// The process could not be cloned.
    #[error("cannot create a process for container {id}")]
    Clone { id: String, source: io::Error },
    /// The caller's program could be written through the container; see [`seal`](crate::seal).
    #[error("refusing to enter container {id} with a program that it could overwrite")]
    Unsealed { id: String },
    /// The process could not be put into the container's control group.
    #[error("cannot put container {id} into its control group")]
    Cgroup { id: String, source: CgroupError },
    #[error("cannot use the seccomp profile of container {id}")]
    Seccomp { id: String, source: SeccompError },
    /// The program does not exist; the text is Docker's.
    #[error("{text}")]
    NotFound { text: String },
    /// The program exists but cannot be executed; the text is Docker's.
    #[error("{text}")]
    NotExecutable { text: String },
    #[error("unable to find user {name}: no matching entries in passwd file")]
    NoSuchUser { name: String },
    #[error("unable to find group {name}: no matching entries in group file")]
    NoSuchGroup { name: String },
    /// A hook failed.
    #[error("{text}")]
    Hook { text: String },
    /// The process that was to start the container is gone.
    #[error("nobody is there any more to start the container")]
    Abandoned,
    /// A step inside the container failed.
    #[error("cannot {step} {object}", step = step.phrase())]
    Setup { step: Step, object: String, source: io::Error },
    /// The process ended without saying why, most likely killed.
    #[error("container {id} ended while it was being set up ({how})")]
    Died { id: String, how: String },
}

impl LaunchError {
    pub(crate) fn died(id: &str, exit: io::Result<Exit>) -> Self {
        let how = match exit {
            Ok(Exit::Code(code)) => format!("status {code}"),
            Ok(Exit::Signal(signal)) => format!("signal {signal}"),
            Err(error) => error.to_string(),
        };
        Self::Died { id: id.to_owned(), how }
    }
}

/// Declares [`Step`] with the verb phrase its error starts with; the order is the wire number.
macro_rules! steps {
    ($($name:ident: $phrase:literal,)*) => {
        /// What was being done inside the container when it failed.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Step { $(#[doc = $phrase] $name,)* }

        impl Step {
            const ALL: &[Step] = &[$(Step::$name,)*];

            fn phrase(self) -> &'static str {
                match self { $(Step::$name => $phrase,)* }
            }
        }
    };
}

steps! {
    Join: "join the container's",
    Cgroup: "enter the control group of",
    Isolate: "separate the mounts of",
    Overlay: "mount the root filesystem from",
    Root: "switch to the root filesystem",
    Mount: "mount",
    Source: "open the mount source",
    Target: "create the mount point",
    Device: "create the device",
    Protect: "protect",
    Hostname: "set the name",
    Sysctl: "set sysctl",
    Limit: "set",
    Keyring: "create the session keyring of",
    Terminal: "open a terminal in",
    Stdio: "connect",
    WorkDir: "create the working directory",
    ChangeDir: "chdir to cwd",
    Account: "read",
    Identity: "become",
    Rights: "set the",
    Seccomp: "install the seccomp filter of",
    Reaper: "start the init process of",
    Exec: "execute",
    Channel: "talk to",
    IdMaps: "make the user namespace of",
    MapOwners: "map the owners of",
    Listener: "pass the seccomp listener to",
    NetDevice: "move the network device",
}

impl Step {
    pub(crate) fn number(self) -> u8 {
        self as u8
    }

    pub(crate) fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }
}

impl Diagnose for LaunchError {
    fn class(&self) -> Class {
        match self {
            Self::Unsupported { .. } => Class::Unsupported,
            Self::Invalid { .. } | Self::NotExecutable { .. } => Class::Invalid,
            Self::NotFound { .. } | Self::NoSuchUser { .. } | Self::NoSuchGroup { .. } => Class::NotFound,
            Self::Clone { source, .. } | Self::Setup { source, .. } => class_of(source),
            Self::Cgroup { source, .. } => source.class(),
            Self::Seccomp { source, .. } => source.class(),
            Self::Died { .. } | Self::Unsealed { .. } | Self::Hook { .. } | Self::Abandoned => {
                Class::Internal
            }
        }
    }

    fn exit_status(&self) -> Option<u8> {
        match self {
            Self::NotFound { .. } => Some(127),
            Self::NotExecutable { .. } => Some(126),
            _ => None,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Setup { step: Step::Source, object, .. } => {
                Some(format!("create {object} on the host, or mount something else"))
            }
            Self::Setup { step: Step::MapOwners, source, .. } if class_of(source) == Class::Invalid => Some(
                "use a file system that can, such as ext4, or leave out `idmap` and run with `--userns host`"
                    .to_owned(),
            ),
            Self::Cgroup { source, .. } => source.hint(),
            Self::Seccomp { source, .. } => source.hint(),
            Self::NoSuchUser { .. } | Self::NoSuchGroup { .. } => {
                Some("use a number, or a name the image's /etc/passwd and /etc/group know".to_owned())
            }
            _ => None,
        }
    }
}

fn class_of(error: &io::Error) -> Class {
    use io::ErrorKind::*;
    match error.kind() {
        NotFound | NotADirectory => Class::NotFound,
        PermissionDenied | ReadOnlyFilesystem => Class::Denied,
        InvalidInput | InvalidFilename => Class::Invalid,
        Unsupported => Class::Unsupported,
        OutOfMemory | StorageFull | QuotaExceeded | WouldBlock | ResourceBusy => Class::Unavailable,
        _ => Class::Internal,
    }
}
