//! Who we are to a registry: its challenges, and the tokens they lead to.
//!
//! Spec: RFC 9110, 11.6; the token protocol of the distribution project.

use std::collections::HashMap;
use std::fmt;
use std::sync::Mutex;

use reqwest::Url;
use reqwest::header::{HeaderValue, WWW_AUTHENTICATE};
use serde::Deserialize;

use super::Client;
use super::endpoint::Endpoint;
use super::request::read_json;
use crate::RegistryError;

/// A user's name and secret at one registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    Password {
        user: String,
        password: String,
    },
    /// An OAuth2 refresh token, which some registries give out in place of a password.
    IdentityToken(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("****")
    }
}

/// Where credentials are looked up, by the domain of references.
pub trait Credentials: Send + Sync {
    /// The credential for `domain`, when there is one.
    ///
    /// # Errors
    /// Whatever kept the lookup from ending; it is shown as the cause.
    fn lookup(&self, domain: &str) -> Result<Option<Credential>, Box<dyn std::error::Error + Send + Sync>>;
}

/// `Authorization` values by domain and scope.
#[derive(Default)]
pub struct Tokens(Mutex<HashMap<(String, String), HeaderValue>>);

impl Tokens {
    pub fn get(&self, domain: &str, scope: &str) -> Option<HeaderValue> {
        let tokens = self.0.lock().unwrap_or_else(|e| e.into_inner());
        tokens.get(&(domain.to_owned(), scope.to_owned())).cloned()
    }

    fn put(&self, domain: &str, scope: &str, value: HeaderValue) {
        let mut tokens = self.0.lock().unwrap_or_else(|e| e.into_inner());
        tokens.insert((domain.to_owned(), scope.to_owned()), value);
    }
}

/// What a registry asks for.
#[derive(Debug, PartialEq, Eq)]
enum Challenge {
    Basic,
    Bearer { realm: String, service: Option<String>, scope: Option<String> },
}

#[derive(Deserialize)]
struct TokenAnswer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
}

impl Client {
    /// Answers the challenge of a 401; returns whether it is worth asking again.
    pub(super) async fn authenticate(
        &self,
        endpoint: &Endpoint,
        scope: &str,
        refusal: &reqwest::Response,
    ) -> Result<bool, RegistryError> {
        let challenges = refusal.headers().get_all(WWW_AUTHENTICATE).iter();
        let Some(challenge) = challenges.filter_map(|value| parse(value.to_str().ok()?)).next() else {
            return Ok(false);
        };
        let credential =
            self.inner.options.credentials.lookup(&endpoint.domain).map_err(RegistryError::Setup)?;
        let authorization = match challenge {
            Challenge::Basic => match credential {
                Some(Credential::Password { user, password }) => basic(&user, &password),
                _ => return Ok(false),
            },
            Challenge::Bearer { realm, service, scope: asked } => {
                let scope = asked.as_deref().unwrap_or(scope);
                let token = self.token(endpoint, &realm, service.as_deref(), scope, credential).await?;
                format!("Bearer {token}")
            }
        };
        let Ok(mut value) = HeaderValue::from_str(&authorization) else { return Ok(false) };
        value.set_sensitive(true);
        self.inner.tokens.put(&endpoint.domain, scope, value);
        Ok(true)
    }

    async fn token(
        &self,
        endpoint: &Endpoint,
        realm: &str,
        service: Option<&str>,
        scope: &str,
        credential: Option<Credential>,
    ) -> Result<String, RegistryError> {
        let malformed = |what: &str| RegistryError::Malformed {
            host: endpoint.domain.clone(),
            url: realm.to_owned(),
            what: what.to_owned(),
        };
        let mut url = Url::parse(realm).map_err(|e| malformed(&e.to_string()))?;
        let is_safe = url.scheme() == "https" || endpoint.base.scheme() == "http";
        if !is_safe {
            return Err(malformed("a token service without TLS, for a registry with TLS"));
        }
        let request = match credential {
            Some(Credential::IdentityToken(token)) => {
                let mut form = url::form(&[
                    ("grant_type", "refresh_token"),
                    ("client_id", "hull"),
                    ("scope", scope),
                    ("refresh_token", &token),
                ]);
                if let Some(service) = service {
                    form.push('&');
                    form.push_str(&url::form(&[("service", service)]));
                }
                endpoint.http.post(url).header("content-type", "application/x-www-form-urlencoded").body(form)
            }
            other => {
                {
                    let mut query = url.query_pairs_mut();
                    if let Some(service) = service {
                        query.append_pair("service", service);
                    }
                    for scope in scope.split(' ').filter(|scope| !scope.is_empty()) {
                        query.append_pair("scope", scope);
                    }
                }
                let request = endpoint.http.get(url);
                match other {
                    Some(Credential::Password { user, password }) => {
                        request.header("authorization", basic(&user, &password))
                    }
                    _ => request,
                }
            }
        };
        let host = endpoint.domain.clone();
        let response = request
            .send()
            .await
            .map_err(|source| RegistryError::Connect { host: realm.to_owned(), source })?;
        if response.status().as_u16() == 401 {
            return Err(RegistryError::Unauthorized { host });
        }
        let answer: TokenAnswer = read_json(&endpoint.domain, response).await?;
        match (answer.token, answer.access_token) {
            (token, _) | (_, token) if !token.is_empty() => Ok(token),
            _ => Err(malformed("no token in it")),
        }
    }
}

fn basic(user: &str, password: &str) -> String {
    use base64::Engine as _;
    let pair = format!("{user}:{password}");
    format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(pair))
}

mod url {
    /// `a=b&c=d`, escaped.
    pub fn form(pairs: &[(&str, &str)]) -> String {
        let mut url = reqwest::Url::parse("http://form/").expect("a constant");
        url.query_pairs_mut().extend_pairs(pairs);
        url.query().unwrap_or_default().to_owned()
    }
}

/// Reads one challenge: a scheme and its parameters.
fn parse(header: &str) -> Option<Challenge> {
    let (scheme, rest) = header.trim().split_once(' ').unwrap_or((header.trim(), ""));
    if scheme.eq_ignore_ascii_case("basic") {
        return Some(Challenge::Basic);
    }
    if !scheme.eq_ignore_ascii_case("bearer") {
        return None;
    }
    let mut parameters = parameters(rest);
    Some(Challenge::Bearer {
        realm: parameters.remove("realm")?,
        service: parameters.remove("service"),
        scope: parameters.remove("scope"),
    })
}

/// `key="value", key=value`; quotes may hold commas and escaped quotes.
fn parameters(text: &str) -> HashMap<String, String> {
    let mut found = HashMap::new();
    let mut rest = text.trim_start_matches([' ', ',']);
    while let Some((key, after)) = rest.split_once('=') {
        let mut value = String::new();
        let mut characters = after.char_indices();
        let quoted = after.starts_with('"');
        if quoted {
            characters.next();
        }
        let mut end = after.len();
        while let Some((at, c)) = characters.next() {
            match c {
                '\\' if quoted => value.extend(characters.next().map(|(_, c)| c)),
                '"' if quoted => {
                    end = at + 1;
                    break;
                }
                ',' if !quoted => {
                    end = at;
                    break;
                }
                c => value.push(c),
            }
        }
        found.insert(key.trim().to_ascii_lowercase(), value);
        rest = after[end..].trim_start_matches([' ', ',']);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn challenges() {
        assert_eq!(parse("Basic realm=\"x\""), Some(Challenge::Basic));
        assert_eq!(parse("Negotiate"), None);
        let bearer = parse(r#"bearer realm="https://a/t?x=1", service=reg,scope="repository:a:pull,push""#);
        let expected = Challenge::Bearer {
            realm: "https://a/t?x=1".to_owned(),
            service: Some("reg".to_owned()),
            scope: Some("repository:a:pull,push".to_owned()),
        };
        assert_eq!(bearer, Some(expected));
        assert_eq!(parse("Bearer service=\"no realm\""), None);
    }

    proptest::proptest! {
        #[test]
        fn any_header_is_an_answer(text in ".*") {
            let _ = parse(&format!("Bearer {text}"));
        }
    }
}
