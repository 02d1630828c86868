//! Images that are signed as they should be.

use oci::image::{Descriptor, Index, Platform};
use oci::{Reference, media};
use serde_json::json;

use crate::place::{Place, payload};
use crate::signer::bundle;

#[test]
fn a_signed_image_is_pulled_and_runs_through_every_door() {
    let place = Place::new();
    place.attach(&[place.signed(&place.payload())]);
    place.pull(&place.by_key()).success();
    assert_eq!(place.world.hull(["images", "-q"]).success().text().lines().count(), 1);
    // By digest the name's tag does not count.
    let by_digest = format!("{}@{}", place.registry.reference("app"), place.digest);
    place.hull(&place.by_key(), &["pull", &by_digest]).success();
    let verify = ["image", "verify", "--key", &place.key.public(), &place.name];
    let said = place.hull(&place.by_key(), &verify).success();
    for line in [
        &*format!("Verified {}", place.name),
        &format!("Digest: {}", place.digest),
        &format!("Signed for: {}", place.name),
    ] {
        assert!(said.stdout.lines().any(|found| found == line), "{line}\n{said}");
    }
    let by_policy = place.hull(&place.by_key(), &["image", "verify", &place.name]).success();
    assert_eq!(by_policy.stdout, said.stdout);
}

/// Whatever needs an image asks the policy; none of these has a way around it.
#[test]
fn unsigned_images_come_through_no_door() {
    let place = Place::new();
    let policy = place.by_key();
    let reason = "asks for a signature by key";
    place.refused(&policy, reason);
    place.hull(&policy, &["run", "--rm", &place.name, "x"]).status(125).says(reason);
    place.hull(&policy, &["create", &place.name, "x"]).status(1).says(reason);
    place.world.file("context/Dockerfile", &format!("FROM {}\nLABEL a=b\n", place.name));
    place.hull(&policy, &["build", "context"]).status(1).says(reason);
    place.hull(&policy, &["run", "--pull", "lazy", &place.name]).status(125).says(reason);
    let source = format!("docker://{}", place.name);
    place.hull(&policy, &["image", "copy", &source, "oci:copied"]).status(1).says(reason);
    place.world.file("compose.yaml", &format!("services: {{ a: {{ image: '{}' }} }}\n", place.name));
    place.hull(&policy, &["compose", "up", "-d"]).status(1).says(reason);
    place.hull(&policy, &["compose", "pull"]).status(1).says(reason);
    place.hull(&policy, &["image", "verify", &place.name]).status(1).says(reason);
    place.refused(&policy, "and there is no signature");
    place.hull(&policy, &["compose", "down"]).success();
}

/// An image that is here from before there was a policy was never looked at.
#[test]
fn what_is_here_already_is_verified_when_it_is_pulled() {
    let place = Place::new();
    place.world.hull(["pull", &place.name]).success();
    place.pull(&place.by_key()).status(1).says("there is no signature");
    let by_digest = format!("{}@{}", place.registry.reference("app"), place.digest);
    place.hull(&place.by_key(), &["pull", &by_digest]).status(1).says("there is no signature");
}

/// cosign signs the index; what it names is signed with it.
#[test]
fn a_signed_index_is_good_for_its_images() {
    let mut place = Place::new();
    let platform = Some(Platform::host());
    let size = match place.client.manifest(&Reference::parse(&place.name).unwrap(), None).unwrap() {
        registry::Fetched::Document { bytes, .. } => bytes.len() as u64,
        registry::Fetched::Unchanged(_) => unreachable!("nothing is known"),
    };
    let entry = Descriptor { platform, ..Descriptor::new(media::OCI_MANIFEST, place.digest, size) };
    let index = serde_json::to_vec(&Index::new(vec![entry])).unwrap();
    place.name = place.registry.reference("app:all");
    let image = place.digest;
    let reference = Reference::parse(&place.name).unwrap();
    let index = place.client.push_manifest(&reference, media::OCI_INDEX, &index).unwrap();
    let pull = |place: &Place| place.pull(&place.by_key());
    let pull_all = |place: &Place| place.hull(&place.by_key(), &["pull", "--all-platforms", &place.name]);
    let source = format!("docker://{}", place.name);
    let copy = |place: &Place, flags: &[&str]| {
        let args = [&["image", "copy", &source, "oci:copied"], flags].concat();
        place.hull(&place.by_key(), &args)
    };
    pull(&place).status(1).says("there is no signature").says(&index.to_string());
    copy(&place, &[]).status(1).says("there is no signature");
    // podman asks for the image's own signature. It says nothing about the other images of the index.
    place.attach(&[place.signed(&payload(&image, &place.name))]);
    pull_all(&place).status(1).says("there is no signature");
    copy(&place, &["--all-platforms"]).status(1).says("there is no signature");
    pull(&place).success();
    copy(&place, &[]).success();
    place.digest = index;
    place.attach(&[place.signed("{}")]);
    pull_all(&place).status(1).says("its payload is malformed");
    place.attach(&[place.signed(&place.payload())]);
    pull_all(&place).success();
    pull(&place).success();
    copy(&place, &["--all-platforms"]).success();
    copy(&place, &[]).success();
}

#[test]
fn a_good_signature_among_bad_ones_is_found() {
    let place = Place::new();
    let (payload, mut annotations) = place.signed(&place.payload());
    annotations.clear();
    place.attach(&[(b"x".to_vec(), annotations), place.signed(&place.payload()), place.signed("{}")]);
    drop(payload);
    place.pull(&place.by_key()).success();
}

#[test]
fn bundles_that_refer_to_an_image_are_signatures() {
    let place = Place::new();
    let statement = |predicate: &str, name: &str, hex: &str| {
        json!({
            "_type": "https://in-toto.io/Statement/v1",
            "subject": [{ "name": name, "digest": { "sha256": hex } }],
            "predicateType": predicate,
            "predicate": {},
        })
    };
    let sign = "https://sigstore.dev/cosign/sign/v1";
    let named = |identity: &str| {
        let identity = json!({ "type": identity });
        let key = place.key.public();
        place.policy(json!({ "type": "sigstoreSigned", "keyPath": key, "signedIdentity": identity }))
    };
    let refer = |statement| place.refer(&bundle(&statement, &place.key, None, None));
    refer(statement("https://slsa.dev/provenance/v1", "", &place.digest.hex()));
    place.refused(
        &named("matchRepositoryIfNamed"),
        "it is no signature but an attestation of type https://slsa.dev",
    );
    refer(statement(sign, "", &"0".repeat(64)));
    place.refused(&named("matchRepositoryIfNamed"), "it is of another image, sha256:0000");
    refer(statement(sign, "", &place.digest.hex()));
    place.refused(&named("matchRepository"), "it names no repository");
    place.pull(&named("matchRepositoryIfNamed")).success();
    refer(statement(sign, &place.name, &place.digest.hex()));
    place.pull(&place.by_key()).success();
    let verify = place.world.hull(["image", "verify", "--key", &place.key.public(), &place.name]).success();
    assert!(verify.stdout.contains("(sigstore bundle)"), "{verify}");
}
