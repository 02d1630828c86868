//! Dockerfile to graph to cache keys to layers.
//!
//! Start reading at [`build`]. A Dockerfile is parsed ([`dockerfile`]), reduced to the stages the target needs (`plan`), and each
//! stage runs on a thread of its own (`solve`, `stage`), step by step: a step's key names everything its result depends on, a hit in
//! the cache ends it, a miss executes it and enters the layer.
//!
//! Invariants:
//! - A layer is made in a temporary directory and renamed into the snapshots; a failed step leaves nothing.
//! - This crate's threads never clone into a container: each RUN is a process of its own ([`step_main`]).
//! - Paths in contexts, images and layers are resolved component by component on descriptors, never joined and opened.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr))]

mod agent;
mod base;
mod build;
mod cache;
mod context;
mod copy;
pub mod dockerfile;
mod download;
mod error;
mod filesystem;
mod glob;
mod ignore;
mod layer;
mod metadata;
mod mode;
mod mounts;
mod network;
mod plan;
pub mod progress;
mod repository;
mod request;
mod run;
mod scope;
mod select;
mod solve;
mod stage;
mod step;
mod stop;
mod tree;
mod users;
mod workspace;

pub use build::{BuildContext, build};
pub use cache::{CacheMode, CachePlaceError, CacheSource, CacheTarget};
pub use error::{BuildError, Location, StepError};
pub use ignore::ignore_patterns;
pub use progress::{Event, NoProgress, Progress, StepId, plain::Plain};
pub use repository::{Repository, clone::GitSetup};
pub use request::{
    Attachments, BuildOutput, BuildRequest, Cancel, DockerfileSource, Given, NamedContext, RunNetwork,
    Secret, SecretSource, Source, sources,
};
pub use step::step_main;
