//! `start`, `kill`, `delete`, `pause`, `resume`.

use std::process::ExitCode;

use diag::Failure;
use runtime::container::ContainerError;

use super::Call;
use super::error::OciError;
use super::flags::Flag;

const DONE: Result<ExitCode, Failure> = Ok(ExitCode::SUCCESS);

pub fn start(call: &Call) -> Result<ExitCode, Failure> {
    call.containers().load(call.id())?.start()?;
    DONE
}

pub const KILL_FLAGS: &[Flag] = &[Flag::switch("all", "Signal every process of the container").short('a')];

pub fn kill(call: &Call) -> Result<ExitCode, Failure> {
    let signal = match call.flags.operands.get(1).map(String::as_str) {
        None => SIGTERM,
        // Only looks whether it is there.
        Some("0") => 0,
        Some(text) => engine::signal::number(text)?,
    };
    call.containers().load(call.id())?.kill(signal, call.flags.is_set("all")?)?;
    DONE
}

const SIGTERM: i32 = 15;

pub const DELETE_FLAGS: &[Flag] =
    &[Flag::switch("force", "Kill the container first if it runs; one that does not exist is no error")
        .short('f')];

pub fn delete(call: &Call) -> Result<ExitCode, Failure> {
    let force = call.flags.is_set("force")?;
    let containers = call.containers();
    let deleted = containers.load(call.id()).and_then(|container| container.delete(force));
    if force {
        containers.sweep(call.id());
    }
    match deleted {
        Err(ContainerError::NotFound { .. }) if force => DONE,
        deleted => Ok(deleted.map(|()| ExitCode::SUCCESS)?),
    }
}

pub fn pause(call: &Call) -> Result<ExitCode, Failure> {
    call.containers().load(call.id())?.pause()?;
    DONE
}

pub fn resume(call: &Call) -> Result<ExitCode, Failure> {
    call.containers().load(call.id())?.resume()?;
    DONE
}

/// `checkpoint` and `restore`.
pub fn refused(call: &Call) -> Result<ExitCode, Failure> {
    Err(OciError::Unsupported { what: call.command.name.to_owned() }.into())
}
