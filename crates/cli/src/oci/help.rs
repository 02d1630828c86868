//! The texts of `--help` and `--version`.

use std::fmt::Write as _;

use super::flags::Flag;
use super::{Command, GLOBAL_FLAGS, TABLE};

/// What `--version` prints, in the form that Docker and podman parse.
pub fn version() -> String {
    format!("hull-oci version {}\nspec: {}\n", env!("CARGO_PKG_VERSION"), oci::runtime::VERSION)
}

/// The help of the whole.
pub fn all(program: &str) -> String {
    let mut out = format!(
        "Usage:  {program} [OPTIONS] COMMAND\n\nAn OCI runtime, for container engines to drive\n\nCommands:\n"
    );
    for command in TABLE {
        let _ = writeln!(out, "  {:<11} {}", command.name, command.about);
    }
    out.push_str("\nOptions:\n");
    list(&mut out, GLOBAL_FLAGS);
    let _ = write!(out, "\nRun '{program} COMMAND --help' for more information on a command.\n");
    out
}

/// The help of one command.
pub fn one(program: &str, command: &Command) -> String {
    let mut out = format!("Usage:  {}\n\n{}\n", usage(program, command), command.about);
    if !command.flags.is_empty() {
        out.push_str("\nOptions:\n");
        list(&mut out, command.flags);
    }
    out
}

/// How a command is called.
pub fn usage(program: &str, command: &Command) -> String {
    let options = if command.flags.is_empty() { "" } else { " [OPTIONS]" };
    format!("{program} {}{options} {}", command.name, command.operands).trim_end().to_owned()
}

fn list(out: &mut String, flags: &[Flag]) {
    let name = |flag: &Flag| match (flag.short, flag.value) {
        (Some(short), Some(value)) => format!("-{short}, --{} {value}", flag.name),
        (Some(short), None) => format!("-{short}, --{}", flag.name),
        (None, Some(value)) => format!("    --{} {value}", flag.name),
        (None, None) => format!("    --{}", flag.name),
    };
    let width = flags.iter().map(|flag| name(flag).len()).max().unwrap_or(0);
    for flag in flags {
        let _ = writeln!(out, "  {:<width$}   {}", name(flag), flag.about);
    }
}
