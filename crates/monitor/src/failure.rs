//! Errors that cross a process border without losing their class, causes, hint and exit status.

use std::error::Error;
use std::fmt;

use diag::{Class, Diagnose, Failure};
use serde::{Deserialize, Serialize};

/// An error that happened in another hull process, told here as if it had happened in this one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remote {
    message: String,
    class: WireClass,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    exit_status: Option<u8>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cause: Option<Box<Cause>>,
}

/// One link of the chain below a [`Remote`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Cause {
    message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    cause: Option<Box<Cause>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum WireClass {
    NotFound,
    Conflict,
    Invalid,
    Denied,
    Unavailable,
    Unsupported,
    Internal,
}

impl Remote {
    /// Takes everything there is to say about `failure`.
    pub fn new(failure: &Failure) -> Self {
        Self {
            message: failure.to_string(),
            class: match failure.class() {
                Class::NotFound => WireClass::NotFound,
                Class::Conflict => WireClass::Conflict,
                Class::Invalid => WireClass::Invalid,
                Class::Denied => WireClass::Denied,
                Class::Unavailable => WireClass::Unavailable,
                Class::Unsupported => WireClass::Unsupported,
                Class::Internal => WireClass::Internal,
            },
            hint: failure.hint(),
            exit_status: failure.exit_status(),
            cause: Cause::below(failure.error()),
        }
    }
}

impl Cause {
    fn below(error: &(dyn Error + 'static)) -> Option<Box<Self>> {
        let source = error.source()?;
        Some(Box::new(Self { message: source.to_string(), cause: Self::below(source) }))
    }
}

impl fmt::Display for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl Error for Remote {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|cause| cause.as_ref() as _)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.cause.as_ref().map(|cause| cause.as_ref() as _)
    }
}

impl Diagnose for Remote {
    fn class(&self) -> Class {
        match self.class {
            WireClass::NotFound => Class::NotFound,
            WireClass::Conflict => Class::Conflict,
            WireClass::Invalid => Class::Invalid,
            WireClass::Denied => Class::Denied,
            WireClass::Unavailable => Class::Unavailable,
            WireClass::Unsupported => Class::Unsupported,
            WireClass::Internal => Class::Internal,
        }
    }

    fn hint(&self) -> Option<String> {
        self.hint.clone()
    }

    fn exit_status(&self) -> Option<u8> {
        self.exit_status
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_lost_on_the_way() {
        let error =
            runtime::LaunchError::Clone { id: "abc".into(), source: std::io::Error::other("no memory") };
        let failure = Failure::from(error);
        let sent = serde_json::to_string(&Remote::new(&failure)).unwrap();
        let received: Remote = serde_json::from_str(&sent).unwrap();
        assert_eq!(received.to_string(), failure.to_string());
        assert_eq!(received.source().unwrap().to_string(), "no memory");
        assert_eq!(received.class(), Class::Internal);
        assert_eq!(
            diag::with_sources(Failure::from(received).error()),
            "cannot create a process for container abc: no memory"
        );
        let missing = Failure::from(runtime::LaunchError::NotFound { text: "exec: \"x\": not found".into() });
        assert_eq!(Remote::new(&missing).exit_status(), Some(127));
    }
}
