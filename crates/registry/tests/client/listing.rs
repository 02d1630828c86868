//! Lists, page by page.

use oci::image::{Descriptor, Index};
use oci::{Digest, Reference, media};
use testkit::Registry;

use crate::server::Server;
use crate::{client, reference};

#[test]
fn tags_come_in_pages() {
    let server = Server::start(|exchange| match exchange.asked.target.as_str() {
        "/v2/app/tags/list?n=1000" => exchange.reply(
            200,
            // Registries behind proxies say strange things of where they are; the page is still asked of the same one.
            &[("Link", "<https://elsewhere.invalid/v2/app/tags/list?last=b>; rel=\"next\"")],
            br#"{"name":"app","tags":["a","b"]}"#,
        ),
        "/v2/app/tags/list?last=b" => {
            exchange.reply(200, &[("Link", "</v2/app/tags/list?last=c>; rel=next")], br#"{"tags":["c"]}"#);
        }
        "/v2/app/tags/list?last=c" => exchange.reply(200, &[], br#"{"name":"app","tags":null}"#),
        other => panic!("{other}"),
    });
    assert_eq!(client().tags(&reference(&server.address)).unwrap(), ["a", "b", "c"]);
}

#[test]
fn pages_that_go_in_circles_are_an_error() {
    let server = Server::start(|exchange| {
        exchange.reply(200, &[("Link", "</v2/app/tags/list?n=1000>; rel=\"next\"")], br#"{"tags":["a"]}"#);
    });
    let error = client().tags(&reference(&server.address)).unwrap_err();
    assert!(error.to_string().contains("a list of pages that does not end"), "{error}");
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn a_real_registry_lists_and_removes() {
    let registry = Registry::start();
    let address = registry.address();
    let tagged = |tag: &str| Reference::parse(&format!("{address}/team/app:{tag}")).unwrap();
    let index = |manifests| serde_json::to_vec(&Index::new(manifests)).unwrap();
    let empty = index(Vec::new());
    for tag in ["b", "a"] {
        let digest = client().push_manifest(&tagged(tag), media::OCI_INDEX, &empty).unwrap();
        assert_eq!(digest, Digest::of(&empty));
    }
    let mut tags = client().tags(&tagged("a")).unwrap();
    // Debian's registry has them in no order.
    tags.sort();
    assert_eq!(tags, ["a", "b"]);
    // It takes for repositories what has blobs.
    let open = &mut || Ok(Box::new(&b"x"[..]) as Box<dyn std::io::Read + Send>);
    client().push_blob(&tagged("a"), (&Digest::of(b"x"), 1), None, open).unwrap();
    assert_eq!(client().catalog(address).unwrap(), ["team/app"]);
    let unknown = Reference::parse(&format!("{address}/nothing:x")).unwrap();
    assert!(client().tags(&unknown).unwrap_err().to_string().contains("manifest unknown"));

    client().delete_manifest(&tagged("a"), &Digest::of(&empty)).unwrap();
    assert_eq!(client().manifest_digest(&tagged("b")).unwrap(), None);
    let error = client().delete_manifest(&tagged("a"), &Digest::of(&empty)).unwrap_err();
    assert!(error.to_string().contains("not found"), "{error}");
}

fn referrer(kind: &str, bytes: &[u8]) -> Descriptor {
    let mut descriptor = Descriptor::new(media::OCI_MANIFEST, Digest::of(bytes), bytes.len() as u64);
    descriptor.extra.insert("artifactType".to_owned(), kind.into());
    descriptor
}

#[test]
fn referrers_are_filtered_by_whoever_can() {
    let (sbom, signature) = (referrer("sbom", b"1"), referrer("signature", b"2"));
    let all = serde_json::to_vec(&Index::new(vec![sbom.clone(), signature.clone()])).unwrap();
    let subject = Digest::of(b"subject");
    let path = format!("/v2/app/referrers/{subject}");
    let server = Server::start(move |exchange| {
        assert!(exchange.asked.target.starts_with(&path));
        exchange.reply(200, &[("Content-Type", media::OCI_INDEX)], &all);
    });
    let app = reference(&server.address);
    assert_eq!(client().referrers(&app, &subject, None).unwrap(), [sbom.clone(), signature]);
    assert_eq!(client().referrers(&app, &subject, Some("sbom")).unwrap(), [sbom]);
    assert!(server.lines().last().unwrap().ends_with("?artifactType=sbom"));
}

#[test]
fn a_registry_without_referrers_has_them_under_a_tag() {
    let registry = Registry::start();
    let app = reference(registry.address());
    let subject = Digest::of(b"subject");
    assert_eq!(client().referrers(&app, &subject, None).unwrap(), []);
    // Debian's registry wants what an index names to be there.
    let manifest = serde_json::to_vec(&Index::new(Vec::new())).unwrap();
    client().push_manifest(&app, media::OCI_INDEX, &manifest).unwrap();
    let mut sbom = referrer("sbom", &manifest);
    sbom.media_type = media::OCI_INDEX.to_owned();
    let list =
        app.with_tag(&format!("sha256-{}", subject.to_string().trim_start_matches("sha256:"))).unwrap();
    let index = serde_json::to_vec(&Index::new(vec![sbom.clone()])).unwrap();
    client().push_manifest(&list, media::OCI_INDEX, &index).unwrap();
    assert_eq!(client().referrers(&app, &subject, Some("sbom")).unwrap(), [sbom]);
    assert_eq!(client().referrers(&app, &subject, Some("other")).unwrap(), []);
}

#[test]
fn who_refers_to_another_is_listed_by_the_client_where_the_registry_does_not() {
    let registry = Registry::start();
    let app = reference(registry.address());
    let open = &mut || Ok(Box::new(&b"{}"[..]) as Box<dyn std::io::Read + Send>);
    client().push_blob(&app, (&Digest::of(b"{}"), 2), None, open).unwrap();
    let subject = Descriptor::new(media::OCI_MANIFEST, Digest::of(b"subject"), 7);
    let manifest = |kind: &str| {
        let config = Descriptor::new("application/vnd.oci.empty.v1+json", Digest::of(b"{}"), 2);
        let document = serde_json::json!({
            "schemaVersion": 2, "mediaType": media::OCI_MANIFEST, "artifactType": kind, "config": config,
            "layers": [], "subject": subject, "annotations": {"of": kind},
        });
        document.to_string().into_bytes()
    };
    // The second push of the same one changes nothing.
    for kind in ["sbom", "signature", "sbom"] {
        let bytes = manifest(kind);
        let digest = Digest::of(&bytes);
        client().push_manifest(&app.clone().with_digest(digest), media::OCI_MANIFEST, &bytes).unwrap();
    }
    let listed = client().referrers(&app, &subject.digest, None).unwrap();
    let kinds: Vec<_> = listed.iter().map(|one| (one.digest, one.annotations["of"].as_str())).collect();
    let expected = ["sbom", "signature"].map(|kind| (Digest::of(&manifest(kind)), kind));
    assert_eq!(kinds, expected);
    assert_eq!(client().referrers(&app, &subject.digest, Some("signature")).unwrap(), listed[1..]);

    // Who lists them himself says so, and is sent no list.
    let server = Server::start(|exchange| {
        let _ = exchange.body(1 << 20);
        exchange.reply(201, &[("OCI-Subject", "sha256:it")], b"");
    });
    client().push_manifest(&reference(&server.address), media::OCI_MANIFEST, &manifest("sbom")).unwrap();
    assert_eq!(server.asked().len(), 1, "{:?}", server.lines());
    // What is under the list's tag and is none is left alone.
    let (tag, none) = (format!("sha256-{}", Digest::of(b"other").hex()), manifest("sbom"));
    client().push_manifest(&app.with_tag(&tag).unwrap(), media::OCI_MANIFEST, &none).unwrap();
    let other = String::from_utf8(none).unwrap().replace(&subject.digest.hex(), &Digest::of(b"other").hex());
    let error = client().push_manifest(&app, media::OCI_MANIFEST, other.as_bytes()).unwrap_err();
    assert!(error.to_string().contains("which lists referrers, is no index"), "{error}");
}
