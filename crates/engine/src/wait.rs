//! Waiting for the end of a container.
//!
//! A wait begins at a moment its caller knows of and misses nothing from then on, also of a container that is only started later,
//! runs for a millisecond and removes itself: the event log tells what no monitor is there to tell any more.

use crate::control::ControlError;
use crate::engine::Engine;
use crate::lookup::LookupError;
use crate::model::{ContainerId, WaitCondition};
use crate::record::Container;
use monitor::client::RequestError;
use monitor::events::{Event, Follower, Next, Window};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::Duration;
use store::db::containers;
use sys::event::{PollFd, PollFlags, poll};

/// A wait that has begun.
pub struct Wait {
    container: Container,
    condition: WaitCondition,
    events: Follower,
    /// The exit code seen last.
    code: i32,
}

/// What a wait came back with before the next look.
enum Turn {
    Ended { code: i32, last: bool },
    Changed,
    Interrupted,
}

/// A change that no event tells of is found after this time.
const LOOK_INTERVAL: Duration = Duration::from_millis(200);

impl Engine {
    /// Waits for a container and returns its exit code.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn wait(&self, name: &str, condition: WaitCondition) -> Result<i32, ControlError> {
        let wait = self.begin_wait(name, condition)?;
        Ok(self.finish_wait(wait, None)?.expect("nobody interrupts it"))
    }

    /// Begins to wait: whatever happens from now on counts.
    ///
    /// # Errors
    /// [`ControlError`] when there is no such container.
    pub fn begin_wait(&self, name: &str, condition: WaitCondition) -> Result<Wait, ControlError> {
        let path = self.events_path();
        let container = self.find(name)?;
        let events = monitor::events::follow(&path, Window::default()).map_err(|source| {
            ControlError::Lookup(LookupError::State { name: container.name.clone(), source })
        })?;
        // Whether it runs is looked at only now: what changes after that is among the events.
        let mut state = self.look(&container)?.state;
        if condition == WaitCondition::NotRunning && !state.status.is_active() {
            // Somebody may just be starting it.
            drop(self.find_locked(container.id.as_str())?);
            state = self.look(&container)?.state;
        }
        Ok(Wait { container, condition, events, code: state.exit_code })
    }

    /// Waits for the end; `None` when `interrupt` became readable, or hung up, before it.
    ///
    /// # Errors
    /// [`ControlError`].
    pub fn finish_wait(
        &self,
        mut wait: Wait,
        interrupt: Option<BorrowedFd<'_>>,
    ) -> Result<Option<i32>, ControlError> {
        let mut ended = false;
        loop {
            let exists = self.exists(&wait.container.id)?;
            if exists {
                // Its code and that it is the last one are of the same look: it may end at any moment.
                let state = self.look(&wait.container)?.state;
                if !state.status.is_active() && wait.condition == WaitCondition::NotRunning {
                    return Ok(Some(state.exit_code));
                }
            }
            let turn = match self.monitor(&wait.container) {
                Ok(monitor) if exists && !ended => self.wait_at(monitor, &wait.container, interrupt)?,
                // It does not run (yet), its monitor was killed, or it is being removed.
                _ => {
                    if !exists {
                        return wait.last_code().map(Some);
                    }
                    wait.next_event(interrupt)?
                }
            };
            match turn {
                Turn::Interrupted => return Ok(None),
                Turn::Changed => {}
                Turn::Ended { code, last } => {
                    wait.code = code;
                    ended = last;
                    match wait.condition {
                        WaitCondition::NextExit => return Ok(Some(code)),
                        WaitCondition::NotRunning if last => return Ok(Some(code)),
                        WaitCondition::NotRunning | WaitCondition::Removed => {}
                    }
                }
            }
        }
    }

    /// Waits for the next end of a container that has a monitor.
    fn wait_at(
        &self,
        mut monitor: monitor::client::Client,
        container: &Container,
        interrupt: Option<BorrowedFd<'_>>,
    ) -> Result<Turn, ControlError> {
        let failed =
            |source| ControlError::Monitor { action: "wait for", name: container.name.clone(), source };
        let told = monitor.begin_wait().and_then(|()| match wait_for(monitor.as_fd(), interrupt, None) {
            Ok(Some(_)) => monitor.finish_wait().map(Some),
            Ok(None) => Ok(None),
            Err(source) => Err(RequestError::Talk { id: container.id.to_string(), source }),
        });
        match told {
            Ok(Some(ended)) => Ok(Turn::Ended { code: ended.code, last: !ended.restarting }),
            Ok(None) => Ok(Turn::Interrupted),
            Err(RequestError::NotRunning { .. }) => Ok(Turn::Changed),
            Err(source) => Err(failed(source)),
        }
    }

    fn exists(&self, id: &ContainerId) -> Result<bool, LookupError> {
        Ok(self.store().database().read(|reader| containers::by_id(reader, id.as_str()))?.is_some())
    }
}

impl Wait {
    /// Waits for an event of this container, or for anything else that may have changed it.
    fn next_event(&mut self, interrupt: Option<BorrowedFd<'_>>) -> Result<Turn, ControlError> {
        loop {
            match self.event()? {
                // Whether it is the last one, the next look tells.
                Some(event) => {
                    return Ok(code(&event).map_or(Turn::Changed, |code| Turn::Ended { code, last: false }));
                }
                None => match wait_for(self.events.as_fd(), interrupt, Some(LOOK_INTERVAL)) {
                    Ok(None) => return Ok(Turn::Interrupted),
                    Ok(Some(false)) => return Ok(Turn::Changed),
                    Ok(Some(true)) => {}
                    Err(source) => return Err(self.failed(source)),
                },
            }
        }
    }

    /// The exit code of the last end that has been told of.
    fn last_code(mut self) -> Result<i32, ControlError> {
        while let Some(event) = self.event()? {
            self.code = code(&event).unwrap_or(self.code);
        }
        Ok(self.code)
    }

    /// The next event of this container that has happened already.
    fn event(&mut self) -> Result<Option<Event>, ControlError> {
        loop {
            match self.events.next_within(Some(Duration::ZERO)) {
                Ok(Next::Event(event)) if event.id != self.container.id.as_str() => {}
                Ok(Next::Event(event)) => return Ok(Some(event)),
                Ok(Next::Idle | Next::End) => return Ok(None),
                Err(source) => return Err(self.failed(source)),
            }
        }
    }

    fn failed(&self, source: std::io::Error) -> ControlError {
        LookupError::State { name: self.container.name.clone(), source }.into()
    }
}

/// The exit code in an event that tells of an end.
fn code(event: &Event) -> Option<i32> {
    (event.action == "die").then(|| event.attributes.get("exitCode")?.parse().ok()).flatten()
}

/// Waits for `fd`: whether it is readable before the time is over, or `None` when `interrupt` came first.
fn wait_for(
    fd: BorrowedFd<'_>,
    interrupt: Option<BorrowedFd<'_>>,
    timeout: Option<Duration>,
) -> std::io::Result<Option<bool>> {
    let mut fds = vec![PollFd::from_borrowed_fd(fd, PollFlags::IN)];
    fds.extend(interrupt.map(|interrupt| PollFd::from_borrowed_fd(interrupt, PollFlags::IN)));
    poll(&mut fds, timeout)?;
    let ready = !fds[0].revents().is_empty();
    let interrupted = fds.get(1).is_some_and(|fd| !fd.revents().is_empty());
    Ok(if ready || !interrupted { Some(ready) } else { None })
}
