//! Which name a signature has to have been made for. Spec: containers-policy.json(5), `signedIdentity`.

use oci::Reference;

use crate::error::Reason;
use crate::signature::ClaimedName;

/// How the name that was signed and the one that is pulled go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Identity {
    /// The same repository and tag.
    Exact,
    /// The same repository and tag; the same repository for what is pulled by digest.
    RepositoryDigestOrExact,
    Repository,
    /// As `Repository`; a signature that names nothing is good for its digest under any name.
    ///
    /// hull's own: bundles of cosign have no name in them.
    RepositoryIfNamed,
    ExactReference(ClaimedName),
    ExactRepository(String),
    /// What is pulled from below `prefix` was signed as being below `signed`.
    Remap {
        prefix: String,
        signed: String,
    },
}

impl Identity {
    /// Checks that what was signed as `claimed` may be pulled as `reference`.
    pub fn check(&self, claimed: Option<&ClaimedName>, reference: &Reference) -> Result<(), Reason> {
        let Some(claimed) = claimed else {
            return if *self == Self::RepositoryIfNamed { Ok(()) } else { Err(Reason::Nameless) };
        };
        let name = reference.name();
        // The digest decides where both are given.
        let tag = reference.tag().filter(|_| reference.digest().is_none());
        let exact = |name: &str| claimed.repository == name && tag.is_some() && claimed.tag.as_deref() == tag;
        let exact_or_digest =
            |name: &str| if tag.is_some() { exact(name) } else { claimed.repository == name };
        let accepted = match self {
            Self::Exact => exact(&name),
            Self::RepositoryDigestOrExact => exact_or_digest(&name),
            Self::Repository | Self::RepositoryIfNamed => claimed.repository == name,
            Self::ExactReference(wanted) => claimed == wanted,
            Self::ExactRepository(wanted) => claimed.repository == *wanted,
            Self::Remap { prefix, signed } => match below(&name, prefix) {
                Some(rest) => exact_or_digest(&format!("{signed}{rest}")),
                None => exact_or_digest(&name),
            },
        };
        if accepted { Ok(()) } else { Err(Reason::OtherName(claimed.to_string())) }
    }
}

/// What follows `prefix` in `name`, which is it or below it.
fn below<'n>(name: &'n str, prefix: &str) -> Option<&'n str> {
    name.strip_prefix(prefix).filter(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_go_together() {
        use Identity::*;
        let by_digest = format!("example.com/app@sha256:{}", "a".repeat(64));
        let other = ClaimedName::parse("example.com/other:v1").unwrap();
        let check = |identity: &Identity, claimed: &str, reference: &str, expected: bool| {
            let claimed = ClaimedName::parse(claimed).unwrap();
            let found = identity.check(Some(&claimed), &Reference::parse(reference).unwrap());
            assert_eq!(found.is_ok(), expected, "{identity:?}: {claimed} for {reference}");
        };
        check(&Exact, "example.com/app:v1", "example.com/app:v1", true);
        check(&Exact, "example.com/app:v1", "example.com/app:v2", false);
        check(&Exact, "example.com/app", "example.com/app", false);
        check(&Exact, "example.com/app:latest", "example.com/app", true);
        check(&Exact, "example.com/app:v1", &by_digest, false);
        check(&RepositoryDigestOrExact, "example.com/app:v1", &by_digest, true);
        check(&RepositoryDigestOrExact, "example.com/apps:v1", &by_digest, false);
        check(&RepositoryDigestOrExact, "example.com/app", "example.com/app:latest", false);
        check(&RepositoryDigestOrExact, "example.com/app:v1", "example.com/app:v1", true);
        check(&Repository, "example.com/app", "example.com/app:v1", true);
        check(&Repository, "index.docker.io/library/busybox", "busybox", true);
        check(&Repository, "example.com/other:v1", "example.com/app:v1", false);
        check(&ExactReference(other.clone()), "example.com/other:v1", "example.com/app:v9", true);
        check(&ExactReference(other), "example.com/other", "example.com/app:v9", false);
        check(&ExactRepository("example.com/other".into()), "example.com/other:v3", "example.com/app", true);
        check(&ExactRepository("example.com/other".into()), "example.com/app", "example.com/app", false);
        let remap = Remap { prefix: "mirror.example/hub".into(), signed: "docker.io".into() };
        check(&remap, "docker.io/library/busybox:1", "mirror.example/hub/library/busybox:1", true);
        check(&remap, "docker.io/library/busybox:1", "mirror.example/hub/library/busybox:2", false);
        check(&remap, "docker.io/library/busybox:1", "mirror.example/hubs/library/busybox:1", false);
        check(&remap, "example.com/app:v1", "example.com/app:v1", true);
    }

    #[test]
    fn what_names_nothing_is_good_where_that_was_said() {
        let reference = Reference::parse("busybox").unwrap();
        assert!(Identity::RepositoryIfNamed.check(None, &reference).is_ok());
        assert!(matches!(Identity::Repository.check(None, &reference), Err(Reason::Nameless)));
        assert!(matches!(Identity::RepositoryDigestOrExact.check(None, &reference), Err(Reason::Nameless)));
    }
}
