//! Details of failures, as BuildKit's clients show them.

use serde::Serialize;

use super::Any;

/// `errdefs.Source`: the lines of a file that are to blame.
#[derive(Clone, Debug, Serialize)]
pub struct Source {
    pub info: SourceInfo,
    pub ranges: Vec<Range>,
}

#[derive(Clone, Debug, Serialize)]
pub struct SourceInfo {
    pub filename: String,
    /// The whole file, in base64.
    pub data: String,
    pub language: &'static str,
}

#[derive(Clone, Copy, Debug, Serialize)]
pub struct Range {
    pub start: Position,
    pub end: Position,
}

/// A line, from 1.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Position {
    pub line: usize,
}

impl From<Source> for Any {
    fn from(source: Source) -> Self {
        // Details are JSON under a URL that says so.
        let value = serde_json::to_vec(&source).expect("it is text and numbers");
        Self { type_url: "github.com/moby/buildkit/errdefs.Source+json".to_owned(), value }
    }
}
