//! Versions of the API.

use std::fmt;
use std::str::FromStr;

/// A version, `1.<minor>`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Version(u16);

/// A version that is not served.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VersionError {
    #[error("client version {0} is too old. Minimum supported API version is {min}, please upgrade your client to a newer version", min = Version::MIN)]
    Old(Version),
    #[error("client version {0} is too new. Maximum supported API version is {max}", max = Version::MAX)]
    New(Version),
    #[error("{0:?} is not an API version: expected one such as {max}", max = Version::MAX)]
    Syntax(String),
}

impl Version {
    pub const MIN: Self = Self(24);
    pub const MAX: Self = Self(50);

    /// Version `1.<minor>`.
    pub const fn minor(minor: u16) -> Self {
        Self(minor)
    }

    /// The same, if it is served.
    ///
    /// # Errors
    /// [`VersionError::Old`], [`VersionError::New`].
    pub fn served(self) -> Result<Self, VersionError> {
        match self {
            old if old < Self::MIN => Err(VersionError::Old(old)),
            new if new > Self::MAX => Err(VersionError::New(new)),
            served => Ok(served),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "1.{}", self.0)
    }
}

impl FromStr for Version {
    type Err = VersionError;

    fn from_str(text: &str) -> Result<Self, VersionError> {
        let digits = text.strip_prefix("1.").filter(|rest| rest.bytes().all(|byte| byte.is_ascii_digit()));
        let minor = digits.and_then(|digits| digits.parse().ok());
        minor.map(Self).ok_or_else(|| VersionError::Syntax(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_numbers_and_have_limits() {
        assert!("1.9".parse::<Version>().unwrap() < "1.24".parse().unwrap());
        assert_eq!("1.24".parse::<Version>().unwrap().served(), Ok(Version::MIN));
        let old = "1.23".parse::<Version>().unwrap().served().unwrap_err();
        assert_eq!(
            old.to_string(),
            "client version 1.23 is too old. Minimum supported API version is 1.24, please upgrade your client to a newer version"
        );
        assert!("1.99".parse::<Version>().unwrap().served().is_err());
        for wrong in ["", "1.", "2.0", "1.x", "1.+4", "1.24.1", "1.99999999"] {
            assert!(wrong.parse::<Version>().is_err(), "{wrong:?}");
        }
    }
}
