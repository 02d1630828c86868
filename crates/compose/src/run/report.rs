//! What a running command tells: progress of objects, lines of logs.

use std::fmt::Write as _;
use std::sync::Arc;

/// Somebody who shows what happens; called from several threads.
pub trait Reporter: Sync {
    /// `object` reached `status`.
    fn progress(&self, object: Object<'_>, status: Status<'_>);

    /// Something the user should know that is no error.
    fn warning(&self, text: &str);

    /// One line of a container's output.
    fn log(&self, line: &LogLine<'_>);

    /// Who is told about the build of `service`.
    fn build(&self, service: &str) -> Arc<dyn build::Progress>;
}

/// Drops everything but build steps, which nobody shows.
pub struct Quiet;

impl Reporter for Quiet {
    fn progress(&self, _: Object<'_>, _: Status<'_>) {}
    fn warning(&self, _: &str) {}
    fn log(&self, _: &LogLine<'_>) {}
    fn build(&self, _: &str) -> Arc<dyn build::Progress> {
        Arc::new(build::NoProgress)
    }
}

/// What progress is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Object<'a> {
    pub kind: Kind,
    pub name: &'a str,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Network,
    Volume,
    Image,
    Container,
}

impl Kind {
    /// Docker Compose's word.
    pub fn as_str(self) -> &'static str {
        match self {
            Kind::Network => "Network",
            Kind::Volume => "Volume",
            Kind::Image => "Image",
            Kind::Container => "Container",
        }
    }
}

/// How far an object is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status<'a> {
    /// Under way: `Creating`, `Starting`, `Waiting`, ...
    Doing(&'static str),
    /// Finished: `Created`, `Started`, `Healthy`, ...
    Done(&'static str),
    /// It went wrong.
    Failed(&'a str),
}

impl Status<'_> {
    /// The word to show.
    pub fn word(&self) -> &str {
        match self {
            Status::Doing(word) | Status::Done(word) => word,
            Status::Failed(_) => "Error",
        }
    }
}

/// A line of a container's output, or about its end.
#[derive(Clone, Copy, Debug)]
pub struct LogLine<'a> {
    /// `web-1`.
    pub prefix: &'a str,
    /// Place of the container among those shown: decides its colour.
    pub index: usize,
    /// Longest prefix among those shown.
    pub width: usize,
    /// When it was written; 0 for lines that are not output.
    pub time_ns: i64,
    pub stderr: bool,
    /// Said by Compose itself, such as `web-1 exited with code 0`.
    pub notice: bool,
    /// Without its line end.
    pub text: &'a [u8],
}

/// How log lines look.
#[derive(Clone, Copy, Debug)]
pub struct Paint {
    pub color: bool,
    pub prefix: bool,
    pub timestamps: bool,
}

impl Paint {
    /// The bytes to print for `line`, with its line end.
    pub fn render(&self, line: &LogLine<'_>) -> Vec<u8> {
        const COLORS: [u8; 12] = [36, 33, 32, 35, 34, 96, 93, 92, 95, 94, 31, 91];
        let mut head = String::new();
        if line.notice {
            let _ = write!(head, "{} ", line.prefix);
        } else if self.prefix {
            let color = COLORS[line.index % COLORS.len()];
            let (on, off) =
                if self.color { (format!("\x1b[{color}m"), "\x1b[0m") } else { (String::new(), "") };
            let _ = write!(head, "{on}{:width$}  |{off} ", line.prefix, width = line.width);
        }
        if self.timestamps && !line.notice {
            let _ = write!(head, "{} ", engine::time::rfc3339(line.time_ns));
        }
        [head.as_bytes(), line.text, b"\n"].concat()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_aligned_and_coloured() {
        let line = LogLine {
            prefix: "db-1",
            index: 1,
            width: 6,
            time_ns: 0,
            stderr: false,
            notice: false,
            text: b"x",
        };
        let show = |color, prefix, line: &LogLine<'_>| {
            String::from_utf8(Paint { color, prefix, timestamps: false }.render(line)).unwrap()
        };
        assert_eq!(show(false, true, &line), "db-1    | x\n");
        assert_eq!(show(true, true, &line), "\x1b[33mdb-1    |\x1b[0m x\n");
        assert_eq!(show(true, false, &line), "x\n");
        let notice = LogLine { notice: true, text: b"exited with code 0", ..line };
        assert_eq!(show(true, true, &notice), "db-1 exited with code 0\n");
    }
}
