//! The emulator and what the guest says on its serial line.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::kernel::Kernel;

/// A guest that says nothing for so long hangs; the slowest single test, dockerd's, takes four minutes on a busy machine.
const SILENCE: Duration = Duration::from_secs(600);

/// No initramfs: what is needed to find the disk is built in. An emulated timer on a busy machine fails the kernel's check of it,
/// which panics then. The emulator translates code once for each address it runs at, so programs always lie at the same ones; and
/// there is no speculation to be protected against. Debian's own defaults otherwise.
const COMMAND_LINE: &str = "console=ttyS0 quiet no_timer_check norandmaps mitigations=off \
    root=/dev/nvme0n1 rootfstype=ext4 rootwait rw init=/guest/init panic=-1";

/// Room for the code of all that tests run, in MiB: when it is full, all of it is thrown away and translated again.
const ACCELERATOR: &str = "tcg,thread=multi,tb-size=2048";

/// Without what is slower than its alternative where it is emulated: `rep movsb` moves single bytes, and page tables have five levels.
const PROCESSOR: &str = "max,-erms,-fsrm,-la57";

/// What the guest told.
#[derive(Default)]
pub struct Report {
    /// Its kernel, empty when it did not come up.
    pub release: String,
    expected: usize,
    finished: bool,
    passed: Vec<String>,
    /// The names of programs that failed, and how.
    failed: Vec<(String, String)>,
    /// The program that runs, with what it printed.
    current: Option<(String, Vec<String>)>,
    /// Groups and the like that tests left behind.
    left: Option<String>,
    /// What was said outside of any program: the kernel's complaints.
    others: Vec<String>,
}

/// Boots `image` and follows it to its end.
pub fn boot(kernel: &Kernel, image: &Path, expected: usize) -> Result<Report, String> {
    // Whoever kills us means the guest, too.
    let mut qemu = Command::new("setpriv");
    qemu.args(["--pdeathsig", "KILL", "qemu-system-x86_64"]);
    qemu.args(["-accel", ACCELERATOR, "-cpu", PROCESSOR, "-smp", "2", "-m", "2G"]);
    qemu.args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none", "-serial", "stdio"]);
    qemu.arg("-kernel").arg(&kernel.image).args(["-append", COMMAND_LINE]);
    qemu.arg("-drive").arg(format!("file={},format=raw,if=none,id=disk,cache=unsafe", image.display()));
    qemu.args(["-device", "nvme,drive=disk,serial=guest"]);
    eprintln!("xtask: {qemu:?}");
    let spawned = qemu.stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let mut guest = Guest(spawned.map_err(|error| format!("qemu-system-x86_64: {error}"))?);
    let console = guest.0.stdout.take().ok_or("qemu-system-x86_64 has no output")?;
    let (sender, lines) = mpsc::channel();
    std::thread::spawn(move || {
        for line in BufReader::new(console).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).trim_end_matches('\r').to_owned();
            if sender.send(line).is_err() {
                return;
            }
        }
    });
    let mut report = Report { expected, ..Report::default() };
    let mut began = Instant::now();
    loop {
        match lines.recv_timeout(SILENCE) {
            Ok(line) => {
                let was_running = report.current.is_some();
                report.hear(&line);
                match (was_running, report.current.is_some()) {
                    (false, true) => began = Instant::now(),
                    (true, false) => eprintln!(
                        "guest: {} in {:.1} s",
                        line.trim_start_matches("@@ ended "),
                        began.elapsed().as_secs_f32()
                    ),
                    _ => {}
                }
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => return Ok(report),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                report.others.push(format!("no output for {} s", SILENCE.as_secs()));
                return Ok(report);
            }
        }
    }
}

/// Ends the emulator with us.
struct Guest(Child);

impl Drop for Guest {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Report {
    fn hear(&mut self, line: &str) {
        // A program may leave its last line unfinished.
        let (said, news) = match line.find("@@ ") {
            Some(at) => (&line[..at], Some(&line[at + 3..])),
            None => (line, None),
        };
        if !said.is_empty() || news.is_none() {
            match &mut self.current {
                Some((_, output)) => output.push(said.to_owned()),
                None => self.others.push(said.to_owned()),
            }
        }
        let Some((word, rest)) = news.map(|news| news.split_once(' ').unwrap_or((news, ""))) else { return };
        match word {
            "booted" => self.release = rest.to_owned(),
            "began" => self.current = Some((rest.to_owned(), Vec::new())),
            "ended" => self.end(rest.ends_with(" 0")),
            "left" => self.left = Some(rest.to_owned()),
            "finished" => self.finished = true,
            _ => self.others.push(line.to_owned()),
        }
    }

    fn end(&mut self, passed: bool) {
        let Some((name, output)) = self.current.take() else { return };
        if std::env::var_os("HULL_GUEST_SHOW").is_some() {
            println!("==== {name} ====\n{}", output.join("\n"));
        }
        let summary =
            output.iter().rfind(|line| line.starts_with("test result:") || line.starts_with("skipped:"));
        let summary = summary.cloned().unwrap_or_else(|| {
            format!("{} ok", output.iter().filter(|line| line.contains("... ok")).count())
        });
        // Programs that failed may come again.
        let before = self.failed.iter().position(|(failed, _)| *failed == name);
        let before = before.map(|at| self.failed.remove(at).1);
        match (passed, before) {
            (true, None) => self.passed.push(format!("{name}: {summary}")),
            (true, Some(first)) => {
                self.passed.push(format!("{name}: {summary} (at its second attempt; first {first})"));
            }
            (false, _) => {
                println!("==== {name} ====\n{}", output.join("\n"));
                self.failed.push((name, summary));
            }
        }
    }

    /// Prints everything that is worth reading; whether all of it is good.
    pub fn verdict(mut self) -> Result<(), String> {
        if self.current.is_some() {
            self.end(false);
        }
        self.passed.iter().for_each(|line| println!("passed: {line}"));
        self.failed.iter().for_each(|(name, summary)| println!("failed: {name}: {summary}"));
        if let Some(left) = &self.left {
            return Err(format!("the tests left in the guest: {left}"));
        }
        if !self.finished {
            return Err(format!("the guest did not finish:\n{}", self.others.join("\n")));
        }
        match self.failed.len() {
            0 if self.passed.len() == self.expected => Ok(()),
            0 => Err(format!("{} of {} test programs ran in the guest", self.passed.len(), self.expected)),
            failed => Err(format!("{failed} of {} test programs failed in the guest", self.expected)),
        }
    }
}
