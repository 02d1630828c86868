//! `serve`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use engine::Engine;
use server::{Listener, Server, SocketOptions};

use crate::commands::{Invocation, Outcome, parse};
use crate::context::{Context, note, print_line};
use crate::flags::value::wrong;
use crate::interrupt;

pub const ABOUT: &str = "Serve the Docker Engine API";

/// Where Docker's clients look when nobody tells them.
const DOCKER_SOCKET: &str = "/var/run/docker.sock";
/// Whose members may use the socket.
const GROUP: &str = "docker";

/// Serve the Docker Engine API to docker, Compose, SDKs and editors
#[derive(clap::Parser)]
struct Args {
    /// Socket to listen on, "unix://path"; may be given several times [default: <run root>/docker.sock]
    #[arg(short = 'H', long = "listen", value_name = "address")]
    listen: Vec<String>,
    /// Listen on /var/run/docker.sock, too
    #[arg(long)]
    docker_compat: bool,
    /// Group whose members may use the socket [default: docker, where it exists]
    #[arg(long, value_name = "group")]
    group: Option<String>,
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    let options = SocketOptions { group: group(args.group.as_deref())? };
    let mut paths = args.listen.iter().map(|address| path(address)).collect::<Result<Vec<_>, _>>()?;
    if paths.is_empty() {
        paths.push(context.roots().run.join("docker.sock"));
    }
    if args.docker_compat {
        paths.push(DOCKER_SOCKET.into());
    }
    context.go_home()?;
    let engine = Engine::open(&context.roots())?;
    let mut listeners = Vec::new();
    for path in &paths {
        listeners.push(Listener::unix(path, &options)?);
    }
    let server = Server::new(listeners, Arc::new(|line: &str| note(line)));
    let stopper = server.stopper();
    // Before the server starts its threads.
    interrupt::watch(move |_| stopper.stop())?;
    for path in &paths {
        print_line(format_args!("listening on unix://{}", path.display()));
    }
    server.run(engine)?;
    Ok(ExitCode::SUCCESS)
}

fn path(address: &str) -> Result<PathBuf, crate::flags::value::FlagsError> {
    match address.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') => Ok(path.into()),
        _ => Err(wrong("--listen", address, "expected unix:///path")),
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
