//! Waiting for containers to become what others need them to be.

use std::thread;
use std::time::{Duration, Instant};

use diag::Failure;
use engine::model::{ContainerState, HealthStatus, Status as ContainerStatus};

use super::{Kind, Object, Stack, StackError, Status};
use crate::model::StartCondition;

/// A container by id, with the name to show.
#[derive(Clone, Debug)]
pub(crate) struct Target {
    pub id: String,
    pub name: String,
}

/// The first look comes at once, later ones further and further apart.
const SHORTEST: Duration = Duration::from_millis(4);
const LONGEST: Duration = Duration::from_millis(100);

impl Stack<'_> {
    /// Looks at `target` until `done` has an answer.
    fn observe<T>(
        &self,
        target: &Target,
        deadline: Option<Instant>,
        mut done: impl FnMut(&ContainerState) -> Result<Option<T>, StackError>,
    ) -> Result<T, Failure> {
        let mut pause = SHORTEST;
        loop {
            let state = self.engine.inspect(&target.id)?.state;
            if let Some(answer) = done(&state)? {
                return Ok(answer);
            }
            if self.interrupt.is_raised() {
                return Err(StackError::Interrupted.into());
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(StackError::WaitTimeout { container: target.name.clone() }.into());
            }
            thread::sleep(pause);
            pause = (pause * 2).min(LONGEST);
        }
    }

    /// Waits until `condition` holds for the containers of `service`.
    pub(crate) fn await_condition(
        &self,
        service: &str,
        condition: StartCondition,
        targets: &[Target],
    ) -> Result<(), Failure> {
        if condition == StartCondition::Started {
            return Ok(());
        }
        if targets.is_empty() {
            return Err(StackError::NothingToWaitFor { service: service.to_owned() }.into());
        }
        for target in targets {
            let object = Object { kind: Kind::Container, name: &target.name };
            self.reporter.progress(object, Status::Doing("Waiting"));
            let waited = match condition {
                StartCondition::CompletedSuccessfully => self.await_completion(service, target),
                _ => self.observe(target, None, |state| healthy(target, state)),
            };
            match waited {
                Ok(()) if condition == StartCondition::Healthy => {
                    self.reporter.progress(object, Status::Done("Healthy"));
                }
                Ok(()) => self.reporter.progress(object, Status::Done("Exited")),
                Err(failure) => {
                    self.reporter.progress(object, Status::Failed(&failure.to_string()));
                    return Err(failure);
                }
            }
        }
        Ok(())
    }

    fn await_completion(&self, service: &str, target: &Target) -> Result<(), Failure> {
        let code = self.observe(target, None, |state| Ok(ended(state)))?;
        match code {
            0 => Ok(()),
            code => Err(StackError::NotCompleted { service: service.to_owned(), code }.into()),
        }
    }

    /// `--wait`: until `target` is healthy, or just running when it has no healthcheck.
    pub(crate) fn await_ready(&self, target: &Target, deadline: Option<Instant>) -> Result<(), Failure> {
        let object = Object { kind: Kind::Container, name: &target.name };
        self.reporter.progress(object, Status::Doing("Waiting"));
        let ready = self.observe(target, deadline, |state| match &state.health {
            _ if !state.status.is_running() => Err(StackError::NotReady {
                container: target.name.clone(),
                state: format!("{} ({})", state.status.as_str(), state.exit_code),
            }),
            None => Ok((state.status == ContainerStatus::Running).then_some(())),
            Some(health) => match health.status {
                HealthStatus::Healthy => Ok(Some(())),
                HealthStatus::Starting => Ok(None),
                HealthStatus::Unhealthy => {
                    Err(StackError::NotReady { container: target.name.clone(), state: "unhealthy".into() })
                }
            },
        });
        match &ready {
            Ok(()) => self.reporter.progress(object, Status::Done("Healthy")),
            Err(failure) => self.reporter.progress(object, Status::Failed(&failure.to_string())),
        }
        ready
    }
}

fn healthy(target: &Target, state: &ContainerState) -> Result<Option<()>, StackError> {
    let container = target.name.clone();
    if let Some(code) = ended(state) {
        return Err(StackError::Exited { container, code });
    }
    match &state.health {
        None => Err(StackError::NoHealthcheck { container }),
        Some(health) => match health.status {
            HealthStatus::Healthy => Ok(Some(())),
            HealthStatus::Starting => Ok(None),
            HealthStatus::Unhealthy => Err(StackError::Unhealthy { container }),
        },
    }
}

/// The exit code of a container that has run and will not by itself run again.
fn ended(state: &ContainerState) -> Option<i32> {
    matches!(state.status, ContainerStatus::Exited | ContainerStatus::Dead).then_some(state.exit_code)
}
