//! SSH agents inside of steps: a socket of the step's, whose connections are passed on to the caller's agent.
//!
//! An agent's own socket would not do: agents look at who connects, and a step's root is nobody they know.

use std::io;
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use crate::request::Attachments;

/// A socket that leads to an agent until it is dropped.
pub struct Agent {
    path: PathBuf,
    ending: Arc<AtomicBool>,
    listening: Option<JoinHandle<()>>,
}

impl Agent {
    /// Listens at `path` for the agent `id`.
    ///
    /// # Errors
    /// The socket or the thread cannot be made.
    pub fn serve(path: &Path, id: &str, attachments: Arc<dyn Attachments>) -> io::Result<Self> {
        let listener = UnixListener::bind(path)?;
        let ending = Arc::new(AtomicBool::new(false));
        let (ends, id) = (ending.clone(), id.to_owned());
        let listen = move || {
            for client in listener.incoming() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                // Whoever is not served sees his connection closed.
                let agent = attachments.ssh_agent(&id).ok().flatten();
                if let (Ok(client), Some(agent)) = (client, agent) {
                    let _ = connect(client, agent);
                }
            }
        };
        let listening = Some(thread::Builder::new().name("ssh agent".to_owned()).spawn(listen)?);
        Ok(Self { path: path.to_owned(), ending, listening })
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        // Wakes the listener.
        if UnixStream::connect(&self.path).is_ok()
            && let Some(listening) = self.listening.take()
        {
            let _ = listening.join();
        }
    }
}

/// Passes bytes on both ways, until both sides have ended.
fn connect(client: UnixStream, agent: UnixStream) -> io::Result<()> {
    let (mut from_client, mut to_client) = (client.try_clone()?, client);
    let (mut from_agent, mut to_agent) = (agent.try_clone()?, agent);
    let spawn = |name: &str| thread::Builder::new().name(name.to_owned());
    spawn("ssh client").spawn(move || {
        let _ = io::copy(&mut from_client, &mut to_agent);
        let _ = to_agent.shutdown(Shutdown::Write);
    })?;
    spawn("ssh answers").spawn(move || {
        let _ = io::copy(&mut from_agent, &mut to_client);
        // The agent has gone: there is nobody to ask any more.
        let _ = to_client.shutdown(Shutdown::Both);
    })?;
    Ok(())
}
