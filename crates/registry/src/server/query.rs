//! The query of a URL.

use super::refusal::{Code, Refusal};

/// Its pairs, in their order.
pub struct Query(Vec<(String, String)>);

impl Query {
    pub fn parse(text: Option<&str>) -> Self {
        Self(form_urlencoded::parse(text.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// The first value of `key`; an empty one counts as none.
    pub fn get(&self, key: &str) -> Option<&str> {
        self.0.iter().find(|(name, value)| name == key && !value.is_empty()).map(|(_, value)| &**value)
    }

    pub fn all<'a>(&'a self, key: &'static str) -> impl Iterator<Item = &'a str> {
        self.0.iter().filter(move |(name, _)| name == key).map(|(_, value)| &**value)
    }

    /// How many results are wanted.
    pub fn count(&self) -> Result<Option<usize>, Refusal> {
        let refused = |n: &str| {
            Refusal::new(Code::Unsupported, format!("n={n:?} is not a number of results")).status(400)
        };
        self.get("n").map(|n| n.parse().map_err(|_| refused(n))).transpose()
    }
}
