//! A project's containers: what is there, what should be there, and the way from one to the other.
//!
//! Everything that touches the engine goes through [`Stack`]. What exists is read from the labels of containers, never from a
//! file of ours, so that two commands on one project, or one after a crash, see the same.

mod converge;
mod down;
mod error;
mod files;
mod follow;
mod images;
mod instance;
mod lifecycle;
mod oneoff;
mod push;
mod query;
mod report;
mod resources;
mod up;
mod wait;
mod walk;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use engine::Engine;

use crate::model::Project;

pub use converge::Recreate;
pub use down::{DownOptions, RemoveImages};
pub use error::StackError;
pub use images::{BuildOptions, PullOptions};
pub use instance::Instance;
pub use lifecycle::{KillOptions, RmOptions};
pub use oneoff::{OneOff, RunOptions};
pub use push::PushOptions;
pub use query::{LogsOptions, ProjectStatus, ServiceImage, projects};
pub use report::{Kind, LogLine, Object, Paint, Quiet, Reporter, Status};
pub use up::{UpOptions, UpResult};

/// One project on one engine, with somebody to tell about progress and somebody who may interrupt.
pub struct Stack<'a> {
    pub engine: &'a Engine,
    pub project: &'a Project,
    pub reporter: &'a dyn Reporter,
    pub interrupt: &'a Interrupt,
}

/// The user's wish to stop; the flags may be those a signal handler sets.
#[derive(Clone, Debug, Default)]
pub struct Interrupt {
    /// Stop gracefully (the first Ctrl-C).
    pub stop: Arc<AtomicBool>,
    /// Do not wait for anything any more (the second one).
    pub kill: Arc<AtomicBool>,
}

impl Interrupt {
    pub fn is_raised(&self) -> bool {
        self.stop.load(Ordering::SeqCst)
    }

    pub fn is_urgent(&self) -> bool {
        self.kill.load(Ordering::SeqCst)
    }
}

/// How many containers of a service are wanted instead of what the file says (`--scale`).
pub type Scale = BTreeMap<String, u32>;

/// The labels Docker Compose knows its objects by.
pub(crate) mod label {
    pub const PROJECT: &str = "com.docker.compose.project";
    pub const SERVICE: &str = "com.docker.compose.service";
    pub const NUMBER: &str = "com.docker.compose.container-number";
    pub const ONEOFF: &str = "com.docker.compose.oneoff";
    pub const HASH: &str = "com.docker.compose.config-hash";
    /// Hull's own: what Docker Compose's digest leaves out.
    pub const REFERENCES: &str = "hull.compose.references";
    pub const IMAGE: &str = "com.docker.compose.image";
    pub const DEPENDS_ON: &str = "com.docker.compose.depends_on";
    pub const FILES: &str = "com.docker.compose.project.config_files";
    pub const ENV_FILES: &str = "com.docker.compose.project.environment_file";
    pub const DIRECTORY: &str = "com.docker.compose.project.working_dir";
    pub const NETWORK: &str = "com.docker.compose.network";
    pub const VOLUME: &str = "com.docker.compose.volume";
    pub const VERSION: &str = "com.docker.compose.version";
    /// The Compose version whose behaviour is followed; tools read it.
    pub const VERSION_VALUE: &str = "2.40.0";
}
