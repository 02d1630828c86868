//! Containers, exec, volumes, networks, events and recovery: the calls every face makes.
//!
//! [`model`] holds what callers ask and what they are told, [`parse`] the syntax of Docker's flags that fills it.

#![forbid(unsafe_code)]
// `HostConfig` has more fields than `json!` can count to by default.
#![recursion_limit = "256"]

pub mod create;
pub mod model;
pub mod names;
pub mod parse;
pub mod signal;
pub mod time;
pub mod view;
