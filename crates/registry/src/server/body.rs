//! Bodies in pieces: nothing of a blob is ever in memory but a few of them.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::task::{JoinHandle, spawn_blocking};

use super::content::Upload;
use super::refusal::{Code, Refusal};

/// Bytes that go to or come from the disk at once.
const PIECE: usize = 256 << 10;
/// A client that sends nothing for so long is taken for dead.
const SILENCE_LIMIT: Duration = Duration::from_secs(60);
/// How long a client may take for a manifest.
const DOCUMENT_LIMIT: Duration = Duration::from_secs(120);

/// Reads a small body to its end.
pub async fn document(body: Body, limit: usize) -> Result<Vec<u8>, Refusal> {
    let read = async {
        let mut body = body;
        let mut bytes = Vec::new();
        while let Some(piece) = next(&mut body).await? {
            if bytes.len() + piece.len() > limit {
                let text = format!("a manifest has no more than {limit} bytes here");
                return Err(Refusal::new(Code::SizeInvalid, text).status(413).hanging_up());
            }
            bytes.extend_from_slice(&piece);
        }
        Ok(bytes)
    };
    tokio::time::timeout(DOCUMENT_LIMIT, read).await.unwrap_or_else(|_| Err(too_slow()))
}

/// The next piece of a body; `None` at its end.
async fn next(body: &mut Body) -> Result<Option<Bytes>, Refusal> {
    loop {
        let frame = tokio::time::timeout(SILENCE_LIMIT, body.frame()).await.map_err(|_| too_slow())?;
        match frame {
            None => return Ok(None),
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => return Ok(Some(data)),
                // Trailers say nothing to us.
                Err(_) => continue,
            },
            Some(Err(_)) => {
                let text = "the request ended before its body was complete";
                return Err(Refusal::new(Code::SizeInvalid, text).hanging_up());
            }
        }
    }
}

fn too_slow() -> Refusal {
    Refusal::new(Code::SizeInvalid, "the body took too long to arrive").status(408).hanging_up()
}

/// What became of an upload into which a body was poured.
pub struct Poured<U> {
    /// `None` when it could not be written to.
    pub upload: Option<U>,
    pub result: Result<(), Refusal>,
}

/// Writes a body to `upload`, at most `limit` bytes of it. Pieces are written while the next ones arrive; a slow client
/// occupies no thread.
pub async fn pour<U: Upload>(mut body: Body, upload: U, limit: u64) -> Poured<U> {
    let mut left = limit;
    let mut idle = Some(upload);
    let mut writing: Option<JoinHandle<io::Result<U>>> = None;
    loop {
        let gathered = gather(&mut body).await;
        if let Some(writing) = writing.take() {
            match writing.await.map_err(io::Error::other).flatten() {
                Ok(upload) => idle = Some(upload),
                Err(e) => return Poured { upload: None, result: Err(not_written(e)) },
            }
        }
        let (pieces, result) = gathered;
        let length: u64 = pieces.iter().map(|piece| piece.len() as u64).sum();
        if length > left {
            let text = "the body is longer than announced, or than blobs may be here";
            let refusal = Refusal::new(Code::SizeInvalid, text).status(413).hanging_up();
            return Poured { upload: None, result: Err(refusal) };
        }
        left -= length;
        let ended = result.as_ref().map_or(true, |more| !more);
        if let Some(mut upload) = idle.take() {
            if ended && pieces.is_empty() {
                return Poured { upload: Some(upload), result: result.map(drop) };
            }
            writing = Some(spawn_blocking(move || {
                pieces.iter().try_for_each(|piece| upload.write_all(piece)).map(|()| upload)
            }));
        }
        if ended {
            let written = match writing.take() {
                Some(writing) => writing.await.map_err(io::Error::other).flatten().map(Some),
                None => Ok(None),
            };
            return match written {
                Ok(upload) => Poured { upload, result: result.map(drop) },
                Err(e) => Poured { upload: None, result: Err(not_written(e)) },
            };
        }
    }
}

/// Collects pieces worth a write, and whether others follow. What came before an error counts.
async fn gather(body: &mut Body) -> (Vec<Bytes>, Result<bool, Refusal>) {
    let (mut pieces, mut length) = (Vec::new(), 0);
    while length < PIECE {
        match next(body).await {
            Ok(Some(piece)) => {
                length += piece.len();
                pieces.push(piece);
            }
            Ok(None) => return (pieces, Ok(false)),
            Err(refusal) => return (pieces, Err(refusal)),
        }
    }
    (pieces, Ok(true))
}

fn not_written(error: io::Error) -> Refusal {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            super::ContentError::Full(error.into()).into()
        }
        _ => super::ContentError::Internal(error.into()).into(),
    }
}

/// Part of a file as a body, read piece by piece as fast as the client takes it.
pub fn of_file(file: File, part: Range<u64>) -> Body {
    let file = Arc::new(file);
    Body::from_stream(futures_util::stream::unfold(part, move |part| {
        let file = file.clone();
        async move {
            if part.is_empty() {
                return None;
            }
            let length = usize::try_from(part.end - part.start).unwrap_or(PIECE).min(PIECE);
            let start = part.start;
            let read = spawn_blocking(move || {
                let mut piece = vec![0; length];
                file.read_exact_at(&mut piece, start).map(|()| Bytes::from(piece))
            });
            let piece = read.await.map_err(io::Error::other).flatten();
            // After an error the connection is closed: the length that was promised cannot be kept.
            Some((piece, start + length as u64..part.end))
        }
    }))
}
