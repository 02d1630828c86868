//! A registry with an image, and a hull with a policy.

use std::collections::BTreeMap;

use oci::image::{Descriptor, Index, Manifest};
use oci::{Digest, Reference, media};
use registry::{Client, ClientOptions, Fetched};
use serde_json::{Value, json};
use testkit::{Output, Registry, World};

use crate::signer::{P256, Signer, base64};

pub const SIMPLE: &str = "application/vnd.dev.cosign.simplesigning.v1+json";
pub const BUNDLE: &str = "application/vnd.dev.sigstore.bundle.v0.3+json";

pub struct Place {
    pub world: World,
    pub registry: Registry,
    pub client: Client,
    /// `127.0.0.1:port/app:v1`.
    pub name: String,
    pub digest: Digest,
    pub key: Signer,
}

impl Place {
    /// An image that nobody has signed, and a key.
    pub fn new() -> Self {
        let world = World::new(env!("CARGO_BIN_EXE_hull"));
        let registry = Registry::start();
        let name = registry.reference("app:v1");
        let client = Client::new(ClientOptions::from_environment()).unwrap();
        let key = Signer::new(&world.scratch(), "signer", P256);
        let digest = publish(&client, &name, "one");
        Self { world, registry, client, name, digest, key }
    }

    /// Pulls the image under `policy`.
    pub fn pull(&self, policy: &Value) -> Output {
        self.hull(policy, &["pull", &self.name])
    }

    pub fn hull(&self, policy: &Value, args: &[&str]) -> Output {
        let policy = self.world.file("policy.json", &policy.to_string());
        let mut command = self.world.command(args);
        Output::of(command.env("HULL_POLICY", policy))
    }

    /// A policy with `requirement` for this registry, that rejects all others.
    pub fn policy(&self, requirement: Value) -> Value {
        json!({
            "default": [{ "type": "reject" }],
            "transports": { "docker": { self.registry.address(): [requirement] } },
        })
    }

    /// Signed by our key, for the name under which it is pulled.
    pub fn by_key(&self) -> Value {
        self.policy(json!({ "type": "sigstoreSigned", "keyPath": self.key.public() }))
    }

    /// Pulls under `policy`, which refuses the image for `reason`, and checks that nothing of it came.
    #[track_caller]
    pub fn refused(&self, policy: &Value, reason: &str) {
        let before = self.registry.requests().len();
        self.pull(policy).status(1).says(reason).says(&self.name).says(&self.digest.to_string());
        let config = manifest_of(&self.client, &self.name).config.digest.to_string();
        let asked = self.registry.requests()[before..].to_vec();
        assert!(!asked.iter().any(|request| request.contains(&config)), "{asked:#?}");
        assert_eq!(self.world.hull(["images", "-q"]).success().text(), "");
        let blobs = walk(&self.world.data_root().join("blobs"));
        assert_eq!(blobs, 0, "something was left behind");
    }

    /// The payload cosign makes for the image.
    pub fn payload(&self) -> String {
        payload(&self.digest, &self.name)
    }

    /// A layer with `payload` and its signature.
    pub fn signed(&self, payload: &str) -> (Vec<u8>, BTreeMap<String, String>) {
        let signature = base64(&self.key.sign(payload.as_bytes()));
        (payload.into(), annotations(&[("dev.cosignproject.cosign/signature", &signature)]))
    }

    /// Puts layers where cosign puts signatures of the image.
    pub fn attach(&self, layers: &[(Vec<u8>, BTreeMap<String, String>)]) {
        let layers: Vec<_> = layers
            .iter()
            .map(|(bytes, annotations)| {
                push_blob(&self.client, &self.name, bytes);
                Descriptor {
                    annotations: annotations.clone(),
                    ..Descriptor::new(SIMPLE, Digest::of(bytes), bytes.len() as u64)
                }
            })
            .collect();
        self.attach_layers(layers);
    }

    pub fn attach_layers(&self, layers: Vec<Descriptor>) {
        let config = push_blob(&self.client, &self.name, b"{}");
        let manifest = Manifest::new(Descriptor::new(media::OCI_CONFIG, config, 2), layers);
        self.push_signatures(&serde_json::to_vec(&manifest).unwrap());
    }

    /// Puts a manifest under the tag of the image's signatures.
    pub fn push_signatures(&self, manifest: &[u8]) {
        let tag = format!("sha256-{}.sig", self.digest.hex());
        let to = Reference::parse(&self.name).unwrap().with_tag(&tag).unwrap();
        self.client.push_manifest(&to, media::OCI_MANIFEST, manifest).unwrap();
    }

    /// Lets a bundle refer to the image, by the tag that is for registries that know no referrers.
    pub fn refer(&self, bundle: &[u8]) {
        self.refer_all(&[bundle]);
    }

    /// The same with a manifest of several bundles.
    pub fn refer_all(&self, bundles: &[&[u8]]) {
        let layer = |bundle: &&[u8]| {
            let digest = push_blob(&self.client, &self.name, bundle);
            Descriptor::new(BUNDLE, digest, bundle.len() as u64)
        };
        let layers = bundles.iter().map(layer).collect();
        let config = push_blob(&self.client, &self.name, b"{}");
        let config = Descriptor::new("application/vnd.oci.empty.v1+json", config, 2);
        let mut manifest = Manifest::new(config, layers);
        manifest.extra.insert("artifactType".to_owned(), BUNDLE.into());
        let bytes = serde_json::to_vec(&manifest).unwrap();
        let repository = Reference::parse(&self.name).unwrap();
        let digest = Digest::of(&bytes);
        self.client.push_manifest(&repository.with_digest(digest), media::OCI_MANIFEST, &bytes).unwrap();
        let mut entry = Descriptor::new(media::OCI_MANIFEST, digest, bytes.len() as u64);
        entry.extra.insert("artifactType".to_owned(), BUNDLE.into());
        let index = serde_json::to_vec(&Index::new(vec![entry])).unwrap();
        let tag = repository.with_tag(&format!("sha256-{}", self.digest.hex())).unwrap();
        self.client.push_manifest(&tag, media::OCI_INDEX, &index).unwrap();
    }
}

/// Makes an image of one small file that says `content` and pushes it as `name`.
pub fn publish(client: &Client, name: &str, content: &str) -> Digest {
    let mut layer = vec![0; 2048];
    layer[..8].copy_from_slice(b"greeting");
    for (at, text) in [
        (100, "0000644\0"),
        (108, "0000000\0"),
        (116, "0000000\0"),
        (124, "00000000003\0"),
        (136, "00000000000\0"),
        (148, "        "),
        (156, "0"),
        (257, "ustar\x0000"),
        (512, content),
    ] {
        layer[at..at + text.len()].copy_from_slice(text.as_bytes());
    }
    let sum: u32 = layer[..512].iter().map(|byte| u32::from(*byte)).sum();
    layer[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    let diff_id = push_blob(client, name, &layer);
    let config = json!({
        "architecture": "amd64",
        "os": "linux",
        "rootfs": { "type": "layers", "diff_ids": [diff_id.to_string()] },
    })
    .to_string();
    let config_digest = push_blob(client, name, config.as_bytes());
    let manifest = Manifest::new(
        Descriptor::new(media::OCI_CONFIG, config_digest, config.len() as u64),
        vec![Descriptor::new("application/vnd.oci.image.layer.v1.tar", diff_id, layer.len() as u64)],
    );
    let bytes = serde_json::to_vec(&manifest).unwrap();
    client.push_manifest(&Reference::parse(name).unwrap(), media::OCI_MANIFEST, &bytes).unwrap()
}

pub fn push_blob(client: &Client, name: &str, bytes: &[u8]) -> Digest {
    let digest = Digest::of(bytes);
    let size = bytes.len() as u64;
    let mut open = || Ok(Box::new(std::io::Cursor::new(bytes.to_vec())) as Box<dyn std::io::Read + Send>);
    client.push_blob(&Reference::parse(name).unwrap(), (&digest, size), None, &mut open).unwrap();
    digest
}

pub fn manifest_of(client: &Client, name: &str) -> Manifest {
    match client.manifest(&Reference::parse(name).unwrap(), None).unwrap() {
        Fetched::Document { bytes, .. } => serde_json::from_slice(&bytes).unwrap(),
        Fetched::Unchanged(_) => unreachable!("nothing is known"),
    }
}

pub fn payload(digest: &Digest, name: &str) -> String {
    json!({
        "critical": {
            "identity": { "docker-reference": name },
            "image": { "docker-manifest-digest": digest.to_string() },
            "type": "cosign container image signature",
        },
        "optional": null,
    })
    .to_string()
}

pub fn annotations(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// How many files there are beneath `directory`.
fn walk(directory: &std::path::Path) -> usize {
    let Ok(entries) = std::fs::read_dir(directory) else { return 0 };
    entries.map(|entry| entry.unwrap().path()).map(|path| if path.is_dir() { walk(&path) } else { 1 }).sum()
}
