//! Attaching to a container that runs, or that will.

use std::io;

use engine::Rendezvous;
use engine::model::LogOptions;
use monitor::client::{AttachOptions, AttachStream};
use monitor::logs::Reader;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixListener;

use super::logs::Shown;
use crate::hijack::{self, Attached, Client, Framing};
use crate::refusal::Refusal;
use crate::reply::Response;
use crate::request::Request;

/// Whom a client is attached to.
enum Target {
    Running(AttachStream),
    /// Not started yet; whoever starts it, the client sees its first byte.
    Waiting(Rendezvous),
}

/// `POST /containers/{id}/attach`: what was written before with `logs`, what is written from now on with `stream`, or both.
///
/// Attached first and looked back at afterwards: a line that comes in between may come twice, and none is lost.
pub async fn attach(mut request: Request, id: &str) -> Result<Response, Refusal> {
    let query = &request.query;
    let (looks_back, stream) = (query.flag("logs"), query.flag("stream"));
    let options = AttachOptions {
        stdin: query.flag("stdin"),
        stdout: query.flag("stdout"),
        stderr: query.flag("stderr"),
        ..AttachOptions::default()
    };
    let id = id.to_owned();
    let (target, log, tty) = request
        .engine(move |engine| -> Result<_, Refusal> {
            let tty = engine.inspect(&id)?.spec.process.tty;
            let target = match stream.then(|| engine.await_start(&id)).transpose()? {
                None => None,
                Some(Some(rendezvous)) => Some(Target::Waiting(rendezvous)),
                Some(None) => Some(Target::Running(engine.attach(&id, options)?)),
            };
            let log = looks_back.then(|| engine.logs(&id, &LogOptions::default())).transpose()?;
            Ok((target, log, tty))
        })
        .await?;
    let keys = hijack::detach_keys(request.query.get("detachKeys"), tty && options.stdin)?;
    let framing = Framing::of(tty);
    let media_type = framing.media_type(request.version);
    let shown = Shown { stdout: options.stdout, stderr: options.stderr, timestamps: false, framing };
    let session = async move |mut client: Client| {
        if let Some(log) = log {
            show(log, shown, &mut client).await?;
        }
        let stream = match target {
            None => return client.shutdown().await,
            Some(Target::Running(stream)) => stream,
            Some(Target::Waiting(rendezvous)) => met(rendezvous, options).await?,
        };
        Attached::new(stream)?.bridge(client, framing, options.stdin, keys).await
    };
    Ok(hijack::take(&mut request, media_type, session))
}

/// How much of a log is read before it is sent.
const LINES: usize = 256;

/// Sends a log.
async fn show(log: Reader, shown: Shown, client: &mut Client) -> io::Result<()> {
    let mut log = log;
    loop {
        let read = tokio::task::spawn_blocking(move || {
            let lines: io::Result<Vec<_>> = log.by_ref().take(LINES).collect();
            lines.map(|lines| (lines, log))
        });
        let (lines, rest) = read.await.expect("a panic ends the process")?;
        if lines.is_empty() {
            return client.flush().await;
        }
        for line in lines.into_iter().filter_map(|line| shown.line(line)) {
            client.write_all(&line).await?;
        }
        log = rest;
    }
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
