//! `login`.

use std::io::{self, BufRead, IsTerminal as _, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::process::ExitCode;

use diag::{Class, Diagnose, Failure};
use registry::credentials::{self, DockerConfig, Kept};
use registry::{Client, Credential, Credentials as _};
use sys::terminal::RawMode;

use crate::commands::{Ended, Invocation, Outcome, parse, usage};
use crate::context::{Context, note, print, print_line};

/// Authenticate to a registry, Docker Hub if no server is specified
#[derive(clap::Parser)]
struct Args {
    /// Password or Personal Access Token (PAT)
    #[arg(short, long, value_name = "string")]
    password: Option<String>,
    /// Take the Password or Personal Access Token (PAT) from stdin
    #[arg(long)]
    password_stdin: bool,
    /// Username
    #[arg(short, long, value_name = "string")]
    username: Option<String>,
    #[arg(value_name = "SERVER")]
    server: Option<String>,
}

#[derive(Debug, thiserror::Error)]
enum LoginError {
    #[error("cannot perform an interactive login from a non TTY device")]
    NoTerminal,
    #[error("non-null Username Required")]
    NoUser,
    #[error("password Required")]
    NoPassword,
    #[error("cannot read what is typed")]
    Read(#[source] io::Error),
}

impl Diagnose for LoginError {
    fn class(&self) -> Class {
        match self {
            Self::Read(e) => Class::of_io(e),
            _ => Class::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        matches!(self, Self::NoTerminal)
            .then(|| "give a name with `--username` and the password with `--password-stdin`".to_owned())
    }
}

/// How a conversation at the terminal ends.
enum Typed {
    Text(String),
    /// With Ctrl-C.
    Interrupted,
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    // What is kept here serves every engine; who checks it is this host's.
    context.refuse_elsewhere(&invocation.path)?;
    let (username, password) = given(&args, &invocation.path)?;
    let domain = credentials::host(args.server.as_deref().unwrap_or_default());
    let config = DockerConfig::from_environment();
    let client = context.registry()?;
    let mut usual_name = None;
    if username.is_none()
        && password.is_none()
        && let Some(known) = config.lookup(domain)?
    {
        if log_in_again(client, &config, domain, &known)? {
            return succeeded();
        }
        usual_name = Some(known.user().to_owned());
    }
    let Some(credential) = ask(domain, username, password, usual_name)? else { return Ok(130.into()) };
    let kept = client.login(domain, &credential)?;
    store(&config, domain, &kept)?;
    succeeded()
}

fn succeeded() -> Outcome {
    print_line("Login Succeeded");
    Ok(ExitCode::SUCCESS)
}

/// The name and the password from the command line, or from standard input when that was asked for.
fn given(args: &Args, path: &str) -> Result<(Option<String>, Option<String>), Ended> {
    let filled = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
    let (username, password) = (filled(&args.username), filled(&args.password));
    if !args.password_stdin {
        if password.is_some() {
            note("WARNING! Using --password via the CLI is insecure. Use --password-stdin.");
        }
        return Ok((username, password));
    }
    if password.is_some() {
        return Err(usage(path, "conflicting options: cannot specify both --password and --password-stdin")
            .with_status(1));
    }
    if username.is_none() {
        return Err(usage(path, "the --password-stdin option requires --username to be set").with_status(1));
    }
    let mut text = String::new();
    io::stdin().lock().read_to_string(&mut text).map_err(LoginError::Read)?;
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(LoginError::NoPassword.into());
    }
    Ok((username, Some(text.to_owned())))
}

/// Tries what was stored by an earlier login; returns whether it is still good.
fn log_in_again(
    client: &Client,
    config: &DockerConfig,
    domain: &str,
    known: &Credential,
) -> Result<bool, Ended> {
    note(format_args!("Authenticating with existing credentials... [Username: {}]\n", known.user()));
    note("Info → To login with a different account, run 'docker logout' followed by 'docker login'\n");
    match client.login(domain, known) {
        Ok(kept) => {
            store(config, domain, &kept)?;
            Ok(true)
        }
        Err(registry::RegistryError::LoginRefused { .. }) => {
            note("Stored credentials invalid or expired");
            Ok(false)
        }
        Err(error) => {
            note(format_args!("Login did not succeed, error: {}", diag::render(&Failure::from(error))));
            Ok(false)
        }
    }
}

fn store(config: &DockerConfig, domain: &str, credential: &Credential) -> Result<(), Ended> {
    if let Kept::Unencrypted(path) = config.store(domain, credential)? {
        note(format_args!(
            "\nWARNING! Your credentials are stored unencrypted in '{}'.\n\
             Configure a credential helper to remove this warning. See\n\
             https://docs.docker.com/go/credential-store/\n",
            path.display()
        ));
    }
    Ok(())
}

/// Asks for what was not given; `None` when the user would rather not.
fn ask(
    domain: &str,
    username: Option<String>,
    password: Option<String>,
    usual_name: Option<String>,
) -> Result<Option<Credential>, Ended> {
    let stdin = io::stdin();
    if (username.is_none() || password.is_none()) && !stdin.is_terminal() {
        return Err(LoginError::NoTerminal.into());
    }
    let user = match username {
        Some(name) => name,
        None => {
            if credentials::key(domain) == credentials::HUB_KEY {
                print_line(
                    "Log in with your Docker ID or email address to push and pull images from Docker Hub.",
                );
            }
            match &usual_name {
                Some(name) => print(&format!("Username ({name}): ")),
                None => print("Username: "),
            }
            let mut line = String::new();
            stdin.lock().read_line(&mut line).map_err(LoginError::Read)?;
            let typed = Some(line.trim().to_owned()).filter(|line| !line.is_empty());
            typed.or(usual_name).ok_or(LoginError::NoUser)?
        }
    };
    let password = match password {
        Some(password) => password,
        None => match ask_secretly("Password: ").map_err(LoginError::Read)? {
            Typed::Text(text) if text.is_empty() => return Err(LoginError::NoPassword.into()),
            Typed::Text(text) => text,
            Typed::Interrupted => return Ok(None),
        },
    };
    Ok(Some(Credential::Password { user, password }))
}

/// Reads a line that is not shown.
///
/// In raw mode, where Ctrl-C is a character: as a signal it would leave a terminal that shows nothing any more.
fn ask_secretly(prompt: &str) -> io::Result<Typed> {
    let stdin = io::stdin();
    print(prompt);
    let mode = RawMode::enter(stdin.as_fd())?;
    let typed = read_line(&mut stdin.lock());
    mode.leave()?;
    print("\n");
    io::stdout().flush()?;
    typed
}

/// Reads a line as a terminal in raw mode gives it.
fn read_line(input: &mut impl BufRead) -> io::Result<Typed> {
    const INTERRUPT: u8 = 3;
    const END: u8 = 4;
    const ERASE: [u8; 2] = [8, 127];
    const KILL: u8 = 21;
    let mut line = Vec::new();
    for byte in input.bytes() {
        match byte? {
            INTERRUPT => return Ok(Typed::Interrupted),
            END | b'\r' | b'\n' => break,
            KILL => line.clear(),
            byte if ERASE.contains(&byte) => {
                // A character of several bytes goes as a whole.
                while line.pop().is_some_and(|byte| byte & 0xc0 == 0x80) {}
            }
            byte => line.push(byte),
        }
    }
    Ok(Typed::Text(String::from_utf8_lossy(&line).into_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_edited_as_terminals_do() {
        let check = |typed: &str, expected: Option<&str>| {
            let text = match read_line(&mut typed.as_bytes()).unwrap() {
                Typed::Text(text) => Some(text),
                Typed::Interrupted => None,
            };
            assert_eq!(text.as_deref(), expected, "{typed:?}");
        };
        check("secret\rmore", Some("secret"));
        check("sä\u{7f}ecret\n", Some("secret"));
        check("wrong\u{15}right\r", Some("right"));
        check("\u{7f}x\u{4}", Some("x"));
        check("sec\u{3}ret\r", None);
    }
}
