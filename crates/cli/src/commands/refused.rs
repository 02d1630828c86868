//! Docker's commands that talk to registries: known, and not there yet.

use diag::{Class, Diagnose};

use super::{Ended, Invocation, Outcome};
use crate::context::Context;

/// A command that is known and not supported.
#[derive(Debug, thiserror::Error)]
#[error("`{command}` is not supported: hull does not talk to registries yet")]
struct Refused {
    command: String,
}

impl Diagnose for Refused {
    fn class(&self) -> Class {
        Class::Unsupported
    }

    fn hint(&self) -> Option<String> {
        Some(
            "make a base image with `hull image bootstrap debian:bookworm`, or bring images in with `hull load` or \
             `hull import`"
                .into(),
        )
    }
}

/// Refuses `pull`, `push`, `login` and their like.
pub fn registry(_: &mut Context, invocation: Invocation) -> Outcome {
    Err(Ended::from(Refused { command: invocation.path }))
}
