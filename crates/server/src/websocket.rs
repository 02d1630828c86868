//! Connections that become a container's input and output in messages, as browsers speak it.
//!
//! Spec: RFC 6455. A websocket cannot be half closed: a client that ends its input has gone.

use std::convert::Infallible;
use std::time::Duration;

use api::Version;
use axum::extract::FromRequestParts as _;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use bytes::{Bytes, BytesMut};
use futures_util::{SinkExt as _, StreamExt as _};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::hijack::{Client, Gone, PIECE, presence};
use crate::refusal::Refusal;
use crate::reply::Response;
use crate::request::Request;

/// Longest message taken from a client.
const MESSAGE_LIMIT: usize = 16 << 20;
/// How long a client may take to answer that the session is over.
const FAREWELL: Duration = Duration::from_secs(5);

/// What output is sent as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Payload {
    Text,
    Binary,
}

impl Payload {
    /// How much of `output` can be sent before more of it is there: text waits for the rest of its last character.
    fn whole(self, output: &[u8]) -> usize {
        match self {
            Self::Binary => output.len(),
            Self::Text => match std::str::from_utf8(output) {
                Err(error) if error.error_len().is_none() => error.valid_up_to(),
                _ => output.len(),
            },
        }
    }

    /// A message of a piece of output; what cannot be text is replaced.
    fn message(self, piece: Bytes) -> Message {
        match self {
            Self::Binary => Message::Binary(piece),
            Self::Text => Message::text(String::from_utf8_lossy(&piece).into_owned()),
        }
    }
}

/// Gives `session` a connection that carries what a client's messages carry, and whose output becomes messages: binary ones, since
/// 1.28.
///
/// # Errors
/// A handshake that is none.
pub async fn take<F>(
    request: &mut Request,
    session: impl FnOnce(Client, Gone) -> F + Send + 'static,
) -> Result<Response, Refusal>
where
    F: Future<Output = std::io::Result<()>> + Send + 'static,
{
    let (mut parts, ()) = axum::http::Request::new(()).into_parts();
    parts.headers = std::mem::take(&mut request.headers);
    if let Some(connection) = request.upgrade.take() {
        parts.extensions.insert(connection);
    }
    let upgrade = WebSocketUpgrade::from_request_parts(&mut parts, &()).await;
    let mut upgrade = upgrade.map_err(|wrong| Refusal::new(wrong.status(), wrong.body_text()))?;
    // Browsers hang up when nothing is chosen of what they offer.
    let offered = upgrade.requested_protocols().next().cloned();
    if let Some(protocol) = offered {
        upgrade.set_selected_protocol(protocol);
    }
    let payload = if request.version < Version::minor(28) { Payload::Text } else { Payload::Binary };
    Ok(upgrade.max_message_size(MESSAGE_LIMIT).on_upgrade(move |socket| async move {
        let (ours, theirs) = tokio::io::duplex(PIECE);
        let (here, gone) = presence();
        // A client that goes away in the middle is none of our errors.
        let _ = tokio::join!(session(Box::new(ours), gone), relay(socket, theirs, payload, here));
    }))
}

/// Moves bytes both ways until the client or the session has ended; `here` is held as long as the client is there.
async fn relay(
    socket: WebSocket,
    session: DuplexStream,
    payload: Payload,
    here: oneshot::Sender<Infallible>,
) {
    let (mut to_client, mut from_client) = socket.split();
    let (mut output, mut input) = tokio::io::split(session);
    let incoming = async {
        while let Some(Ok(message)) = from_client.next().await {
            let bytes: Bytes = match message {
                Message::Text(text) => text.into(),
                Message::Binary(bytes) => bytes,
                Message::Ping(_) | Message::Pong(_) => continue,
                Message::Close(_) => break,
            };
            if input.write_all(&bytes).await.is_err() {
                break;
            }
        }
        let _ = input.shutdown().await;
        drop(here);
    };
    let outgoing = async {
        let mut piece = BytesMut::new();
        loop {
            piece.reserve(PIECE);
            let is_end = !matches!(output.read_buf(&mut piece).await, Ok(length) if length > 0);
            let length = if is_end { piece.len() } else { payload.whole(&piece) };
            let message = payload.message(piece.split_to(length).freeze());
            if length > 0 && to_client.send(message).await.is_err() {
                return;
            }
            if is_end {
                break;
            }
        }
        let _ = to_client.close().await;
    };
    let mut incoming = std::pin::pin!(incoming);
    let mut outgoing = std::pin::pin!(outgoing);
    tokio::select! {
        () = &mut incoming => outgoing.await,
        () = &mut outgoing => drop(timeout(FAREWELL, incoming).await),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_not_cut_in_two() {
        let whole = |bytes: &[u8]| (Payload::Text.whole(bytes), Payload::Binary.whole(bytes));
        assert_eq!(whole("a\u{e9}".as_bytes()), (3, 3));
        assert_eq!(whole(b"a\xc3"), (1, 2));
        assert_eq!(whole(b"\xc3"), (0, 1));
        // No more of it makes this a character.
        assert_eq!(whole(b"a\xffb"), (3, 3));
        let Message::Text(text) = Payload::Text.message(Bytes::from_static(b"a\xffb")) else {
            unreachable!()
        };
        assert_eq!(text.as_str(), "a\u{fffd}b");
    }
}
