//! `hull oci`, also when the binary is called `hull-oci`: the command line by which containerd, CRI-O, podman and Docker drive
//! a runtime, as runc made it.
//!
//! Each command is one process and one short life, so nothing of the rest of `hull` is built for it: [`main`] is called before
//! any other parser, flags are read by a small table ([`flags`]), and what the commands do is in [`runtime::container`].
//! Start reading at [`TABLE`].

mod create;
mod error;
mod events;
mod exec;
mod features;
mod flags;
mod foreground;
mod help;
mod lists;
mod log;
mod process;
mod spec;
mod steer;
mod update;

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use cgroup::Manager;
use diag::Failure;
use runtime::container::Containers;

use error::OciError;
use flags::{Flag, Parsed};
use log::Log;

/// One command.
struct Command {
    name: &'static str,
    /// What follows the flags, for the usage line.
    operands: &'static str,
    about: &'static str,
    flags: &'static [Flag],
    /// How many words may follow the flags.
    count: std::ops::RangeInclusive<usize>,
    action: fn(&Call) -> Result<ExitCode, Failure>,
    /// The exit status when it fails.
    failure: u8,
}

const MANY: usize = usize::MAX;

const fn command(
    name: &'static str,
    operands: &'static str,
    about: &'static str,
    flags: &'static [Flag],
    count: std::ops::RangeInclusive<usize>,
    action: fn(&Call) -> Result<ExitCode, Failure>,
) -> Command {
    Command { name, operands, about, flags, count, action, failure: 1 }
}

/// Every command.
static TABLE: &[Command] = &[
    command("create", "ID", "Create a container", create::FLAGS, 1..=1, create::create),
    command("start", "ID", "Start a created container", &[], 1..=1, steer::start),
    command("run", "ID", "Create and start a container", create::RUN_FLAGS, 1..=1, create::run),
    command("state", "ID", "Show the state of a container", &[], 1..=1, lists::state),
    command("kill", "ID [SIGNAL]", "Send a signal to a container", steer::KILL_FLAGS, 1..=2, steer::kill),
    command("delete", "ID", "Remove a container", steer::DELETE_FLAGS, 1..=1, steer::delete),
    Command {
        failure: 255,
        ..command(
            "exec",
            "ID COMMAND [ARG...]",
            "Run one more process in a container",
            exec::FLAGS,
            1..=MANY,
            exec::run,
        )
    },
    command(
        "ps",
        "ID [OPTION...]",
        "List the processes of a container",
        lists::PS_FLAGS,
        1..=MANY,
        lists::ps,
    ),
    command("list", "", "List the containers of a root", lists::LIST_FLAGS, 0..=0, lists::list),
    command("pause", "ID", "Freeze all processes of a container", &[], 1..=1, steer::pause),
    command("resume", "ID", "Let a paused container go on", &[], 1..=1, steer::resume),
    command("update", "ID", "Change the limits of a container", update::FLAGS, 1..=1, update::run),
    command("events", "ID", "Show what a container uses", events::FLAGS, 1..=1, events::run),
    command("spec", "", "Write a configuration to start from", spec::FLAGS, 0..=0, spec::run),
    command("features", "", "Show what this runtime can do", &[], 0..=0, features::run),
    command("checkpoint", "ID", "Not supported", &[], 0..=MANY, steer::refused),
    command("restore", "ID", "Not supported", &[], 0..=MANY, steer::refused),
];

const GLOBAL_FLAGS: &[Flag] = &[
    Flag::value("root", "path", "Where the state of containers is kept (default \"/run/hull-oci\")"),
    Flag::value("log", "path", "Where to log (default standard error)"),
    Flag::value("log-format", "format", "How to log: \"text\" or \"json\" (default \"text\")"),
    Flag::switch("debug", "Log what is called for"),
    Flag::switch("systemd-cgroup", "Read linux.cgroupsPath as slice:prefix:name"),
    Flag::switch("version", "Print version information and quit").short('v'),
    Flag::switch("help", "Print this text and quit").short('h'),
];

/// A command that was called for.
struct Call {
    command: &'static Command,
    root: PathBuf,
    manager: Manager,
    log: Log,
    flags: Parsed,
}

impl Call {
    fn containers(&self) -> Containers {
        Containers::at(self.root.clone())
    }

    /// The container that was named.
    fn id(&self) -> &str {
        &self.flags.operands[0]
    }
}

/// Runs the command line `args` of the runtime called `program`.
pub fn main(program: &str, args: impl Iterator<Item = OsString>) -> ExitCode {
    let mut log = Log::default();
    let (call, status) = match parse(program, args, &mut log) {
        Ok(Parse::Call(call)) => {
            let status = call.command.failure;
            (call, status)
        }
        Ok(Parse::Print(text)) => {
            crate::context::print(&text);
            return ExitCode::SUCCESS;
        }
        Err(error) => return report(&log, &error.into(), 1),
    };
    match (call.command.action)(&call) {
        Ok(code) => code,
        Err(failure) => report(&call.log, &failure, status),
    }
}

fn report(log: &Log, failure: &Failure, status: u8) -> ExitCode {
    log.failure(failure);
    ExitCode::from(status)
}

enum Parse {
    Call(Call),
    /// Only something to print.
    Print(String),
}

fn parse(program: &str, args: impl Iterator<Item = OsString>, log: &mut Log) -> Result<Parse, OciError> {
    let words = args.map(|word| word.into_string().map_err(OciError::NotUtf8)).collect::<Result<_, _>>()?;
    let global = flags::parse(GLOBAL_FLAGS, words)?;
    *log = Log::new(global.one("log"), global.one("log-format"), global.is_set("debug")?)?;
    if global.is_set("version")? {
        return Ok(Parse::Print(help::version()));
    }
    let mut words = global.operands.iter().cloned();
    let name = match words.next() {
        Some(name) if name != "help" && !global.is_set("help")? => name,
        _ => return Ok(Parse::Print(help::all(program))),
    };
    let command = TABLE.iter().find(|command| command.name == name);
    let command = command.ok_or_else(|| OciError::UnknownCommand { program: program.to_owned(), name })?;
    let words: Vec<String> = words.collect();
    if matches!(words.first().map(String::as_str), Some("--help" | "-h" | "-help")) {
        return Ok(Parse::Print(help::one(program, command)));
    }
    log.debug(&format!("{} {}", command.name, words.join(" ")));
    let flags = flags::parse(command.flags, words)?;
    if !command.count.contains(&flags.operands.len()) {
        return Err(OciError::Operands { usage: help::usage(program, command), given: flags.operands.len() });
    }
    let manager = match global.is_set("systemd-cgroup")? {
        true => Manager::Systemd,
        false => Manager::Cgroupfs,
    };
    let root = global.one("root").map_or_else(default_root, PathBuf::from);
    Ok(Parse::Call(Call { command, root, manager, log: log.clone(), flags }))
}

/// Where state is kept when nothing is said: a tmpfs, so that no container survives a reboot on paper.
fn default_root() -> PathBuf {
    let run = match sys::user::effective_uid() {
        0 => None,
        _ => std::env::var_os("XDG_RUNTIME_DIR").filter(|path| !path.is_empty()),
    };
    run.map_or_else(|| PathBuf::from("/run"), PathBuf::from).join("hull-oci")
}
