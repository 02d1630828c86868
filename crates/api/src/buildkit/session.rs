//! The services a client serves on its session: its files, secrets, credentials and agents.

use std::collections::HashMap;

use prost::Message;

/// Packets of `moby.filesync.v1.FileSync/DiffCopy`: stats of all files, then contents of those that are asked for.
#[derive(Clone, PartialEq, Message)]
pub struct Packet {
    #[prost(enumeration = "PacketKind", tag = "1")]
    pub kind: i32,
    #[prost(message, optional, tag = "2")]
    pub stat: Option<Stat>,
    /// Which file: its place among the stats, from 0.
    #[prost(uint32, tag = "3")]
    pub id: u32,
    #[prost(bytes = "vec", tag = "4")]
    pub data: Vec<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, prost::Enumeration)]
#[repr(i32)]
pub enum PacketKind {
    /// A file there is; without a stat, the last of them has been.
    Stat = 0,
    /// A file's contents are wanted.
    Request = 1,
    /// A piece of a file's contents; an empty one is its end.
    Data = 2,
    /// Nothing more is wanted.
    Finish = 3,
    Error = 4,
}

/// `fsutil.types.Stat`.
#[derive(Clone, PartialEq, Message)]
pub struct Stat {
    /// Relative, with slashes.
    #[prost(string, tag = "1")]
    pub path: String,
    /// Go's `os.FileMode`.
    #[prost(uint32, tag = "2")]
    pub mode: u32,
    #[prost(uint32, tag = "3")]
    pub uid: u32,
    #[prost(uint32, tag = "4")]
    pub gid: u32,
    #[prost(int64, tag = "5")]
    pub size: i64,
    /// Nanoseconds since 1970.
    #[prost(int64, tag = "6")]
    pub modified_ns: i64,
    /// Of a symbolic link; or of a further hard link, the path of the first.
    #[prost(string, tag = "7")]
    pub link_name: String,
    #[prost(int64, tag = "8")]
    pub device_major: i64,
    #[prost(int64, tag = "9")]
    pub device_minor: i64,
    #[prost(map = "string, bytes", tag = "10")]
    pub xattrs: HashMap<String, Vec<u8>>,
}

/// Bits of Go's `os.FileMode` besides the permissions.
pub mod mode {
    pub const DIRECTORY: u32 = 1 << 31;
    pub const SYMLINK: u32 = 1 << 27;
    pub const DEVICE: u32 = 1 << 26;
    pub const NAMED_PIPE: u32 = 1 << 25;
    pub const SOCKET: u32 = 1 << 24;
    pub const SETUID: u32 = 1 << 23;
    pub const SETGID: u32 = 1 << 22;
    pub const CHARACTER_DEVICE: u32 = 1 << 21;
    pub const STICKY: u32 = 1 << 20;
    pub const IRREGULAR: u32 = 1 << 19;
    /// Those that say a file is not a regular one.
    pub const KIND: u32 = DIRECTORY | SYMLINK | DEVICE | NAMED_PIPE | SOCKET | CHARACTER_DEVICE | IRREGULAR;
}

/// `moby.buildkit.secrets.v1.GetSecretRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct GetSecretRequest {
    #[prost(string, tag = "1")]
    pub id: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct GetSecretResponse {
    #[prost(bytes = "vec", tag = "1")]
    pub data: Vec<u8>,
}

/// `moby.sshforward.v1.CheckAgentRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct CheckAgentRequest {
    #[prost(string, tag = "1")]
    pub id: String,
}

/// `moby.filesync.v1.CredentialsRequest`.
#[derive(Clone, PartialEq, Message)]
pub struct CredentialsRequest {
    #[prost(string, tag = "1")]
    pub host: String,
}

#[derive(Clone, PartialEq, Message)]
pub struct CredentialsResponse {
    #[prost(string, tag = "1")]
    pub user_name: String,
    #[prost(string, tag = "2")]
    pub secret: String,
}
