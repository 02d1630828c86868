//! Registries and their users who want an image to be taken for a signed one.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;

use oci::Digest;
use oci::image::Descriptor;
use serde_json::json;

use crate::place::{Place, SIMPLE, annotations, payload, publish, push_blob};
use crate::signer::{P256, Signer, base64};

#[test]
fn signatures_of_others_are_refused() {
    let place = Place::new();
    let other = publish(&place.client, &place.registry.reference("other:v1"), "two");
    assert_ne!(other, place.digest);
    let check = |payload: &str, reason: &str| {
        place.attach(&[place.signed(payload)]);
        place.refused(&place.by_key(), reason);
    };
    check(&payload(&other, &place.name), &format!("it is of another image, {other}"));
    check(
        &payload(&other, &place.registry.reference("other:v1")),
        &format!("it is of another image, {other}"),
    );
    let moved = place.registry.reference("other:v1");
    check(&payload(&place.digest, &moved), &format!("it was made for another name, {moved}"));
    // An old version under a new version's tag.
    let old = place.registry.reference("app:v0");
    check(&payload(&place.digest, &old), &format!("it was made for another name, {old}"));
    let untagged = place.registry.reference("app");
    check(&payload(&place.digest, &untagged), &format!("it was made for another name, {untagged}"));
}

#[test]
fn what_somebody_changed_is_refused() {
    let place = Place::new();
    let stranger = Signer::new(&place.world.scratch(), "stranger", P256);
    let good = place.signed(&place.payload());
    // The signature of the payload of another image, and the payload of this one.
    let other = payload(&Digest::of(b"other"), &place.name);
    place.attach(&[(place.payload().into(), place.signed(&other).1)]);
    place.refused(&place.by_key(), "it is not by this key");
    let forged = base64(&stranger.sign(place.payload().as_bytes()));
    place.attach(&[(good.0.clone(), annotations(&[("dev.cosignproject.cosign/signature", &forged)]))]);
    place.refused(&place.by_key(), &format!("asks for a signature by key {}", place.key.public()));
    place.refused(&place.by_key(), "it is not by this key");
    place.attach(&[(good.0.clone(), annotations(&[]))]);
    place.refused(&place.by_key(), "has no annotation dev.cosignproject.cosign/signature");
    place.attach(&[(good.0, annotations(&[("dev.cosignproject.cosign/signature", "%")]))]);
    place.refused(&place.by_key(), "annotation dev.cosignproject.cosign/signature is malformed");
}

/// Signed with the right key, but no signature of an image.
#[test]
fn payloads_of_another_kind_are_refused() {
    let place = Place::new();
    let check = |payload: &str, reason: &str| {
        place.attach(&[place.signed(payload)]);
        place.refused(&place.by_key(), reason);
    };
    check("{", "its payload is malformed");
    check("null", "its payload is malformed");
    let good = place.payload();
    check(
        &good.replace("cosign container image signature", "atomic container signature"),
        "it is a \"atomic",
    );
    check(&good.replace("\"critical\":{", "\"critical\":{\"more\":1,"), "unknown field `more`");
    let twice = format!("\"image\":{{\"docker-manifest-digest\":\"{}\"}},\"image\":", place.digest);
    check(&good.replace("\"image\":", &twice), "duplicate field `image`");
    check(&good.replace(&place.name, "-"), "which is no name of an image");
}

#[test]
fn there_is_a_limit_to_all_of_it() {
    let place = Place::new();
    place.attach(&[place.signed(&format!("{}{}", place.payload(), " ".repeat(65 << 10)))]);
    let large = place.payload().len() + (65 << 10);
    place.refused(&place.by_key(), &format!("it has {large} bytes, more than the 65536 one may have"));
    // Thousands of the same: the good one is the oldest.
    let descriptor = |bytes: &[u8], annotations| Descriptor {
        annotations,
        ..Descriptor::new(SIMPLE, push_blob(&place.client, &place.name, bytes), bytes.len() as u64)
    };
    let (bytes, good) = place.signed(&place.payload());
    let mut layers = vec![descriptor(&bytes, good)];
    let bad = descriptor(b"bad", annotations(&[("dev.cosignproject.cosign/signature", "AAAA")]));
    layers.extend(std::iter::repeat_n(bad, 3000));
    place.attach_layers(layers.clone());
    let before = place.registry.requests().len();
    place.refused(&place.by_key(), "only the newest 100 of 3001 signatures were looked at");
    assert!(place.registry.requests().len() - before < 150);
    // Signatures are added at the end: the newest are looked at first.
    layers.rotate_left(1);
    place.attach_layers(layers);
    place.pull(&place.by_key()).success();
}

#[test]
fn what_should_be_a_list_of_signatures_and_is_not_is_refused() {
    let place = Place::new();
    let config = push_blob(&place.client, &place.name, b"{}");
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": { "mediaType": "application/vnd.oci.image.config.v1+json", "digest": config, "size": 2 },
        "layers": [{ "mediaType": "text/plain", "digest": config, "size": 2 }],
    });
    place.push_signatures(&serde_json::to_vec(&manifest).unwrap());
    place.refused(&place.by_key(), "and there is no signature");
}

/// A registry that serves the image, and for its signatures leads somewhere else or breaks.
#[test]
fn a_registry_that_hides_signatures_gains_nothing() {
    let place = Place::new();
    place.attach(&[place.signed(&place.payload())]);
    let elsewhere = publish(&place.client, &place.registry.reference("elsewhere:v1"), "two");
    let location = format!("http://{}/v2/elsewhere/manifests/{elsewhere}", place.registry.address());
    let answers = [
        (format!("302 Found\r\nLocation: {location}"), "there is no signature"),
        (
            "302 Found\r\nLocation: file:///etc/passwd".to_owned(),
            "which is refused: it is neither http nor https",
        ),
        ("403 Forbidden".to_owned(), "cannot look for signatures of image"),
        ("400 Bad Request".to_owned(), "cannot look for signatures of image"),
    ];
    for (answer, reason) in answers {
        let proxy = proxy(place.registry.address().to_owned(), answer.clone());
        let name = format!("{proxy}/app:v1");
        let mut policy = place.by_key();
        let requirements = policy["transports"]["docker"][place.registry.address()].take();
        policy["transports"]["docker"] = json!({ &*proxy: requirements });
        place.hull(&policy, &["pull", &name]).status(1).says(reason);
        assert_eq!(place.world.hull(["images", "-q"]).success().text(), "", "{answer}");
    }
}

/// Passes requests on to `registry`, but those for signatures, which it answers itself.
fn proxy(registry: String, answer: String) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let mut client = client.unwrap();
            let mut lines = BufReader::new(client.try_clone().unwrap()).lines();
            let request: Vec<String> =
                lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
            let Some(first) = request.first() else { continue };
            let response = if first.contains(".sig ") {
                format!("HTTP/1.1 {answer}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
            } else {
                let mut upstream = std::net::TcpStream::connect(&registry).unwrap();
                let accept = request.iter().filter(|line| line.to_lowercase().starts_with("accept"));
                let headers: String = accept.map(|line| format!("{line}\r\n")).collect();
                write!(upstream, "{first}\r\nHost: {registry}\r\nConnection: close\r\n{headers}\r\n")
                    .unwrap();
                let mut response = Vec::new();
                std::io::Read::read_to_end(&mut upstream, &mut response).unwrap();
                response
            };
            let _ = client.write_all(&response);
        }
    });
    address
}
