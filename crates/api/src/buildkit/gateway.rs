//! `moby.buildkit.v1.frontend.LLBBridge`: how a client that drives its build itself has frontends solve parts of it.

use std::collections::HashMap;

use prost::Message;

use super::{CacheOptionsEntry, Opaque, Status, WorkerRecord};

#[derive(Clone, PartialEq, Message)]
pub struct SolveRequest {
    #[prost(message, optional, tag = "1")]
    pub definition: Option<Opaque>,
    #[prost(string, tag = "2")]
    pub frontend: String,
    #[prost(map = "string, string", tag = "3")]
    pub frontend_opt: HashMap<String, String>,
    #[prost(message, repeated, tag = "12")]
    pub cache_imports: Vec<CacheOptionsEntry>,
    #[prost(map = "string, message", tag = "13")]
    pub frontend_inputs: HashMap<String, Opaque>,
    #[prost(message, repeated, tag = "15")]
    pub source_policies: Vec<Opaque>,
}

#[derive(Clone, PartialEq, Message)]
pub struct SolveResponse {
    #[prost(message, optional, tag = "3")]
    pub result: Option<Result>,
}

/// What was solved. Refs by platform (tag 4) are for several platforms.
#[derive(Clone, PartialEq, Message)]
pub struct Result {
    #[prost(message, optional, tag = "3")]
    pub reference: Option<Ref>,
    #[prost(message, optional, tag = "4")]
    pub references: Option<Opaque>,
    #[prost(map = "string, bytes", tag = "10")]
    pub metadata: HashMap<String, Vec<u8>>,
}

#[derive(Clone, PartialEq, Message)]
pub struct Ref {
    #[prost(string, tag = "1")]
    pub id: String,
}

/// The end of what the client drives.
#[derive(Clone, PartialEq, Message)]
pub struct ReturnRequest {
    #[prost(message, optional, tag = "1")]
    pub result: Option<Result>,
    #[prost(message, optional, tag = "2")]
    pub error: Option<Status>,
}

#[derive(Clone, PartialEq, Message)]
pub struct EvaluateRequest {
    #[prost(string, tag = "1")]
    pub reference: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct PongResponse {
    #[prost(message, repeated, tag = "1")]
    pub frontend_api_caps: Vec<ApiCap>,
    #[prost(message, repeated, tag = "2")]
    pub llb_caps: Vec<ApiCap>,
    #[prost(message, repeated, tag = "3")]
    pub workers: Vec<WorkerRecord>,
}

/// `moby.buildkit.v1.apicaps.APICap`: something the server can do.
#[derive(Clone, PartialEq, Message)]
pub struct ApiCap {
    #[prost(string, tag = "1")]
    pub id: String,
    #[prost(bool, tag = "2")]
    pub enabled: bool,
}

impl ApiCap {
    /// Something it does.
    pub fn enabled(id: &str) -> Self {
        Self { id: id.to_owned(), enabled: true }
    }
}
