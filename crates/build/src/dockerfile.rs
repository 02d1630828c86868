//! The Dockerfile language: text to stages of typed instructions.
//!
//! Parsing resolves directives, continuations, heredocs, flags and the two argument forms. Variables stay in the words: what
//! they mean depends on the stage, so [`expand`] resolves them when the stage runs. Reference:
//! <https://docs.docker.com/reference/dockerfile/>; where that is vague, BuildKit's parser decides.

pub mod expand;
pub mod heredoc;
mod instruction;
mod lines;
mod mount;
mod pattern;
mod words;

use std::fmt;
use std::time::Duration;

pub use heredoc::Heredoc;
pub use mount::{Mount, MountKind, Sharing};

/// The lines an instruction takes, from 1, inclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub line: usize,
    pub end_line: usize,
}

impl Span {
    pub(crate) fn line(line: usize) -> Self {
        Self { line, end_line: line }
    }
}

/// A Dockerfile that does not follow the grammar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    pub span: Span,
    /// The instruction's name in capitals, when one was recognised.
    pub instruction: Option<String>,
    pub message: String,
}

impl ParseError {
    pub(crate) fn at(span: Span, message: impl Into<String>) -> Self {
        Self { span, instruction: None, message: message.into() }
    }

    /// `3` or `3-5`.
    pub fn lines(&self) -> String {
        match self.span {
            Span { line, end_line } if end_line > line => format!("{line}-{end_line}"),
            Span { line, .. } => line.to_string(),
        }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Many of Docker's texts begin with the instruction themselves.
        if let Some(instruction) = &self.instruction
            && !self.message.starts_with(instruction.as_str())
        {
            write!(f, "{instruction}: ")?;
        }
        f.write_str(&self.message)
    }
}

impl std::error::Error for ParseError {}

/// A parsed Dockerfile.
#[derive(Clone, Debug)]
pub struct Dockerfile {
    /// The `escape` directive's character, a backslash by default.
    pub escape: char,
    /// The `syntax` directive.
    pub syntax: Option<String>,
    /// ARG instructions before the first FROM: seen by FROM lines, and by stages that repeat the name.
    pub global_args: Vec<Step>,
    /// At least one.
    pub stages: Vec<Stage>,
}

/// One FROM and what follows it.
#[derive(Clone, Debug)]
pub struct Stage {
    pub from: From,
    pub span: Span,
    /// The FROM line as written.
    pub text: String,
    pub steps: Vec<Step>,
}

/// `FROM [--platform=p] image [AS name]`; the words are not expanded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct From {
    pub image: String,
    pub platform: Option<String>,
    /// In lower case.
    pub name: Option<String>,
}

/// One instruction and where it stands.
#[derive(Clone, Debug)]
pub struct Step {
    pub span: Span,
    /// The instruction as written, on one line, without credentials in addresses that ADD fetches.
    pub text: String,
    pub instruction: Instruction,
}

/// What one line asks for; words are not expanded unless the instruction never expands them.
#[derive(Clone, Debug, PartialEq)]
pub enum Instruction {
    Add(Copy),
    Arg(Vec<(String, Option<String>)>),
    Cmd(Command),
    Copy(Copy),
    Entrypoint(Command),
    Env(Vec<(String, String)>),
    Expose(String),
    Healthcheck(Healthcheck),
    Label(Vec<(String, String)>),
    Maintainer(String),
    /// The trigger as written, with the bodies of its heredocs.
    Onbuild(String),
    Run(Run),
    Shell(Vec<String>),
    StopSignal(String),
    User(String),
    Volume(Vec<String>),
    Workdir(String),
}

/// The shell form or the exec form of a command.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command {
    Shell(String),
    Exec(Vec<String>),
}

/// RUN.
#[derive(Clone, Debug, PartialEq)]
pub struct Run {
    pub command: Command,
    pub heredocs: Vec<Heredoc>,
    pub mounts: Vec<Mount>,
    pub network: Option<crate::RunNetwork>,
}

/// COPY or ADD.
#[derive(Clone, Debug, PartialEq)]
pub struct Copy {
    /// At least one, unless there are heredocs.
    pub sources: Vec<String>,
    /// Files given in place; their names are among neither the sources nor the destination.
    pub heredocs: Vec<Heredoc>,
    pub destination: String,
    /// `--from`: a stage's name or index, or an image; never expanded.
    pub from: Option<String>,
    pub chown: Option<String>,
    pub chmod: Option<String>,
    /// `--link`: the caller does not mind a layer that depends on nothing below. Ours does, so that directories it shares
    /// with lower layers keep their attributes; the files are the same.
    pub link: bool,
    /// `--parents`: the sources' directories are kept below the destination.
    pub parents: bool,
    /// ADD's `--unpack`: whether archives are unpacked; when `None`, those that are no files of the web.
    pub unpack: Option<bool>,
    /// ADD's `--checksum`.
    pub checksum: Option<String>,
    /// `--exclude` patterns.
    pub exclude: Vec<String>,
}

/// HEALTHCHECK.
#[derive(Clone, Debug, PartialEq)]
pub enum Healthcheck {
    None,
    Command { command: Command, options: HealthOptions },
}

/// HEALTHCHECK's flags; `None` inherits the default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthOptions {
    pub interval: Option<Duration>,
    pub timeout: Option<Duration>,
    pub start_period: Option<Duration>,
    pub start_interval: Option<Duration>,
    pub retries: Option<u32>,
}

impl Instruction {
    /// Whether it may change files; the others change only the configuration.
    pub fn makes_layer(&self) -> bool {
        matches!(self, Self::Add(_) | Self::Copy(_) | Self::Run(_) | Self::Workdir(_))
    }

    /// The instruction's name in capitals.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Add(_) => "ADD",
            Self::Arg(_) => "ARG",
            Self::Cmd(_) => "CMD",
            Self::Copy(_) => "COPY",
            Self::Entrypoint(_) => "ENTRYPOINT",
            Self::Env(_) => "ENV",
            Self::Expose(_) => "EXPOSE",
            Self::Healthcheck(_) => "HEALTHCHECK",
            Self::Label(_) => "LABEL",
            Self::Maintainer(_) => "MAINTAINER",
            Self::Onbuild(_) => "ONBUILD",
            Self::Run(_) => "RUN",
            Self::Shell(_) => "SHELL",
            Self::StopSignal(_) => "STOPSIGNAL",
            Self::User(_) => "USER",
            Self::Volume(_) => "VOLUME",
            Self::Workdir(_) => "WORKDIR",
        }
    }
}

/// Whether a `syntax` directive means this language, of whatever version, and not another frontend's.
pub fn is_own_syntax(syntax: &str) -> bool {
    let image = syntax.split_whitespace().next().unwrap_or_default();
    let name = image.split(['@', ':']).next().unwrap_or_default();
    let name = name.strip_prefix("docker.io/").unwrap_or(name);
    matches!(name, "docker/dockerfile" | "docker/dockerfile-upstream")
}

/// Parses a whole Dockerfile.
///
/// # Errors
/// The first line that does not follow the grammar, uses a flag hull does not honour, or stands where it may not.
pub fn parse(text: &str) -> Result<Dockerfile, ParseError> {
    let (directives, lines) = lines::split(text)?;
    let mut file = Dockerfile {
        escape: directives.escape,
        syntax: directives.syntax,
        global_args: Vec::new(),
        stages: Vec::new(),
    };
    for line in lines {
        match instruction::parse(&line, directives.escape)? {
            instruction::Parsed::From(from) => file.stages.push(Stage {
                from,
                span: line.span,
                text: line.text.trim().to_owned(),
                steps: Vec::new(),
            }),
            instruction::Parsed::Step(step) => match file.stages.last_mut() {
                Some(stage) => stage.steps.push(step),
                None if matches!(step.instruction, Instruction::Arg(_)) => file.global_args.push(step),
                None => {
                    return Err(ParseError {
                        span: step.span,
                        instruction: Some(step.instruction.name().to_owned()),
                        message: "no build stage in current context: a FROM must come first".to_owned(),
                    });
                }
            },
        }
    }
    if file.stages.is_empty() {
        let last = Span::line(text.lines().count().max(1));
        return Err(ParseError::at(last, "file with no instructions: at least one FROM is needed"));
    }
    Ok(file)
}

/// Parses one ONBUILD trigger of a base image.
///
/// # Errors
/// As [`parse`]; lines are those of the trigger.
pub fn parse_trigger(text: &str, escape: char) -> Result<Step, ParseError> {
    let (_, lines) = lines::split(text)?;
    match lines.as_slice() {
        [line] => match instruction::parse(line, escape)? {
            instruction::Parsed::Step(step) => Ok(step),
            instruction::Parsed::From(_) => {
                Err(ParseError::at(line.span, "FROM isn't allowed as an ONBUILD trigger"))
            }
        },
        _ => Err(ParseError::at(Span::line(1), "an ONBUILD trigger is one instruction")),
    }
}

#[cfg(test)]
mod tests;
