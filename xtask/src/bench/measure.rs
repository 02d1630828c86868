//! Timing commands in turn.

use std::io::Read as _;
use std::process::{Command, Stdio};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// One line of the table: a name and the commands of one repetition.
pub struct Candidate<'a> {
    pub name: String,
    /// Does the work once; what it returns was the part that counts.
    pub once: Box<dyn FnMut() -> Result<Duration, String> + 'a>,
}

/// A candidate that runs one command to its end.
pub fn command<'a>(name: &str, mut make: impl FnMut() -> Command + 'a) -> Candidate<'a> {
    Candidate { name: name.to_owned(), once: Box::new(move || timed(&mut make())) }
}

/// `inner` as the last words of `wrapper`, which is replaced by it.
pub fn wrapped(mut wrapper: Command, inner: &Command) -> Command {
    wrapper.arg(inner.get_program()).args(inner.get_args());
    wrapper.envs(inner.get_envs().filter_map(|(key, value)| Some((key, value?))));
    wrapper
}

/// Runs `command` quietly and returns how long it took; a failing command is an error, not a fast result.
pub fn timed(command: &mut Command) -> Result<Duration, String> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let start = Instant::now();
    let output = command.spawn().and_then(|child| child.wait_with_output());
    let took = start.elapsed();
    match output {
        Ok(output) if output.status.success() => Ok(took),
        Ok(output) => Err(format!(
            "{command:?}: {}: {}",
            output.status,
            String::from_utf8_lossy(&output.stderr).trim_end()
        )),
        Err(error) => Err(format!("{command:?}: {error}")),
    }
}

/// As [`timed`], for a command that may hang: after `limit` it is killed, and there is no time.
pub fn timed_within(limit: Duration, command: &mut Command) -> Result<Option<Duration>, String> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let start = Instant::now();
    let mut child = command.spawn().map_err(|error| format!("{command:?}: {error}"))?;
    let pid = child.id().to_string();
    let (ended, end) = channel::<()>();
    let watch = std::thread::spawn(move || {
        let hangs = end.recv_timeout(limit) == Err(RecvTimeoutError::Timeout);
        hangs && Command::new("kill").args(["-KILL", &pid]).status().is_ok_and(|status| status.success())
    });
    let status = child.wait();
    let took = start.elapsed();
    drop(ended);
    match (status, watch.join().unwrap_or(false)) {
        (Ok(status), false) if status.success() => Ok(Some(took)),
        (Ok(_), true) => Ok(None),
        (Ok(status), false) => {
            let mut said = String::new();
            let _ = child.stderr.take().map(|mut pipe| pipe.read_to_string(&mut said));
            Err(format!("{command:?}: {status}: {}", said.trim_end()))
        }
        (Err(error), _) => Err(format!("{command:?}: {error}")),
    }
}

/// Runs every candidate `repetitions` times in turn and prints a row for each; ratios are to the first one.
///
/// A peer that fails is told and left out; the first candidate is hull, whose failure is the caller's.
pub fn compare(repetitions: usize, candidates: Vec<Candidate<'_>>) -> Result<(), String> {
    let mut measured: Vec<_> = candidates.into_iter().map(|candidate| (candidate, Vec::new())).collect();
    let warm_up = (repetitions / 10).clamp(1, 5);
    for repetition in 0..repetitions + warm_up {
        let mut index = 0;
        while let Some((candidate, times)) = measured.get_mut(index) {
            match (candidate.once)() {
                Ok(took) => {
                    times.extend((repetition >= warm_up).then_some(took));
                    index += 1;
                }
                Err(reason) if index == 0 => return Err(reason),
                Err(reason) => {
                    println!("  {}: not measured: {reason}", candidate.name);
                    measured.remove(index);
                }
            }
        }
    }
    println!("  {:<44} {:>10} {:>10} {:>8}", "", "min ms", "median ms", "ratio");
    let mut first = None;
    for (candidate, times) in &mut measured {
        let median = median(times);
        let least = milliseconds(times.first().copied().unwrap_or_default());
        let ratio = median / *first.get_or_insert(median);
        println!("  {:<44} {least:>10.2} {median:>10.2} {ratio:>8.2}", candidate.name);
    }
    Ok(())
}

/// Sorts `times` and returns the one in the middle.
fn median(times: &mut [Duration]) -> f64 {
    times.sort();
    milliseconds(times.get(times.len() / 2).copied().unwrap_or_default())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

/// What this was measured on.
pub fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg");
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    format!("Linux {}, {cpus} processors, load {}", kernel.trim(), load.split(' ').next().unwrap_or("?"))
}
