//! `compose run`: a one-off container in the foreground, or in the background.

use std::io::IsTerminal as _;
use std::process::ExitCode;

use compose::RunOptions;
use engine::parse as syntax;

use super::Compose;
use super::build_images::policy;
use super::report::Printer;
use crate::commands::container::foreground::Foreground;
use crate::commands::{Ended, Invocation, Outcome, parse};
use crate::context::{note, print_line};
use crate::flags::env;
use crate::session::DetachKeys;

/// Run a one-off command on a service
#[derive(clap::Parser)]
struct Run {
    /// Build image before starting container
    #[arg(long)]
    build: bool,
    /// Add Linux capabilities
    #[arg(long, value_name = "list")]
    cap_add: Vec<String>,
    /// Drop Linux capabilities
    #[arg(long, value_name = "list")]
    cap_drop: Vec<String>,
    /// Run container in background and print container ID
    #[arg(short, long)]
    detach: bool,
    /// Override the entrypoint of the image
    #[arg(long, value_name = "string")]
    entrypoint: Option<String>,
    /// Set environment variables
    #[arg(short, long, value_name = "stringArray")]
    env: Vec<String>,
    /// Set environment variables from file
    #[arg(long, value_name = "stringArray")]
    env_from_file: Vec<std::path::PathBuf>,
    /// Keep STDIN open even if not attached
    #[arg(short, long, value_name = "bool", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value = "true", action = clap::ArgAction::Set, hide_possible_values = true)]
    interactive: bool,
    /// Add or override a label
    #[arg(short, long, value_name = "stringArray")]
    label: Vec<String>,
    /// Assign a name to the container
    #[arg(long, value_name = "string")]
    name: Option<String>,
    /// Disable pseudo-TTY allocation (default: auto-detected)
    #[arg(short = 'T', long = "no-TTY", alias = "no-tty")]
    no_tty: bool,
    /// Don't start linked services
    #[arg(long)]
    no_deps: bool,
    /// Publish a container's port(s) to the host
    #[arg(short, long, value_name = "stringArray")]
    publish: Vec<String>,
    /// Pull image before running ("always"|"missing"|"never")
    #[arg(long, value_name = "string")]
    pull: Option<String>,
    /// Suppress progress output
    #[arg(short, long)]
    quiet: bool,
    /// Pull without printing progress information
    #[arg(long)]
    quiet_pull: bool,
    /// Remove containers for services not defined in the Compose file
    #[arg(long)]
    remove_orphans: bool,
    /// Automatically remove the container when it exits
    #[arg(long)]
    rm: bool,
    /// Run command with all service's ports enabled and mapped to the host
    #[arg(short = 'P', long)]
    service_ports: bool,
    /// Allocate a pseudo-TTY (default: auto-detected)
    #[arg(short, long, hide = true)]
    tty: bool,
    /// Use the service's network useAliases in the network(s) the container connects to
    #[arg(long)]
    use_aliases: bool,
    /// Run as specified username or uid
    #[arg(short, long, value_name = "string")]
    user: Option<String>,
    /// Bind mount a volume
    #[arg(short, long, value_name = "stringArray")]
    volume: Vec<String>,
    /// Working directory inside the container
    #[arg(short, long, value_name = "string")]
    workdir: Option<String>,
    service: String,
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
    command: Vec<String>,
}

pub fn run(compose: &Compose<'_>, invocation: Invocation) -> Outcome {
    execute(compose, &invocation).map_err(Ended::of_process)
}

fn execute(compose: &Compose<'_>, invocation: &Invocation) -> Outcome {
    let args: Run = parse(invocation)?;
    let (detach, remove) = (args.detach, args.rm);
    let project = compose.load(std::slice::from_ref(&args.service))?;
    let terminal = std::io::stdin().is_terminal() && std::io::stdout().is_terminal();
    let tty = !detach && !args.no_tty && (args.tty || terminal);
    let interactive = args.interactive && !detach;
    let here = std::env::current_dir().unwrap_or_else(|_| "/".into());
    let mut mounts = Vec::new();
    for volume in &args.volume {
        mounts.push(syntax::volume(volume, &here)?);
    }
    let mut publish = Vec::new();
    for port in &args.publish {
        publish.extend(syntax::ports(port)?);
    }
    let labels = args.label.iter().map(|label| label.split_once('=').unwrap_or((label, "")));
    let (env, _) = env::resolve(&args.env, &args.env_from_file)?;
    let pull = policy(&invocation.path, args.pull.as_deref())?;
    let options = RunOptions {
        labels: labels.map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
        entrypoint: args.entrypoint.map(|text| text.split_whitespace().map(str::to_owned).collect()),
        service: args.service,
        command: args.command,
        env,
        name: args.name,
        user: args.user,
        working_dir: args.workdir,
        mounts,
        publish,
        service_ports: args.service_ports,
        use_aliases: args.use_aliases,
        no_deps: args.no_deps,
        build: args.build,
        pull,
        remove,
        remove_orphans: args.remove_orphans,
        tty,
        interactive,
        cap_add: args.cap_add,
        cap_drop: args.cap_drop,
    };
    let printer = Printer::new(&compose.flags).quiet(args.quiet).quiet_pull(args.quiet_pull);
    let mut spec = compose.on(&project, &printer, |stack| stack.one_off(&options))?.spec;
    let engine = compose.context.engine()?;
    if detach {
        let created = engine.run_detached(spec)?;
        created.warnings.iter().for_each(|warning| note(format_args!("WARNING: {warning}")));
        print_line(&created.name);
        return Ok(ExitCode::SUCCESS);
    }
    spec.process.attach = [interactive, true, true];
    let foreground = Foreground::new(spec.process.attach, tty, DetachKeys::from_flag(None)?, true)?;
    spec.process.console_size = foreground.size();
    let signals = foreground.block_signals()?;
    let (created, stream) = engine.run_attached(spec, foreground.attach_options(remove))?;
    created.warnings.iter().for_each(|warning| note(format_args!("WARNING: {warning}")));
    foreground.run(engine, &created.id, stream, signals, remove)
}
