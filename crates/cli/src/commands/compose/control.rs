//! `compose start`, `stop`, `restart`, `kill`, `pause`, `unpause` and `wait`.

use std::process::ExitCode;

use super::report::Printer;
use super::{Compose, done};
use crate::commands::container::foreground::exit_code;
use crate::commands::{Invocation, Outcome, parse};
use crate::context::print_line;

/// Services by name; all when there is none.
#[derive(clap::Parser)]
struct Services {
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

pub fn start(compose: &Compose<'_>, invocation: Invocation) -> Outcome {
    let args: Services = parse(&invocation)?;
    let project = compose.load_or_named(&args.services)?;
    let printer = Printer::new(&compose.flags);
    compose.interruptible(&project, &printer, |stack| stack.start(&args.services)).map(done)
}

pub fn pause(compose: &Compose<'_>, invocation: Invocation) -> Outcome {
    let args: Services = parse(&invocation)?;
    let project = compose.load_or_named(&args.services)?;
    compose.on(&project, &Printer::new(&compose.flags), |stack| stack.pause(&args.services)).map(done)
}

pub fn unpause(compose: &Compose<'_>, invocation: Invocation) -> Outcome {
    let args: Services = parse(&invocation)?;
    let project = compose.load_or_named(&args.services)?;
    compose.on(&project, &Printer::new(&compose.flags), |stack| stack.unpause(&args.services)).map(done)
}

/// Stop services
#[derive(clap::Parser)]
struct Stop {
    /// Specify a shutdown timeout in seconds
    #[arg(short, long, value_name = "int", allow_negative_numbers = true)]
    timeout: Option<i64>,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

pub fn stop(compose: &Compose<'_>, invocation: Invocation) -> Outcome {
    let args: Stop = parse(&invocation)?;
    let project = compose.load_or_named(&args.services)?;
    let printer = Printer::new(&compose.flags);
    compose.on(&project, &printer, |stack| stack.stop(&args.services, args.timeout)).map(done)
}

/// Restart service containers
#[derive(clap::Parser)]
struct Restart {
    /// Don't restart dependent services
    #[arg(long)]
    no_deps: bool,
    /// Specify a shutdown timeout in seconds
    #[arg(short, long, value_name = "int", allow_negative_numbers = true)]
    timeout: Option<i64>,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

pub fn restart(compose: &Compose<'_>, invocation: Invocation) -> Outcome {
    let args: Restart = parse(&invocation)?;
    let project = compose.load_or_named(&args.services)?;
    let printer = Printer::new(&compose.flags);
    compose
        .on(&project, &printer, |stack| stack.restart(&args.services, args.timeout, args.no_deps))
        .map(done)
}

/// Force stop service containers
#[derive(clap::Parser)]
struct Kill {
    /// Kill containers of services not defined in the Compose file, too
    #[arg(long)]
    remove_orphans: bool,
    /// SIGNAL to send to the container
    #[arg(short, long, value_name = "string", default_value = "SIGKILL")]
    signal: String,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

pub fn kill(compose: &Compose<'_>, invocation: Invocation) -> Outcome {
    let args: Kill = parse(&invocation)?;
    let project = compose.load_or_named(&args.services)?;
    let printer = Printer::new(&compose.flags);
    let options = compose::KillOptions {
        services: args.services,
        signal: Some(args.signal),
        orphans: args.remove_orphans,
    };
    compose.on(&project, &printer, |stack| stack.kill(&options)).map(done)
}

/// Block until containers of all (or specified) services stop
#[derive(clap::Parser)]
struct Wait {
    #[arg(required = true, value_name = "SERVICE")]
    services: Vec<String>,
    /// Drops project when the first container stops
    #[arg(long)]
    down_project: bool,
}

pub fn wait(compose: &Compose<'_>, invocation: Invocation) -> Outcome {
    let args: Wait = parse(&invocation)?;
    let project = compose.load_or_named(&args.services)?;
    let printer = Printer::new(&compose.flags);
    let codes = compose.on(&project, &printer, |stack| {
        let codes = stack.wait(&args.services)?;
        if args.down_project {
            stack.down(&compose::DownOptions::default())?;
        }
        Ok(codes)
    })?;
    let mut last = ExitCode::SUCCESS;
    for (name, code) in codes {
        print_line(format_args!("container {name:?} exited with status code {code}"));
        if code != 0 {
            last = exit_code(code);
        }
    }
    Ok(last)
}
