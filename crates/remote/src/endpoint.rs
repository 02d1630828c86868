//! Where an engine is.

use std::fmt;
use std::path::{Path, PathBuf};

use diag::{Class, Diagnose};
use image::Host;

/// The port where Docker's engine listens by custom, with TLS.
const PORT: u16 = 2376;

/// An engine, and how it is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// `unix:///path`
    Unix(PathBuf),
    /// `tcp://host[:port]`, always with TLS by the `ca.pem`, `cert.pem` and `key.pem` of a directory.
    Tcp { host: String, port: u16, certificates: PathBuf },
    /// `ssh://[user@]host[:port]`
    Ssh(Host),
}

/// A text that is no endpoint.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is no address of an engine: expected unix:///path, tcp://host:port or ssh://[user@]host")]
pub struct EndpointError(String);

impl Diagnose for EndpointError {
    fn class(&self) -> Class {
        Class::Invalid
    }
}

impl Endpoint {
    /// The engine at the address `text`, to which `certificates` belong if it is one for TLS.
    ///
    /// # Errors
    /// [`EndpointError`].
    pub fn parse(text: &str, certificates: &Path) -> Result<Self, EndpointError> {
        let wrong = || EndpointError(text.to_owned());
        match text.split_once("://").ok_or_else(wrong)? {
            ("unix", path) if path.starts_with('/') => Ok(Self::Unix(path.into())),
            ("tcp", rest) => {
                let (host, port) = match rest.rsplit_once(':') {
                    Some((host, port)) if !port.contains(']') => (host, port.parse().map_err(|_| wrong())?),
                    _ => (rest, PORT),
                };
                let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
                match host.is_empty() || host.contains(['/', '@']) {
                    true => Err(wrong()),
                    false => Ok(Self::Tcp { host, port, certificates: certificates.to_owned() }),
                }
            }
            ("ssh", rest) if !rest.contains('/') => rest.parse().map(Self::Ssh).map_err(|()| wrong()),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unix(path) => write!(f, "unix://{}", path.display()),
            Self::Tcp { host, port, .. } if host.contains(':') => write!(f, "tcp://[{host}]:{port}"),
            Self::Tcp { host, port, .. } => write!(f, "tcp://{host}:{port}"),
            Self::Ssh(Host { destination, port: None }) => write!(f, "ssh://{destination}"),
            Self::Ssh(Host { destination, port: Some(port) }) => write!(f, "ssh://{destination}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses() {
        let check = |text: &str, expected: Endpoint| {
            let parsed = Endpoint::parse(text, Path::new("/c")).unwrap();
            assert_eq!(parsed, expected);
            assert_eq!(Endpoint::parse(&parsed.to_string(), Path::new("/c")).unwrap(), expected);
        };
        let tcp = |host: &str, port| Endpoint::Tcp { host: host.into(), port, certificates: "/c".into() };
        check("unix:///run/x.sock", Endpoint::Unix("/run/x.sock".into()));
        check("tcp://a.example", tcp("a.example", 2376));
        check("tcp://[::1]:1", tcp("::1", 1));
        check("ssh://me@there:22", Endpoint::Ssh(Host { destination: "me@there".into(), port: Some(22) }));
        for text in [
            "",
            "/run/x.sock",
            "unix://x",
            "tcp://",
            "tcp://:1",
            "tcp://a:b",
            "tcp://a/b",
            "ssh://",
            "ssh://-oProxyCommand=x",
            "ssh://a/b",
            "http://a",
            "fd://3",
        ] {
            assert!(Endpoint::parse(text, Path::new("/c")).is_err(), "{text}");
        }
    }
}
