//! What the builder keeps, and giving it back: `docker buildx du` and `docker buildx prune`.

use std::collections::HashSet;
use std::sync::Arc;

use api::buildkit::control::{DiskUsageRequest, DiskUsageResponse, PruneRequest, UsageRecord};
use api::buildkit::{Status, Timestamp, code};
use diag::Diagnose;
use engine::Engine;
use engine::model::{Filters, UsageItem};

use super::grpc::failure;
use crate::State;
use crate::refusal::with_sources;

/// Everything that is kept.
///
/// # Errors
/// A filter, or the store cannot be read.
pub async fn disk_usage(state: Arc<State>, request: DiskUsageRequest) -> Result<DiskUsageResponse, Status> {
    refuse_filters(&request.filter)?;
    let engine = state.engine.clone();
    let items = tokio::task::spawn_blocking(move || engine.build_cache()).await;
    let items = items.expect("a panic ends the process").map_err(broken)?;
    Ok(DiskUsageResponse { record: items.into_iter().map(record).collect() })
}

/// Removes what is asked for, and says what that was.
///
/// # Errors
/// A limit that is not honoured, or the store cannot be changed.
pub async fn prune(state: Arc<State>, request: PruneRequest) -> Result<Vec<UsageRecord>, Status> {
    refuse_filters(&request.filter)?;
    if [request.reserved_space, request.max_used_space, request.min_free_space]
        .iter()
        .any(|limit| *limit != 0)
    {
        let text = "entries are pruned by age and use, not by size: leave limits on storage out";
        return Err(failure(code::UNKNOWN, text));
    }
    let engine = state.engine.clone();
    let work = move || pruned(&engine, &request);
    tokio::task::spawn_blocking(work).await.expect("a panic ends the process")
}

fn pruned(engine: &Engine, request: &PruneRequest) -> Result<Vec<UsageRecord>, Status> {
    let age = match request.keep_duration_ns {
        0 => None,
        nanoseconds => Some(format!("until={nanoseconds}ns")),
    };
    let filters = Filters::parse(age).map_err(broken)?;
    let before = engine.build_cache().map_err(broken)?;
    let gone = engine.prune_build_cache(&filters, request.all).map_err(broken)?;
    let gone: HashSet<String> = gone.build_cache.into_iter().collect();
    Ok(before.into_iter().filter(|item| gone.contains(&item.id)).map(record).collect())
}

fn record(item: UsageItem) -> UsageRecord {
    UsageRecord {
        id: item.id,
        in_use: item.in_use,
        size: i64::try_from(item.size_bytes).unwrap_or(i64::MAX),
        created_at: Some(Timestamp::from_ns(item.created_ns)),
        last_used_at: Some(Timestamp::from_ns(item.last_used_ns)),
        record_type: "regular".to_owned(),
    }
}

fn refuse_filters(filters: &[String]) -> Result<(), Status> {
    // Without any, buildx sends an empty one.
    match filters.iter().find(|filter| !filter.is_empty()) {
        None => Ok(()),
        Some(filter) => Err(failure(code::UNKNOWN, format!("filter {filter} is not supported"))),
    }
}

fn broken(error: impl Diagnose) -> Status {
    failure(code::UNKNOWN, with_sources(&error))
}
