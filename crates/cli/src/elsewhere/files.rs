//! Files of another engine's containers.

use std::io::{self, Write};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use diag::Failure;
use engine::archive::{PathStat, PutOptions};
use engine::time::parse_rfc3339;
use remote::{Client, RemoteError};
use serde_json::Value;

use crate::commands::container::StreamError;
use crate::commands::container::copy::{Archive, Files};

impl Files for Client {
    fn stat(&self, container: &str, path: &str) -> Result<PathStat, Failure> {
        let headers = self.head(&["containers", container, "archive"]).query("path", path).headers();
        let headers = headers.map_err(|error| match error {
            // The answer to HEAD has no words.
            RemoteError::Refused { status: 404, .. } => match self.container(container) {
                Ok(_) => {
                    let message = format!("Could not find the file {path} in container {container}");
                    RemoteError::Refused { status: 404, message }
                }
                Err(error) => error,
            },
            other => other,
        })?;
        let stat = headers.get("x-docker-container-path-stat").and_then(|value| STANDARD.decode(value).ok());
        let stat: Option<Value> = stat.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let stat = stat.ok_or_else(|| RemoteError::NoEngine { address: self.address(), source: None })?;
        let text = |key: &str| stat[key].as_str().unwrap_or_default().to_owned();
        Ok(PathStat {
            name: text("name"),
            size: stat["size"].as_u64().unwrap_or_default(),
            mode: mode(stat["mode"].as_u64().unwrap_or_default()),
            modified_ns: parse_rfc3339(&text("mtime")).unwrap_or_default(),
            link_target: text("linkTarget"),
        })
    }

    fn get(&self, container: &str, path: &str, output: &mut dyn Write) -> Result<(), Failure> {
        let mut answer =
            Client::get(self, &["containers", container, "archive"]).query("path", path).stream()?;
        let copied = io::copy(&mut answer, output).and_then(|_| output.flush());
        Ok(copied.map_err(StreamError::of("copy files of", container))?)
    }

    fn put(
        &self,
        container: &str,
        path: &str,
        archive: Archive,
        options: &PutOptions,
    ) -> Result<(), Failure> {
        // Who owns the files is in the archive.
        let call = Client::put(self, &["containers", container, "archive"]).query("path", path);
        let call = call.query("noOverwriteDirNonDir", options.keep_kinds);
        io::copy(&mut call.upload(archive)?, &mut io::sink())
            .map_err(StreamError::of("copy files to", container))?;
        Ok(())
    }

    fn is_there(&self, container: &str) -> bool {
        self.container(container).is_ok()
    }
}

/// Bits of Go's `os.FileMode` as those of `st_mode`.
fn mode(go: u64) -> u32 {
    let kind = match go {
        go if go & 1 << 31 != 0 => 0o040_000,
        go if go & 1 << 27 != 0 => 0o120_000,
        go if go & (1 << 26 | 1 << 25 | 1 << 24) != 0 => 0o010_000,
        _ => 0o100_000,
    };
    kind | (go & 0o777) as u32
}
