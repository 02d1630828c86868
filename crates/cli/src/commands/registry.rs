//! Commands about registries themselves: who one is there, what they have, and being one.

use super::{Command, Section, run as row};

pub mod login;
pub mod logout;
pub mod search;
pub mod serve;

/// The commands of `hull registry`.
pub static GROUP: &[Command] =
    &[row("serve", Section::Plain, "Serve the images of this host to clients of registries", serve::run)];
