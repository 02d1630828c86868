//! Scopes of systemd: control groups that it makes, and knows about.
//!
//! systemd owns the groups it has made, down to those it delegates. So a container that is to live below one of its slices gets a
//! scope, with everything delegated: hull sets the limits in the group itself, and tells systemd those it knows, because it
//! writes its own idea of them again when its units are reloaded.

mod dbus;
mod properties;

use std::path::PathBuf;

use oci::runtime::LinuxResources;
use sys::process::{Clone, Cloned};

use crate::{CgroupError, Version};

use dbus::{Body, CallError, Connection, Message, Method};
pub use properties::{Value, of_annotations as properties_of};

/// A scope by its unit's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scope {
    pub slice: String,
    pub unit: String,
}

const MANAGER: &str = "org.freedesktop.systemd1.Manager";

impl Scope {
    /// Reads `slice:prefix:name`, as `linux.cgroupsPath` has it; an empty slice is systemd's own for services.
    pub fn parse(text: &str) -> Result<Self, CgroupError> {
        let invalid = || CgroupError::Invalid { what: "linux.cgroupsPath", value: text.to_owned() };
        let mut parts = text.split(':');
        let (Some(slice), Some(prefix), Some(name), None) =
            (parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(invalid());
        };
        let default = if sys::user::effective_uid() == 0 { "system.slice" } else { "user.slice" };
        let slice = if slice.is_empty() { default } else { slice };
        let unit = match prefix {
            "" => format!("{name}.scope"),
            prefix => format!("{prefix}-{name}.scope"),
        };
        let plain = |text: &str| {
            text.len() < 256 && text.chars().all(|c| c.is_ascii_alphanumeric() || ":-_.\\@".contains(c))
        };
        if name.is_empty() || !plain(&unit) || !plain(slice) || !slice.ends_with(".slice") {
            return Err(invalid());
        }
        Ok(Self { slice: slice.to_owned(), unit })
    }

    /// Starts the scope with `member` in it; returns the path of its group below the hierarchies' roots.
    pub fn start(
        &self,
        version: Version,
        resources: &LinuxResources,
        extra: &[(String, Value)],
        member: i32,
    ) -> Result<PathBuf, CgroupError> {
        let mut bus = self.connect()?;
        let mut all = properties::of_scope(&self.slice, &self.unit, member);
        all.extend(properties::of_resources(version, resources)?);
        all.extend_from_slice(extra);
        let mut body = Body::default();
        body.string(&self.unit);
        body.string("fail");
        body.properties(&all);
        body.no_units();
        let job = self.call(&mut bus, "StartTransientUnit", "ssa(sv)a(sa(sv))", body)?;
        self.wait_for(&mut bus, &job)?;
        self.group(&mut bus).map(PathBuf::from).inspect_err(|_| {
            let _ = self.stop();
        })
    }

    /// Tells systemd of changed limits.
    pub fn update(&self, version: Version, resources: &LinuxResources) -> Result<(), CgroupError> {
        let all = properties::of_resources(version, resources)?;
        if all.is_empty() {
            return Ok(());
        }
        let mut body = Body::default();
        body.string(&self.unit);
        body.bool(true);
        body.properties(&all);
        self.call(&mut self.connect()?, "SetUnitProperties", "sba(sv)", body).map(drop)
    }

    /// Stops the scope and lets systemd forget it, whatever became of it. One that is not there is fine.
    pub fn stop(&self) -> Result<(), CgroupError> {
        let mut bus = self.connect()?;
        let mut body = Body::default();
        body.string(&self.unit);
        body.string("replace");
        match self.try_call(&mut bus, "StopUnit", "ss", body) {
            Ok(job) => self.wait_for(&mut bus, &job)?,
            Err(CallError::Refused { name, .. }) if name == NO_SUCH_UNIT => return Ok(()),
            Err(error) => return Err(self.failed("StopUnit", error)),
        }
        let mut body = Body::default();
        body.string(&self.unit);
        match self.try_call(&mut bus, "ResetFailedUnit", "s", body) {
            // A scope that ended well is gone by then.
            Ok(_) | Err(CallError::Refused { .. }) => Ok(()),
            Err(error) => Err(self.failed("ResetFailedUnit", error)),
        }
    }

    /// Moves the process `pid` to the group `inner` of the scope, which exists.
    ///
    /// systemd can do so where the caller may not: into a session's processes reach only root's rights.
    pub(crate) fn attach(&self, inner: &str, pid: i32) -> Result<(), CgroupError> {
        let mut body = Body::default();
        body.string(&self.unit);
        body.string(&format!("/{inner}"));
        body.numbers(&[pid.cast_unsigned()]);
        self.call(&mut self.connect()?, "AttachProcessesToUnit", "ssau", body).map(drop)
    }

    /// The path of its group below the hierarchies' roots.
    pub(crate) fn path(&self) -> Result<PathBuf, CgroupError> {
        self.group(&mut self.connect()?).map(PathBuf::from)
    }

    fn connect(&self) -> Result<Connection, CgroupError> {
        let socket = match sys::user::effective_uid() {
            0 => PathBuf::from("/run/systemd/private"),
            _ => {
                PathBuf::from(std::env::var_os("XDG_RUNTIME_DIR").unwrap_or_default()).join("systemd/private")
            }
        };
        Connection::open(&socket).map_err(|source| CgroupError::NoSystemd {
            unit: self.unit.clone(),
            socket,
            source,
        })
    }

    fn try_call(
        &self,
        bus: &mut Connection,
        member: &str,
        signature: &str,
        body: Body,
    ) -> Result<Message, CallError> {
        bus.call(Method { object: "/org/freedesktop/systemd1", interface: MANAGER, member, signature }, body)
    }

    fn call(
        &self,
        bus: &mut Connection,
        member: &'static str,
        signature: &str,
        body: Body,
    ) -> Result<Message, CgroupError> {
        self.try_call(bus, member, signature, body).map_err(|error| self.failed(member, error))
    }

    fn failed(&self, member: &'static str, error: CallError) -> CgroupError {
        let why = match error {
            CallError::Io(error) => error.to_string(),
            CallError::Refused { text, name } if text.is_empty() => name,
            CallError::Refused { text, .. } => text,
        };
        CgroupError::Systemd { call: member, unit: self.unit.clone(), why }
    }

    /// Waits for the end of the job that `answer` names.
    fn wait_for(&self, bus: &mut Connection, answer: &Message) -> Result<(), CgroupError> {
        let wait = || -> Result<String, CallError> {
            let job = answer.reader().string()?;
            loop {
                let signal = bus.signal()?;
                if signal.member != "JobRemoved" {
                    continue;
                }
                let mut reader = signal.reader();
                reader.u32()?;
                let (ended, _unit, result) = (reader.string()?, reader.string()?, reader.string()?);
                if ended == job {
                    return Ok(result);
                }
            }
        };
        match { wait }() {
            Ok(result) if result == "done" => Ok(()),
            Ok(why) => Err(CgroupError::Systemd { call: "job", unit: self.unit.clone(), why }),
            Err(error) => Err(self.failed("JobRemoved", error)),
        }
    }

    /// The group that systemd has made.
    fn group(&self, bus: &mut Connection) -> Result<String, CgroupError> {
        let mut get = || -> Result<String, CallError> {
            let mut body = Body::default();
            body.string(&self.unit);
            let object = self.try_call(bus, "GetUnit", "s", body)?.reader().string()?;
            let mut body = Body::default();
            body.string("org.freedesktop.systemd1.Scope");
            body.string("ControlGroup");
            let interface = "org.freedesktop.DBus.Properties";
            let get = Method { object: &object, interface, member: "Get", signature: "ss" };
            Ok(bus.call(get, body)?.reader().variant_string()?)
        };
        get().map_err(|error| self.failed("ControlGroup", error))
    }
}

const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";

/// A process that does nothing but be in a new scope, which systemd wants to have a member from the start.
#[derive(Debug)]
pub struct Placeholder {
    pidfd: std::os::fd::OwnedFd,
    pub pid: i32,
}

impl Placeholder {
    /// Forks it off the caller, which has one thread.
    pub fn new() -> std::io::Result<Self> {
        match sys::process::clone(Clone::default())? {
            Cloned::Child => {
                let _ = sys::process::die_with_parent();
                let _ = sys::process::close_from(0);
                loop {
                    std::thread::park();
                }
            }
            Cloned::Parent { pid, pidfd } => Ok(Self { pidfd, pid }),
        }
    }
}

impl Drop for Placeholder {
    fn drop(&mut self) {
        use std::os::fd::AsFd;
        const SIGKILL: i32 = 9;
        let _ = sys::process::send_signal(self.pidfd.as_fd(), SIGKILL);
        let _ = sys::process::wait(self.pidfd.as_fd());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Option<(&str, &str)>) {
        let scope = Scope::parse(text).ok();
        let found = scope.as_ref().map(|scope| (scope.slice.as_str(), scope.unit.as_str()));
        assert_eq!(found, expected, "{text}");
    }

    #[test]
    fn units_are_named_as_runc_names_them() {
        check("machine.slice:libpod:0a1b", Some(("machine.slice", "libpod-0a1b.scope")));
        check("a-b.slice::name", Some(("a-b.slice", "name.scope")));
        for text in [
            "",
            "/docker/id",
            "a.slice:b",
            "a:b:c",
            "a.slice:b:",
            "a.slice:b:c:d",
            "a.slice:b:c/d",
            "../a.slice:b:c",
        ] {
            check(text, None);
        }
    }
}
