//! The per-container process: parent of the container's PID 1, keeper of its output, health, restarts and exit.
//!
//! `hull monitor <run dir> <network>` is started once per started container by [`client::prepare`]. It clones the container,
//! realises its network and control group, and is from then on the only writer of its volatile state.
//!
//! ```text
//! <run dir>/launch.json    what to launch (plan)                 written by the launcher, then by the monitor
//! <run dir>/state.json     what is (state)                       monitor
//! <run dir>/monitor.lock   locked while a monitor is alive
//! <run dir>/monitor.sock   requests and attached terminals (client, protocol)
//! <data dir>/exit.json     the state that survives a reboot      monitor
//! <data dir>/container.log what the container wrote (logs)       monitor
//! ```
//!
//! Invariants:
//! - One thread, one poll loop; nothing in it waits for a client, for the disk's sync or for a container.
//! - A launch that fails leaves nothing: no process, control group, namespace, name or port; the launcher gets the error.
//! - When the monitor is killed, the kernel kills the container's first process with it (parent-death signal). A program that
//!   has changed its user since is no longer covered by that; it is killed by [`recover`], which every command that looks at
//!   the container calls and which undoes everything else. What a command shows is never a ghost.
//!
//! Start reading at [`plan`], then `process` (the life of a monitor) and `supervisor` (its loop).

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr))]

pub mod client;
mod connection;
pub mod events;
mod failure;
mod frame;
mod health;
pub mod held;
pub mod logs;
pub mod plan;
mod process;
pub mod protocol;
mod recover;
mod restart;
mod run;
mod sandbox;
pub mod state;
mod stdio;
mod supervisor;
pub mod time;
mod usage;

pub use failure::Remote;
pub use process::main;
pub use recover::recover;
pub use state::is_alive;
pub use usage::Usage;
