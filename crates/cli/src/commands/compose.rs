//! `compose`: the flags before its verbs, and the table of these.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::process::ExitCode;

use build::BuildError;
use compose::{Interrupt, LoadError, LoadOptions, Project, Stack, StackError};

use super::{Ended, Invocation, Outcome, usage};
use crate::context::{Context, note};

mod build_images;
mod config;
mod control;
mod down;
mod events;
mod exec;
mod files;
mod flags;
mod images;
mod list;
mod logs;
mod push;
mod report;
mod run_service;
mod up;
mod watch;

use flags::Flags;
use report::Printer;

/// One verb of `compose`.
struct Verb {
    name: &'static str,
    about: &'static str,
    action: fn(&Compose<'_>, Invocation) -> Outcome,
}

const fn verb(
    name: &'static str,
    about: &'static str,
    action: fn(&Compose<'_>, Invocation) -> Outcome,
) -> Verb {
    Verb { name, about, action }
}

static VERBS: &[Verb] = &[
    verb(
        "attach",
        "Attach local standard input, output, and error streams to a service's container",
        watch::attach,
    ),
    verb("build", "Build or rebuild services", build_images::build),
    verb("config", "Parse, resolve and render compose file in canonical format", config::run),
    verb("cp", "Copy files/folders between a service container and the local filesystem", files::cp),
    verb("create", "Creates containers for a service", up::create),
    verb("down", "Stop and remove containers, networks", down::run),
    verb("events", "Receive real time events from containers", events::run),
    verb("exec", "Execute a command in a running container", exec::run),
    verb("export", "Export a service container's filesystem as a tar archive", files::export),
    verb("images", "List images used by the created containers", images::images),
    verb("kill", "Force stop service containers", control::kill),
    verb("logs", "View output from containers", logs::run),
    verb("ls", "List running compose projects", list::projects),
    verb("pause", "Pause services", control::pause),
    verb("port", "Print the public port for a port binding", list::port),
    verb("ps", "List containers", list::containers),
    verb("pull", "Check that service images are present", build_images::pull),
    verb("push", "Push service images", push::run),
    verb("restart", "Restart service containers", control::restart),
    verb("rm", "Removes stopped service containers", down::rm),
    verb("run", "Run a one-off command on a service", run_service::run),
    verb("scale", "Scale services", up::scale),
    verb("start", "Start services", control::start),
    verb("stats", "Display a live stream of container(s) resource usage statistics", watch::stats),
    verb("stop", "Stop services", control::stop),
    verb("top", "Display the running processes", list::top),
    verb("unpause", "Unpause services", control::unpause),
    verb("up", "Create and start containers", up::up),
    verb("version", "Show the Compose version information", config::version),
    verb("volumes", "List volumes", list::volumes),
    verb("wait", "Block until containers of all (or specified) services stop", control::wait),
];

/// Verbs of Docker Compose that hull does not have; `convert` is an old name of `config`.
static OTHERS: &[Verb] = &[
    verb("alpha", "", watch::refused),
    verb("bridge", "", watch::refused),
    verb("commit", "", watch::refused),
    verb("convert", "", config::run),
    verb("publish", "", watch::refused),
    verb("viz", "", watch::refused),
    verb("watch", "", watch::refused),
];

/// One invocation of `compose`: what every verb needs.
struct Compose<'a> {
    context: &'a Context,
    flags: Flags,
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let Some((flags, mut words)) = Flags::parse(&invocation.path, invocation.args)? else {
        return Err(Ended::Usage { text: help(&invocation.path), status: 0 });
    };
    if words.is_empty() {
        return Err(Ended::Usage { text: help(&invocation.path), status: 0 });
    }
    let word = words.remove(0).to_string_lossy().into_owned();
    if word == "help" {
        let Some(topic) = words.first().cloned() else {
            return Err(Ended::Usage { text: help(&invocation.path), status: 0 });
        };
        return run(
            context,
            Invocation { path: invocation.path, args: vec![topic, OsString::from("--help")] },
        );
    }
    let Some(verb) = VERBS.iter().chain(OTHERS).find(|verb| verb.name == word) else {
        return Err(usage(&invocation.path, format_args!("unknown compose command: {word:?}")));
    };
    let compose = Compose { context, flags };
    (verb.action)(&compose, Invocation { path: format!("{} {word}", invocation.path), args: words })
}

fn help(path: &str) -> String {
    let mut out =
        format!("Usage:  {path} [OPTIONS] COMMAND\n\nDefine and run multi-container applications\n");
    out.push_str(flags::HELP);
    out.push_str("\nCommands:\n");
    for verb in VERBS {
        let _ = writeln!(out, "  {:<11} {}", verb.name, verb.about);
    }
    let _ = write!(out, "\nRun '{path} COMMAND --help' for more information on a command.\n");
    out
}

impl Compose<'_> {
    /// The project with `services` enabled; says what loading wants to be said.
    fn load(&self, services: &[String]) -> Result<Project, Ended> {
        let project = Project::load(&self.options(services))?;
        project.warnings.iter().for_each(|warning| note(format_args!("WARNING: {warning}")));
        Ok(project)
    }

    /// As [`Compose::load`], for verbs on what exists: a named project needs no file.
    fn load_or_named(&self, services: &[String]) -> Result<Project, Ended> {
        let options = self.options(services);
        match (Project::load(&options), Project::name_without_file(&options)) {
            (Err(LoadError::NoFile { .. }), Some(name)) => Ok(Project::bare(name)),
            (loaded, _) => {
                let project = loaded?;
                project.warnings.iter().for_each(|warning| note(format_args!("WARNING: {warning}")));
                Ok(project)
            }
        }
    }

    fn options(&self, services: &[String]) -> LoadOptions {
        LoadOptions {
            files: self.flags.files.clone(),
            project_directory: self.flags.project_directory.clone(),
            project_name: self.flags.project_name.clone(),
            env_files: self.flags.env_files.clone(),
            profiles: self.flags.profiles.clone(),
            services: services.to_vec(),
            ..LoadOptions::from_process()
        }
    }

    /// Runs `body` on the project's stack; Ctrl-C ends the process.
    fn on<T>(
        &self,
        project: &Project,
        printer: &Printer,
        body: impl FnOnce(&Stack<'_>) -> Result<T, diag::Failure>,
    ) -> Result<T, Ended> {
        self.with(project, printer, &Interrupt::default(), body)
    }

    /// Runs `body` on the project's stack; Ctrl-C asks it to stop.
    fn interruptible<T>(
        &self,
        project: &Project,
        printer: &Printer,
        body: impl FnOnce(&Stack<'_>) -> Result<T, diag::Failure>,
    ) -> Result<T, Ended> {
        let interrupt = report::interrupt_on_signals()?;
        self.with(project, printer, &interrupt, body)
    }

    fn with<T>(
        &self,
        project: &Project,
        printer: &Printer,
        interrupt: &Interrupt,
        body: impl FnOnce(&Stack<'_>) -> Result<T, diag::Failure>,
    ) -> Result<T, Ended> {
        let engine = self.context.engine()?;
        let stack = Stack { engine, project, reporter: printer, interrupt };
        body(&stack).map_err(|failure| {
            if let Some(error) = failure.error().downcast_ref::<BuildError>() {
                error.output().iter().for_each(note);
            }
            match failure.error().downcast_ref::<StackError>() {
                Some(StackError::Interrupted) => Ended::Reported(INTERRUPTED),
                _ if interrupt.is_raised() => {
                    note(crate::explain::render(&failure));
                    Ended::Reported(INTERRUPTED)
                }
                _ => Ended::plain(failure),
            }
        })
    }
}

/// The status of a command that Ctrl-C ended: 128 and the signal's number.
const INTERRUPTED: u8 = 130;

/// The status of a verb that says all it has to say while it runs.
fn done(_: ()) -> ExitCode {
    ExitCode::SUCCESS
}
