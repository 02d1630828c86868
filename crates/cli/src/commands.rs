//! The table of commands, and finding the one that was typed.

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;
use diag::{EXIT_USAGE, ExitTable, Failure};

use crate::context::Context;
use crate::{globals, help};

mod version;

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

/// One row: a command or a group of commands.
pub struct Command {
    pub name: &'static str,
    pub section: Section,
    pub about: &'static str,
    pub action: Action,
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

    /// A failure of `run`, `start -a` or `exec`, whose statuses are the process's or 125.
    pub fn process(failure: impl Into<Failure>) -> Self {
        Ended::Failed(ExitTable::Process, failure.into())
    }
}

const fn run(
    name: &'static str,
    section: Section,
    about: &'static str,
    action: fn(&mut Context, Invocation) -> Outcome,
) -> Command {
    Command { name, section, about, action: Action::Run(action) }
}

/// Every command, in the order `--help` lists them.
pub static TABLE: &[Command] =
    &[run("version", Section::Common, "Show the hull version information", version::run)];

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
        Action::Run(action) => action(context, Invocation { path, args }),
        Action::Group(table) => resolve(context, &path, table, args),
    }
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
            eprint!("{text}");
            ExitCode::from(status)
        }
        Ended::Failed(table, failure) => {
            eprintln!("{}", diag::render(&failure));
            ExitCode::from(diag::exit_status(table, &failure))
        }
        Ended::Reported(status) => ExitCode::from(status),
    }
}

/// A usage error: `text` and where to read more, with Docker's exit status for unusable flags.
pub fn usage(path: &str, text: impl std::fmt::Display) -> Ended {
    Ended::Usage { text: format!("{text}\nSee '{path} --help'.\n"), status: EXIT_USAGE }
}
