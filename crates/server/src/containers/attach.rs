//! Attaching to a container that runs, or that will.

use std::io;

use engine::Rendezvous;
use monitor::client::{AttachOptions, AttachStream};
use tokio::net::UnixListener;

use crate::hijack::{self, Attached, Framing};
use crate::refusal::Refusal;
use crate::reply::Response;
use crate::request::Request;

/// Whom a client is attached to.
enum Target {
    Running(AttachStream),
    /// Not started yet; whoever starts it, the client sees its first byte.
    Waiting(Rendezvous),
}

/// `POST /containers/{id}/attach`.
pub async fn attach(mut request: Request, id: &str) -> Result<Response, Refusal> {
    let query = &request.query;
    let options = AttachOptions {
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        ..AttachOptions::default()
    };
    let id = id.to_owned();
    let (target, tty) = request
        .engine(move |engine| {
            let tty = engine.inspect(&id)?.spec.process.tty;
            let target = match engine.await_start(&id)? {
                Some(rendezvous) => Target::Waiting(rendezvous),
                None => Target::Running(engine.attach(&id, options)?),
            };
            Ok::<_, engine::control::ControlError>((target, tty))
        })
        .await?;
    let framing = Framing::of(tty);
    let media_type = framing.media_type(request.version);
    let session = async move |client| {
        let stream = match target {
            Target::Running(stream) => stream,
            Target::Waiting(rendezvous) => met(rendezvous, options).await?,
        };
        Attached::new(stream)?.bridge(client, framing, options.stdin).await
    };
    Ok(hijack::take(&mut request, media_type, session))
}

/// Waits for the container's monitor.
async fn met(rendezvous: Rendezvous, options: AttachOptions) -> io::Result<AttachStream> {
    let listener = rendezvous.listener().try_clone()?;
    listener.set_nonblocking(true)?;
    let (monitor, _) = UnixListener::from_std(listener)?.accept().await?;
    let monitor = monitor.into_std()?;
    monitor.set_nonblocking(false)?;
    let met = tokio::task::spawn_blocking(move || rendezvous.attach(monitor, options));
    met.await.expect("a panic ends the process").map_err(io::Error::other)
}
