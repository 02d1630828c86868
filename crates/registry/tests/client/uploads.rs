//! Uploads that are broken off, forgotten, chunked.

use std::io::{self, Read, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use oci::Digest;
use registry::{Push, RegistryError};
use testkit::Registry;

use crate::server::{Exchange, Server};
use crate::{client, content, pull, reference};

/// What a registry has of one upload.
type Stored = Arc<Mutex<Vec<u8>>>;

/// Takes an upload as the specification has it, except that `fault` may answer instead.
fn registry(
    chunk: Option<&'static str>,
    fault: impl Fn(&mut Exchange, &Stored) -> bool + Send + Sync + 'static,
) -> (Server, Stored) {
    let stored = Stored::default();
    let content = stored.clone();
    let server = Server::start(move |exchange| {
        if fault(exchange, &content) {
            return;
        }
        let sent = exchange.body(usize::MAX);
        let mut content = content.lock().unwrap();
        let range = |content: &[u8]| format!("0-{}", content.len().saturating_sub(1));
        match exchange.asked.method.as_str() {
            "POST" => {
                content.clear();
                let mut headers = vec![("Location", "/upload/1?state=a")];
                headers.extend(chunk.map(|least| ("OCI-Chunk-Min-Length", least)));
                exchange.reply(202, &headers, b"");
            }
            "PATCH" => {
                let first = exchange.asked.header("content-range").and_then(|range| range.split('-').next());
                if first != Some(&content.len().to_string()) {
                    return exchange.reply(416, &[], b"");
                }
                content.extend(sent);
                exchange.reply(202, &[("Location", "/upload/1?state=b"), ("Range", &range(&content))], b"");
            }
            "GET" => {
                exchange.reply(204, &[("Location", "/upload/1?state=c"), ("Range", &range(&content))], b"");
            }
            "PUT" => {
                content.extend(sent);
                let right =
                    exchange.asked.target.contains(&Digest::of(&content).to_string().replace(':', "%3A"));
                exchange.reply(if right { 201 } else { 400 }, &[], b"");
            }
            _ => exchange.reply(204, &[], b""),
        }
    });
    (server, stored)
}

fn push(server: &str, content: &[u8]) -> Result<Push, RegistryError> {
    let mut open = || Ok(Box::new(io::Cursor::new(content.to_owned())) as Box<dyn Read + Send>);
    client().push_blob(&reference(server), (&Digest::of(content), content.len() as u64), None, &mut open)
}

fn methods(server: &Server) -> Vec<String> {
    server.asked().into_iter().map(|asked| asked.method).collect()
}

#[test]
fn all_bytes_go_in_one_request() {
    for length in [0, 1, 3_000_000] {
        let (server, stored) = registry(None, |_, _| false);
        assert_eq!(push(&server.address, &content(length)).unwrap(), Push::Uploaded);
        assert!(*stored.lock().unwrap() == content(length));
        assert_eq!(methods(&server), ["POST", "PUT"]);
    }
}

#[test]
fn an_upload_that_breaks_goes_on_where_it_is() {
    let (server, stored) = registry(None, |exchange, stored| {
        let breaks = exchange.number == 1;
        if breaks {
            stored.lock().unwrap().extend(exchange.body(1_234_567));
        }
        breaks
    });
    push(&server.address, &content(3_000_000)).unwrap();
    assert!(*stored.lock().unwrap() == content(3_000_000));
    assert_eq!(methods(&server), ["POST", "PUT", "GET", "PATCH", "PUT"]);
    assert_eq!(server.asked()[3].header("content-range"), Some("1234567-2999999"));
    assert!(server.asked()[3].target.ends_with("state=c") && server.asked()[4].target.contains("state=b"));
}

#[test]
fn an_upload_the_registry_forgot_begins_again() {
    let (server, stored) = registry(None, |exchange, _| match exchange.number {
        1 => {
            exchange.body(1_000_000);
            true
        }
        2 => {
            exchange.reply(404, &[], b"");
            true
        }
        _ => false,
    });
    push(&server.address, &content(3_000_000)).unwrap();
    assert!(*stored.lock().unwrap() == content(3_000_000));
    assert_eq!(methods(&server), ["POST", "PUT", "GET", "POST", "PUT"]);
}

#[test]
fn an_upload_that_always_breaks_is_given_up_and_cancelled() {
    let (server, _) = registry(None, |exchange, _| exchange.asked.method == "PUT");
    push(&server.address, &content(3_000_000)).unwrap_err();
    let methods = methods(&server);
    assert_eq!(methods.iter().filter(|method| *method == "PUT").count(), 5, "{methods:?}");
    assert_eq!(methods.last().unwrap(), "DELETE");
}

#[test]
fn chunks_are_sent_to_who_wants_them() {
    let length = (32 << 20) + 5;
    let (server, stored) = registry(Some("1000"), |_, _| false);
    push(&server.address, &content(length)).unwrap();
    assert!(*stored.lock().unwrap() == content(length));
    let ranges: Vec<_> =
        server.asked().iter().filter_map(|asked| asked.header("content-range").map(str::to_owned)).collect();
    assert_eq!(ranges, ["0-16777215", "16777216-33554431", "33554432-33554436"]);
    assert_eq!(methods(&server), ["POST", "PATCH", "PATCH", "PATCH", "PUT"]);
}

#[test]
fn a_token_that_ends_during_an_upload_is_replaced() {
    let issued = AtomicUsize::new(0);
    let (server, stored) = registry(None, move |exchange, _| {
        let authorization = exchange.asked.header("authorization").map(str::to_owned);
        if exchange.asked.target.starts_with("/token") {
            let number = issued.fetch_add(1, Ordering::Relaxed) + 1;
            exchange.reply(200, &[], format!("{{\"token\":\"t{number}\"}}").as_bytes());
            return true;
        }
        let wanted = if exchange.asked.method == "POST" { "Bearer t1" } else { "Bearer t2" };
        let refused = authorization.as_deref() != Some(wanted);
        if refused {
            exchange.body(usize::MAX);
            let host = exchange.asked.header("host").unwrap_or_default();
            let challenge = format!("Bearer realm=\"http://{host}/token\"");
            exchange.reply(401, &[("WWW-Authenticate", &challenge)], b"");
        }
        refused
    });
    push(&server.address, &content(1_000_000)).unwrap();
    assert!(*stored.lock().unwrap() == content(1_000_000));
}

#[test]
fn a_registry_that_takes_nothing_is_given_up() {
    let (server, _) = registry(None, |exchange, _| {
        let stalls = exchange.asked.method == "PUT";
        if stalls {
            exchange.stall(Duration::from_secs(20));
        }
        stalls
    });
    let begin = Instant::now();
    let error = push(&server.address, &content(30_000_000)).unwrap_err();
    assert!(matches!(error, RegistryError::Stalled { .. }), "{error}");
    assert!(begin.elapsed() < Duration::from_secs(15));
}

#[test]
fn what_cannot_be_read_is_the_source_s_fault() {
    struct Failing;
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the disk is gone"))
        }
    }
    let (server, _) = registry(None, |_, _| false);
    let blob = (&Digest::of(b"x"), 1000);
    let failed = client().push_blob(&reference(&server.address), blob, None, &mut || Ok(Box::new(Failing)));
    assert!(
        matches!(failed, Err(RegistryError::Source(ref e)) if e.to_string() == "the disk is gone"),
        "{failed:?}"
    );
    let short = &mut || Ok(Box::new(io::Cursor::new(b"short")) as Box<dyn Read + Send>);
    let failed = client().push_blob(&reference(&server.address), blob, None, short);
    assert!(matches!(failed, Err(RegistryError::Source(_))), "{failed:?}");
}

/// Passes connections on to `target`, but cuts the first one that has brought `limit` bytes.
fn cutting_proxy(target: String, limit: usize) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let cut = Arc::new(AtomicUsize::new(0));
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let (mut client, mut server) = (client.unwrap(), TcpStream::connect(&target).unwrap());
            let (mut answers, mut back) = (server.try_clone().unwrap(), client.try_clone().unwrap());
            std::thread::spawn(move || io::copy(&mut answers, &mut back));
            let cut = cut.clone();
            std::thread::spawn(move || {
                let (mut passed, mut buffer) = (0, [0; 16 << 10]);
                while let Ok(read @ 1..) = client.read(&mut buffer) {
                    passed += read;
                    if server.write_all(&buffer[..read]).is_err() {
                        return;
                    }
                    if passed > limit && cut.fetch_add(1, Ordering::Relaxed) == 0 {
                        let _ = client.shutdown(std::net::Shutdown::Both);
                        let _ = server.shutdown(std::net::Shutdown::Both);
                        return;
                    }
                }
                let _ = server.shutdown(std::net::Shutdown::Write);
            });
        }
    });
    address
}

#[test]
fn a_real_registry_takes_an_upload_that_broke() {
    let registry = Registry::start();
    let proxy = cutting_proxy(registry.address().to_owned(), 2_000_000);
    let blob = content(5_000_000);
    assert_eq!(push(&proxy, &blob).unwrap(), Push::Uploaded);
    assert!(pull(&client(), registry.address(), &blob).unwrap() == blob);
    assert!(client().has_blob(&reference(registry.address()), &Digest::of(&blob)).unwrap());
    let other = oci::Reference::parse(&registry.reference("other:x")).unwrap();
    let mounted = client().push_blob(
        &other,
        (&Digest::of(&blob), blob.len() as u64),
        Some(&reference(registry.address())),
        &mut || unreachable!(),
    );
    assert_eq!(mounted.unwrap(), Push::Mounted);
}
