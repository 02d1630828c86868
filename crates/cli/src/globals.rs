//! The flags before the command, parsed by hand: they are few, and every command pays for them.

use std::ffi::OsString;
use std::path::PathBuf;

use crate::commands::{Ended, TABLE, usage};
use crate::help;

/// The flags before the command.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Globals {
    pub root: Option<PathBuf>,
    pub run_root: Option<PathBuf>,
    pub debug: bool,
    /// Another engine than that of this host.
    pub host: Option<String>,
    pub context: Option<String>,
}

/// Splits `args` into the global flags and the command with its own words.
pub fn parse(program: &str, args: Vec<OsString>) -> Result<(Globals, Vec<OsString>), Ended> {
    let mut globals = Globals::default();
    let mut words = args.into_iter();
    while let Some(word) = words.next() {
        let text = word.to_string_lossy().into_owned();
        let (flag, inline) = match text.split_once('=') {
            Some((flag, value)) if flag.starts_with("--") => (flag.to_owned(), Some(value.to_owned())),
            _ => (text.clone(), None),
        };
        let mut value = || {
            inline
                .clone()
                .map(OsString::from)
                .or_else(|| words.next())
                .ok_or_else(|| usage(program, format_args!("flag needs an argument: {flag}")))
        };
        match flag.as_str() {
            "--root" => globals.root = Some(value()?.into()),
            "--run-root" => globals.run_root = Some(value()?.into()),
            "--debug" | "-D" => globals.debug = true,
            "--version" | "-v" => {
                let text = format!("hull version {}\n", env!("CARGO_PKG_VERSION"));
                return Err(Ended::Usage { text, status: 0 });
            }
            "--help" | "-h" => return Err(Ended::Usage { text: help::group(program, TABLE), status: 0 }),
            "--host" | "-H" => globals.host = Some(text_of(value()?)),
            "--context" | "-c" => globals.context = Some(text_of(value()?)),
            "--config" => {
                return Err(usage(program, "--config is not supported: set DOCKER_CONFIG to the directory"));
            }
            "--log-level" | "-l" => {
                return Err(usage(program, "--log-level is not supported: hull has no log of its own"));
            }
            "--tls" | "--tlsverify" | "--tlscacert" | "--tlscert" | "--tlskey" => {
                return Err(usage(
                    program,
                    format_args!(
                        "{flag} is not supported: tcp:// always uses the certificates of its context, or ~/.docker"
                    ),
                ));
            }
            _ if text.starts_with('-') && text != "-" => {
                return Err(usage(program, format_args!("unknown flag: {flag}")));
            }
            _ => {
                let rest = std::iter::once(word).chain(words).collect();
                return Ok((globals, rest));
            }
        }
    }
    Ok((globals, Vec::new()))
}

fn text_of(value: OsString) -> String {
    value.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, root: Option<&str>, rest: &[&str]) {
        let args = line.split_whitespace().map(OsString::from).collect();
        let Ok((globals, words)) = parse("hull", args) else { panic!("{line} was refused") };
        assert_eq!(globals.root, root.map(PathBuf::from), "{line}");
        assert_eq!(words, rest.iter().map(OsString::from).collect::<Vec<_>>(), "{line}");
    }

    #[test]
    fn global_flags_end_at_the_command() {
        check("ps --root /x", None, &["ps", "--root", "/x"]);
        check("--root /x ps -a", Some("/x"), &["ps", "-a"]);
        check("--root=/x -D ps", Some("/x"), &["ps"]);
    }

    #[test]
    fn engines_elsewhere() {
        let args = "-H ssh://there --context=x ps".split(' ').map(OsString::from).collect();
        let Ok((globals, words)) = parse("hull", args) else { panic!("refused") };
        assert_eq!((globals.host.as_deref(), words.len()), (Some("ssh://there"), 1));
        assert_eq!(globals.context.as_deref(), Some("x"));
    }

    #[test]
    fn an_unknown_flag_is_refused_by_name() {
        let Err(Ended::Usage { text, status }) = parse("hull", vec!["--frob".into()]) else {
            panic!("accepted")
        };
        assert_eq!((text.as_str(), status), ("unknown flag: --frob\nSee 'hull --help'.\n", 125));
    }
}
