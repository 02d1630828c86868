//! Images: import, load, save, tag, inspect, prune; layers packed and unpacked.

#![forbid(unsafe_code)]

pub mod archive;
