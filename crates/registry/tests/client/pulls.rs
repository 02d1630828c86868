//! Downloads that go wrong: each goes on, or ends with one clear error.

use std::time::{Duration, Instant};

use oci::Digest;
use registry::{Fetched, RegistryError};

use crate::server::{Exchange, Server};
use crate::{client, content, pull, reference};

const LENGTH: usize = 100_000;

/// A registry that has one blob and gives it well, from where it is asked for.
fn serve(exchange: &mut Exchange) {
    let whole = content(LENGTH);
    match exchange.asked.header("range") {
        None => exchange.reply(200, &[], &whole),
        Some(range) => {
            let first: usize = range.trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap();
            let range = format!("bytes {first}-{}/{LENGTH}", LENGTH - 1);
            exchange.reply(206, &[("Content-Range", &range)], &whole[first..]);
        }
    }
}

/// A registry whose first answer is `fault`, and the others what they should be.
fn faulty(fault: impl Fn(&mut Exchange) + Send + Sync + 'static) -> Server {
    Server::start(move |exchange| if exchange.number == 0 { fault(exchange) } else { serve(exchange) })
}

fn length() -> String {
    LENGTH.to_string()
}

#[track_caller]
fn check_whole(server: &Server) {
    let whole = content(LENGTH);
    assert!(pull(&client(), &server.address, &whole).unwrap() == whole);
}

#[track_caller]
fn check_error(server: &Server, expected: &str) -> RegistryError {
    let error = pull(&client(), &server.address, &content(LENGTH)).unwrap_err();
    assert!(error.to_string().contains(expected), "{error}");
    error
}

#[test]
fn a_transfer_that_breaks_goes_on_where_it_broke() {
    let server = faulty(|exchange| {
        exchange.head(200, &[("Content-Length", &length())]);
        exchange.write(&content(LENGTH)[..40_000]);
    });
    check_whole(&server);
    let ranges: Vec<_> =
        server.asked().iter().map(|asked| asked.header("range").map(str::to_owned)).collect();
    assert_eq!(ranges, [None, Some("bytes=40000-".to_owned())]);
}

#[test]
fn a_registry_without_ranges_starts_over() {
    let server = Server::start(|exchange| {
        exchange.head(200, &[("Content-Length", &length())]);
        let sent = if exchange.number == 0 { 40_000 } else { LENGTH };
        exchange.write(&content(LENGTH)[..sent]);
    });
    check_whole(&server);
}

#[test]
fn a_transfer_that_stalls_goes_on() {
    let server = faulty(|exchange| {
        exchange.head(200, &[("Content-Length", &length())]);
        exchange.write(&content(LENGTH)[..40_000]);
        exchange.stall(Duration::from_secs(3));
    });
    let begin = Instant::now();
    check_whole(&server);
    assert!(begin.elapsed() < Duration::from_secs(3), "it waited for the stalled one");
}

#[test]
fn a_registry_that_says_nothing_is_given_up() {
    let server = Server::start(|exchange| exchange.stall(Duration::from_secs(10)));
    let begin = Instant::now();
    check_error(&server, "stopped answering");
    assert!(begin.elapsed() < Duration::from_secs(9));
}

#[test]
fn a_transfer_that_never_gets_further_is_given_up() {
    let server = Server::start(|exchange| {
        if exchange.number == 0 {
            exchange.head(200, &[("Content-Length", &length())]);
            exchange.write(&content(LENGTH)[..40_000]);
        } else {
            let range = format!("bytes 40000-{}/{LENGTH}", LENGTH - 1);
            exchange.head(206, &[("Content-Range", &range), ("Content-Length", "60000")]);
        }
    });
    check_error(&server, "gave 40000 bytes");
    assert_eq!(server.asked().len(), 6);
}

#[test]
fn a_range_that_is_another_one_is_refused() {
    for lie in ["bytes 39999-99999/100000", "bytes 40000-99999/200000", "bytes 40000-100000/*", "what"] {
        let server = Server::start(move |exchange| {
            if exchange.number == 0 {
                exchange.head(200, &[("Content-Length", &length())]);
                exchange.write(&content(LENGTH)[..40_000]);
            } else {
                exchange.reply(206, &[("Content-Range", lie)], &content(LENGTH)[40_000..]);
            }
        });
        check_error(&server, "when asked for what follows byte 40000");
    }
}

#[test]
fn a_part_nobody_asked_for_is_refused() {
    let server = Server::start(|exchange| {
        exchange.reply(206, &[("Content-Range", "bytes 0-99999/100000")], &content(LENGTH));
    });
    check_error(&server, "when asked for what follows byte 0");
}

#[test]
fn a_length_that_is_another_one_is_refused_at_once() {
    let server = Server::start(|exchange| exchange.reply(200, &[], b"much less"));
    check_error(&server, "9 bytes of a blob that has 100000");
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn more_than_was_announced_is_an_error() {
    for more in [b"x".to_vec(), content(70_000)] {
        let server = Server::start(move |exchange| {
            exchange.head(200, &[]);
            exchange.write(&content(LENGTH));
            exchange.stall(Duration::from_millis(50));
            exchange.write(&more);
        });
        let error = check_error(&server, "which has 100000");
        assert!(matches!(error, RegistryError::Size { found, .. } if found > LENGTH as u64), "{error}");
    }
}

#[test]
fn a_registry_out_of_order_is_asked_again() {
    for status in [500, 502, 503, 504, 429] {
        let server = Server::start(move |exchange| {
            if exchange.number < 3 { exchange.reply(status, &[], b"") } else { serve(exchange) }
        });
        check_whole(&server);
    }
    let server = Server::start(|exchange| exchange.reply(500, &[], b"oh"));
    check_error(&server, "answered 500");
    assert_eq!(server.asked().len(), 5);
}

#[test]
fn a_busy_registry_is_left_alone_as_long_as_it_asks() {
    let server = faulty(|exchange| exchange.reply(429, &[("Retry-After", "1")], b""));
    let begin = Instant::now();
    check_whole(&server);
    assert!(begin.elapsed() >= Duration::from_secs(1));

    let date = httpdate::fmt_http_date(std::time::SystemTime::now() + Duration::from_secs(2));
    let server = faulty(move |exchange| exchange.reply(503, &[("Retry-After", &date)], b""));
    let begin = Instant::now();
    check_whole(&server);
    assert!(begin.elapsed() >= Duration::from_millis(900));

    let limit =
        br#"{"errors":[{"code":"TOOMANYREQUESTS","message":"You have reached your pull rate limit."}]}"#;
    let server = Server::start(|exchange| exchange.reply(429, &[("Retry-After", "3600")], limit));
    check_error(
        &server,
        "toomanyrequests: You have reached your pull rate limit. (it may be asked again after 3600)",
    );
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn connections_that_are_reset_are_made_again() {
    // What is unread when a socket is closed makes a reset of it.
    let server = Server::start(|exchange| {
        if exchange.number >= 2 {
            serve(exchange)
        }
    });
    check_whole(&server);
    let server = faulty(|exchange| exchange.write(b"HTP/9 what\r\n\r\n"));
    check_whole(&server);
}

#[test]
fn what_is_not_there_is_said_so_once() {
    let server = Server::start(|exchange| exchange.reply(404, &[], b""));
    assert!(matches!(check_error(&server, "has no blob"), RegistryError::BlobUnknown { .. }));
    assert_eq!(server.asked().len(), 1);
    let error = client().manifest(&reference(&server.address), None).unwrap_err();
    assert!(
        error.to_string().ends_with("app:latest not found: manifest unknown: manifest unknown"),
        "{error}"
    );
    assert_eq!(client().manifest_digest(&reference(&server.address)).unwrap(), None);

    let server = Server::start(|exchange| {
        if exchange.number > 0 {
            return exchange.reply(416, &[], b"");
        }
        exchange.head(200, &[("Content-Length", &length())]);
        exchange.write(b"some");
    });
    check_error(&server, "answered 416");
}

#[test]
fn redirects_are_followed_without_saying_who_we_are() {
    let elsewhere = Server::start(serve);
    let target = format!("http://{}/store/blob?signature=x", elsewhere.address);
    let server = Server::start(move |exchange| match exchange.asked.header("authorization") {
        None => {
            let host = exchange.asked.header("host").unwrap();
            let challenge = format!("Bearer realm=\"http://{host}/token\",service=\"s\"");
            if exchange.asked.target.starts_with("/token") {
                exchange.reply(200, &[], br#"{"token":"secret"}"#);
            } else {
                exchange.reply(401, &[("WWW-Authenticate", &challenge)], b"");
            }
        }
        Some(_) => exchange.reply(307, &[("Location", &target)], b""),
    });
    check_whole(&server);
    let asked = elsewhere.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].header("authorization"), None);
    assert_eq!(server.asked().last().unwrap().header("authorization"), Some("Bearer secret"));
}

#[test]
fn redirects_that_lead_nowhere_are_refused() {
    let check = |target: &'static str, expected| {
        let server = Server::start(move |exchange| exchange.reply(302, &[("Location", target)], b""));
        check_error(&server, expected);
    };
    check("/v2/again", "it goes on and on");
    check("ftp://127.0.0.1/x", "it is neither http nor https");
    check("http://[", "it is no URL");
    check("", "it says not where to");
}

#[test]
fn a_manifest_that_is_not_what_it_is_called_is_refused() {
    let document = br#"{"schemaVersion":2}"#;
    let lie = Digest::of(b"something else").to_string();
    let server =
        Server::start(move |exchange| exchange.reply(200, &[("Docker-Content-Digest", &lie)], document));
    let tagged = reference(&server.address);
    let error = client().manifest(&tagged, None).unwrap_err();
    assert!(matches!(error, RegistryError::Digest { .. }), "{error}");

    let server = Server::start(move |exchange| exchange.reply(200, &[], document));
    let tagged = reference(&server.address);
    let error = client().manifest(&tagged.with_digest(Digest::of(b"another")), None).unwrap_err();
    assert!(matches!(error, RegistryError::Digest { .. }), "{error}");
    let found = client().manifest(&tagged, None).unwrap();
    assert!(matches!(found, Fetched::Document { digest, .. } if digest == Digest::of(document)));
    // Its answer to HEAD says no digest: the document itself is asked for.
    assert_eq!(client().manifest_digest(&tagged).unwrap().unwrap().0, Digest::of(document));
}

#[test]
fn a_document_without_end_is_an_error() {
    let server = Server::start(|exchange| {
        exchange.head(200, &[]);
        for _ in 0..20 {
            exchange.write(&[b' '; 1 << 20]);
        }
    });
    let error = client().manifest(&reference(&server.address), None).unwrap_err();
    assert!(error.to_string().contains("more than 8388608 bytes"), "{error}");
}
