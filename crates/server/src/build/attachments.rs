//! The client's secrets and SSH agents, asked for over its session when a step needs them.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;

use api::buildkit::control::BytesMessage;
use api::buildkit::session::{CheckAgentRequest, GetSecretRequest, GetSecretResponse};
use api::buildkit::{Opaque, Status, code};
use axum::http::{HeaderMap, HeaderValue};
use build::Attachments;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::runtime::Handle;

use super::grpc::Call;
use super::session::Session;

/// Bytes moved at once.
const PIECE: usize = 32 << 10;

/// What the client of a session has, for the builder's threads.
pub struct OfSession {
    pub session: Session,
    pub handle: Handle,
}

impl Attachments for OfSession {
    fn secret(&self, id: &str) -> io::Result<Option<Vec<u8>>> {
        let request = GetSecretRequest { id: id.to_owned() };
        let path = "/moby.buildkit.secrets.v1.Secrets/GetSecret";
        match self.handle.block_on(self.session.channel.unary::<GetSecretResponse>(path, &request)) {
            Ok(answer) => Ok(Some(answer.data)),
            // A client without any secret does not even have the service.
            Err(status) if matches!(status.code, code::NOT_FOUND | code::UNIMPLEMENTED) => Ok(None),
            Err(status) => Err(io::Error::other(status.message)),
        }
    }

    fn ssh_agent(&self, id: &str) -> io::Result<Option<StdUnixStream>> {
        let channel = &self.session.channel;
        let request = CheckAgentRequest { id: id.to_owned() };
        let path = "/moby.sshforward.v1.SSH/CheckAgent";
        match self.handle.block_on(channel.unary::<Opaque>(path, &request)) {
            Ok(_) => {}
            Err(status) if status.code == code::UNAVAILABLE => return Err(io::Error::other(status.message)),
            // Clients have no code for an agent they do not have.
            Err(_) => return Ok(None),
        }
        let mut headers = HeaderMap::new();
        headers.insert("buildkit.ssh.id", HeaderValue::from_str(id).map_err(io::Error::other)?);
        let (theirs, ours) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let _in_runtime = self.handle.enter();
        let ours = UnixStream::from_std(ours)?;
        let call = channel.call("/moby.sshforward.v1.SSH/ForwardAgent", headers);
        // Either side may go away at any time.
        self.handle.spawn(async move { drop(forward(ours, call).await) });
        Ok(Some(theirs))
    }
}

/// Moves bytes both ways until the agent's side ends.
async fn forward(mut stream: UnixStream, call: Call) -> io::Result<()> {
    let lost = |status: Status| io::Error::other(status.message);
    let (mut out, mut answers) = call.split();
    let (mut input, mut output) = stream.split();
    let sending = async move {
        loop {
            let mut data = Vec::with_capacity(PIECE);
            if input.read_buf(&mut data).await? == 0 {
                return Ok::<(), io::Error>(());
            }
            out.send(&BytesMessage { data }).await.map_err(lost)?;
        }
    };
    let receiving = async {
        while let Some(message) = answers.next::<BytesMessage>().await.map_err(lost)? {
            output.write_all(&message.data).await?;
        }
        Ok::<(), io::Error>(())
    };
    let mut receiving = std::pin::pin!(receiving);
    tokio::select! {
        ended = &mut receiving => return ended,
        sent = sending => sent?,
    }
    receiving.await
}
