//! Where clients come in.

use std::fs;
use std::io;
use std::net::TcpListener;
use std::os::unix::fs::{FileTypeExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use diag::{Class, Diagnose};
use registry::server::TlsError;
use tokio_rustls::TlsAcceptor;

use crate::scope::Scope;

/// Who may connect to a Unix socket.
#[derive(Clone, Debug, Default)]
pub struct SocketOptions {
    /// Its group; only root's when there is none.
    pub group: Option<u32>,
}

/// A socket that clients connect to, and what they may do there.
pub struct Listener {
    socket: Socket,
    scope: Scope,
}

enum Socket {
    Unix {
        listener: UnixListener,
        /// The name to remove, when it is ours.
        path: Option<PathBuf>,
    },
    Tls {
        listener: TcpListener,
        tls: TlsAcceptor,
    },
}

/// A certificate and its key, and whose signatures the certificates of clients carry; PEM files.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    pub authorities: PathBuf,
    pub cert: PathBuf,
    pub key: PathBuf,
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
    #[error("cannot serve the {number} sockets of this service's unit")]
    Inherited { number: u32, source: io::Error },
    #[error(transparent)]
    Tls(#[from] TlsError),
}

impl Diagnose for ListenError {
    fn class(&self) -> Class {
        match self {
            Self::Bind { source, .. } => Class::of_io(source),
            Self::Taken { .. } | Self::NoSocket { .. } => Class::Conflict,
            Self::Inherited { .. } => Class::Invalid,
            Self::Tls(error) => error.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Inherited { .. } => {
                Some("its `ListenStream=` has to be the path of a Unix socket".to_owned())
            }
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
    pub fn unix(path: &Path, options: &SocketOptions, scope: Scope) -> Result<Self, ListenError> {
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
        Ok(Self { socket: Socket::Unix { listener, path: Some(path.to_owned()) }, scope })
    }

    /// Takes clients of `listener` who show a certificate that `files` trust.
    ///
    /// # Errors
    /// [`ListenError::Tls`].
    pub fn tls(listener: TcpListener, files: &TlsFiles, scope: Scope) -> Result<Self, ListenError> {
        let config = registry::server::tls_config(&files.cert, &files.key, Some(&files.authorities))?;
        Ok(Self { socket: Socket::Tls { listener, tls: config.into() }, scope })
    }

    /// The Unix sockets this process was started with by systemd, sd_listen_fds(3); to be called before anything is opened.
    ///
    /// # Errors
    /// [`ListenError::Inherited`] when they are not all Unix sockets.
    pub fn inherited(scope: &Scope) -> Result<Vec<Self>, ListenError> {
        let variable = |name| std::env::var(name).ok().and_then(|value| value.parse::<u32>().ok());
        let ours = variable("LISTEN_PID") == Some(std::process::id());
        let number = variable("LISTEN_FDS").filter(|_| ours).unwrap_or(0);
        let claim = |fd| {
            let listener = UnixListener::from(sys::spawn::claim_inherited(fd)?);
            listener.local_addr()?;
            Ok(Self { socket: Socket::Unix { listener, path: None }, scope: scope.clone() })
        };
        (3..)
            .take(number as usize)
            .map(claim)
            .collect::<io::Result<_>>()
            .map_err(|source| ListenError::Inherited { number, source })
    }

    pub(crate) fn into_async(self) -> io::Result<(Accept, Scope)> {
        let accept = match self.socket {
            Socket::Unix { listener, path } => {
                listener.set_nonblocking(true)?;
                let listener = tokio::net::UnixListener::from_std(listener)?;
                Accept::Unix { listener, _name: Name(path) }
            }
            Socket::Tls { listener, tls } => {
                listener.set_nonblocking(true)?;
                Accept::Tls { listener: tokio::net::TcpListener::from_std(listener)?, tls }
            }
        };
        Ok((accept, self.scope))
    }
}

/// A listener in the asynchronous runtime.
pub(crate) enum Accept {
    Unix { listener: tokio::net::UnixListener, _name: Name },
    Tls { listener: tokio::net::TcpListener, tls: TlsAcceptor },
}

/// A client that has come.
pub(crate) enum Incoming {
    Unix(tokio::net::UnixStream),
    /// Still to show its certificate.
    Tls(tokio::net::TcpStream, TlsAcceptor),
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
    pub async fn accept(&self) -> io::Result<Incoming> {
        match self {
            Self::Unix { listener, .. } => Ok(Incoming::Unix(listener.accept().await?.0)),
            Self::Tls { listener, tls } => {
                let (stream, _) = listener.accept().await?;
                stream.set_nodelay(true)?;
                Ok(Incoming::Tls(stream, tls.clone()))
            }
        }
    }
}
