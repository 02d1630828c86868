//! `serve`.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use engine::Engine;
use server::{Listener, Scope, Server, SocketOptions, TlsFiles};

use crate::commands::registry::serve::{ListenError, socket_address};
use crate::commands::{Ended, Invocation, Outcome, parse, usage};
use crate::context::{Context, note, print_line};
use crate::flags::value::wrong;
use crate::interrupt;

pub const ABOUT: &str = "Serve the Docker Engine API";

/// Where Docker's clients look when nobody tells them.
const DOCKER_SOCKET: &str = "unix:///var/run/docker.sock";
/// Whose members may use the socket.
const GROUP: &str = "docker";

/// Serve the Docker Engine API to docker, Compose, SDKs and editors
#[derive(clap::Parser)]
struct Args {
    /// Address to listen on, "unix://path" or "tcp://address:port"; may be given several times [default: docker.sock in the run root,
    /// or the sockets systemd has opened]
    #[arg(short = 'H', long = "listen", value_name = "address")]
    listen: Vec<String>,
    /// Listen on /var/run/docker.sock, too
    #[arg(long)]
    docker_compat: bool,
    /// Group whose members may use the Unix sockets [default: docker, where it exists]
    #[arg(long, value_name = "group")]
    group: Option<String>,
    /// What clients may do: "read-only", "project=name" (of Compose), or both with a comma between
    #[arg(long, value_name = "scope")]
    scope: Option<Scope>,
    /// File with the certificates of those who sign clients' certificates, for tcp (PEM)
    #[arg(long, value_name = "file")]
    tls_ca: Option<PathBuf>,
    /// File with the server's certificate and its chain, for tcp (PEM)
    #[arg(long, value_name = "file")]
    tls_cert: Option<PathBuf>,
    /// File with the certificate's key, for tcp (PEM)
    #[arg(long, value_name = "file")]
    tls_key: Option<PathBuf>,
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    let scope = args.scope.clone().unwrap_or_default();
    // Before anything is opened.
    let mut listeners = Listener::inherited(&scope)?;
    let mut served = vec!["the sockets of its unit".to_owned(); usize::from(!listeners.is_empty())];
    context.go_home()?;
    let options = SocketOptions { group: group(args.group.as_deref())? };
    let engine = Engine::open(&context.roots())?;
    let mut addresses = args.listen.clone();
    if addresses.is_empty() && listeners.is_empty() {
        addresses.push(format!("unix://{}", context.roots().run.join("docker.sock").display()));
    }
    addresses.extend(args.docker_compat.then(|| DOCKER_SOCKET.to_owned()));
    for address in addresses {
        let listener = match address.split_once("://") {
            Some(("unix", path)) if path.starts_with('/') => {
                Listener::unix(Path::new(path), &options, scope.clone())?
            }
            Some(("tcp", address)) => {
                let files = tls_files(&invocation, &args)?;
                let address = socket_address("--listen", address)?;
                let failed = |source| ListenError { address, source };
                let listener = net::ports::listen_on_host(address).map_err(failed)?;
                served.push(format!("tcp://{}", listener.local_addr().map_err(failed)?));
                listeners.push(Listener::tls(listener, &files, scope.clone())?);
                continue;
            }
            _ => {
                return Err(wrong("--listen", &address, "expected unix:///path or tcp://address:port").into());
            }
        };
        served.push(address);
        listeners.push(listener);
    }
    let server = Server::new(listeners, Arc::new(|line: &str| note(line)));
    let stopper = server.stopper();
    // Before the server starts its threads.
    interrupt::watch(move |_| stopper.stop())?;
    served.iter().for_each(|address| print_line(format_args!("listening on {address}")));
    server.run(engine)?;
    Ok(ExitCode::SUCCESS)
}

/// What a socket that the network reaches cannot do without: whoever may use it is root on this host.
fn tls_files(invocation: &Invocation, args: &Args) -> Result<TlsFiles, Ended> {
    match (&args.tls_ca, &args.tls_cert, &args.tls_key) {
        (Some(authorities), Some(cert), Some(key)) => {
            Ok(TlsFiles { authorities: authorities.clone(), cert: cert.clone(), key: key.clone() })
        }
        _ => Err(usage(
            &invocation.path,
            "tcp is served with --tls-ca, --tls-cert and --tls-key only: whoever can use it is root on this host",
        )),
    }
}

/// The number of the group `name`, or of Docker's where it exists.
fn group(name: Option<&str>) -> Result<Option<u32>, crate::flags::value::FlagsError> {
    let text = std::fs::read_to_string("/etc/group").unwrap_or_default();
    if name.is_none() && sys::user::is_in_subordinate_namespace() {
        return Ok(None);
    }
    let wanted = name.unwrap_or(GROUP);
    let found = sys::user::groups(&text).find(|group| group.name == wanted).map(|group| group.gid);
    let number = found.or_else(|| wanted.parse().ok());
    match (number, name) {
        (None, Some(name)) => Err(wrong("--group", name, "there is no such group")),
        (number, _) => Ok(number),
    }
}
