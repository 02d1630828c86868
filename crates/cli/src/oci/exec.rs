//! `exec`: one more process in a container.

use std::process::ExitCode;

use diag::Failure;
use oci::runtime::{Process, Spec};
use runtime::container::NewProcess;

use super::error::OciError;
use super::flags::{Flag, Parsed};
use super::process::{self, Console};
use super::{Call, foreground};

pub const FLAGS: &[Flag] = &[
    Flag::value("process", "path", "The file that describes the process, instead of flags and words")
        .short('p'),
    Flag::switch("detach", "Leave the process running in the background").short('d'),
    Flag::value("pid-file", "path", "The file to write the process id to"),
    Flag::value("console-socket", "path", "The socket that gets the controlling side of the terminal"),
    Flag::switch("tty", "Give the process a terminal").short('t'),
    Flag::value("user", "uid[:gid]", "Who the process runs as").short('u'),
    Flag::value("additional-gids", "gid", "One more group of the process; may be repeated").short('g'),
    Flag::value("cwd", "path", "The working directory"),
    Flag::value("env", "name=value", "One more environment variable; may be repeated").short('e'),
    Flag::value("cap", "name", "One more capability; may be repeated").short('c'),
    Flag::switch("no-new-privs", "Keep the process from gaining privileges"),
    Flag::value("apparmor", "name", "The AppArmor profile"),
    Flag::value("process-label", "label", "The SELinux label").short('l'),
    Flag::value("preserve-fds", "number", "How many descriptors from 3 on the process inherits"),
    Flag::switch("ignore-paused", "Start it even if the container is paused"),
    Flag::value("cgroup", "path", "Refused: the process joins the control group of the container"),
];

pub fn run(call: &Call) -> Result<ExitCode, Failure> {
    let flags = &call.flags;
    // First of all: nothing of ours may have a number that the process is to inherit.
    let inherited = process::inherited(flags)?;
    process::seal()?;
    if flags.one("cgroup").is_some() {
        return Err(OciError::Unsupported { what: "--cgroup".to_owned() }.into());
    }
    let container = call.containers().load(call.id())?;
    let config = container.config()?;
    let mut wanted = match flags.one("process") {
        Some(path) => read(path)?,
        None => from_flags(flags, &config)?,
    };
    wanted.env.extend(inherited.variables());
    runtime::warnings(&wanted, config.linux.as_ref()).iter().for_each(|warning| call.log.warn(warning));
    let detach = flags.is_set("detach")?;
    let console = Console::new(flags, wanted.terminal, detach)?;
    let signals = if detach { None } else { Some(foreground::watch(call.id())?) };
    let (stdio, streams) = process::streams(call.id(), wanted.terminal, detach)?;
    let new = NewProcess {
        process: &wanted,
        stdio,
        preserve_fds: inherited.count,
        ignore_paused: flags.is_set("ignore-paused")?,
    };
    let mut started = container.exec(&config, new)?;
    let given = match console {
        Some(console) => console.send(started.take_terminal()),
        None => Ok(()),
    };
    if let Err(error) = given.and_then(|()| process::write_pid(flags, started.pid())) {
        // Nobody would know of it.
        let _ = started.kill(SIGKILL);
        return Err(error.into());
    }
    match signals {
        None => Ok(ExitCode::SUCCESS),
        Some(signals) => foreground::run(call.id(), started, streams, &signals),
    }
}

const SIGKILL: i32 = 9;

fn read(path: &str) -> Result<Process, OciError> {
    let json = std::fs::read(path).map_err(|source| OciError::Read { path: path.into(), source })?;
    serde_json::from_slice(&json).map_err(|source| OciError::Json { path: path.into(), source })
}

/// The container's own process, changed as the flags say.
fn from_flags(flags: &Parsed, config: &Spec) -> Result<Process, OciError> {
    let mut process = config.process.clone().unwrap_or_default();
    process.args = flags.operands[1..].to_vec();
    if process.args.is_empty() {
        return Err(OciError::NoCommand);
    }
    process.terminal = flags.is_set("tty")?;
    process.env.extend(flags.all("env").map(str::to_owned));
    if let Some(cwd) = flags.one("cwd") {
        process.cwd = cwd.into();
    }
    if let Some(user) = flags.one("user") {
        let invalid = || OciError::Value { flag: "user", value: user.to_owned() };
        let (uid, gid) = user.split_once(':').map_or((user, None), |(uid, gid)| (uid, Some(gid)));
        process.user.uid = uid.parse().map_err(|_| invalid())?;
        if let Some(gid) = gid {
            process.user.gid = gid.parse().map_err(|_| invalid())?;
        }
    }
    for gid in flags.all("additional-gids") {
        let gid =
            gid.parse().map_err(|_| OciError::Value { flag: "additional-gids", value: gid.to_owned() })?;
        process.user.additional_gids.push(gid);
    }
    for capability in flags.all("cap") {
        let sets = process.capabilities.get_or_insert_default();
        // CVE-2022-24769: never inheritable.
        for set in [&mut sets.bounding, &mut sets.effective, &mut sets.permitted] {
            set.push(capability.to_owned());
        }
    }
    process.no_new_privileges |= flags.is_set("no-new-privs")?;
    if let Some(profile) = flags.one("apparmor") {
        process.apparmor_profile = Some(profile.to_owned());
    }
    if let Some(label) = flags.one("process-label") {
        process.selinux_label = Some(label.to_owned());
    }
    Ok(process)
}
