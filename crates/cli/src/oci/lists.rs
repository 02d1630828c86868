//! `state`, `list`, `ps`.

use std::process::ExitCode;

use diag::Failure;
use engine::time::rfc3339;
use oci::runtime::Status;
use runtime::container::Container;
use serde_json::{Map, Value, json};

use super::Call;
use super::error::OciError;
use super::flags::Flag;
use crate::context::{print, print_line};
use crate::output::table;

/// The state of the specification, and what runc shows beside it.
fn describe(container: &Container) -> Result<Map<String, Value>, Failure> {
    let state = container.state()?;
    let record = container.record();
    let Ok(Value::Object(mut fields)) = serde_json::to_value(&state) else { unreachable!("it is an object") };
    // Callers read a number there, whatever the status.
    fields.insert("pid".into(), state.pid.unwrap_or(0).into());
    fields.insert("rootfs".into(), record.rootfs.display().to_string().into());
    fields.insert("created".into(), rfc3339(record.created_ns).into());
    fields.insert("owner".into(), owner(record.owner).into());
    Ok(fields)
}

fn owner(uid: u32) -> String {
    let passwd = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let mut users = sys::user::passwd(&passwd);
    users.find(|user| user.uid == uid).map_or_else(|| uid.to_string(), |user| user.name.to_owned())
}

pub fn state(call: &Call) -> Result<ExitCode, Failure> {
    let fields = describe(&call.containers().load(call.id())?)?;
    print_line(serde_json::to_string_pretty(&fields).expect("it is JSON"));
    Ok(ExitCode::SUCCESS)
}

pub const LIST_FLAGS: &[Flag] = &[
    Flag::value("format", "format", "\"table\" or \"json\" (default \"table\")").short('f'),
    Flag::switch("quiet", "Print ids only").short('q'),
];

pub fn list(call: &Call) -> Result<ExitCode, Failure> {
    let containers = call.containers().list()?;
    if call.flags.is_set("quiet")? {
        containers.iter().for_each(|container| print_line(container.id()));
        return Ok(ExitCode::SUCCESS);
    }
    let all: Vec<Map<String, Value>> = containers.iter().map(describe).collect::<Result<_, _>>()?;
    match format(call)? {
        Format::Json if all.is_empty() => print_line("null"),
        Format::Json => print_line(json!(all)),
        Format::Table => {
            let heading = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"].map(str::to_owned).to_vec();
            let cell = |fields: &Map<String, Value>, name| match &fields[name] {
                Value::String(text) => text.clone(),
                other => other.to_string(),
            };
            let row = |fields: &Map<String, Value>| {
                ["id", "pid", "status", "bundle", "created", "owner"].map(|name| cell(fields, name)).to_vec()
            };
            let rows: Vec<_> = std::iter::once(heading).chain(all.iter().map(row)).collect();
            print(&table::render(&rows));
        }
    }
    Ok(ExitCode::SUCCESS)
}

enum Format {
    Table,
    Json,
}

fn format(call: &Call) -> Result<Format, OciError> {
    match call.flags.one("format") {
        None | Some("table") => Ok(Format::Table),
        Some("json") => Ok(Format::Json),
        Some(other) => Err(OciError::Value { flag: "format", value: other.to_owned() }),
    }
}

pub const PS_FLAGS: &[Flag] =
    &[Flag::value("format", "format", "\"table\" or \"json\", which has the process ids only").short('f')];

pub fn ps(call: &Call) -> Result<ExitCode, Failure> {
    let container = call.containers().load(call.id())?;
    let pids = match container.status()? {
        Status::Stopped => Vec::new(),
        _ => container.pids()?,
    };
    match format(call)? {
        Format::Json => print_line(json!(pids)),
        Format::Table => {
            let top = engine::top::processes(pids, &call.flags.operands[1..])?;
            let rows: Vec<_> = std::iter::once(top.titles).chain(top.rows).collect();
            print(&table::render(&rows));
        }
    }
    Ok(ExitCode::SUCCESS)
}
