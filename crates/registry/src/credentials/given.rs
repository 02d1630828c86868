//! Credentials that come with a request, as Docker's clients send them: entries like those of `auths`.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE;
use serde_json::json;
use serde_json::value::RawValue;

use super::{Credential, Credentials, CredentialsError, HUB, entry, is_for, is_hub};

/// Credentials for the registries they were given for, and for no other.
#[derive(Clone, Debug, Default)]
pub struct Given(Vec<(String, Credential)>);

impl Given {
    /// The credentials in `document`, an object with the members of an entry of `auths`, for the registry `host`.
    ///
    /// # Errors
    /// What is wrong with the document.
    pub fn entry(host: &str, document: &str) -> Result<Self, &'static str> {
        if !document.trim_start().starts_with('{') {
            return Err("it is no object");
        }
        let credential = entry::read(document)?;
        Ok(Self(credential.map(|credential| (host.to_owned(), credential)).into_iter().collect()))
    }

    /// The credentials in `document`, an object of such entries by the addresses of their registries.
    ///
    /// # Errors
    /// What is wrong with the document.
    pub fn entries(document: &str) -> Result<Self, &'static str> {
        let entries: BTreeMap<String, &RawValue> =
            serde_json::from_str(document).map_err(|_| "it is no object of credentials")?;
        let mut given = Vec::new();
        for (key, document) in entries {
            given.extend(entry::read(document.get())?.map(|credential| (key, credential)));
        }
        Ok(Self(given))
    }

    /// The first of them.
    pub fn first(&self) -> Option<&Credential> {
        self.0.first().map(|(_, credential)| credential)
    }
}

impl Credentials for Given {
    fn lookup(&self, host: &str) -> Result<Option<Credential>, CredentialsError> {
        Ok(self.0.iter().find(|(key, _)| is_for(key, host)).map(|(_, credential)| credential.clone()))
    }
}

/// `credential` for `host` as the text of a header, which [`Given::entry`] reads once its base64 is undone.
pub fn header(host: &str, credential: &Credential) -> String {
    let document = match credential {
        Credential::Password { user, password } => {
            json!({"username": user, "password": password, "serveraddress": super::key(host)})
        }
        Credential::IdentityToken { user, token } => {
            json!({"username": user, "identitytoken": token, "serveraddress": super::key(host)})
        }
        Credential::RegistryToken(token) => {
            json!({"registrytoken": token, "serveraddress": super::key(host)})
        }
    };
    URL_SAFE.encode(document.to_string())
}

/// The host in what a user takes for the address of a registry: a scheme and a path are left out, as Docker does it.
pub fn host(server: &str) -> &str {
    let name = server.strip_prefix("https://").or_else(|| server.strip_prefix("http://")).unwrap_or(server);
    match name.split('/').next().unwrap_or_default() {
        host if host.is_empty() || is_hub(host) => HUB,
        host => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_registry_is_shown_its_own() {
        let given = Given::entries(
            r#"{"https://index.docker.io/v1/":{"username":"h","password":"p"},
                "r.example:5000":{"auth":"YWxpY2U6YTpi"},"empty.example":{}}"#,
        )
        .unwrap();
        let user = |host| given.lookup(host).unwrap().map(|credential| credential.user().to_owned());
        assert_eq!(user("docker.io").as_deref(), Some("h"));
        assert_eq!(user("r.example:5000").as_deref(), Some("alice"));
        assert_eq!(user("r.example"), None);
        assert_eq!(user("empty.example"), None);
        let one = Given::entry("r.example", r#"{"username":"u","password":"p"}"#).unwrap();
        assert!(one.lookup("r.example").unwrap().is_some() && one.lookup("docker.io").unwrap().is_none());
        assert!(Given::entry("r.example", "[]").is_err() && Given::entries("[]").is_err());
    }

    #[test]
    fn hosts_of_servers() {
        let check = |server, expected| assert_eq!(host(server), expected, "{server}");
        check("https://index.docker.io/v1/", HUB);
        check("", HUB);
        check("docker.io", HUB);
        check("http://r.example:5000/v2/", "r.example:5000");
        check("localhost:5000", "localhost:5000");
    }
}
