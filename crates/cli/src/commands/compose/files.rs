//! `compose cp` and `compose export`: files of a service's containers.

use std::path::PathBuf;
use std::process::ExitCode;

use super::Compose;
use super::report::Printer;
use crate::commands::container::copy::{self, container_side};
use crate::commands::{Invocation, Outcome, parse, usage};
use crate::output::file::Output;

/// Copy files/folders between a service container and the local filesystem
#[derive(clap::Parser)]
struct Copy {
    /// Index of the container if service has multiple replicas
    #[arg(long, value_name = "int")]
    index: Option<u32>,
    #[command(flatten)]
    flags: copy::Flags,
    #[arg(value_name = "SERVICE:SRC_PATH|SRC_PATH|-")]
    source: String,
    #[arg(value_name = "DEST_PATH|-|SERVICE:DEST_PATH")]
    destination: String,
}

pub fn cp(compose: &Compose<'_>, invocation: Invocation) -> Outcome {
    let args: Copy = parse(&invocation)?;
    let (from, to) = (container_side(&args.source), container_side(&args.destination));
    let (service, path, outwards) = match (from, to) {
        (Some((service, path)), None) => (service.to_owned(), path, true),
        (None, Some((service, path))) => (service.to_owned(), path, false),
        (None, None) => return Err(usage(&invocation.path, "unknown copy direction: name a service")),
        (Some(_), Some(_)) => {
            return Err(usage(&invocation.path, "copying between services is not supported"));
        }
    };
    let project = compose.load_or_named(std::slice::from_ref(&service))?;
    let printer = Printer::new(&compose.flags);
    let mut containers = compose.on(&project, &printer, |stack| stack.replicas(&service, args.index))?;
    // From a service means from one container; into a service, into every one. Standard input can be read only once.
    if outwards || args.source == "-" {
        containers.truncate(1);
    }
    for container in containers {
        let side = format!("{}:{path}", container.id());
        let sides = match outwards {
            true => (&*side, &*args.destination),
            false => (&*args.source, &*side),
        };
        copy::copy(compose.context.engine()?, &invocation.path, sides, &args.flags)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Export a service container's filesystem as a tar archive
#[derive(clap::Parser)]
struct Export {
    /// Index of the container if service has multiple replicas
    #[arg(long, value_name = "int")]
    index: Option<u32>,
    /// Write to a file, instead of STDOUT
    #[arg(short, long, value_name = "string")]
    output: Option<PathBuf>,
    service: String,
}

pub fn export(compose: &Compose<'_>, invocation: Invocation) -> Outcome {
    let args: Export = parse(&invocation)?;
    let project = compose.load_or_named(std::slice::from_ref(&args.service))?;
    let printer = Printer::new(&compose.flags);
    let containers = compose.on(&project, &printer, |stack| stack.replicas(&args.service, args.index))?;
    let engine = compose.context.engine()?;
    let output = Output::new(args.output.as_deref(), &invocation.path)?;
    output.write(|mut file| {
        Ok(containers.iter().take(1).try_for_each(|one| engine.export(one.id(), &mut file))?)
    })
}
