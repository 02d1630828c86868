//! The policy's file.

use serde_json::json;

use crate::place::Place;

#[test]
fn a_policy_that_cannot_be_read_stops_every_pull() {
    let place = Place::new();
    place.attach(&[place.signed(&place.payload())]);
    let pull = |text: &str, reason: &str| {
        let path = place.world.file("policy.json", text);
        let mut command = place.world.command(["pull", &place.name]);
        let before = place.registry.requests().len();
        let said = testkit::Output::of(command.env("HULL_POLICY", &path)).status(1).says(reason);
        assert!(said.stderr.contains("no image is pulled"), "{said}");
        assert!(said.stderr.contains(path.to_str().unwrap()), "{said}");
        assert_eq!(place.registry.requests().len(), before, "it was asked before the policy was read");
    };
    pull("", "EOF");
    pull("{}", "missing field `default`");
    pull(r#"{"default": []}"#, "it has no requirement");
    pull(r#"{"default": [{"type": "insecureAcceptAnything", "x": 1}]}"#, "unknown field `x`");
    pull(r#"{"default": [{"type": "accept"}]}"#, "unknown variant `accept`");
    pull(r#"{"default": [{"type": "reject"}], "transport": {}}"#, "unknown field `transport`");
    pull(
        r#"{"default": [{"type": "reject"}], "default": [{"type": "reject"}]}"#,
        "duplicate field `default`",
    );
    let scoped = |scopes: &str| {
        format!(
            r#"{{"default": [{{"type": "insecureAcceptAnything"}}], "transports": {{"docker": {{{scopes}}}}}}}"#
        )
    };
    pull(
        &scoped(r#""a.b": [{"type": "reject"}], "a.b": [{"type": "insecureAcceptAnything"}]"#),
        "is there twice",
    );
    for (scope, reason) in [
        ("busybox", "\\\"busybox\\\" is no registry"),
        ("https://docker.io", "without a scheme"),
        ("docker.io/", "a slash at its end"),
        ("*", "only the first part of a host's name may be `*`"),
        ("docker.io/*", "only the first part of a host's name may be `*`"),
        ("*.example.com/app", "is a host's name and no more"),
    ] {
        pull(&scoped(&format!(r#""{scope}": [{{"type": "reject"}}]"#)), &reason.replace("\\\"", "\""));
    }
    let signed = |rest: &str| scoped(&format!(r#""a.b": [{{"type": "sigstoreSigned"{rest}}}]"#));
    let key = place.key.public();
    pull(&signed(""), "sigstoreSigned needs a `keyPath` or `fulcio`");
    pull(&signed(r#", "keyPath": "/nowhere.pub""#), "cannot read /nowhere.pub: No such file");
    pull(&signed(r#", "keyPaths": []"#), "a list of keys is empty");
    pull(&signed(r#", "keyData": "%""#), "keyData is no Base64");
    pull(
        &signed(&format!(r#", "keyPath": "{key}", "keyPaths": ["{key}"]"#)),
        "only one of keyPath, keyPaths",
    );
    pull(&signed(r#", "pki": {}"#), "unknown field `pki`");
    pull(
        &signed(&format!(r#", "keyPath": "{key}", "signedIdentity": {{"type": "any"}}"#)),
        "unknown variant `any`",
    );
    let fulcio = r#""fulcio": {"caPath": "/nowhere", "oidcIssuer": "a", "subjectEmail": "b"}"#;
    pull(&signed(&format!(", {fulcio}")), "`fulcio` needs a `rekorPublicKeyPath`");
    pull(&signed(&format!(r#", {fulcio}, "rekorPublicKeyPath": "{key}""#)), "cannot read /nowhere");
}

#[test]
fn a_policy_that_was_named_has_to_be_there() {
    let place = Place::new();
    let mut command = place.world.command(["pull", &place.name]);
    command.env("HULL_POLICY", "/nowhere/policy.json");
    testkit::Output::of(&mut command).status(1).says("cannot read the policy /nowhere/policy.json");
}

#[test]
fn the_most_specific_scope_decides() {
    let place = Place::new();
    let address = place.registry.address();
    let accept = json!([{ "type": "insecureAcceptAnything" }]);
    let reject = json!([{ "type": "reject" }]);
    let check = |docker: serde_json::Value, rule: Option<&str>| {
        let policy = json!({ "default": reject, "transports": { "docker": docker } });
        match rule {
            None => drop(place.pull(&policy).success()),
            Some(rule) => {
                place.pull(&policy).status(1).says(&format!("is refused: {rule}")).says("rejects it");
            }
        }
    };
    check(json!({}), Some("the default of"));
    check(json!({ "": accept }), None);
    check(json!({ "": accept, address: reject }), Some(&format!("scope {address:?} of")));
    let (repository, image) = (format!("{address}/app"), format!("{address}/app:v1"));
    check(json!({ address: reject, &*repository: accept }), None);
    check(json!({ &*repository: accept, &*image: reject }), Some(&format!("scope {image:?} of")));
    check(json!({ format!("{address}/ap"): accept }), Some("the default of"));
    check(
        json!({ "docker.io/library": [{ "type": "signedBy", "keyType": "GPGKeys", "keyPath": "/x" }], "": accept }),
        None,
    );
}

#[test]
fn gpg_is_refused_by_name() {
    let place = Place::new();
    let policy = place.policy(json!({ "type": "signedBy", "keyType": "GPGKeys", "keyPath": "/x" }));
    place.refused(&policy, "asks for a GPG signature (signedBy), which is not supported");
}

/// All requirements of a scope have to be met, and each signature is for itself.
#[test]
fn every_requirement_counts() {
    let place = Place::new();
    let address = place.registry.address();
    let second = crate::signer::Signer::new(&place.world.scratch(), "second", crate::signer::P256);
    let by = |key: &str| json!({ "type": "sigstoreSigned", "keyPath": key });
    let both = json!({
        "default": [{ "type": "reject" }],
        "transports": { "docker": { address: [by(&place.key.public()), by(&second.public())] } },
    });
    let first = place.signed(&place.payload());
    place.attach(std::slice::from_ref(&first));
    place.refused(&both, &format!("asks for a signature by key {}", second.public()));
    let signature = crate::signer::base64(&second.sign(place.payload().as_bytes()));
    let annotations = crate::place::annotations(&[("dev.cosignproject.cosign/signature", &signature)]);
    place.attach(&[first, (place.payload().into(), annotations)]);
    place.pull(&both).success();
    let said = place.hull(&both, &["image", "verify", &place.name]).success();
    assert_eq!(said.stdout.matches("Signed by: key").count(), 2, "{said}");
}

#[test]
fn where_nothing_is_asked_for_nothing_is_verified() {
    let place = Place::new();
    let accept = json!({ "default": [{ "type": "insecureAcceptAnything" }] });
    place.hull(&accept, &["image", "verify", &place.name]).status(1).says("nothing to verify");
    place.pull(&accept).success();
    assert!(!place.registry.requests().iter().any(|request| request.contains(".sig")));
}
