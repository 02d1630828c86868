//! The flags between `compose` and its verb, parsed by hand as those before `compose` are.

use std::ffi::OsString;
use std::io::IsTerminal as _;
use std::path::PathBuf;

use super::super::{Ended, usage};

pub const HELP: &str = "
Options:
      --ansi string                Control when to print colors (\"never\"|\"always\"|\"auto\")
      --env-file stringArray       Specify an alternate environment file
  -f, --file stringArray           Compose configuration files
      --profile stringArray        Specify a profile to enable
      --progress string            Set type of progress output (auto, plain, quiet)
      --project-directory string   Specify an alternate working directory
  -p, --project-name string        Project name
";

/// Flags every verb shares.
#[derive(Debug, Default)]
pub struct Flags {
    pub files: Vec<PathBuf>,
    pub project_directory: Option<PathBuf>,
    pub project_name: Option<String>,
    pub env_files: Vec<PathBuf>,
    pub profiles: Vec<String>,
    ansi: Option<bool>,
    pub quiet: bool,
    plain: bool,
}

impl Flags {
    /// Splits the shared flags off; none when help was asked for.
    pub fn parse(path: &str, args: Vec<OsString>) -> Result<Option<(Self, Vec<OsString>)>, Ended> {
        let mut flags = Self::default();
        let mut words = args.into_iter();
        while let Some(word) = words.next() {
            let text = word.to_string_lossy().into_owned();
            let (flag, inline) = split(&text);
            let mut value = || {
                let given =
                    inline.clone().or_else(|| words.next().map(|word| word.to_string_lossy().into_owned()));
                given.ok_or_else(|| usage(path, format_args!("flag needs an argument: {flag}")))
            };
            match flag.as_str() {
                "-f" | "--file" => flags.files.push(value()?.into()),
                "-p" | "--project-name" => flags.project_name = Some(value()?),
                "--project-directory" | "--workdir" => flags.project_directory = Some(value()?.into()),
                "--env-file" => flags.env_files.push(value()?.into()),
                "--profile" => flags.profiles.push(value()?),
                "--ansi" => flags.ansi = choice(path, &flag, &value()?)?,
                "--no-ansi" => flags.ansi = Some(false),
                "--progress" => match value()?.as_str() {
                    "auto" | "tty" => {}
                    "plain" => flags.plain = true,
                    "quiet" => flags.quiet = true,
                    other => {
                        return Err(usage(path, format_args!("unsupported --progress value {other:?}")));
                    }
                },
                // Every service has its thread; -1, Compose's word for "no limit", is what that is.
                "--parallel" => match value()?.as_str() {
                    "-1" => {}
                    _ => return Err(usage(path, "--parallel is not supported: there is no limit (-1)")),
                },
                "--dry-run" => {
                    return Err(usage(path, "--dry-run is not supported: `config` shows what would run"));
                }
                "--compatibility" => {
                    let why = "--compatibility is not supported: containers are named with dashes, `project-service-1`";
                    return Err(usage(path, why));
                }
                "-h" | "--help" => return Ok(None),
                "-v" | "--version" => return Ok(Some((flags, vec!["version".into()]))),
                _ if text.starts_with('-') && text != "-" => {
                    return Err(usage(path, format_args!("unknown flag: {flag}")));
                }
                _ => return Ok(Some((flags, std::iter::once(word).chain(words).collect()))),
            }
        }
        Ok(Some((flags, Vec::new())))
    }

    /// Whether standard error (progress) or standard output (logs) takes colours.
    pub fn color(&self, out: bool) -> bool {
        let terminal = || if out { std::io::stdout().is_terminal() } else { std::io::stderr().is_terminal() };
        let wanted = std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        !self.plain && self.ansi.unwrap_or_else(|| wanted && terminal())
    }
}

/// `--flag=value` and `-fvalue`.
fn split(text: &str) -> (String, Option<String>) {
    match text.split_once('=') {
        Some((flag, value)) if flag.starts_with("--") => (flag.to_owned(), Some(value.to_owned())),
        _ if text.len() > 2 && (text.starts_with("-f") || text.starts_with("-p")) => {
            let value = text[2..].strip_prefix('=').unwrap_or(&text[2..]);
            (text[..2].to_owned(), Some(value.to_owned()))
        }
        _ => (text.to_owned(), None),
    }
}

fn choice(path: &str, flag: &str, value: &str) -> Result<Option<bool>, Ended> {
    match value {
        "auto" => Ok(None),
        "always" => Ok(Some(true)),
        "never" => Ok(Some(false)),
        other => Err(usage(path, format_args!("invalid value for {flag}: {other:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(line: &str, files: &[&str], name: Option<&str>, rest: &[&str]) {
        let args = line.split_whitespace().map(OsString::from).collect();
        let Ok(Some((flags, words))) = Flags::parse("hull compose", args) else {
            panic!("{line} was refused")
        };
        assert_eq!(flags.files, files.iter().map(PathBuf::from).collect::<Vec<_>>(), "{line}");
        assert_eq!(flags.project_name.as_deref(), name, "{line}");
        assert_eq!(words, rest.iter().map(OsString::from).collect::<Vec<_>>(), "{line}");
    }

    #[test]
    fn shared_flags_end_at_the_verb() {
        check("-f a.yaml --file=b.yaml up -d", &["a.yaml", "b.yaml"], None, &["up", "-d"]);
        check("-fa.yaml -p x logs -f", &["a.yaml"], Some("x"), &["logs", "-f"]);
        check("-f - config", &["-"], None, &["config"]);
        assert!(Flags::parse("hull compose", vec!["--nope".into()]).is_err());
    }
}
