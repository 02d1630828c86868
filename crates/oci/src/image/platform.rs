//! Platforms as users write them, and which of an index runs on which.
//!
//! Names and the order of preference are those of containerd's `platforms` library, which Docker uses.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::lenient::{is_default, null_default};

/// What an image runs on; spec: `image-index.md`, "platform".
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Platform {
    #[serde(default, deserialize_with = "null_default")]
    pub architecture: String,
    #[serde(default, deserialize_with = "null_default")]
    pub os: String,
    #[serde(
        default,
        rename = "os.version",
        deserialize_with = "null_default",
        skip_serializing_if = "is_default"
    )]
    pub os_version: String,
    #[serde(
        default,
        rename = "os.features",
        deserialize_with = "null_default",
        skip_serializing_if = "is_default"
    )]
    pub os_features: Vec<String>,
    #[serde(default, deserialize_with = "null_default", skip_serializing_if = "is_default")]
    pub variant: String,
    #[serde(flatten)]
    pub extra: BTreeMap<String, Value>,
}

/// Why a text is no platform.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no platform: it must be os/architecture[/variant]")]
pub struct PlatformError(String);

impl Platform {
    fn new(os: &str, architecture: &str, variant: &str) -> Self {
        let text = str::to_owned;
        let (os, architecture, variant) = (text(os), text(architecture), text(variant));
        Self { os, architecture, variant, ..Self::default() }
    }

    /// What programs of this host run on.
    pub fn host() -> Self {
        Self::new("linux", std::env::consts::ARCH, "").normalized()
    }

    /// Reads `os/architecture[/variant]`, or one of the first two alone.
    ///
    /// # Errors
    /// [`PlatformError`].
    pub fn parse(text: &str) -> Result<Self, PlatformError> {
        let lower = text.to_ascii_lowercase();
        let parts: Vec<&str> = lower.split('/').collect();
        let is_word = |part: &&str| {
            !part.is_empty()
                && part.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.'))
        };
        if !parts.iter().all(is_word) {
            return Err(PlatformError(text.to_owned()));
        }
        let host = Self::host();
        let platform = match parts[..] {
            ["linux" | "windows" | "darwin" | "freebsd"] => {
                Self::new(parts[0], &host.architecture, &host.variant)
            }
            [architecture] => Self::new(&host.os, architecture, ""),
            [os, architecture] => Self::new(os, architecture, ""),
            [os, architecture, variant] => Self::new(os, architecture, variant),
            _ => return Err(PlatformError(text.to_owned())),
        };
        Ok(platform.normalized())
    }

    /// The usual name of what programs are compiled for: `amd64` for `x86_64`, no variant where there is only one.
    fn normalized(&self) -> Self {
        let os = if self.os == "macos" { "darwin" } else { &self.os };
        let (architecture, variant) = match (&*self.architecture, &*self.variant) {
            ("x86_64" | "x86-64" | "amd64", variant) => ("amd64", if variant == "v1" { "" } else { variant }),
            ("x86" | "i386" | "i686" | "386", _) => ("386", ""),
            ("aarch64" | "arm64", variant) => {
                ("arm64", if matches!(variant, "8" | "v8") { "" } else { variant })
            }
            ("armhf", _) | ("arm", "" | "7") => ("arm", "v7"),
            ("armel", _) | ("arm", "6") => ("arm", "v6"),
            ("arm", "5") => ("arm", "v5"),
            ("arm", "8") => ("arm", "v8"),
            ("powerpc64", variant) => ("ppc64le", variant),
            (architecture, variant) => (architecture, variant),
        };
        Self::new(os, architecture, variant)
    }

    /// How well an image for `offered` serves who wants this platform: 0 is best, `None` not at all.
    ///
    /// Newer processors run what was made for older ones of their kind, and 64-bit ones what was made for 32 bits.
    pub fn rank(&self, offered: &Self) -> Option<usize> {
        let (wanted, offered) = (self.normalized(), offered.normalized());
        if wanted.os != offered.os {
            return None;
        }
        let same = |(architecture, variant): (&str, &str)| {
            (&*offered.architecture, &*offered.variant) == (architecture, variant)
        };
        const ARM: [(&str, &str); 4] = [("arm", "v8"), ("arm", "v7"), ("arm", "v6"), ("arm", "v5")];
        const AMD64: [(&str, &str); 5] =
            [("amd64", "v4"), ("amd64", "v3"), ("amd64", "v2"), ("amd64", ""), ("386", "")];
        let exact = (&*wanted.architecture, &*wanted.variant);
        let older = match wanted.architecture.as_str() {
            "arm" => after(&ARM, exact),
            "arm64" => &ARM[..],
            "amd64" => after(&AMD64, exact),
            _ => &[],
        };
        std::iter::once(exact).chain(older.iter().copied()).position(same)
    }
}

/// What follows `item` in `list`; nothing when it is not there.
fn after<'l>(
    list: &'l [(&'static str, &'static str)],
    item: (&str, &str),
) -> &'l [(&'static str, &'static str)] {
    list.iter().position(|&known| known == item).map_or(&[], |at| &list[at + 1..])
}

impl fmt::Display for Platform {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if !self.variant.is_empty() {
            write!(f, "/{}", self.variant)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn written_in_many_ways() {
        let check = |text, expected: &str| assert_eq!(Platform::parse(text).unwrap().to_string(), expected);
        check("linux/amd64", "linux/amd64");
        check("Linux/x86_64", "linux/amd64");
        check("linux/amd64/v1", "linux/amd64");
        check("linux/aarch64/v8", "linux/arm64");
        check("linux/arm", "linux/arm/v7");
        check("armel", "linux/arm/v6");
        check("linux/arm/v6", "linux/arm/v6");
        check("windows/amd64", "windows/amd64");
        assert_eq!(Platform::parse("linux").unwrap(), Platform::host());
        for text in ["", "linux/", "a/b/c/d", "linux/am d64"] {
            let expected = format!("{text:?} is no platform: it must be os/architecture[/variant]");
            assert_eq!(Platform::parse(text).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn older_ones_run_on_newer_ones() {
        let check = |wanted, offered, expected| {
            let (wanted, offered) = (Platform::parse(wanted).unwrap(), Platform::parse(offered).unwrap());
            assert_eq!(wanted.rank(&offered), expected, "{offered} for {wanted}");
        };
        check("linux/amd64", "linux/amd64", Some(0));
        check("linux/amd64", "linux/386", Some(1));
        check("linux/amd64", "linux/amd64/v2", None);
        check("linux/amd64/v3", "linux/amd64", Some(2));
        check("linux/arm/v7", "linux/arm/v6", Some(1));
        check("linux/arm/v6", "linux/arm/v7", None);
        check("linux/arm64", "linux/arm64/v8", Some(0));
        check("linux/arm64", "linux/arm/v7", Some(2));
        check("linux/amd64", "windows/amd64", None);
        check("linux/riscv64", "linux/riscv64", Some(0));
        // What signatures and provenance say of themselves.
        let nothing = Platform::new("unknown", "unknown", "");
        assert_eq!(Platform::host().rank(&nothing), None);
    }
}
