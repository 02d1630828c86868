//! Turning a container's output into log lines.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::{Stream, file_path};

/// A line is cut here, as Docker's log copier does.
const MAX_LINE: usize = 16 * 1024;
/// The scratch buffer is given back when a burst made it larger than this: an idle monitor stays small.
const KEEP_SCRATCH: usize = 16 * 1024;

/// Writing or turning over a log file failed.
#[derive(Debug, thiserror::Error)]
#[error("cannot write the log {}", path.display())]
pub struct LogError {
    path: PathBuf,
    source: io::Error,
}

impl diag::Diagnose for LogError {
    fn class(&self) -> diag::Class {
        diag::Class::Unavailable
    }
}

/// Appends a container's output to its log.
#[derive(Debug)]
pub struct LogWriter {
    path: PathBuf,
    file: File,
    written: u64,
    max_bytes: u64,
    max_files: u32,
    unfinished: [Vec<u8>; 2],
    scratch: Vec<u8>,
}

impl LogWriter {
    /// Opens the log at `path`, continuing what is there.
    pub fn open(path: &Path, max_bytes: u64, max_files: u32) -> Result<Self, LogError> {
        let failed = |source| LogError { path: path.to_owned(), source };
        let file = open(path).map_err(failed)?;
        let written = file.metadata().map_err(failed)?.len();
        Ok(Self {
            path: path.to_owned(),
            file,
            written,
            max_bytes,
            max_files: max_files.max(1),
            unfinished: [Vec::new(), Vec::new()],
            scratch: Vec::new(),
        })
    }

    /// Logs `bytes` as they came from `stream` at `now_ns`; an unfinished last line waits for its rest.
    pub fn write(&mut self, stream: Stream, bytes: &[u8], now_ns: i64) -> Result<(), LogError> {
        let suffix = line_suffix(stream, now_ns);
        let waiting = &mut self.unfinished[stream as usize];
        let mut rest = bytes;
        while let Some(end) = rest.iter().position(|&b| b == b'\n') {
            let (line, after) = rest.split_at(end + 1);
            if waiting.is_empty() {
                encode_cut(&mut self.scratch, line, &suffix);
            } else {
                waiting.extend_from_slice(line);
                encode_cut(&mut self.scratch, waiting, &suffix);
                waiting.clear();
            }
            rest = after;
        }
        waiting.extend_from_slice(rest);
        while waiting.len() >= MAX_LINE {
            encode(&mut self.scratch, &waiting[..MAX_LINE], &suffix);
            waiting.drain(..MAX_LINE);
        }
        if waiting.is_empty() && waiting.capacity() > KEEP_SCRATCH {
            *waiting = Vec::new();
        }
        self.flush()
    }

    /// Logs the unfinished lines too; the container has ended.
    pub fn finish(&mut self, now_ns: i64) -> Result<(), LogError> {
        for stream in [Stream::Stdout, Stream::Stderr] {
            let waiting = std::mem::take(&mut self.unfinished[stream as usize]);
            if !waiting.is_empty() {
                encode(&mut self.scratch, &waiting, &line_suffix(stream, now_ns));
            }
        }
        self.flush()
    }

    fn flush(&mut self) -> Result<(), LogError> {
        if self.scratch.is_empty() {
            return Ok(());
        }
        let result = self.flush_scratch().map_err(|source| LogError { path: self.path.clone(), source });
        // What could not be written (a full disk) is dropped: the container must not stop for its log.
        self.scratch.clear();
        if self.scratch.capacity() > KEEP_SCRATCH {
            self.scratch = Vec::new();
        }
        result
    }

    /// Writes whole lines, as many into each file as it has room for.
    fn flush_scratch(&mut self) -> io::Result<()> {
        let scratch = std::mem::take(&mut self.scratch);
        let mut rest = scratch.as_slice();
        let result = loop {
            if rest.is_empty() {
                break Ok(());
            }
            let room = usize::try_from(self.max_bytes.saturating_sub(self.written)).unwrap_or(usize::MAX);
            let fitting = end_of_lines(rest, room);
            let (now, later) = match (fitting, self.written) {
                (Some(end), _) => rest.split_at(end),
                // A line beyond the limit gets a file of its own.
                (None, 0) => {
                    rest.split_at(rest.iter().position(|&b| b == b'\n').map_or(rest.len(), |at| at + 1))
                }
                (None, _) => {
                    if let Err(error) = self.turn_over() {
                        break Err(error);
                    }
                    continue;
                }
            };
            if let Err(error) = self.file.write_all(now) {
                break Err(error);
            }
            self.written += now.len() as u64;
            rest = later;
        };
        self.scratch = scratch;
        result
    }

    fn turn_over(&mut self) -> io::Result<()> {
        if self.max_files == 1 {
            self.file.set_len(0)?;
        } else {
            for n in (1..self.max_files).rev() {
                match fs::rename(file_path(&self.path, n - 1), file_path(&self.path, n)) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
            self.file = open(&self.path)?;
        }
        self.written = 0;
        Ok(())
    }
}

/// Where the last line ends of which `lines` has all within its first `room` bytes.
fn end_of_lines(lines: &[u8], room: usize) -> Option<usize> {
    let within = lines.get(..room).unwrap_or(lines);
    within.iter().rposition(|&byte| byte == b'\n').map(|at| at + 1)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

/// Everything after the text of a line; the same for all lines of one read.
fn line_suffix(stream: Stream, now_ns: i64) -> String {
    format!("\",\"stream\":\"{}\",\"time\":\"{}\"}}\n", stream.as_str(), crate::time::rfc3339(now_ns))
}

fn encode_cut(out: &mut Vec<u8>, line: &[u8], suffix: &str) {
    // The line end does not count: a line of exactly the limit stays whole.
    let (text, end) = line.split_at(line.len() - 1);
    if text.len() <= MAX_LINE {
        return encode(out, line, suffix);
    }
    let cut = (text.len() - 1) / MAX_LINE * MAX_LINE;
    for part in text[..cut].chunks(MAX_LINE) {
        encode(out, part, suffix);
    }
    encode(out, &[&text[cut..], end].concat(), suffix);
}

/// Appends one log line; bytes that are not UTF-8 become U+FFFD, as in Docker's.
fn encode(out: &mut Vec<u8>, text: &[u8], suffix: &str) {
    out.extend_from_slice(b"{\"log\":\"");
    for chunk in text.utf8_chunks() {
        escape(out, chunk.valid());
        if !chunk.invalid().is_empty() {
            out.extend_from_slice("\u{fffd}".as_bytes());
        }
    }
    out.extend_from_slice(suffix.as_bytes());
}

fn escape(out: &mut Vec<u8>, text: &str) {
    let bytes = text.as_bytes();
    let mut plain = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        let short = match byte {
            b'"' => b'"',
            b'\\' => b'\\',
            b'\n' => b'n',
            b'\r' => b'r',
            b'\t' => b't',
            0..0x20 => 0,
            _ => continue,
        };
        out.extend_from_slice(&bytes[plain..at]);
        plain = at + 1;
        if short == 0 {
            let _ = write!(out, "\\u{byte:04x}");
        } else {
            out.extend_from_slice(&[b'\\', short]);
        }
    }
    out.extend_from_slice(&bytes[plain..]);
}

#[cfg(test)]
mod tests {
    use super::super::{Query, Reader, Step, read};
    use super::*;

    pub(super) struct Scratch(pub PathBuf);
    impl Scratch {
        pub(super) fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(format!("hull-logs-{name}-{}", std::process::id()));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }
    }
    impl Drop for Scratch {
        fn drop(&mut self) {
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn collect(mut reader: Reader) -> Vec<(Stream, Vec<u8>)> {
        let mut lines = Vec::new();
        while let Step::Line(line) = reader.step(None).unwrap() {
            lines.push((line.stream, line.text));
        }
        lines
    }

    /// Writes `pieces` and compares what a reader gets back with `expected`.
    fn check(name: &str, pieces: &[(Stream, &[u8])], expected: &[(Stream, &[u8])]) {
        let scratch = Scratch::new(name);
        let path = scratch.0.join("container.log");
        let mut writer = LogWriter::open(&path, u64::MAX, 2).unwrap();
        for (stream, bytes) in pieces {
            writer.write(*stream, bytes, 1).unwrap();
        }
        writer.finish(1).unwrap();
        let lines = collect(read(&path, Query::default()).unwrap());
        let lines: Vec<(Stream, &[u8])> = lines.iter().map(|(s, t)| (*s, t.as_slice())).collect();
        assert_eq!(lines, expected);
    }

    use Stream::{Stderr, Stdout};

    #[test]
    fn lines_are_put_together_per_stream() {
        check(
            "lines",
            &[(Stdout, b"a"), (Stderr, b"x\n"), (Stdout, b"b\nc\n\nd")],
            &[(Stderr, b"x\n"), (Stdout, b"ab\n"), (Stdout, b"c\n"), (Stdout, b"\n"), (Stdout, b"d")],
        );
    }

    #[test]
    fn odd_bytes_survive_as_json_allows() {
        check(
            "bytes",
            &[(Stdout, b"\"\\\x01\x1b[0m\t\r\n"), (Stdout, b"\xff\xc3\xa4\n")],
            &[(Stdout, b"\"\\\x01\x1b[0m\t\r\n"), (Stdout, "\u{fffd}\u{e4}\n".as_bytes())],
        );
    }

    #[test]
    fn long_lines_are_cut() {
        let full = [b'a'; MAX_LINE];
        let long = [full.as_slice(), b"bc\n"].concat();
        check("cut", &[(Stdout, &long)], &[(Stdout, &full), (Stdout, b"bc\n")]);
        let exact = [full.as_slice(), b"\n"].concat();
        check("whole", &[(Stdout, &exact)], &[(Stdout, &exact)]);
    }

    #[test]
    fn files_are_turned_over_and_bounded() {
        let scratch = Scratch::new("bounded");
        let path = scratch.0.join("container.log");
        let mut writer = LogWriter::open(&path, 1000, 3).unwrap();
        for n in 0..100 {
            writer.write(Stdout, format!("line {n}\n").as_bytes(), 1).unwrap();
        }
        assert_eq!(fs::read_dir(&scratch.0).unwrap().count(), 3);
        assert!(fs::metadata(file_path(&path, 2)).unwrap().len() <= 1000);
        let lines = collect(read(&path, Query::default()).unwrap());
        assert_eq!(lines.last().unwrap().1, b"line 99\n");
        assert!(lines.len() > 20 && lines.len() < 40, "{}", lines.len());
    }
}
