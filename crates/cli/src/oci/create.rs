//! `create` and `run`.

use std::path::Path;
use std::process::ExitCode;

use diag::Failure;
use runtime::container::{Bundle, ContainerError, Fresh, NewContainer};

use super::flags::Flag;
use super::process::{self, Console, Inherited, Streams};
use super::{Call, foreground};

const BUNDLE: Flag =
    Flag::value("bundle", "path", "The directory with config.json (default \".\")").short('b');
const CONSOLE_SOCKET: Flag =
    Flag::value("console-socket", "path", "The socket that gets the controlling side of the terminal");
const PID_FILE: Flag = Flag::value("pid-file", "path", "The file to write the process id to");
const NO_PIVOT: Flag = Flag::switch("no-pivot", "Enter the root without pivot_root, for a root on a ramdisk");
const NO_NEW_KEYRING: Flag = Flag::switch("no-new-keyring", "Refused: a container has a keyring of its own");
const PRESERVE_FDS: Flag =
    Flag::value("preserve-fds", "number", "How many descriptors from 3 on the container inherits");

pub const FLAGS: &[Flag] = &[BUNDLE, CONSOLE_SOCKET, PID_FILE, NO_PIVOT, NO_NEW_KEYRING, PRESERVE_FDS];

pub const RUN_FLAGS: &[Flag] = &[
    BUNDLE,
    CONSOLE_SOCKET,
    PID_FILE,
    NO_PIVOT,
    NO_NEW_KEYRING,
    PRESERVE_FDS,
    Flag::switch("detach", "Leave the container running in the background").short('d'),
    Flag::switch("keep", "Keep the state of a container that has ended"),
    Flag::switch("no-subreaper", "Accepted for callers that give it: this runtime never is a subreaper"),
];

pub fn create(call: &Call) -> Result<ExitCode, Failure> {
    let inherited = prepare(call)?;
    make(call, &inherited, true)?.0.keep();
    Ok(ExitCode::SUCCESS)
}

pub fn run(call: &Call) -> Result<ExitCode, Failure> {
    let inherited = prepare(call)?;
    let detach = call.flags.is_set("detach")?;
    let signals = if detach { None } else { Some(foreground::watch(call.id())?) };
    let (fresh, streams) = make(call, &inherited, detach)?;
    let (mut container, process) = fresh.keep();
    if let Err(error) = container.start() {
        container.delete(true)?;
        return Err(error.into());
    }
    let Some(signals) = signals else { return Ok(ExitCode::SUCCESS) };
    let ended = foreground::run(call.id(), process, streams, &signals);
    if !call.flags.is_set("keep")? {
        match container.delete(true) {
            // A hook or another command has done it.
            Err(ContainerError::NotFound { .. }) => {}
            deleted => deleted?,
        }
    }
    ended
}

/// What comes first of all: nothing of ours may have a number that the container is to inherit.
fn prepare(call: &Call) -> Result<Inherited, Failure> {
    let inherited = process::inherited(&call.flags)?;
    process::refuse_switch(&call.flags, "no-new-keyring")?;
    process::seal()?;
    Ok(inherited)
}

/// Creates the container and gives the caller what it asked for of it.
fn make(call: &Call, inherited: &Inherited, detach: bool) -> Result<(Fresh, Streams), Failure> {
    let flags = &call.flags;
    let mut bundle = Bundle::open(Path::new(flags.one("bundle").unwrap_or(".")))?;
    let mut terminal = false;
    if let Some(process) = &mut bundle.spec.process {
        let linux = bundle.spec.linux.as_ref();
        runtime::warnings(process, linux).iter().for_each(|warning| call.log.warn(warning));
        process.env.extend(inherited.variables());
        terminal = process.terminal;
    }
    let console = Console::new(flags, terminal, detach)?;
    let (stdio, streams) = process::streams(call.id(), terminal, detach)?;
    let containers = call.containers();
    containers.sweep(call.id());
    let mut fresh = containers.create(NewContainer {
        id: call.id(),
        bundle,
        manager: call.manager,
        stdio,
        preserve_fds: inherited.count,
        no_pivot: flags.is_set("no-pivot")?,
    })?;
    if let Some(console) = console {
        console.send(fresh.process_mut().take_terminal())?;
    }
    process::write_pid(flags, fresh.pid())?;
    Ok((fresh, streams))
}
