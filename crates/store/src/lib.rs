//! Content store, layer snapshots and the database: ingest, verify, commit, lease, collect.

#![forbid(unsafe_code)]
