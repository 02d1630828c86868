//! Containers, exec, volumes, networks, events and recovery: the calls every face makes.
//!
//! [`model`] holds what callers ask and what they are told.

#![forbid(unsafe_code)]

pub mod model;
