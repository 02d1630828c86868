//! The lines at the bottom of a terminal that change while something goes on, under lines that stay.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::{Duration, Instant};

/// How often running times are brought up to date.
const TICK: Duration = Duration::from_millis(100);
/// How many lines of a running step's output are shown under it.
const TAIL: usize = 6;

/// Lines on standard error; shared by everybody who shows progress there.
pub struct Screen {
    live: Mutex<Live>,
}

#[derive(Default)]
struct Live {
    items: Vec<Item>,
    /// Lines on the terminal that belong to `items` and are to be overwritten.
    drawn: usize,
    next: u64,
}

/// One thing going on.
struct Item {
    id: u64,
    text: String,
    status: String,
    begun: Instant,
    took: Option<Duration>,
    mark: Mark,
    tail: VecDeque<String>,
}

/// How far a thing is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    Running,
    Done,
    Failed,
}

impl Screen {
    /// A screen that redraws itself while anything is on it.
    pub fn new() -> Arc<Self> {
        let screen = Arc::new(Self { live: Mutex::default() });
        let watched: Weak<Self> = Arc::downgrade(&screen);
        std::thread::spawn(move || {
            // They are for the threads that wait for them.
            let _ = sys::signal::block_all();
            loop {
                std::thread::sleep(TICK);
                let Some(screen) = watched.upgrade() else { return };
                let mut live = screen.lock();
                if live.items.iter().any(|item| item.mark == Mark::Running) {
                    live.redraw("");
                }
            }
        });
        screen
    }

    fn lock(&self) -> MutexGuard<'_, Live> {
        self.live.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Shows a new thing; the number names it in the other calls.
    pub fn begin(&self, text: impl Into<String>) -> u64 {
        let mut live = self.lock();
        live.next += 1;
        let id = live.next;
        live.items.push(Item {
            id,
            text: text.into(),
            status: String::new(),
            begun: Instant::now(),
            took: None,
            mark: Mark::Running,
            tail: VecDeque::new(),
        });
        live.redraw("");
        id
    }

    /// Changes what is said of a thing; it stays where it is, also when it is done.
    pub fn status(&self, id: u64, status: &str, mark: Mark) {
        let mut live = self.lock();
        if let Some(item) = live.items.iter_mut().find(|item| item.id == id) {
            item.status = status.to_owned();
            if item.took.is_some() && mark == Mark::Running {
                item.begun = Instant::now();
            }
            item.took = (mark != Mark::Running).then(|| item.begun.elapsed());
            item.mark = mark;
        }
        live.redraw("");
    }

    /// Adds a line to what is shown under a running thing.
    pub fn output(&self, id: u64, line: &str) {
        let mut live = self.lock();
        if let Some(item) = live.items.iter_mut().find(|item| item.id == id) {
            if item.tail.len() == TAIL {
                item.tail.pop_front();
            }
            item.tail.push_back(printable(line));
        }
    }

    /// Takes a thing away and leaves `line` for good.
    pub fn settle(&self, id: u64, line: &str) {
        let mut live = self.lock();
        live.items.retain(|item| item.id != id);
        live.redraw(&format!("{line}\n"));
    }

    /// Prints text that stays; it ends with a line end.
    pub fn print(&self, text: &str) {
        self.lock().redraw(text);
    }

    /// Leaves what is shown as it is; nothing overwrites it any more.
    pub fn freeze(&self) {
        let mut live = self.lock();
        if live.items.is_empty() {
            return;
        }
        live.redraw("");
        live.items.clear();
        live.drawn = 0;
    }
}

impl Live {
    /// Replaces the changing lines by `above`, which stays, and the changing lines as they are now.
    fn redraw(&mut self, above: &str) {
        let (rows, columns) = size();
        let mut out = String::new();
        if self.drawn > 0 {
            let _ = write!(out, "\x1b[{}A\r\x1b[J", self.drawn);
        }
        out.push_str(above);
        let mut lines = Vec::new();
        for item in &self.items {
            lines.push(item.line(columns));
            if item.mark == Mark::Running {
                lines.extend(
                    item.tail
                        .iter()
                        .map(|text| format!("\x1b[2m{}\x1b[0m", fit(&format!(" => => {text}"), columns))),
                );
            }
        }
        // More than the terminal has could not be overwritten later.
        let shown = &lines[lines.len().saturating_sub(rows.saturating_sub(1).max(1))..];
        for line in shown {
            out.push_str(line);
            out.push('\n');
        }
        self.drawn = shown.len();
        let mut errors = io::stderr().lock();
        let _ = errors.write_all(out.as_bytes()).and_then(|()| errors.flush());
    }
}

impl Item {
    fn line(&self, columns: usize) -> String {
        let seconds = self.took.unwrap_or_else(|| self.begun.elapsed()).as_secs_f64();
        let (mark, color) = match self.mark {
            Mark::Running => ("⠿", ""),
            Mark::Done => ("✔", "\x1b[32m"),
            Mark::Failed => ("✘", "\x1b[31m"),
        };
        let time = format!("{seconds:.1}s");
        let text =
            fit(&format!(" {mark} {}  {}", self.text, self.status), columns.saturating_sub(time.len() + 1));
        let padding = columns.saturating_sub(text.chars().count() + time.len()).max(1);
        format!("{color}{text}\x1b[0m{:padding$}\x1b[2m{time}\x1b[0m", "")
    }
}

fn size() -> (usize, usize) {
    let size = sys::terminal::window_size(io::stderr().as_fd())
        .ok()
        .filter(|size| size.rows > 0 && size.columns > 0);
    size.map_or((24, 80), |size| (usize::from(size.rows), usize::from(size.columns)))
}

/// `text` cut to `columns`.
pub fn fit(text: &str, columns: usize) -> String {
    super::human::ellipsis(text, columns.max(1))
}

/// Output of a program without what would move the cursor.
fn printable(line: &str) -> String {
    let line = line.rsplit('\r').next().unwrap_or_default();
    let mut out = String::with_capacity(line.len());
    let mut escape = false;
    for letter in line.chars() {
        match letter {
            '\x1b' => escape = true,
            letter if escape => escape = !letter.is_ascii_alphabetic(),
            '\t' => out.push_str("    "),
            letter if letter.is_control() => {}
            letter => out.push(letter),
        }
    }
    out
}
