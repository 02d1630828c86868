//! Which columns the options of `ps` ask for.

use super::TopError;

/// What a column shows of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Field {
    User,
    Uid,
    Pid,
    Ppid,
    Pgid,
    Sid,
    /// Percent of a processor over its life: whole ones, or with a decimal.
    C,
    Cpu,
    Memory,
    Vsz,
    Rss,
    Tty,
    /// One letter, or with what `ps` adds to it.
    State,
    Stat,
    Nice,
    Threads,
    /// The time of day, or the date.
    Start,
    Elapsed,
    ElapsedSeconds,
    /// Of processors, with hours, or as BSD has it.
    Time,
    BsdTime,
    Comm,
    Args,
}

/// Names that `-o` knows, with their headings.
const NAMES: &[(&str, &str, Field)] = &[
    ("%cpu", "%CPU", Field::Cpu),
    ("%mem", "%MEM", Field::Memory),
    ("args", "COMMAND", Field::Args),
    ("c", "C", Field::C),
    ("cmd", "CMD", Field::Args),
    ("comm", "COMMAND", Field::Comm),
    ("command", "COMMAND", Field::Args),
    ("cputime", "TIME", Field::Time),
    ("etime", "ELAPSED", Field::Elapsed),
    ("etimes", "ELAPSED", Field::ElapsedSeconds),
    ("euid", "EUID", Field::Uid),
    ("euser", "EUSER", Field::User),
    ("ni", "NI", Field::Nice),
    ("nice", "NI", Field::Nice),
    ("nlwp", "NLWP", Field::Threads),
    ("pcpu", "%CPU", Field::Cpu),
    ("pgid", "PGID", Field::Pgid),
    ("pgrp", "PGRP", Field::Pgid),
    ("pid", "PID", Field::Pid),
    ("pmem", "%MEM", Field::Memory),
    ("ppid", "PPID", Field::Ppid),
    ("rss", "RSS", Field::Rss),
    ("rssize", "RSS", Field::Rss),
    ("s", "S", Field::State),
    ("sess", "SESS", Field::Sid),
    ("sid", "SID", Field::Sid),
    ("start_time", "START", Field::Start),
    ("stat", "STAT", Field::Stat),
    ("state", "S", Field::State),
    ("stime", "STIME", Field::Start),
    ("thcount", "THCNT", Field::Threads),
    ("time", "TIME", Field::Time),
    ("tname", "TTY", Field::Tty),
    ("tt", "TT", Field::Tty),
    ("tty", "TT", Field::Tty),
    ("ucmd", "CMD", Field::Comm),
    ("ucomm", "COMMAND", Field::Comm),
    ("uid", "UID", Field::Uid),
    ("uname", "USER", Field::User),
    ("user", "USER", Field::User),
    ("vsize", "VSZ", Field::Vsz),
    ("vsz", "VSZ", Field::Vsz),
];

/// A column and its heading.
pub type Column = (Field, String);

/// What `ps` shows without `-o`.
#[derive(Clone, Copy)]
enum Usual {
    Short,
    Full,
    Bsd,
    User,
}

impl Usual {
    fn columns(self) -> Vec<Column> {
        use Field::*;
        let columns: &[(Field, &str)] = match self {
            Self::Short => &[(Pid, "PID"), (Tty, "TTY"), (Time, "TIME"), (Comm, "CMD")],
            Self::Full => &[
                (User, "UID"),
                (Pid, "PID"),
                (Ppid, "PPID"),
                (C, "C"),
                (Start, "STIME"),
                (Tty, "TTY"),
                (Time, "TIME"),
                (Args, "CMD"),
            ],
            Self::Bsd => &[(Pid, "PID"), (Tty, "TTY"), (Stat, "STAT"), (BsdTime, "TIME"), (Args, "COMMAND")],
            Self::User => &[
                (User, "USER"),
                (Pid, "PID"),
                (Cpu, "%CPU"),
                (Memory, "%MEM"),
                (Vsz, "VSZ"),
                (Rss, "RSS"),
                (Tty, "TTY"),
                (Stat, "STAT"),
                (Start, "START"),
                (BsdTime, "TIME"),
                (Args, "COMMAND"),
            ],
        };
        columns.iter().map(|(field, heading)| (*field, (*heading).to_owned())).collect()
    }
}

/// The columns that `options` name. Which processes are listed is not theirs to say.
///
/// # Errors
/// Options that are not supported, and columns that are not known.
pub fn columns(options: &[String]) -> Result<Vec<Column>, TopError> {
    let mut words = options.iter().flat_map(|option| option.split_whitespace());
    let mut usual = None;
    let mut own = Vec::new();
    while let Some(word) = words.next() {
        let unsupported = || TopError::Option { option: word.to_owned() };
        let word = match word.strip_prefix("--format") {
            Some(list) if list.is_empty() || list.starts_with('=') => {
                format!("-o{}", list.trim_start_matches('='))
            }
            _ => word.to_owned(),
        };
        let dashed = word.strip_prefix('-');
        let letters = dashed.unwrap_or(&word);
        for (at, letter) in letters.char_indices() {
            usual = match letter {
                'o' => {
                    let list = &letters[at + 1..];
                    let list = if list.is_empty() { words.next().ok_or_else(unsupported)? } else { list };
                    own.extend(listed(list)?);
                    break;
                }
                'f' if dashed.is_some() => Some(Usual::Full),
                // BSD's letters with a dash before them are taken for those as well, as `ps` does.
                'u' if dashed.is_none_or(|letters| letters == "aux") => Some(Usual::User),
                'a' | 'x' if dashed.is_none_or(|letters| letters == "aux") => usual.or(Some(Usual::Bsd)),
                'e' | 'A' | 'a' | 'x' => usual.or(Some(Usual::Short)),
                'w' => usual,
                _ => return Err(unsupported()),
            };
        }
    }
    if !own.is_empty() {
        return Ok(own);
    }
    Ok(usual.unwrap_or(Usual::Full).columns())
}

/// `pid,user=WHO`: what follows an equals sign is the heading, to the end.
fn listed(list: &str) -> Result<Vec<Column>, TopError> {
    let (list, heading) = list.split_once('=').map_or((list, None), |(list, heading)| (list, Some(heading)));
    let known = |name: &str| {
        let found = NAMES.iter().find(|(known, ..)| *known == name);
        let (_, heading, field) = found.ok_or_else(|| TopError::Column { column: name.to_owned() })?;
        Ok((*field, (*heading).to_owned()))
    };
    let mut columns = list.split(',').map(known).collect::<Result<Vec<Column>, TopError>>()?;
    if let (Some((_, last)), Some(heading)) = (columns.last_mut(), heading) {
        heading.clone_into(last);
    }
    Ok(columns)
}

/// All names, for who asked for another one.
pub fn names() -> String {
    NAMES.iter().map(|(name, ..)| *name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_ps() {
        let headings = |options: &str| {
            let words: Vec<String> = options.split(' ').map(str::to_owned).collect();
            match columns(&words) {
                Ok(columns) => columns.into_iter().map(|(_, heading)| heading).collect::<Vec<_>>().join(" "),
                Err(error) => error.to_string(),
            }
        };
        let full = "UID PID PPID C STIME TTY TIME CMD";
        for (options, expected) in [
            ("", full),
            ("-ef", full),
            ("-e -f", full),
            ("-e", "PID TTY TIME CMD"),
            ("aux", "USER PID %CPU %MEM VSZ RSS TTY STAT START TIME COMMAND"),
            ("-auxww", "ps option \"-auxww\" is not supported"),
            ("ax", "PID TTY STAT TIME COMMAND"),
            ("-o pid,cmd", "PID CMD"),
            ("-opid -o args", "PID COMMAND"),
            ("-eo pid,comm", "PID COMMAND"),
            ("axo user,stat", "USER STAT"),
            ("--format=pid", "PID"),
            ("--format ppid", "PPID"),
            ("-o pid,user=WHO ELSE", "ps option \"ELSE\" is not supported"),
            ("-o pid,user=WHO", "PID WHO"),
            ("-o nope", "unknown ps column \"nope\""),
            ("-o", "ps option \"-o\" is not supported"),
            ("--forest", "ps option \"--forest\" is not supported"),
        ] {
            assert_eq!(headings(options), expected, "{options}");
        }
    }
}
