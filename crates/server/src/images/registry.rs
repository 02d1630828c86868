//! What registries are asked on behalf of clients: searches, descriptions, logins.

use ::image::PullError;
use ::registry::credentials::{Given, host};
use ::registry::{Credential, RegistryError};
use api::auth::AuthConfig;
use axum::http::StatusCode;
use diag::Diagnose as _;
use engine::model::Filters;
use serde_json::json;
use std::sync::Arc;

use super::{Session, at_registry, reference};
use crate::refusal::{Refusal, with_sources};
use crate::reply::{self, Response};
use crate::request::{Request, blocking};

/// `GET /images/search`.
pub async fn search(request: Request) -> Result<Response, Refusal> {
    let query = &request.query;
    let term = query.get("term").ok_or_else(|| Refusal::invalid("term: what to search for is missing"))?;
    let limit = match query.number::<i64>("limit")?.unwrap_or(0) {
        0 => 25,
        limit @ 1..=100 => limit as u32,
        limit => {
            return Err(Refusal::invalid(format!("limit {limit} is outside the range of [1, 100]")));
        }
    };
    let filters: Filters = query.filters()?;
    // The term begins with the registry's host, or else means Docker Hub.
    let host = term.split('/').next().filter(|host| host.contains(['.', ':'])).unwrap_or_default();
    let session = Session::new(&request, ::registry::credentials::host(host))?;
    let term = term.to_owned();
    let found = request
        .engine(move |engine| -> Result<_, Refusal> {
            Ok(engine.image_search(&session.client()?, &term, limit, &filters)?)
        })
        .await?;
    let entry = |found: &::registry::Found| {
        json!({
            "description": found.description,
            "is_automated": found.is_automated,
            "is_official": found.is_official,
            "name": found.name,
            "star_count": found.star_count,
        })
    };
    Ok(reply::ok(&found.iter().map(entry).collect()))
}

/// `GET /distribution/{name}/json`.
pub async fn distribution(request: Request, name: &[&str]) -> Result<Response, Refusal> {
    let reference = reference(&name.join("/"))?.pullable();
    let session = Session::new(&request, reference.domain())?;
    let remote = request
        .engine(move |engine| -> Result<_, Refusal> {
            engine.images().remote(&session.client()?, &reference).map_err(|error| match &error {
                // What the registry says is passed on.
                PullError::Registry(refused) => match refused.refusal() {
                    Some((status, said)) => {
                        Refusal::new(StatusCode::from_u16(status).expect("it came over HTTP"), said)
                    }
                    None => at_registry(error),
                },
                _ => at_registry(error),
            })
        })
        .await?;
    Ok(reply::ok(&json!({"Descriptor": remote.descriptor, "Platforms": remote.platforms})))
}

/// `POST /auth`.
pub async fn login(mut request: Request) -> Result<Response, Refusal> {
    let wire: AuthConfig = request.required().await?;
    let text = |text: Option<String>| text.unwrap_or_default();
    let domain = host(wire.serveraddress.as_deref().unwrap_or_default()).to_owned();
    let user = text(wire.username);
    let credential = match wire.identitytoken.filter(|token| !token.is_empty()) {
        Some(token) => Credential::IdentityToken { user, token },
        None => Credential::Password { user, password: text(wire.password) },
    };
    let engine = request.state.engine.clone();
    let kept = blocking(move || {
        let client = engine.registry_with(Arc::new(Given::default()))?;
        client.login(&domain, &credential).map_err(|error| match error {
            error @ (RegistryError::LoginRefused { .. } | RegistryError::Unauthorized { .. }) => {
                Refusal::new(StatusCode::UNAUTHORIZED, with_sources(&error))
            }
            // Whatever else keeps a login from being checked is no refusal of it.
            error if error.class() == diag::Class::Unavailable => {
                Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, with_sources(&error))
            }
            error => error.into(),
        })
    })
    .await?;
    let token = match kept {
        Credential::IdentityToken { token, .. } => token,
        _ => String::new(),
    };
    Ok(reply::ok(&json!({"Status": "Login Succeeded", "IdentityToken": token})))
}
