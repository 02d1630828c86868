//! Help and usage errors, worded and grouped as Docker's.

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::path::Path;

use clap::error::{ContextKind, ContextValue, ErrorKind};

use crate::commands::{Action, Command, Ended, Section, usage};

/// What this binary is called in its own texts: the last part of the path it was started by.
pub fn program_name(program: &OsStr) -> String {
    let name = Path::new(program).file_name().unwrap_or(program);
    name.to_string_lossy().into_owned()
}

/// The help of `path`, whose commands are `table`.
pub fn group(path: &str, table: &[Command]) -> String {
    let mut out = String::new();
    if path.contains(' ') {
        let _ = write!(out, "Usage:  {path} COMMAND\n\nCommands:\n");
        list(&mut out, table.iter().filter(|command| command.section != Section::Hidden));
        let _ = write!(out, "\nRun '{path} COMMAND --help' for more information on a command.\n");
        return out;
    }
    let _ = write!(
        out,
        "Usage:  {path} [OPTIONS] COMMAND\n\nBuilds, runs and connects containers, without a daemon\n"
    );
    let headings = [
        (Section::Common, "Common Commands"),
        (Section::Management, "Management Commands"),
        (Section::Plain, "Commands"),
    ];
    for (section, heading) in headings {
        let _ = write!(out, "\n{heading}:\n");
        list(&mut out, table.iter().filter(|command| command.section == section));
    }
    out.push_str(
        "\nGlobal Options:
  -c, --context name     Use the engine of this context (see `context ls`); \"default\" is this host's own
  -D, --debug            Print more about what goes wrong
  -H, --host address     Use another engine: unix:///path, tcp://host:port or ssh://[user@]host
      --root path        Where images, containers and volumes are kept (default \"/var/lib/hull\")
      --run-root path    Where the state of running containers is kept (default \"/run/hull\")
  -v, --version          Print version information and quit\n",
    );
    let _ = write!(out, "\nRun '{path} COMMAND --help' for more information on a command.\n");
    out
}

fn list<'a>(out: &mut String, commands: impl Iterator<Item = &'a Command>) {
    for command in commands {
        let _ = writeln!(out, "  {:<11} {}", command.name, command.about);
    }
}

/// What is said of a word that is no command.
pub fn unknown_command(path: &str, word: &str, table: &[Command]) -> String {
    let mut out = match path.split_once(' ') {
        None => format!("{path}: '{word}' is not a {path} command.\n"),
        Some(_) => format!("unknown command \"{word}\" for \"{path}\"\n"),
    };
    let known = table
        .iter()
        .filter(|command| command.section != Section::Hidden || matches!(command.action, Action::Run(_)))
        .map(|command| command.name);
    if let Some(name) = diag::similar(word, known) {
        let _ = writeln!(out, "Did you mean '{path} {name}'?");
    }
    let _ = writeln!(out, "See '{path} --help'");
    out
}

/// Translates what clap says of wrong words into what Docker says of them.
pub fn usage_error(path: &str, error: &clap::Error) -> Ended {
    let named = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.clone(),
        Some(ContextValue::Strings(texts)) => texts.join(" "),
        _ => String::new(),
    };
    let argument = named(ContextKind::InvalidArg);
    match error.kind() {
        ErrorKind::DisplayHelp => Ended::Usage { text: error.to_string(), status: 0 },
        ErrorKind::UnknownArgument if argument.starts_with("--") => {
            let near = match error.get(ContextKind::SuggestedArg) {
                Some(ContextValue::String(near)) => Some(near.as_str()),
                _ => None,
            };
            unknown_flag(path, &argument, near)
        }
        ErrorKind::UnknownArgument if argument.starts_with('-') => {
            let letter = argument.trim_start_matches('-');
            usage(path, format_args!("unknown shorthand flag: '{letter}' in -{letter}"))
        }
        ErrorKind::UnknownArgument => wrong_count(path, "accepts no more arguments"),
        ErrorKind::MissingRequiredArgument => wrong_count(path, "requires more arguments"),
        ErrorKind::InvalidValue if named(ContextKind::InvalidValue).is_empty() => {
            let flag = argument.split_whitespace().next().unwrap_or_default();
            usage(path, format_args!("flag needs an argument: {flag}"))
        }
        _ => {
            let text = error.to_string();
            let first = text.lines().next().unwrap_or_default();
            usage(path, first.strip_prefix("error: ").unwrap_or(first))
        }
    }
}

/// Refuses `flag`; `near` is the one that was probably meant.
pub fn unknown_flag(path: &str, flag: &str, near: Option<&str>) -> Ended {
    let near = near.map_or_else(String::new, |near| format!(" (did you mean {near}?)"));
    usage(path, format_args!("unknown flag: {flag}{near}"))
}

fn wrong_count(path: &str, what: &str) -> Ended {
    Ended::Usage { text: format!("\"{path}\" {what}.\nSee '{path} --help'.\n"), status: 1 }
}
