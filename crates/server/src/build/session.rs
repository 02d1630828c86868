//! Sessions: connections on which the client serves and the server calls.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use api::buildkit::{Status, code};
use axum::http::HeaderMap;
use tokio::sync::watch;
use tokio::time::timeout;

use super::grpc::{Channel, failure};
use crate::hijack::Client;

/// How long a build waits for its session, which comes on a connection of its own.
const PATIENCE: Duration = Duration::from_secs(10);

/// The sessions there are.
#[derive(Default)]
pub struct Sessions {
    open: Mutex<HashMap<String, Session>>,
    /// Changes when one comes.
    came: watch::Sender<()>,
}

/// A client's session.
#[derive(Clone)]
pub struct Session {
    pub channel: Channel,
    gone: watch::Receiver<()>,
}

/// The name of the session that headers announce.
pub fn id(headers: &HeaderMap) -> Option<String> {
    super::header(headers, "x-docker-expose-session-uuid").filter(|id| !id.is_empty()).map(str::to_owned)
}

impl Sessions {
    /// Offers the client's services to builds until it closes the connection.
    pub async fn serve(&self, id: String, client: Client) {
        let Ok((channel, moving)) = Channel::new(client).await else { return };
        let (here, gone) = watch::channel(());
        self.lock().insert(id.clone(), Session { channel, gone });
        self.came.send_replace(());
        moving.await;
        self.lock().remove(&id);
        drop(here);
    }

    /// A session, which may still be on its way.
    ///
    /// # Errors
    /// It does not come.
    pub async fn get(&self, id: &str) -> Result<Session, Status> {
        let mut came = self.came.subscribe();
        let found = async {
            loop {
                if let Some(session) = self.lock().get(id).cloned() {
                    return session;
                }
                let _ = came.changed().await;
            }
        };
        let missing =
            |_| failure(code::NOT_FOUND, format!("no active session for {id}: context deadline exceeded"));
        timeout(PATIENCE, found).await.map_err(missing)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, Session>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Returns when the client has closed it.
    pub async fn gone(&self) {
        let mut gone = self.gone.clone();
        while gone.changed().await.is_ok() {}
    }
}
