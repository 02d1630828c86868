//! The processes of a container, as `ps` lists them.

use crate::engine::Engine;
use crate::lookup::LookupError;
use crate::model::{ContainerId, Top};
use cgroup::CgroupError;
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
            Self::Column { .. } => Some(format!("columns are {}", COLUMNS.map(|(name, _)| name).join(", "))),
            _ => None,
        }
    }
}

/// Columns by the name `-o` knows, with their headings.
const COLUMNS: [(&str, &str); 13] = [
    ("user", "USER"),
    ("uid", "UID"),
    ("pid", "PID"),
    ("ppid", "PPID"),
    ("c", "C"),
    ("stime", "STIME"),
    ("tty", "TTY"),
    ("time", "TIME"),
    ("stat", "STAT"),
    ("vsz", "VSZ"),
    ("rss", "RSS"),
    ("comm", "COMMAND"),
    ("args", "CMD"),
];

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
fn table(columns: &[&str], mut pids: Vec<i32>, first_id: u32) -> Top {
    pids.sort_unstable();
    let host = Host::read();
    // A process that ended since the group was read has no row.
    let mut processes: Vec<Process> = pids.into_iter().filter_map(Process::read).collect();
    for process in &mut processes {
        process.uid = process.uid.checked_sub(first_id).unwrap_or(process.uid);
    }
    let rows = processes
        .iter()
        .map(|process| columns.iter().map(|column| process.cell(column, &host)).collect())
        .collect();
    let heading = |wanted: &&str| {
        COLUMNS
            .iter()
            .find(|(name, _)| name == wanted)
            .map_or(wanted.to_string(), |(_, title)| (*title).to_owned())
    };
    Top { titles: columns.iter().map(heading).collect(), rows }
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

fn columns(options: &[String]) -> Result<Vec<&'static str>, TopError> {
    let full = || Ok(vec!["uid", "pid", "ppid", "c", "stime", "tty", "time", "args"]);
    let words: Vec<&str> = options.iter().flat_map(|option| option.split_whitespace()).collect();
    let list = match words.as_slice() {
        [] | ["-ef" | "ef" | "-e" | "-f"] => return full(),
        ["aux" | "-aux" | "ax" | "-ax"] => {
            return Ok(vec!["user", "pid", "vsz", "rss", "tty", "stat", "stime", "time", "args"]);
        }
        ["-o" | "o" | "-eo" | "-eo=" | "--format", list] => list.to_string(),
        [option] if option.starts_with("-o") => option[2..].to_owned(),
        [option, ..] => return Err(TopError::Option { option: (*option).to_owned() }),
    };
    let mut columns = Vec::new();
    for column in list.split(',') {
        let wanted = match column {
            "cmd" | "command" => "args",
            "euser" => "user",
            "tt" => "tty",
            "s" | "state" => "stat",
            "start" | "start_time" => "stime",
            "cputime" => "time",
            "rssize" => "rss",
            "ucmd" => "comm",
            other => other,
        };
        let known = COLUMNS.iter().find(|(name, _)| *name == wanted);
        columns.push(known.ok_or_else(|| TopError::Column { column: column.to_owned() })?.0);
    }
    Ok(columns)
}

/// What turns a process's numbers into words.
struct Host {
    users: HashMap<u32, String>,
    boot_s: i64,
    now_s: i64,
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
        Self {
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

    fn cell(&self, column: &str, host: &Host) -> String {
        let user = || host.users.get(&self.uid).cloned().unwrap_or_else(|| self.uid.to_string());
        let used_s = (self.field(14) + self.field(15)) / TICKS_PER_SECOND;
        let started_s = host.boot_s + (self.field(22) / TICKS_PER_SECOND).cast_signed();
        match column {
            // `ps -ef` shows the name under UID.
            "user" | "uid" => user(),
            "pid" => self.pid.to_string(),
            "ppid" => self.field(4).to_string(),
            "c" => {
                let lived = u64::try_from(host.now_s - started_s).unwrap_or(0).max(1);
                (used_s * 100 / lived).min(99).to_string()
            }
            "stime" => {
                let text = crate::time::rfc3339(started_s * 1_000_000_000);
                if host.now_s - started_s < 86_400 { text[11..16].to_owned() } else { text[5..10].to_owned() }
            }
            "tty" => match self.field(7) {
                0 => "?".into(),
                // Pseudo-terminals have majors 136 to 143.
                device => {
                    let (_, minor) = sys::fs::device_numbers(device);
                    format!("pts/{minor}")
                }
            },
            "time" => format!("{:02}:{:02}:{:02}", used_s / 3600, used_s / 60 % 60, used_s % 60),
            "stat" => self.stat.first().cloned().unwrap_or_default(),
            "vsz" => (self.field(23) / 1024).to_string(),
            "rss" => (self.field(24) * 4).to_string(),
            "comm" => self.comm.clone(),
            _ => self.args.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_ps() {
        let words = |text: &str| text.split(' ').map(str::to_owned).collect::<Vec<_>>();
        assert_eq!(columns(&[]).unwrap().len(), 8);
        assert_eq!(columns(&words("-o pid,cmd")).unwrap(), ["pid", "args"]);
        assert!(matches!(columns(&words("-o nope")), Err(TopError::Column { .. })));
        assert!(matches!(columns(&words("--forest")), Err(TopError::Option { .. })));
    }

    #[test]
    fn this_process_has_a_row() {
        let process = Process::read(std::process::id().cast_signed()).unwrap();
        assert!(process.field(4) > 0 && !process.args.is_empty());
    }
}
