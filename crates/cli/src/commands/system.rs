//! The engine itself: the commands of `hull system`, and `info` and `events`.

use super::{Command, Section, run as row};

pub mod disk;
pub mod events;
pub mod info;
mod maintain;

/// The commands of the group.
pub static GROUP: &[Command] = &[
    row("boot", Section::Plain, "Start the containers that should run after a reboot", maintain::boot),
    row("df", Section::Plain, "Show disk usage", disk::usage),
    row("events", Section::Plain, "Get real time events", events::run),
    row("info", Section::Plain, "Display system-wide information", info::run),
    row("prune", Section::Plain, "Remove unused data", disk::prune),
    row("reset", Section::Plain, "Remove everything hull made on this host", maintain::reset),
];
