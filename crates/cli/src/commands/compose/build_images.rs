//! `compose build` and `compose pull`.

use compose::{BuildOptions, PullOptions};

use super::report::Printer;
use super::{Compose, done};
use crate::commands::{Ended, Invocation, Outcome, parse, usage};

/// Build or rebuild services
#[derive(clap::Parser)]
struct Build {
    /// Set build-time variables for services
    #[arg(long, value_name = "stringArray")]
    build_arg: Vec<String>,
    /// Do not use cache when building the image
    #[arg(long)]
    no_cache: bool,
    /// Suppress the build output
    #[arg(short, long)]
    quiet: bool,
    /// Also build dependencies (transitively)
    #[arg(long)]
    with_dependencies: bool,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

pub fn build(compose: &Compose<'_>, invocation: Invocation) -> Outcome {
    let args: Build = parse(&invocation)?;
    let project = compose.load(&args.services)?;
    let argument = |text: &String| match text.split_once('=') {
        Some((key, value)) => Some((key.to_owned(), value.to_owned())),
        None => project.environment.get(text).map(|value| (text.clone(), value.clone())),
    };
    let options = BuildOptions {
        args: args.build_arg.iter().filter_map(argument).collect(),
        services: args.services,
        with_dependencies: args.with_dependencies,
        no_cache: args.no_cache,
    };
    let printer = Printer::new(&compose.flags).quiet_build(args.quiet);
    compose.interruptible(&project, &printer, |stack| stack.build(&options)).map(done)
}

/// Check that service images are present
#[derive(clap::Parser)]
struct Pull {
    /// Ignore images that can be built
    #[arg(long)]
    ignore_buildable: bool,
    /// Go on when an image is missing
    #[arg(long)]
    ignore_pull_failures: bool,
    /// Also the services declared as dependencies
    #[arg(long)]
    include_deps: bool,
    /// Apply pull policy ("missing")
    #[arg(long, value_name = "string")]
    policy: Option<String>,
    /// Without printing progress information
    #[arg(short, long)]
    quiet: bool,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

pub fn pull(compose: &Compose<'_>, invocation: Invocation) -> Outcome {
    let args: Pull = parse(&invocation)?;
    policy(&invocation.path, args.policy.as_deref())?;
    let project = compose.load(&args.services)?;
    let options = PullOptions {
        services: args.services,
        include_deps: args.include_deps,
        ignore_failures: args.ignore_pull_failures,
        ignore_buildable: args.ignore_buildable,
    };
    let printer = Printer::new(&compose.flags).quiet(args.quiet);
    compose.on(&project, &printer, |stack| stack.pull(&options)).map(done)
}

/// Refuses what only a registry could do.
pub fn policy(path: &str, policy: Option<&str>) -> Result<(), Ended> {
    match policy {
        None | Some("missing" | "never" | "policy" | "if_not_present") => Ok(()),
        Some("always") => {
            Err(usage(path, "pull policy \"always\" is not supported: there is no registry client yet"))
        }
        Some(other) => Err(usage(path, format_args!("unknown pull policy {other:?}"))),
    }
}
