//! Signatures with certificates of identities.

use serde_json::{Value, json};

use crate::place::{Place, annotations};
use crate::signer::{
    Authority, Identity, P256, SOMEBODY, Signer, base64, bundle, log_body, log_entry, logged, now, openssl,
};

const DAY: i64 = 86_400;

struct Keyless {
    place: Place,
    authority: Authority,
    log: Signer,
}

/// What of a signature is not as it should be.
struct Flaws<'a> {
    identity: Identity<'a>,
    authority: &'a Authority,
    log: &'a Signer,
    time: i64,
}

impl Keyless {
    fn new() -> Self {
        let place = Place::new();
        let authority = Authority::new(&place.world.scratch(), "authority");
        let log = Signer::new(&place.world.scratch(), "log", P256);
        Self { place, authority, log }
    }

    fn policy(&self) -> Value {
        self.place.policy(json!({
            "type": "sigstoreSigned",
            "fulcio": {
                "caPath": self.authority.root(),
                "oidcIssuer": SOMEBODY.issuer,
                "subjectEmail": "dev@example.com",
            },
            "rekorPublicKeyPath": self.log.public(),
        }))
    }

    fn flawless(&self) -> Flaws<'_> {
        Flaws { identity: SOMEBODY, authority: &self.authority, log: &self.log, time: now() + 60 }
    }

    /// The payload, its signature, the certificate and the log's entry.
    fn parts(&self, flaws: &Flaws<'_>) -> [String; 4] {
        let payload = self.place.payload();
        let certificate = flaws.authority.issue(&self.place.key, &flaws.identity);
        let signature = self.place.key.sign(payload.as_bytes());
        let entry = log_entry(flaws.log, payload.as_bytes(), &signature, &certificate, flaws.time);
        [payload, base64(&signature), String::from_utf8(certificate).unwrap(), entry]
    }

    fn attach(&self, [payload, signature, certificate, entry]: &[String; 4]) {
        let annotations = annotations(&[
            ("dev.cosignproject.cosign/signature", signature),
            ("dev.sigstore.cosign/certificate", certificate),
            ("dev.sigstore.cosign/bundle", entry),
        ]);
        self.place.attach(&[(payload.clone().into(), annotations)]);
    }

    #[track_caller]
    fn refused(&self, flaws: &Flaws<'_>, reason: &str) {
        self.attach(&self.parts(flaws));
        self.place.refused(&self.policy(), reason);
    }
}

#[test]
fn an_identity_is_verified() {
    let keyless = Keyless::new();
    let place = &keyless.place;
    keyless.attach(&keyless.parts(&keyless.flawless()));
    let verify = |identity: &str, issuer: &str| {
        let (roots, log) = (keyless.authority.root(), keyless.log.public());
        place.world.hull([
            "image",
            "verify",
            "--certificate-identity",
            identity,
            "--certificate-oidc-issuer",
            issuer,
            "--ca-roots",
            &roots,
            "--rekor-key",
            &log,
            &place.name,
        ])
    };
    let said = verify("dev@example.com", SOMEBODY.issuer).success();
    assert!(said.stdout.contains("Signed by: a certificate of dev@example.com"), "{said}");
    assert!(said.stdout.contains("\nLogged: 20"), "{said}");
    verify("ops@example.com", SOMEBODY.issuer)
        .status(1)
        .says("of \"dev@example.com\", not of \"ops@example.com\"");
    verify("dev@example.com", "https://login.example.com/").status(1).says("has vouched for its signer");
    // Workflows have an address.
    let workflow = "https://forge.example.com/app/.ci/release.yml@refs/heads/main";
    let identity = Identity { name: &format!("URI:{workflow}"), ..SOMEBODY };
    keyless.attach(&keyless.parts(&Flaws { identity, ..keyless.flawless() }));
    verify(workflow, SOMEBODY.issuer).success();
    place.refused(
        &keyless.policy(),
        &format!("its certificate is of \"{workflow}\", not of \"dev@example.com\""),
    );
    keyless.attach(&keyless.parts(&keyless.flawless()));
    place.pull(&keyless.policy()).success();
}

#[test]
fn identities_of_others_are_refused() {
    let keyless = Keyless::new();
    let scratch = keyless.place.world.scratch();
    let stranger = Authority::new(&scratch, "stranger");
    let other_log = Signer::new(&scratch, "other-log", P256);
    let with = |identity| Flaws { identity, ..keyless.flawless() };
    for name in ["email:eve@example.com", "email:eve.dev@example.com", "email:dev@example.com.example.org"] {
        let reason = format!("its certificate is of \"{}\"", &name["email:".len()..]);
        keyless.refused(&with(Identity { name, ..SOMEBODY }), &reason);
    }
    keyless.refused(
        &with(Identity { name: "URI:dev@example.com", ..SOMEBODY }),
        "its certificate is of \"dev@example.com\", not of",
    );
    let other = "https://login.example.org";
    keyless.refused(
        &with(Identity { issuer: other, old_issuer: other, ..SOMEBODY }),
        "\"https://login.example.org\" has vouched for its signer, not \"https://login.example.com\"",
    );
    // Neither place alone is believed against the other.
    for flawed in [Identity { old_issuer: other, ..SOMEBODY }, Identity { issuer: other, ..SOMEBODY }] {
        keyless.refused(&with(flawed), "\"https://login.example.org\" has vouched for its signer");
    }
    let unknown = Identity { issuer: "", old_issuer: "", ..SOMEBODY };
    keyless.refused(&with(unknown), "nobody has vouched for its signer");
    keyless.refused(&with(Identity { usage: "serverAuth", ..SOMEBODY }), "its certificate was not good");
    keyless.refused(&Flaws { authority: &stranger, ..keyless.flawless() }, "UnknownIssuer");
    keyless
        .refused(&Flaws { log: &other_log, ..keyless.flawless() }, "its log entry is not signed by the log");
    keyless.refused(
        &Flaws { time: now() + 2 * DAY, ..keyless.flawless() },
        "its certificate was not good when it was logged",
    );
    keyless.refused(
        &Flaws { time: now() - 2 * DAY, ..keyless.flawless() },
        "its certificate was not good when it was logged",
    );
    keyless.refused(&Flaws { time: -1, ..keyless.flawless() }, "it was logged at -1");
}

#[test]
fn entries_of_the_log_belong_to_one_signature() {
    let keyless = Keyless::new();
    let place = &keyless.place;
    let check = |parts: &[String; 4], reason: &str| {
        keyless.attach(parts);
        place.refused(&keyless.policy(), reason);
    };
    let good = || keyless.parts(&keyless.flawless());
    let [payload, signature, certificate, entry] = good();
    check(
        &[payload.clone(), signature.clone(), certificate.clone(), String::new()],
        "it has no entry of a transparency log",
    );
    check(&[payload.clone(), signature.clone(), String::new(), entry.clone()], "it has no certificate");
    let mut parsed: Value = serde_json::from_str(&entry).unwrap();
    parsed["SignedEntryTimestamp"] = "".into();
    check(
        &[payload.clone(), signature.clone(), certificate.clone(), parsed.to_string()],
        "its log entry has no signed timestamp",
    );
    // The time is what an attacker with an old key would change.
    parsed = serde_json::from_str(&entry).unwrap();
    parsed["Payload"]["integratedTime"] = (now() - 3600).into();
    check(
        &[payload.clone(), signature.clone(), certificate.clone(), parsed.to_string()],
        "is not signed by the log",
    );
    // A certificate that was issued again, and another signature: ECDSA never makes the same one twice.
    let [_, second_signature, second_certificate, _] = good();
    check(
        &[payload.clone(), signature.clone(), second_certificate, entry.clone()],
        "its log entry is about another signer",
    );
    check(
        &[payload.clone(), second_signature, certificate.clone(), entry.clone()],
        "its log entry is about another signature",
    );
    let other = format!("{payload} ");
    check(&[other, signature.clone(), certificate.clone(), entry], "its log entry is about another payload");
    // Entries of the log's that could be read as if they were about it.
    let raw = openssl(&["base64", "-d", "-A"], signature.as_bytes());
    let body = log_body(payload.as_bytes(), &raw, certificate.as_bytes());
    for (field, value, reason) in [
        ("/kind", "rekord", "its log entry is of kind rekord 0.0.1"),
        ("/apiVersion", "0.0.2", "its log entry is of kind hashedrekord 0.0.2"),
        ("/spec/data/hash/algorithm", "sha512", "its log entry is about another payload"),
    ] {
        let mut body = body.clone();
        *body.pointer_mut(field).unwrap() = value.into();
        let entry = logged(&keyless.log, &body, now());
        check(&[payload.clone(), signature.clone(), certificate.clone(), entry], reason);
    }
    // Logged properly, by who is not the one in the certificate.
    let eve = Signer::new(&place.world.scratch(), "eve", P256);
    let forged = eve.sign(payload.as_bytes());
    let entry = log_entry(&keyless.log, payload.as_bytes(), &forged, certificate.as_bytes(), now());
    check(&[payload, base64(&forged), certificate, entry], "its certificate's key has not made it");
}

#[test]
fn keys_may_have_to_be_logged_too() {
    let keyless = Keyless::new();
    let place = &keyless.place;
    let policy = place.policy(json!({
        "type": "sigstoreSigned",
        "keyPath": place.key.public(),
        "rekorPublicKeyPath": keyless.log.public(),
    }));
    let (payload, mut annotations) = place.signed(&place.payload());
    place.attach(&[(payload.clone(), annotations.clone())]);
    place.refused(&policy, "it has no entry of a transparency log");
    let signature = place.key.sign(&payload);
    let entry = log_entry(&keyless.log, &payload, &signature, &place.key.public_pem(), now());
    annotations.insert("dev.cosignproject.cosign/signature".to_owned(), base64(&signature));
    annotations.insert("dev.sigstore.cosign/bundle".to_owned(), entry);
    place.attach(&[(payload, annotations)]);
    place.pull(&policy).success();
}

#[test]
fn bundles_have_certificates_and_entries_too() {
    let keyless = Keyless::new();
    let place = &keyless.place;
    let statement = json!({
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{ "name": place.name, "digest": { "sha256": place.digest.hex() } }],
        "predicateType": "https://sigstore.dev/cosign/sign/v1",
        "predicate": {},
    });
    let certificate = keyless.authority.issue(&place.key, &SOMEBODY);
    let make = |log| bundle(&statement, &place.key, Some(&certificate), log);
    let good = make(Some((&keyless.log, now())));
    place.refer(&make(None));
    place.refused(&keyless.policy(), "it has no entry of a transparency log");
    place.refer(&make(Some((&keyless.log, now() + 2 * DAY))));
    place.refused(&keyless.policy(), "its certificate was not good when it was logged");
    place.refer(&bundle(&statement, &place.key, None, Some((&keyless.log, now()))));
    place.refused(&keyless.policy(), "it has no certificate");
    // The statement is changed, the rest is not.
    let mut changed: Value = serde_json::from_slice(&good).unwrap();
    let other = statement.to_string().replace("app:v1", "app:v2");
    changed["dsseEnvelope"]["payload"] = base64(other.as_bytes()).into();
    place.refer(changed.to_string().as_bytes());
    place.refused(&keyless.policy(), "its log entry is about another payload");
    let mut changed: Value = serde_json::from_slice(&good).unwrap();
    let signatures = changed["dsseEnvelope"]["signatures"].as_array_mut().unwrap();
    signatures.push(signatures[0].clone());
    place.refer(changed.to_string().as_bytes());
    place.refused(&keyless.policy(), "not exactly one signature");
    let mut changed: Value = serde_json::from_slice(&good).unwrap();
    // As logs of the second generation leave it.
    changed["verificationMaterial"]["tlogEntries"][0].as_object_mut().unwrap().remove("inclusionPromise");
    place.refer(changed.to_string().as_bytes());
    place.refused(&keyless.policy(), "its log entry has no signed timestamp");
    place.refer_all(&[&good, &good]);
    place.refused(&keyless.policy(), "not exactly one bundle");
    place.refer(&good);
    place.pull(&keyless.policy()).success();
}

/// cosign's own verification of what is made here, and so of what this file takes for a good signature.
#[test]
#[ignore = "needs cosign, as Debian 13 has it"]
fn cosign_agrees() {
    let keyless = Keyless::new();
    let place = &keyless.place;
    let (roots, log) = (keyless.authority.root(), keyless.log.public());
    let cosign = |issuer: &str| {
        let mut command =
            std::process::Command::new(std::env::var_os("COSIGN").unwrap_or_else(|| "cosign".into()));
        command.args(["verify", "--insecure-ignore-sct", "--offline", "--ca-roots", &roots]);
        command.args([
            "--certificate-identity",
            "dev@example.com",
            "--certificate-oidc-issuer",
            issuer,
            &place.name,
        ]);
        command.env("SIGSTORE_REKOR_PUBLIC_KEY", &log).env("HOME", place.world.scratch());
        testkit::Output::of(&mut command)
    };
    keyless.attach(&keyless.parts(&keyless.flawless()));
    cosign(SOMEBODY.issuer).success();
    cosign("https://login.example.org").status(12).says("none of the expected identities matched");
    keyless.attach(&keyless.parts(&Flaws { time: now() + 2 * DAY, ..keyless.flawless() }));
    assert_ne!(cosign(SOMEBODY.issuer).status, Some(0));
}
