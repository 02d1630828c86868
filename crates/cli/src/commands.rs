//! The table of commands, and finding the one that was typed.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use diag::{EXIT_USAGE, ExitTable, Failure};

use crate::context::Context;
use crate::{globals, help};

mod compose;
pub mod container;
mod context;
mod image;
mod inspect;
mod manifest;
mod many;
mod network;
mod prompt;
mod prune;
mod registry;
mod serve;
mod system;
mod volume;

/// Under which heading of `--help` a command stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Section {
    Common,
    Management,
    Plain,
    /// Works, but is not listed: hull's own helpers and aliases.
    Hidden,
}

/// What running a command ends with.
pub type Outcome = Result<ExitCode, Ended>;

/// With which engines a command works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// With this host's alone: it is refused when another one was chosen.
    Here,
    /// With any: over the API with another than this host's.
    Anywhere,
    /// With none of this host's: programs that keep passwords, in particular, talk to their user's own session.
    Homeless,
}

/// One row: a command or a group of commands.
pub struct Command {
    pub name: &'static str,
    pub section: Section,
    pub about: &'static str,
    pub action: Action,
    pub reach: Reach,
}

pub enum Action {
    Run(fn(&mut Context, Invocation) -> Outcome),
    Group(&'static [Command]),
}

/// The words after the command's own, and the words that named it.
pub struct Invocation {
    /// `docker container run`, as it is shown in usage lines.
    pub path: String,
    pub args: Vec<OsString>,
}

/// Why a command ended without an exit status of its own.
pub enum Ended {
    /// Printed as it stands, to standard output for help and to standard error otherwise.
    Usage { text: String, status: u8 },
    /// A failure, and the table its exit status comes from.
    Failed(ExitTable, Failure),
    /// Failures already printed one by one; only the status is left.
    Reported(u8),
}

impl<E: diag::Diagnose> From<E> for Ended {
    fn from(error: E) -> Self {
        Ended::Failed(ExitTable::Plain, error.into())
    }
}

impl Ended {
    /// A failure already boxed on its way here.
    pub fn plain(failure: Failure) -> Self {
        Ended::Failed(ExitTable::Plain, failure)
    }

    /// The same end of `run`, whose statuses are the process's or 125.
    pub fn of_process(self) -> Self {
        self.by(ExitTable::Process)
    }

    /// The same end of `exec`, whose statuses are the process's or 1.
    pub fn of_exec(self) -> Self {
        self.by(ExitTable::Exec)
    }

    /// The same usage error with another exit status.
    pub fn with_status(self, status: u8) -> Self {
        match self {
            Ended::Usage { text, .. } => Ended::Usage { text, status },
            other => other,
        }
    }

    fn by(self, table: ExitTable) -> Self {
        match self {
            Ended::Failed(_, failure) => Ended::Failed(table, failure),
            other => other,
        }
    }
}

const fn run(
    name: &'static str,
    section: Section,
    about: &'static str,
    action: fn(&mut Context, Invocation) -> Outcome,
) -> Command {
    Command { name, section, about, action: Action::Run(action), reach: Reach::Here }
}

/// A command that works over the API, too.
const fn anywhere(
    name: &'static str,
    section: Section,
    about: &'static str,
    action: fn(&mut Context, Invocation) -> Outcome,
) -> Command {
    Command { reach: Reach::Anywhere, ..run(name, section, about, action) }
}

/// A command that uses nothing of this host's engine.
const fn homeless(
    name: &'static str,
    section: Section,
    about: &'static str,
    action: fn(&mut Context, Invocation) -> Outcome,
) -> Command {
    Command { reach: Reach::Homeless, ..run(name, section, about, action) }
}

const fn group(name: &'static str, about: &'static str, table: &'static [Command]) -> Command {
    Command { name, section: Section::Management, about, action: Action::Group(table), reach: Reach::Here }
}

/// Every command, in the order `--help` lists them.
pub static TABLE: &[Command] = &[
    anywhere("run", Section::Common, container::ABOUT_RUN, container::run::run),
    anywhere("exec", Section::Common, container::ABOUT_EXEC, container::exec::run),
    anywhere("ps", Section::Common, container::ABOUT_LIST, container::list::run),
    run("build", Section::Common, image::ABOUT_BUILD, image::build::run),
    anywhere("images", Section::Common, image::ABOUT_LIST, image::list::run),
    anywhere("pull", Section::Common, image::ABOUT_PULL, image::pull::run),
    anywhere("push", Section::Common, image::ABOUT_PUSH, image::push::run),
    homeless("version", Section::Common, "Show the hull version information", system::info::version),
    group("builder", "Manage builds", image::BUILDER),
    run("compose", Section::Management, "Define and run multi-container applications", compose::run),
    group("container", "Manage containers", container::GROUP),
    group("context", "Manage the engines that are known by names", context::GROUP),
    group("image", "Manage images", image::GROUP),
    group("manifest", "Manage image manifests and manifest lists", manifest::GROUP),
    group("network", "Manage networks", network::GROUP),
    group("registry", "Serve images to others", registry::GROUP),
    group("system", "Manage hull", system::GROUP),
    group("volume", "Manage volumes", volume::GROUP),
    anywhere("attach", Section::Plain, container::ABOUT_ATTACH, container::attach::run),
    anywhere("commit", Section::Plain, container::ABOUT_COMMIT, container::files::commit),
    anywhere("cp", Section::Plain, container::ABOUT_COPY, container::copy::run),
    anywhere("create", Section::Plain, container::ABOUT_CREATE, container::create::run),
    anywhere("export", Section::Plain, container::ABOUT_EXPORT, container::files::export),
    anywhere("history", Section::Plain, image::ABOUT_HISTORY, image::history::run),
    anywhere("import", Section::Plain, image::ABOUT_IMPORT, image::load::import),
    anywhere("diff", Section::Plain, container::ABOUT_DIFF, container::files::diff),
    anywhere("events", Section::Plain, "Get real time events", system::events::run),
    anywhere("info", Section::Common, "Display system-wide information", system::info::run),
    anywhere("inspect", Section::Plain, "Return low-level information on hull objects", inspect::run),
    anywhere("kill", Section::Plain, container::ABOUT_KILL, container::control::kill),
    anywhere("load", Section::Plain, image::ABOUT_LOAD, image::load::load),
    homeless("login", Section::Plain, "Authenticate to a registry", registry::login::run),
    homeless("logout", Section::Plain, "Log out from a registry", registry::logout::run),
    anywhere("logs", Section::Plain, container::ABOUT_LOGS, container::logs::run),
    anywhere("pause", Section::Plain, container::ABOUT_PAUSE, container::control::pause),
    anywhere("port", Section::Plain, container::ABOUT_PORT, container::watch::port),
    anywhere("rename", Section::Plain, container::ABOUT_RENAME, container::control::rename),
    anywhere("restart", Section::Plain, container::ABOUT_RESTART, container::control::restart),
    anywhere("rm", Section::Plain, container::ABOUT_REMOVE, container::remove::run),
    anywhere("rmi", Section::Plain, image::ABOUT_REMOVE, image::remove::run),
    anywhere("save", Section::Plain, image::ABOUT_SAVE, image::load::save),
    homeless("search", Section::Plain, "Search Docker Hub for images", registry::search::run),
    run("serve", Section::Plain, serve::ABOUT, serve::run),
    anywhere("start", Section::Plain, container::ABOUT_START, container::start::run),
    anywhere("stats", Section::Plain, container::ABOUT_STATS, container::watch::stats),
    anywhere("stop", Section::Plain, container::ABOUT_STOP, container::control::stop),
    anywhere("tag", Section::Plain, image::ABOUT_TAG, image::tag::run),
    anywhere("top", Section::Plain, container::ABOUT_TOP, container::watch::top),
    anywhere("unpause", Section::Plain, container::ABOUT_UNPAUSE, container::control::unpause),
    anywhere("update", Section::Plain, container::ABOUT_UPDATE, container::update::run),
    anywhere("wait", Section::Plain, container::ABOUT_WAIT, container::control::wait),
];

/// Finds the command `args` name, runs it, and prints how it failed when it did.
pub fn dispatch(program: &OsString, args: Vec<OsString>) -> ExitCode {
    let program = help::program_name(program);
    let outcome = globals::parse(&program, args).and_then(|(globals, rest)| {
        let mut context = Context::new(program.clone(), globals);
        resolve(&mut context, &program, TABLE, rest)
    });
    match outcome {
        Ok(code) => code,
        Err(ended) => report(ended),
    }
}

fn resolve(context: &mut Context, path: &str, table: &'static [Command], mut args: Vec<OsString>) -> Outcome {
    if args.is_empty() {
        return Err(Ended::Usage { text: help::group(path, table), status: 0 });
    }
    let word = args.remove(0);
    let word = word.to_string_lossy();
    if matches!(word.as_ref(), "--help" | "-h" | "help") && (path.contains(' ') || args.is_empty()) {
        return Err(Ended::Usage { text: help::group(path, table), status: 0 });
    }
    if word == "help" {
        args.push("--help".into());
        return resolve(context, path, table, args);
    }
    let Some(command) = table.iter().find(|command| command.name == word) else {
        return Err(Ended::Usage { text: help::unknown_command(path, &word, table), status: 1 });
    };
    let path = format!("{path} {word}");
    match command.action {
        Action::Run(action) => {
            // Before the command reads anything or starts a thread; one that only explains itself needs nothing.
            if !args.iter().any(|word| word == "--help") {
                prepare(context, command, &path).map_err(|ended| match command.name {
                    "run" => ended.of_process(),
                    "exec" => ended.of_exec(),
                    _ => ended,
                })?;
            }
            action(context, Invocation { path, args })
        }
        Action::Group(table) => resolve(context, &path, table, args),
    }
}

/// Sees to it that `command` is for the engine that was chosen, and that this process is where that one is, if it is here.
fn prepare(context: &Context, command: &Command, path: &str) -> Result<(), Ended> {
    match command.reach {
        Reach::Homeless => return Ok(()),
        Reach::Here => context.refuse_elsewhere(path)?,
        Reach::Anywhere => {}
    }
    if command.section == Section::Hidden || context.endpoint()?.is_some() {
        return Ok(());
    }
    context.go_home()
}

/// Parses `invocation` as the flags of `T`; usage errors read as Docker's do.
pub fn parse<T: Parser>(invocation: &Invocation) -> Result<T, Ended> {
    let words = std::iter::once(OsString::from(&invocation.path)).chain(invocation.args.iter().cloned());
    let command = T::command().bin_name(invocation.path.clone()).disable_version_flag(true);
    let parsed =
        command.try_get_matches_from(words).and_then(|mut matches| T::from_arg_matches_mut(&mut matches));
    parsed.map_err(|error| help::usage_error(&invocation.path, &error))
}

fn report(ended: Ended) -> ExitCode {
    match ended {
        Ended::Usage { text, status: 0 } => {
            crate::context::print(&text);
            ExitCode::SUCCESS
        }
        Ended::Usage { text, status } => {
            crate::context::note(text.trim_end_matches('\n'));
            ExitCode::from(status)
        }
        Ended::Failed(table, failure) => {
            // Not `eprintln!`, which panics when standard error is a pipe whose reader has gone.
            crate::context::note(crate::explain::render(&failure));
            ExitCode::from(diag::exit_status(table, &failure))
        }
        Ended::Reported(status) => ExitCode::from(status),
    }
}

/// A usage error: `text` and where to read more, with Docker's exit status for unusable flags.
pub fn usage(path: &str, text: impl std::fmt::Display) -> Ended {
    Ended::Usage { text: format!("{text}\nSee '{path} --help'.\n"), status: EXIT_USAGE }
}
