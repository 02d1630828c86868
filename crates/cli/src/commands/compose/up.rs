//! `compose up`, `compose create` and `compose scale`.

use std::process::ExitCode;
use std::time::Duration;

use compose::{Recreate, Scale, UpOptions, UpResult};

use super::build_images::policy;
use super::report::Printer;
use super::{Compose, INTERRUPTED};
use crate::commands::container::foreground::exit_code;
use crate::commands::{Ended, Invocation, Outcome, parse, usage};

/// Flags `up` and `create` share.
#[derive(clap::Args)]
struct Common {
    /// Build images before starting containers
    #[arg(long)]
    build: bool,
    /// Recreate containers even if their configuration and image haven't changed
    #[arg(long)]
    force_recreate: bool,
    /// Don't build an image, even if it's policy
    #[arg(long, conflicts_with = "build")]
    no_build: bool,
    /// If containers already exist, don't recreate them
    #[arg(long, conflicts_with = "force_recreate")]
    no_recreate: bool,
    /// Pull image before running ("always"|"missing"|"never")
    #[arg(long, value_name = "string")]
    pull: Option<String>,
    /// Suppress the build output
    #[arg(long)]
    quiet_build: bool,
    /// Pull without printing progress information
    #[arg(long)]
    quiet_pull: bool,
    /// Remove containers for services not defined in the Compose file
    #[arg(long)]
    remove_orphans: bool,
    /// Scale SERVICE to NUM instances. Overrides the scale setting in the Compose file if present
    #[arg(long, value_name = "SERVICE=NUM")]
    scale: Vec<String>,
    /// Assume "yes" as answer to all prompts (there are none)
    #[arg(short, long, hide = true)]
    yes: bool,
    #[arg(value_name = "SERVICE")]
    services: Vec<String>,
}

/// Create and start containers
#[derive(clap::Parser)]
struct Up {
    /// Stops all containers if any container exited with failure
    #[arg(long, conflicts_with = "detach")]
    abort_on_container_failure: bool,
    /// Stops all containers if any container was stopped
    #[arg(long, conflicts_with = "detach")]
    abort_on_container_exit: bool,
    /// Recreate dependent containers
    #[arg(long)]
    always_recreate_deps: bool,
    /// Restrict attaching to the specified services
    #[arg(long, value_name = "stringArray", conflicts_with = "detach")]
    attach: Vec<String>,
    /// Detached mode: Run containers in the background
    #[arg(short, long)]
    detach: bool,
    /// Return the exit code of the selected service container. Implies --abort-on-container-exit
    #[arg(long, value_name = "string", conflicts_with = "detach")]
    exit_code_from: Option<String>,
    /// Do not attach (stream logs) to the specified services
    #[arg(long, value_name = "stringArray")]
    no_attach: Vec<String>,
    /// Produce monochrome output
    #[arg(long)]
    no_color: bool,
    /// Don't start linked services
    #[arg(long)]
    no_deps: bool,
    /// Don't print prefix in logs
    #[arg(long)]
    no_log_prefix: bool,
    /// Don't start the services after creating them
    #[arg(long)]
    no_start: bool,
    /// Recreate anonymous volumes instead of retrieving data from the previous containers
    #[arg(short = 'V', long)]
    renew_anon_volumes: bool,
    /// Use this timeout in seconds for container shutdown when attached or when containers are already running
    #[arg(short, long, value_name = "int", allow_negative_numbers = true)]
    timeout: Option<i64>,
    /// Show timestamps
    #[arg(long)]
    timestamps: bool,
    /// Wait for services to be running|healthy. Implies detached mode
    #[arg(long)]
    wait: bool,
    /// Maximum duration in seconds to wait for the project to be running|healthy
    #[arg(long, value_name = "int")]
    wait_timeout: Option<u64>,
    #[command(flatten)]
    common: Common,
}

pub fn up(compose: &Compose<'_>, invocation: Invocation) -> Outcome {
    let args: Up = parse(&invocation)?;
    let options = UpOptions {
        no_deps: args.no_deps,
        recreate_deps: args.always_recreate_deps,
        renew_anonymous_volumes: args.renew_anon_volumes,
        timeout_s: args.timeout,
        no_start: args.no_start,
        wait: args.wait,
        wait_timeout: args.wait_timeout.map(Duration::from_secs),
        attach: !(args.detach || args.wait || args.no_start),
        attach_only: args.attach,
        no_attach: args.no_attach,
        abort_on_container_exit: args.abort_on_container_exit,
        abort_on_container_failure: args.abort_on_container_failure,
        exit_code_from: args.exit_code_from,
        ..args.common.options(&invocation.path)?
    };
    let printer = Printer::new(&compose.flags)
        .with_logs(args.no_color, args.no_log_prefix, args.timestamps)
        .quiet_build(args.common.quiet_build)
        .quiet_pull(args.common.quiet_pull);
    execute(compose, &printer, &options)
}

/// Creates containers for a service
#[derive(clap::Parser)]
struct Create {
    #[command(flatten)]
    common: Common,
}

pub fn create(compose: &Compose<'_>, invocation: Invocation) -> Outcome {
    let Create { common } = parse(&invocation)?;
    let options = UpOptions { no_start: true, ..common.options(&invocation.path)? };
    execute(
        compose,
        &Printer::new(&compose.flags).quiet_build(common.quiet_build).quiet_pull(common.quiet_pull),
        &options,
    )
}

/// Scale services
#[derive(clap::Parser)]
struct ScaleArgs {
    /// Don't start linked services
    #[arg(long)]
    no_deps: bool,
    #[arg(required = true, value_name = "SERVICE=REPLICAS")]
    scale: Vec<String>,
}

pub fn scale(compose: &Compose<'_>, invocation: Invocation) -> Outcome {
    let args: ScaleArgs = parse(&invocation)?;
    let scale = scales(&invocation.path, &args.scale)?;
    let options = UpOptions {
        services: scale.keys().cloned().collect(),
        scale,
        no_deps: args.no_deps,
        ..UpOptions::default()
    };
    execute(compose, &Printer::new(&compose.flags), &options)
}

/// `SERVICE=NUM` each.
fn scales(path: &str, texts: &[String]) -> Result<Scale, Ended> {
    let mut scale = Scale::new();
    for text in texts {
        let parsed = text.split_once('=').and_then(|(name, count)| Some((name, count.parse().ok()?)));
        let Some((name, count)) = parsed else {
            return Err(usage(path, format_args!("invalid scale {text:?}: should be SERVICE=NUM")));
        };
        scale.insert(name.to_owned(), count);
    }
    Ok(scale)
}

fn execute(compose: &Compose<'_>, printer: &Printer, options: &UpOptions) -> Outcome {
    let project = compose.load(&options.services)?;
    match compose.interruptible(&project, printer, |stack| stack.up(options))? {
        UpResult::Detached => Ok(ExitCode::SUCCESS),
        UpResult::Finished(code) => Ok(exit_code(code)),
        UpResult::Interrupted => Ok(ExitCode::from(INTERRUPTED)),
    }
}

impl Common {
    fn options(&self, path: &str) -> Result<UpOptions, Ended> {
        let pull = policy(path, self.pull.as_deref())?;
        let scale = scales(path, &self.scale)?;
        Ok(UpOptions {
            services: self.services.clone(),
            build: self.build,
            no_build: self.no_build,
            pull,
            recreate: match (self.force_recreate, self.no_recreate) {
                (true, _) => Recreate::Force,
                (_, true) => Recreate::Never,
                _ => Recreate::Diverged,
            },
            remove_orphans: self.remove_orphans,
            scale,
            ..UpOptions::default()
        })
    }
}
