//! Docker's profile format: a filter of the runtime-spec whose rules say when they apply.

use oci::runtime::{LinuxSeccomp, LinuxSeccompArg, LinuxSyscall, SeccompAction};
use serde::{Deserialize, Serialize};
use sys::capability::{Capability, CapabilitySet};

use super::SeccompError;

/// A profile as `--security-opt seccomp=<file>` takes it. A filter of the runtime-spec is one, too.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Profile {
    pub default_action: SeccompAction,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default_errno_ret: Option<u32>,
    /// The ABIs, or else `arch_map`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub architectures: Option<Vec<String>>,
    /// For each native architecture the ABIs that come with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arch_map: Option<Vec<ProfileArchitecture>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub flags: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listener_path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub syscalls: Option<Vec<ProfileRule>>,
}

/// A native architecture and the others its processors run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct ProfileArchitecture {
    pub architecture: String,
    #[serde(default)]
    pub sub_architectures: Option<Vec<String>>,
}

/// One rule and when it applies.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct ProfileRule {
    /// The old way to name one call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub names: Option<Vec<String>>,
    pub action: SeccompAction,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub errno_ret: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub args: Option<Vec<LinuxSeccompArg>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub includes: Option<Conditions>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub excludes: Option<Conditions>,
}

/// When a rule applies, or does not.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)]
pub struct Conditions {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub caps: Option<Vec<String>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arches: Option<Vec<String>>,
    /// `4.8`: this kernel or a newer one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_kernel: Option<String>,
}

/// This machine in `archMap` and in the conditions of rules.
const NATIVE: &str = "SCMP_ARCH_X86_64";
const NATIVE_CONDITION: &str = "amd64";

impl Profile {
    /// Parses the text of a profile file.
    pub fn parse(json: &[u8]) -> Result<Self, SeccompError> {
        serde_json::from_slice(json).map_err(|source| SeccompError::Parse { source })
    }

    /// Chooses the rules that apply to a container with `capabilities` on this machine and `kernel`.
    pub fn resolve(
        &self,
        capabilities: CapabilitySet,
        kernel: (u32, u32),
    ) -> Result<LinuxSeccomp, SeccompError> {
        let mut syscalls = Vec::new();
        for rule in self.syscalls.iter().flatten() {
            let names = match (&rule.name, &rule.names) {
                (Some(_), Some(names)) if !names.is_empty() => {
                    return Err(SeccompError::Both { one: "name", other: "names" });
                }
                (Some(name), _) => vec![name.clone()],
                (None, names) => names.clone().unwrap_or_default(),
            };
            if rule.applies(capabilities, kernel)? {
                syscalls.push(LinuxSyscall {
                    names,
                    action: rule.action,
                    errno_ret: rule.errno_ret,
                    args: rule.args.clone().unwrap_or_default(),
                });
            }
        }
        Ok(LinuxSeccomp {
            default_action: self.default_action,
            default_errno_ret: self.default_errno_ret,
            architectures: self.abis()?,
            flags: self.flags.clone().unwrap_or_default(),
            listener_path: self.listener_path.clone().filter(|path| !path.is_empty()),
            listener_metadata: None,
            syscalls,
        })
    }

    fn abis(&self) -> Result<Vec<String>, SeccompError> {
        let listed = self.architectures.iter().flatten();
        let mapped = self.arch_map.as_deref().unwrap_or_default();
        if !mapped.is_empty() && listed.clone().next().is_some() {
            return Err(SeccompError::Both { one: "architectures", other: "archMap" });
        }
        let native = mapped.iter().find(|entry| entry.architecture == NATIVE);
        let with_it = native.into_iter().flat_map(|entry| {
            std::iter::once(&entry.architecture).chain(entry.sub_architectures.iter().flatten())
        });
        Ok(listed.chain(with_it).cloned().collect())
    }
}

impl ProfileRule {
    fn applies(&self, capabilities: CapabilitySet, kernel: (u32, u32)) -> Result<bool, SeccompError> {
        let none = Conditions::default();
        let includes = self.includes.as_ref().unwrap_or(&none);
        let excludes = self.excludes.as_ref().unwrap_or(&none);
        // Evaluated whole, so that a misspelt capability is found on every machine.
        let included = includes.caps(capabilities)?.iter().all(|held| *held)
            & includes.arch().unwrap_or(true)
            & includes.kernel(kernel)?.unwrap_or(true);
        let excluded = excludes.caps(capabilities)?.contains(&true)
            | excludes.arch().unwrap_or(false)
            | excludes.kernel(kernel)?.unwrap_or(false);
        Ok(included && !excluded)
    }
}

impl Conditions {
    /// For each capability whether the container has it.
    fn caps(&self, capabilities: CapabilitySet) -> Result<Vec<bool>, SeccompError> {
        let held = |name: &String| match Capability::from_name(name) {
            Some(capability) => Ok(capabilities.contains(capability)),
            None => Err(SeccompError::Unknown { kind: "capability", name: name.clone() }),
        };
        self.caps.iter().flatten().map(held).collect()
    }

    /// Whether this machine is listed, when there is a list.
    fn arch(&self) -> Option<bool> {
        let arches = self.arches.as_ref().filter(|arches| !arches.is_empty())?;
        Some(arches.iter().any(|arch| arch == NATIVE_CONDITION))
    }

    /// Whether the kernel is new enough, when that is asked.
    fn kernel(&self, kernel: (u32, u32)) -> Result<Option<bool>, SeccompError> {
        let Some(text) = &self.min_kernel else { return Ok(None) };
        let parsed = text
            .split_once('.')
            .and_then(|(version, patch)| Some((version.parse::<u32>().ok()?, patch.parse::<u32>().ok()?)));
        match parsed {
            Some(wanted) => Ok(Some(kernel >= wanted)),
            None => Err(SeccompError::Unknown { kind: "kernel version", name: text.clone() }),
        }
    }
}
