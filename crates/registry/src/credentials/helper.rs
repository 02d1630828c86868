//! Credential helpers: programs that keep secrets in a keyring, a vault or a cloud.
//!
//! Protocol: one word of what to do as the argument, the question on standard input, the answer on standard output, where
//! the reasons of failures are, too.

use std::io::{self, Write as _};
use std::process::{Command, Output, Stdio};

use serde::{Deserialize, Serialize};

use super::{Credential, CredentialsError};

/// The name that tells an identity token from a password.
const TOKEN: &str = "<token>";
const NOT_FOUND: &str = "credentials not found in native keychain";

/// One helper.
pub struct Helper {
    program: String,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Login {
    #[serde(rename = "ServerURL", default)]
    server_url: String,
    username: String,
    secret: String,
}

impl Helper {
    /// The helper that configurations call `name`.
    pub fn new(name: &str) -> Self {
        Self { program: format!("docker-credential-{name}") }
    }

    /// Whether the program is anywhere on `PATH`.
    pub fn is_installed(&self) -> bool {
        on_path(&self.program)
    }

    pub fn get(&self, key: &str) -> Result<Option<Credential>, CredentialsError> {
        let output = self.run("get", key.as_bytes())?;
        let says = text(&output);
        if !output.status.success() {
            return if says == NOT_FOUND { Ok(None) } else { Err(self.failed("get", key, says)) };
        }
        let login: Login = serde_json::from_slice(&output.stdout)
            .map_err(|e| self.failed("get", key, format!("its answer is malformed: {e}")))?;
        Ok(match (login.username, login.secret) {
            (user, token) if user == TOKEN => Some(Credential::IdentityToken { user, token }),
            (user, password) if user.is_empty() && password.is_empty() => None,
            (user, password) => Some(Credential::Password { user, password }),
        })
    }

    pub fn store(&self, key: &str, credential: &Credential) -> Result<(), CredentialsError> {
        let (username, secret) = match credential {
            Credential::Password { user, password } => (user.as_str(), password),
            Credential::IdentityToken { token, .. } | Credential::RegistryToken(token) => (TOKEN, token),
        };
        let (server_url, username, secret) = (key.to_owned(), username.to_owned(), secret.clone());
        let login = serde_json::to_vec(&Login { server_url, username, secret });
        let output = self.run("store", &login.map_err(|e| self.failed("store", key, e.to_string()))?)?;
        self.check(&output, "store", key)
    }

    pub fn erase(&self, key: &str) -> Result<(), CredentialsError> {
        let output = self.run("erase", key.as_bytes())?;
        if text(&output) == NOT_FOUND {
            return Ok(());
        }
        self.check(&output, "erase", key)
    }

    fn check(&self, output: &Output, action: &'static str, key: &str) -> Result<(), CredentialsError> {
        if output.status.success() { Ok(()) } else { Err(self.failed(action, key, text(output))) }
    }

    fn failed(&self, action: &'static str, key: &str, says: String) -> CredentialsError {
        let says = if says.is_empty() { "it does not say why".to_owned() } else { says };
        CredentialsError::Helper { program: self.program.clone(), action, key: key.to_owned(), says }
    }

    /// Runs the helper once. What it writes to standard error is for the user, who may be asked something there.
    #[allow(
        clippy::disallowed_methods,
        reason = "the interface of credential helpers is a program on PATH: only the user's own keyring can be asked so, and \
                  only where his configuration names it"
    )]
    fn run(&self, action: &str, input: &[u8]) -> Result<Output, CredentialsError> {
        let start = |source| CredentialsError::Start { program: self.program.clone(), source };
        if self.program.contains('/') {
            return Err(start(io::Error::new(io::ErrorKind::InvalidInput, "its name has a slash in it")));
        }
        let mut child = Command::new(&self.program)
            .arg(action)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .map_err(start)?;
        if let Some(mut stdin) = child.stdin.take() {
            match stdin.write_all(input) {
                // One that answers without having listened has answered all the same.
                Err(e) if e.kind() != io::ErrorKind::BrokenPipe => return Err(start(e)),
                _ => {}
            }
        }
        child.wait_with_output().map_err(start)
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

/// Whether `program` is anywhere on `PATH`.
pub fn on_path(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|directory| directory.join(program).is_file())
}
