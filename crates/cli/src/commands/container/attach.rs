//! `attach`: to the streams of a running container.

use engine::control::ControlError;
use remote::Client;

use super::foreground::Foreground;
use crate::commands::{Invocation, Outcome, parse};
use crate::context::Context;
use crate::elsewhere::Session;
use crate::session::DetachKeys;

/// What `attach` and `compose attach` share.
#[derive(clap::Args)]
pub struct Flags {
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Do not attach STDIN
    #[arg(long)]
    no_stdin: bool,
    /// Proxy all received signals to the process
    #[arg(long, value_name = "bool", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value = "true", action = clap::ArgAction::Set, hide_possible_values = true)]
    sig_proxy: bool,
}

/// Attach local standard input, output, and error streams to a running container
#[derive(clap::Parser)]
struct Args {
    #[command(flatten)]
    flags: Flags,
    container: String,
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    if let Some(remote) = context.remote()? {
        return attach_elsewhere(remote, &args.container, &args.flags);
    }
    attach(context, &args.container, &args.flags)
}

/// Attaches to the container called `name`.
pub fn attach(context: &Context, name: &str, flags: &Flags) -> Outcome {
    let keys = DetachKeys::from_flag(flags.detach_keys.as_deref())?;
    let engine = context.engine()?;
    let container = engine.inspect(name)?;
    let process = &container.spec.process;
    let stdin = process.open_stdin && !flags.no_stdin;
    let foreground = Foreground::new([stdin, true, true], process.tty, keys, flags.sig_proxy)?;
    let signals = foreground.block_signals()?;
    // A container that removes itself is removed by whoever started it, or by its monitor.
    let stream = engine.attach(name, foreground.attach_options(false))?;
    foreground.run(engine, &container.id, stream, signals, false)
}

fn attach_elsewhere(client: &Client, name: &str, flags: &Flags) -> Outcome {
    let container = client.container(name)?;
    let name = name.to_owned();
    // An engine would have us wait for its start.
    if container["State"]["Running"] != true {
        return Err(ControlError::AttachStopped { name }.into());
    }
    if container["State"]["Paused"] == true {
        return Err(ControlError::AttachPaused { name }.into());
    }
    let keys = flags.detach_keys.as_deref();
    Session::with(client, &container, !flags.no_stdin, keys, flags.sig_proxy)?.run("not-running", false)
}
