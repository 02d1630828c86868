//! Saying who one is: passwords, tokens, tokens that end too early.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use oci::{Digest, Reference};
use registry::{Client, ClientOptions, Credential, Credentials, CredentialsError, Push, RegistryError};

use crate::server::{Exchange, Server};
use crate::{client, content, options, pull, reference};

struct Known(Credential);

impl Credentials for Known {
    fn lookup(&self, _: &str) -> Result<Option<Credential>, CredentialsError> {
        Ok(Some(self.0.clone()))
    }
}

struct Broken;

impl Credentials for Broken {
    fn lookup(&self, _: &str) -> Result<Option<Credential>, CredentialsError> {
        Err(CredentialsError::Start {
            program: "docker-credential-x".to_owned(),
            source: io::ErrorKind::NotFound.into(),
        })
    }
}

fn knowing(credentials: impl Credentials + 'static) -> Client {
    Client::new(ClientOptions { credentials: Arc::new(credentials), ..options() }).unwrap()
}

fn alice() -> Credential {
    Credential::Password { user: "alice".to_owned(), password: "secret".to_owned() }
}

/// Asks for a token of its own token service.
fn challenge(exchange: &mut Exchange) {
    let host = exchange.asked.header("host").unwrap_or_default();
    let value =
        format!("Bearer realm=\"http://{host}/token\",service=\"here\",scope=\"repository:app:pull\"");
    exchange.reply(401, &[("WWW-Authenticate", &value)], b"");
}

/// `Basic` of alice and her password.
const BASIC: &str = "Basic YWxpY2U6c2VjcmV0";

#[test]
fn a_password_is_traded_for_a_token_once() {
    let server = Server::start(|exchange| {
        if exchange.asked.target.starts_with("/token") {
            assert_eq!(exchange.asked.header("authorization"), Some(BASIC));
            exchange.reply(200, &[], br#"{"access_token":"good"}"#);
        } else if exchange.asked.header("authorization") == Some("Bearer good") {
            exchange.reply(200, &[], &content(1000));
        } else {
            challenge(exchange);
        }
    });
    let client = knowing(Known(alice()));
    std::thread::scope(|threads| {
        for _ in 0..4 {
            threads.spawn(|| pull(&client, &server.address, &content(1000)).unwrap());
        }
    });
    let lines = server.lines();
    let tokens: Vec<_> = lines.iter().filter(|line| line.contains("/token")).collect();
    assert_eq!(tokens, ["GET /token?service=here&scope=repository%3Aapp%3Apull&account=alice"]);
}

#[test]
fn a_token_that_ends_during_a_pull_is_replaced() {
    let issued = AtomicUsize::new(0);
    let server = Server::start(move |exchange| {
        let authorization = exchange.asked.header("authorization").map(str::to_owned);
        if exchange.asked.target.starts_with("/token") {
            let number = issued.fetch_add(1, Ordering::Relaxed) + 1;
            return exchange.reply(200, &[], format!("{{\"token\":\"t{number}\"}}").as_bytes());
        }
        match (authorization.as_deref(), exchange.asked.header("range")) {
            (Some("Bearer t1"), None) => {
                exchange.head(200, &[("Content-Length", "1000")]);
                exchange.write(&content(1000)[..400]);
            }
            (Some("Bearer t2"), Some("bytes=400-")) => {
                exchange.reply(206, &[("Content-Range", "bytes 400-999/1000")], &content(1000)[400..]);
            }
            _ => challenge(exchange),
        }
    });
    assert!(pull(&client(), &server.address, &content(1000)).unwrap() == content(1000));
}

#[test]
fn a_token_that_is_never_good_is_asked_for_once() {
    let server = Server::start(|exchange| {
        if exchange.asked.target.starts_with("/token") {
            exchange.reply(200, &[], br#"{"token":"useless"}"#);
        } else {
            challenge(exchange);
        }
    });
    let error = pull(&client(), &server.address, &content(10)).unwrap_err();
    assert!(matches!(error, RegistryError::Denied { knows_us: false, .. }), "{error}");
    assert_eq!(server.lines().iter().filter(|line| line.contains("/token")).count(), 1);
}

#[test]
fn mounting_asks_for_both_repositories() {
    let server = Server::start(|exchange| {
        if exchange.asked.target.starts_with("/token") {
            exchange.reply(200, &[], br#"{"token":"good"}"#);
        } else if exchange.asked.header("authorization").is_some() {
            exchange.reply(201, &[], b"");
        } else {
            challenge(exchange);
        }
    });
    let from = Reference::parse(&format!("{}/other:x", server.address)).unwrap();
    let blob = (&Digest::of(b"x"), 1);
    let mounted = client().push_blob(&reference(&server.address), blob, Some(&from), &mut || unreachable!());
    assert_eq!(mounted.unwrap(), Push::Mounted);
    let token = server.lines().into_iter().find(|line| line.contains("/token")).unwrap();
    assert!(
        token.contains("scope=repository%3Aapp%3Apull%2Cpush&scope=repository%3Aother%3Apull"),
        "{token}"
    );
}

#[test]
fn an_identity_token_is_got_and_used() {
    let server = Server::start(|exchange| {
        if exchange.asked.target.starts_with("/token") {
            if exchange.asked.method == "POST" {
                let form = String::from_utf8(exchange.body(usize::MAX)).unwrap();
                let expected = "grant_type=refresh_token&client_id=hull&refresh_token=lasting&service=here&scope=repository%3Aapp%3Apull";
                assert_eq!(form, expected);
            } else {
                assert_eq!(exchange.asked.header("authorization"), Some(BASIC));
                assert!(exchange.asked.target.contains("offline_token=true"));
            }
            exchange.reply(200, &[], br#"{"access_token":"good","refresh_token":"lasting"}"#);
        } else if exchange.asked.header("authorization") == Some("Bearer good") {
            exchange.reply(200, &[], &content(10));
        } else {
            challenge(exchange);
        }
    });
    let pulled = pull(
        &knowing(Known(Credential::IdentityToken { user: "alice".to_owned(), token: "lasting".to_owned() })),
        &server.address,
        &content(10),
    );
    assert!(pulled.unwrap() == content(10));
}

#[test]
fn a_lookup_that_fails_matters_only_to_who_needs_it() {
    let public = Server::start(|exchange| {
        if exchange.asked.target.starts_with("/token") {
            assert_eq!(exchange.asked.header("authorization"), None);
            exchange.reply(200, &[], br#"{"token":"anybody"}"#);
        } else if exchange.asked.header("authorization").is_some() {
            exchange.reply(200, &[], &content(10));
        } else {
            challenge(exchange);
        }
    });
    assert!(pull(&knowing(Broken), &public.address, &content(10)).unwrap() == content(10));
    let private =
        Server::start(|exchange| exchange.reply(401, &[("WWW-Authenticate", "Basic realm=x")], b""));
    let error = pull(&knowing(Broken), &private.address, &content(10)).unwrap_err();
    assert!(matches!(error, RegistryError::Credentials { .. }), "{error}");
}
