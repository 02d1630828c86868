//! A command on a terminal of its own, driven as a person would.

use std::io::{Read as _, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use crate::world::eventually;

/// A command that runs on a pseudo-terminal (made by `script` of util-linux), with what it printed so far.
pub struct Terminal {
    child: Child,
    printed: Arc<Mutex<String>>,
    reader: JoinHandle<()>,
}

impl Terminal {
    /// Starts `command` on a terminal of 40 rows and 100 columns.
    pub fn start(command: &Command) -> Self {
        let mut words = vec![command.get_program()];
        words.extend(command.get_args());
        let quoted: Vec<_> =
            words.iter().map(|word| format!("'{}'", word.to_string_lossy().replace('\'', r"'\''"))).collect();
        let mut script = Command::new("script");
        script.args(["-qfec", &format!("stty rows 40 cols 100; exec {}", quoted.join(" ")), "/dev/null"]);
        for (name, value) in command.get_envs() {
            script.env(name, value.unwrap_or_default());
        }
        script.current_dir(command.get_current_dir().expect("a world sets one"));
        let mut child = script
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("script is part of Debian");
        let mut output = child.stdout.take().expect("it was asked for");
        let printed = Arc::new(Mutex::new(String::new()));
        let sink = Arc::clone(&printed);
        let reader = std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count @ 1..) = output.read(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
                sink.lock().unwrap_or_else(PoisonError::into_inner).push_str(&text);
            }
        });
        Self { child, printed, reader }
    }

    /// Waits until `text` has been printed.
    #[track_caller]
    pub fn expect(&self, text: &str) {
        let printed = || self.printed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        eventually(&format!("{text:?} on the terminal"), 20, || printed().contains(text).then_some(()));
    }

    /// Types `keys`.
    pub fn send(&mut self, keys: &str) {
        let stdin = self.child.stdin.as_mut().expect("it is open until the end");
        stdin.write_all(keys.as_bytes()).expect("the terminal is there");
    }

    /// The command's process id.
    fn pid(&self) -> String {
        let script = self.child.id();
        let children = std::fs::read_to_string(format!("/proc/{script}/task/{script}/children"));
        let child = children.expect("script runs").split_whitespace().next().map(str::to_owned);
        child.expect("it runs the command")
    }

    /// Kills the command, which cannot put the terminal back.
    pub fn kill(&self) {
        let status = Command::new("kill").args(["-KILL", &self.pid()]).status();
        assert!(status.expect("kill is part of Debian").success());
    }

    /// Changes the terminal's size.
    pub fn resize(&self, rows: u16, columns: u16) {
        let input = format!("/proc/{}/fd/0", self.pid());
        let terminal = std::fs::read_link(input).expect("the command runs");
        let mut stty = Command::new("stty");
        stty.arg("-F").arg(terminal).args(["rows", &rows.to_string(), "cols", &columns.to_string()]);
        assert!(stty.status().expect("stty is part of Debian").success());
    }

    /// Waits for the command's end; its exit status and all it printed.
    pub fn finish(mut self) -> (Option<i32>, String) {
        let stdin = self.child.stdin.take();
        let status = self.child.wait().expect("it was started").code();
        drop(stdin);
        self.reader.join().expect("the reader does not panic");
        let printed = self.printed.lock().unwrap_or_else(PoisonError::into_inner).clone();
        (status, printed)
    }
}
