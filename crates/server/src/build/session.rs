//! Sessions: connections on which the client serves and the server calls.

use api::buildkit::{Status, code};
use axum::http::HeaderMap;
use tokio::sync::watch;

use super::arrivals::Arrivals;
use super::grpc::{Channel, failure};
use crate::hijack::Client;

/// The sessions there are.
#[derive(Default)]
pub struct Sessions(Arrivals<Session>);

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
        self.0.add(&id, Session { channel, gone });
        moving.await;
        self.0.remove(&id);
        drop(here);
    }

    /// A session, which may still be on its way.
    ///
    /// # Errors
    /// It does not come.
    pub async fn get(&self, id: &str) -> Result<Session, Status> {
        let missing =
            || failure(code::NOT_FOUND, format!("no active session for {id}: context deadline exceeded"));
        self.0.wait(|open| open.get(id).cloned()).await.ok_or_else(missing)
    }
}

impl Session {
    /// Returns when the client has closed it.
    pub async fn gone(&self) {
        let mut gone = self.gone.clone();
        while gone.changed().await.is_ok() {}
    }
}
