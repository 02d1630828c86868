//! Where clients come in.

use std::fs;
use std::io;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use diag::{Class, Diagnose};

/// Who may connect to a Unix socket.
#[derive(Clone, Debug, Default)]
pub struct SocketOptions {
    /// Its group; only root's when there is none.
    pub group: Option<u32>,
}

/// A socket that clients connect to.
pub enum Listener {
    Unix(Unix),
}

/// A Unix socket; its name goes with it.
pub struct Unix {
    listener: UnixListener,
    /// The name to remove, when it is ours.
    path: Option<PathBuf>,
}

/// There is no listening there.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("cannot listen on {}", path.display())]
    Bind { path: PathBuf, source: io::Error },
    #[error("cannot listen on {}: another server listens there", path.display())]
    Taken { path: PathBuf },
    #[error("cannot listen on {}: it exists and is no socket", path.display())]
    NoSocket { path: PathBuf },
}

impl Diagnose for ListenError {
    fn class(&self) -> Class {
        match self {
            Self::Bind { source, .. } => Class::of_io(source),
            Self::Taken { .. } | Self::NoSocket { .. } => Class::Conflict,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Taken { .. } => Some("stop it, or choose another path: `--listen unix:///path`".to_owned()),
            _ => None,
        }
    }
}

impl Listener {
    /// Listens on a Unix socket, mode 0660. A name that a killed server left is taken over.
    ///
    /// # Errors
    /// [`ListenError`].
    pub fn unix(path: &Path, options: &SocketOptions) -> Result<Self, ListenError> {
        let failed = |source| ListenError::Bind { path: path.to_owned(), source };
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent).map_err(failed)?;
        }
        match fs::symlink_metadata(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
            Ok(found) if !found.file_type().is_socket() => {
                return Err(ListenError::NoSocket { path: path.to_owned() });
            }
            Ok(_) if UnixStream::connect(path).is_ok() => {
                return Err(ListenError::Taken { path: path.to_owned() });
            }
            Ok(_) => fs::remove_file(path).map_err(failed)?,
        }
        // Under a name nobody knows until it has its owner and mode.
        let hidden = path.with_extension(format!("new-{}", std::process::id()));
        let listener = UnixListener::bind(&hidden).map_err(failed)?;
        let named = std::os::unix::fs::chown(&hidden, None, options.group)
            .and_then(|()| fs::set_permissions(&hidden, fs::Permissions::from_mode(0o660)))
            .and_then(|()| fs::rename(&hidden, path));
        if let Err(error) = named {
            let _ = fs::remove_file(&hidden);
            return Err(failed(error));
        }
        Ok(Self::Unix(Unix { listener, path: Some(path.to_owned()) }))
    }

    pub(crate) fn into_async(self) -> io::Result<Accept> {
        match self {
            Self::Unix(Unix { listener, path }) => {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::UnixListener::from_std(listener)?;
                Ok(Accept::Unix { listener, _name: Name(path) })
            }
        }
    }
}

/// A listener in the asynchronous runtime.
pub(crate) enum Accept {
    Unix { listener: tokio::net::UnixListener, _name: Name },
}

/// Removes a socket's name when nobody listens any more.
pub(crate) struct Name(Option<PathBuf>);

impl Drop for Name {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}

impl Accept {
    /// The next client.
    pub async fn accept(&self) -> io::Result<tokio::net::UnixStream> {
        match self {
            Self::Unix { listener, .. } => Ok(listener.accept().await?.0),
        }
    }
}
