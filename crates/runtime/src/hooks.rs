//! Hooks: programs of the configuration, run at points of a container's life with its state on their standard input.
//!
//! Spec: OCI runtime-spec 1.3, `config.md`, "POSIX-platform Hooks".

use std::io::{self, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use diag::{Class, Diagnose};
use oci::runtime::{Hook, State};
use sys::event::{PollFd, PollFlags};

/// A hook that did not do its work.
#[derive(Debug, thiserror::Error)]
#[error("{point} hook {path} failed: {why}")]
pub struct HookError {
    /// `prestart`, `createRuntime` and so on.
    pub point: &'static str,
    pub path: String,
    pub why: String,
}

impl Diagnose for HookError {
    fn class(&self) -> Class {
        Class::Internal
    }
}

/// Most of a hook's output that its error repeats.
const MAX_OUTPUT: usize = 4096;

/// Runs the hooks one after the other; the first that fails ends it.
///
/// # Errors
/// A hook that cannot be started, ends with another status than 0, or takes longer than it may and is killed for that.
pub fn run(point: &'static str, hooks: &[Hook], state: &State) -> Result<(), HookError> {
    if hooks.is_empty() {
        return Ok(());
    }
    let state = serde_json::to_vec(state).expect("a state is JSON");
    hooks.iter().try_for_each(|hook| {
        let failed = |why| HookError { point, path: hook.path.display().to_string(), why };
        run_one(hook, &state).map_err(|error| failed(error.to_string()))?.map_err(failed)
    })
}

fn run_one(hook: &Hook, state: &[u8]) -> io::Result<Result<(), String>> {
    #[expect(clippy::disallowed_methods, reason = "a hook is a program of whoever wrote the bundle")]
    let mut command = Command::new(&hook.path);
    if let Some((name, args)) = hook.args.split_first() {
        command.arg0(name).args(args);
    }
    let variables = hook.env.iter().map(|variable| variable.split_once('=').unwrap_or((variable, "")));
    command.env_clear().envs(variables).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let watched = watch(&mut child, state, hook.timeout.map(Duration::from_secs));
    if !matches!(watched, Ok((true, _))) {
        child.kill()?;
    }
    let status = child.wait()?;
    let (ended, output) = watched?;
    let output = String::from_utf8_lossy(&output);
    let tail = if output.trim().is_empty() { String::new() } else { format!(": {}", output.trim()) };
    Ok(match (ended, status.code(), status.signal()) {
        (false, ..) => Err(format!("it took longer than {} s{tail}", hook.timeout.unwrap_or(0))),
        (true, Some(0), _) => Ok(()),
        (true, Some(code), _) => Err(format!("exit status {code}{tail}")),
        (true, None, signal) => Err(format!("signal {}{tail}", signal.unwrap_or(0))),
    })
}

/// Gives the hook its state and takes what it says until it ends: whether it did in time, and the beginning of its output.
fn watch(child: &mut Child, state: &[u8], timeout: Option<Duration>) -> io::Result<(bool, Vec<u8>)> {
    let deadline = timeout.map(|timeout| Instant::now() + timeout);
    let pidfd = sys::process::open(child.id() as i32)?;
    // A state is smaller than a pipe; a hook that does not read it is no failure.
    let _ = child.stdin.take().expect("it was piped").write_all(state);
    let mut streams: Vec<Box<dyn Source>> = vec![
        Box::new(child.stdout.take().expect("it was piped")),
        Box::new(child.stderr.take().expect("it was piped")),
    ];
    let mut output = Vec::new();
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok((false, output));
        }
        let mut fds = vec![PollFd::from_borrowed_fd(pidfd.as_fd(), PollFlags::IN)];
        fds.extend(streams.iter().map(|stream| PollFd::from_borrowed_fd(stream.as_fd(), PollFlags::IN)));
        sys::event::poll(&mut fds, left)?;
        let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
        drop(fds);
        let mut buffer = [0; 4096];
        let mut nth = 0;
        let mut failed = None;
        streams.retain_mut(|stream| {
            nth += 1;
            if !ready[nth] {
                return true;
            }
            match stream.read(&mut buffer) {
                Ok(0) => false,
                Ok(read) => {
                    let room = MAX_OUTPUT.saturating_sub(output.len());
                    output.extend(&buffer[..read.min(room)]);
                    true
                }
                Err(error) => {
                    failed = Some(error);
                    false
                }
            }
        });
        match failed {
            Some(error) => return Err(error),
            // What it left running may hold its output open for ever.
            None if ready[0] => return Ok((true, output)),
            None => {}
        }
    }
}

trait Source: Read + AsFd {}
impl<T: Read + AsFd> Source for T {}

#[cfg(test)]
mod tests {
    use super::*;
    use oci::runtime::Status;

    fn shell(script: &str, timeout: Option<u64>) -> Hook {
        let args = ["sh", "-c", script].map(str::to_owned).to_vec();
        Hook { path: "/bin/sh".into(), args, env: vec!["A=b".to_owned()], timeout }
    }

    fn state() -> State {
        State {
            oci_version: "1.3.0".to_owned(),
            id: "box".to_owned(),
            status: Status::Creating,
            bundle: "/b".into(),
            pid: Some(7),
            annotations: Default::default(),
        }
    }

    #[test]
    fn a_hook_gets_the_state_and_its_own_environment() {
        let script = r#"test "$(cat)" = '{"ociVersion":"1.3.0","id":"box","status":"creating","bundle":"/b","pid":7}' && test "$(env | grep -v PWD | grep -v _= | grep -v SHLVL)" = A=b"#;
        run("prestart", &[shell(script, Some(10))], &state()).expect("it succeeds");
    }

    #[test]
    fn a_failing_hook_is_named_and_ends_the_row() {
        let error =
            run("poststop", &[shell("echo no luck >&2; exit 3", None), shell("exit 4", None)], &state());
        assert_eq!(error.unwrap_err().to_string(), "poststop hook /bin/sh failed: exit status 3: no luck");
        let missing = Hook { path: "/no/such".into(), ..Hook::default() };
        let error = run("prestart", &[missing], &state()).unwrap_err().to_string();
        assert!(error.starts_with("prestart hook /no/such failed: No such file"), "{error}");
    }

    #[test]
    fn a_slow_hook_is_killed() {
        let error = run("prestart", &[shell("echo started; exec sleep 100", Some(1))], &state()).unwrap_err();
        assert_eq!(error.why, "it took longer than 1 s: started");
    }

    #[test]
    fn what_a_hook_leaves_running_is_not_waited_for() {
        run("poststart", &[shell("sleep 5 & exit 0", None)], &state()).expect("it succeeds");
    }
}
