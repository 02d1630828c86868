//! Requests as they go over the wire: one per connection, nothing hidden by a client library.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::Value;

/// A request that is being put together.
pub struct Request {
    address: String,
    head: String,
    body: Vec<u8>,
}

/// What came back.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Request {
    pub fn new(address: &str, method: &str, target: &str) -> Self {
        let head = format!("{method} {target} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n");
        Self { address: address.to_owned(), head, body: Vec::new() }
    }

    pub fn header(mut self, name: &str, value: &str) -> Self {
        self.head += &format!("{name}: {value}\r\n");
        self
    }

    /// A body whose length is told.
    pub fn body(mut self, bytes: &[u8]) -> Self {
        self.body = bytes.to_vec();
        self.header("Content-Length", &bytes.len().to_string())
    }

    /// A body whose length is not told.
    pub fn chunked(mut self, bytes: &[u8]) -> Self {
        for chunk in bytes.chunks(7000) {
            self.body.extend(format!("{:x}\r\n", chunk.len()).into_bytes());
            self.body.extend(chunk);
            self.body.extend(b"\r\n");
        }
        self.body.extend(b"0\r\n\r\n");
        self.header("Transfer-Encoding", "chunked")
    }

    /// Sends it, and leaves the connection to who wants to send more.
    pub fn begin(&self) -> TcpStream {
        let mut stream = TcpStream::connect(&self.address).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("it is not zero");
        // The server may refuse before it has all: its answer is what counts.
        let _ = stream.write_all(format!("{}\r\n", self.head).as_bytes());
        let _ = stream.write_all(&self.body);
        stream
    }

    pub fn send(self) -> Response {
        let is_head = self.head.starts_with("HEAD ");
        Response::read(&mut self.begin(), is_head)
    }
}

impl Response {
    pub fn read(stream: &mut TcpStream, is_head: bool) -> Self {
        let mut bytes = Vec::new();
        // A connection that is reset has said before what there was to say.
        let _ = stream.read_to_end(&mut bytes);
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer: {:?}", String::from_utf8_lossy(&bytes)));
        let head = String::from_utf8(bytes[..end].to_vec()).expect("heads are ASCII");
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)?.parse().ok());
        let headers = lines.filter_map(|line| line.split_once(": "));
        let response = Self {
            status: status.expect("a status line"),
            headers: headers.map(|(name, value)| (name.to_lowercase(), value.to_owned())).collect(),
            body: bytes[end + 4..].to_vec(),
        };
        let told = response.header("content-length").map(|length| length.parse().expect("a number"));
        let has_body = !is_head && !matches!(response.status, 204 | 304);
        assert!(!has_body || told.is_none_or(|told: usize| told == response.body.len()), "{response:?}");
        assert!(has_body || response.body.is_empty(), "{response:?}");
        response
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    #[track_caller]
    pub fn status(self, expected: u16) -> Self {
        let shown = String::from_utf8_lossy(&self.body).chars().take(500).collect::<String>();
        assert_eq!(self.status, expected, "{:?} {shown}", self.headers);
        self
    }

    /// Panics unless a header has this value.
    #[track_caller]
    pub fn has(self, name: &str, value: &str) -> Self {
        assert_eq!(self.header(name), Some(value), "{name}: {self:?}");
        self
    }

    /// Panics unless the body is the specification's document of one error.
    #[track_caller]
    pub fn error(self, status: u16, code: &str) -> Self {
        let response = self.status(status).has("content-type", "application/json");
        let document = response.json();
        assert_eq!(document["errors"][0]["code"], code, "{document}");
        assert!(document["errors"][0]["message"].is_string(), "{document}");
        response
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("the body is JSON")
    }
}
