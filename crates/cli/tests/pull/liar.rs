//! A registry that answers what it is told to, also what no registry should.

use std::collections::HashMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex};

use oci::{Digest, media};
use serde_json::{Value, json};

/// An answer to GET.
#[derive(Clone)]
pub struct Answer {
    pub media_type: String,
    pub body: Vec<u8>,
    /// Where the connection ends although more was announced.
    pub cut: Option<usize>,
    /// Where nothing more comes until [`Liar::go_on`].
    pub pause: Option<usize>,
}

#[derive(Default)]
struct State {
    answers: HashMap<String, Answer>,
    requests: Vec<String>,
    goes_on: bool,
    pausing: usize,
}

/// The running registry; its threads end with the test's process.
pub struct Liar {
    address: String,
    state: Arc<(Mutex<State>, Condvar)>,
}

impl Liar {
    pub fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let state: Arc<(Mutex<State>, Condvar)> = Arc::default();
        let shared = state.clone();
        std::thread::spawn(move || {
            for connection in listener.incoming().flatten() {
                let state = shared.clone();
                std::thread::spawn(move || serve(&connection, &state));
            }
        });
        Self { address, state }
    }

    pub fn reference(&self, name: &str) -> String {
        format!("{}/{name}", self.address)
    }

    /// `GET /v2/app/blobs/sha256:... bytes=10-`, in order.
    pub fn requests(&self) -> Vec<String> {
        self.state.0.lock().unwrap().requests.clone()
    }

    pub fn answer(&self, path: &str, media_type: &str, body: &[u8]) {
        self.change(path, |answer| {
            answer.media_type = media_type.to_owned();
            answer.body = body.to_vec();
        });
    }

    pub fn change(&self, path: &str, change: impl FnOnce(&mut Answer)) {
        let mut state = self.state.0.lock().unwrap();
        let nothing = Answer { media_type: String::new(), body: Vec::new(), cut: None, pause: None };
        change(state.answers.entry(format!("/v2/app/{path}")).or_insert(nothing));
    }

    /// Whether an answer waits where it was told to.
    pub fn is_pausing(&self) -> bool {
        self.state.0.lock().unwrap().pausing > 0
    }

    pub fn go_on(&self) {
        self.state.0.lock().unwrap().goes_on = true;
        self.state.1.notify_all();
    }

    /// Answers with everything `image` is made of, under `app:1`.
    pub fn offer(&self, image: &Offered) {
        self.answer(&blob(&image.config), "application/octet-stream", &image.config);
        for layer in &image.layers {
            self.answer(&blob(layer), "application/octet-stream", layer);
        }
        self.answer("manifests/1", media::OCI_MANIFEST, image.manifest.to_string().as_bytes());
    }
}

/// The path of a blob.
pub fn blob(bytes: &[u8]) -> String {
    format!("blobs/{}", Digest::of(bytes))
}

fn serve(connection: &TcpStream, (state, changed): &(Mutex<State>, Condvar)) -> Option<()> {
    let mut lines = BufReader::new(connection).lines().map_while(Result::ok);
    let request = lines.next()?;
    let headers: Vec<String> = lines.take_while(|line| !line.is_empty()).collect();
    let mut words = request.split(' ');
    let (method, path) = (words.next()?, words.next()?);
    let range = headers.iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("range").then(|| value.trim().to_owned())
    });
    let mut state = state.lock().unwrap();
    state
        .requests
        .push(format!("{method} {path} {}", range.as_deref().unwrap_or_default()).trim_end().to_owned());
    let mut out = connection;
    let Some(answer) = state.answers.get(path).cloned() else {
        let _ = out.write_all(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        return None;
    };
    let from: usize =
        range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()).unwrap_or(0);
    let size = answer.body.len();
    let status = match from {
        0 => "200 OK".to_owned(),
        from => format!("206 Partial Content\r\nContent-Range: bytes {from}-{}/{size}", size - 1),
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        answer.media_type,
        size - from
    );
    let end = answer.cut.unwrap_or(size).max(from);
    let pause = answer.pause.filter(|_| !state.goes_on).map_or(end, |at| at.max(from));
    out.write_all(head.as_bytes()).and_then(|()| out.write_all(&answer.body[from..pause])).ok()?;
    if pause < end {
        state.pausing += 1;
        while !state.goes_on {
            state = changed.wait(state).unwrap();
        }
    }
    drop(state);
    out.write_all(&answer.body[pause..end]).ok()
}

/// An image, ready to be told lies about.
pub struct Offered {
    pub manifest: Value,
    pub config: Vec<u8>,
    /// As they travel.
    pub layers: Vec<Vec<u8>>,
}

impl Offered {
    /// An image of `layers`, tar archives compressed with gzip, given with their diffIDs.
    pub fn new(layers: &[(Vec<u8>, Digest)]) -> Self {
        let diff_ids: Vec<_> = layers.iter().map(|(_, diff_id)| diff_id.to_string()).collect();
        let config = json!({
            "architecture": oci::image::Platform::host().architecture, "os": "linux",
            "config": {"Cmd": ["true"]}, "rootfs": {"type": "layers", "diff_ids": diff_ids},
        });
        let mut image = Self {
            manifest: Value::Null,
            config: config.to_string().into_bytes(),
            layers: layers.iter().map(|(bytes, _)| bytes.clone()).collect(),
        };
        image.describe();
        image
    }

    /// Writes the manifest anew.
    pub fn describe(&mut self) {
        let descriptor = |media_type: &str, bytes: &[u8]| json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()});
        let layers = self.layers.iter().map(|layer| descriptor(media::OCI_LAYER_GZIP, layer));
        self.manifest = json!({
            "schemaVersion": 2, "mediaType": media::OCI_MANIFEST,
            "config": descriptor(media::OCI_CONFIG, &self.config), "layers": layers.collect::<Vec<_>>(),
        });
    }
}
