//! Compose file to model to plan to engine calls.
//!
//! [`Project::load`] turns files into a checked [`Project`]. The steps, each on a tree whose nodes know their file and line:
//! substitute variables, rewrite short syntax into long, resolve `extends` and `include`, merge the files, complete what is
//! implied, read the typed model. A key is either honoured or refused by name.
//!
//! [`Stack`] puts a project on an engine: one method per command. It keeps no state of its own; what exists is read from the
//! labels Docker Compose uses too. Services are worked on in parallel, each on a thread that waits for what it depends on.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr))]

mod canon;
mod config;
mod dotenv;
mod error;
mod interpolate;
mod load;
mod merge;
pub mod model;
mod run;
mod variables;
mod words;
mod yaml;

pub use config::Format;
pub use error::LoadError;
pub use load::LoadOptions;
pub use model::{Project, Service};
pub use run::{
    BuildOptions, DownOptions, Instance, Interrupt, KillOptions, Kind, LogLine, LogsOptions, Object, OneOff,
    Paint, ProjectStatus, PullOptions, PushOptions, Quiet, Recreate, RemoveImages, Reporter, RmOptions,
    RunOptions, Scale, ServiceImage, Stack, StackError, Status, UpOptions, UpResult, projects,
};
pub use variables::{Variable, variables};
