//! Linux system calls, netlink, nf_tables, terminals and descriptors as safe, owned types, and one C library.
//!
//! The only crate with `unsafe`. Every wrapper makes one call, returns `io::Result` and owned types, and says in its SAFETY
//! comment which obligation it meets and where.

#![cfg_attr(not(test), deny(clippy::disallowed_methods, clippy::print_stdout, clippy::print_stderr))]

pub mod bpf;
pub mod capability;
pub mod event;
pub mod features;
pub mod fs;
pub mod gzip;
pub mod mount;
pub mod namespace;
pub mod netlink;
pub mod nftables;
pub mod overlay;
pub mod process;
pub mod random;
pub mod schedule;
pub mod seccomp;
pub mod signal;
pub mod socket;
pub mod spawn;
pub mod terminal;
pub mod user;
