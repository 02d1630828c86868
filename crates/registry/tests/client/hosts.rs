//! Mirrors, certificates, registries without TLS, proxies.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use oci::Reference;
use registry::{Client, ClientOptions, Hosts, Proxies};
use testkit::Registry;

use crate::server::Server;
use crate::{content, options, pull, reference};

/// A directory that goes with its test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        let unique = sys::random::hex::<8>().unwrap();
        let directory = Path::new("/var/tmp").join(format!("hull-hosts-{unique}"));
        fs::create_dir(&directory).unwrap();
        Self(directory)
    }

    /// Says something of a host, in a file of its directory.
    fn say(&self, host: &str, file: &str, text: &str) {
        let directory = self.0.join(host);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join(file), text).unwrap();
    }

    fn client(&self) -> Client {
        let hosts = Hosts { directories: vec![self.0.clone()], insecure: Vec::new() };
        Client::new(ClientOptions { hosts, ..options() }).unwrap()
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn mirrors_are_asked_first_and_the_registry_when_they_fail() {
    let blob = content(1000);
    let itself = Server::start(move |exchange| exchange.reply(200, &[], &content(1000)));
    let good = Server::start(|exchange| exchange.reply(200, &[], &content(1000)));
    let breaking = Server::start(|exchange| {
        exchange.head(200, &[("Content-Length", "1000")]);
        if exchange.number == 0 {
            exchange.write(&content(1000)[..300]);
        }
    });
    let empty = Server::start(|exchange| exchange.reply(404, &[], b""));
    let check = |mirrors: &[&str], expected: &dyn Fn()| {
        let scratch = Scratch::new();
        let sections: String = mirrors
            .iter()
            .map(|mirror| {
                format!("[host.\"http://{mirror}\"]\n[host.\"http://{mirror}\".header]\nX-Key = \"k\"\n")
            })
            .collect();
        scratch.say(
            "r.example",
            "hosts.toml",
            &format!("server = \"http://{}\"\n{sections}", itself.address),
        );
        assert!(pull(&scratch.client(), "r.example", &blob).unwrap() == blob);
        expected();
    };
    check(&[&good.address], &|| assert!(itself.asked().is_empty()));
    let asked = &good.asked()[0];
    assert!(asked.target.ends_with("?ns=r.example"), "{asked:?}");
    assert_eq!(asked.header("x-key"), Some("k"));
    // Nobody listens at port 1.
    check(&["127.0.0.1:1", &empty.address], &|| assert_eq!(itself.asked().len(), 1));
    assert_eq!(itself.asked()[0].header("x-key"), None);
    assert!(!itself.asked()[0].target.contains("ns="));
    // What the mirror has brought is not fetched again.
    check(&[&breaking.address], &|| assert_eq!(itself.asked().len(), 2));
    assert_eq!(itself.asked()[1].header("range"), Some("bytes=300-"));
}

#[test]
fn a_mirror_is_not_asked_for_what_it_may_not_do() {
    let document = br#"{"schemaVersion":2}"#;
    let itself = Server::start(move |exchange| exchange.reply(200, &[], document));
    let mirror = Server::start(move |exchange| exchange.reply(200, &[], document));
    let scratch = Scratch::new();
    let text = format!(
        "server = \"http://{}\"\n[host.\"http://{}/a/b\"]\ncapabilities = [\"pull\"]\noverride_path = true\n",
        itself.address, mirror.address
    );
    scratch.say("_default", "hosts.toml", &text);
    let client = scratch.client();
    let tagged = Reference::parse("r.example:5000/app:x").unwrap();
    client.manifest(&tagged, None).unwrap();
    assert_eq!((itself.asked().len(), mirror.asked().len()), (1, 0));
    let digest = oci::Digest::of(document);
    client.manifest(&tagged.with_digest(digest), None).unwrap();
    assert_eq!(itself.asked().len(), 1);
    assert_eq!(mirror.lines(), [format!("GET /a/b/app/manifests/{digest}?ns=r.example%3A5000")]);
}

/// Runs openssl.
fn openssl(directory: &Path, arguments: &str) {
    let output = Command::new("openssl").args(arguments.split(' ')).current_dir(directory).output().unwrap();
    assert!(output.status.success(), "openssl {arguments}: {}", String::from_utf8_lossy(&output.stderr));
}

/// An authority, and a certificate of it for 127.0.0.1.
fn certificates(directory: &Path) {
    fs::write(directory.join("names"), "subjectAltName=IP:127.0.0.1\n").unwrap();
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(directory, &format!("req -x509 {key} -days 2 -subj /CN=authority -keyout ca.key -out ca.pem"));
    openssl(directory, &format!("req {key} -subj /CN=registry -keyout tls.key -out tls.csr"));
    openssl(
        directory,
        "x509 -req -in tls.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out tls.pem",
    );
}

#[test]
fn certificates_decide_whom_to_trust() {
    let scratch = Scratch::new();
    certificates(&scratch.0);
    let path = |name: &str| scratch.0.join(name).display().to_string();
    let authorities = format!("[{}]", path("ca.pem"));
    let registry = Registry::configured(&[
        ("REGISTRY_HTTP_TLS_CERTIFICATE", &path("tls.pem")),
        ("REGISTRY_HTTP_TLS_KEY", &path("tls.key")),
        ("REGISTRY_HTTP_TLS_CLIENTCAS", &authorities),
    ]);
    let read = |name: &str| fs::read_to_string(scratch.0.join(name)).unwrap();
    let address = registry.address();
    let ask =
        |scratch: &Scratch| scratch.client().manifest_digest(&reference(address)).map_err(|e| chain(&e));

    // It asks for a certificate, and there is none.
    let without = Scratch::new();
    without.say(address, "ca.crt", &read("ca.pem"));
    let error = ask(&without).unwrap_err();
    // In TLS 1.3 the refusal comes after the client's handshake is over: it, or the closed connection, is seen first.
    assert!(error.contains("received fatal alert") || error.contains("connection was not ready"), "{error}");

    // In Docker's way, found although a registry on this host is asked without TLS first.
    let docker = Scratch::new();
    docker.say(address, "ca.crt", &read("ca.pem"));
    docker.say(address, "client.cert", &read("tls.pem"));
    docker.say(address, "client.key", &read("tls.key"));
    assert_eq!(ask(&docker).unwrap(), None);

    let containerd = |directory: &str, settings: &str| {
        let scratch = Scratch::new();
        scratch.say(directory, "hosts.toml", &format!("server = \"https://{address}\"\n{settings}"));
        for name in ["ca.pem", "tls.pem", "tls.key"] {
            scratch.say(directory, name, &read(name));
        }
        scratch
    };
    let client = "client = [[\"tls.pem\", \"tls.key\"]]\n";
    assert_eq!(ask(&containerd(address, &format!("ca = \"ca.pem\"\n{client}"))).unwrap(), None);
    let spelled = address.replace(':', "_") + "_";
    assert_eq!(ask(&containerd(&spelled, &format!("skip_verify = true\n{client}"))).unwrap(), None);
    let error = ask(&containerd(address, client)).unwrap_err();
    assert!(error.contains("UnknownIssuer"), "{error}");
}

/// An error and its causes.
fn chain(error: &dyn std::error::Error) -> String {
    std::iter::successors(Some(error), |error| error.source()).map(|e| format!("{e}: ")).collect()
}

#[test]
fn a_registry_here_may_speak_tls_and_one_elsewhere_must() {
    let scratch = Scratch::new();
    certificates(&scratch.0);
    let path = |name: &str| scratch.0.join(name).display().to_string();
    let registry = Registry::configured(&[
        ("REGISTRY_HTTP_TLS_CERTIFICATE", &path("tls.pem")),
        ("REGISTRY_HTTP_TLS_KEY", &path("tls.key")),
    ]);
    let plain = Client::new(options()).unwrap();
    assert_eq!(plain.manifest_digest(&reference(registry.address())).unwrap(), None);

    let server = Server::start(|exchange| exchange.reply(404, &[], b""));
    let port = server.address.rsplit(':').next().unwrap();
    // All of the network 0.0.0.0/8 is this host, too, but not by its name.
    let elsewhere = format!("0.0.0.0:{port}");
    plain.manifest_digest(&reference(&elsewhere)).unwrap_err();
    let hosts = Hosts { directories: Vec::new(), insecure: vec!["0.0.0.0".to_owned()] };
    let insecure = Client::new(ClientOptions { hosts, ..options() }).unwrap();
    assert_eq!(insecure.manifest_digest(&reference(&elsewhere)).unwrap(), None);
}

#[test]
fn proxies_are_used_for_what_is_elsewhere() {
    let proxy = Server::start(|exchange| exchange.reply(200, &[], &content(1000)));
    let scratch = Scratch::new();
    for host in ["r.invalid", "direct.invalid"] {
        scratch.say(host, "hosts.toml", &format!("server = \"http://{host}\""));
    }
    let hosts = Hosts { directories: vec![scratch.0.clone()], insecure: Vec::new() };
    let proxies = Proxies {
        http: Some(format!("http://user:word@{}", proxy.address)),
        https: Some(format!("http://{}", proxy.address)),
        except: ".direct.invalid".to_owned(),
    };
    let client = Client::new(ClientOptions { hosts, proxies, ..options() }).unwrap();
    assert!(pull(&client, "r.invalid", &content(1000)).unwrap() == content(1000));
    let asked = &proxy.asked()[0];
    assert!(asked.target.starts_with("http://r.invalid/v2/app/blobs/"), "{asked:?}");
    assert_eq!(asked.header("proxy-authorization"), Some("Basic dXNlcjp3b3Jk"));

    // With TLS the proxy only connects.
    pull(&client, "tls.invalid", &content(1000)).unwrap_err();
    assert!(proxy.lines().contains(&"CONNECT tls.invalid:443".to_owned()), "{:?}", proxy.lines());

    let before = proxy.asked().len();
    pull(&client, "direct.invalid", &content(1000)).unwrap_err();
    let here = Server::start(|exchange| exchange.reply(200, &[], &content(1000)));
    assert!(pull(&client, &here.address, &content(1000)).unwrap() == content(1000));
    assert_eq!(proxy.asked().len(), before);
}
