//! The engine itself: the commands of `hull system`, and `info` and `events`.

use super::{Command, Section, anywhere, run as row};

mod dial;
pub mod disk;
pub mod events;
pub mod info;
mod maintain;

/// The commands of the group.
pub static GROUP: &[Command] = &[
    row("boot", Section::Plain, "Start the containers that should run after a reboot", maintain::boot),
    row(
        "dial-stdio",
        Section::Hidden,
        "Serve the Docker Engine API to one client on standard input and output",
        dial::run,
    ),
    anywhere("df", Section::Plain, "Show disk usage", disk::usage),
    anywhere("events", Section::Plain, "Get real time events", events::run),
    anywhere("info", Section::Plain, "Display system-wide information", info::run),
    anywhere("prune", Section::Plain, "Remove unused data", disk::prune),
    row("reset", Section::Plain, "Remove everything hull made on this host", maintain::reset),
];
