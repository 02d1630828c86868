//! One logical line to one instruction.

use std::collections::HashSet;
use std::time::Duration;

use super::lines::Line;
use super::{
    Command, Copy, From, HealthOptions, Healthcheck, Instruction, ParseError, Run, Step, mount, words,
};
use crate::RunNetwork;

/// FROM opens a stage; everything else stands in one.
pub enum Parsed {
    From(From),
    Step(Step),
}

/// Parses `line`.
pub fn parse(line: &Line, escape: char) -> Result<Parsed, ParseError> {
    let text = line.text.trim();
    let (name, rest) = text.split_once(|c: char| c.is_whitespace()).unwrap_or((text, ""));
    let name = name.to_ascii_uppercase();
    let error = |message| ParseError { span: line.span, instruction: Some(name.clone()), message };
    let (typed, rest) = words::flags(rest);
    let mut flags = Flags::new(typed).map_err(error)?;
    let rest = rest.trim();
    if rest.is_empty() && !matches!(name.as_str(), "CMD" | "ENTRYPOINT") && is_known(&name) {
        return Err(error(format!("{name} requires at least one argument")));
    }
    if name == "FROM" {
        let from = from(rest, &mut flags).and_then(|from| flags.finish().map(|()| from)).map_err(error)?;
        return Ok(Parsed::From(from));
    }
    let instruction = instruction(&name, rest, &mut flags, line, escape)
        .and_then(|instruction| flags.finish().map(|()| instruction))
        .map_err(error)?;
    let text = match instruction {
        Instruction::Add(_) | Instruction::Onbuild(_) => registry::without_credentials(text),
        _ => text.to_owned(),
    };
    Ok(Parsed::Step(Step { span: line.span, text, instruction }))
}

const NAMES: [&str; 18] = [
    "ADD",
    "ARG",
    "CMD",
    "COPY",
    "ENTRYPOINT",
    "ENV",
    "EXPOSE",
    "FROM",
    "HEALTHCHECK",
    "LABEL",
    "MAINTAINER",
    "ONBUILD",
    "RUN",
    "SHELL",
    "STOPSIGNAL",
    "USER",
    "VOLUME",
    "WORKDIR",
];

fn is_known(name: &str) -> bool {
    NAMES.contains(&name)
}

fn instruction(
    name: &str,
    rest: &str,
    flags: &mut Flags,
    line: &Line,
    escape: char,
) -> Result<Instruction, String> {
    Ok(match name {
        "ADD" => {
            flags.refuse(&["keep-git-dir"])?;
            Instruction::Add(copy(name, rest, flags, line)?)
        }
        "ARG" => Instruction::Arg(args(rest, escape)?),
        "CMD" => Instruction::Cmd(command(rest)?),
        "COPY" => Instruction::Copy(copy(name, rest, flags, line)?),
        "ENTRYPOINT" => Instruction::Entrypoint(command(rest)?),
        "ENV" => Instruction::Env(words::name_values(rest, escape, "ENV")?),
        "EXPOSE" => Instruction::Expose(rest.to_owned()),
        "HEALTHCHECK" => Instruction::Healthcheck(healthcheck(rest, flags)?),
        "LABEL" => Instruction::Label(words::name_values(rest, escape, "LABEL")?),
        "MAINTAINER" => Instruction::Maintainer(rest.to_owned()),
        "ONBUILD" => Instruction::Onbuild(onbuild(rest, line, escape)?),
        "RUN" => Instruction::Run(run(rest, flags, line)?),
        "SHELL" => match words::json_array(rest) {
            Some(words) => Instruction::Shell(nonempty(words?, "SHELL requires at least one argument")?),
            None => return Err("SHELL requires the arguments to be in JSON form".to_owned()),
        },
        "STOPSIGNAL" => Instruction::StopSignal(single(name, rest)?),
        "USER" => Instruction::User(single(name, rest)?),
        "VOLUME" => Instruction::Volume(volumes(rest)?),
        "WORKDIR" => Instruction::Workdir(rest.to_owned()),
        other => return Err(unknown(other)),
    })
}

fn unknown(name: &str) -> String {
    match diag::similar(name, NAMES) {
        Some(known) => format!("unknown instruction: {name} (did you mean {known}?)"),
        None => format!("unknown instruction: {name}"),
    }
}

fn single(name: &str, rest: &str) -> Result<String, String> {
    match words::quoted(rest, '\\').len() {
        1 => Ok(rest.to_owned()),
        _ => Err(format!("{name} requires exactly one argument")),
    }
}

fn nonempty(words: Vec<String>, message: &str) -> Result<Vec<String>, String> {
    if words.is_empty() { Err(message.to_owned()) } else { Ok(words) }
}

fn from(rest: &str, flags: &mut Flags) -> Result<From, String> {
    let platform = flags.value("platform")?;
    let words: Vec<&str> = rest.split_whitespace().collect();
    let (image, name) = match words.as_slice() {
        [image] => (*image, None),
        [image, r#as, name] if r#as.eq_ignore_ascii_case("as") => (*image, Some(name.to_ascii_lowercase())),
        _ => return Err("FROM requires either one or three arguments".to_owned()),
    };
    if let Some(name) = &name {
        let valid = name.starts_with(|c: char| c.is_ascii_lowercase())
            && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c));
        if !valid {
            return Err(format!(
                "invalid name for build stage: \"{name}\", name can't start with a number or contain symbols"
            ));
        }
    }
    Ok(From { image: image.to_owned(), platform, name })
}

fn args(rest: &str, escape: char) -> Result<Vec<(String, Option<String>)>, String> {
    words::quoted(rest, escape)
        .iter()
        .map(|word| match word.split_once('=') {
            Some(("", _)) => Err("ARG names can not be blank".to_owned()),
            Some((name, value)) => Ok((name.to_owned(), Some(value.to_owned()))),
            None => Ok((word.clone(), None)),
        })
        .collect()
}

fn command(rest: &str) -> Result<Command, String> {
    Ok(match words::json_array(rest) {
        Some(words) => Command::Exec(words?),
        None if rest.is_empty() => Command::Exec(Vec::new()),
        None => Command::Shell(rest.to_owned()),
    })
}

fn run(rest: &str, flags: &mut Flags, line: &Line) -> Result<Run, String> {
    let mounts =
        flags.values("mount").iter().map(|value| mount::parse(value)).collect::<Result<Vec<_>, _>>()?;
    let network = match flags.value("network")?.as_deref() {
        None => None,
        Some("default") => Some(RunNetwork::Default),
        Some("none") => Some(RunNetwork::None),
        Some("host") => Some(RunNetwork::Host),
        Some(other) => return Err(format!("unsupported network mode {other:?}")),
    };
    match flags.value("security")?.as_deref() {
        None | Some("sandbox") => {}
        Some("insecure") => return Err("--security=insecure is not supported".to_owned()),
        Some(other) => return Err(format!("unsupported security mode {other:?}")),
    }
    flags.refuse(&["device"])?;
    let command = command(rest)?;
    if command == Command::Exec(Vec::new()) {
        return Err("RUN requires at least one argument".to_owned());
    }
    if !line.heredocs.is_empty() && matches!(command, Command::Exec(_)) {
        return Err("a heredoc needs the shell form of RUN".to_owned());
    }
    Ok(Run { command, heredocs: line.heredocs.clone(), mounts, network })
}

fn copy(name: &str, rest: &str, flags: &mut Flags, line: &Line) -> Result<Copy, String> {
    let mut words = words::list(rest)?;
    if words.len() < 2 {
        return Err(format!("{name} requires at least two arguments, but only one was provided"));
    }
    let destination = words.pop().expect("at least two words");
    if super::heredoc::announce(&destination).is_some() && !line.heredocs.is_empty() {
        return Err(format!("{name} cannot accept a heredoc as a destination"));
    }
    if !line.heredocs.is_empty() {
        words.retain(|word| super::heredoc::announce(word).is_none());
    }
    let is_add = name == "ADD";
    let from = if is_add { None } else { flags.value("from")? };
    if from.as_deref().is_some_and(|from| from.contains('$')) {
        return Err("variable expansion is not supported for --from, define a new stage with FROM using \
                    ARG from global scope as a workaround"
            .to_owned());
    }
    if from.is_some() && !line.heredocs.is_empty() {
        return Err("--from cannot be used with a heredoc".to_owned());
    }
    let parents = !is_add && flags.switch("parents")?;
    Ok(Copy {
        sources: words,
        heredocs: line.heredocs.clone(),
        destination,
        from,
        chown: flags.value("chown")?,
        chmod: flags.value("chmod")?,
        link: flags.switch("link")?,
        parents,
        unpack: if is_add { flags.choice("unpack")? } else { None },
        checksum: if is_add { flags.value("checksum")? } else { None },
        exclude: flags.values("exclude"),
    })
}

fn healthcheck(rest: &str, flags: &mut Flags) -> Result<Healthcheck, String> {
    let (kind, rest) = rest.split_once(|c: char| c.is_whitespace()).unwrap_or((rest, ""));
    if kind.eq_ignore_ascii_case("NONE") {
        if !rest.trim().is_empty() {
            return Err("HEALTHCHECK NONE takes no arguments".to_owned());
        }
        return Ok(Healthcheck::None);
    }
    if !kind.eq_ignore_ascii_case("CMD") {
        return Err(format!("unknown type {kind:?} in HEALTHCHECK (try CMD)"));
    }
    let command = command(rest.trim())?;
    if command == Command::Exec(Vec::new()) {
        return Err("missing command after HEALTHCHECK CMD".to_owned());
    }
    let options = HealthOptions {
        interval: flags.duration("interval")?,
        timeout: flags.duration("timeout")?,
        start_period: flags.duration("start-period")?,
        start_interval: flags.duration("start-interval")?,
        retries: match flags.value("retries")? {
            None => None,
            Some(text) => Some(
                text.parse()
                    .map_err(|_| format!("--retries must be a number that is not negative: {text}"))?,
            ),
        },
    };
    Ok(Healthcheck::Command { command, options })
}

fn onbuild(rest: &str, line: &Line, escape: char) -> Result<String, String> {
    let name = rest.split_whitespace().next().unwrap_or_default().to_ascii_uppercase();
    match name.as_str() {
        "ONBUILD" => return Err("chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed".to_owned()),
        "FROM" | "MAINTAINER" => return Err(format!("{name} isn't allowed as an ONBUILD trigger")),
        _ => {}
    }
    let inner = Line { span: line.span, text: rest.to_owned(), heredocs: line.heredocs.clone() };
    parse(&inner, escape).map_err(|error| error.to_string())?;
    let mut text = rest.to_owned();
    for heredoc in &line.heredocs {
        text.push('\n');
        text.push_str(&heredoc.content);
        text.push_str(&heredoc.name);
    }
    Ok(text)
}

fn volumes(rest: &str) -> Result<Vec<String>, String> {
    let words = words::list(rest)?;
    if words.iter().any(String::is_empty) {
        return Err("VOLUME specified can not be an empty string".to_owned());
    }
    nonempty(words, "VOLUME requires at least one argument")
}

/// The `--flags` of one instruction; whatever nobody asked for is an error in the end.
struct Flags(Vec<(String, Option<String>)>);

/// May be given more than once.
const REPEATABLE: [&str; 2] = ["mount", "exclude"];

impl Flags {
    fn new(typed: Vec<String>) -> Result<Self, String> {
        let mut seen = HashSet::new();
        let mut flags = Vec::new();
        for flag in typed {
            let flag = flag.trim_start_matches("--");
            let (name, value) = match flag.split_once('=') {
                Some((name, value)) => (name, Some(value.to_owned())),
                None => (flag, None),
            };
            if !seen.insert(name.to_owned()) && !REPEATABLE.contains(&name) {
                return Err(format!("duplicate flag specified: --{name}"));
            }
            flags.push((name.to_owned(), value));
        }
        Ok(Self(flags))
    }

    fn take(&mut self, name: &str) -> Option<Option<String>> {
        let at = self.0.iter().position(|(flag, _)| flag == name)?;
        Some(self.0.remove(at).1)
    }

    fn value(&mut self, name: &str) -> Result<Option<String>, String> {
        match self.take(name) {
            Some(Some(value)) => Ok(Some(value)),
            Some(None) => Err(format!("missing a value on flag: --{name}")),
            None => Ok(None),
        }
    }

    fn values(&mut self, name: &str) -> Vec<String> {
        std::iter::from_fn(|| self.take(name)).flatten().collect()
    }

    fn switch(&mut self, name: &str) -> Result<bool, String> {
        Ok(self.choice(name)?.unwrap_or(false))
    }

    /// A switch that is not the same as its absence when it is off.
    fn choice(&mut self, name: &str) -> Result<Option<bool>, String> {
        match self.take(name) {
            None => Ok(None),
            Some(None) => Ok(Some(true)),
            Some(Some(value)) => match value.to_ascii_lowercase().as_str() {
                "true" => Ok(Some(true)),
                "false" => Ok(Some(false)),
                _ => Err(format!("expecting boolean value for flag --{name}, not: {value}")),
            },
        }
    }

    fn duration(&mut self, name: &str) -> Result<Option<Duration>, String> {
        let Some(text) = self.value(name)? else { return Ok(None) };
        let duration = duration(&text).ok_or_else(|| format!("invalid duration for --{name}: {text:?}"))?;
        if duration > Duration::ZERO && duration < Duration::from_millis(1) {
            return Err(format!("interval {name:?} cannot be less than 1ms"));
        }
        Ok(Some(duration))
    }

    fn refuse(&self, names: &[&str]) -> Result<(), String> {
        match self.0.iter().find(|(name, _)| names.contains(&name.as_str())) {
            Some((name, _)) => Err(format!("--{name} is not supported")),
            None => Ok(()),
        }
    }

    fn finish(&self) -> Result<(), String> {
        match self.0.first() {
            Some((name, _)) => Err(format!("unknown flag: --{name}")),
            None => Ok(()),
        }
    }
}

/// A Go duration: `1h30m`, `1.5s`, `200ms`.
fn duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut total = 0.0;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !(c.is_ascii_digit() || c == '.'))?;
        let number: f64 = rest[..digits].parse().ok()?;
        rest = &rest[digits..];
        let unit = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
        total += number
            * match &rest[..unit] {
                "ns" => 1e-9,
                "us" | "µs" => 1e-6,
                "ms" => 1e-3,
                "s" => 1.0,
                "m" => 60.0,
                "h" => 3600.0,
                _ => return None,
            };
        rest = &rest[unit..];
    }
    (!text.is_empty()).then_some(())?;
    Duration::try_from_secs_f64(total)
        .ok()
        .map(|d| Duration::from_nanos(((d.as_nanos() + 500) / 1000 * 1000) as u64))
}
