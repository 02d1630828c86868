//! The keys that leave a container running: `ctrl-p,ctrl-q` unless `--detach-keys` says otherwise.

use diag::{Class, Diagnose};

/// A sequence of keys; empty when detaching is switched off.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DetachKeys(Vec<u8>);

/// A `--detach-keys` value that names no keys.
#[derive(Debug, thiserror::Error)]
#[error("Invalid detach keys ({keys}) provided: unknown key `{unknown}`")]
pub struct DetachKeysError {
    keys: String,
    unknown: String,
}

impl Diagnose for DetachKeysError {
    fn class(&self) -> Class {
        Class::Invalid
    }

    fn hint(&self) -> Option<String> {
        Some(
            "a key is one character, or ctrl- and one of a-z @ ^ [ , _ \\; keys are separated by commas"
                .into(),
        )
    }
}

impl Default for DetachKeys {
    fn default() -> Self {
        Self(vec![0x10, 0x11])
    }
}

impl DetachKeys {
    /// Parses `ctrl-p,ctrl-q`, `a`, `ctrl-@,x`.
    pub fn parse(text: &str) -> Result<Self, DetachKeysError> {
        let key = |word: &str| match (word.as_bytes(), word.strip_prefix("ctrl-").map(str::as_bytes)) {
            ([one], _) => Some(*one),
            (_, Some([letter @ b'a'..=b'z'])) => Some(letter - b'a' + 1),
            (_, Some([letter @ b'A'..=b'Z'])) => Some(letter - b'A' + 1),
            (_, Some(b"@")) => Some(0),
            (_, Some(b"[")) => Some(27),
            (_, Some(b"\\")) => Some(28),
            (_, Some(b"]")) => Some(29),
            (_, Some(b"^")) => Some(30),
            (_, Some(b"_")) => Some(31),
            _ => None,
        };
        let keys = text
            .split(',')
            .map(|word| key(word).ok_or_else(|| DetachKeysError { keys: text.into(), unknown: word.into() }));
        Ok(Self(keys.collect::<Result<_, _>>()?))
    }

    /// The keys of `--detach-keys`, or else Docker's own; an empty value switches detaching off.
    pub fn from_flag(flag: Option<&str>) -> Result<Self, DetachKeysError> {
        match flag {
            None => Ok(Self::default()),
            Some("") => Ok(Self(Vec::new())),
            Some(text) => Self::parse(text),
        }
    }

    /// A matcher that looks for the keys in input; one that never finds them unless `active`.
    pub fn matcher(&self, active: bool) -> Matcher {
        Matcher { keys: if active { self.0.clone() } else { Vec::new() }, matched: 0 }
    }
}

/// Looks for the keys in input that arrives piece by piece.
pub struct Matcher {
    keys: Vec<u8>,
    matched: usize,
}

impl Matcher {
    /// The bytes of `piece` to pass on, and whether the keys were completed. A begun sequence is held back until it is decided.
    pub fn feed(&mut self, piece: &[u8]) -> (Vec<u8>, bool) {
        if self.keys.is_empty() {
            return (piece.to_vec(), false);
        }
        let mut out = Vec::with_capacity(piece.len());
        for byte in piece {
            if *byte == self.keys[self.matched] {
                self.matched += 1;
                if self.matched == self.keys.len() {
                    return (out, true);
                }
                continue;
            }
            out.extend_from_slice(&self.keys[..self.matched]);
            self.matched = usize::from(*byte == self.keys[0]);
            if self.matched == 0 {
                out.push(*byte);
            }
        }
        (out, false)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pieces: &[&[u8]], expected: &[u8], detached: bool) {
        let mut matcher = DetachKeys::default().matcher(true);
        let mut out = Vec::new();
        let mut found = false;
        for piece in pieces {
            let (bytes, detached) = matcher.feed(piece);
            out.extend(bytes);
            found |= detached;
        }
        assert_eq!((out.as_slice(), found), (expected, detached), "{pieces:?}");
    }

    #[test]
    fn the_keys_are_found_over_pieces_and_passed_on_otherwise() {
        check(&[b"ab"], b"ab", false);
        check(&[b"a\x10", b"\x11"], b"a", true);
        check(&[b"a\x10b"], b"a\x10b", false);
        check(&[b"\x10\x10\x11"], b"\x10", true);
    }

    #[test]
    fn keys_are_parsed_as_docker_does() {
        assert_eq!(DetachKeys::parse("ctrl-p,ctrl-q").ok(), Some(DetachKeys::default()));
        assert_eq!(DetachKeys::parse("ctrl-@,x").ok(), Some(DetachKeys(vec![0, b'x'])));
        assert!(DetachKeys::parse("ctrl-p,shift-q").is_err() && DetachKeys::parse("").is_err());
    }
}
