//! The tags of a repository.

use oci::Reference;
use reqwest::header::{HeaderMap, LINK};
use reqwest::{Method, StatusCode, Url};
use serde::Deserialize;

use super::request::{Request, no_body, pull_scope, read_json, same_host};
use super::{Client, Endpoint};
use crate::RegistryError;

/// More pages than anybody has; whoever goes on sends us in circles.
const PAGES: usize = 10_000;

#[derive(Deserialize)]
struct TagList {
    // Registries say `null` for none.
    tags: Option<Vec<String>>,
}

impl Client {
    /// All tags of the repository of `reference`, in the registry's order.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn tags(&self, reference: &Reference) -> Result<Vec<String>, RegistryError> {
        let endpoint = self.endpoint(reference.domain())?;
        self.block_on(async {
            let mut tags = Vec::new();
            let mut next = Some(endpoint.url(&format!("{}/tags/list", reference.path())));
            for _ in 0..PAGES {
                let Some(url) = next else { return Ok(tags) };
                let request = Request {
                    method: Method::GET,
                    url: url.clone(),
                    headers: HeaderMap::new(),
                    body: &no_body,
                    scope: &pull_scope(reference),
                };
                let response = self.send(&endpoint, &request).await?;
                if response.status() == StatusCode::NOT_FOUND {
                    return Err(RegistryError::ManifestUnknown(reference.repository()));
                }
                let link = response.headers().get(LINK).and_then(|value| value.to_str().ok());
                next = link.and_then(|link| next_page(link, &url, &endpoint));
                let page: TagList = read_json(&endpoint.domain, response).await?;
                tags.extend(page.tags.unwrap_or_default());
            }
            Ok(tags)
        })
    }
}

/// The target of `<...>; rel="next"`, when it is at the same registry.
fn next_page(link: &str, base: &Url, endpoint: &Endpoint) -> Option<Url> {
    let (target, parameters) = link.trim().strip_prefix('<')?.split_once('>')?;
    let next = base.join(target).ok()?;
    (parameters.contains("next") && same_host(&next, &endpoint.base)).then_some(next)
}
