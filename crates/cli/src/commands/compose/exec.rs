//! `compose exec`.

use std::io::IsTerminal as _;

use diag::{Class, Diagnose};
use engine::model::ExecSpec;

use super::Compose;
use super::report::Printer;
use crate::commands::container::exec::process;
use crate::commands::{Ended, Invocation, Outcome, parse};
use crate::flags::env;

/// Execute a command in a running container
#[derive(clap::Parser)]
struct Exec {
    /// Detached mode: Run command in the background
    #[arg(short, long)]
    detach: bool,
    /// Set environment variables
    #[arg(short, long, value_name = "stringArray")]
    env: Vec<String>,
    /// Index of the container if service has multiple replicas
    #[arg(long, value_name = "int")]
    index: Option<u32>,
    /// Keep STDIN open even if not attached (always so)
    #[arg(short, long, hide = true)]
    interactive: bool,
    /// Disable pseudo-TTY allocation. By default a TTY is allocated
    #[arg(short = 'T', long = "no-TTY", alias = "no-tty")]
    no_tty: bool,
    /// Give extended privileges to the process
    #[arg(long)]
    privileged: bool,
    /// Allocate a pseudo-TTY (the default)
    #[arg(short, long, hide = true)]
    tty: bool,
    /// Run the command as this user
    #[arg(short, long, value_name = "string")]
    user: Option<String>,
    /// Path to workdir directory for this command
    #[arg(short, long, value_name = "string")]
    workdir: Option<String>,
    service: String,
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

#[derive(Debug, thiserror::Error)]
#[error("cannot seal hull's program against the container")]
struct SealError {
    source: std::io::Error,
}

impl Diagnose for SealError {
    fn class(&self) -> Class {
        Class::of_io(&self.source)
    }
}

pub fn run(compose: &Compose<'_>, invocation: Invocation) -> Outcome {
    let args: Exec = parse(&invocation)?;
    // Executes this program again, so it comes before anything that is read or said.
    runtime::seal::ensure().map_err(|source| Ended::from(SealError { source }).of_exec())?;
    let project = compose.load_or_named(std::slice::from_ref(&args.service))?;
    let printer = Printer::new(&compose.flags);
    let target = compose.on(&project, &printer, |stack| stack.target(&args.service, args.index))?;
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let (env, _) = env::resolve(&args.env, &[])?;
    let spec = ExecSpec {
        command: args.command,
        env,
        working_dir: args.workdir,
        user: args.user,
        privileged: args.privileged,
        tty: !args.no_tty && (args.tty || terminal) && !args.detach,
        console_size: None,
    };
    process(compose.context, target.id(), spec, args.detach, !args.detach, None).map_err(Ended::of_exec)
}
