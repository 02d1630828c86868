//! Why an ordinary user cannot run hull here.

use std::io;
use std::path::PathBuf;

use diag::{Class, Diagnose};

#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum HomeError {
    #[error("hull without root needs the program `{program}`, which is not installed")]
    Program { program: &'static str, package: &'static str },
    #[error("user {user} has no {what} in {file}")]
    NoIds { user: String, what: &'static str, file: &'static str },
    #[error("{program} cannot give user {user} the ids of {file}: {said}")]
    Map { program: &'static str, user: String, file: &'static str, said: String },
    #[error("cannot make a user namespace")]
    Namespaces { source: io::Error },
    #[error("cannot {action} {}", path.display())]
    Place { action: &'static str, path: PathBuf, source: io::Error },
    #[error("{} belongs to another user, or others may write to it", path.display())]
    Shared { path: PathBuf },
    #[error("cannot {action} the namespaces of this user's containers")]
    Home { action: &'static str, source: io::Error },
    #[error("cannot go to the working directory {} in the namespaces of this user's containers", path.display())]
    Directory { path: PathBuf, source: io::Error },
    /// What the keeper says, in its own words.
    #[error("{message}")]
    Keeper { message: String, hint: Option<String> },
}

impl Diagnose for HomeError {
    fn class(&self) -> Class {
        match self {
            Self::Program { .. } | Self::NoIds { .. } | Self::Keeper { .. } => Class::Unsupported,
            Self::Map { .. } | Self::Shared { .. } => Class::Denied,
            Self::Namespaces { .. } => Class::Unsupported,
            Self::Place { source, .. } | Self::Home { source, .. } | Self::Directory { source, .. } => {
                Class::of_io(source)
            }
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Program { package, .. } => {
                Some(format!("install it: `apt install {package}`; or run hull as root"))
            }
            Self::NoIds { user, .. } if user.bytes().all(|byte| byte.is_ascii_digit()) => Some(format!(
                "let root add the line `{user}:100000:65536` to /etc/subuid and /etc/subgid: a user who is not in /etc/passwd \
                 is looked for by number"
            )),
            Self::NoIds { user, .. } => Some(format!(
                "let root give it some: `usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}`"
            )),
            Self::Map { program, .. } => Some(format!(
                "{program} must be set-user-ID root or have its file capability, and the ranges must be this user's"
            )),
            Self::Namespaces { .. } => Some(
                "the kernel must let users make them: see the sysctls user.max_user_namespaces, \
                 kernel.unprivileged_userns_clone and kernel.apparmor_restrict_unprivileged_userns"
                    .to_owned(),
            ),
            Self::Shared { path } => Some(format!("remove {}, or set XDG_RUNTIME_DIR", path.display())),
            Self::Directory { .. } => Some(
                "it is on a file system that was mounted for this session alone: change to another"
                    .to_owned(),
            ),
            Self::Keeper { hint, .. } => hint.clone(),
            Self::Place { .. } | Self::Home { .. } => None,
        }
    }
}
