//! Networks: the commands of `hull network`.

use super::{Command, Section, anywhere as row};

mod attach;
mod create;
mod list;
mod remove;

/// The commands of the group.
pub static GROUP: &[Command] = &[
    row("connect", Section::Plain, "Connect a container to a network", attach::connect),
    row("create", Section::Plain, "Create a network", create::run),
    row("disconnect", Section::Plain, "Disconnect a container from a network", attach::disconnect),
    row("inspect", Section::Plain, "Display detailed information on one or more networks", list::inspect),
    row("ls", Section::Plain, "List networks", list::run),
    row("list", Section::Hidden, "List networks", list::run),
    row("prune", Section::Plain, "Remove all unused networks", remove::prune),
    row("rm", Section::Plain, "Remove one or more networks", remove::run),
    row("remove", Section::Hidden, "Remove one or more networks", remove::run),
];
