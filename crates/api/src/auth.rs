//! Logging in at a registry: what `POST /auth` carries.

use serde::Deserialize;

/// `AuthConfig`.
#[derive(Clone, Default, PartialEq, Deserialize)]
pub struct AuthConfig {
    pub username: Option<String>,
    pub password: Option<String>,
    pub serveraddress: Option<String>,
    pub identitytoken: Option<String>,
}
