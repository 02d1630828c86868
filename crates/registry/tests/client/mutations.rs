//! Answers that are nearly right: whatever comes, there is a result or an error, and soon.

use std::io::Read as _;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use oci::Digest;
use proptest::prelude::*;
use registry::{Client, ClientOptions};

use crate::server::Server;
use crate::{content, options, reference};

/// Answers as registries give them, to be spoilt.
const ANSWERS: &[&str] = &[
    "HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer realm=\"http://HOST/token\",service=\"s\",scope=\"repository:app:pull\"\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n{\"token\":\"t\",\"expires_in\":60}",
    "HTTP/1.1 200 OK\r\nLink: </v2/app/tags/list?last=b>; rel=\"next\"\r\nContent-Length: 14\r\n\r\n{\"tags\":[\"a\"]}",
    "HTTP/1.1 200 OK\r\nContent-Length: 10\r\nDocker-Content-Digest: sha256:00\r\n\r\n0123456789",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n",
    "HTTP/1.1 206 Part\r\nContent-Range: bytes 3-9/10\r\nContent-Length: 7\r\n\r\n3456789",
    "HTTP/1.1 307 There\r\nLocation: http://HOST/elsewhere\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 202 Yes\r\nLocation: /upload/1\r\nRange: 0-4\r\nOCI-Chunk-Min-Length: 3\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 429 Later\r\nRetry-After: 0\r\nContent-Length: 0\r\n\r\n",
    "HTTP/1.1 404 None\r\nContent-Length: 58\r\n\r\n{\"errors\":[{\"code\":\"NAME_UNKNOWN\",\"message\":\"not known\"}]}",
];

/// One spoilt answer: which, where, and what is there instead.
fn spoilt() -> impl Strategy<Value = (usize, Vec<(prop::sample::Index, Vec<u8>)>)> {
    let change = (any::<prop::sample::Index>(), prop::collection::vec(any::<u8>(), 0..4));
    (0..ANSWERS.len(), prop::collection::vec(change, 0..3))
}

fn spoil(answer: &str, address: &str, changes: &[(prop::sample::Index, Vec<u8>)]) -> Vec<u8> {
    let mut bytes = answer.replace("HOST", address).into_bytes();
    for (at, instead) in changes {
        let at = at.index(bytes.len());
        bytes.splice(at..at + 1, instead.iter().copied());
    }
    bytes
}

#[test]
fn any_answer_is_an_answer() {
    type Script = Vec<(usize, Vec<(prop::sample::Index, Vec<u8>)>)>;
    let script: Arc<Mutex<Script>> = Arc::default();
    let played = script.clone();
    let server = Server::start(move |exchange| {
        exchange.body(1 << 20);
        let host = exchange.asked.header("host").unwrap_or_default().to_owned();
        // Requests differ in number; those beyond the script are answered from its beginning.
        let (answer, changes) = {
            let script = played.lock().unwrap();
            script[exchange.number % script.len()].clone()
        };
        exchange.write(&spoil(ANSWERS[answer], &host, &changes));
    });
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 150,
        failure_persistence: None,
        rng_seed: proptest::test_runner::RngSeed::Fixed(7),
        ..ProptestConfig::default()
    });
    let result = runner.run(&prop::collection::vec(spoilt(), 1..6), |answers| {
        *script.lock().unwrap() = answers;
        let silence_limit = Duration::from_millis(50);
        let client = Client::new(ClientOptions { silence_limit, ..options() }).unwrap();
        let (app, blob) = (reference(&server.address), content(10));
        let digest = Digest::of(&blob);
        let begin = Instant::now();
        let _ = client.manifest(&app, None);
        let _ = client.tags(&app);
        let _ = client.referrers(&app, &digest, Some("sbom"));
        if let Ok(mut found) = client.blob(&app, &digest, 10) {
            let mut bytes = Vec::new();
            if found.read_to_end(&mut bytes).is_ok() {
                prop_assert_eq!(bytes.len(), 10);
            }
        }
        let _ = client
            .push_blob(&app, (&digest, 10), None, &mut || Ok(Box::new(std::io::Cursor::new(content(10)))));
        prop_assert!(begin.elapsed() < Duration::from_secs(60));
        Ok(())
    });
    result.unwrap();
}
