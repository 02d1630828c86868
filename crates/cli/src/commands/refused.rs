//! Docker's commands that are known and not there yet.

use diag::{Class, Diagnose};

use super::{Ended, Invocation, Outcome};
use crate::context::Context;

/// A command that is known and not supported.
#[derive(Debug, thiserror::Error)]
#[error("`{command}` is not supported: hull does not make lists of manifests yet")]
struct Refused {
    command: String,
}

impl Diagnose for Refused {
    fn class(&self) -> Class {
        Class::Unsupported
    }

    fn hint(&self) -> Option<String> {
        Some(
            "an index that exists is carried by `--all-platforms` of pull, push and `hull image copy`".into(),
        )
    }
}

/// Refuses `manifest`.
pub fn registry(_: &mut Context, invocation: Invocation) -> Outcome {
    Err(Ended::from(Refused { command: invocation.path }))
}
