//! The instructions that `import --change` and `commit --change` take: a Dockerfile's, without its continuation lines.

use diag::{Class, Diagnose};
use oci::image::{Config, Healthcheck};

/// A change is not one of those instructions.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    #[error("{instruction} is not a valid change command")]
    Unknown { instruction: String },
    #[error("invalid change {change:?}: {reason}")]
    Invalid { change: String, reason: &'static str },
}

impl Diagnose for ChangeError {
    fn class(&self) -> Class {
        Class::Invalid
    }

    fn hint(&self) -> Option<String> {
        Some(
            "use one of CMD, ENTRYPOINT, ENV, EXPOSE, HEALTHCHECK, LABEL, ONBUILD, STOPSIGNAL, USER, VOLUME, WORKDIR"
                .to_owned(),
        )
    }
}

/// Applies one instruction, such as `ENV PATH=/bin` or `CMD ["sh"]`.
///
/// # Errors
/// [`ChangeError`].
pub fn apply_change(config: &mut Config, change: &str) -> Result<(), ChangeError> {
    let change = change.trim();
    let (instruction, rest) = change.split_once(char::is_whitespace).unwrap_or((change, ""));
    let rest = rest.trim();
    let invalid = |reason| ChangeError::Invalid { change: change.to_owned(), reason };
    let needed = || if rest.is_empty() { Err(invalid("it needs an argument")) } else { Ok(rest) };
    match instruction.to_ascii_uppercase().as_str() {
        "CMD" => config.cmd = Some(command(rest)),
        "ENTRYPOINT" => config.entrypoint = Some(command(rest)),
        "USER" => config.user = needed()?.to_owned(),
        "STOPSIGNAL" => config.stop_signal = needed()?.to_owned(),
        "ONBUILD" => config.on_build.push(needed()?.to_owned()),
        "WORKDIR" => {
            let directory = needed()?;
            config.working_dir = match (directory.starts_with('/'), config.working_dir.as_str()) {
                (true, _) => directory.to_owned(),
                (false, base) => format!("{}/{directory}", base.trim_end_matches('/')),
            };
        }
        "ENV" => {
            for (key, value) in pairs(needed()?).map_err(invalid)? {
                let prefix = format!("{key}=");
                config.env.retain(|entry| !entry.starts_with(&prefix));
                config.env.push(prefix + &value);
            }
        }
        "LABEL" => config.labels.extend(pairs(needed()?).map_err(invalid)?),
        "EXPOSE" => {
            for port in words(needed()?).map_err(invalid)? {
                let valid = port.split('/').next().is_some_and(|number| {
                    number.split('-').all(|part| part.parse::<u16>().is_ok_and(|port| port > 0))
                });
                if !valid {
                    return Err(invalid("a port is a number from 1 to 65535, or a range of them"));
                }
                config.exposed_ports.insert(if port.contains('/') { port } else { format!("{port}/tcp") });
            }
        }
        "VOLUME" => {
            let volumes = match json(needed()?) {
                Some(volumes) => volumes,
                None => words(rest).map_err(invalid)?,
            };
            config.volumes.extend(volumes);
        }
        "HEALTHCHECK" => config.healthcheck = Some(healthcheck(needed()?).map_err(invalid)?),
        _ => return Err(ChangeError::Unknown { instruction: instruction.to_owned() }),
    }
    Ok(())
}

fn json(text: &str) -> Option<Vec<String>> {
    serde_json::from_str(text).ok()
}

/// The exec form as it is, the shell form through `/bin/sh -c`.
fn command(text: &str) -> Vec<String> {
    match json(text) {
        Some(words) => words,
        None if text.is_empty() => Vec::new(),
        None => ["/bin/sh", "-c", text].map(str::to_owned).to_vec(),
    }
}

/// Splits at white space outside quotes; a backslash takes the next character as it is.
fn words(text: &str) -> Result<Vec<String>, &'static str> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (None, '"' | '\'') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None | Some('"'), '\\') => {
                let next = characters.next().ok_or("it ends with a backslash")?;
                word.get_or_insert_default().push(next);
            }
            (None, c) if c.is_whitespace() => words.extend(word.take()),
            (_, c) => word.get_or_insert_default().push(c),
        }
    }
    if quote.is_some() {
        return Err("a quote is not closed");
    }
    words.extend(word);
    Ok(words)
}

/// `a=b c="d e"`, or the old form `a the rest`.
fn pairs(text: &str) -> Result<Vec<(String, String)>, &'static str> {
    let first = text.split_whitespace().next().unwrap_or_default();
    if !first.contains('=') {
        let (key, value) = text.split_once(char::is_whitespace).ok_or("a value is missing")?;
        return Ok(vec![(key.to_owned(), value.trim().to_owned())]);
    }
    words(text)?
        .into_iter()
        .map(|word| match word.split_once('=') {
            Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
            _ => Err("key=value is expected"),
        })
        .collect()
}

fn healthcheck(text: &str) -> Result<Healthcheck, &'static str> {
    let mut check = Healthcheck::default();
    let mut rest = text;
    while let Some(flag) = rest.strip_prefix("--") {
        let (flag, next) = flag.split_once(char::is_whitespace).ok_or("a command is missing")?;
        let (name, value) = flag.split_once('=').ok_or("a flag needs a value")?;
        let duration = || duration_ns(value).ok_or("a duration looks like 1m30s");
        match name {
            "interval" => check.interval = duration()?,
            "timeout" => check.timeout = duration()?,
            "start-period" => check.start_period = duration()?,
            "start-interval" => check.start_interval = duration()?,
            "retries" => check.retries = value.parse().map_err(|_| "retries are a number")?,
            _ => return Err("unknown flag"),
        }
        rest = next.trim_start();
    }
    let (kind, command) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
    let command = command.trim();
    check.test = match (kind.to_ascii_uppercase().as_str(), command) {
        ("NONE", "") => vec!["NONE".to_owned()],
        ("CMD", "") => return Err("a command is missing"),
        ("CMD", command) => match json(command) {
            Some(words) => std::iter::once("CMD".to_owned()).chain(words).collect(),
            None => vec!["CMD-SHELL".to_owned(), command.to_owned()],
        },
        _ => return Err("NONE or CMD is expected"),
    };
    Ok(check)
}

/// Go's durations, such as `1h2m3.5s` and `500ms`.
fn duration_ns(text: &str) -> Option<i64> {
    let mut total = 0f64;
    let mut rest = text;
    while !rest.is_empty() {
        let end = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, tail) = rest.split_at(end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit()).unwrap_or(tail.len());
        let (unit, next) = tail.split_at(unit_end);
        let scale = match unit {
            "ns" => 1.0,
            "us" | "µs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return None,
        };
        total += number.parse::<f64>().ok()? * scale;
        rest = next;
    }
    (!text.is_empty() && total < i64::MAX as f64).then_some(total as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instructions_are_applied() {
        let mut config = Config { env: vec!["A=old".into()], ..Config::default() };
        for change in [
            r#"CMD ["sh", "-c", "true"]"#,
            "entrypoint run me",
            r#"ENV A=b C="d e" F=\"g"#,
            "ENV LONG the rest",
            "EXPOSE 80 53/udp 8000-8010",
            "LABEL a=b",
            "USER www",
            "VOLUME /a /b",
            r#"VOLUME ["/c"]"#,
            "WORKDIR /srv",
            "WORKDIR app",
            "HEALTHCHECK --interval=1m30s --retries=2 CMD curl -f x",
            "STOPSIGNAL SIGINT",
            "ONBUILD RUN x",
        ] {
            apply_change(&mut config, change).unwrap_or_else(|e| panic!("{change}: {e}"));
        }
        assert_eq!(config.cmd.unwrap(), ["sh", "-c", "true"]);
        assert_eq!(config.entrypoint.unwrap(), ["/bin/sh", "-c", "run me"]);
        assert_eq!(config.env, ["A=b", "C=d e", "F=\"g", "LONG=the rest"]);
        let ports: Vec<_> = config.exposed_ports.iter().map(String::as_str).collect();
        assert_eq!(ports, ["53/udp", "80/tcp", "8000-8010/tcp"]);
        assert_eq!(config.volumes.len(), 3);
        assert_eq!(config.working_dir, "/srv/app");
        let check = config.healthcheck.unwrap();
        assert_eq!((check.interval, check.retries), (90_000_000_000, 2));
        assert_eq!(check.test, ["CMD-SHELL", "curl -f x"]);
    }

    fn refused(change: &str, expected: &str) {
        let error = apply_change(&mut Config::default(), change).unwrap_err();
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn other_instructions_are_refused() {
        refused("RUN x", "RUN is not a valid change command");
        refused("USER", "invalid change \"USER\": it needs an argument");
        refused("ENV a=\"b", "invalid change \"ENV a=\\\"b\": a quote is not closed");
        let ports = "a port is a number from 1 to 65535, or a range of them";
        refused("EXPOSE 99999", &format!("invalid change \"EXPOSE 99999\": {ports}"));
    }
}
