//! The restart policy: whether, and after what delay. Docker's numbers.

use std::time::Duration;

use crate::plan::RestartPolicy;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(60);
/// A run of this length was no failure to start: the next delay is the first one again.
const GOOD_RUN: Duration = Duration::from_secs(10);

/// The growing delay between restarts.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    delay: Duration,
}

impl Backoff {
    /// The delay before the next start of a container that ended by itself after `ran`; `None` when it stays down.
    pub(crate) fn next(
        &mut self,
        policy: RestartPolicy,
        exit_code: i32,
        ran: Duration,
        restarts_so_far: u32,
    ) -> Option<Duration> {
        self.delay = if ran >= GOOD_RUN || self.delay.is_zero() {
            FIRST_DELAY
        } else {
            (self.delay * 2).min(LONGEST_DELAY)
        };
        let again = match policy {
            RestartPolicy::No => false,
            RestartPolicy::Always | RestartPolicy::UnlessStopped => true,
            RestartPolicy::OnFailure { max } => exit_code != 0 && (max == 0 || restarts_so_far < max),
        };
        again.then_some(self.delay)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(policy: RestartPolicy, runs: &[(i32, u64)], expected_ms: &[Option<u64>]) {
        let mut backoff = Backoff::default();
        let delays = runs.iter().enumerate().map(|(count, &(code, seconds))| {
            let count = u32::try_from(count).unwrap();
            backoff.next(policy, code, Duration::from_secs(seconds), count)
        });
        let expected: Vec<_> = expected_ms.iter().map(|ms| ms.map(Duration::from_millis)).collect();
        assert_eq!(delays.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn delays_double_and_start_over_after_a_good_run() {
        let quick = [(0, 0), (0, 0), (0, 9), (0, 10), (0, 0)];
        check(RestartPolicy::Always, &quick, &[Some(100), Some(200), Some(400), Some(100), Some(200)]);
        let many = [(1, 0); 12];
        let mut backoff = Backoff::default();
        let last = many.map(|_| backoff.next(RestartPolicy::Always, 1, Duration::ZERO, 0)).last().cloned();
        assert_eq!(last.unwrap(), Some(LONGEST_DELAY));
    }

    #[test]
    fn policies_differ() {
        check(RestartPolicy::No, &[(1, 0)], &[None]);
        check(RestartPolicy::UnlessStopped, &[(0, 0)], &[Some(100)]);
        check(RestartPolicy::OnFailure { max: 0 }, &[(1, 0), (0, 0)], &[Some(100), None]);
        check(RestartPolicy::OnFailure { max: 2 }, &[(1, 0), (1, 0), (1, 0)], &[Some(100), Some(200), None]);
    }
}
