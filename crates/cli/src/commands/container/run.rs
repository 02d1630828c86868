//! `run`: a new container and its first process.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use diag::{Class, Diagnose};
use engine::Engine;
use engine::model::ContainerSpec;
use remote::Client;

use super::foreground::Foreground;
use crate::commands::{Ended, Invocation, Outcome, parse};
use crate::context::{Context, note, print_line};
use crate::elsewhere::Session;
use crate::flags::container::{ContainerFlags, WantedImage};
use crate::interrupt;
use crate::session::DetachKeys;

/// Create and run a new container from an image
#[derive(clap::Parser)]
#[command(disable_help_flag = true)]
struct Args {
    /// Run container in background and print container ID
    #[arg(short, long)]
    detach: bool,
    /// Override the key sequence for detaching a container
    #[arg(long, value_name = "string")]
    detach_keys: Option<String>,
    /// Proxy received signals to the process
    #[arg(long, value_name = "bool", num_args = 0..=1, require_equals = true, default_missing_value = "true",
          default_value = "true", action = clap::ArgAction::Set, hide_possible_values = true)]
    sig_proxy: bool,
    #[command(flatten)]
    flags: ContainerFlags,
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    execute(context, &invocation).map_err(Ended::of_process)
}

fn execute(context: &Context, invocation: &Invocation) -> Outcome {
    let args: Args = parse(invocation)?;
    args.flags.refuse_unknown::<Args>(&invocation.path)?;
    let keys = DetachKeys::from_flag(args.detach_keys.as_deref())?;
    if args.detach && !args.flags.attach.is_empty() {
        return Err(RunError::DetachAndAttach.into());
    }
    let cidfile = args.flags.cidfile.as_deref().map(CidFile::create).transpose()?;
    let (detach, sig_proxy) = (args.detach, args.sig_proxy);
    let image = args.flags.image()?;
    let mut spec = args.flags.resolve().map_err(Ended::plain)?;
    if detach {
        spec.process.attach = [false; 3];
        spec.process.stdin_once = false;
    }
    if let Some(remote) = context.remote()? {
        let keys = (keys, args.detach_keys.as_deref());
        return elsewhere(remote, spec, &image, cidfile, detach, keys, sig_proxy);
    }
    let engine = context.engine()?;
    image.ensure(engine, &spec).map_err(Ended::plain)?;
    match detach {
        true => in_background(engine, spec, cidfile),
        false => in_foreground(engine, spec, cidfile, keys, sig_proxy),
    }
}

fn in_background(engine: &Engine, spec: ContainerSpec, cidfile: Option<CidFile>) -> Outcome {
    let signals = interrupt::hold()?;
    let created = engine.run_detached(spec)?;
    if matches!(signals.take(), Ok(Some(_))) {
        // Whoever asked for the end was not told of a container yet.
        engine.reap(created.id.as_str())?;
        return Err(Ended::Reported(interrupt::EXIT_INTERRUPTED));
    }
    created.warnings.iter().for_each(|warning| note(format_args!("WARNING: {warning}")));
    cidfile.map(|file| file.keep(created.id.as_str())).transpose()?;
    print_line(&created.id);
    Ok(ExitCode::SUCCESS)
}

fn in_foreground(
    engine: &Engine,
    mut spec: ContainerSpec,
    cidfile: Option<CidFile>,
    keys: DetachKeys,
    sig_proxy: bool,
) -> Outcome {
    let foreground = Foreground::new(spec.process.attach, spec.process.tty, keys, sig_proxy)?;
    spec.process.console_size = foreground.size();
    let remove = spec.auto_remove;
    // From here on a signal waits until the container can be told of it.
    let signals = foreground.block_signals()?;
    let (created, stream) = engine.run_attached(spec, foreground.attach_options(remove))?;
    created.warnings.iter().for_each(|warning| note(format_args!("WARNING: {warning}")));
    cidfile.map(|file| file.keep(created.id.as_str())).transpose()?;
    if !foreground.shows_output() {
        // `run -a stdin`: nothing else comes from the container.
        print_line(&created.id);
    }
    foreground.run(engine, &created.id, stream, signals, remove)
}

/// As [`in_background`] and [`in_foreground`], at another engine.
fn elsewhere(
    client: &Client,
    mut spec: ContainerSpec,
    image: &WantedImage,
    cidfile: Option<CidFile>,
    detach: bool,
    (keys, typed): (DetachKeys, Option<&str>),
    sig_proxy: bool,
) -> Outcome {
    let (streams, tty, remove) = (spec.process.attach, spec.process.tty, spec.auto_remove);
    if detach {
        let id = crate::elsewhere::create(client, &spec, image)?;
        cidfile.map(|file| file.keep(&id)).transpose()?;
        client.post(&["containers", &id, "start"]).done()?;
        print_line(id);
        return Ok(ExitCode::SUCCESS);
    }
    let foreground = Foreground::new(streams, tty, keys, sig_proxy)?;
    spec.process.console_size = foreground.size();
    let id = crate::elsewhere::create(client, &spec, image)?;
    cidfile.map(|file| file.keep(&id)).transpose()?;
    if !foreground.shows_output() {
        print_line(&id);
    }
    Session::new(client, &id, foreground, typed)?.run(if remove { "removed" } else { "next-exit" }, true)
}

/// A file that is made before the container and holds its id afterwards; a failed run removes it again.
pub struct CidFile {
    path: PathBuf,
    file: Option<File>,
}

impl CidFile {
    /// Makes the file; one that exists already is an error, as another container's id may be in it.
    pub fn create(path: &Path) -> Result<Self, RunError> {
        match File::create_new(path) {
            Ok(file) => Ok(Self { path: path.into(), file: Some(file) }),
            Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                Err(RunError::CidFileExists { path: path.into() })
            }
            Err(source) => Err(RunError::CidFile { path: path.into(), source }),
        }
    }

    /// Writes the id; the file stays.
    pub fn keep(mut self, id: &str) -> Result<(), RunError> {
        let mut file = self.file.take().expect("it is taken here only");
        file.write_all(id.as_bytes()).map_err(|source| RunError::CidFile { path: self.path.clone(), source })
    }
}

impl Drop for CidFile {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

/// What `run` refuses before there is a container.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error("conflicting options: cannot specify both --attach and --detach")]
    DetachAndAttach,
    #[error(
        "container ID file found, make sure the other container isn't running or delete {}",
        path.display()
    )]
    CidFileExists { path: PathBuf },
    #[error("cannot write the container ID file {}", path.display())]
    CidFile { path: PathBuf, source: std::io::Error },
}

impl Diagnose for RunError {
    fn class(&self) -> Class {
        match self {
            RunError::DetachAndAttach => Class::Invalid,
            RunError::CidFileExists { .. } => Class::Conflict,
            RunError::CidFile { source, .. } => Class::of_io(source),
        }
    }
}
