//! Where a request goes: names of repositories may contain slashes, so paths are read from their end.

use oci::{Digest, DigestError};
use percent_encoding::percent_decode_str;

use super::content::{RepositoryName, Target};
use super::refusal::{Code, Refusal};

/// What a path stands for.
#[derive(Debug, PartialEq, Eq)]
pub enum Route {
    Ping,
    Catalog,
    Tags(RepositoryName),
    Manifest(RepositoryName, Target),
    Blob(RepositoryName, Digest),
    Uploads(RepositoryName),
    Upload(RepositoryName, String),
    Referrers(RepositoryName, Digest),
}

impl Route {
    /// Reads the path of a URL.
    pub fn parse(path: &str) -> Result<Self, Refusal> {
        // Nothing of the grammar needs an escape, but some clients write the colon of a digest as one.
        let path = percent_decode_str(path).decode_utf8().map_err(|_| unknown())?;
        let rest = match path.strip_prefix("/v2") {
            Some("" | "/") => return Ok(Self::Ping),
            Some(rest) => rest.strip_prefix('/').ok_or_else(unknown)?,
            None => return Err(unknown()),
        };
        if rest == "_catalog" {
            return Ok(Self::Catalog);
        }
        let (rest, last) = rest.rsplit_once('/').ok_or_else(unknown)?;
        let (before, kind) = rest.rsplit_once('/').ok_or_else(unknown)?;
        match (kind, last) {
            ("tags", "list") => Ok(Self::Tags(repository(before)?)),
            ("blobs", "uploads") => Ok(Self::Uploads(repository(before)?)),
            ("uploads", id) if before.ends_with("/blobs") => {
                let name = repository(&before[..before.len() - "/blobs".len()])?;
                Ok(if id.is_empty() { Self::Uploads(name) } else { Self::Upload(name, id.to_owned()) })
            }
            ("manifests", text) => {
                let name = repository(before)?;
                let target = Target::parse(text).ok_or_else(|| {
                    Refusal::new(Code::ManifestInvalid, format!("{text:?} is neither a tag nor a digest"))
                })?;
                Ok(Self::Manifest(name, target.map_err(|e| digest_refusal(text, &e))?))
            }
            ("blobs", text) => Ok(Self::Blob(repository(before)?, digest(text)?)),
            ("referrers", text) => Ok(Self::Referrers(repository(before)?, digest(text)?)),
            _ => Err(unknown()),
        }
    }

    /// The methods this path answers, as `Allow` lists them.
    pub fn methods(&self) -> &'static str {
        match self {
            Self::Ping | Self::Catalog | Self::Tags(_) | Self::Referrers(..) => "GET, HEAD",
            Self::Manifest(..) => "GET, HEAD, PUT, DELETE",
            Self::Blob(..) => "GET, HEAD, DELETE",
            Self::Uploads(_) => "POST",
            Self::Upload(..) => "GET, PATCH, PUT, DELETE",
        }
    }
}

/// A digest as clients write it.
pub fn digest(text: &str) -> Result<Digest, Refusal> {
    text.parse().map_err(|e| digest_refusal(text, &e))
}

fn digest_refusal(text: &str, error: &DigestError) -> Refusal {
    Refusal::new(Code::DigestInvalid, format!("{error}: {text:?}"))
}

/// A repository's name as clients write it.
pub fn repository(text: &str) -> Result<RepositoryName, Refusal> {
    RepositoryName::parse(text).ok_or_else(|| {
        let shown: String = text.chars().take(80).collect();
        Refusal::new(Code::NameInvalid, format!("{shown:?} is not a repository's name"))
    })
}

fn unknown() -> Refusal {
    Refusal::new(Code::Unsupported, "there is nothing at this path").status(404)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> RepositoryName {
        RepositoryName::parse(text).unwrap()
    }

    #[test]
    fn paths_are_read_from_their_end() {
        let digest = Digest::of(b"x");
        let check = |path: &str, expected: Route| {
            assert_eq!(Route::parse(path).unwrap_or_else(|e| panic!("{path}: {e:?}")), expected, "{path}");
        };
        check("/v2/", Route::Ping);
        check("/v2", Route::Ping);
        check("/v2/_catalog", Route::Catalog);
        check("/v2/a/b/tags/list", Route::Tags(name("a/b")));
        check("/v2/tags/list/tags/list", Route::Tags(name("tags/list")));
        check("/v2/a/manifests/v1", Route::Manifest(name("a"), Target::Tag("v1".to_owned())));
        check(&format!("/v2/a/manifests/{digest}"), Route::Manifest(name("a"), Target::Digest(digest)));
        check(&format!("/v2/a/blobs/sha256%3A{}", digest.hex()), Route::Blob(name("a"), digest));
        check("/v2/a/blobs/uploads/", Route::Uploads(name("a")));
        check("/v2/a/blobs/uploads", Route::Uploads(name("a")));
        check("/v2/a/b/blobs/uploads/x-1", Route::Upload(name("a/b"), "x-1".to_owned()));
        check(&format!("/v2/x/blobs/uploads/blobs/{digest}"), Route::Blob(name("x/blobs/uploads"), digest));
        check(&format!("/v2/a/referrers/{digest}"), Route::Referrers(name("a"), digest));
    }

    #[test]
    fn tricks_are_refused() {
        let check = |path: &str, status: u16, code: Code| {
            let refusal = Route::parse(path).unwrap_err();
            assert_eq!((refusal.http_status(), refusal.code()), (status, code), "{path}");
        };
        for path in ["/", "/v1/", "/v2x", "/v2/a", "/v2/a/tags", "/v2/a/b/c", "/v2/%ff/tags/list"] {
            check(path, 404, Code::Unsupported);
        }
        for path in [
            "/v2/../etc/tags/list",
            "/v2/%2e%2e/tags/list",
            "/v2/a%2f..%2fb/tags/list",
            "/v2//tags/list",
            "/v2/A/tags/list",
            "/v2/a%00/manifests/x",
            "/v2//blobs/uploads/",
        ] {
            check(path, 400, Code::NameInvalid);
        }
        check(&format!("/v2/{}/tags/list", "a".repeat(65000)), 400, Code::NameInvalid);
        check("/v2/a/manifests/..", 400, Code::ManifestInvalid);
        check("/v2/a/manifests/sha256:00", 400, Code::DigestInvalid);
        check("/v2/a/blobs/sha512:00", 400, Code::DigestInvalid);
        check("/v2/a/blobs/passwd", 400, Code::DigestInvalid);
    }
}
