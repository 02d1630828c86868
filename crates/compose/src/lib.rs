//! Compose file to model to plan to engine calls.
//!
//! [`Project::load`] turns files into a checked [`Project`]. The steps, each on a tree whose nodes know their file and line
//! ([`yaml`]): substitute variables, rewrite short syntax into long, resolve `extends` and `include`, merge the files, complete
//! what is implied, read the typed model. A key is either honoured or refused by name.

#![forbid(unsafe_code)]

mod canon;
mod config;
mod dotenv;
mod error;
mod interpolate;
mod load;
mod merge;
pub mod model;
mod words;
mod yaml;

pub use config::Format;
pub use error::LoadError;
pub use load::LoadOptions;
pub use model::{Project, Service};
