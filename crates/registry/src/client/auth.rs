//! Who we are to a registry: passwords, and the tokens they are traded for.
//!
//! Spec: the token protocol of the distribution project, with `GET` for passwords and OAuth2's `POST` for identity tokens.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderValue};
use reqwest::{RequestBuilder, Url};
use serde::Deserialize;

use super::Client;
use super::challenge::{self, Challenge};
use super::endpoint::Endpoint;
use super::request::{failed, read_json};
use crate::{Credential, CredentialsError, RegistryError};

/// What we are called at token services; nobody has to know us there.
const CLIENT_ID: &str = "hull";

/// What an endpoint has let us in with, and what we would say to be let in.
#[derive(Default)]
pub struct Access {
    /// `Authorization` values by scope.
    granted: Mutex<HashMap<String, HeaderValue>>,
    /// Looked up when first asked for: that may run a program.
    credential: Mutex<Option<Result<Option<Credential>, Arc<CredentialsError>>>>,
    /// Held while a token is fetched, so that the threads of one pull do not all fetch it.
    fetching: tokio::sync::Mutex<()>,
}

impl Access {
    pub fn granted(&self, scope: &str) -> Option<HeaderValue> {
        self.granted.lock().unwrap_or_else(|e| e.into_inner()).get(scope).cloned()
    }

    fn grant(&self, scope: &str, value: HeaderValue) {
        self.granted.lock().unwrap_or_else(|e| e.into_inner()).insert(scope.to_owned(), value);
    }

    /// Why there are no credentials, if that is why we were refused.
    pub fn lookup_failure(&self) -> Option<Arc<CredentialsError>> {
        match &*self.credential.lock().unwrap_or_else(|e| e.into_inner()) {
            Some(Err(e)) => Some(e.clone()),
            _ => None,
        }
    }
}

/// What a token service is asked for.
pub(super) struct TokenQuestion<'a> {
    pub realm: &'a str,
    pub service: Option<&'a str>,
    /// Scopes with blanks between them.
    pub scope: &'a str,
    /// Whether an identity token would be welcome, to keep in place of the password.
    pub offline: bool,
}

/// What a token service gives.
#[derive(Deserialize)]
pub(super) struct TokenAnswer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    pub refresh_token: String,
}

impl Client {
    /// Answers the challenge of a 401 to a request that carried `used`; returns whether it is worth asking again.
    pub(super) async fn authenticate(
        &self,
        endpoint: &Endpoint,
        scope: &str,
        used: Option<&HeaderValue>,
        refusal: &reqwest::Response,
    ) -> Result<bool, RegistryError> {
        let Some(challenge) = challenge::of(refusal.headers()) else { return Ok(false) };
        let _fetching = endpoint.access.fetching.lock().await;
        if endpoint.access.granted(scope).is_some_and(|granted| used != Some(&granted)) {
            return Ok(true);
        }
        // Without credentials one may still be let in; if not, the reason for having none is the error.
        let credential = self.credential(endpoint).unwrap_or_default();
        let value = match challenge {
            Challenge::Basic => match credential {
                Some(Credential::Password { user, password }) => basic(&user, &password),
                _ => return Ok(false),
            },
            Challenge::Bearer { realm, service, scope: asked } => {
                // What the registry asks for may be less than what is to be done, such as mounting from elsewhere.
                let scope = if scope.is_empty() { asked.as_deref().unwrap_or_default() } else { scope };
                let question =
                    TokenQuestion { realm: &realm, service: service.as_deref(), scope, offline: false };
                bearer(&self.token(endpoint, &question, credential.as_ref()).await?.0)
            }
        };
        let Some(value) = value else { return Ok(false) };
        if used == Some(&value) {
            return Ok(false);
        }
        endpoint.access.grant(scope, value);
        Ok(true)
    }

    fn credential(&self, endpoint: &Endpoint) -> Result<Option<Credential>, Arc<CredentialsError>> {
        let mut known = endpoint.access.credential.lock().unwrap_or_else(|e| e.into_inner());
        let look_up = || self.inner.options.credentials.lookup(&endpoint.domain).map_err(Arc::new);
        known.get_or_insert_with(look_up).clone()
    }

    /// Asks a token service; returns the token and the whole answer.
    pub(super) async fn token(
        &self,
        endpoint: &Endpoint,
        question: &TokenQuestion<'_>,
        credential: Option<&Credential>,
    ) -> Result<(String, TokenAnswer), RegistryError> {
        let malformed = |what: &str| RegistryError::Malformed {
            host: endpoint.domain.clone(),
            url: question.realm.to_owned(),
            what: what.to_owned(),
        };
        let url = Url::parse(question.realm).map_err(|e| malformed(&e.to_string()))?;
        if !matches!((url.scheme(), endpoint.base().scheme()), ("https", _) | ("http", "http")) {
            return Err(malformed("a token service without TLS, for a registry with TLS"));
        }
        let request = match credential {
            Some(Credential::RegistryToken(token)) => {
                let (token, access_token, refresh_token) = (token.clone(), String::new(), String::new());
                return Ok((token.clone(), TokenAnswer { token, access_token, refresh_token }));
            }
            Some(Credential::IdentityToken { token, .. }) => {
                by_refresh(endpoint, url.clone(), question, token)
            }
            Some(Credential::Password { user, password }) => {
                by_query(endpoint, url.clone(), question, Some((user, password)))
            }
            None => by_query(endpoint, url.clone(), question, None),
        };
        let response = request.send().await.map_err(|source| failed(endpoint, &url, source))?;
        if matches!(response.status().as_u16(), 401 | 403) {
            return Err(endpoint.unauthorized());
        }
        let answer: TokenAnswer = read_json(&endpoint.domain, response).await?;
        match (&answer.token, &answer.access_token) {
            (token, _) | (_, token) if !token.is_empty() => Ok((token.clone(), answer)),
            _ => Err(malformed("no token in it")),
        }
    }
}

/// An identity token is traded for a token in OAuth2's way.
fn by_refresh(endpoint: &Endpoint, url: Url, question: &TokenQuestion<'_>, token: &str) -> RequestBuilder {
    let mut pairs = vec![("grant_type", "refresh_token"), ("client_id", CLIENT_ID), ("refresh_token", token)];
    pairs.extend(question.service.map(|service| ("service", service)));
    pairs.extend(Some(("scope", question.scope)).filter(|(_, scope)| !scope.is_empty()));
    let mut form = url.clone();
    form.query_pairs_mut().clear().extend_pairs(pairs);
    let form = form.query().unwrap_or_default().to_owned();
    endpoint.http.post(url).header(CONTENT_TYPE, "application/x-www-form-urlencoded").body(form)
}

fn by_query(
    endpoint: &Endpoint,
    mut url: Url,
    question: &TokenQuestion<'_>,
    login: Option<(&str, &str)>,
) -> RequestBuilder {
    let mut query = url.query_pairs_mut();
    query.extend_pairs(question.service.map(|service| ("service", service)));
    query.extend_pairs(
        question.scope.split(' ').filter(|scope| !scope.is_empty()).map(|scope| ("scope", scope)),
    );
    query.extend_pairs(login.map(|(user, _)| ("account", user)));
    if question.offline {
        query.extend_pairs([("client_id", CLIENT_ID), ("offline_token", "true")]);
    }
    drop(query);
    let request = endpoint.http.get(url);
    match login.and_then(|(user, password)| basic(user, password)) {
        Some(value) => request.header(AUTHORIZATION, value),
        None => request,
    }
}

pub(super) fn basic(user: &str, password: &str) -> Option<HeaderValue> {
    secret(&format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))))
}

pub(super) fn bearer(token: &str) -> Option<HeaderValue> {
    secret(&format!("Bearer {token}"))
}

/// A header nobody prints; `None` when the text cannot be one.
fn secret(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}
