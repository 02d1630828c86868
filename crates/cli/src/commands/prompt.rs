//! Questions before something is lost.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

/// Asks what is about to be removed; `--force` answers yes. Anything but `y` is a no.
pub fn confirm(warning: &str, force: bool) -> bool {
    if force {
        return true;
    }
    let mut out = std::io::stdout().lock();
    let _ = write!(out, "WARNING! {warning}\nAre you sure you want to continue? [y/N] ")
        .and_then(|()| out.flush());
    let mut answer = String::new();
    let stdin = std::io::stdin();
    let echoed = stdin.is_terminal();
    let read = stdin.lock().read_line(&mut answer);
    if !echoed {
        let _ = writeln!(out);
    }
    read.is_ok() && matches!(answer.trim(), "y" | "Y" | "yes")
}
