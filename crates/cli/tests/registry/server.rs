//! A running server, and what tests push to it.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use oci::Digest;
use serde_json::{Value, json};
use testkit::{Output, World};

use crate::http::{Request, Response};

pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
pub const OCI_CONFIG: &str = "application/vnd.oci.image.config.v1+json";
pub const OCI_LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// A world that is served.
pub struct Server {
    child: Option<Child>,
    /// `127.0.0.1:34567`.
    pub address: String,
    // Last: what is served goes when nobody serves it any more.
    pub world: World,
}

/// An image as its parts.
pub struct Image {
    pub config: Vec<u8>,
    pub layer: Vec<u8>,
    pub manifest: Vec<u8>,
}

impl Image {
    /// An image with one layer, of one file named `name`, for `architecture`.
    pub fn new(name: &str, architecture: &str) -> Self {
        let layer = tar(name, name.as_bytes());
        let config = json!({
            "architecture": architecture, "os": "linux", "config": {"Labels": {"name": name}},
            "rootfs": {"type": "layers", "diff_ids": [Digest::of(&layer)]},
        });
        let config = config.to_string().into_bytes();
        let manifest = manifest(&config, &[&layer]).to_string().into_bytes();
        Self { config, layer, manifest }
    }

    /// For the platform of this host.
    pub fn of_host(name: &str) -> Self {
        Self::new(name, host_architecture())
    }

    pub fn digest(&self) -> Digest {
        Digest::of(&self.manifest)
    }

    pub fn id(&self) -> Digest {
        Digest::of(&self.config)
    }

    pub fn descriptor(&self, architecture: &str) -> Value {
        json!({
            "mediaType": OCI_MANIFEST, "digest": self.digest(), "size": self.manifest.len(),
            "platform": {"os": "linux", "architecture": architecture},
        })
    }
}

pub fn host_architecture() -> &'static str {
    if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" }
}

pub fn descriptor(media_type: &str, bytes: &[u8]) -> Value {
    json!({"mediaType": media_type, "digest": Digest::of(bytes), "size": bytes.len()})
}

pub fn manifest(config: &[u8], layers: &[&[u8]]) -> Value {
    let layers: Vec<Value> = layers.iter().map(|layer| descriptor(OCI_LAYER, layer)).collect();
    json!({
        "schemaVersion": 2, "mediaType": OCI_MANIFEST, "config": descriptor(OCI_CONFIG, config), "layers": layers,
    })
}

pub fn index(manifests: &[Value]) -> Vec<u8> {
    json!({"schemaVersion": 2, "mediaType": OCI_INDEX, "manifests": manifests}).to_string().into_bytes()
}

/// An archive with one file.
pub fn tar(name: &str, content: &[u8]) -> Vec<u8> {
    let mut header = [0u8; 512];
    let mut field = |at: usize, text: &str| header[at..at + text.len()].copy_from_slice(text.as_bytes());
    field(0, name);
    field(100, "0000644\0");
    field(108, "0000000\0");
    field(116, "0000000\0");
    field(124, &format!("{:011o}\0", content.len()));
    field(136, "00000000000\0");
    field(148, "        ");
    field(156, "0");
    field(257, "ustar\x0000");
    let sum: u32 = header.iter().map(|&b| u32::from(b)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let mut archive = header.to_vec();
    archive.extend(content);
    archive.resize(archive.len().next_multiple_of(512) + 1024, 0);
    archive
}

impl Server {
    /// Empty roots, served with `flags`.
    pub fn start(flags: &[&str]) -> Self {
        Self::of(World::new(env!("CARGO_BIN_EXE_hull")), flags)
    }

    pub fn of(world: World, flags: &[&str]) -> Self {
        let mut server = Self { child: None, address: String::new(), world };
        server.start_again(flags);
        server
    }

    pub fn start_again(&mut self, flags: &[&str]) {
        let args = ["registry", "serve", "--listen", "127.0.0.1:0"];
        let mut command = self.world.command(args.iter().chain(flags));
        let log = fs::File::create(self.log_path()).expect("our own directory");
        let child = command.stdout(Stdio::piped()).stderr(log).spawn();
        let mut child = child.expect("the binary was built");
        let mut line = String::new();
        let stdout = child.stdout.as_mut().expect("it was asked for");
        BufReader::new(stdout).read_line(&mut line).expect("a pipe can be read");
        self.child = Some(child);
        let address = line.trim().split("://").nth(1);
        self.address = address.unwrap_or_else(|| panic!("{line:?} {}", self.log())).to_owned();
    }

    fn log_path(&self) -> PathBuf {
        self.world.scratch().join("server.log")
    }

    /// What it has said of requests and troubles.
    pub fn log(&self) -> String {
        fs::read_to_string(self.log_path()).expect("it was made")
    }

    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.as_ref().expect("it runs").id()).expect("pids are small")
    }

    /// Sends a signal and waits for the end; the exit status, `None` for a death by signal.
    pub fn end(&mut self, signal: i32) -> Option<i32> {
        sys::process::kill(self.pid(), signal).expect("it runs");
        let mut child = self.child.take().expect("it runs");
        child.wait().expect("it is our child").code()
    }

    pub fn request(&self, method: &str, target: &str) -> Request {
        Request::new(&self.address, method, target)
    }

    pub fn get(&self, target: &str) -> Response {
        self.request("GET", target).send()
    }

    pub fn head(&self, target: &str) -> Response {
        self.request("HEAD", target).send()
    }

    pub fn delete(&self, target: &str) -> Response {
        self.request("DELETE", target).send()
    }

    /// Where a new upload goes.
    #[track_caller]
    pub fn begin_upload(&self, repository: &str) -> String {
        let target = format!("/v2/{repository}/blobs/uploads/");
        let response = self.request("POST", &target).body(b"").send().status(202).has("range", "0-0");
        response.header("location").expect("an upload has a place").to_owned()
    }

    #[track_caller]
    pub fn push_blob(&self, repository: &str, bytes: &[u8]) {
        let digest = Digest::of(bytes);
        let target = format!("/v2/{repository}/blobs/uploads/?digest={digest}");
        let location = format!("/v2/{repository}/blobs/{digest}");
        self.request("POST", &target).body(bytes).send().status(201).has("location", &location);
    }

    pub fn put_manifest(&self, target: &str, media_type: &str, bytes: &[u8]) -> Response {
        self.request("PUT", target).header("Content-Type", media_type).body(bytes).send()
    }

    /// Pushes all of an image; the response to its manifest.
    #[track_caller]
    pub fn push(&self, repository: &str, target: &str, image: &Image) -> Response {
        self.push_blob(repository, &image.config);
        self.push_blob(repository, &image.layer);
        self.put_manifest(&format!("/v2/{repository}/manifests/{target}"), OCI_MANIFEST, &image.manifest)
    }

    /// `hull images` with ids in full.
    pub fn images(&self) -> Output {
        self.world.hull(["images", "--no-trunc", "--format", "{{.Repository}}:{{.Tag}} {{.ID}}"]).success()
    }

    /// How many files and directories there are of blobs, snapshots, and what is being made.
    pub fn content(&self) -> [usize; 3] {
        ["blobs/sha256", "snapshots", "tmp"]
            .map(|directory| fs::read_dir(self.world.data_root().join(directory)).map_or(0, Iterator::count))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            if std::thread::panicking() {
                eprintln!(
                    "the server said:\n{}",
                    fs::read_to_string(self.world.scratch().join("server.log")).unwrap_or_default()
                );
            }
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Runs a program to its end, in a directory of its own.
pub fn run(world: &World, program: &str, args: &[&str]) -> Output {
    Output::of(Command::new(program).args(args).current_dir(world.scratch()).stdin(Stdio::null()))
}
