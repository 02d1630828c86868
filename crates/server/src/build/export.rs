//! What becomes of a result: an image here, or an archive or a tree of files that the client gets.

use std::collections::HashMap;
use std::io::{self, Write};
use std::os::fd::AsFd as _;
use std::sync::Arc;

use api::buildkit::control::{BytesMessage, Exporter, SolveRequest};
use api::buildkit::{Status, code};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use engine::Engine;
use image::archive::{PackOptions, Writer, pack};
use image::{Format, Image, SaveOptions};
use oci::Reference;
use serde_json::json;
use tokio::runtime::Handle;

use super::Build;
use super::files;
use super::grpc::{Call, failure};
use super::journal::Journal;
use super::session::Session;
use super::solve::{Solved, session_gone};
use crate::State;
use crate::refusal::with_sources;

/// Bytes sent at once.
const PIECE: usize = 1 << 20;

/// An output that is wanted.
pub struct Export {
    pub kind: Kind,
    pub names: Vec<Reference>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// An image here.
    Image,
    Archive(Format),
    /// The files in a tar archive.
    Tar,
    /// The files in a directory of the client's.
    Local,
}

impl Export {
    /// Takes an exporter.
    ///
    /// # Errors
    /// A type, an attribute or a name that is wrong or not honoured.
    pub fn parse(exporter: &Exporter) -> Result<Self, Status> {
        let Exporter { kind, attrs } = exporter;
        let parsed = match kind.as_str() {
            "moby" | "image" => Kind::Image,
            "docker" => Kind::Archive(Format::DockerArchive),
            "oci" => Kind::Archive(Format::OciArchive),
            "tar" => Kind::Tar,
            "local" => Kind::Local,
            other => return Err(failure(code::UNKNOWN, format!("output type={other} is not supported"))),
        };
        for (key, value) in attrs {
            let is_default = match (key.as_str(), parsed) {
                ("name" | "dest", _) | ("load", Kind::Image) => true,
                // Pushing is done by the client afterwards, with a request of its own.
                ("push", Kind::Image) => kind == "moby",
                ("tar", Kind::Archive(_)) => value == "true",
                _ => false,
            };
            if !is_default && value != "false" {
                let text = format!("output type={kind},{key}={value} is not supported");
                return Err(failure(code::UNKNOWN, text));
            }
        }
        let names = attrs.get("name").map(String::as_str).unwrap_or_default();
        let names = names.split(',').filter(|name| !name.is_empty()).map(|name| {
            let wrong = |error| failure(code::UNKNOWN, format!("invalid name {name:?}: {error}"));
            Reference::parse(name).map_err(wrong)
        });
        Ok(Self { kind: parsed, names: names.collect::<Result<_, _>>()? })
    }
}

/// Makes of the result what the client wants, and says what it is.
///
/// # Errors
/// The client takes no more of it.
pub async fn all(
    state: &Arc<State>,
    build: &Arc<Build>,
    wanted: Arc<SolveRequest>,
    solved: Arc<Solved>,
) -> Result<HashMap<String, String>, Status> {
    let session = state.builds.sessions.get(&wanted.session).await?;
    let (engine, journal, handle) = (state.engine.clone(), build.journal.clone(), Handle::current());
    let gone = session.clone();
    let exporting = tokio::task::spawn_blocking(move || {
        export(&engine, &journal, Some(&session), handle, &wanted.exporters, &solved)
    });
    tokio::select! {
        exported = exporting => exported.expect("a panic ends the process"),
        () = gone.gone() => Err(session_gone()),
    }
}

/// Makes of the result what `exporters` say, on a thread that may wait, and says what it is.
///
/// # Errors
/// There is no client to take it, or it takes no more of it.
pub fn export(
    engine: &Engine,
    journal: &Journal,
    session: Option<&Session>,
    handle: Handle,
    exporters: &[Exporter],
    solved: &Solved,
) -> Result<HashMap<String, String>, Status> {
    let image = engine.images().resolve(&solved.image_id).map_err(|error| broken(&error))?;
    let work = Work { engine, journal, session, handle, image };
    let exported = work.run(exporters);
    work.tidy(exporters, solved.begun_ns);
    exported
}

fn broken(error: &(dyn std::error::Error + 'static)) -> Status {
    failure(code::UNKNOWN, with_sources(error))
}

/// What an export works with, on a thread that may wait.
struct Work<'a> {
    engine: &'a Engine,
    journal: &'a Journal,
    session: Option<&'a Session>,
    handle: Handle,
    image: Image,
}

impl Work<'_> {
    fn run(&self, exporters: &[Exporter]) -> Result<HashMap<String, String>, Status> {
        let mut answer = HashMap::new();
        for (output, exporter) in exporters.iter().enumerate() {
            let export = Export::parse(exporter)?;
            let task = match export.kind {
                Kind::Image => self.journal.task("exporting to image"),
                Kind::Archive(Format::OciArchive) => self.journal.task("exporting to oci image format"),
                Kind::Archive(Format::DockerArchive) => self.journal.task("exporting to docker image format"),
                Kind::Tar | Kind::Local => self.journal.task("exporting to client"),
            };
            let made = match export.kind {
                Kind::Image => {
                    task.part("exporting layers", 0);
                    task.part(&format!("writing image {}", self.image.id), 0);
                    for name in &export.names {
                        task.part(&format!("naming to {}", name.canonical()), 0);
                    }
                    Ok(())
                }
                Kind::Archive(format) => self.archive(output, format, &export.names),
                Kind::Tar => self.tar(output),
                Kind::Local => self.local(output).map(|bytes| task.part("copying files", bytes)),
            };
            task.end(made)?;
            if matches!(export.kind, Kind::Image | Kind::Archive(_)) {
                self.describe(&export, &mut answer)?;
            }
        }
        Ok(answer)
    }

    /// What clients write to `--iidfile` and `--metadata-file`.
    fn describe(&self, export: &Export, answer: &mut HashMap<String, String>) -> Result<(), Status> {
        let mut tell = |key: &str, value: String| drop(answer.insert(key.to_owned(), value));
        tell("containerimage.config.digest", self.image.id.to_string());
        if export.kind == Kind::Image {
            // As dockerd has it: an image here goes by its id.
            tell("containerimage.digest", self.image.id.to_string());
        } else {
            let manifest = &self.image.manifest;
            let size = self.engine.store().blobs().size(manifest).map_err(|error| broken(&error))?;
            let descriptor = json!({
                "mediaType": "application/vnd.oci.image.manifest.v1+json",
                "digest": manifest.to_string(),
                "size": size,
            });
            tell("containerimage.digest", manifest.to_string());
            tell("containerimage.descriptor", STANDARD.encode(descriptor.to_string()));
        }
        if !export.names.is_empty() {
            let names: Vec<String> = export.names.iter().map(Reference::canonical).collect();
            tell("image.name", names.join(","));
        }
        Ok(())
    }

    fn archive(&self, output: usize, format: Format, names: &[Reference]) -> Result<(), Status> {
        let options = SaveOptions { format, called: names.to_vec(), ..SaveOptions::default() };
        self.stream(output, |stream| {
            let id = [self.image.id.to_string()];
            self.engine.images().save(&id, stream, &options).map_err(|error| broken(&error))
        })
    }

    fn tar(&self, output: usize) -> Result<(), Status> {
        let root = self.engine.image_root(&self.image).map_err(|error| broken(&error))?;
        self.stream(output, |stream| {
            let mut writer = Writer::new(stream);
            let packed = pack(&mut writer, root.as_fd(), &PackOptions::default());
            packed.map_err(|error| broken(&error))?;
            writer.finish().map(drop).map_err(|error| broken(&error))
        })
    }

    fn local(&self, output: usize) -> Result<u64, Status> {
        let root = self.engine.image_root(&self.image).map_err(|error| broken(&error))?;
        self.handle.block_on(files::send(self.session()?, output, root))
    }

    fn session(&self) -> Result<&Session, Status> {
        let missing =
            || failure(code::INVALID_ARGUMENT, "outputs: there is no session on which the client takes them");
        self.session.ok_or_else(missing)
    }

    /// Sends the client what `write` writes.
    fn stream(
        &self,
        output: usize,
        write: impl FnOnce(&mut dyn Write) -> Result<(), Status>,
    ) -> Result<(), Status> {
        let call = self.session()?.channel.call(files::SEND, files::output_headers(output));
        let mut stream = io::BufWriter::with_capacity(PIECE, ToClient { call, handle: &self.handle });
        write(&mut stream)?;
        let ToClient { mut call, handle } = stream.into_inner().map_err(|error| broken(error.error()))?;
        call.finish();
        // The client has everything when it ends the call.
        handle.block_on(async {
            while call.next::<BytesMessage>().await?.is_some() {}
            Ok(())
        })
    }

    /// Removes an image that was only made to be sent away.
    fn tidy(&self, exporters: &[Exporter], begun_ns: i64) {
        let is_wanted = exporters.iter().any(|it| Export::parse(it).is_ok_and(|it| it.kind == Kind::Image));
        if !is_wanted && self.image.references.is_empty() && self.image.stored_ns >= begun_ns {
            // Somebody may use it by now; then it stays.
            let _ = self.engine.image_remove(&self.image.id.to_string(), false);
        }
    }
}

/// A stream of bytes to the client.
struct ToClient<'a> {
    call: Call,
    handle: &'a Handle,
}

impl Write for ToClient<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let length = bytes.len().min(PIECE);
        let message = BytesMessage { data: bytes[..length].to_vec() };
        let sent = self.handle.block_on(self.call.send(&message));
        sent.map(|()| length).map_err(|status| io::Error::new(io::ErrorKind::BrokenPipe, status.message))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
