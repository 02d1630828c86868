//! A world whose engine is served, and those who speak to it: the real `docker`, and requests put together by hand.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::world::{Running, World, eventually};
use crate::{Output, Terminal};

/// A world with `hull serve` on a socket of its own.
pub struct Api {
    server: Option<Running>,
    socket: PathBuf,
    // Last: what is served goes when nobody serves it any more.
    pub world: World,
}

/// An answer that came over the socket.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    /// As they were sent, one per line.
    pub head: String,
    /// Without the lengths of its chunks.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The body as a document.
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// The same answer, if it has this status.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}\n{}", self.head, self.text());
        self
    }
}

impl Api {
    /// Serves `world`.
    pub fn serve(world: World) -> Self {
        Self::serve_with(world, &[])
    }

    /// Serves `world` with further flags.
    pub fn serve_with(world: World, flags: &[&str]) -> Self {
        let socket = world.scratch().join("docker.sock");
        let mut api = Self { server: None, socket, world };
        api.start(flags);
        api
    }

    /// Starts the server, again after [`Api::kill`].
    pub fn start(&mut self, flags: &[&str]) {
        let address = format!("unix://{}", self.socket.display());
        self.server = Some(self.world.spawn([&["serve", "--listen", &address][..], flags].concat()));
        eventually("the server listens", 20, || UnixStream::connect(&self.socket).ok());
    }

    /// Kills the server, as nothing else does it.
    pub fn kill(&mut self) {
        let server = self.server.take().expect("it runs");
        server.signal("KILL");
        server.finish();
    }

    /// Asks the server to end, and waits for that.
    pub fn stop(&mut self) {
        let server = self.server.take().expect("it runs");
        server.signal("TERM");
        server.finish().success();
    }

    /// The server's process id.
    pub fn pid(&self) -> u32 {
        self.server.as_ref().expect("it runs").pid()
    }

    /// Where it listens.
    pub fn socket(&self) -> &Path {
        &self.socket
    }

    /// `DOCKER_HOST` for its clients.
    pub fn host(&self) -> String {
        format!("unix://{}", self.socket.display())
    }

    /// The real `docker` with `args`, not started yet.
    pub fn docker_command<A: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Command {
        let mut command = Command::new("docker");
        command.args(args).current_dir(self.world.scratch()).stdin(Stdio::null());
        command.env("DOCKER_HOST", self.host()).env("DOCKER_CONFIG", self.world.docker_config());
        command
    }

    /// Runs the real `docker` to its end.
    pub fn docker<A: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Output {
        Output::of(&mut self.docker_command(args))
    }

    /// Runs the real `docker` with `input` on its standard input.
    pub fn docker_with_input<A: AsRef<std::ffi::OsStr>>(
        &self,
        args: impl IntoIterator<Item = A>,
        input: &[u8],
    ) -> Output {
        crate::output::with_input(self.docker_command(args), input)
    }

    /// Gives the real `docker` its plugins, buildx and Compose.
    pub fn install_plugins(&self) {
        let directory = self.world.docker_config();
        std::fs::create_dir_all(&directory).expect("our own directory");
        let plugins = crate::fixtures::docker_plugins();
        std::os::unix::fs::symlink(plugins, directory.join("cli-plugins")).expect("our own directory");
    }

    /// Starts the real `docker` on a terminal.
    pub fn terminal<A: AsRef<std::ffi::OsStr>>(&self, args: impl IntoIterator<Item = A>) -> Terminal {
        Terminal::start(&self.docker_command(args))
    }

    /// A request without a body.
    pub fn get(&self, target: &str) -> Answer {
        self.request("GET", target, "", b"")
    }

    /// A request with a document.
    pub fn post(&self, target: &str, body: &serde_json::Value) -> Answer {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.request("POST", target, "Content-Type: application/json\r\n", body.as_bytes())
    }

    /// A request with further header lines and a body, answered to its end.
    pub fn request(&self, method: &str, target: &str, headers: &str, body: &[u8]) -> Answer {
        request(&self.socket, method, target, headers, body)
    }

    /// Sends a request and leaves the connection to the caller.
    pub fn begin(&self, method: &str, target: &str, headers: &str, body: &[u8]) -> UnixStream {
        begin(&self.socket, method, target, headers, body)
    }
}

impl Drop for Api {
    fn drop(&mut self) {
        // One that is left over from a test that fails is killed with its world.
        if self.server.is_some() && !std::thread::panicking() {
            self.stop();
        }
    }
}

/// A request to whoever listens on `socket`, with further header lines and a body, answered to its end.
pub fn request(socket: &Path, method: &str, target: &str, headers: &str, body: &[u8]) -> Answer {
    let mut stream = begin(socket, method, target, &format!("{headers}Connection: close\r\n"), body);
    let mut bytes = Vec::new();
    // A server may hang up on a client that still sends.
    let _ = stream.read_to_end(&mut bytes);
    parse(&bytes)
}

/// Sends a request to whoever listens on `socket` and leaves the connection to the caller.
pub fn begin(socket: &Path, method: &str, target: &str, headers: &str, body: &[u8]) -> UnixStream {
    let mut stream = UnixStream::connect(socket).expect("the server listens");
    stream.set_read_timeout(Some(Duration::from_secs(120))).expect("it is not zero");
    let length = body.len();
    let head =
        format!("{method} {target} HTTP/1.1\r\nHost: docker\r\n{headers}Content-Length: {length}\r\n\r\n");
    let _ = stream.write_all(head.as_bytes());
    let _ = stream.write_all(body);
    stream
}

fn parse(bytes: &[u8]) -> Answer {
    let at = bytes.windows(4).position(|four| four == b"\r\n\r\n");
    let at = at.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(bytes)));
    let head = String::from_utf8_lossy(&bytes[..at]).into_owned();
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status line");
    let body = &bytes[at + 4..];
    let is_chunked = head.to_ascii_lowercase().contains("transfer-encoding: chunked");
    let body = if is_chunked { unchunked(body) } else { body.to_vec() };
    Answer { status, head, body }
}

fn unchunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(end) = bytes.windows(2).position(|two| two == b"\r\n") {
        let length = std::str::from_utf8(&bytes[..end]).ok();
        let length = length.and_then(|text| usize::from_str_radix(text, 16).ok()).expect("a chunk's length");
        let chunk = &bytes[end + 2..];
        body.extend_from_slice(&chunk[..length.min(chunk.len())]);
        bytes = chunk.get(length + 2..).unwrap_or_default();
    }
    body
}
