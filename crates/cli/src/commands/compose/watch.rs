//! `compose attach` and `compose stats`: running containers from outside; and the verbs that are not there.

use compose::Instance;
use diag::{Class, Diagnose};

use super::Compose;
use super::report::Printer;
use crate::commands::container::attach;
use crate::commands::container::watch::{StatsFlags, show};
use crate::commands::{Ended, Invocation, Outcome, parse};

/// Attach local standard input, output, and error streams to a service's running container
#[derive(clap::Parser)]
struct Attach {
    /// Index of the container if service has multiple replicas
    #[arg(long, value_name = "int")]
    index: Option<u32>,
    #[command(flatten)]
    flags: attach::Flags,
    service: String,
}

pub fn attach(compose: &Compose<'_>, invocation: Invocation) -> Outcome {
    let args: Attach = parse(&invocation)?;
    let project = compose.load_or_named(std::slice::from_ref(&args.service))?;
    let printer = Printer::new(&compose.flags);
    let target = compose.on(&project, &printer, |stack| stack.target(&args.service, args.index))?;
    attach::attach(compose.context, target.id(), &args.flags)
}

/// Display a live stream of container(s) resource usage statistics
#[derive(clap::Parser)]
struct Stats {
    #[command(flatten)]
    flags: StatsFlags,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

pub fn stats(compose: &Compose<'_>, invocation: Invocation) -> Outcome {
    let Stats { flags, services } = parse(&invocation)?;
    let project = compose.load_or_named(&services)?;
    let printer = Printer::new(&compose.flags);
    let engine = compose.context.engine()?;
    show(&flags, || {
        let instances = compose.on(&project, &printer, |stack| stack.instances_of(&services))?;
        let shown = instances.iter().filter(|one| flags.all || one.is_running());
        // One that was removed since is no longer of interest.
        let reading =
            |one: &Instance| Some((one.id().to_owned(), one.name().to_owned(), engine.stats(one.id()).ok()?));
        Ok(shown.filter_map(reading).collect())
    })
}

/// A verb of Docker Compose that is known and not there.
#[derive(Debug, thiserror::Error)]
#[error("`{command}` is not supported yet")]
struct Refused {
    command: String,
}

impl Diagnose for Refused {
    fn class(&self) -> Class {
        Class::Unsupported
    }
}

/// Refuses `watch`, `push` and their like by name.
pub fn refused(_: &Compose<'_>, invocation: Invocation) -> Outcome {
    Err(Ended::from(Refused { command: invocation.path }))
}
