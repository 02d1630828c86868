//! Volumes: the commands of `hull volume`.

use super::{Command, Section, anywhere as row};

mod create;
pub mod list;
mod remove;

/// The commands of the group.
pub static GROUP: &[Command] = &[
    row("create", Section::Plain, "Create a volume", create::run),
    row("inspect", Section::Plain, "Display detailed information on one or more volumes", list::inspect),
    row("ls", Section::Plain, "List volumes", list::run),
    row("list", Section::Hidden, "List volumes", list::run),
    row("prune", Section::Plain, "Remove unused local volumes", remove::prune),
    row("rm", Section::Plain, "Remove one or more volumes", remove::run),
    row("remove", Section::Hidden, "Remove one or more volumes", remove::run),
];
