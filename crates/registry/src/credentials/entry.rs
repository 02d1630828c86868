//! One entry of `auths`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;

use super::Credential;
use super::document::Object;

/// The members that say who somebody is; others, such as `email`, are kept as they are.
const OURS: &[&str] = &["auth", "username", "password", "identitytoken", "registrytoken"];

/// Clients say `null` for what they do not have.
#[derive(Deserialize)]
struct Fields {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
    registrytoken: Option<String>,
}

/// Reads an entry; `None` when it only says that a helper has the credentials.
pub fn read(entry: &str) -> Result<Option<Credential>, &'static str> {
    let fields: Fields = serde_json::from_str(entry).map_err(|_| "it is no object of texts")?;
    let given = [fields.auth, fields.username, fields.password, fields.identitytoken, fields.registrytoken];
    let [auth, mut user, mut password, identity, registry] = given.map(Option::unwrap_or_default);
    if !auth.is_empty() {
        let decoded = STANDARD.decode(auth.trim()).map_err(|_| "`auth` is not base64")?;
        let pair = String::from_utf8(decoded).map_err(|_| "`auth` is not UTF-8")?;
        let (name, secret) = pair.split_once(':').ok_or("`auth` has no colon")?;
        // Old versions of Docker padded the secret.
        (user, password) = (name.to_owned(), secret.trim_matches('\0').to_owned());
    }
    Ok(if !registry.is_empty() {
        Some(Credential::RegistryToken(registry))
    } else if !identity.is_empty() {
        Some(Credential::IdentityToken { user, token: identity })
    } else if user.is_empty() && password.is_empty() {
        None
    } else {
        Some(Credential::Password { user, password })
    })
}

/// The entry `old` with `credential` in it, or with nothing secret when a helper has that.
pub fn write(old: Option<Object>, credential: Option<&Credential>) -> serde_json::Result<Object> {
    let mut entry = old.unwrap_or_default();
    entry.remove(|name| OURS.contains(&name));
    match credential {
        Some(Credential::Password { user, password }) => {
            entry.set("auth", &STANDARD.encode(format!("{user}:{password}")))?;
        }
        Some(Credential::IdentityToken { user, token }) => {
            entry.set("auth", &STANDARD.encode(format!("{user}:")))?;
            entry.set("identitytoken", token)?;
        }
        Some(Credential::RegistryToken(token)) => entry.set("registrytoken", token)?,
        None => {}
    }
    Ok(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn password(user: &str, password: &str) -> Option<Credential> {
        Some(Credential::Password { user: user.to_owned(), password: password.to_owned() })
    }

    #[test]
    fn entries() {
        let check = |entry: &str, expected| assert_eq!(read(entry), expected, "{entry}");
        check(r#"{"auth":"YWxpY2U6YTpi"}"#, Ok(password("alice", "a:b")));
        check(r#"{"username":"u","password":"p"}"#, Ok(password("u", "p")));
        check("{}", Ok(None));
        check(r#"{"username":null,"password":null,"auth":null}"#, Ok(None));
        check(r#"{"email":"a@b"}"#, Ok(None));
        check(r#"{"auth":"?"}"#, Err("`auth` is not base64"));
        check(r#"{"auth":"YWxpY2U="}"#, Err("`auth` has no colon"));
        check(r#"{"auth":7}"#, Err("it is no object of texts"));
        let token = Credential::IdentityToken { user: "u".to_owned(), token: "t".to_owned() };
        check(r#"{"auth":"dTo=","identitytoken":"t"}"#, Ok(Some(token)));
        check(r#"{"registrytoken":"r"}"#, Ok(Some(Credential::RegistryToken("r".to_owned()))));
    }

    proptest::proptest! {
        #[test]
        fn what_is_written_is_read(user in "[^:\0]{1,20}", secret in "[^\0]{1,20}") {
            for credential in [
                Credential::Password { user: user.clone(), password: secret.clone() },
                Credential::IdentityToken { user: user.clone(), token: secret.clone() },
            ] {
                let entry = serde_json::to_string(&write(None, Some(&credential)).unwrap()).unwrap();
                proptest::prop_assert_eq!(read(&entry), Ok(Some(credential)));
            }
        }

        #[test]
        fn any_text_is_an_answer(entry in ".*", auth in ".*") {
            let _ = read(&entry);
            let _ = read(&serde_json::json!({ "auth": auth }).to_string());
        }
    }
}
