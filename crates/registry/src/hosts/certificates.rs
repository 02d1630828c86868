//! Certificates for one host: whom to trust, and who we are.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::HostsError;

/// Whom to trust.
#[derive(Clone, Debug)]
pub struct Trust {
    /// Authorities besides the system's.
    pub authorities: Vec<CertificateDer<'static>>,
    pub identity: Option<Identity>,
    /// Whether the other side has to prove who it is.
    pub verify: bool,
}

impl Default for Trust {
    fn default() -> Self {
        Self { authorities: Vec::new(), identity: None, verify: true }
    }
}

impl Trust {
    /// Trusts whom `other` trusts, too.
    pub fn merge(&mut self, other: Self) {
        self.authorities.extend(other.authorities);
        self.identity = self.identity.take().or(other.identity);
        self.verify &= other.verify;
    }
}

/// Who we are to a host that asks for a certificate.
#[derive(Clone, Debug)]
pub struct Identity {
    pub chain: Vec<CertificateDer<'static>>,
    pub key: Arc<PrivateKeyDer<'static>>,
}

/// The certificates of the file `path`.
pub fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, HostsError> {
    let found = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match found {
        Ok(found) if found.is_empty() => {
            Err(HostsError::Malformed { path: path.to_owned(), why: "no certificate in it".to_owned() })
        }
        other => other.map_err(|e| error(path, e)),
    }
}

/// A certificate and its key, which may be in one file.
pub fn identity(certificate: &Path, key: &Path) -> Result<Identity, HostsError> {
    let chain = read(certificate)?;
    let key = PrivateKeyDer::from_pem_file(key).map_err(|e| error(key, e))?;
    Ok(Identity { chain, key: Arc::new(key) })
}

/// What a directory has in Docker's way, and whether it has anything.
pub fn in_directory(directory: &Path) -> Result<(Trust, bool), HostsError> {
    let mut trust = Trust::default();
    let mut found = false;
    for path in files(directory)? {
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("crt") => trust.authorities.extend(read(&path)?),
            Some("cert") => trust.identity = Some(identity(&path, &path.with_extension("key"))?),
            _ => continue,
        }
        found = true;
    }
    Ok((trust, found))
}

/// The files of a directory, which need not be there, in the order of their names.
fn files(directory: &Path) -> Result<Vec<PathBuf>, HostsError> {
    let failed = |source| HostsError::Read { path: directory.to_owned(), source };
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            return Ok(Vec::new());
        }
        Err(e) => return Err(failed(e)),
    };
    let paths = entries.map(|entry| entry.map(|entry| entry.path()));
    let mut paths = paths.collect::<io::Result<Vec<_>>>().map_err(failed)?;
    paths.sort();
    Ok(paths)
}

fn error(path: &Path, error: pem::Error) -> HostsError {
    let path = path.to_owned();
    match error {
        pem::Error::Io(source) => HostsError::Read { path, source },
        other => HostsError::Malformed { path, why: other.to_string() },
    }
}
