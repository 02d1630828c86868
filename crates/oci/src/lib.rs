//! Pure types and parsers of the OCI image and runtime specifications. No I/O.

#![forbid(unsafe_code)]

pub mod runtime;
