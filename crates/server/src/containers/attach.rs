//! Attaching to a container that runs, or that will.

use std::io;
use std::time::Duration;

use api::Version;
use engine::Rendezvous;
use engine::detach::Matcher;
use engine::model::LogOptions;
use monitor::client::{AttachOptions, AttachStream};
use monitor::logs::Reader;
use tokio::io::AsyncWriteExt as _;
use tokio::net::UnixListener;
use tokio::time::timeout;

use super::logs::Shown;
use crate::hijack::{self, Attached, Client, Framing, Gone, Input};
use crate::refusal::Refusal;
use crate::reply::Response;
use crate::request::Request;
use crate::websocket;

/// Whom a client is attached to.
enum Target {
    Running(AttachStream),
    /// Not started yet; whoever starts it, the client sees its first byte.
    Waiting(Rendezvous),
}

/// What a client gets once its connection is its own.
struct Attachment {
    target: Option<Target>,
    log: Option<Reader>,
    options: AttachOptions,
    tty: bool,
    keys: Matcher,
}

/// `POST /containers/{id}/attach`: what was written before with `logs`, what is written from now on with `stream`, or both.
pub async fn attach(mut request: Request, id: &str) -> Result<Response, Refusal> {
    let attachment = Attachment::of(&request, id, wanted(&request)).await?;
    let framing = Framing::of(attachment.tty);
    let media_type = framing.media_type(request.version);
    Ok(hijack::take(&mut request, media_type, async move |client, gone| {
        attachment.hold((client, gone), framing, true).await
    }))
}

/// `GET /containers/{id}/attach/ws`: the same over a websocket, where output is never multiplexed.
pub async fn websocket(mut request: Request, id: &str) -> Result<Response, Refusal> {
    let options = match request.version < Version::minor(42) {
        // Before, nobody was asked.
        true => AttachOptions { stdin: true, stdout: true, stderr: true, ..AttachOptions::default() },
        false => wanted(&request),
    };
    let attachment = Attachment::of(&request, id, options).await?;
    let session = async move |client, gone| attachment.hold((client, gone), Framing::Raw, false).await;
    websocket::take(&mut request, session).await
}

/// The streams that a client names.
fn wanted(request: &Request) -> AttachOptions {
    let [stdin, stdout, stderr] = ["stdin", "stdout", "stderr"].map(|stream| request.query.flag(stream));
    AttachOptions { stdin, stdout, stderr, ..AttachOptions::default() }
}

impl Attachment {
    /// Attached first and looked back at afterwards: a line that comes in between may come twice, and none is lost.
    fn of(
        request: &Request,
        id: &str,
        options: AttachOptions,
    ) -> impl Future<Output = Result<Self, Refusal>> + use<> {
        let (looks_back, stream) = (request.query.flag("logs"), request.query.flag("stream"));
        let keys = request.query.get("detachKeys").map(str::to_owned);
        let id = id.to_owned();
        request.engine(move |engine| {
            let tty = engine.inspect(&id)?.spec.process.tty;
            let keys = hijack::detach_keys(keys.as_deref(), tty && options.stdin)?;
            let target = match stream.then(|| engine.await_start(&id)).transpose()? {
                None => None,
                Some(Some(rendezvous)) => Some(Target::Waiting(rendezvous)),
                Some(None) => Some(Target::Running(engine.attach(&id, options)?)),
            };
            let log = looks_back.then(|| engine.logs(&id, &LogOptions::default())).transpose()?;
            Ok::<_, Refusal>(Self { target, log, options, tty, keys })
        })
    }

    /// Serves the client until either side has ended.
    async fn hold(
        self,
        (mut client, mut gone): (Client, Gone),
        framing: Framing,
        ends_alone: bool,
    ) -> io::Result<()> {
        let Self { target, log, options, keys, .. } = self;
        if let Some(log) = log {
            let (stdout, stderr) = (options.stdout, options.stderr);
            let shown = Shown { stdout, stderr, timestamps: false, details: false, framing };
            show(log, shown, &mut client).await?;
        }
        let stream = match target {
            None => None,
            Some(Target::Running(stream)) => Some(stream),
            Some(Target::Waiting(rendezvous)) => tokio::select! {
                met = met(rendezvous, options) => met?,
                () = &mut gone => return Ok(()),
            },
        };
        match stream {
            None => client.shutdown().await,
            Some(stream) => {
                let input = Input { is_taken: options.stdin, ends_alone, keys };
                Attached::new(stream)?.bridge((client, gone), framing, input).await
            }
        }
    }
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

/// Nothing tells a listener that its name has gone.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

/// Waits for the container's monitor; `None` when the container was removed instead of started.
async fn met(rendezvous: Rendezvous, options: AttachOptions) -> io::Result<Option<AttachStream>> {
    let listener = rendezvous.listener().try_clone()?;
    listener.set_nonblocking(true)?;
    let listener = UnixListener::from_std(listener)?;
    let monitor = loop {
        match timeout(LOOK_INTERVAL, listener.accept()).await {
            Ok(accepted) => break accepted?.0.into_std()?,
            Err(_) if rendezvous.is_awaited() => {}
            Err(_) => return Ok(None),
        }
    };
    monitor.set_nonblocking(false)?;
    let met = tokio::task::spawn_blocking(move || rendezvous.attach(monitor, options));
    met.await.expect("a panic ends the process").map(Some).map_err(io::Error::other)
}
