//! Lists: repositories, tags, and what refers to a manifest.

use axum::http::header;
use oci::image::Index;
use oci::{Digest, media};
use serde_json::json;

use super::content::{Content, ReferrersPage, RepositoryName};
use super::query::Query;
use super::refusal::{Code, Refusal};
use super::reply::{self, Response, with, with_next};
use super::{ContentError, Registry, route};

/// How many repositories are listed to who does not say how many.
const CATALOG_PAGE: usize = 100;
/// And to who wants them all.
const CATALOG_LIMIT: usize = 1000;
/// As much as one list of referrers holds: what a manifest may.
const REFERRERS_BYTES: usize = 4 << 20;

impl<C: Content> Registry<C> {
    pub async fn catalog(&self, query: &Query) -> Result<Response, Refusal> {
        let count = query.count()?.unwrap_or(CATALOG_PAGE).min(CATALOG_LIMIT);
        let names = self.blocking(|content| content.repositories()).await?;
        let (names, more) = page(names, query.get("last"), Some(count));
        let response = reply::json(&json!({ "repositories": names }));
        Ok(match names.last().filter(|_| more) {
            Some(last) => with_next(response, "/v2/_catalog", &[("last", last), ("n", &count.to_string())]),
            None => response,
        })
    }

    pub async fn tags(&self, repository: RepositoryName, query: &Query) -> Result<Response, Refusal> {
        let count = query.count()?;
        let name = repository.clone();
        let tags = self.blocking(move |content| content.tags(&name)).await?;
        let (tags, more) = page(tags, query.get("last"), count);
        let response = reply::json(&json!({ "name": repository.as_str(), "tags": tags }));
        Ok(match (tags.last().filter(|_| more), count) {
            (Some(last), Some(count)) => {
                let path = format!("/v2/{repository}/tags/list");
                with_next(response, &path, &[("last", last), ("n", &count.to_string())])
            }
            _ => response,
        })
    }

    pub async fn referrers(
        &self,
        repository: RepositoryName,
        subject: Digest,
        query: &Query,
    ) -> Result<Response, Refusal> {
        let artifact_type = query.get("artifactType").map(str::to_owned);
        let after = query.get("last").map(route::digest).transpose()?;
        let (name, wanted) = (repository.clone(), artifact_type.clone());
        let referrers = self
            .blocking(move |content| {
                let artifact_type = wanted.as_deref();
                let page = ReferrersPage { artifact_type, after, limit_bytes: REFERRERS_BYTES };
                content.referrers(&name, &subject, &page)
            })
            .await?;
        let last = referrers.manifests.last().map(|descriptor| descriptor.digest.to_string());
        let document = serde_json::to_vec(&Index::new(referrers.manifests))
            .map_err(|e| ContentError::Internal(e.into()))?;
        let mut response = reply::bytes(media::OCI_INDEX, document);
        if artifact_type.is_some() {
            response = with(response, reply::OCI_FILTERS, "artifactType");
        }
        if let Some(last) = last.filter(|_| referrers.more) {
            let path = format!("/v2/{repository}/referrers/{subject}");
            let filter = artifact_type.as_deref().map(|artifact_type| ("artifactType", artifact_type));
            let query: Vec<_> = [("last", &*last)].into_iter().chain(filter).collect();
            response = with_next(response, &path, &query);
        }
        Ok(response)
    }
}

/// The part of a sorted list that follows `last`, at most `count` of it, and whether more follows.
fn page(names: Vec<String>, last: Option<&str>, count: Option<usize>) -> (Vec<String>, bool) {
    let mut rest = names.into_iter().filter(|name| last.is_none_or(|last| name.as_str() > last));
    let page: Vec<String> = rest.by_ref().take(count.unwrap_or(usize::MAX)).collect();
    let more = !page.is_empty() && rest.next().is_some();
    (page, more)
}

/// The answer to who asks whether this is a registry.
pub fn ping() -> Response {
    with(reply::json(&json!({})), header::CACHE_CONTROL, "no-cache")
}

/// What a path does not do.
pub fn not_allowed(route: &route::Route) -> Refusal {
    let text = format!("this path answers {}", route.methods());
    Refusal::new(Code::Unsupported, text).header(header::ALLOW, route.methods())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_follow_each_other() {
        let check = |last, count, expected: &[&str], more| {
            let names = ["a", "b", "c"].map(str::to_owned).to_vec();
            let (page, has_more) = page(names, last, count);
            assert_eq!((page, has_more), (expected.iter().map(|&s| s.to_owned()).collect(), more));
        };
        check(None, None, &["a", "b", "c"], false);
        check(None, Some(2), &["a", "b"], true);
        check(Some("b"), Some(2), &["c"], false);
        check(None, Some(3), &["a", "b", "c"], false);
        check(None, Some(0), &[], false);
        check(Some("c"), None, &[], false);
        check(Some("aa"), Some(1), &["b"], true);
    }
}
