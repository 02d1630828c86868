//! Output of several containers at once, and the attached end of `up`.

use std::collections::BTreeSet;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use diag::{Class, Failure};
use engine::model::{LogOptions, WaitCondition};

use super::{Instance, LogLine, Stack, StackError, UpOptions, UpResult};

/// A container among those shown.
pub(crate) struct Source {
    pub id: String,
    pub prefix: String,
    pub index: usize,
    pub width: usize,
}

/// Gives each container its place, with the prefixes aligned.
pub(crate) fn sources(instances: &[Instance], project: &str) -> Vec<Source> {
    let prefixes: Vec<String> = instances.iter().map(|instance| instance.prefix(project)).collect();
    let width = prefixes.iter().map(String::len).max().unwrap_or(0);
    let shown = instances.iter().zip(prefixes).enumerate();
    shown
        .map(|(index, (instance, prefix))| Source { id: instance.id().to_owned(), prefix, index, width })
        .collect()
}

impl Source {
    pub fn line<'a>(&'a self, text: &'a [u8], time_ns: i64, stderr: bool) -> LogLine<'a> {
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        LogLine {
            prefix: &self.prefix,
            index: self.index,
            width: self.width,
            time_ns,
            stderr,
            notice: false,
            text,
        }
    }

    fn notice<'a>(&'a self, text: &'a str) -> LogLine<'a> {
        LogLine { notice: true, ..self.line(text.as_bytes(), 0, false) }
    }
}

impl Stack<'_> {
    /// Hands the lines of one container to the reporter until they end; returns the time of the last.
    pub(crate) fn pump(&self, source: &Source, options: &LogOptions) -> Result<Option<i64>, Failure> {
        let mut last = None;
        for line in self.engine.logs(&source.id, options)? {
            let line =
                line.map_err(|error| StackError::Log { container: source.prefix.clone(), source: error })?;
            last = Some(line.time_ns);
            self.reporter.log(&source.line(&line.text, line.time_ns, line.stream.as_str() == "stderr"));
        }
        Ok(last)
    }

    /// Shows the output of one container over its restarts; returns its exit code.
    fn watch(&self, source: &Source, since_ns: Option<i64>) -> Result<i32, Failure> {
        let mut options = LogOptions { follow: true, since_ns, ..LogOptions::default() };
        loop {
            match self.pump(source, &options) {
                Ok(last) => options.since_ns = last.map(|last| last + 1).or(options.since_ns),
                // Its log driver keeps nothing to show.
                Err(failure) if failure.class() == Class::Unsupported => {
                    return self.engine.wait(&source.id, WaitCondition::NotRunning).map_err(Failure::from);
                }
                Err(failure) => return Err(failure),
            }
            let state = self.engine.inspect(&source.id)?.state;
            if !state.status.is_running() {
                return Ok(state.exit_code);
            }
            // The follower ended although the container lives: it was restarted just now.
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Stays with the containers of `up` until they are done or the user has enough.
    pub(crate) fn attached(
        &self,
        instances: Vec<Instance>,
        options: &UpOptions,
        running_before: &BTreeSet<String>,
        begun_ns: i64,
    ) -> Result<UpResult, Failure> {
        let shows = |service: &String| {
            let wanted = self.project.services.get(service).is_none_or(|service| service.attach);
            let wanted =
                if options.attach_only.is_empty() { wanted } else { options.attach_only.contains(service) };
            wanted && !options.no_attach.contains(service)
        };
        let sources = sources(&instances, &self.project.name);
        let (sender, ended) = channel::<(usize, Result<i32, Failure>)>();
        thread::scope(|scope| {
            for (index, (source, instance)) in sources.iter().zip(&instances).enumerate() {
                let sender = sender.clone();
                let shown = shows(&instance.service);
                // A container that ran before shows what it says from now on, a started one all it says since then.
                let since_ns = match running_before.contains(instance.id()) {
                    true => Some(engine::time::now_ns()),
                    false => Some(begun_ns),
                };
                scope.spawn(move || {
                    let code = match shown {
                        true => self.watch(source, since_ns),
                        false => {
                            self.engine.wait(&source.id, WaitCondition::NotRunning).map_err(Failure::from)
                        }
                    };
                    // The receiver lives until every sender is done.
                    let _ = sender.send((index, code));
                });
            }
            drop(sender);
            let mut result = UpResult::Finished(0);
            let mut decided = false;
            let mut stopping: Option<thread::ScopedJoinHandle<'_, Result<(), Failure>>> = None;
            let mut killed = false;
            let mut failure = None;
            let stop = |instances: &[Instance]| {
                let instances = instances.to_vec();
                scope.spawn(move || self.stop_all(instances, options.timeout_s))
            };
            loop {
                match ended.recv_timeout(Duration::from_millis(50)) {
                    Ok((index, Ok(code))) => {
                        let (source, instance) = (&sources[index], &instances[index]);
                        if shows(&instance.service) {
                            self.reporter.log(&source.notice(&format!("exited with code {code}")));
                        }
                        let from = options.exit_code_from.as_ref();
                        let abort = options.abort_on_container_exit
                            || from.is_some()
                            || (options.abort_on_container_failure && code != 0);
                        if from.is_none_or(|service| *service == instance.service) && abort && !decided {
                            decided = true;
                            result = UpResult::Finished(code);
                        }
                        if abort && stopping.is_none() {
                            stopping = Some(stop(&instances));
                        }
                    }
                    Ok((_, Err(error))) => {
                        failure.get_or_insert(error);
                    }
                    Err(RecvTimeoutError::Timeout) => {}
                    Err(RecvTimeoutError::Disconnected) => break,
                }
                if self.interrupt.is_raised() && result != UpResult::Interrupted {
                    result = UpResult::Interrupted;
                    self.reporter.warning("gracefully stopping... (press Ctrl+C again to force)");
                    if stopping.is_none() {
                        stopping = Some(stop(&instances));
                    }
                }
                if self.interrupt.is_urgent() && !killed {
                    killed = true;
                    for instance in &instances {
                        let _ = self.engine.kill(instance.id(), "SIGKILL");
                    }
                }
            }
            if let Some(stopping) = stopping
                && let Ok(Err(error)) = stopping.join()
                && !killed
            {
                failure.get_or_insert(error);
            }
            match failure {
                Some(failure) if result != UpResult::Interrupted => Err(failure),
                _ => Ok(result),
            }
        })
    }
}
