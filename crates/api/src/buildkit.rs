//! BuildKit's messages on the wire: those of its services that hull serves or calls, with the fields it reads or writes.
//!
//! They are written by hand after BuildKit's `.proto` files, so that no compiler of those is needed: names and tags are theirs, and
//! fields that are not here are skipped when they come. A field whose mere presence matters is a [`Opaque`].
//!
//! Spec: `moby/buildkit` 0.13, `api/services/control`, `frontend/gateway/pb`, `session/*`, `solver/errdefs`.

pub mod control;
pub mod gateway;
pub mod session;
pub mod status;

use std::collections::HashMap;

use prost::Message;

/// Something that is there, whatever it says.
#[derive(Clone, PartialEq, Message)]
pub struct Opaque {}

/// `pb.Platform`.
#[derive(Clone, PartialEq, Message)]
pub struct Platform {
    #[prost(string, tag = "1")]
    pub architecture: String,
    #[prost(string, tag = "2")]
    pub os: String,
    #[prost(string, tag = "3")]
    pub variant: String,
}

/// `moby.buildkit.v1.types.WorkerRecord`: who builds.
#[derive(Clone, PartialEq, Message)]
pub struct WorkerRecord {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(map = "string, string", tag = "2")]
    pub labels: HashMap<String, String>,
    #[prost(message, repeated, tag = "3")]
    pub platforms: Vec<Platform>,
    #[prost(message, optional, tag = "5")]
    pub buildkit_version: Option<BuildkitVersion>,
}

/// `moby.buildkit.v1.types.BuildkitVersion`.
#[derive(Clone, PartialEq, Message)]
pub struct BuildkitVersion {
    #[prost(string, tag = "1")]
    pub package: String,
    #[prost(string, tag = "2")]
    pub version: String,
    #[prost(string, tag = "3")]
    pub revision: String,
}

/// A cache to import from or export to, `CacheOptionsEntry` of both services.
#[derive(Clone, PartialEq, Message)]
pub struct CacheOptionsEntry {
    #[prost(string, tag = "1")]
    pub kind: String,
    #[prost(map = "string, string", tag = "2")]
    pub attrs: HashMap<String, String>,
}

/// `google.protobuf.Timestamp`.
#[derive(Clone, Copy, PartialEq, Eq, Message)]
pub struct Timestamp {
    #[prost(int64, tag = "1")]
    pub seconds: i64,
    #[prost(int32, tag = "2")]
    pub nanos: i32,
}

impl Timestamp {
    /// A time in nanoseconds since 1970.
    pub fn from_ns(ns: i64) -> Self {
        let nanos = i32::try_from(ns.rem_euclid(1_000_000_000)).expect("it is less than a second");
        Self { seconds: ns.div_euclid(1_000_000_000), nanos }
    }
}

/// `google.rpc.Status`: how a call failed.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    /// One of `status`'s codes.
    #[prost(int32, tag = "1")]
    pub code: i32,
    #[prost(string, tag = "2")]
    pub message: String,
    #[prost(message, repeated, tag = "3")]
    pub details: Vec<Any>,
}

/// `google.protobuf.Any`.
#[derive(Clone, PartialEq, Message)]
pub struct Any {
    #[prost(string, tag = "1")]
    pub type_url: String,
    #[prost(bytes = "vec", tag = "2")]
    pub value: Vec<u8>,
}

/// Codes of gRPC statuses.
pub mod code {
    pub const OK: i32 = 0;
    pub const CANCELLED: i32 = 1;
    pub const UNKNOWN: i32 = 2;
    pub const INVALID_ARGUMENT: i32 = 3;
    pub const NOT_FOUND: i32 = 5;
    pub const RESOURCE_EXHAUSTED: i32 = 8;
    pub const UNIMPLEMENTED: i32 = 12;
    pub const INTERNAL: i32 = 13;
    pub const UNAVAILABLE: i32 = 14;
}
