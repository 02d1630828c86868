//! Where results of steps come from, and where they go, besides this host's cache.

use std::fmt;
use std::str::FromStr;

use oci::Reference;

/// Where results of steps are looked for that this host's cache does not have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheSource {
    /// An image that is here, built with an inline cache. When it is not here, nothing comes of it.
    Image(String),
    /// An image with an inline cache, or a cache, at its registry.
    Registry(Reference),
}

/// Where the results of a build's steps go, for other hosts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CacheTarget {
    /// The image itself, for the steps whose layers it has.
    Inline,
    Registry {
        reference: Reference,
        mode: CacheMode,
        /// A failure is a warning.
        ignore_error: bool,
    },
}

/// Which results are exported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CacheMode {
    /// Those whose layers the image has.
    #[default]
    Min,
    /// All, those of other stages included.
    Max,
}

/// A place that is wrong, or that hull does not use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CachePlaceError(String);

fn wrong(text: impl Into<String>) -> CachePlaceError {
    CachePlaceError(text.into())
}

impl CacheSource {
    /// A source as BuildKit's clients describe it.
    ///
    /// # Errors
    /// What is wrong with it, or not honoured.
    pub fn new<'a>(
        kind: &str,
        attributes: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, CachePlaceError> {
        if kind != "registry" {
            return Err(wrong(format!("type={kind} is not supported: caches are read from registries only")));
        }
        let mut reference = None;
        for (name, value) in attributes {
            match name {
                "ref" => reference = Some(parse(value)?),
                _ => return Err(wrong(format!("{name}={value} is not supported"))),
            }
        }
        Ok(Self::Registry(reference.ok_or_else(|| wrong("ref is missing: it says where the cache is"))?))
    }
}

/// `reference`, or `type=registry,ref=reference`.
impl FromStr for CacheSource {
    type Err = CachePlaceError;

    fn from_str(text: &str) -> Result<Self, CachePlaceError> {
        if !text.contains('=') {
            return Ok(Self::Registry(parse(text)?));
        }
        let (kind, attributes) = fields(text)?;
        Self::new(kind, attributes)
    }
}

impl fmt::Display for CacheSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Image(name) => f.write_str(name),
            Self::Registry(reference) => f.write_str(&reference.familiar()),
        }
    }
}

impl CacheTarget {
    /// A target as BuildKit's clients describe it.
    ///
    /// # Errors
    /// What is wrong with it, or not honoured.
    pub fn new<'a>(
        kind: &str,
        attributes: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, CachePlaceError> {
        let is_inline = match kind {
            "inline" => true,
            "registry" => false,
            _ => return Err(wrong(format!("type={kind} is not supported: there are inline and registry"))),
        };
        let (mut reference, mut mode, mut ignore_error) = (None, CacheMode::Min, false);
        for (name, value) in attributes {
            match (name, value) {
                ("ref", _) if !is_inline => reference = Some(parse(value)?),
                ("mode", "min") => {}
                ("mode", "max") if is_inline => return Err(wrong("an inline cache has mode=min only")),
                ("mode", "max") => mode = CacheMode::Max,
                ("mode", _) => return Err(wrong(format!("mode={value}: must be min or max"))),
                ("ignore-error", "true" | "false") if !is_inline => ignore_error = value == "true",
                // What it always is.
                ("image-manifest" | "oci-mediatypes", "true") if !is_inline => {}
                _ => return Err(wrong(format!("{name}={value} is not supported"))),
            }
        }
        match (is_inline, reference) {
            (true, _) => Ok(Self::Inline),
            (false, Some(reference)) => Ok(Self::Registry { reference, mode, ignore_error }),
            (false, None) => Err(wrong("ref is missing: it says where the cache goes")),
        }
    }
}

/// `type=inline`, or `type=registry,ref=reference[,mode=min|max][,ignore-error=true]`; a reference by itself is the latter.
impl FromStr for CacheTarget {
    type Err = CachePlaceError;

    fn from_str(text: &str) -> Result<Self, CachePlaceError> {
        match text {
            "inline" => Self::new(text, []),
            _ if !text.contains('=') => Self::new("registry", [("ref", text)]),
            _ => {
                let (kind, attributes) = fields(text)?;
                Self::new(kind, attributes)
            }
        }
    }
}

/// Names and values.
type Fields<'a> = Vec<(&'a str, &'a str)>;

/// The type and the other fields of `type=kind,name=value,...`.
fn fields(text: &str) -> Result<(&str, Fields<'_>), CachePlaceError> {
    let mut fields = Vec::new();
    let mut kind = None;
    for field in text.split(',') {
        match field.trim().split_once('=') {
            Some(("type", value)) => kind = Some(value),
            Some(pair) => fields.push(pair),
            None => return Err(wrong(format!("{field:?} is no name=value"))),
        }
    }
    Ok((kind.ok_or_else(|| wrong("type is missing"))?, fields))
}

fn parse(reference: &str) -> Result<Reference, CachePlaceError> {
    match Reference::parse(reference) {
        Ok(reference) => Ok(reference.pullable()),
        Err(error) => Err(wrong(format!("ref={reference}: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registry(reference: &str) -> Reference {
        Reference::parse(reference).unwrap()
    }

    #[test]
    fn places_are_what_buildx_takes() {
        let source = CacheSource::Registry(registry("r.lan/cache:1"));
        for text in ["r.lan/cache:1", "type=registry,ref=r.lan/cache:1", "ref=r.lan/cache:1,type=registry"] {
            assert_eq!(text.parse(), Ok(source.clone()), "{text}");
        }
        let target = |mode, ignore_error| {
            Ok(CacheTarget::Registry { reference: registry("r.lan/cache:1"), mode, ignore_error })
        };
        assert_eq!("inline".parse(), Ok(CacheTarget::Inline));
        assert_eq!("type=inline".parse(), Ok(CacheTarget::Inline));
        assert_eq!("r.lan/cache:1".parse(), target(CacheMode::Min, false));
        assert_eq!("type=registry,ref=r.lan/cache:1,mode=max".parse(), target(CacheMode::Max, false));
        assert_eq!("type=registry,ref=r.lan/cache:1,ignore-error=true".parse(), target(CacheMode::Min, true));
    }

    #[test]
    fn what_is_not_done_is_named() {
        for (text, part) in [
            ("type=gha", "type=gha"),
            ("type=local,src=here", "type=local"),
            ("type=registry", "ref is missing"),
            ("ref=a", "type is missing"),
            ("type=registry,ref=UPPER", "ref=UPPER"),
            ("type=registry,ref=a,insecure=true", "insecure=true"),
            ("type=registry,ref=a,here", "here"),
        ] {
            let source = text.parse::<CacheSource>().unwrap_err().to_string();
            let target = text.parse::<CacheTarget>().unwrap_err().to_string();
            assert!(source.contains(part) && target.contains(part), "{source}; {target}");
        }
        for (text, part) in [
            ("type=inline,mode=max", "mode=min only"),
            ("type=registry,ref=a,mode=all", "mode=all"),
            ("type=registry,ref=a,compression=zstd", "compression=zstd"),
        ] {
            let error = text.parse::<CacheTarget>().unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }
}
