//! Refusing a request: the specification's error codes, their statuses, and the document that carries them.

use std::error::Error;

use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use super::content::ContentError;
use super::reply::{self, Response};

/// An error code of the distribution specification.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    BlobUnknown,
    BlobUploadInvalid,
    BlobUploadUnknown,
    DigestInvalid,
    ManifestBlobUnknown,
    ManifestInvalid,
    ManifestUnknown,
    NameInvalid,
    NameUnknown,
    SizeInvalid,
    Unauthorized,
    Denied,
    Unsupported,
    TooManyRequests,
    /// Not the client's fault; the specification leaves the body of such answers open.
    Unknown,
}

impl Code {
    fn text(self) -> &'static str {
        match self {
            Self::BlobUnknown => "BLOB_UNKNOWN",
            Self::BlobUploadInvalid => "BLOB_UPLOAD_INVALID",
            Self::BlobUploadUnknown => "BLOB_UPLOAD_UNKNOWN",
            Self::DigestInvalid => "DIGEST_INVALID",
            Self::ManifestBlobUnknown => "MANIFEST_BLOB_UNKNOWN",
            Self::ManifestInvalid => "MANIFEST_INVALID",
            Self::ManifestUnknown => "MANIFEST_UNKNOWN",
            Self::NameInvalid => "NAME_INVALID",
            Self::NameUnknown => "NAME_UNKNOWN",
            Self::SizeInvalid => "SIZE_INVALID",
            Self::Unauthorized => "UNAUTHORIZED",
            Self::Denied => "DENIED",
            Self::Unsupported => "UNSUPPORTED",
            Self::TooManyRequests => "TOOMANYREQUESTS",
            Self::Unknown => "UNKNOWN",
        }
    }

    /// The status it usually comes with.
    fn status(self) -> u16 {
        match self {
            Self::BlobUnknown | Self::BlobUploadUnknown | Self::ManifestUnknown | Self::NameUnknown => 404,
            Self::Unauthorized => 401,
            Self::Denied => 403,
            Self::Unsupported => 405,
            Self::TooManyRequests => 429,
            Self::Unknown => 500,
            Self::BlobUploadInvalid
            | Self::DigestInvalid
            | Self::ManifestBlobUnknown
            | Self::ManifestInvalid
            | Self::NameInvalid
            | Self::SizeInvalid => 400,
        }
    }
}

/// A request that is not done.
#[derive(Debug)]
pub struct Refusal {
    status: u16,
    code: Code,
    message: String,
    details: Vec<Value>,
    headers: Vec<(HeaderName, HeaderValue)>,
    /// What the operator should know and the client need not.
    pub trouble: Option<Box<dyn Error + Send + Sync>>,
}

impl Refusal {
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let message = message.into();
        Self { status: code.status(), code, message, details: Vec::new(), headers: Vec::new(), trouble: None }
    }

    /// The same with another status than the code's usual one.
    pub fn status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    /// The same with one more header; a value that cannot be one is left out.
    pub fn header(mut self, name: HeaderName, value: &str) -> Self {
        self.headers.extend(HeaderValue::from_str(value).ok().map(|value| (name, value)));
        self
    }

    /// The same for a connection on which the rest of the request is not worth waiting for.
    pub fn hanging_up(self) -> Self {
        self.header(header::CONNECTION, "close")
    }

    #[cfg(test)]
    pub fn code(&self) -> Code {
        self.code
    }

    #[cfg(test)]
    pub fn http_status(&self) -> u16 {
        self.status
    }

    pub fn into_response(self) -> Response {
        let details = if self.details.is_empty() { vec![Value::Null] } else { self.details };
        let errors: Vec<Value> = details
            .into_iter()
            .map(|detail| json!({"code": self.code.text(), "message": self.message, "detail": detail}))
            .collect();
        let mut response = reply::json(&json!({ "errors": errors }));
        *response.status_mut() =
            StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        for (name, value) in self.headers {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl From<ContentError> for Refusal {
    fn from(error: ContentError) -> Self {
        let message = diag::with_sources(&error);
        match error {
            ContentError::NameInvalid(_) => Self::new(Code::NameInvalid, message),
            ContentError::NameUnknown(name) => Self {
                details: vec![json!({"name": name.as_str()})],
                ..Self::new(Code::NameUnknown, message)
            },
            ContentError::ManifestUnknown { repository, target } => Self {
                details: vec![json!({"name": repository.as_str(), "reference": target.to_string()})],
                ..Self::new(Code::ManifestUnknown, message)
            },
            ContentError::BlobUnknown { digest, .. } => {
                Self { details: vec![json!({ "digest": digest })], ..Self::new(Code::BlobUnknown, message) }
            }
            ContentError::ContentUnknown { digests, .. } => Self {
                details: digests.into_iter().map(|digest| json!({ "digest": digest })).collect(),
                ..Self::new(Code::ManifestBlobUnknown, message)
            },
            ContentError::ManifestInvalid(_) => Self::new(Code::ManifestInvalid, message),
            ContentError::Mismatch { .. } => Self::new(Code::DigestInvalid, message),
            ContentError::InUse { .. } => Self::new(Code::Denied, message).status(409),
            // The specification has no word for it but that this blob's deletion is disabled.
            ContentError::BlobInUse(_) => Self::new(Code::Unsupported, message),
            ContentError::Full(trouble) => Self {
                trouble: Some(trouble),
                ..Self::new(Code::Unknown, "no space is left on this registry's disk").status(507)
            },
            ContentError::Internal(trouble) => {
                Self { trouble: Some(trouble), ..Self::new(Code::Unknown, "this registry is in trouble") }
            }
        }
    }
}
