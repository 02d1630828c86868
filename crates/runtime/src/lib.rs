//! The OCI runtime: a bundle in, a process out; exec.
//!
//! [`create`] clones the container's first process, which builds its own world (mounts, identity, rights) while the caller
//! sets up the network; [`Created::start`] waits for it and lets it execute its program. [`exec`] puts one more process into
//! a running container. Nothing is left on the host but the process: all mounts live in the container's mount namespace.
//!
//! Invariants:
//! - The caller has one thread; cloning refuses otherwise.
//! - A setting of the [`Spec`](oci::runtime::Spec) is honoured or refused by name, never ignored.
//! - The child never trusts the root filesystem: paths in it are opened beneath it and mounts are attached by descriptor.
//! - hull's own binary is never writable through a process in a container.
//!
//! Start reading at `launch.rs` (what is asked for) and `create.rs` (what happens).

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr))]

mod birth;
mod channel;
mod child;
pub mod container;
mod create;
mod defaults;
mod error;
mod exec;
mod features;
mod foreign;
pub mod hooks;
pub mod ids;
mod launch;
mod listener;
pub mod mountinfo;
mod outside;
pub mod overlay;
mod plan;
mod process;
pub mod seal;
pub mod seccomp;
mod users;

pub use create::{Created, check, create, start};
pub use defaults::{DEFAULT_CAPABILITIES, capabilities, default_spec, make_privileged};
pub use error::{LaunchError, Step};
pub use exec::{Exec, exec};
pub use features::{OLDEST_VERSION, features};
pub use launch::{Launch, Lifetime, Rootfs, Stdio, UserSpec};
pub use outside::rdt::remove as leave_intel_rdt;
pub use plan::warnings;
pub use process::{Exit, Process};
