//! `build`.

mod output;

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use build::{
    BuildContext, BuildError, BuildRequest, Cancel, DockerfileSource, GitSetup, Given, NamedContext,
    NoProgress, Plain, Progress, Repository, RunNetwork, Secret, SecretSource, Source,
};
use clap::ValueEnum;
use engine::model::Limits;
use engine::parse as syntax;
use image::PullPolicy;
use oci::image::Platform;

use crate::commands::{Ended, Invocation, Outcome, parse, usage};
use crate::context::{Context, note, print_line};
use crate::flags::env;
use crate::flags::value::{FlagsError, each, labels, optional, value, wrong};
use crate::interrupt;
use crate::output::screen::Screen;
use crate::output::steps::Steps;
use output::Outputs;

/// Build an image from a Dockerfile
#[derive(clap::Parser)]
struct Args {
    /// Add a custom host-to-IP mapping (format: "host:ip")
    #[arg(long, value_name = "strings")]
    add_host: Vec<String>,
    /// Set build-time variables
    #[arg(long, value_name = "stringArray")]
    build_arg: Vec<String>,
    /// Additional build contexts (format: "name=directory|docker-image://reference|repository")
    #[arg(long, value_name = "stringArray")]
    build_context: Vec<String>,
    /// External cache sources (format: "reference|type=registry,ref=reference")
    #[arg(long, value_name = "stringArray")]
    cache_from: Vec<String>,
    /// Cache export destinations (format: "type=inline|type=registry,ref=reference[,mode=min|max]")
    #[arg(long, value_name = "stringArray")]
    cache_to: Vec<String>,
    /// Set the parent cgroup for the "RUN" instructions during build
    #[arg(long, value_name = "string")]
    cgroup_parent: Option<String>,
    /// Name of the Dockerfile (default: "PATH/Dockerfile")
    #[arg(short, long, value_name = "string")]
    file: Option<PathBuf>,
    /// Always remove intermediate containers: they always are
    #[arg(long, hide = true)]
    force_rm: bool,
    /// Write the image ID to a file
    #[arg(long, value_name = "string")]
    iidfile: Option<PathBuf>,
    /// Set metadata for an image
    #[arg(long, value_name = "stringArray")]
    label: Vec<String>,
    /// Load the result as an image: it always is
    #[arg(long, hide = true)]
    load: bool,
    /// Set the networking mode for the "RUN" instructions during build (default|none|host)
    #[arg(long, value_name = "string", default_value = "default")]
    network: String,
    /// Do not use cache when building the image
    #[arg(long)]
    no_cache: bool,
    /// Output destination (format: "type=image|docker|registry[,name=image][,push=true]")
    #[arg(short, long, value_name = "stringArray")]
    output: Vec<String>,
    /// Set target platform for build
    #[arg(long, value_name = "string")]
    platform: Option<String>,
    /// Set type of progress output
    #[arg(long, value_name = "auto|plain|tty|quiet", default_value = "auto", hide_possible_values = true)]
    progress: ProgressKind,
    /// Always attempt to pull all referenced images
    #[arg(long)]
    pull: bool,
    /// Shorthand for "--output=type=registry"
    #[arg(long)]
    push: bool,
    /// Suppress the build output and print image ID on success
    #[arg(short, long)]
    quiet: bool,
    /// Remove intermediate containers after a successful build: they always are
    #[arg(long, hide = true, value_name = "bool", num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    rm: Option<bool>,
    /// Secret to expose to the build (format: "id=mysecret[,src=/local/secret]")
    #[arg(long, value_name = "stringArray")]
    secret: Vec<String>,
    /// Shared memory size for build containers
    #[arg(long, value_name = "bytes")]
    shm_size: Option<String>,
    /// SSH agent to expose to the build (format: "default|<id>[=<socket>]")
    #[arg(long, value_name = "stringArray")]
    ssh: Vec<String>,
    /// Image identifier (format: "[registry/]repository[:tag]")
    #[arg(short, long, value_name = "stringArray")]
    tag: Vec<String>,
    /// Set the target build stage to build
    #[arg(long, value_name = "string")]
    target: Option<String>,
    /// Ulimit options
    #[arg(long, value_name = "ulimit")]
    ulimit: Vec<String>,
    #[arg(value_name = "PATH | URL | -")]
    context: String,
}

/// How progress is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ProgressKind {
    Auto,
    Plain,
    Tty,
    Quiet,
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    let cancel = Cancel::default();
    let asked = cancel.clone();
    interrupt::watch(move |times| match times {
        1 => asked.cancel(),
        #[expect(
            clippy::disallowed_methods,
            reason = "whoever asks twice does not want to wait for the guards"
        )]
        _ => std::process::exit(i32::from(interrupt::EXIT_INTERRUPTED)),
    })?;
    let kind = if args.quiet { ProgressKind::Quiet } else { args.progress };
    let (progress, screen) = progress(kind);
    let outputs = Outputs::parse(&args.output, args.push)?;
    let pushed = outputs.references(&args.tag)?;
    let mut request = request(context, &args, &invocation, progress, cancel)?;
    request.tags.extend(outputs.names.iter().cloned());

    let engine = context.engine()?;
    let (images, endpoints) = (engine.images(), engine.build_endpoints());
    let building = BuildContext {
        store: engine.store(),
        images: &images,
        registries: Some(engine),
        endpoints: &endpoints,
        network: engine.net_context().clone(),
        git: GitSetup::Own,
    };
    let built = build::build(&building, request);
    if let Some(screen) = screen {
        screen.freeze();
    }
    let output = built.map_err(failed)?;
    if let Some(path) = &args.iidfile {
        std::fs::write(path, &output.image_id)
            .map_err(|source| FlagsError::Write { path: path.clone(), source })?;
    }
    outputs.push(context, &pushed, kind == ProgressKind::Quiet)?;
    if args.quiet {
        print_line(&output.image_id);
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the failing step's last lines, which say more than the error about it.
pub fn failed(error: BuildError) -> Ended {
    if matches!(error, BuildError::Cancelled) {
        note("build cancelled");
        return Ended::Reported(interrupt::EXIT_INTERRUPTED);
    }
    if !error.output().is_empty() {
        let rule = "------";
        note(format_args!("{rule}\n{}\n{rule}", error.output().join("\n")));
    }
    error.into()
}

/// Who is told of the steps, and the screen that is to be left as it is at the end.
pub fn progress(kind: ProgressKind) -> (Arc<dyn Progress>, Option<Arc<Screen>>) {
    match kind {
        ProgressKind::Quiet => (Arc::new(NoProgress), None),
        ProgressKind::Auto if !io::stderr().is_terminal() => (Arc::new(Plain::new(io::stderr())), None),
        ProgressKind::Plain => (Arc::new(Plain::new(io::stderr())), None),
        ProgressKind::Auto | ProgressKind::Tty => {
            let screen = Screen::new();
            (Arc::new(Steps::new(Arc::clone(&screen), "")), Some(screen))
        }
    }
}

fn request(
    context: &mut Context,
    args: &Args,
    invocation: &Invocation,
    progress: Arc<dyn Progress>,
    cancel: Cancel,
) -> Result<BuildRequest, Ended> {
    let unsupported = |flag: &str, instead| FlagsError::Unsupported { flag: flag.to_owned(), instead };
    if args.rm == Some(false) {
        return Err(unsupported("--rm=false", "there are no intermediate containers to keep").into());
    }
    let platform = optional("--platform", &args.platform, Platform::parse)?;
    if let Some(platform) = platform.filter(|platform| *platform != Platform::host()) {
        let instead = "images are built for this machine's own platform only";
        return Err(unsupported(&format!("--platform={platform}"), instead).into());
    }
    let (context, dockerfile) = sources(context, args, invocation, &cancel)?;
    let mut build_args = BTreeMap::new();
    for entry in &args.build_arg {
        let (name, given) = match entry.split_once('=') {
            Some((name, given)) => (name, Some(given.to_owned())),
            None => (entry.as_str(), env::own(entry)),
        };
        if let Some(given) = given {
            build_args.insert(name.to_owned(), given);
        }
    }
    let mut add_hosts = Vec::new();
    for entry in &args.add_host {
        let (host, address) = value("--add-host", entry, syntax::extra_host)?;
        add_hosts.push((host, value("--add-host", &address, str::parse)?));
    }
    let ulimits = each("--ulimit", &args.ulimit, syntax::ulimit)?;
    let (resources, rlimits) = Limits { ulimits, ..Limits::default() }.of_steps()?;
    Ok(BuildRequest {
        context,
        dockerfile,
        contexts: args.build_context.iter().map(|text| named(text)).collect::<Result<_, _>>()?,
        tags: args.tag.clone(),
        target: args.target.clone(),
        build_args,
        labels: labels(&args.label),
        no_cache: args.no_cache,
        cache_from: each("--cache-from", &args.cache_from, str::parse)?,
        cache_to: each("--cache-to", &args.cache_to, str::parse)?,
        pull: if args.pull { PullPolicy::Always } else { PullPolicy::Missing },
        network: match args.network.as_str() {
            "default" | "bridge" => RunNetwork::Default,
            "none" => RunNetwork::None,
            "host" => RunNetwork::Host,
            other => return Err(wrong("--network", other, "must be one of default, none, host").into()),
        },
        add_hosts,
        attachments: Arc::new(Given {
            secrets: args.secret.iter().map(|text| secret(text)).collect::<Result<_, _>>()?,
            ssh_agents: args.ssh.iter().map(|text| ssh_agent(text)).collect::<Result<_, _>>()?,
        }),
        shm_size_bytes: optional("--shm-size", &args.shm_size, syntax::size_bytes)?,
        resources,
        cgroup_parent: args.cgroup_parent.clone(),
        rlimits,
        progress,
        cancel,
    })
}

/// Context and Dockerfile: either may come from standard input, not both.
fn sources(
    context: &mut Context,
    args: &Args,
    invocation: &Invocation,
    cancel: &Cancel,
) -> Result<(Source, DockerfileSource), Ended> {
    let file = args.file.as_deref();
    let from_stdin = file == Some(Path::new("-"));
    let inside = file.filter(|_| !from_stdin).unwrap_or(Path::new("Dockerfile"));
    let failed = |source| FlagsError::Read { path: args.context.clone().into(), source };
    let (source, dockerfile) = match args.context.as_str() {
        "-" if from_stdin => {
            let text = "invalid argument: can't use stdin for both build context and dockerfile";
            return Err(usage(&invocation.path, text));
        }
        "-" => build::sources(io::stdin(), inside).map_err(failed)?,
        directory if Path::new(directory).is_dir() => {
            let dockerfile = file.map(|path| DockerfileSource::File(path.into()));
            (Source::Dir(directory.into()), dockerfile.unwrap_or_default())
        }
        other => match Repository::parse(other)? {
            Some(repository) => {
                (Source::Repository(repository), DockerfileSource::InContext(inside.to_owned()))
            }
            None if other.contains("://") => {
                let client = context.engine()?.registry()?.until(&cancel.flag());
                build::sources(client.download(other)?, inside).map_err(failed)?
            }
            None => return Err(FlagsError::NotADirectory { path: other.into() }.into()),
        },
    };
    Ok((source, if from_stdin { DockerfileSource::Text(read_text()?) } else { dockerfile }))
}

fn read_text() -> Result<String, FlagsError> {
    io::read_to_string(io::stdin()).map_err(|source| FlagsError::Read { path: "-".into(), source })
}

/// `id=name[,src=file|,env=VARIABLE]`.
fn secret(text: &str) -> Result<Secret, FlagsError> {
    let (mut id, mut source) = (None, None);
    for field in text.split(',') {
        match field.split_once('=') {
            Some(("id", name)) => id = Some(name.to_owned()),
            Some(("src" | "source", path)) => source = Some(SecretSource::File(path.into())),
            Some(("env", name)) => {
                let bytes =
                    env::own(name).ok_or_else(|| wrong("--secret", text, "the variable is not set"))?;
                source = Some(SecretSource::Value(bytes.into_bytes()));
            }
            Some(("type", "file" | "env")) => {}
            _ => return Err(wrong("--secret", text, "must be id=name[,src=file|,env=variable]")),
        }
    }
    let id = id.ok_or_else(|| wrong("--secret", text, "its id is missing"))?;
    let by_name = || match env::own(&id) {
        Some(value) => SecretSource::Value(value.into_bytes()),
        None => SecretSource::File(id.clone().into()),
    };
    Ok(Secret { source: source.unwrap_or_else(by_name), id })
}

/// `default`, or `id=socket`; without a socket it is the caller's own agent.
fn ssh_agent(text: &str) -> Result<(String, PathBuf), FlagsError> {
    let (id, socket) = match text.split_once('=') {
        Some((id, socket)) => (id, Some(socket.to_owned())),
        None => (text, env::own("SSH_AUTH_SOCK")),
    };
    let socket = socket.ok_or_else(|| wrong("--ssh", text, "SSH_AUTH_SOCK is not set: no agent runs"))?;
    match std::fs::metadata(&socket) {
        Ok(found) if found.file_type().is_socket() => Ok((id.to_owned(), socket.into())),
        Ok(_) => {
            Err(wrong("--ssh", text, "it is no agent's socket: give the key to an agent with `ssh-add`"))
        }
        Err(source) => Err(FlagsError::Read { path: socket.into(), source }),
    }
}

/// `name=directory`, `name=docker-image://reference` or `name=` and the address of a git repository.
fn named(text: &str) -> Result<(String, NamedContext), Ended> {
    const FLAG: &str = "--build-context";
    let (name, place) = text.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
        wrong(FLAG, text, "must be name=directory, name=docker-image://reference or name=repository")
    })?;
    if Path::new(place).is_dir() {
        return Ok((name.to_owned(), NamedContext::Dir(place.into())));
    }
    let context = match NamedContext::elsewhere(place)? {
        Some(context) => context,
        None if place.contains("://") => {
            let instead = "download it first, then name the directory";
            return Err(FlagsError::Unsupported { flag: format!("{FLAG}={text}"), instead }.into());
        }
        None => return Err(FlagsError::NotADirectory { path: place.into() }.into()),
    };
    Ok((name.to_owned(), context))
}
