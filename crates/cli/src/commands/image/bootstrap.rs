//! `image bootstrap`: a base image where no registry can be reached, made from Debian's packages by `mmdebstrap`.

use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, ChildStdout, Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use diag::{Class, Diagnose};
use image::ImportOptions;
use oci::Reference;

use crate::commands::{Ended, Invocation, Outcome, parse};
use crate::context::{Context, print_line};
use crate::flags::value;
use crate::interrupt;

/// Make a base image from the distribution's own packages
#[derive(clap::Parser)]
struct Args {
    /// Additional packages to install
    #[arg(long, value_name = "list", value_delimiter = ',')]
    include: Vec<String>,
    /// Package archive to use instead of the distribution's own
    #[arg(long, value_name = "url")]
    mirror: Option<String>,
    /// Suppress progress output
    #[arg(short, long)]
    quiet: bool,
    /// The image to make, such as debian:bookworm
    #[arg(value_name = "debian:SUITE")]
    reference: String,
}

/// A base image that could not be made.
#[derive(Debug, thiserror::Error)]
enum BootstrapError {
    #[error("cannot bootstrap {reference}: only Debian is known")]
    Unknown { reference: String },
    #[error("mmdebstrap is not installed")]
    NotInstalled,
    #[error("cannot run mmdebstrap")]
    Run { source: io::Error },
}

impl Diagnose for BootstrapError {
    fn class(&self) -> Class {
        match self {
            BootstrapError::Unknown { .. } => Class::Unsupported,
            BootstrapError::NotInstalled => Class::NotFound,
            BootstrapError::Run { source } => Class::of_io(source),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            BootstrapError::Unknown { .. } => {
                Some("for anything else, make a root filesystem archive and `hull import` it".into())
            }
            BootstrapError::NotInstalled => Some("apt install mmdebstrap".into()),
            BootstrapError::Run { .. } => None,
        }
    }
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    let reference = value::reference(&args.reference)?;
    let suite = suite(&reference)
        .ok_or_else(|| BootstrapError::Unknown { reference: args.reference.clone() })?
        .to_owned();
    #[expect(clippy::disallowed_methods, reason = "a distribution's own tool makes its base image best")]
    let mut command = Command::new("mmdebstrap");
    command.arg("--variant=minbase").arg("--format=tar");
    if args.quiet {
        command.arg("--quiet");
    }
    if !args.include.is_empty() {
        command.arg(format!("--include={}", args.include.join(",")));
    }
    // Package lists and archives are of no use in a layer: every build fetches newer ones.
    command.args(["--aptopt=Acquire::Languages \"none\"", "--dpkgopt=path-exclude=/usr/share/man/*"]);
    command.args([
        "--dpkgopt=path-exclude=/usr/share/doc/*",
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
    ]);
    command.arg(&suite).arg("-").args(&args.mirror);
    let engine = context.engine()?;
    let mut input = Bootstrap::start(command)?;
    let pid = input.pid();
    let interrupted = Arc::new(AtomicBool::new(false));
    let told = Arc::clone(&interrupted);
    interrupt::watch(move |_| {
        told.store(true, Ordering::SeqCst);
        // Also what it runs, so that it need not wait; it cleans up after itself, and our end of the pipe then fails.
        let _ = sys::process::kill(-pid, TERM);
    })?;
    let options = ImportOptions {
        changes: vec![r#"CMD ["bash"]"#.into()],
        message: format!("mmdebstrap --variant=minbase {suite}"),
        reference: Some(reference),
        platform: None,
    };
    let imported = engine.images().import(&mut input, &options);
    drop(input);
    if interrupted.load(Ordering::SeqCst) && imported.is_err() {
        return Err(Ended::Reported(interrupt::EXIT_INTERRUPTED));
    }
    print_line(imported?.id);
    Ok(ExitCode::SUCCESS)
}

const TERM: i32 = 15;

/// The suite an official tag stands for: `bookworm`, `12`, `bookworm-slim`, `stable`.
fn suite(reference: &Reference) -> Option<&str> {
    if !reference.repository().ends_with("/debian") && reference.repository() != "debian" {
        return None;
    }
    let tag = reference.tag()?;
    let tag = tag.strip_suffix("-slim").unwrap_or(tag);
    Some(match tag.split('.').next()? {
        "latest" => "stable",
        "11" => "bullseye",
        "12" => "bookworm",
        "13" => "trixie",
        "14" => "forky",
        _ => tag,
    })
}

/// The archive mmdebstrap writes; it ends well only if mmdebstrap does.
struct Bootstrap {
    child: Child,
    output: ChildStdout,
    ended: Option<std::process::ExitStatus>,
}

impl Bootstrap {
    fn start(mut command: Command) -> Result<Self, BootstrapError> {
        let mut child =
            command.stdin(Stdio::null()).stdout(Stdio::piped()).process_group(0).spawn().map_err(
                |source| match source.kind() {
                    io::ErrorKind::NotFound => BootstrapError::NotInstalled,
                    _ => BootstrapError::Run { source },
                },
            )?;
        let output = child.stdout.take().expect("it was asked for");
        Ok(Self { child, output, ended: None })
    }

    fn pid(&self) -> i32 {
        self.child.id().cast_signed()
    }
}

impl Read for Bootstrap {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.output.read(buffer)?;
        if read == 0 && self.ended.is_none() {
            self.ended = Some(self.child.wait()?);
        }
        match self.ended {
            Some(status) if read == 0 && !status.success() => {
                Err(io::Error::other(format!("mmdebstrap failed: {status}")))
            }
            _ => Ok(read),
        }
    }
}

impl Drop for Bootstrap {
    fn drop(&mut self) {
        if self.ended.is_none() {
            // Nobody reads what it writes any more.
            let _ = sys::process::kill(-self.pid(), TERM);
            let _ = self.child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_name_suites() {
        for (reference, expected) in [
            ("debian:bookworm", Some("bookworm")),
            ("debian:12.5-slim", Some("bookworm")),
            ("debian", Some("stable")),
            ("docker.io/library/debian:sid", Some("sid")),
            ("ubuntu:24.04", None),
        ] {
            let reference: Reference = reference.parse().expect("it is well-formed");
            assert_eq!(suite(&reference), expected, "{reference:?}");
        }
    }
}
