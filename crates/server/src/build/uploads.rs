//! Contexts that come with a request of their own: `buildid=upload-request:<id>` brings that of the build with `remote=upload-request` and
//! `buildid=<id>`, which may be asked for before or afterwards.

use std::io;

use axum::body::Body;
use axum::http::StatusCode;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::arrivals::{Arrivals, PATIENCE};
use crate::refusal::Refusal;

/// The contexts that wait for their builds.
#[derive(Default)]
pub struct Uploads(Arrivals<Waiting>);

struct Waiting {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    taken: oneshot::Sender<()>,
}

/// Takes an upload away when its client has gone.
struct Offer<'a>(&'a Uploads, &'a str);

impl Drop for Offer<'_> {
    fn drop(&mut self) {
        self.0.0.remove(self.1);
    }
}

impl Uploads {
    /// Hands `body` to the build `id`, to its end or until the build does not want more.
    ///
    /// # Errors
    /// No such build comes.
    pub async fn offer(&self, id: &str, mut body: Body) -> Result<(), Refusal> {
        let (sender, pieces) = mpsc::channel(1);
        let (taken, is_taken) = oneshot::channel();
        self.0.add(id, Waiting { pieces, taken });
        {
            let _offer = Offer(self, id);
            let text = format!("buildid: no build {id} waits for its context");
            let missing = || Refusal::new(StatusCode::NOT_FOUND, text);
            timeout(PATIENCE, is_taken).await.ok().and_then(Result::ok).ok_or_else(missing)?;
        }
        while let Some(frame) = body.frame().await {
            let piece = frame.map(|frame| frame.into_data().unwrap_or_default()).map_err(io::Error::other);
            if sender.send(piece).await.is_err() {
                break;
            }
        }
        Ok(())
    }

    /// The context of the build `id`.
    ///
    /// # Errors
    /// It does not come.
    pub async fn take(&self, id: &str) -> Result<Body, Refusal> {
        let missing = || Refusal::invalid(format!("remote: nobody uploads the context of build {id:?}"));
        let waiting = self.0.wait(|waiting| waiting.remove(id)).await;
        let Waiting { pieces, taken } = waiting.ok_or_else(missing)?;
        // Whoever offered it and has gone has ended the pieces, too.
        let _ = taken.send(());
        Ok(Body::from_stream(futures_util::stream::unfold(pieces, |mut pieces| async {
            pieces.recv().await.map(|piece| (piece, pieces))
        })))
    }
}
