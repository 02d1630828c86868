//! Connections: whatever they are made of, this side of them is a Unix socket.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::Arc;
use std::time::Duration;

use image::Host;
use registry::hosts::{Identity, identity, read_certificates};
use tokio::io::copy_bidirectional;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use crate::endpoint::Endpoint;

const CONNECT_LIMIT: Duration = Duration::from_secs(15);

/// What serves the API on its standard input and output: a hull's own engine, or else the engine of a Docker that is there.
///
/// One word for whatever shell the user has there, which knows single quotes.
const REMOTE: &str = "'if command -v hull >/dev/null 2>&1; then exec hull -c default system dial-stdio; else exec docker system dial-stdio; fi'";

/// Connects to an engine; with ssh, by a process that ends with the connection.
pub async fn connect(endpoint: &Endpoint) -> io::Result<(UnixStream, Option<Child>)> {
    match endpoint {
        Endpoint::Unix(path) => Ok((UnixStream::connect(path)?, None)),
        Endpoint::Ssh(host) => ssh(host).map(|(stream, child)| (stream, Some(child))),
        Endpoint::Tcp { host, port, certificates } => {
            let tls = tls(certificates)?;
            let stream = timeout(CONNECT_LIMIT, tcp(host, *port, tls));
            let stream = stream.await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
            Ok((piped(stream)?, None))
        }
    }
}

fn ssh(host: &Host) -> io::Result<(UnixStream, Child)> {
    let (ours, theirs) = UnixStream::pair()?;
    let input = OwnedFd::from(theirs.try_clone()?);
    let child =
        host.ssh(&["sh", "-c", REMOTE]).stdin(Stdio::from(input)).stdout(OwnedFd::from(theirs)).spawn()?;
    Ok((ours, child))
}

async fn tcp(host: &str, port: u16, tls: TlsConnector) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
    let mut last = io::Error::from(io::ErrorKind::NotFound);
    for address in registry::client::resolve(host).await? {
        match TcpStream::connect((address, port)).await {
            Err(error) => last = error,
            Ok(stream) => {
                stream.set_nodelay(true)?;
                return tls.connect(name, stream).await;
            }
        }
    }
    Err(last)
}

/// TLS that trusts the authorities of a directory, and shows the certificate there.
fn tls(certificates: &Path) -> io::Result<TlsConnector> {
    let file = |name| certificates.join(name);
    let mut authorities = RootCertStore::empty();
    authorities.add_parsable_certificates(read_certificates(&file("ca.pem")).map_err(io::Error::other)?);
    let Identity { chain, key } = identity(&file("cert.pem"), &file("key.pem")).map_err(io::Error::other)?;
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .and_then(|builder| {
            builder.with_root_certificates(authorities).with_client_auth_cert(chain, key.clone_key())
        });
    Ok(TlsConnector::from(Arc::new(config.map_err(io::Error::other)?)))
}

/// A socket that carries what `stream` carries.
fn piped(mut stream: TlsStream<TcpStream>) -> io::Result<UnixStream> {
    let (ours, theirs) = UnixStream::pair()?;
    theirs.set_nonblocking(true)?;
    let mut theirs = tokio::net::UnixStream::from_std(theirs)?;
    tokio::spawn(async move {
        // Either side is told of the other's end by its own.
        let _ = copy_bidirectional(&mut theirs, &mut stream).await;
    });
    Ok(ours)
}
