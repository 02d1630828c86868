//! `start`: containers that exist.

use remote::Client;

use crate::commands::many::each;
use crate::commands::{Invocation, Outcome, parse, usage};
use crate::context::{Context, note};
use crate::elsewhere::Session;
use crate::session::DetachKeys;

use super::foreground::Foreground;

/// Start one or more stopped containers
#[derive(clap::Parser)]
struct Args {
    /// Attach STDOUT/STDERR and forward signals
    #[arg(short, long)]
    attach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Attach container's STDIN
    #[arg(short, long)]
    interactive: bool,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    if !args.attach && !args.interactive {
        if let Some(remote) = context.remote()? {
            return each(&args.containers, |name| Ok(remote.post(&["containers", name, "start"]).done()?));
        }
        let engine = context.engine()?;
        return each(&args.containers, |name| {
            let warnings = engine.start(name)?;
            warnings.iter().for_each(|warning| note(format_args!("WARNING: {warning}")));
            Ok(())
        });
    }
    let [name] = args.containers.as_slice() else {
        return Err(usage(&invocation.path, "you cannot start and attach multiple containers at once"));
    };
    match context.remote()? {
        Some(remote) => attached_elsewhere(remote, name, &args),
        None => attached(context, name, &args),
    }
}

fn attached_elsewhere(client: &Client, name: &str, args: &Args) -> Outcome {
    let container = client.container(name)?;
    let condition = if container["HostConfig"]["AutoRemove"] == true { "removed" } else { "next-exit" };
    Session::with(client, &container, args.interactive, args.detach_keys.as_deref(), true)?
        .run(condition, true)
}

fn attached(context: &Context, name: &str, args: &Args) -> Outcome {
    let engine = context.engine()?;
    let keys = DetachKeys::from_flag(args.detach_keys.as_deref())?;
    let container = engine.inspect(name)?;
    let process = &container.spec.process;
    let stdin = args.interactive && process.open_stdin;
    let foreground = Foreground::new([stdin, true, true], process.tty, keys, true)?;
    let remove = container.spec.auto_remove;
    let signals = foreground.block_signals()?;
    match engine.start_attached(name, foreground.attach_options(remove))? {
        Some(stream) => foreground.run(engine, &container.id, stream, signals, remove),
        None => {
            let stream = engine.attach(name, foreground.attach_options(remove))?;
            foreground.run(engine, &container.id, stream, signals, remove)
        }
    }
}
