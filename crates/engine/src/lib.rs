//! Containers, exec, volumes, networks, events and recovery: the calls every face makes.
//!
//! An [`Engine`] is an opened pair of roots and nothing else: no process holds state that another one could miss. Durable intent is
//! in the database ([`record`]), volatile facts are what each container's monitor wrote ([`lookup`] reads them), and whatever a
//! killed process left is put right by the next call that meets it.
//!
//! [`model`] holds what callers ask and what they are told, [`parse`] the syntax of Docker's flags that fills it, [`view`] Docker's
//! JSON. Start reading at [`create`], then `start` and `launch`.

#![forbid(unsafe_code)]
#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr))]
// `HostConfig` has more fields than `json!` can count to by default.
#![recursion_limit = "256"]

pub mod archive;
pub mod boot;
pub mod changes;
pub mod commit;
pub mod control;
pub mod create;
pub mod detach;
pub mod disk;
pub mod engine;
mod events;
pub mod exec;
pub mod execs;
mod ids;
pub mod image_mounts;
pub mod images;
pub mod info;
mod integrity;
mod launch;
pub mod list;
pub mod logs;
pub mod lookup;
pub mod model;
pub mod names;
pub mod network;
pub mod parse;
mod protection;
pub mod record;
pub mod remove;
pub mod reset;
mod rootfs;
pub mod serving;
pub mod signal;
pub mod start;
pub mod stats;
pub mod time;
pub mod top;
pub mod update;
pub mod view;
pub mod volume;
mod wait;

pub use create::Created;
pub use engine::Engine;
pub use exec::hold_terminal_main;
pub use execs::hold_exec_main;
pub use images::settle_main;
pub use monitor::client::Rendezvous;
pub use remove::reap_main;
pub use store::Roots;
pub use wait::Wait;
