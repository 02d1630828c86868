//! Reading logs back: from the end, between two times, and as they grow.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::Deserialize;
use sys::event::{Notifier, PollFlags, WatchFlags, poll_one};

use super::{Stream, file_path};

/// One line (or cut part of a line) of a log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    pub stream: Stream,
    pub time_ns: i64,
    /// The text with its line end, if it had one.
    pub text: Vec<u8>,
}

/// Which lines to return.
#[derive(Clone, Copy, Debug, Default)]
pub struct Query {
    /// Only the last so many.
    pub tail: Option<u64>,
    /// Only those at or after this time.
    pub since_ns: Option<i64>,
    /// Only those before this time; a following reader ends there.
    pub until_ns: Option<i64>,
}

/// What a following reader waits with.
#[derive(Clone, Debug)]
pub struct Follow {
    /// The container's run directory: the reader ends when the monitor there has recorded the end of the container.
    pub run_dir: PathBuf,
    /// The container's data directory.
    pub data_dir: PathBuf,
}

/// What [`Reader::step`] came back with.
#[derive(Debug)]
pub enum Step {
    Line(LogLine),
    /// Nothing came in the time given.
    Idle,
    End,
}

/// Opens the log at `path` (which need not exist) for reading once.
pub fn read(path: &Path, query: Query) -> io::Result<Reader> {
    Reader::open(path, query)
}

/// Reads log lines; as an iterator it blocks when following.
#[derive(Debug)]
pub struct Reader {
    path: PathBuf,
    query: Query,
    files: VecDeque<File>,
    /// Where the newest file ended when the log was opened: a reader that does not follow ends there, too.
    end: u64,
    buffer: Vec<u8>,
    parsed: usize,
    follow: Option<Watch>,
}

#[derive(Debug)]
struct Watch {
    changes: Notifier,
    target: Follow,
    ended: bool,
}

impl Reader {
    fn open(path: &Path, query: Query) -> io::Result<Self> {
        let mut files = open_files(path)?;
        let end = files.back().map_or(Ok(0), end_of_lines)?;
        if let Some(tail) = query.tail {
            seek_to_tail(&mut files, end, tail)?;
        }
        Ok(Self { path: path.to_owned(), query, files, end, buffer: Vec::new(), parsed: 0, follow: None })
    }

    /// Makes the reader wait for more at the end of the log, until the container has ended.
    pub fn follow(mut self, target: Follow) -> io::Result<Self> {
        let changes = Notifier::new()?;
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        let events = WatchFlags::MODIFY | WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::DELETE_SELF;
        changes.watch(directory, events)?;
        match changes.watch(&target.run_dir, WatchFlags::MOVED_TO | WatchFlags::DELETE_SELF) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.follow = Some(Watch { changes, target, ended: false });
        Ok(self)
    }

    /// Returns the next line; a following reader waits for it for at most `timeout` (without one, as long as it takes).
    pub fn step(&mut self, timeout: Option<Duration>) -> io::Result<Step> {
        let deadline = timeout.map(|t| Instant::now() + t);
        loop {
            while let Some(line) = self.buffered() {
                if self.query.until_ns.is_some_and(|until| line.time_ns >= until) {
                    return Ok(Step::End);
                }
                if self.query.since_ns.is_none_or(|since| line.time_ns >= since) {
                    return Ok(Step::Line(line));
                }
            }
            if self.fill()? {
                continue;
            }
            let Some(watch) = &mut self.follow else { return Ok(Step::End) };
            if watch.ended {
                return Ok(Step::End);
            }
            // Asked before the last look at the log: what the container wrote before it ended is there by then.
            watch.ended = has_ended(&watch.target);
            if watch.ended {
                continue;
            }
            // A killed monitor changes no file; hence the longest wait.
            let mut wait = Duration::from_secs(1);
            if let Some(until) = self.query.until_ns {
                let left = until.saturating_sub(crate::time::now_ns());
                let Ok(left) = u64::try_from(left) else { return Ok(Step::End) };
                wait = wait.min(Duration::from_nanos(left));
            }
            if let Some(deadline) = deadline {
                wait = wait.min(deadline.saturating_duration_since(Instant::now()));
            }
            let ready = poll_one(watch.changes.as_fd(), PollFlags::IN, Some(wait))?;
            watch.changes.take()?;
            if !ready && deadline.is_some_and(|d| Instant::now() >= d) {
                return Ok(Step::Idle);
            }
        }
    }

    /// Readable when a following reader may have something new.
    pub fn as_fd(&self) -> Option<BorrowedFd<'_>> {
        self.follow.as_ref().map(|watch| watch.changes.as_fd())
    }

    fn buffered(&mut self) -> Option<LogLine> {
        loop {
            let rest = &self.buffer[self.parsed..];
            let Some(end) = rest.iter().position(|&b| b == b'\n') else {
                self.buffer.drain(..self.parsed);
                self.parsed = 0;
                return None;
            };
            let line = parse(&rest[..end]);
            self.parsed += end + 1;
            if line.is_some() {
                return line;
            }
        }
    }

    fn fill(&mut self) -> io::Result<bool> {
        loop {
            if self.files.is_empty() {
                if self.follow.is_none() {
                    return Ok(false);
                }
                self.files = open_files(&self.path)?;
            }
            if self.follow.is_some() && self.files.len() == 1 {
                let newer = newer_files(&self.path, &self.files[0])?;
                self.files.extend(newer);
            }
            let is_newest = self.files.len() == 1;
            let Some(file) = self.files.front_mut() else { return Ok(false) };
            let mut limit = 256 * 1024;
            if is_newest && self.follow.is_none() {
                limit = limit.min(self.end.saturating_sub(file.stream_position()?));
                if limit == 0 {
                    return Ok(false);
                }
            }
            // Looked for newer files first: whatever was appended to this one before it was turned over is read here.
            if file.take(limit).read_to_end(&mut self.buffer)? > 0 {
                return Ok(true);
            }
            if file.metadata()?.len() < file.stream_position()? {
                // A log of one file is emptied in place.
                file.rewind()?;
                continue;
            }
            if is_newest {
                return Ok(false);
            }
            self.files.pop_front();
            self.buffer.clear();
            self.parsed = 0;
        }
    }
}

impl Iterator for Reader {
    type Item = io::Result<LogLine>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.step(None) {
                Ok(Step::Line(line)) => return Some(Ok(line)),
                Ok(Step::Idle) => {}
                Ok(Step::End) => return None,
                Err(error) => return Some(Err(error)),
            }
        }
    }
}

fn has_ended(target: &Follow) -> bool {
    match crate::state::read(&target.run_dir, &target.data_dir) {
        Ok(observed) => !observed.state.status.is_active(),
        Err(_) => true,
    }
}

/// Opens the files of a log, oldest first.
fn open_files(path: &Path) -> io::Result<VecDeque<File>> {
    loop {
        let mut files = VecDeque::new();
        let mut inodes = Vec::new();
        for n in 0.. {
            match File::open(file_path(path, n)) {
                Ok(file) => {
                    inodes.push(file.metadata()?.ino());
                    files.push_front(file);
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => break,
                Err(error) => return Err(error),
            }
        }
        // Turned over in between: the same file was met under two names, or a name was missed.
        let again = fs::metadata(path).ok().map(|m| m.ino());
        inodes.sort_unstable();
        if inodes.windows(2).all(|pair| pair[0] != pair[1])
            && files.back().map(|f| f.metadata().map(|m| m.ino())).transpose()? == again
        {
            return Ok(files);
        }
    }
}

/// The files begun after `current`, oldest first.
fn newer_files(path: &Path, current: &File) -> io::Result<VecDeque<File>> {
    let inode = current.metadata()?.ino();
    if fs::metadata(path).is_ok_and(|meta| meta.ino() == inode) {
        return Ok(VecDeque::new());
    }
    let mut files = open_files(path)?;
    if let Some(at) = files.iter().position(|file| file.metadata().is_ok_and(|m| m.ino() == inode)) {
        files.drain(..=at);
    }
    Ok(files)
}

/// Drops files and seeks so that `tail` lines are left to read, of which the last one ends at `end` of the newest file.
fn seek_to_tail(files: &mut VecDeque<File>, end: u64, tail: u64) -> io::Result<()> {
    let mut wanted = tail;
    let mut end = Some(end);
    for index in (0..files.len()).rev() {
        let file = &files[index];
        let end = end.take().map_or_else(|| end_of_lines(file), Ok)?;
        let (offset, found) = last_lines(file, end, wanted)?;
        files[index].seek(SeekFrom::Start(offset))?;
        wanted -= found;
        if wanted == 0 {
            files.drain(..index);
            return Ok(());
        }
    }
    Ok(())
}

/// Where the last `wanted` of the lines before `end` begin, and how many there are if there are fewer.
fn last_lines(file: &File, end: u64, wanted: u64) -> io::Result<(u64, u64)> {
    let mut place = (end, 0);
    let mut ends = LineEnds::before(file, end.saturating_sub(1));
    while place.1 < wanted && place.0 > 0 {
        place = (ends.next().unwrap_or(Ok(0))?, place.1 + 1);
    }
    Ok(place)
}

/// The length of `file` without a line that is being written.
fn end_of_lines(file: &File) -> io::Result<u64> {
    LineEnds::before(file, file.metadata()?.len()).next().unwrap_or(Ok(0))
}

/// The offsets behind line ends, backwards.
struct LineEnds<'a> {
    file: &'a File,
    /// What lies before the last one returned, from `start` on.
    chunk: Vec<u8>,
    start: u64,
}

impl<'a> LineEnds<'a> {
    fn before(file: &'a File, end: u64) -> Self {
        Self { file, chunk: Vec::new(), start: end }
    }
}

impl Iterator for LineEnds<'_> {
    type Item = io::Result<u64>;

    fn next(&mut self) -> Option<Self::Item> {
        const CHUNK: usize = 64 << 10;
        loop {
            if let Some(at) = self.chunk.iter().rposition(|byte| *byte == b'\n') {
                self.chunk.truncate(at);
                return Some(Ok(self.start + at as u64 + 1));
            }
            let size = usize::try_from(self.start).map_or(CHUNK, |start| start.min(CHUNK));
            if size == 0 {
                return None;
            }
            self.start -= size as u64;
            self.chunk.resize(size, 0);
            if let Err(error) = self.file.read_exact_at(&mut self.chunk, self.start) {
                return Some(Err(error));
            }
        }
    }
}

fn parse(line: &[u8]) -> Option<LogLine> {
    #[derive(Deserialize)]
    struct Wire<'a> {
        #[serde(borrow)]
        log: std::borrow::Cow<'a, str>,
        stream: Stream,
        time: &'a str,
    }
    let wire: Wire<'_> = serde_json::from_slice(line).ok()?;
    Some(LogLine {
        stream: wire.stream,
        time_ns: crate::time::parse_rfc3339(wire.time)?,
        text: wire.log.into_owned().into_bytes(),
    })
}

#[cfg(test)]
mod tests {
    use super::super::LogWriter;
    use super::*;

    fn scratch(name: &str) -> PathBuf {
        let path = std::env::temp_dir().join(format!("hull-logread-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        path
    }

    fn texts(reader: Reader) -> Vec<String> {
        reader.map(|line| String::from_utf8(line.unwrap().text).unwrap().trim_end().to_owned()).collect()
    }

    /// Writes ten lines over several files and checks which of them `query` returns.
    fn check(name: &str, query: Query, expected: &[&str]) {
        let dir = scratch(name);
        let path = dir.join("container.log");
        let mut writer = LogWriter::open(&path, 250, 10).unwrap();
        for n in 0..10 {
            writer.write(Stream::Stdout, format!("{n}\n").as_bytes(), n).unwrap();
        }
        assert!(file_path(&path, 2).exists());
        assert_eq!(texts(read(&path, query).unwrap()), expected);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn tail_and_times_select() {
        check("all", Query::default(), &["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
        check("tail0", Query { tail: Some(0), ..Query::default() }, &[]);
        check("tail1", Query { tail: Some(1), ..Query::default() }, &["9"]);
        check("tail5", Query { tail: Some(5), ..Query::default() }, &["5", "6", "7", "8", "9"]);
        check("tail99", Query { tail: Some(99), since_ns: Some(8), ..Query::default() }, &["8", "9"]);
        check("until", Query { until_ns: Some(2), ..Query::default() }, &["0", "1"]);
    }

    #[test]
    fn what_is_written_later_is_not_read() {
        let dir = scratch("later");
        let path = dir.join("container.log");
        let mut writer = LogWriter::open(&path, 1 << 20, 2).unwrap();
        let mut line = |n: i64| writer.write(Stream::Stdout, format!("{n}\n").as_bytes(), n).unwrap();
        (0..10).for_each(&mut line);
        // As if a write had stopped in the middle.
        let mut file = fs::OpenOptions::new().append(true).open(&path).unwrap();
        io::Write::write_all(&mut file, br#"{"log":"unfin"#).unwrap();
        let last_two = Query { tail: Some(2), ..Query::default() };
        let readers = [read(&path, Query::default()).unwrap(), read(&path, last_two).unwrap()];
        io::Write::write_all(&mut file, b"ished\n").unwrap();
        (10..20).for_each(line);
        let read = readers.map(texts);
        assert_eq!(read[0], ["0", "1", "2", "3", "4", "5", "6", "7", "8", "9"]);
        assert_eq!(read[1], ["8", "9"]);
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn a_following_reader_misses_nothing_over_turn_overs() {
        let dir = scratch("follow");
        let run = scratch("follow-run");
        let path = dir.join("container.log");
        let mut writer = LogWriter::open(&path, 500, 4).unwrap();
        let lock = File::create(run.join(crate::state::LOCK_FILE)).unwrap();
        lock.lock().unwrap();
        let mut state = crate::state::State { status: crate::state::Status::Running, ..Default::default() };
        state.save(&run, crate::state::STATE_FILE).unwrap();
        let follow = Follow { run_dir: run.clone(), data_dir: dir.clone() };
        let reader = std::thread::spawn({
            let reader = read(&path, Query::default()).unwrap().follow(follow).unwrap();
            move || texts(reader)
        });
        let mut expected = Vec::new();
        for n in 0..60 {
            writer.write(Stream::Stderr, format!("{n}\n").as_bytes(), n).unwrap();
            expected.push(n.to_string());
            std::thread::sleep(Duration::from_millis(2));
        }
        state.status = crate::state::Status::Exited;
        state.save(&run, crate::state::STATE_FILE).unwrap();
        assert_eq!(reader.join().unwrap(), expected);
        fs::remove_dir_all(&dir).unwrap();
        fs::remove_dir_all(&run).unwrap();
    }
}
