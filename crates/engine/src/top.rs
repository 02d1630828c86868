//! The processes of a container, as `ps` lists them.

mod columns;

use crate::engine::Engine;
use crate::lookup::LookupError;
use crate::model::{ContainerId, Top};
use cgroup::CgroupError;
use columns::{Column, Field, columns};
use diag::{Class, Diagnose};
use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::MetadataExt;

/// Why the processes could not be listed.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum TopError {
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error("container {id} is not running")]
    NotRunning { id: ContainerId },
    #[error("cannot read the control group of container {name}")]
    Cgroup { name: String, source: CgroupError },
    #[error("ps option {option:?} is not supported")]
    Option { option: String },
    #[error("unknown ps column {column:?}")]
    Column { column: String },
}

impl Diagnose for TopError {
    fn class(&self) -> Class {
        match self {
            Self::Lookup(error) => error.class(),
            Self::NotRunning { .. } => Class::Conflict,
            Self::Cgroup { source, .. } => source.class(),
            Self::Option { .. } => Class::Unsupported,
            Self::Column { .. } => Class::Invalid,
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Option { .. } => Some("use -ef, aux, or -o with a list of columns".into()),
            Self::Column { .. } => Some(format!("columns are {}", columns::names())),
            _ => None,
        }
    }
}

impl Engine {
    /// Lists the processes of a running container with the host's numbers; `options` are those of `ps`.
    ///
    /// # Errors
    /// [`TopError`].
    pub fn top(&self, name: &str, options: &[String]) -> Result<Top, TopError> {
        let columns = columns(options)?;
        let container = self.find(name)?;
        let state = self.observe(&container)?.state;
        if !state.status.is_active() {
            return Err(TopError::NotRunning { id: container.id });
        }
        let error = |source| TopError::Cgroup { name: container.name.clone(), source };
        let pids = match self.cgroup(&container) {
            Ok(group) if group.is_withheld() => pids_beside(state.pid),
            group => group.and_then(|group| group.pids()).map_err(error)?,
        };
        Ok(table(&columns, pids, state.first_id.unwrap_or(0)))
    }
}

/// Lists the processes `pids` as `ps` with `options` does.
///
/// # Errors
/// Options that are not supported.
pub fn processes(pids: Vec<i32>, options: &[String]) -> Result<Top, TopError> {
    Ok(table(&columns(options)?, pids, 0))
}

/// The user is shown as the container knows it, whose root is `first_id` on the host.
fn table(columns: &[Column], mut pids: Vec<i32>, first_id: u32) -> Top {
    pids.sort_unstable();
    let host = Host::read();
    // A process that ended since the group was read has no row.
    let mut processes: Vec<Process> = pids.into_iter().filter_map(Process::read).collect();
    for process in &mut processes {
        process.uid = process.uid.checked_sub(first_id).unwrap_or(process.uid);
    }
    let row = |process: &Process| columns.iter().map(|(field, _)| process.cell(*field, &host)).collect();
    Top {
        titles: columns.iter().map(|(_, heading)| heading.clone()).collect(),
        rows: processes.iter().map(row).collect(),
    }
}

/// The processes in the pid namespace of `pid`, where no control group tells whose they are; `pid` alone when that namespace is
/// not the container's own.
fn pids_beside(pid: i32) -> Vec<i32> {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let theirs = namespace(&pid.to_string());
    if theirs.is_none() || theirs == namespace("self") {
        return vec![pid];
    }
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
    names.filter(|name| namespace(name) == theirs).filter_map(|name| name.parse().ok()).collect()
}

/// What turns a process's numbers into words.
struct Host {
    users: HashMap<u32, String>,
    boot_s: i64,
    now_s: i64,
    memory_kib: u64,
}

/// USER_HZ, which has been 100 on this architecture since it exists.
const TICKS_PER_SECOND: u64 = 100;

impl Host {
    fn read() -> Self {
        let passwd = fs::read_to_string("/etc/passwd").unwrap_or_default();
        let user = |line: &str| {
            let mut fields = line.split(':');
            let name = fields.next()?.to_owned();
            Some((fields.nth(1)?.parse().ok()?, name))
        };
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        let boot = stat.lines().find_map(|line| line.strip_prefix("btime ")?.trim().parse().ok());
        let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
        let total = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
        let total = total.and_then(|total| total.trim().trim_end_matches(" kB").parse().ok());
        Self {
            memory_kib: total.unwrap_or(0),
            users: passwd.lines().filter_map(user).collect(),
            boot_s: boot.unwrap_or(0),
            now_s: crate::time::now_ns() / 1_000_000_000,
        }
    }
}

/// One process, from /proc.
struct Process {
    pid: i32,
    uid: u32,
    comm: String,
    args: String,
    /// The fields of /proc/PID/stat from the third (state) on.
    stat: Vec<String>,
}

impl Process {
    fn read(pid: i32) -> Option<Self> {
        let path = format!("/proc/{pid}");
        let stat = fs::read_to_string(format!("{path}/stat")).ok()?;
        // The name is in parentheses and may contain any of them.
        let (open, close) = (stat.find('(')?, stat.rfind(')')?);
        let comm = stat[open + 1..close].to_owned();
        let args = fs::read(format!("{path}/cmdline")).ok()?;
        let args = String::from_utf8_lossy(&args).replace('\0', " ").trim_end().to_owned();
        Some(Self {
            pid,
            uid: fs::metadata(&path).ok()?.uid(),
            args: if args.is_empty() { format!("[{comm}]") } else { args },
            comm,
            stat: stat[close + 1..].split_whitespace().map(str::to_owned).collect(),
        })
    }

    /// Field `number` of /proc/PID/stat as proc(5) counts them.
    fn field(&self, number: usize) -> u64 {
        self.stat.get(number - 3).and_then(|word| word.parse().ok()).unwrap_or(0)
    }

    fn cell(&self, field: Field, host: &Host) -> String {
        let used_s = (self.field(14) + self.field(15)) / TICKS_PER_SECOND;
        let started_s = host.boot_s + (self.field(22) / TICKS_PER_SECOND).cast_signed();
        let lived_s = u64::try_from(host.now_s - started_s).unwrap_or(0);
        let rss_kib = self.field(24) * 4;
        // In tenths of a percent.
        let decimal = |tenths: u64| format!("{}.{}", tenths / 10, tenths % 10);
        match field {
            Field::User => host.users.get(&self.uid).cloned().unwrap_or_else(|| self.uid.to_string()),
            Field::Uid => self.uid.to_string(),
            Field::Pid => self.pid.to_string(),
            Field::Ppid => self.field(4).to_string(),
            Field::Pgid => self.field(5).to_string(),
            Field::Sid => self.field(6).to_string(),
            Field::C => (used_s * 100 / lived_s.max(1)).min(99).to_string(),
            Field::Cpu => decimal((used_s * 1000 / lived_s.max(1)).min(999)),
            Field::Memory => decimal((rss_kib * 1000 / host.memory_kib.max(1)).min(999)),
            Field::Vsz => (self.field(23) / 1024).to_string(),
            Field::Rss => rss_kib.to_string(),
            Field::Tty => match self.field(7) {
                0 => "?".into(),
                // Pseudo-terminals have majors 136 to 143.
                device => {
                    let (_, minor) = sys::fs::device_numbers(device);
                    format!("pts/{minor}")
                }
            },
            Field::State => self.state().to_owned(),
            Field::Stat => self.stat(),
            Field::Nice => self.nice().to_string(),
            Field::Threads => self.field(20).to_string(),
            Field::Start => started(started_s, host.now_s),
            Field::Elapsed => elapsed(lived_s),
            Field::ElapsedSeconds => lived_s.to_string(),
            Field::Time => format!("{:02}:{:02}:{:02}", used_s / 3600, used_s / 60 % 60, used_s % 60),
            Field::BsdTime => format!("{}:{:02}", used_s / 60, used_s % 60),
            Field::Comm => self.comm.clone(),
            Field::Args => self.args.clone(),
        }
    }

    fn state(&self) -> &str {
        self.stat.first().map_or("?", String::as_str)
    }

    fn nice(&self) -> i64 {
        self.stat.get(19 - 3).and_then(|word| word.parse().ok()).unwrap_or(0)
    }

    /// The state with what `ps` says of priority, session, threads and foreground.
    fn stat(&self) -> String {
        let marks = [
            (self.nice() < 0, '<'),
            (self.nice() > 0, 'N'),
            (self.field(6) == u64::from(self.pid.unsigned_abs()), 's'),
            (self.field(20) > 1, 'l'),
            (self.field(8) == self.field(5), '+'),
        ];
        let marks = marks.iter().filter(|(has, _)| *has).map(|(_, mark)| *mark);
        self.state().chars().chain(marks).collect()
    }
}

/// When a process started: the time of day, `Nov26`, or the year.
fn started(started_s: i64, now_s: i64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let text = |at_s: i64| crate::time::rfc3339(at_s * 1_000_000_000);
    let (then, now) = (text(started_s), text(now_s));
    if then[..10] == now[..10] {
        return then[11..16].to_owned();
    }
    if then[..4] != now[..4] {
        return then[..4].to_owned();
    }
    let month = then[5..7].parse::<usize>().ok().and_then(|month| MONTHS.get(month - 1));
    format!("{}{}", month.unwrap_or(&"?"), &then[8..10])
}

/// `[[days-]hours:]minutes:seconds`.
fn elapsed(seconds: u64) -> String {
    let (days, hours, rest) =
        (seconds / 86_400, seconds / 3600 % 24, format!("{:02}:{:02}", seconds / 60 % 60, seconds % 60));
    match (days, hours) {
        (0, 0) => rest,
        (0, hours) => format!("{hours:02}:{rest}"),
        (days, hours) => format!("{days}-{hours:02}:{rest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_those_of_ps() {
        let noon = crate::time::parse_rfc3339("2026-11-27T12:00:00Z").unwrap() / 1_000_000_000;
        assert_eq!(started(noon - 3600, noon), "11:00");
        assert_eq!(started(noon - 86_400, noon), "Nov26");
        assert_eq!(started(noon - 400 * 86_400, noon), "2025");
        assert_eq!([elapsed(61), elapsed(3_661), elapsed(90_061)], ["01:01", "01:01:01", "1-01:01:01"]);
    }

    #[test]
    fn this_process_has_a_row() {
        let process = Process::read(std::process::id().cast_signed()).unwrap();
        assert!(process.field(4) > 0 && !process.args.is_empty());
        assert!(process.stat().starts_with(process.state()) && process.state() != "?");
    }
}
