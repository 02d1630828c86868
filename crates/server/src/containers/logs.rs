//! What a container wrote.

use std::time::Duration;

use engine::model::LogOptions;
use engine::{parse, time};
use monitor::logs::{LogLine, Step, Stream};
use sys::event::{PollFd, PollFlags, poll};

use crate::hijack::Framing;
use crate::refusal::Refusal;
use crate::reply::{self, Response};
use crate::request::Request;
use crate::stream;

/// Which streams are wanted, and how their lines are written.
#[derive(Clone, Copy)]
pub struct Shown {
    pub stdout: bool,
    pub stderr: bool,
    pub timestamps: bool,
    /// Each line after its attributes, of which there are none: log drivers that note any are refused.
    pub details: bool,
    pub framing: Framing,
}

impl Shown {
    /// A line as it is sent; `None` when it is of the other stream.
    pub fn line(self, line: LogLine) -> Option<Vec<u8>> {
        let wanted = match line.stream {
            Stream::Stdout => self.stdout,
            Stream::Stderr => self.stderr,
        };
        let mut text = match self.timestamps {
            true => format!("{} ", time::rfc3339(line.time_ns)).into_bytes(),
            false => Vec::new(),
        };
        if self.details {
            text.push(b' ');
        }
        text.extend_from_slice(&line.text);
        wanted.then(|| self.framing.encode(line.stream, text))
    }
}

/// `GET /containers/{id}/logs`.
pub async fn logs(request: Request, id: &str) -> Result<Response, Refusal> {
    let query = &request.query;
    let (stdout, stderr) = (query.flag("stdout"), query.flag("stderr"));
    if !stdout && !stderr {
        return Err(Refusal::invalid("Bad parameters: you must choose at least one stream"));
    }
    let now = monitor::time::now_ns();
    // Zero stands for no limit.
    let time = |key: &str| {
        let text = query.get(key).filter(|text| *text != "0");
        text.map(|text| parse::timestamp_ns(text, now)).transpose()
    };
    let options = LogOptions {
        follow: query.flag("follow"),
        // Docker takes whatever is no number for all of it.
        tail: query.get("tail").and_then(|tail| tail.parse().ok()),
        since_ns: time("since")?,
        until_ns: time("until")?,
    };
    let (timestamps, details) = (query.flag("timestamps"), query.flag("details"));
    let id = id.to_owned();
    let (mut reader, tty) = request
        .engine(move |engine| {
            let tty = engine.inspect(&id)?.spec.process.tty;
            engine.logs(&id, &options).map(|reader| (reader, tty))
        })
        .await?;
    let framing = Framing::of(tty);
    let shown = Shown { stdout, stderr, timestamps, details, framing };
    let body = stream::body(move |sink| {
        loop {
            match reader.step(Some(Duration::ZERO)) {
                Ok(Step::Line(line)) => {
                    if shown.line(line).is_some_and(|line| sink.send(line).is_err()) {
                        return;
                    }
                }
                Ok(Step::End) | Err(_) => return,
                Ok(Step::Idle) => {
                    let Some(more) = reader.as_fd() else { return };
                    let mut fds = [more, sink.gone()].map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN));
                    // A killed monitor changes no file.
                    match poll(&mut fds, Some(Duration::from_secs(1))) {
                        Ok(_) if fds[1].revents().is_empty() => {}
                        _ => return,
                    }
                }
            }
        }
    })?;
    Ok(reply::typed(framing.media_type(request.version), body))
}
