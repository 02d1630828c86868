//! `exec`: one more process in a running container.

use std::io;
use std::process::ExitCode;

use engine::model::ExecSpec;
use runtime::Stdio;

use super::foreground::{ForegroundError, exit_code};
use crate::commands::{Ended, Invocation, Outcome, parse};
use crate::context::Context;
use crate::elsewhere;
use crate::flags::env;
use crate::session::{self, DetachKeys, process};

/// Execute a command in a running container
#[derive(clap::Parser)]
struct Args {
    /// Detached mode: run command in the background
    #[arg(short, long)]
    detach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Set environment variables
    #[arg(short, long, value_name = "list")]
    env: Vec<String>,
    /// Read in a file of environment variables
    #[arg(long, value_name = "list")]
    env_file: Vec<std::path::PathBuf>,
    /// Keep STDIN open even if not attached
    #[arg(short, long)]
    interactive: bool,
    /// Give extended privileges to the command
    #[arg(long)]
    privileged: bool,
    /// Allocate a pseudo-TTY
    #[arg(short, long)]
    tty: bool,
    /// Username or UID (format: "<name|uid>[:<group|gid>]")
    #[arg(short, long, value_name = "string")]
    user: Option<String>,
    /// Working directory inside the container
    #[arg(short, long, value_name = "string")]
    workdir: Option<String>,
    container: String,
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    exec(context, args).map_err(Ended::of_exec)
}

fn exec(context: &Context, args: Args) -> Outcome {
    let (env, _) = env::resolve(&args.env, &args.env_file)?;
    let spec = ExecSpec {
        command: args.command,
        env,
        working_dir: args.workdir,
        user: args.user,
        privileged: args.privileged,
        tty: args.tty,
        console_size: None,
    };
    let keys = args.detach_keys.as_deref();
    match context.remote()? {
        Some(remote) => {
            refuse_pipe(args.tty && args.interactive && !args.detach)?;
            elsewhere::exec(remote, &args.container, &spec, args.detach, args.interactive, keys)
        }
        None => process(context, &args.container, spec, args.detach, args.interactive, keys),
    }
}

/// Refuses a terminal for input that comes from none.
fn refuse_pipe(is_terminal_wanted: bool) -> Result<(), ForegroundError> {
    match is_terminal_wanted && !io::IsTerminal::is_terminal(&io::stdin()) {
        true => Err(ForegroundError::NotATerminal),
        false => Ok(()),
    }
}

/// Runs a process in `container` and ends as it ends.
pub fn process(
    context: &Context,
    container: &str,
    mut spec: ExecSpec,
    detach: bool,
    interactive: bool,
    detach_keys: Option<&str>,
) -> Outcome {
    let keys = DetachKeys::from_flag(detach_keys)?;
    // From here on this program cannot be written to by what it starts; the first time it starts itself over (CVE-2019-5736).
    runtime::seal::ensure().map_err(|source| ForegroundError::Seal { source })?;
    let engine = context.engine()?;
    if detach {
        engine.exec(container, &spec, Stdio::Null)?;
        return Ok(ExitCode::SUCCESS);
    }
    let tty = spec.tty;
    refuse_pipe(tty && interactive)?;
    let failed = |source| ForegroundError::Session { id: container.to_owned(), source };
    let size = session::terminal_size().filter(|_| tty);
    spec.console_size = size.map(|size| (size.rows, size.columns));
    let (stdio, ends) = match tty {
        true => (Stdio::Terminal { size }, process::Ends::default()),
        false => process::streams(interactive).map_err(failed)?,
    };
    let signals = session::watch_signals(true).map_err(|source| ForegroundError::Signals { source })?;
    let child = engine.exec(container, &spec, stdio)?;
    match process::run(child, ends, &signals, &keys).map_err(failed)? {
        process::End::Exited(exit) => Ok(exit_code(exit.status())),
        process::End::Detached(terminal) => {
            engine.hold_terminal(&terminal).map_err(failed)?;
            Ok(ExitCode::SUCCESS)
        }
    }
}
