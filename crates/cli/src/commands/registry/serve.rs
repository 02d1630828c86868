//! `registry serve`.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use diag::{Class, Diagnose};
use registry::server::{Access, Server, ServerOptions, TlsFiles};

use crate::commands::{Invocation, Outcome, parse, usage};
use crate::context::{Context, note, print_line};
use crate::flags::value::{FlagsError, value, wrong};
use crate::interrupt;

/// Serve the images of this host to clients of registries
#[derive(clap::Parser)]
struct Args {
    /// Address to listen on; port 0 takes any that is free
    #[arg(long, value_name = "address:port", default_value = "127.0.0.1:5000")]
    listen: String,
    /// File with the server's certificate and its chain (PEM)
    #[arg(long, value_name = "file")]
    tls_cert: Option<PathBuf>,
    /// File with the certificate's key (PEM)
    #[arg(long, value_name = "file")]
    tls_key: Option<PathBuf>,
    /// File with the users who may come, made by "htpasswd -B"
    #[arg(long, value_name = "file")]
    htpasswd: Option<PathBuf>,
    /// Let clients pull, and change nothing
    #[arg(long)]
    read_only: bool,
    /// Refuse larger blobs
    #[arg(long, value_name = "bytes", default_value = "64g")]
    max_blob_size: String,
    /// Do not print a line for each request
    #[arg(short, long)]
    quiet: bool,
}

/// There is no listening there.
#[derive(Debug, thiserror::Error)]
#[error("cannot listen on {address}")]
pub struct ListenError {
    pub address: SocketAddr,
    pub source: io::Error,
}

impl Diagnose for ListenError {
    fn class(&self) -> Class {
        Class::of_io(&self.source)
    }

    fn hint(&self) -> Option<String> {
        let hint = match self.source.kind() {
            io::ErrorKind::AddrInUse => "choose another port: `--listen 127.0.0.1:5001`, or 0 for any",
            io::ErrorKind::Unsupported => "without root only IPv4 addresses are to be had",
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    if args.tls_cert.is_some() != args.tls_key.is_some() {
        return Err(usage(&invocation.path, "--tls-cert and --tls-key belong together"));
    }
    let address = socket_address("--listen", &args.listen)?;
    let blob_limit = value("--max-blob-size", &args.max_blob_size, engine::parse::size_bytes)?;
    context.go_home()?;
    let content = engine::serving::images(&context.roots())?;
    warn(&args, address);
    let listener = net::ports::listen_on_host(address).map_err(|source| ListenError { address, source })?;
    let options = ServerOptions {
        tls: args.tls_cert.zip(args.tls_key).map(|(cert, key)| TlsFiles { cert, key }),
        htpasswd: args.htpasswd,
        access: if args.read_only { Access::ReadOnly } else { Access::ReadWrite },
        blob_limit,
        log: if args.quiet { Arc::new(|_: &str| {}) } else { Arc::new(|line: &str| note(line)) },
    };
    let scheme = if options.tls.is_some() { "https" } else { "http" };
    let server = Server::new(listener, options)?;
    let stopper = server.stopper();
    // Before the server starts its threads.
    interrupt::watch(move |_| stopper.stop())?;
    print_line(format_args!("listening on {scheme}://{}", server.address()?));
    server.run(content)?;
    Ok(ExitCode::SUCCESS)
}

/// An address and a port; `localhost` is 127.0.0.1, and none at all is every address of the host.
pub fn socket_address(flag: &'static str, text: &str) -> Result<SocketAddr, FlagsError> {
    let named = text.rsplit_once(':').and_then(|(host, port)| {
        let ip = match host {
            "" => Ipv4Addr::UNSPECIFIED,
            "localhost" => Ipv4Addr::LOCALHOST,
            _ => return None,
        };
        Some(SocketAddr::from((ip, port.parse().ok()?)))
    });
    named
        .or_else(|| text.parse().ok())
        .ok_or_else(|| wrong(flag, text, "expected <address>:<port>, such as 192.168.1.5:5000"))
}

/// Says what whoever reaches the server can do.
fn warn(args: &Args, address: SocketAddr) {
    if address.ip().is_loopback() {
        return;
    }
    if args.tls_cert.is_none() {
        note(format_args!(
            "warning: {address} is served without TLS: whoever is on the way can read and change what passes{}",
            if args.htpasswd.is_some() { ", passwords included" } else { "" }
        ));
    }
    if args.htpasswd.is_none() && !args.read_only {
        note(format_args!(
            "warning: whoever reaches {address} can push and delete images: `--htpasswd` or `--read-only` prevent it"
        ));
    }
}
