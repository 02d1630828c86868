//! Searching a registry's index for repositories.
//!
//! The interface is the first version's `/v1/search`, which Docker Hub and registries with an index still have.

use reqwest::Method;
use reqwest::header::HeaderMap;
use serde::{Deserialize, Deserializer};

use super::Client;
use super::request::{Request, no_body, read_json};
use crate::RegistryError;

/// Docker Hub's index; its registry has another host.
const HUB_INDEX: &str = "index.docker.io";

/// A repository that was found.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct Found {
    #[serde(deserialize_with = "or_default")]
    pub name: String,
    #[serde(deserialize_with = "or_default")]
    pub description: String,
    pub star_count: u64,
    pub is_official: bool,
    pub is_automated: bool,
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default, deserialize_with = "or_default")]
    results: Vec<Found>,
}

/// Go writes `null` for what is empty.
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl Client {
    /// Searches for `term`, at the registry it begins with or else at Docker Hub.
    ///
    /// # Errors
    /// [`RegistryError`].
    pub fn search(&self, term: &str, limit: u32) -> Result<Vec<Found>, RegistryError> {
        let (domain, term) = split(term);
        let endpoint = self.endpoint(domain)?;
        let mut url = endpoint.base().clone();
        url.set_path("/v1/search");
        url.query_pairs_mut().append_pair("q", term).append_pair("n", &limit.to_string());
        self.block_on(async {
            let request =
                Request { method: Method::GET, url, headers: HeaderMap::new(), body: &no_body, scope: "" };
            let response = self.send(&endpoint, &request).await?;
            let mut answer: Answer = read_json(&endpoint.domain, response).await?;
            answer.results.truncate(limit as usize);
            Ok(answer.results)
        })
    }
}

/// The host of the index, and what to look for there. `library/` is what Docker Hub leaves out of names.
fn split(term: &str) -> (&str, &str) {
    match term.split_once('/') {
        Some((HUB_INDEX | "docker.io", rest)) => (HUB_INDEX, rest.strip_prefix("library/").unwrap_or(rest)),
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest),
        _ => (HUB_INDEX, term.strip_prefix("library/").unwrap_or(term)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms() {
        let check = |term, expected| assert_eq!(split(term), expected, "{term}");
        check("busybox", (HUB_INDEX, "busybox"));
        check("user/app", (HUB_INDEX, "user/app"));
        check("docker.io/library/busybox", (HUB_INDEX, "busybox"));
        check("localhost:5000/app", ("localhost:5000", "app"));
        check("r.example/team/app", ("r.example", "team/app"));
    }

    #[test]
    fn answers() {
        let answer: Answer = serde_json::from_str(
            r#"{"results":[{"name":"a","description":null,"star_count":3,"is_official":true,"more":1}]}"#,
        )
        .unwrap();
        let expected = Found { name: "a".to_owned(), star_count: 3, is_official: true, ..Found::default() };
        assert_eq!(answer.results, [expected]);
        let none: Answer = serde_json::from_str(r#"{"results":null}"#).unwrap();
        assert_eq!(none.results, []);
    }
}
