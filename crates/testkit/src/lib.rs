//! Test support: roots of their own, a binary to drive, images to run, and the leak check.
//!
//! Every test makes a [`World`]: two directories nobody else uses and the `hull` binary pointed at them. Dropping it stops and
//! removes all that was made through it and then looks, with the system's own tools and not with hull's code, whether anything
//! is left: mounts, links, nf_tables tables, cgroups, processes. What is left fails the test.

#![forbid(unsafe_code)]

mod api;
mod dockerd;
mod fixtures;
mod leaks;
mod output;
mod registry;
mod terminal;
mod web;
mod world;

pub use api::{Answer, Api, begin, request};
pub use dockerd::Dockerd;
pub use fixtures::{busybox_rootfs, busybox_tar, cached_directory, certificates, debian_tar};
pub use leaks::{Leaks, Snapshot};
pub use output::{Output, with_input};
pub use registry::Registry;
pub use terminal::Terminal;
pub use web::web;
pub use world::{Running, World, eventually, patience};
