//! Containers: the commands of `hull container`, which also stand alone.

use diag::{Class, Diagnose};

use super::{Command, Section, anywhere as row};

pub mod attach;
pub mod control;
pub mod copy;
pub mod create;
pub mod exec;
pub mod files;
pub mod foreground;
pub mod inspect;
pub mod list;
pub mod logs;
pub mod remove;
pub mod run;
pub mod start;
pub mod update;
pub mod watch;

/// The commands of the group.
pub static GROUP: &[Command] = &[
    row("attach", Section::Plain, ABOUT_ATTACH, attach::run),
    row("commit", Section::Plain, ABOUT_COMMIT, files::commit),
    row("cp", Section::Plain, ABOUT_COPY, copy::run),
    row("create", Section::Plain, ABOUT_CREATE, create::run),
    row("diff", Section::Plain, ABOUT_DIFF, files::diff),
    row("exec", Section::Plain, ABOUT_EXEC, exec::run),
    row("export", Section::Plain, ABOUT_EXPORT, files::export),
    row("inspect", Section::Plain, "Display detailed information on one or more containers", inspect::run),
    row("kill", Section::Plain, ABOUT_KILL, control::kill),
    row("logs", Section::Plain, ABOUT_LOGS, logs::run),
    row("ls", Section::Plain, ABOUT_LIST, list::run),
    row("ps", Section::Hidden, ABOUT_LIST, list::run),
    row("list", Section::Hidden, ABOUT_LIST, list::run),
    row("pause", Section::Plain, ABOUT_PAUSE, control::pause),
    row("port", Section::Plain, ABOUT_PORT, watch::port),
    row("prune", Section::Plain, "Remove all stopped containers", remove::prune),
    row("rename", Section::Plain, ABOUT_RENAME, control::rename),
    row("restart", Section::Plain, ABOUT_RESTART, control::restart),
    row("rm", Section::Plain, ABOUT_REMOVE, remove::run),
    row("remove", Section::Hidden, ABOUT_REMOVE, remove::run),
    row("run", Section::Plain, ABOUT_RUN, run::run),
    row("start", Section::Plain, ABOUT_START, start::run),
    row("stats", Section::Plain, ABOUT_STATS, watch::stats),
    row("stop", Section::Plain, ABOUT_STOP, control::stop),
    row("top", Section::Plain, ABOUT_TOP, watch::top),
    row("unpause", Section::Plain, ABOUT_UNPAUSE, control::unpause),
    row("update", Section::Plain, ABOUT_UPDATE, update::run),
    row("wait", Section::Plain, ABOUT_WAIT, control::wait),
];

pub const ABOUT_ATTACH: &str =
    "Attach local standard input, output, and error streams to a running container";
pub const ABOUT_COMMIT: &str = "Create a new image from a container's changes";
pub const ABOUT_COPY: &str = "Copy files/folders between a container and the local filesystem";
pub const ABOUT_DIFF: &str = "Inspect changes to files or directories on a container's filesystem";
pub const ABOUT_EXPORT: &str = "Export a container's filesystem as a tar archive";
pub const ABOUT_PORT: &str = "List port mappings or a specific mapping for the container";
pub const ABOUT_STATS: &str = "Display a live stream of container(s) resource usage statistics";
pub const ABOUT_TOP: &str = "Display the running processes of a container";
pub const ABOUT_UPDATE: &str = "Update configuration of one or more containers";
pub const ABOUT_CREATE: &str = "Create a new container";
pub const ABOUT_EXEC: &str = "Execute a command in a running container";
pub const ABOUT_KILL: &str = "Kill one or more running containers";
pub const ABOUT_LIST: &str = "List containers";
pub const ABOUT_LOGS: &str = "Fetch the logs of a container";
pub const ABOUT_PAUSE: &str = "Pause all processes within one or more containers";
pub const ABOUT_REMOVE: &str = "Remove one or more containers";
pub const ABOUT_RENAME: &str = "Rename a container";
pub const ABOUT_RESTART: &str = "Restart one or more containers";
pub const ABOUT_RUN: &str = "Create and run a new container from an image";
pub const ABOUT_START: &str = "Start one or more stopped containers";
pub const ABOUT_STOP: &str = "Stop one or more running containers";
pub const ABOUT_UNPAUSE: &str = "Unpause all processes within one or more containers";
pub const ABOUT_WAIT: &str = "Block until one or more containers stop, then print their exit codes";

/// A file or stream of a container that could not be read or written to its end.
#[derive(Debug, thiserror::Error)]
#[error("cannot {action} {name}")]
pub struct StreamError {
    action: &'static str,
    name: String,
    source: std::io::Error,
}

impl StreamError {
    /// An error of `action` (such as `read the log of`) on `name`.
    pub fn of(action: &'static str, name: &str) -> impl Fn(std::io::Error) -> Self {
        move |source| Self { action, name: name.to_owned(), source }
    }
}

impl Diagnose for StreamError {
    fn class(&self) -> Class {
        Class::of_io(&self.source)
    }
}
