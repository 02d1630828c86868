//! Who may come, over what, and to do what.

use std::fs;

use testkit::World;

use crate::server::{Image, OCI_MANIFEST, Server, run};

#[test]
fn a_registry_may_be_read_only() {
    let server = Server::of(World::with_busybox(env!("CARGO_BIN_EXE_hull")), &["--read-only"]);
    server.get("/v2/busybox/manifests/latest").status(200);
    server.request("POST", "/v2/app/blobs/uploads/").body(b"").send().error(405, "UNSUPPORTED");
    let image = Image::of_host("refused");
    server.put_manifest("/v2/app/manifests/v1", OCI_MANIFEST, &image.manifest).error(405, "UNSUPPORTED");
    server.delete("/v2/busybox/manifests/latest").error(405, "UNSUPPORTED");
    server.get("/v2/busybox/manifests/latest").status(200);
}

#[test]
fn users_have_passwords() {
    let world = World::with_busybox(env!("CARGO_BIN_EXE_hull"));
    run(&world, "htpasswd", &["-Bbc", "users", "anna", "s3cret"]).success();
    let server = Server::of(world, &["--htpasswd", "users"]);
    // anna:s3cret, anna:wrong, otto:s3cret
    let good = "Basic YW5uYTpzM2NyZXQ=";
    for target in ["/v2/", "/v2/busybox/manifests/latest", "/v2/nothing"] {
        let refused = server.get(target).error(401, "UNAUTHORIZED");
        assert_eq!(refused.header("www-authenticate"), Some("Basic realm=\"hull registry\""));
        for wrong in ["Basic YW5uYTp3cm9uZw==", "Basic b3R0bzpzM2NyZXQ=", "Bearer x", "Basic !", "Basic", "é"]
        {
            let refused = server.request("GET", target).header("Authorization", wrong).send();
            refused.error(401, "UNAUTHORIZED");
        }
    }
    for _ in 0..2 {
        server
            .request("GET", "/v2/busybox/manifests/latest")
            .header("Authorization", good)
            .send()
            .status(200);
    }
    let source = format!("docker://{}/busybox", server.address);
    let inspect = |credentials: &str| {
        run(&server.world, "skopeo", &["inspect", "--tls-verify=false", "--creds", credentials, &source])
    };
    inspect("anna:s3cret").success();
    inspect("anna:wrong").status(1).says("unauthorized");
}

#[test]
fn connections_are_encrypted() {
    let world = World::with_busybox(env!("CARGO_BIN_EXE_hull"));
    let names = "subjectAltName=IP:127.0.0.1,DNS:localhost";
    let request = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost"];
    let files = ["-addext", names, "-keyout", "key.pem", "-out", "ca.crt"];
    run(&world, "openssl", &[request.as_slice(), files.as_slice()].concat()).success();
    let server = Server::of(world, &["--tls-cert", "ca.crt", "--tls-key", "key.pem"]);
    let directory = server.world.scratch().display().to_string();
    let source = format!("docker://{}/busybox", server.address);
    run(&server.world, "skopeo", &["inspect", "--cert-dir", &directory, &source]).success();
    run(&server.world, "skopeo", &["inspect", &source]).status(1);
    let target = format!("docker://{}/copy:v1", server.address);
    let options = ["copy", "--src-cert-dir", &directory, "--dest-cert-dir", &directory];
    run(&server.world, "skopeo", &[options.as_slice(), &[&source, &target]].concat()).success();
    assert!(server.images().text().contains("copy:v1"));
}

#[test]
fn what_cannot_be_used_is_said_before_anything_is_served() {
    let world = World::new(env!("CARGO_BIN_EXE_hull"));
    let serve =
        |flags: &[&str]| world.hull(["registry", "serve", "--listen", "127.0.0.1:0"].iter().chain(flags));
    fs::write(world.scratch().join("md5"), "anna:$apr1$abc$def\n").unwrap();
    serve(&["--htpasswd", "md5"])
        .status(1)
        .says("line 1 of md5 is not <user>:<bcrypt hash>")
        .says("htpasswd -B");
    serve(&["--htpasswd", "missing"]).status(1).says("cannot read the users in missing");
    serve(&["--tls-cert", "md5", "--tls-key", "md5"]).status(1).says("there is no certificate in md5");
    serve(&["--tls-cert", "md5"]).status(125).says("--tls-cert and --tls-key belong together");
    serve(&["--max-blob-size", "much"]).status(1).says("--max-blob-size");
    for address in ["nonsense", "1.2.3.4", "host:5000", ":port"] {
        world.hull(["registry", "serve", "--listen", address]).status(1).says("--listen");
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let busy = world.hull(["registry", "serve", "--listen", &address]).status(1);
    busy.says(&format!("cannot listen on {address}")).says("Address already in use");
}
