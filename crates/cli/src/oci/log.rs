//! The log that callers give a runtime: runc's two formats, which they parse for the last error.

use std::fs::OpenOptions;
use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;

use diag::Failure;
use engine::time::{now_ns, rfc3339};

use super::error::OciError;

/// Where and how to log.
#[derive(Clone, Debug, Default)]
pub struct Log {
    path: Option<PathBuf>,
    json: bool,
    debug: bool,
}

impl Log {
    /// From the flags of the same names.
    pub fn new(path: Option<&str>, format: Option<&str>, debug: bool) -> Result<Self, OciError> {
        let json = match format {
            None | Some("text") => false,
            Some("json") => true,
            Some(other) => return Err(OciError::Value { flag: "log-format", value: other.to_owned() }),
        };
        Ok(Self { path: path.filter(|path| !path.is_empty()).map(PathBuf::from), json, debug })
    }

    /// Logs why a command failed, and tells it on standard error, too: engines that keep no log look there, for one line.
    pub fn failure(&self, failure: &Failure) {
        let message = diag::with_sources(failure.error());
        let in_file = self.path.is_some() && self.write("error", &message);
        match (std::io::stderr().is_terminal(), self.json && !in_file) {
            (true, _) => crate::context::note(diag::render(failure)),
            (false, true) => crate::context::note(self.line("error", &message)),
            (false, false) => crate::context::note(format_args!("error: {message}")),
        }
    }

    pub fn warn(&self, message: &str) {
        if self.path.is_none() || !self.write("warning", message) {
            crate::context::note(self.line("warning", message));
        }
    }

    pub fn debug(&self, message: &str) {
        if self.debug && (self.path.is_none() || !self.write("debug", message)) {
            crate::context::note(self.line("debug", message));
        }
    }

    /// Appends to the file; false when it cannot be written, which must not hide the message.
    fn write(&self, level: &str, message: &str) -> bool {
        let Some(path) = &self.path else { return false };
        let file = OpenOptions::new().create(true).append(true).open(path);
        file.and_then(|mut file| writeln!(file, "{}", self.line(level, message))).is_ok()
    }

    fn line(&self, level: &str, message: &str) -> String {
        let time = rfc3339(now_ns());
        match self.json {
            true => serde_json::json!({ "level": level, "msg": message, "time": time }).to_string(),
            false => format!("time={time:?} level={level} msg={message:?}"),
        }
    }
}
