//! Containers, exec, volumes, networks, events and recovery: the calls every face makes.
//!
//! [`model`] holds what callers ask and what they are told, [`parse`] the syntax of Docker's flags that fills it.

#![forbid(unsafe_code)]

pub mod model;
pub mod names;
pub mod parse;
pub mod time;
