//! The server's certificate.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use diag::{Class, Diagnose};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, pem};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

/// A certificate or its key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    #[error("cannot read the {what} in {}", path.display())]
    Read { what: &'static str, path: PathBuf, source: pem::Error },
    #[error("there is no certificate in {}", .0.display())]
    NoCertificate(PathBuf),
    #[error("cannot use the certificate in {} with the key in {}", cert.display(), key.display())]
    Pair { cert: PathBuf, key: PathBuf, source: rustls::Error },
    #[error("cannot use the authorities in {}", path.display())]
    Authorities { path: PathBuf, source: Box<dyn std::error::Error + Send + Sync> },
}

impl Diagnose for TlsError {
    fn class(&self) -> Class {
        match self {
            Self::Read { source: pem::Error::Io(e), .. } => Class::of_io(e),
            _ => Class::Invalid,
        }
    }
}

/// Reads a certificate with its chain, and its key, both PEM. With `authorities`, a file of certificates, clients have to show one that
/// was signed by one of those.
///
/// # Errors
/// [`TlsError`].
pub fn config(cert: &Path, key: &Path, authorities: Option<&Path>) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = certificates(cert)?;
    let private = PrivateKeyDer::from_pem_file(key).map_err(|source| {
        let (what, path) = ("key", key.to_owned());
        TlsError::Read { what, path, source }
    })?;
    let pair = |source| TlsError::Pair { cert: cert.to_owned(), key: key.to_owned(), source };
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(pair)?;
    let builder = match authorities {
        None => builder.with_no_client_auth(),
        Some(path) => {
            let mut roots = RootCertStore::empty();
            let unusable = |source: rustls::Error| TlsError::Authorities {
                path: path.to_owned(),
                source: Box::new(source),
            };
            for certificate in certificates(path)? {
                roots.add(certificate).map_err(unusable)?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
            builder.with_client_cert_verifier(verifier.map_err(|source| TlsError::Authorities {
                path: path.to_owned(),
                source: Box::new(source),
            })?)
        }
    };
    let mut config = builder.with_single_cert(chain, private).map_err(pair)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    match read {
        Err(source) => Err(TlsError::Read { what: "certificate", path: path.to_owned(), source }),
        Ok(none) if none.is_empty() => Err(TlsError::NoCertificate(path.to_owned())),
        Ok(some) => Ok(some),
    }
}
