//! The configuration of a container: `config.json` of the OCI runtime-spec 1.3, Linux part.
//!
//! The types follow the JSON schema: what it requires is a plain field, everything else defaults and is left out of the JSON
//! when it does. Names are the specification's, with its `Linux` prefix where it has one. Nothing is interpreted here; what
//! `runtime` cannot honour it refuses by name.

mod features;
mod linux;
mod process;
mod resources;
mod seccomp;
mod state;
mod strict;

use std::collections::BTreeMap;
use std::path::PathBuf;

pub use features::*;
pub use linux::*;
pub use process::*;
pub use resources::*;
pub use seccomp::*;
pub use state::*;

/// The version of the specification these types describe.
pub const VERSION: &str = "1.3.0";

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// Declares a JSON object: required fields before the `;`, fields that may be absent after it.
macro_rules! object {
    ($(#[$meta:meta])* $name:ident {
        $($(#[$rmeta:meta])* $rfield:ident: $rty:ty,)*
        ;
        $($(#[$ometa:meta])* $ofield:ident: $oty:ty,)*
    }) => {
        $(#[$meta])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "camelCase", remote = "Self")]
        pub struct $name {
            $($(#[$rmeta])* pub $rfield: $rty,)*
            $($(#[$ometa])* #[serde(default, skip_serializing_if = "crate::runtime::is_default")] pub $ofield: $oty,)*
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                // What is derived is a function of the type itself, which comes before that of the trait.
                Self::deserialize(crate::runtime::strict::ObjectOnly(deserializer))
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                Self::serialize(self, serializer)
            }
        }
    };
}
use object;

/// Reads a document of the runtime specification: a [`Spec`], or a [`Process`] to be started later.
///
/// # Errors
/// The field that is not what the schema says, as `linux.namespaces[0].type`, and why.
pub fn from_json<T: serde::de::DeserializeOwned>(json: &[u8]) -> Result<T, DocumentError> {
    // The field is looked for only when something is wrong: that takes longer.
    serde_json::from_slice(json).or_else(|_| {
        let mut document = serde_json::Deserializer::from_slice(json);
        let value = serde_path_to_error::deserialize(&mut document)
            .map_err(|error| DocumentError { field: error.path().to_string(), source: error.into_inner() })?;
        // What is left is what is wrong: something after the document.
        let ended = document.end();
        ended.map(|()| value).map_err(|source| DocumentError { field: ".".to_owned(), source })
    })
}

/// A document that does not follow its schema.
#[derive(Debug, thiserror::Error)]
#[error("invalid {}", if field == "." { "document" } else { field })]
pub struct DocumentError {
    /// Where it is, `.` for the whole.
    pub field: String,
    pub source: serde_json::Error,
}

object! {
    /// The whole of `config.json`.
    #[derive(Default)]
    Spec {
        oci_version: String,
        ;
        process: Option<Process>,
        root: Option<Root>,
        hostname: Option<String>,
        domainname: Option<String>,
        mounts: Vec<Mount>,
        hooks: Option<Hooks>,
        annotations: BTreeMap<String, String>,
        linux: Option<Linux>,
    }
}

object! {
    /// The container's root filesystem.
    #[derive(Default)]
    Root {
        path: PathBuf,
        ;
        readonly: bool,
    }
}

object! {
    /// One mount beyond the root filesystem, in the order of the list.
    #[derive(Default)]
    Mount {
        destination: PathBuf,
        ;
        r#type: Option<String>,
        source: Option<PathBuf>,
        options: Vec<String>,
        uid_mappings: Vec<IdMapping>,
        gid_mappings: Vec<IdMapping>,
    }
}

object! {
    /// A range of ids of a user namespace or an id-mapped mount.
    #[derive(Copy, Default)]
    IdMapping {
        #[serde(rename = "containerID")]
        container_id: u32,
        #[serde(rename = "hostID")]
        host_id: u32,
        size: u32,
        ;
    }
}

object! {
    /// Programs run at points of the container's life.
    #[derive(Default)]
    Hooks {
        ;
        prestart: Vec<Hook>,
        create_runtime: Vec<Hook>,
        create_container: Vec<Hook>,
        start_container: Vec<Hook>,
        poststart: Vec<Hook>,
        poststop: Vec<Hook>,
    }
}

impl Hooks {
    /// Every hook, at whatever point.
    pub fn all(&self) -> impl Iterator<Item = &Hook> {
        let Self { prestart, create_runtime, create_container, start_container, poststart, poststop } = self;
        [prestart, create_runtime, create_container, start_container, poststart, poststop]
            .into_iter()
            .flatten()
    }

    /// Whether nothing is to be run before the program.
    pub fn are_none_before_start(&self) -> bool {
        let Self { prestart, create_runtime, create_container, start_container, .. } = self;
        [prestart, create_runtime, create_container, start_container].into_iter().all(Vec::is_empty)
    }
}

object! {
    /// One program of [`Hooks`].
    #[derive(Default)]
    Hook {
        path: PathBuf,
        ;
        args: Vec<String>,
        env: Vec<String>,
        /// Seconds.
        timeout: Option<u64>,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is read is written again, key by key.
    fn check(json: &str) -> Spec {
        let value: serde_json::Value = serde_json::from_str(json).expect("the test's JSON");
        let spec: Spec = serde_json::from_value(value.clone()).expect("a spec");
        assert_eq!(serde_json::to_value(&spec).expect("JSON"), value);
        spec
    }

    #[test]
    fn a_small_spec_survives_unchanged() {
        let spec = check(
            r#"{"ociVersion":"1.3.0","process":{"cwd":"/","args":["sh"],"terminal":true,"consoleSize":{"height":1,"width":2},
            "user":{"uid":1,"gid":2,"additionalGids":[3]},"rlimits":[{"type":"RLIMIT_NOFILE","soft":0,"hard":5}],
            "capabilities":{"bounding":["CAP_CHOWN"]},"oomScoreAdj":-5,"execCPUAffinity":{"initial":"0"}},
            "root":{"path":"rootfs","readonly":true},
            "mounts":[{"destination":"/proc","type":"proc","source":"proc"}],
            "linux":{"namespaces":[{"type":"network","path":"/run/x"},{"type":"pid"}],"maskedPaths":["/proc/kcore"],
            "rootfsPropagation":"rslave","uidMappings":[{"containerID":0,"hostID":1000,"size":1}],
            "resources":{"pids":{"limit":0},"devices":[{"allow":false,"access":"rwm"}],"memory":{"disableOOMKiller":true,"kernelTCP":5},
            "blockIO":{"weight":10,"throttleReadIOPSDevice":[{"major":8,"minor":0,"rate":1}]},"hugepageLimits":[{"pageSize":"2MB","limit":0}]},
            "seccomp":{"defaultAction":"SCMP_ACT_ERRNO","architectures":["SCMP_ARCH_X86_64"],
            "syscalls":[{"names":["read"],"action":"SCMP_ACT_ALLOW","args":[{"index":0,"value":1,"op":"SCMP_CMP_MASKED_EQ","valueTwo":1}]}]}}}"#,
        );
        let linux = spec.linux.expect("linux");
        assert_eq!(linux.namespaces[0].r#type, NamespaceType::Network);
        assert_eq!(linux.resources.and_then(|r| r.pids).map(|p| p.limit), Some(0));
    }

    #[test]
    fn a_process_always_says_whose_it_is() {
        let process: Process = from_json(br#"{"cwd":"/"}"#).expect("it need not be said to us");
        let json = serde_json::to_string(&process).expect("JSON");
        assert_eq!(json, r#"{"cwd":"/","user":{"uid":0,"gid":0}}"#);
    }

    #[test]
    fn what_is_wrong_is_named() {
        let check = |json: &str, field: &str, why: &str| {
            let error = from_json::<Spec>(json.as_bytes()).expect_err(json);
            assert_eq!(error.to_string(), format!("invalid {field}"), "{json}");
            assert!(error.source.to_string().starts_with(why), "{json}: {}", error.source);
        };
        check("{}", "document", "missing field `ociVersion`");
        check(r#"{"ociVersion":"1.0.0"} x"#, "document", "trailing characters");
        check(r#"{"ociVersion":"#, "ociVersion", "EOF while parsing");
        check(r#"{"ociVersion":7}"#, "ociVersion", "invalid type: integer `7`, expected a string");
        check(
            r#"{"ociVersion":"1.0.0","linux":{"namespaces":[{"type":"pid"},{"type":"planet"}]}}"#,
            "linux.namespaces[1].type",
            "unknown variant `planet`",
        );
        check(
            r#"{"ociVersion":"1.0.0","process":{"cwd":"/","user":{"uid":-1}}}"#,
            "process.user.uid",
            "invalid value: integer `-1`, expected u32",
        );
        check(r#"{"ociVersion":"1.0.0","root":["rootfs"]}"#, "root", "invalid type: sequence, expected");
        check(r#"["1.0.0"]"#, "document", "invalid type: sequence, expected");
        assert!(from_json::<Process>(br#"{"cwd":"/"}"#).is_ok());
        // As encoders write what is not there.
        let spec = from_json::<Spec>(br#"{"ociVersion":"1.0.0","linux":null}"#).expect("a spec");
        assert_eq!(spec.linux, None);
    }

    #[test]
    fn what_the_schema_requires_is_required() {
        assert!(serde_json::from_str::<Spec>(r#"{"process":{"cwd":"/"}}"#).is_err());
        assert!(serde_json::from_str::<Spec>(r#"{"ociVersion":"1.0.0","process":{}}"#).is_err());
        assert!(serde_json::from_str::<Spec>(r#"{"ociVersion":"1.0.0","x-unknown":1}"#).is_ok());
    }
}
