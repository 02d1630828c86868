//! What is typed after a command and shared by several: the flags of `create` and `run`, and reading the user's environment.
//!
//! A flag struct holds what was typed; its `resolve` turns that into what the engine is asked, looking things up (environment,
//! files, current directory) on the way.

pub mod container;
pub mod env;
pub mod value;
