//! Places images are copied from and to, as users write them; the names are those of skopeo where it has them.

use std::path::PathBuf;
use std::str::FromStr;

use oci::{Reference, ReferenceError};

/// One end of a copy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// `docker://registry/repository:tag`
    Registry(Reference),
    /// `hull://name`, or the name alone.
    Local(String),
    /// `oci:directory[:name]`
    Layout { directory: PathBuf, name: Option<String> },
    /// `oci-archive:file[:name]`
    OciArchive { file: PathBuf, name: Option<String> },
    /// `docker-archive:file[:name]`
    DockerArchive { file: PathBuf, name: Option<String> },
    /// `ssh://[user@]host[:port]/name`
    Remote { host: Host, reference: Reference },
}

/// Another host, as ssh knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    pub destination: String,
    pub port: Option<u16>,
}

/// A text that is no place.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    #[error("{place:?} names no image")]
    Reference { place: String, source: ReferenceError },
    #[error("{0:?} names no file or directory")]
    Path(String),
    #[error("{0:?} is no ssh://[user@]host[:port]/image")]
    Host(String),
    #[error(
        "unknown kind of place {0:?}: there are docker://, hull://, ssh://, oci:, oci-archive: and docker-archive:"
    )]
    Kind(String),
}

impl FromStr for Place {
    type Err = PlaceError;

    fn from_str(text: &str) -> Result<Self, PlaceError> {
        let reference = |name: &str| {
            Reference::parse(name).map_err(|source| PlaceError::Reference { place: text.to_owned(), source })
        };
        if let Some((kind, rest)) = text.split_once("://") {
            return match kind {
                "docker" => reference(rest).map(Self::Registry),
                "hull" => Ok(Self::Local(rest.to_owned())),
                "ssh" => {
                    let (host, name) =
                        rest.split_once('/').ok_or_else(|| PlaceError::Host(text.to_owned()))?;
                    let host = host.parse().map_err(|()| PlaceError::Host(text.to_owned()))?;
                    Ok(Self::Remote { host, reference: reference(name)? })
                }
                other => Err(PlaceError::Kind(other.to_owned())),
            };
        }
        let path = |rest: &str| {
            let (path, name) = match rest.split_once(':') {
                Some((path, name)) => (path, Some(name.to_owned()).filter(|name| !name.is_empty())),
                None => (rest, None),
            };
            match path {
                "" => Err(PlaceError::Path(text.to_owned())),
                path => Ok((PathBuf::from(path), name)),
            }
        };
        match text.split_once(':') {
            Some(("oci", rest)) => path(rest).map(|(directory, name)| Self::Layout { directory, name }),
            Some(("oci-archive", rest)) => path(rest).map(|(file, name)| Self::OciArchive { file, name }),
            Some(("docker-archive", rest)) => {
                path(rest).map(|(file, name)| Self::DockerArchive { file, name })
            }
            _ => Ok(Self::Local(text.to_owned())),
        }
    }
}

impl FromStr for Host {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (destination, port) = match text.rsplit_once(':') {
            Some((destination, port)) if !port.contains(']') => {
                (destination, Some(port.parse().map_err(|_| ())?))
            }
            _ => (text, None),
        };
        // ssh would take one that begins with a dash for an option.
        match destination.is_empty() || destination.starts_with('-') {
            true => Err(()),
            false => Ok(Self { destination: destination.to_owned(), port }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places() {
        let check =
            |text: &str, expected: Place| assert_eq!(text.parse::<Place>().unwrap(), expected, "{text}");
        let name = |text: &str| Some(text.to_owned());
        check("docker://busybox", Place::Registry(Reference::parse("busybox").unwrap()));
        check("busybox:1", Place::Local("busybox:1".to_owned()));
        check("hull://a/b", Place::Local("a/b".to_owned()));
        check("oci:dir", Place::Layout { directory: "dir".into(), name: None });
        check("oci:/a/dir:tag", Place::Layout { directory: "/a/dir".into(), name: name("tag") });
        check(
            "oci-archive:a.tar:r.io/a:1",
            Place::OciArchive { file: "a.tar".into(), name: name("r.io/a:1") },
        );
        check("docker-archive:a.tar", Place::DockerArchive { file: "a.tar".into(), name: None });
        let host = Host { destination: "me@there".to_owned(), port: Some(2222) };
        check("ssh://me@there:2222/app", Place::Remote { host, reference: Reference::parse("app").unwrap() });
        for text in
            ["docker://", "docker://A b", "ssh://host", "ssh://-oProxyCommand=x/app", "oci:", "ftp://x"]
        {
            assert!(text.parse::<Place>().is_err(), "{text}");
        }
    }
}
