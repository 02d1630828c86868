//! Compose file to model to plan to engine calls.

#![forbid(unsafe_code)]
