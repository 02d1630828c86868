//! What a registry has: repositories and tags.

use std::collections::HashSet;

use oci::{Digest, Reference, media};
use reqwest::header::{ACCEPT, HeaderMap, HeaderValue, LINK};
use reqwest::{Method, Response, StatusCode, Url};
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::request::{Request, delete_scope, expect, no_body, pull_scope, read_json, shown};
use super::{Client, Endpoint};
use crate::RegistryError;

const FILTERS_APPLIED: &str = "oci-filters-applied";
/// How many entries a page has, if the registry pleases.
const PAGE: &str = "1000";
/// More pages than this are no list but an attack.
const PAGES: usize = 10_000;
const CATALOG_SCOPE: &str = "registry:catalog:*";

#[derive(Deserialize)]
struct Tags {
    // Go writes `null` for a list of nothing.
    tags: Option<Vec<String>>,
}

#[derive(Deserialize)]
struct Catalog {
    repositories: Option<Vec<String>>,
}

impl Client {
    /// The tags of the repository of `reference`, in the registry's order.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn tags(&self, reference: &Reference) -> Result<Vec<String>, RegistryError> {
        let places = self.endpoints(reference.domain())?;
        let tags = self.block_on(self.ask_each(
            reference.domain(),
            &places,
            |can| can.resolve,
            async |endpoint| {
                let mut url = endpoint.url(&format!("{}/tags/list", reference.path()));
                url.query_pairs_mut().append_pair("n", PAGE);
                let pages: Vec<Tags> = self.pages(endpoint, url, &pull_scope(reference)).await?.0;
                Ok(pages.into_iter().filter_map(|page| page.tags).flatten().collect())
            },
        ));
        tags.map_err(|error| match error {
            RegistryError::Status { status: 404, .. } => {
                RegistryError::manifest_unknown(reference.repository(), None)
            }
            other => other,
        })
    }

    /// The repositories of the registry `domain`, where it tells.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn catalog(&self, domain: &str) -> Result<Vec<String>, RegistryError> {
        let endpoint = self.endpoint(domain)?;
        self.block_on(async {
            let mut url = endpoint.url("_catalog");
            url.query_pairs_mut().append_pair("n", PAGE);
            let pages: Vec<Catalog> = self.pages(&endpoint, url, CATALOG_SCOPE).await?.0;
            Ok(pages.into_iter().filter_map(|page| page.repositories).flatten().collect())
        })
    }

    /// Removes the manifest `digest`, and with it the tags that name it.
    ///
    /// # Errors
    /// [`RegistryError::ManifestUnknown`] and the others; many registries do not do this.
    pub fn delete_manifest(&self, reference: &Reference, digest: &Digest) -> Result<(), RegistryError> {
        let endpoint = self.endpoint(reference.domain())?;
        self.block_on(async {
            let request = Request {
                method: Method::DELETE,
                url: endpoint.url(&format!("{}/manifests/{digest}", reference.path())),
                headers: HeaderMap::new(),
                body: &no_body,
                scope: &delete_scope(reference),
            };
            let response = self.send(&endpoint, &request).await?;
            if response.status() == StatusCode::NOT_FOUND {
                return Err(RegistryError::manifest_unknown(reference.with_digest(*digest).familiar(), None));
            }
            expect(&endpoint.domain, response, &[StatusCode::ACCEPTED, StatusCode::OK]).await.map(drop)
        })
    }

    /// All pages of an answer that begins at `url`, and whether the registry has filtered them.
    pub(super) async fn pages<T: DeserializeOwned>(
        &self,
        endpoint: &Endpoint,
        url: Url,
        scope: &str,
    ) -> Result<(Vec<T>, bool), RegistryError> {
        let (mut pages, mut filtered) = (Vec::new(), true);
        let mut seen = HashSet::new();
        let mut next = Some(url);
        while let Some(url) = next {
            if pages.len() == PAGES || !seen.insert(url.clone()) {
                let what = "a list of pages that does not end".to_owned();
                return Err(RegistryError::Malformed {
                    host: endpoint.domain.clone(),
                    url: shown(&url),
                    what,
                });
            }
            let headers = HeaderMap::from_iter([(ACCEPT, HeaderValue::from_static("application/json"))]);
            let mut request = Request { method: Method::GET, url, headers, body: &no_body, scope };
            request.headers.append(ACCEPT, HeaderValue::from_static(media::OCI_INDEX));
            let response = self.send(endpoint, &request).await?;
            next = next_page(&response);
            filtered &= response.headers().contains_key(FILTERS_APPLIED);
            pages.push(read_json(&endpoint.domain, response).await?);
        }
        Ok((pages, filtered))
    }
}

/// The address of the next page. Wherever it is said to be, it is asked of the registry that gave this one.
fn next_page(response: &Response) -> Option<Url> {
    let links = response.headers().get_all(LINK).iter().filter_map(|value| value.to_str().ok());
    let target = links.filter_map(next_link).next()?;
    let next = response.url().join(&target).ok()?;
    let mut url = response.url().clone();
    url.set_path(next.path());
    url.set_query(next.query());
    Some(url)
}

/// The target of the link whose relation is `next`. Spec: RFC 8288, 3.
pub fn next_link(header: &str) -> Option<String> {
    let mut rest = header;
    while let Some((_, after)) = rest.split_once('<') {
        let (target, after) = after.split_once('>')?;
        let end = end_of_link(after);
        let mut parameters = after[..end].split(';').filter_map(|parameter| parameter.split_once('='));
        let is_next = parameters.any(|(name, value)| {
            name.trim().eq_ignore_ascii_case("rel")
                && value
                    .trim()
                    .trim_matches('"')
                    .split_whitespace()
                    .any(|rel| rel.eq_ignore_ascii_case("next"))
        });
        if is_next {
            return Some(target.trim().to_owned());
        }
        rest = &after[end..];
    }
    None
}

/// Where the parameters of a link end: at a comma outside of quotes.
fn end_of_link(text: &str) -> usize {
    let mut quoted = false;
    let outside = |(_, c): &(usize, char)| {
        quoted ^= *c == '"';
        *c == ',' && !quoted
    };
    text.char_indices().find(outside).map_or(text.len(), |(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links() {
        let check = |header: &str, expected: Option<&str>| {
            assert_eq!(next_link(header).as_deref(), expected, "{header}");
        };
        check("</v2/_catalog?last=b&n=2>; rel=\"next\"", Some("/v2/_catalog?last=b&n=2"));
        check("<a>; rel=prev, <b,c>; title=\"x, <y>\"; REL=\"up next\"", Some("b,c"));
        check("<a>; rel=\"prev\"", None);
        check("</unfinished; rel=next", None);
        check("<a>", None);
        check("", None);
    }

    proptest::proptest! {
        #[test]
        fn any_link_is_an_answer(text in ".*", link in r#"[<>;,="a-z ]*"#) {
            let _ = next_link(&text);
            let _ = next_link(&link);
        }
    }
}
