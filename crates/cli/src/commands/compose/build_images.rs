//! `compose build` and `compose pull`.

use image::PullPolicy;

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
    /// Always attempt to pull a newer version of the image
    #[arg(long)]
    pull: bool,
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
        pull: args.pull,
    };
    let printer = Printer::new(&compose.flags).quiet_build(args.quiet);
    compose.interruptible(&project, &printer, |stack| stack.build(&options)).map(done)
}

/// Pull service images
#[derive(clap::Parser)]
struct Pull {
    /// Ignore images that can be built
    #[arg(long)]
    ignore_buildable: bool,
    /// Pull what it can and ignores images with pull failures
    #[arg(long)]
    ignore_pull_failures: bool,
    /// Also the services declared as dependencies
    #[arg(long)]
    include_deps: bool,
    /// Apply pull policy ("missing"|"always")
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
    let policy = policy(&invocation.path, args.policy.as_deref())?;
    let project = compose.load(&args.services)?;
    let options = PullOptions {
        services: args.services,
        include_deps: args.include_deps,
        ignore_failures: args.ignore_pull_failures,
        ignore_buildable: args.ignore_buildable,
        only_missing: policy == Some(PullPolicy::Missing),
    };
    let printer = Printer::new(&compose.flags).quiet(args.quiet);
    compose.on(&project, &printer, |stack| stack.pull(&options)).map(done)
}

/// The policy a flag asks for; `None` leaves it to the file.
pub fn policy(path: &str, policy: Option<&str>) -> Result<Option<PullPolicy>, Ended> {
    match policy {
        None | Some("policy") => Ok(None),
        Some("always") => Ok(Some(PullPolicy::Always)),
        Some("missing" | "if_not_present") => Ok(Some(PullPolicy::Missing)),
        Some("never") => Ok(Some(PullPolicy::Never)),
        Some(other) => Err(usage(path, format_args!("unknown pull policy {other:?}"))),
    }
}
