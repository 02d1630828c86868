//! The client's secrets, SSH agents and credentials, asked for over its session when they are needed.

use std::io;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::sync::mpsc::sync_channel;

use api::buildkit::control::BytesMessage;
use api::buildkit::session::{
    CheckAgentRequest, CredentialsRequest, CredentialsResponse, GetSecretRequest, GetSecretResponse,
};
use api::buildkit::{Opaque, Status, code};
use axum::http::{HeaderMap, HeaderValue};
use build::Attachments;
use registry::Credential;
use registry::credentials::{Credentials, CredentialsError, HUB};
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

impl Credentials for OfSession {
    fn lookup(&self, host: &str) -> Result<Option<Credential>, CredentialsError> {
        // Clients go by the name of the host that is asked.
        let asked = if host == HUB { "registry-1.docker.io" } else { host };
        let request = CredentialsRequest { host: asked.to_owned() };
        let channel = self.session.channel.clone();
        let (tell, told) = sync_channel(1);
        // Whoever looks up is at work in a runtime of its own, which may not wait for a future of this one.
        self.handle.spawn(async move {
            let path = "/moby.filesync.v1.Auth/Credentials";
            let _ = tell.send(channel.unary::<CredentialsResponse>(path, &request).await);
        });
        let failed = |says: String| CredentialsError::Client { host: host.to_owned(), says };
        match told.recv() {
            Ok(Ok(CredentialsResponse { user_name, secret })) => Ok(match (user_name, secret) {
                (_, secret) if secret.is_empty() => None,
                (user, token) if user.is_empty() => Some(Credential::IdentityToken { user, token }),
                (user, password) => Some(Credential::Password { user, password }),
            }),
            // Not every client has this service.
            Ok(Err(status)) if status.code == code::UNIMPLEMENTED => Ok(None),
            Ok(Err(status)) => Err(failed(status.message)),
            Err(_) => Err(failed("the server ends".to_owned())),
        }
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
