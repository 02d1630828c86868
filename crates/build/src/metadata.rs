//! The instructions that change only the image's configuration.

use std::path::{Component, Path};
use std::time::Duration;

use oci::image::{Healthcheck as ImageHealthcheck, ImageConfig};

use crate::cache::transfer::FIELD;
use crate::dockerfile::{Command, Healthcheck, Instruction, expand};
use crate::scope::{Arguments, Globals, architecture, env_value, set_env};

/// What Docker gives images made from scratch.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A stage's image as far as its instructions have come.
#[derive(Clone, Debug)]
pub struct StageImage {
    pub image: ImageConfig,
    pub arguments: Arguments,
    pub escape: char,
    /// CMD was given in this stage, so ENTRYPOINT does not reset it.
    has_cmd: bool,
}

impl StageImage {
    /// Begins a stage on `base`, or on nothing.
    pub fn new(base: Option<ImageConfig>, escape: char) -> Self {
        let mut image = base.unwrap_or_else(|| {
            let mut image = ImageConfig {
                architecture: architecture().to_owned(),
                os: "linux".to_owned(),
                ..ImageConfig::default()
            };
            image.config.env = vec![format!("PATH={DEFAULT_PATH}")];
            image.config.working_dir = "/".to_owned();
            image
        });
        // What they say of layers is about that image: see `cache::transfer`, and BuildKit's own.
        for field in [FIELD, "moby.buildkit.cache.v0"] {
            image.extra.remove(field);
        }
        if env_value(&image.config.env, "PATH").is_none() {
            image.config.env.push(format!("PATH={DEFAULT_PATH}"));
        }
        Self { image, arguments: Arguments::default(), escape, has_cmd: false }
    }

    /// The value of a variable here: the environment goes before arguments.
    pub fn variable(&self, name: &str) -> Option<String> {
        env_value(&self.image.config.env, name).map(str::to_owned).or_else(|| self.arguments.get(name))
    }

    /// Resolves the quotes and variables of one word.
    pub fn expand(&self, word: &str) -> Result<String, String> {
        expand::word(word, self.escape, &|name| self.variable(name))
    }

    /// Resolves the variables of a heredoc's body.
    pub fn expand_body(&self, text: &str) -> Result<String, String> {
        expand::text(text, self.escape, &|name| self.variable(name))
    }

    /// `path` as the working directory makes it absolute, without `.` and `..`; a slash at the end is kept.
    pub fn absolute(&self, path: &str) -> String {
        let joined = Path::new("/").join(&self.image.config.working_dir).join(path);
        let mut clean = String::new();
        for component in joined.components() {
            match component {
                Component::Normal(name) => {
                    clean.push('/');
                    clean.push_str(&name.to_string_lossy());
                }
                Component::ParentDir => clean.truncate(clean.rfind('/').unwrap_or(0)),
                _ => {}
            }
        }
        if clean.is_empty() || path.ends_with('/') || path.ends_with("/.") || path == "." {
            clean.push('/');
        }
        clean
    }

    /// The words before a shell form's command.
    pub fn shell(&self) -> Vec<String> {
        match &self.image.config.shell {
            Some(shell) if !shell.is_empty() => shell.clone(),
            _ => vec!["/bin/sh".to_owned(), "-c".to_owned()],
        }
    }

    /// The argument vector of a command.
    pub fn argv(&self, command: &Command) -> Vec<String> {
        match command {
            Command::Exec(words) => words.clone(),
            Command::Shell(text) => {
                let mut words = self.shell();
                words.push(text.clone());
                words
            }
        }
    }

    /// Applies an instruction that makes no layer and returns its line for the history.
    ///
    /// # Errors
    /// What is wrong with its words.
    pub fn apply(&mut self, instruction: &Instruction, globals: &Globals) -> Result<String, String> {
        match instruction {
            Instruction::Arg(args) => {
                let mut shown = Vec::new();
                for (name, default) in args {
                    let name = self.expand(name)?;
                    let default = default.as_deref().map(|word| self.expand(word)).transpose()?;
                    self.arguments.declare(globals, &name, default);
                    shown.push(match self.arguments.get(&name) {
                        Some(value) => format!("{name}={value}"),
                        None => name,
                    });
                }
                Ok(format!("ARG {}", shown.join(" ")))
            }
            Instruction::Cmd(command) => {
                let argv = self.argv(command);
                self.has_cmd = true;
                let shown = format!("CMD {}", json(&argv));
                self.image.config.cmd = Some(argv);
                Ok(shown)
            }
            Instruction::Entrypoint(command) => {
                let argv = self.argv(command);
                let shown = format!("ENTRYPOINT {}", json(&argv));
                self.image.config.entrypoint = Some(argv);
                if !self.has_cmd {
                    self.image.config.cmd = None;
                }
                Ok(shown)
            }
            Instruction::Env(pairs) => {
                // All values of one instruction see the environment before it.
                let pairs = self.expand_pairs(pairs)?;
                for (name, value) in &pairs {
                    set_env(&mut self.image.config.env, name, value);
                }
                Ok(format!("ENV {}", shown_pairs(&pairs)))
            }
            Instruction::Label(pairs) => {
                let pairs = self.expand_pairs(pairs)?;
                let shown = format!("LABEL {}", shown_pairs(&pairs));
                self.image.config.labels.extend(pairs);
                Ok(shown)
            }
            Instruction::Expose(words) => {
                let words = expand::words(words, self.escape, &|name| self.variable(name))?;
                for word in &words {
                    self.image.config.exposed_ports.insert(port(word)?);
                }
                Ok(format!("EXPOSE {}", words.join(" ")))
            }
            Instruction::Healthcheck(check) => self.healthcheck(check),
            Instruction::Maintainer(text) => {
                self.image.author.clone_from(text);
                Ok(format!("MAINTAINER {text}"))
            }
            Instruction::Onbuild(trigger) => {
                self.image.config.on_build.push(trigger.clone());
                Ok(format!("ONBUILD {trigger}"))
            }
            Instruction::Shell(words) => {
                self.image.config.shell = Some(words.clone());
                Ok(format!("SHELL {}", json(words)))
            }
            Instruction::StopSignal(word) => {
                let signal = self.expand(word)?;
                if !is_signal(&signal) {
                    return Err(format!("invalid signal: {signal}"));
                }
                self.image.config.stop_signal.clone_from(&signal);
                Ok(format!("STOPSIGNAL {signal}"))
            }
            Instruction::User(word) => {
                let user = self.expand(word)?;
                self.image.config.user.clone_from(&user);
                Ok(format!("USER {user}"))
            }
            Instruction::Volume(words) => {
                let mut paths = Vec::new();
                for word in words {
                    let path = self.expand(word)?;
                    if path.is_empty() {
                        return Err("VOLUME specified can not be an empty string".to_owned());
                    }
                    paths.push(path);
                }
                self.image.config.volumes.extend(paths.iter().cloned());
                Ok(format!("VOLUME {}", json(&paths)))
            }
            Instruction::Add(_) | Instruction::Copy(_) | Instruction::Run(_) | Instruction::Workdir(_) => {
                Err(format!("{} makes a layer", instruction.name()))
            }
        }
    }

    fn expand_pairs(&self, pairs: &[(String, String)]) -> Result<Vec<(String, String)>, String> {
        pairs.iter().map(|(name, value)| Ok((self.expand(name)?, self.expand(value)?))).collect()
    }

    fn healthcheck(&mut self, check: &Healthcheck) -> Result<String, String> {
        let check = match check {
            Healthcheck::None => ImageHealthcheck { test: vec!["NONE".to_owned()], ..Default::default() },
            Healthcheck::Command { command, options } => {
                let test = match command {
                    Command::Shell(text) => vec!["CMD-SHELL".to_owned(), text.clone()],
                    Command::Exec(words) => {
                        std::iter::once("CMD".to_owned()).chain(words.iter().cloned()).collect()
                    }
                };
                let nanoseconds = |duration: Option<Duration>| {
                    duration.map_or(0, |duration| i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX))
                };
                ImageHealthcheck {
                    test,
                    interval: nanoseconds(options.interval),
                    timeout: nanoseconds(options.timeout),
                    start_period: nanoseconds(options.start_period),
                    start_interval: nanoseconds(options.start_interval),
                    retries: options.retries.map_or(0, i64::from),
                }
            }
        };
        let shown = format!("HEALTHCHECK {}", json(&check.test));
        self.image.config.healthcheck = Some(check);
        Ok(shown)
    }
}

fn json(words: &[String]) -> String {
    serde_json::to_string(words).unwrap_or_default()
}

fn shown_pairs(pairs: &[(String, String)]) -> String {
    let pairs: Vec<_> = pairs.iter().map(|(name, value)| format!("{name}={value}")).collect();
    pairs.join(" ")
}

/// `80`, `80/udp`, `8000-8010/tcp`, completed to what the image config holds.
fn port(word: &str) -> Result<String, String> {
    let invalid = || format!("invalid containerPort: {word}");
    let (ports, protocol) = word.split_once('/').unwrap_or((word, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !matches!(protocol.as_str(), "tcp" | "udp" | "sctp") {
        return Err(format!("invalid proto: {protocol}"));
    }
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let number = |text: &str| text.parse::<u16>().ok().filter(|port| *port > 0).ok_or_else(invalid);
    if number(first)? > number(last)? {
        return Err(invalid());
    }
    Ok(format!("{ports}/{protocol}"))
}

fn is_signal(text: &str) -> bool {
    const NAMES: &str = " HUP INT QUIT ILL TRAP ABRT IOT BUS FPE KILL USR1 SEGV USR2 PIPE ALRM TERM STKFLT CHLD CLD CONT STOP \
                         TSTP TTIN TTOU URG XCPU XFSZ VTALRM PROF WINCH IO POLL PWR SYS ";
    if let Ok(number) = text.parse::<u8>() {
        return (1..=64).contains(&number);
    }
    let name = text.to_ascii_uppercase();
    let name = name.strip_prefix("SIG").unwrap_or(&name);
    if let Some(offset) = name.strip_prefix("RTMIN") {
        return offset.is_empty()
            || offset.strip_prefix('+').is_some_and(|n| n.parse().is_ok_and(|n: u8| n <= 30));
    }
    if let Some(offset) = name.strip_prefix("RTMAX") {
        return offset.is_empty()
            || offset.strip_prefix('-').is_some_and(|n| n.parse().is_ok_and(|n: u8| n <= 30));
    }
    !name.is_empty() && NAMES.contains(&format!(" {name} "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dockerfile::parse;
    use std::collections::BTreeMap;

    /// The state after the lines of a stage from scratch.
    fn build(lines: &str) -> Result<StageImage, String> {
        let file = parse(&format!("FROM scratch\n{lines}")).unwrap();
        let globals = Globals::new(&file, &BTreeMap::new(), "default").unwrap();
        let mut stage = StageImage::new(None, file.escape);
        for step in &file.stages[0].steps {
            stage.apply(&step.instruction, &globals)?;
        }
        Ok(stage)
    }

    #[test]
    fn env_and_args() {
        let stage =
            build("ARG a=1\nENV b=$a c=x\nENV c=y d=$c e=\"$b $c\"\nENV a=env\nLABEL \"l m\"=${a}").unwrap();
        let env = &stage.image.config.env[1..];
        assert_eq!(env, ["b=1", "c=y", "d=x", "e=1 x", "a=env"]);
        assert_eq!(stage.image.config.labels["l m"], "env");
        assert!(build("ENV a=\"x").is_err());
        assert!(build("ARG a\nENV b=${a:?needed}").unwrap_err().contains("a: needed"));
    }

    #[test]
    fn entrypoint_resets_an_inherited_cmd_only() {
        let mut base = build("CMD [\"a\"]").unwrap().image;
        base.config.shell = Some(vec!["/bin/bash".into(), "-ec".into()]);
        let globals = Globals::new(&parse("FROM x").unwrap(), &BTreeMap::new(), "x").unwrap();
        let mut stage = StageImage::new(Some(base), '\\');
        stage.apply(&Instruction::Entrypoint(Command::Shell("e".into())), &globals).unwrap();
        assert_eq!(stage.image.config.cmd, None);
        assert_eq!(stage.image.config.entrypoint.unwrap(), ["/bin/bash", "-ec", "e"]);
        let both = build("CMD [\"a\"]\nENTRYPOINT [\"b\"]").unwrap();
        assert_eq!(both.image.config.cmd.unwrap(), ["a"]);
    }

    #[test]
    fn ports_signals_and_volumes() {
        let stage = build("ARG p=\"90 91\"\nEXPOSE 80 443/UDP 8000-8010 $p").unwrap();
        let ports: Vec<_> = stage.image.config.exposed_ports.iter().map(String::as_str).collect();
        assert_eq!(ports, ["443/udp", "80/tcp", "8000-8010/tcp", "90/tcp", "91/tcp"]);
        assert_eq!(build("EXPOSE x").unwrap_err(), "invalid containerPort: x");
        assert_eq!(build("EXPOSE 80/http").unwrap_err(), "invalid proto: http");
        assert!(build("EXPOSE 70000").is_err() && build("EXPOSE 90-80").is_err());
        for good in ["SIGTERM", "term", "9", "SIGRTMIN+3"] {
            assert_eq!(build(&format!("STOPSIGNAL {good}")).unwrap().image.config.stop_signal, good);
        }
        for bad in ["SIGNOPE", "0", "65", "SIG", "RTMIN+99"] {
            assert_eq!(build(&format!("STOPSIGNAL {bad}")).unwrap_err(), format!("invalid signal: {bad}"));
        }
        assert!(build("VOLUME /a [x").unwrap().image.config.volumes.contains("/a"));
    }

    #[test]
    fn healthchecks() {
        let stage = build("HEALTHCHECK --interval=5s CMD curl localhost").unwrap();
        let check = stage.image.config.healthcheck.unwrap();
        assert_eq!(
            (check.test.join("|").as_str(), check.interval),
            ("CMD-SHELL|curl localhost", 5_000_000_000)
        );
        let exec = build("HEALTHCHECK CMD [\"a\", \"b\"]").unwrap().image.config.healthcheck.unwrap();
        assert_eq!(exec.test, ["CMD", "a", "b"]);
        assert_eq!(build("HEALTHCHECK NONE").unwrap().image.config.healthcheck.unwrap().test, ["NONE"]);
    }

    #[test]
    fn paths_become_absolute() {
        let mut stage = build("").unwrap();
        let check = |stage: &StageImage, path, expected| assert_eq!(stage.absolute(path), expected);
        check(&stage, "a", "/a");
        check(&stage, ".", "/");
        check(&stage, "/a/../b/", "/b/");
        stage.image.config.working_dir = "/w/x".into();
        check(&stage, "a/", "/w/x/a/");
        check(&stage, ".", "/w/x/");
        check(&stage, "./", "/w/x/");
        check(&stage, "../y", "/w/y");
        check(&stage, "../../../..", "/");
    }
}
