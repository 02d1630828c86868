//! Digests, and the identifiers of layers that are made of them.

use std::fmt;
use std::io;
use std::str::FromStr;

use ring::digest::{Context, SHA256};
use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Serialize, Serializer};

/// The sha256 of some exact bytes; written `sha256:<64 hex>`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// Why a text is not a digest; the texts are those of Docker's digest library.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DigestError {
    #[error("invalid checksum digest format")]
    Format(String),
    #[error("invalid checksum digest length")]
    Length(String),
    /// Registered elsewhere, but nothing here computes it.
    #[error("unsupported digest algorithm")]
    Algorithm(String),
}

impl Digest {
    pub const ALGORITHM: &str = "sha256";

    /// The digest of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        let mut hasher = Hasher::new();
        hasher.update(bytes);
        hasher.finish()
    }

    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    pub fn algorithm(&self) -> &'static str {
        Self::ALGORITHM
    }

    /// The 64 lower-case hexadecimal characters after the colon.
    pub fn hex(&self) -> String {
        hex(&self.0)
    }

    /// The first 12 hexadecimal characters, as lists show ids.
    pub fn short(&self) -> String {
        hex(&self.0[..6])
    }

    /// Reads the 64 hexadecimal characters without their algorithm.
    ///
    /// # Errors
    /// [`DigestError::Length`] or [`DigestError::Format`] when `text` is anything else.
    pub fn from_hex(text: &str) -> Result<Self, DigestError> {
        if text.len() != 64 {
            return Err(DigestError::Length(text.to_owned()));
        }
        let mut bytes = [0; 32];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            let nibble = |c: u8| match c {
                b'0'..=b'9' => Ok(c - b'0'),
                b'a'..=b'f' => Ok(c - b'a' + 10),
                _ => Err(DigestError::Format(text.to_owned())),
            };
            *byte = nibble(pair[0])? << 4 | nibble(pair[1])?;
        }
        Ok(Self(bytes))
    }
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|b| [DIGITS[usize::from(b >> 4)], DIGITS[usize::from(b & 15)]])
        .map(char::from)
        .collect()
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "sha256:{}", self.hex())
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        match text.split_once(':') {
            Some((Self::ALGORITHM, hex)) => Self::from_hex(hex),
            Some((algorithm, hex)) if !algorithm.is_empty() && !hex.is_empty() => {
                Err(DigestError::Algorithm(algorithm.to_owned()))
            }
            _ => Err(DigestError::Format(text.to_owned())),
        }
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(|e| D::Error::custom(format_args!("{e}: {text:?}")))
    }
}

/// Computes a [`Digest`] while bytes pass by.
#[derive(Clone)]
pub struct Hasher(Context);

impl Hasher {
    pub fn new() -> Self {
        Self(Context::new(&SHA256))
    }

    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub fn finish(self) -> Digest {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(self.0.finish().as_ref());
        Digest(bytes)
    }
}

impl Default for Hasher {
    fn default() -> Self {
        Self::new()
    }
}

impl io::Write for Hasher {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

macro_rules! digest_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Digest);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl FromStr for $name {
            type Err = DigestError;

            fn from_str(text: &str) -> Result<Self, DigestError> {
                text.parse().map(Self)
            }
        }
    };
}

digest_id! {
    /// Digest of one layer's uncompressed tar.
    DiffId
}
digest_id! {
    /// Digest of a stack of layers; see [`chain_id`].
    ChainId
}

/// Folds `diff_ids`, base layer first, into the chainID of the whole stack; `None` when there are no layers.
///
/// One element is returned unchanged; `[a, b, c]` gives `H(H(a + " " + b) + " " + c)` over full `sha256:<64 hex>` strings.
///
/// Spec: OCI image-spec 1.1, `config.md`, "Layer ChainID".
pub fn chain_id(diff_ids: &[DiffId]) -> Option<ChainId> {
    let (first, rest) = diff_ids.split_first()?;
    Some(ChainId(rest.iter().fold(first.0, |chain, diff| Digest::of(format!("{chain} {diff}").as_bytes()))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const EMPTY: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn known_digest() {
        assert_eq!(Digest::of(b"").to_string(), EMPTY);
        assert_eq!(Digest::of(b"").short(), "e3b0c44298fc");
        assert_eq!(serde_json::to_string(&Digest::of(b"")).unwrap(), format!("\"{EMPTY}\""));
    }

    fn refused(text: &str, expected: &str) {
        assert_eq!(text.parse::<Digest>().unwrap_err().to_string(), expected, "{text}");
    }

    #[test]
    fn malformed_digests_are_refused() {
        refused("", "invalid checksum digest format");
        refused("sha256", "invalid checksum digest format");
        refused("sha256:", "invalid checksum digest length");
        refused("sha256:12", "invalid checksum digest length");
        refused(&EMPTY.to_uppercase().replace("SHA", "sha"), "invalid checksum digest format");
        refused("sha512:00", "unsupported digest algorithm");
        refused(":00", "invalid checksum digest format");
    }

    #[test]
    fn chain_folds_from_the_base() {
        let [a, b, c] = [b"a", b"b", b"c"].map(|x| DiffId(Digest::of(x)));
        assert_eq!(chain_id(&[]), None);
        assert_eq!(chain_id(&[a]), Some(ChainId(a.0)));
        let ab = Digest::of(format!("{a} {b}").as_bytes());
        assert_eq!(chain_id(&[a, b, c]), Some(ChainId(Digest::of(format!("{ab} {c}").as_bytes()))));
    }

    proptest! {
        #[test]
        fn text_round_trip(bytes: [u8; 32]) {
            let digest = Digest::from_bytes(bytes);
            prop_assert_eq!(digest.to_string().parse::<Digest>(), Ok(digest));
        }

        #[test]
        fn any_text_is_an_answer(text in ".*") {
            let _ = text.parse::<Digest>();
        }
    }
}
