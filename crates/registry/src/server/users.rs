//! Who may use the registry: a file of users as `htpasswd -B` makes it.

use std::collections::{HashMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use axum::http::{HeaderMap, header};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use diag::{Class, Diagnose};
use oci::{Digest, Hasher};

use super::refusal::{Code, Refusal};

/// What nobody's password hashes to: a stranger is refused as slowly as a user who mistypes.
const NOBODY: &str = "$2b$10$abcdefghijklmnopqrstuuHb0BXEZ0mF3JQOWRbnK0DLqSkwGBSre";

/// The users of a registry.
pub struct Users {
    hashes: HashMap<String, String>,
    /// Passwords that were right before, each as a salted digest: bcrypt takes long, and clients ask often.
    known: Mutex<HashSet<Digest>>,
    salt: [u8; 32],
}

/// A file of users cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum UsersError {
    #[error("cannot read the users in {}", path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("line {line} of {} is not <user>:<bcrypt hash>", path.display())]
    Line { path: PathBuf, line: usize },
    #[error("there are no users in {}", .0.display())]
    Empty(PathBuf),
    #[error("cannot get random bytes")]
    Random(#[source] io::Error),
}

impl Diagnose for UsersError {
    fn class(&self) -> Class {
        match self {
            Self::Read { source, .. } | Self::Random(source) => Class::of_io(source),
            Self::Line { .. } | Self::Empty(_) => Class::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Line { .. } | Self::Empty(_) => Some("add a user with `htpasswd -B FILE USER`".to_owned()),
            _ => None,
        }
    }
}

impl Users {
    /// Reads a file with one `user:hash` per line; empty lines and comments are passed over.
    ///
    /// # Errors
    /// [`UsersError`]; hashes other than bcrypt's are refused, as they are no protection.
    pub fn read(path: &Path) -> Result<Self, UsersError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| UsersError::Read { path: path.to_owned(), source })?;
        let mut hashes = HashMap::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let malformed = || UsersError::Line { path: path.to_owned(), line: index + 1 };
            let (user, hash) = line.split_once(':').ok_or_else(malformed)?;
            if user.is_empty() || hash.parse::<bcrypt::HashParts>().is_err() {
                return Err(malformed());
            }
            hashes.insert(user.to_owned(), hash.to_owned());
        }
        if hashes.is_empty() {
            return Err(UsersError::Empty(path.to_owned()));
        }
        let mut salt = [0; 32];
        sys::random::fill(&mut salt).map_err(UsersError::Random)?;
        Ok(Self { hashes, known: Mutex::default(), salt })
    }

    /// Whether a request's `Authorization` was right before.
    pub fn knows(&self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(header::AUTHORIZATION) else { return false };
        self.known
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .contains(&self.fingerprint(value.as_bytes()))
    }

    /// Checks a request's `Authorization`; takes a while, and a processor.
    pub fn check(&self, headers: &HeaderMap) -> bool {
        let Some(value) = headers.get(header::AUTHORIZATION) else { return false };
        let Some((user, password)) = credentials(value.as_bytes()) else { return false };
        let hash = self.hashes.get(&user);
        let is_right = bcrypt::verify(password, hash.map_or(NOBODY, |hash| hash)).unwrap_or(false);
        let is_known = is_right && hash.is_some();
        if is_known {
            let fingerprint = self.fingerprint(value.as_bytes());
            self.known.lock().unwrap_or_else(PoisonError::into_inner).insert(fingerprint);
        }
        is_known
    }

    fn fingerprint(&self, header: &[u8]) -> Digest {
        let mut hasher = Hasher::new();
        hasher.update(&self.salt);
        hasher.update(header);
        hasher.finish()
    }
}

/// How a stranger is asked who he is.
pub fn who_are_you() -> Refusal {
    Refusal::new(Code::Unauthorized, "authentication required")
        .header(header::WWW_AUTHENTICATE, "Basic realm=\"hull registry\"")
        .hanging_up()
}

/// User and password of `Basic <base64>`.
fn credentials(header: &[u8]) -> Option<(String, Vec<u8>)> {
    let (scheme, encoded) = header.split_at_checked(6)?;
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return None;
    }
    let decoded = BASE64_STANDARD.decode(encoded.trim_ascii()).ok()?;
    let colon = decoded.iter().position(|&b| b == b':')?;
    Some((String::from_utf8(decoded[..colon].to_vec()).ok()?, decoded[colon + 1..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn file(name: &str, text: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("registry-users-{}-{name}", std::process::id()));
        std::fs::write(&path, text).unwrap();
        path
    }

    fn headers(credentials: &str) -> HeaderMap {
        let value = format!("Basic {}", BASE64_STANDARD.encode(credentials));
        HeaderMap::from_iter([(header::AUTHORIZATION, HeaderValue::from_str(&value).unwrap())])
    }

    #[test]
    fn passwords_are_checked() {
        let hash = bcrypt::hash("secret:with colon", 4).unwrap().replacen("$2b$", "$2y$", 1);
        let path = file("good", &format!("# users\n\nanna:{hash}\n"));
        let users = Users::read(&path).unwrap();
        std::fs::remove_file(path).unwrap();
        let good = headers("anna:secret:with colon");
        assert!(!users.knows(&good));
        assert!(users.check(&good) && users.knows(&good));
        for wrong in ["anna:secret", "anna:", "otto:secret:with colon", "anna", ""] {
            assert!(!users.check(&headers(wrong)) && !users.knows(&headers(wrong)), "{wrong}");
        }
        assert!(!users.check(&HeaderMap::new()));
        assert!(NOBODY.parse::<bcrypt::HashParts>().is_ok());
    }

    #[test]
    fn other_hashes_are_refused() {
        for (name, line) in [("md5", "anna:$apr1$x$y"), ("plain", "anna:secret"), ("none", "anna")] {
            let path = file(name, &format!("# comment\n{line}\n"));
            assert!(matches!(Users::read(&path), Err(UsersError::Line { line: 2, .. })), "{line}");
            std::fs::remove_file(path).unwrap();
        }
        let path = file("empty", "# nobody\n");
        assert!(matches!(Users::read(&path), Err(UsersError::Empty(_))));
        std::fs::remove_file(path).unwrap();
    }
}
