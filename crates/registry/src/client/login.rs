//! Finding out whether a registry takes a password.

use reqwest::StatusCode;
use reqwest::header::HeaderValue;

use super::Client;
use super::auth::{TokenQuestion, basic, bearer};
use super::challenge::{self, Challenge};
use super::endpoint::Endpoint;
use super::request::{expect, failed, ours};
use crate::{Credential, RegistryError};

impl Client {
    /// Shows `credential` to the registry of `domain` and returns what to keep: that, or the identity token given in its place.
    ///
    /// # Errors
    /// [`RegistryError::LoginRefused`] when the registry does not take it, and the others.
    pub fn login(&self, domain: &str, credential: &Credential) -> Result<Credential, RegistryError> {
        let endpoint = self.endpoint(domain)?;
        self.block_on(self.try_login(&endpoint, credential))
    }

    async fn try_login(
        &self,
        endpoint: &Endpoint,
        credential: &Credential,
    ) -> Result<Credential, RegistryError> {
        let refused = |status: StatusCode| RegistryError::LoginRefused {
            url: endpoint.base().to_string(),
            status: status.to_string(),
        };
        endpoint.settle().await;
        let response = ping(endpoint, None).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            // Such a registry lets everybody in.
            expect(&endpoint.domain, response, &[StatusCode::OK]).await?;
            return Ok(credential.clone());
        }
        let (value, identity) = match (challenge::of(response.headers()), credential) {
            (Some(Challenge::Bearer { realm, service, scope }), _) => {
                let (service, scope) = (service.as_deref(), scope.as_deref().unwrap_or_default());
                let question = TokenQuestion { realm: &realm, service, scope, offline: true };
                let (token, answer) =
                    self.token(endpoint, &question, Some(credential)).await.map_err(|e| match e {
                        RegistryError::Unauthorized { .. } => refused(StatusCode::UNAUTHORIZED),
                        other => other,
                    })?;
                (bearer(&token), answer.refresh_token)
            }
            (Some(Challenge::Basic), Credential::Password { user, password }) => {
                (basic(user, password), String::new())
            }
            _ => return Err(refused(response.status())),
        };
        let response = ping(endpoint, value).await?;
        if matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(refused(response.status()));
        }
        expect(&endpoint.domain, response, &[StatusCode::OK]).await?;
        Ok(match identity.is_empty() {
            true => credential.clone(),
            false => Credential::IdentityToken { user: credential.user().to_owned(), token: identity },
        })
    }
}

/// Asks for `/v2/`, which every registry has.
async fn ping(
    endpoint: &Endpoint,
    authorization: Option<HeaderValue>,
) -> Result<reqwest::Response, RegistryError> {
    let headers = ours(endpoint, endpoint.base(), authorization.as_ref());
    endpoint
        .http
        .get(endpoint.base().clone())
        .headers(headers)
        .send()
        .await
        .map_err(|source| failed(endpoint, endpoint.base(), source))
}
