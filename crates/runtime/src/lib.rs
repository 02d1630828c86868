//! The OCI runtime: a bundle in, a process out; exec; state.

#![forbid(unsafe_code)]
