//! Kinds of keys.

use serde_json::json;

use crate::place::Place;
use crate::signer::{ED25519, P256, P384, P521, RSA, Signer};

#[test]
fn keys_of_every_kind_verify() {
    let mut place = Place::new();
    for (name, kind) in [("p256", P256), ("p384", P384), ("rsa", RSA), ("ed25519", ED25519)] {
        let key = Signer::new(&place.world.scratch(), name, kind);
        let other = Signer::new(&place.world.scratch(), &format!("other-{name}"), kind);
        place.key = key;
        place.attach(&[place.signed(&place.payload())]);
        let verify = |key: &str| place.world.hull(["image", "verify", "--key", key, &place.name]);
        let said = verify(&place.key.public()).success();
        assert!(said.stdout.contains(&format!("Signed by: key {}", place.key.public())), "{said}");
        verify(&other.public()).status(1).says("it is not by this key");
    }
}

#[test]
fn what_is_no_usable_key_is_refused_by_name() {
    let place = Place::new();
    let check = |content: &[u8], reason: &str| {
        let path = place.world.scratch().join("odd.pub");
        std::fs::write(&path, content).unwrap();
        let key = path.to_str().unwrap();
        place.world.hull(["image", "verify", "--key", key, &place.name]).status(1).says(reason).says(key);
        let policy = place.policy(json!({ "type": "sigstoreSigned", "keyPath": key }));
        place.pull(&policy).status(1).says(reason).says("no image is pulled");
    };
    check(b"", "has 0 public keys, not one");
    check(&[place.key.public_pem(), place.key.public_pem()].concat(), "has 2 public keys, not one");
    check(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n", "is a malformed public key");
    let p521 = Signer::new(&place.world.scratch(), "p521", P521);
    check(&p521.public_pem(), "is a key of an unsupported kind (1.3.132.0.35)");
}
