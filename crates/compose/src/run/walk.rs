//! Work on the nodes of a graph, as parallel as its edges allow.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Condvar, Mutex, PoisonError};
use std::thread;

use diag::Failure;

use super::StackError;

/// What each node waits for.
pub(crate) type Graph = BTreeMap<String, BTreeSet<String>>;

/// The same nodes with every edge turned round.
pub(crate) fn reversed(graph: &Graph) -> Graph {
    let mut out: Graph = graph.keys().map(|name| (name.clone(), BTreeSet::new())).collect();
    for (name, before) in graph {
        for other in before {
            if let Some(edges) = out.get_mut(other) {
                edges.insert(name.clone());
            }
        }
    }
    out
}

/// Handed to a job: lets it do early work first and wait for the nodes before it when it has to.
pub(crate) struct Gate<'a> {
    walk: &'a Walk<'a>,
    before: &'a BTreeSet<String>,
}

impl Gate<'_> {
    /// Waits until every node before this one is done; false when one of them failed.
    pub fn pass(&self) -> bool {
        let mut done = self.walk.done.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            let mut missing = false;
            for name in self.before {
                match done.get(name) {
                    Some(false) => return false,
                    Some(true) => {}
                    None => missing |= self.walk.graph.contains_key(name),
                }
            }
            if !missing {
                return true;
            }
            done = self.walk.changed.wait(done).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

struct Walk<'a> {
    graph: &'a Graph,
    /// Finished nodes and whether they succeeded.
    done: Mutex<BTreeMap<String, bool>>,
    changed: Condvar,
}

/// Runs `job` for every node, each on its own thread; collects the failures in the order of nodes.
///
/// A job that returns without having passed its gate does not wait for it.
pub(crate) fn walk(
    graph: &Graph,
    job: impl Fn(&str, &Gate<'_>) -> Result<(), Failure> + Sync,
) -> Vec<Failure> {
    let state = Walk { graph, done: Mutex::default(), changed: Condvar::new() };
    let run = |name: &str, before: &BTreeSet<String>| {
        let result = job(name, &Gate { walk: &state, before });
        let mut done = state.done.lock().unwrap_or_else(PoisonError::into_inner);
        done.insert(name.to_owned(), result.is_ok());
        state.changed.notify_all();
        result
    };
    if let (1, Some((name, before))) = (graph.len(), graph.iter().next()) {
        return run(name, before).err().into_iter().collect();
    }
    thread::scope(|scope| {
        let run = &run;
        let threads: Vec<_> =
            graph.iter().map(|(name, before)| scope.spawn(move || run(name, before))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()?.err()).collect()
    })
}

/// [`walk`] for independent items.
pub(crate) fn each<T: Sync>(items: &[T], job: impl Fn(&T) -> Result<(), Failure> + Sync) -> Vec<Failure> {
    if let [item] = items {
        return job(item).err().into_iter().collect();
    }
    thread::scope(|scope| {
        let job = &job;
        let threads: Vec<_> = items.iter().map(|item| scope.spawn(move || job(item))).collect();
        threads.into_iter().filter_map(|thread| thread.join().ok()?.err()).collect()
    })
}

/// The first failure that is not just the echo of another one: the one reported.
pub(crate) fn first(mut failures: Vec<Failure>) -> Result<(), Failure> {
    let echo = |failure: &Failure| {
        matches!(
            failure.error().downcast_ref::<StackError>(),
            Some(StackError::Skipped { .. } | StackError::Interrupted)
        )
    };
    match failures.iter().position(|failure| !echo(failure)) {
        Some(index) => Err(failures.swap_remove(index)),
        None => failures.into_iter().next().map_or(Ok(()), Err),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn graph(text: &str) -> Graph {
        let item = |item: &str| {
            let (name, before) = item.split_once('<').unwrap_or((item, ""));
            (name.to_owned(), before.chars().map(String::from).collect())
        };
        text.split(' ').map(item).collect()
    }

    fn order(text: &str, failing: &str) -> (String, usize) {
        let trace = Mutex::new(String::new());
        let failures = walk(&graph(text), |name, gate| {
            if !gate.pass() || name == failing {
                return Err(StackError::Skipped { service: name.into() }.into());
            }
            trace.lock().unwrap().push_str(name);
            Ok(())
        });
        (trace.into_inner().unwrap(), failures.len())
    }

    #[test]
    fn nodes_follow_what_they_wait_for() {
        assert!(matches!(order("a<bc b<d c<d d", "").0.as_str(), "dbca" | "dcba"));
        assert_eq!(order("a<b b<c c", "").0, "cba");
        assert_eq!(order("a", "").0, "a");
        assert_eq!(order("a<x", "").0, "a");
    }

    #[test]
    fn failures_reach_what_depends_on_them() {
        assert_eq!(order("a<b b<c c", "c"), (String::new(), 3));
        assert_eq!(order("a<b b<c c", "b"), ("c".to_owned(), 2));
        assert_eq!(reversed(&graph("a<b b<c c")), graph("a b<a c<b"));
    }
}
