//! Creating a container: everything is validated and resolved before anything is made.

mod merge;
mod validate;

pub use validate::InvalidSpec;
