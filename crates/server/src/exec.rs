//! `/containers/{id}/exec` and `/exec`: processes in running containers.

use api::exec::{ExecConfig, ExecStart};
use axum::http::StatusCode;
use diag::Diagnose as _;
use engine::exec::ExecError;
use engine::execs::ExecInspect;
use engine::model::ExecSpec;
use monitor::client::{AttachOptions, AttachStream};
use monitor::logs::Stream;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt as _;

use crate::containers::control::size;
use crate::hijack::{self, Attached, Client, Framing, Gone, Input};
use crate::refusal::{Refusal, with_sources};
use crate::reply::{self, Response};
use crate::request::Request;

/// `POST /containers/{id}/exec`.
pub async fn create(mut request: Request, id: &str) -> Result<Response, Refusal> {
    let wire: ExecConfig = request.required().await?;
    let streams = [wire.attach_stdin, wire.attach_stdout, wire.attach_stderr].map(Option::unwrap_or_default);
    let detach_keys = wire.detach_keys.filter(|keys| !keys.is_empty());
    let spec = ExecSpec {
        command: wire.cmd.unwrap_or_default(),
        env: wire.env.unwrap_or_default(),
        working_dir: wire.working_dir.filter(|directory| !directory.is_empty()),
        user: wire.user.filter(|user| !user.is_empty()),
        privileged: wire.privileged.unwrap_or_default(),
        tty: wire.tty.unwrap_or_default(),
        console_size: wire.console_size.map(|[rows, columns]| (rows, columns)).filter(|size| *size != (0, 0)),
    };
    if spec.privileged && request.state.scope.project.is_some() {
        let text = "this socket gives nobody more privileges than a container has";
        return Err(Refusal::new(StatusCode::FORBIDDEN, text));
    }
    let id = id.to_owned();
    let id = request.engine(move |engine| engine.exec_create(&id, spec, streams, detach_keys)).await?;
    Ok(reply::json(StatusCode::CREATED, &json!({"Id": id})))
}

/// `POST /exec/{id}/start`: detached, or hijacked.
pub async fn start(mut request: Request, id: &str) -> Result<Response, Refusal> {
    let wire: ExecStart = request.document().await?.unwrap_or_default();
    let detach = wire.detach.unwrap_or_default();
    let console_size =
        wire.console_size.map(|[rows, columns]| (rows, columns)).filter(|size| *size != (0, 0));
    let id = id.to_owned();
    let (tty, input, started) = request
        .engine(move |engine| -> Result<_, Refusal> {
            let record = engine.exec_inspect(&id)?.record;
            let [stdin, stdout, stderr] = if detach { [false; 3] } else { record.streams };
            let options =
                AttachOptions { stdin, stdout, stderr, size: console_size, ..AttachOptions::default() };
            let keys = hijack::detach_keys(record.detach_keys.as_deref(), record.spec.tty && stdin)?;
            let input = Input { is_taken: stdin, ends_alone: true, keys };
            match engine.exec_start(&id, options) {
                Ok(stream) => Ok((record.spec.tty, input, Ok(stream))),
                // Of what the process itself is to blame for the client is told where it expects its output.
                Err(error) if error.exit_status().is_some() && !detach => {
                    Ok((record.spec.tty, input, Err(with_sources(&error))))
                }
                Err(error) if error.exit_status().is_some() => Err(Refusal::invalid(with_sources(&error))),
                Err(error) => Err(error.into()),
            }
        })
        .await?;
    if detach {
        return Ok(reply::empty(StatusCode::OK));
    }
    let framing = Framing::of(tty);
    let media_type = framing.media_type(request.version);
    let session = async move |client, gone| session((client, gone), framing, input, started).await;
    Ok(hijack::take(&mut request, media_type, session))
}

async fn session(
    (mut client, gone): (Client, Gone),
    framing: Framing,
    input: Input,
    started: Result<AttachStream, String>,
) -> std::io::Result<()> {
    match started {
        Ok(stream) => Attached::new(stream)?.bridge((client, gone), framing, input).await,
        Err(text) => {
            let text = framing.encode(Stream::Stdout, format!("{text}\r\n").into_bytes());
            client.write_all(&text).await?;
            client.shutdown().await
        }
    }
}

/// `GET /exec/{id}/json`.
pub async fn inspect(request: Request, id: &str) -> Result<Response, Refusal> {
    let id = id.to_owned();
    let exec = request.engine(move |engine| engine.exec_inspect(&id)).await?;
    Ok(reply::ok(&view(&exec)))
}

fn view(exec: &ExecInspect) -> Value {
    let (record, spec) = (&exec.record, &exec.record.spec);
    let [stdin, stdout, stderr] = record.streams;
    let (entrypoint, arguments) =
        spec.command.split_first().map_or(("", &[][..]), |(first, rest)| (first, rest));
    json!({
        "ID": exec.id,
        "Running": exec.running,
        "ExitCode": exec.exit_code,
        "ProcessConfig": {
            "tty": spec.tty, "entrypoint": entrypoint, "arguments": arguments, "privileged": spec.privileged,
            "user": spec.user.clone().unwrap_or_default(),
        },
        "OpenStdin": stdin,
        "OpenStdout": stdout,
        "OpenStderr": stderr,
        "CanRemove": exec.exit_code.is_some(),
        "ContainerID": record.container.as_str(),
        "DetachKeys": record.detach_keys.clone().unwrap_or_default(),
        "Pid": exec.pid,
    })
}

/// `POST /exec/{id}/resize`.
pub async fn resize(request: Request, id: &str) -> Result<Response, Refusal> {
    let (rows, columns) = size(&request)?;
    let id = id.to_owned();
    request.engine(move |engine| -> Result<(), ExecError> { engine.exec_resize(&id, rows, columns) }).await?;
    Ok(reply::empty(StatusCode::OK))
}
