//! Those who sign: keys, certificates and logs, made with openssl.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::json;

/// A key pair in two files.
pub struct Signer {
    private: PathBuf,
    public: PathBuf,
    raw: bool,
}

/// Kinds of keys, as openssl calls them.
pub const P256: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256"];
pub const P384: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384"];
pub const P521: &[&str] = &["-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-521"];
pub const RSA: &[&str] = &["-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048"];
pub const ED25519: &[&str] = &["-algorithm", "ED25519"];

impl Signer {
    /// A new key of `kind` in `directory`.
    pub fn new(directory: &Path, name: &str, kind: &[&str]) -> Self {
        let path = |suffix: &str| directory.join(format!("{name}.{suffix}"));
        let signer = Self { private: path("key"), public: path("pub"), raw: kind == ED25519 };
        let private = signer.private.to_str().unwrap();
        openssl(&[&["genpkey", "-out", private], kind].concat(), b"");
        openssl(&["pkey", "-in", private, "-pubout", "-out", &signer.public()], b"");
        signer
    }

    /// The path of the public key.
    pub fn public(&self) -> String {
        self.public.to_str().unwrap().to_owned()
    }

    pub fn public_pem(&self) -> Vec<u8> {
        std::fs::read(&self.public).unwrap()
    }

    /// The name of the log that has this key: the digest of the key.
    fn id(&self) -> String {
        let der = openssl(&["pkey", "-pubin", "-in", &self.public(), "-outform", "DER"], b"");
        oci::Digest::of(&der).hex()
    }

    fn id_bytes(&self) -> Vec<u8> {
        let hex = self.id();
        (0..32).map(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap()).collect()
    }

    /// A signature of `message`, its SHA-256 where the algorithm does not hash itself.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let key = self.private.to_str().unwrap();
        if self.raw {
            let file = self.private.with_extension("message");
            std::fs::write(&file, message).unwrap();
            return openssl(
                &["pkeyutl", "-sign", "-rawin", "-inkey", key, "-in", file.to_str().unwrap()],
                b"",
            );
        }
        openssl(&["dgst", "-sha256", "-sign", key], message)
    }
}

/// An authority that issues certificates, as Fulcio does.
pub struct Authority {
    signer: Signer,
    certificate: PathBuf,
}

/// What a certificate says.
#[derive(Clone)]
pub struct Identity<'a> {
    /// `email:somebody@example.com`.
    pub name: &'a str,
    /// Who has vouched for the name; nobody when it is empty.
    pub issuer: &'a str,
    /// The same where older certificates have it.
    pub old_issuer: &'a str,
    /// `codeSigning`.
    pub usage: &'a str,
}

pub const SOMEBODY: Identity<'static> = Identity {
    name: "email:dev@example.com",
    issuer: "https://login.example.com",
    old_issuer: "https://login.example.com",
    usage: "codeSigning",
};

impl Authority {
    pub fn new(directory: &Path, name: &str) -> Self {
        let signer = Signer::new(directory, name, P384);
        let certificate = directory.join(format!("{name}.pem"));
        let subject = format!("/O=example/CN={name}");
        let key = signer.private.to_str().unwrap();
        let args = ["req", "-x509", "-new", "-key", key, "-subj", &subject, "-days", "3650", "-out"];
        openssl(&[&args[..], &[certificate.to_str().unwrap()]].concat(), b"");
        Self { signer, certificate }
    }

    /// The path of its certificate.
    pub fn root(&self) -> String {
        self.certificate.to_str().unwrap().to_owned()
    }

    /// A certificate in PEM for `signer`, good from now on for a day.
    pub fn issue(&self, signer: &Signer, identity: &Identity<'_>) -> Vec<u8> {
        let Identity { name, issuer, old_issuer, usage } = identity;
        let mut extensions = format!(
            "keyUsage=critical,digitalSignature\nextendedKeyUsage={usage}\nsubjectAltName=critical,{name}\n"
        );
        if !old_issuer.is_empty() {
            let hex: String = old_issuer.bytes().map(|byte| format!("{byte:02x}")).collect();
            extensions += &format!("1.3.6.1.4.1.57264.1.1=DER:{hex}\n");
        }
        if !issuer.is_empty() {
            extensions += &format!("1.3.6.1.4.1.57264.1.8=ASN1:UTF8String:{issuer}\n");
        }
        let file = |suffix| signer.private.with_extension(suffix);
        std::fs::write(file("ext"), extensions).unwrap();
        let key = signer.private.to_str().unwrap();
        let request = openssl(&["req", "-new", "-key", key, "-subj", "/"], b"");
        std::fs::write(file("csr"), request).unwrap();
        let (csr, ext) = (file("csr"), file("ext"));
        let (ca, ca_key) = (self.root(), self.signer.private.to_str().unwrap());
        let args = ["x509", "-req", "-in", csr.to_str().unwrap(), "-CA", &ca, "-CAkey", ca_key, "-days", "1"];
        openssl(&[&args[..], &["-CAcreateserial", "-extfile", ext.to_str().unwrap()]].concat(), b"")
    }
}

/// The entry that a log with the key `log` makes of a signature, as cosign's annotation has it.
pub fn log_entry(log: &Signer, payload: &[u8], signature: &[u8], signer_pem: &[u8], time: i64) -> String {
    logged(log, &log_body(payload, signature, signer_pem), time)
}

/// What such an entry is about.
pub fn log_body(payload: &[u8], signature: &[u8], signer_pem: &[u8]) -> serde_json::Value {
    json!({
        "apiVersion": "0.0.1",
        "kind": "hashedrekord",
        "spec": {
            "data": { "hash": { "algorithm": "sha256", "value": oci::Digest::of(payload).hex() } },
            "signature": {
                "content": base64(signature),
                "publicKey": { "content": base64(signer_pem) },
            },
        },
    })
}

/// An entry with any body.
pub fn logged(log: &Signer, body: &serde_json::Value, time: i64) -> String {
    let (body, timestamp) = timestamp(log, body, time);
    let id = log.id();
    json!({
        "SignedEntryTimestamp": timestamp,
        "Payload": { "body": body, "integratedTime": time, "logIndex": 7, "logID": id },
    })
    .to_string()
}

/// A sigstore bundle of `statement`, with an entry of `log` where there is one.
pub fn bundle(
    statement: &serde_json::Value,
    signer: &Signer,
    certificate: Option<&[u8]>,
    log: Option<(&Signer, i64)>,
) -> Vec<u8> {
    let payload = statement.to_string();
    let kind = "application/vnd.in-toto+json";
    let signature =
        signer.sign(format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len()).as_bytes());
    let pem = certificate.map_or_else(|| signer.public_pem(), <[u8]>::to_vec);
    let entries = log.map(|(log, time)| {
        let body = json!({
            "apiVersion": "0.0.1",
            "kind": "dsse",
            "spec": {
                "envelopeHash": { "algorithm": "sha256", "value": "0".repeat(64) },
                "payloadHash": { "algorithm": "sha256", "value": oci::Digest::of(payload.as_bytes()).hex() },
                "signatures": [{ "signature": base64(&signature), "verifier": base64(&pem) }],
            },
        });
        let (body, timestamp) = timestamp(log, &body, time);
        let id = base64(&log.id_bytes());
        json!([{
            "logIndex": "7",
            "logId": { "keyId": id },
            "kindVersion": { "kind": "dsse", "version": "0.0.1" },
            "integratedTime": time.to_string(),
            "inclusionPromise": { "signedEntryTimestamp": timestamp },
            "canonicalizedBody": body,
        }])
    });
    let material = match certificate {
        Some(pem) => {
            let der = openssl(&["x509", "-outform", "DER"], pem);
            json!({ "certificate": { "rawBytes": base64(&der) }, "tlogEntries": entries.unwrap_or(json!([])) })
        }
        None => json!({ "publicKey": { "hint": "x" }, "tlogEntries": entries.unwrap_or(json!([])) }),
    };
    json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": material,
        "dsseEnvelope": {
            "payload": base64(payload.as_bytes()),
            "payloadType": kind,
            "signatures": [{ "sig": base64(&signature) }],
        },
    })
    .to_string()
    .into_bytes()
}

/// A body as logs keep it, and the log's signature over it and the time.
fn timestamp(log: &Signer, body: &serde_json::Value, time: i64) -> (String, String) {
    let body = base64(body.to_string().as_bytes());
    // Canonical JSON: sorted keys, no white space.
    let id = log.id();
    let signed = format!(r#"{{"body":"{body}","integratedTime":{time},"logID":"{id}","logIndex":7}}"#);
    let timestamp = base64(&log.sign(signed.as_bytes()));
    (body, timestamp)
}

/// Seconds since 1970.
pub fn now() -> i64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    i64::try_from(now.unwrap().as_secs()).unwrap()
}

pub fn base64(bytes: &[u8]) -> String {
    let text = openssl(&["base64", "-A"], bytes);
    String::from_utf8(text).unwrap().trim().to_owned()
}

pub fn openssl(args: &[&str], input: &[u8]) -> Vec<u8> {
    let mut child = Command::new("openssl")
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("openssl is installed (`cargo xtask setup`)");
    child.stdin.take().unwrap().write_all(input).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "openssl {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}
