//! Another host's hull as an end of a copy: an archive over ssh.
//!
//! The system's ssh is run on purpose. It knows the user's keys, agents, known hosts and configuration, and asks what it has to
//! ask; nothing built in could stand in for that.

use std::ffi::OsString;
use std::fs::File;
use std::path::PathBuf;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::{Mutex, PoisonError};

use oci::Reference;
use oci::image::Descriptor;

use super::archive::spooled;
use super::place::Host;
use super::write_archive::{ArchiveSink, Kind};
use super::{CopyError, Open, Sink, Taken};
use crate::documents::Part;
use crate::push::Platforms;

impl Host {
    /// What runs `words` on this host, as its user's shell there reads them.
    pub fn ssh(&self, words: &[&str]) -> Command {
        #[expect(clippy::disallowed_methods, reason = "see the head of this file")]
        let mut command = Command::new("ssh");
        if let Some(port) = self.port {
            command.args(["-p", &port.to_string()]);
        }
        command.args(["--", &self.destination]).args(words);
        command
    }
}

fn check(host: &Host, status: ExitStatus) -> Result<(), CopyError> {
    match status.success() {
        true => Ok(()),
        false => Err(CopyError::Remote { host: host.destination.clone(), status: status.to_string() }),
    }
}

/// What `reference` stands for on `host`, as an archive, and how that is shown.
pub fn save(host: &Host, reference: &Reference, platforms: &Platforms) -> Result<(File, PathBuf), CopyError> {
    // References consist of characters that no shell has a use for.
    let name = reference.canonical();
    let platform = match platforms {
        Platforms::One(platform) => Some(format!("--platform={platform}")),
        Platforms::Usual | Platforms::All => None,
    };
    let mut words = vec!["hull", "save", "--format", "oci-archive"];
    words.extend(platform.as_deref());
    words.push(&name);
    let mut child =
        host.ssh(&words).stdin(Stdio::null()).stdout(Stdio::piped()).spawn().map_err(CopyError::Ssh)?;
    let mut stdout = child.stdout.take().expect("it was asked for");
    let file = spooled(&mut stdout);
    drop(stdout);
    let status = child.wait().map_err(CopyError::Ssh)?;
    check(host, status)?;
    let mut shown = OsString::from(format!("ssh://{}/", host.destination));
    shown.push(reference.familiar());
    Ok((file?, shown.into()))
}

/// A load on another host that reads what a copy writes.
pub struct RemoteSink {
    host: Host,
    child: Mutex<Child>,
    /// Taken when it ends.
    archive: Option<ArchiveSink<ChildStdin>>,
}

/// Begins a load on `host`; the image will be called `reference` there.
pub fn load(host: &Host, reference: &Reference, documents: &[Part]) -> Result<RemoteSink, CopyError> {
    let mut child = host
        .ssh(&["hull", "load", "--quiet"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .map_err(CopyError::Ssh)?;
    let stdin = child.stdin.take().expect("it was asked for");
    let mut sink = RemoteSink { host: host.clone(), child: Mutex::new(child), archive: None };
    let shown = PathBuf::from(format!("to {}", host.destination));
    let archive = ArchiveSink::begin(stdin, &shown, Kind::Oci, Some(&reference.canonical()), documents);
    sink.archive = Some(archive.map_err(|error| sink.reason(error))?);
    Ok(sink)
}

impl RemoteSink {
    /// How the other side ended, when that is why nothing can be written to it any more.
    fn reason(&self, error: CopyError) -> CopyError {
        let broken = matches!(&error, CopyError::Write { source, .. } if source.kind() == std::io::ErrorKind::BrokenPipe);
        if !broken {
            return error;
        }
        let status = self.child.lock().unwrap_or_else(PoisonError::into_inner).wait();
        status.map_err(CopyError::Ssh).and_then(|status| check(&self.host, status)).err().unwrap_or(error)
    }
}

impl Sink for RemoteSink {
    fn blob(
        &self,
        descriptor: &Descriptor,
        _: Option<&Reference>,
        open: Open<'_>,
    ) -> Result<Taken, CopyError> {
        let archive = self.archive.as_ref().expect("it ends once");
        archive.add(descriptor, open).map_err(|error| self.reason(error))
    }

    fn finish(mut self: Box<Self>, _: &[Part]) -> Result<(), CopyError> {
        let ended = self.archive.take().expect("it ends once").end();
        drop(ended.map_err(|error| self.reason(error))?);
        let status = self.child.lock().unwrap_or_else(PoisonError::into_inner).wait();
        check(&self.host, status.map_err(CopyError::Ssh)?)
    }
}

impl Drop for RemoteSink {
    fn drop(&mut self) {
        // Its input ends too early, by which it knows that nothing is to be kept.
        self.archive = None;
        let _ = self.child.lock().unwrap_or_else(PoisonError::into_inner).wait();
    }
}
