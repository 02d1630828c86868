//! What a finished command said.

use std::fmt;
use std::io::Write as _;
use std::process::Stdio;

/// Standard output, standard error and exit status of one command.
pub struct Output {
    pub command: String,
    pub stdout: String,
    pub stderr: String,
    /// Exit status; `None` when a signal ended it.
    pub status: Option<i32>,
}

impl Output {
    /// Runs `command` to its end.
    #[track_caller]
    pub fn of(command: &mut std::process::Command) -> Self {
        let line = format!("{command:?}");
        match command.output() {
            Ok(output) => Self::new(line, output),
            Err(error) => panic!("{line}: {error}"),
        }
    }

    /// What `command`, as it was typed, ended with.
    pub fn new(command: String, output: std::process::Output) -> Self {
        Self {
            command,
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
            status: output.status.code(),
        }
    }

    /// Panics with everything that was said unless the command succeeded.
    #[track_caller]
    pub fn success(self) -> Self {
        self.status(0)
    }

    /// Panics with everything that was said unless the command ended with `status`.
    #[track_caller]
    pub fn status(self, status: i32) -> Self {
        assert_eq!(self.status, Some(status), "{self}");
        self
    }

    /// Panics unless standard error contains `text`.
    #[track_caller]
    pub fn says(self, text: &str) -> Self {
        assert!(self.stderr.contains(text), "standard error lacks {text:?}\n{self}");
        self
    }

    /// Standard output without the white space around it.
    pub fn text(&self) -> &str {
        self.stdout.trim()
    }
}

impl fmt::Display for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "$ {}", self.command)?;
        writeln!(f, "status: {:?}", self.status)?;
        writeln!(f, "stdout: {}", self.stdout)?;
        write!(f, "stderr: {}", self.stderr)
    }
}

/// Runs `command` to its end with `input` on its standard input.
pub fn with_input(mut command: std::process::Command, input: &[u8]) -> Output {
    let line = format!("{command:?}");
    let streams = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = streams.spawn().unwrap_or_else(|error| panic!("{line}: {error}"));
    let mut stdin = child.stdin.take().expect("it was asked for");
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        // A command that does not read all its input is what some tests are about.
        let _ = stdin.write_all(&input);
    });
    let output = child.wait_with_output().expect("it was started");
    writer.join().expect("the writer does not panic");
    Output::new(line, output)
}
