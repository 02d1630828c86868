//! skopeo and cosign make signatures that hull verifies, and verify those that are made here.
//!
//! Debian 12 has no cosign and has switched this off in its skopeo, so that these are for hosts with Debian 13's: `cargo test --
//! --ignored`, where `SKOPEO` and `COSIGN` may say which. One signature of cosign's is kept in `trust` and always verified.

use std::path::Path;
use std::process::Command;

use serde_json::json;
use testkit::Output;

use crate::place::{Place, annotations};
use crate::signer::{P256, Signer, base64};

/// A key pair made for this test, encrypted as cosign does it with the passphrase `test`.
const KEYS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/signatures/keys");

/// skopeo, told to look for signatures where cosign puts them.
fn skopeo(place: &Place, policy: &serde_json::Value, args: &[&str]) -> Output {
    place.world.file("registries.d/default.yaml", "default-docker:\n  use-sigstore-attachments: true\n");
    let policy = place.world.file("skopeo-policy.json", &policy.to_string());
    let mut command = Command::new(std::env::var_os("SKOPEO").unwrap_or_else(|| "skopeo".into()));
    command.arg("--policy").arg(policy).arg("--registries.d").arg(place.world.scratch().join("registries.d"));
    Output::of(command.args(args))
}

fn policy(place: &Place, key: &str) -> serde_json::Value {
    place.policy(json!({ "type": "sigstoreSigned", "keyPath": key }))
}

#[test]
#[ignore = "needs a skopeo that knows sigstore, as Debian 13 has it"]
fn hull_verifies_what_skopeo_signed() {
    let place = Place::new();
    let passphrase = place.world.file("passphrase", "test");
    let (from, to) = (format!("docker://{}", place.name), place.registry.reference("signed:v1"));
    let accept = json!({ "default": [{ "type": "insecureAcceptAnything" }] });
    let key = format!("{KEYS}/skopeo.key");
    let copy =
        ["copy", "--src-tls-verify=false", "--dest-tls-verify=false", "--sign-by-sigstore-private-key", &key];
    let to_docker = format!("docker://{to}");
    let rest = ["--sign-passphrase-file", passphrase.to_str().unwrap(), &from, &to_docker];
    skopeo(&place, &accept, &[&copy[..], &rest].concat()).success();
    let public = format!("{KEYS}/skopeo.pub");
    let said = place.hull(&policy(&place, &public), &["image", "verify", &to]).success();
    assert!(said.stdout.contains(&format!("Signed for: {to}")), "{said}");
    place.hull(&policy(&place, &public), &["pull", &to]).success();
    place.hull(&place.by_key(), &["pull", &to]).status(1).says("it is not by this key");
    // Under another name of the same registry, signature and all.
    let moved = Place { name: place.registry.reference("moved:v1"), ..place };
    let to = format!("docker://{}", moved.name);
    skopeo(&moved, &accept, &["copy", "--src-tls-verify=false", "--dest-tls-verify=false", &to_docker, &to])
        .success();
    moved
        .hull(&policy(&moved, &public), &["pull", &moved.name])
        .status(1)
        .says("it was made for another name");
}

#[test]
#[ignore = "needs a skopeo that knows sigstore, as Debian 13 has it"]
fn skopeo_and_hull_agree_about_what_is_made_here() {
    let place = Place::new();
    let stranger = Signer::new(&place.world.scratch(), "stranger", P256);
    let by_stranger = base64(&stranger.sign(place.payload().as_bytes()));
    let other_name = crate::place::payload(&place.digest, &place.registry.reference("other:v1"));
    let other_digest = crate::place::payload(&oci::Digest::of(b"other"), &place.name);
    let of_stranger = annotations(&[("dev.cosignproject.cosign/signature", &by_stranger)]);
    let cases = [
        (true, place.signed(&place.payload())),
        (false, place.signed(&other_name)),
        (false, place.signed(&other_digest)),
        (false, (place.payload().into(), of_stranger)),
        (false, (place.payload().into(), annotations(&[]))),
        (false, place.signed("{}")),
    ];
    for (number, (expected, layer)) in cases.into_iter().enumerate() {
        place.attach(&[layer]);
        let to = format!("dir:{}", place.world.scratch().join(format!("copy-{number}")).display());
        assert!(!Path::new(&to).exists());
        let from = format!("docker://{}", place.name);
        let theirs = skopeo(&place, &place.by_key(), &["copy", "--src-tls-verify=false", &from, &to]);
        let ours = place.pull(&place.by_key());
        assert_eq!(
            (theirs.status == Some(0), ours.status == Some(0)),
            (expected, expected),
            "{number}: {theirs}\n{ours}"
        );
    }
}

fn cosign(place: &Place, args: &[&str]) -> Output {
    let mut command = Command::new(std::env::var_os("COSIGN").unwrap_or_else(|| "cosign".into()));
    command.args(args).env("COSIGN_PASSWORD", "test").env("HOME", place.world.scratch());
    Output::of(command.current_dir(place.world.scratch()))
}

#[test]
#[ignore = "needs cosign, as Debian 13 has it"]
fn hull_verifies_what_cosign_signed() {
    let place = Place::new();
    cosign(&place, &["generate-key-pair"]).success();
    let key = place.world.scratch().join("cosign.pub").display().to_string();
    let by_digest = format!("{}@{}", place.registry.reference("app"), place.digest);
    cosign(&place, &["sign", "--key", "cosign.key", "--tlog-upload=false", "--yes", &by_digest]).success();
    let said = place.world.hull(["image", "verify", "--key", &key, &place.name]).success();
    assert!(said.stdout.contains(&format!("Signed for: {}\n", place.registry.reference("app"))), "{said}");
    // cosign signs for a repository, not for a tag.
    place.refused(&policy(&place, &key), "it was made for another name");
    let identity = json!({ "type": "matchRepository" });
    let policy =
        place.policy(json!({ "type": "sigstoreSigned", "keyPath": key, "signedIdentity": identity }));
    place.pull(&policy).success();
    let verify = ["image", "verify", "--key", &place.key.public(), &place.name];
    place.world.hull(verify).status(1).says("it is not by this key");
}
