//! Contexts that come with a request of their own: `buildid=upload-request:<id>` brings that of the build with `remote=upload-request` and
//! `buildid=<id>`, which may be asked for before or afterwards.

use std::collections::HashMap;
use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use crate::refusal::Refusal;

/// How long either request waits for the other.
const PATIENCE: Duration = Duration::from_secs(10);

/// The contexts that wait for their builds.
#[derive(Default)]
pub struct Uploads {
    waiting: Mutex<HashMap<String, Waiting>>,
    /// Changes when one comes.
    came: watch::Sender<()>,
}

struct Waiting {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    taken: oneshot::Sender<()>,
}

/// Takes an upload away when its client has gone.
struct Offer<'a>(&'a Uploads, &'a str);

impl Drop for Offer<'_> {
    fn drop(&mut self) {
        self.0.lock().remove(self.1);
    }
}

impl Uploads {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands `body` to the build `id`, to its end or until the build does not want more.
    ///
    /// # Errors
    /// No such build comes.
    pub async fn offer(&self, id: &str, mut body: Body) -> Result<(), Refusal> {
        let (sender, pieces) = mpsc::channel(1);
        let (taken, is_taken) = oneshot::channel();
        self.lock().insert(id.to_owned(), Waiting { pieces, taken });
        {
            let _offer = Offer(self, id);
            self.came.send_replace(());
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
        let mut came = self.came.subscribe();
        let found = async {
            loop {
                if let Some(waiting) = self.lock().remove(id) {
                    return waiting;
                }
                let _ = came.changed().await;
            }
        };
        let missing = |_| Refusal::invalid(format!("remote: nobody uploads the context of build {id:?}"));
        let Waiting { pieces, taken } = timeout(PATIENCE, found).await.map_err(missing)?;
        // Whoever offered it and has gone has ended the pieces, too.
        let _ = taken.send(());
        Ok(Body::from_stream(futures_util::stream::unfold(pieces, |mut pieces| async {
            pieces.recv().await.map(|piece| (piece, pieces))
        })))
    }
}
