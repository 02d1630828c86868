//! Running hull as an ordinary user: the *home*, a set of namespaces in which that user is root.
//!
//! ```text
//!  the host's namespaces        │  the home: user, mount and network namespace
//!                               │
//!  hull run ── joins, executes itself again ──▶ hull run ──▶ monitor ──▶ container
//!  keeper ────── clones ────────┼──▶ anchor (does nothing: it keeps the namespaces)
//!     │  ▲                      │
//!     │  └─ hands out sockets ──┼──── asks for a published port (`net::ports`)
//!     └─ runs pasta ────────────┼──▶ eth0
//! ```
//!
//! The first command of a user starts the *keeper*, which makes the home and ends it when nobody has lived there for a while.
//! Every command joins it and goes on as root does: inside, bridges, packet filter, overlays and names are the home's own, and
//! nothing of the host's can be changed that the user could not change anyway.
//!
//! Killing the keeper ends no container: the namespaces last as long as a monitor lives in them, and the next command
//! starts a keeper for the same ones. Which they are is in the file `home` (see [`record`]).
//!
//! Helper programs, which nothing of ours can replace: `newuidmap` and `newgidmap` are what the system trusts to give a user
//! the ids of `/etc/subuid` and `/etc/subgid`, and `pasta` (or `slirp4netns`) speaks for the home's network with the sockets of
//! an ordinary program.
//!
//! Start reading at `enter.rs`.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr))]

mod enter;
mod error;
mod home;
mod keeper;
mod outlet;
mod place;
mod record;
mod subids;

pub use enter::{Environment, directory_below, enter};
pub use error::HomeError;
pub use keeper::main as keeper_main;
