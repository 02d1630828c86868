//! Bodies that nobody reads to their end.
//!
//! A connection that is closed while its client still sends is reset, and the client may never read the answer that is on its way: why its
//! upload is refused, for instance. So what nobody wanted is taken all the same, up to a limit, and the connection stays open.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;
use tokio::time::timeout;

const MOST_BYTES: usize = 16 << 20;
const LONGEST: Duration = Duration::from_secs(10);

/// A body that is taken to its end, by whoever wants it or by nobody.
pub struct Taken {
    body: Option<Incoming>,
    runtime: Handle,
}

impl Taken {
    /// Called within the asynchronous runtime.
    pub fn of(body: Incoming) -> Self {
        Self { body: Some(body), runtime: Handle::current() }
    }
}

impl Body for Taken {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        match &mut self.body {
            Some(body) => Pin::new(body).poll_frame(cx),
            None => Poll::Ready(None),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let Some(mut body) = self.body.take().filter(|body| !body.is_end_stream()) else { return };
        let rest = async move {
            let mut taken = 0;
            while let Some(Ok(frame)) = body.frame().await {
                taken += frame.into_data().map_or(0, |piece| piece.len());
                if taken > MOST_BYTES {
                    return;
                }
            }
        };
        self.runtime.spawn(async { drop(timeout(LONGEST, rest).await) });
    }
}
