//! `/networks`.

use api::Version;
use api::network::{Ipam, NetworkConnect, NetworkCreate, NetworkDisconnect};
use axum::http::StatusCode;
use engine::model::{Filters, NetworkSpec};
use engine::network::NetworkError;
use engine::{parse, view};
use serde_json::{Value, json};

use crate::containers::create::endpoint;
use crate::refusal::Refusal;
use crate::reply::{self, Response};
use crate::request::Request;

/// `GET /networks`; before 1.28 with the containers on them.
pub async fn list(request: Request) -> Result<Response, Refusal> {
    let filters = request.query.filters()?;
    let is_whole = request.version < Version::minor(28);
    let networks = request
        .engine(move |engine| -> Result<_, NetworkError> {
            let mut networks = engine.networks(&filters)?;
            for network in networks.iter_mut().filter(|_| is_whole) {
                match engine.network_inspect(network.id.as_str()) {
                    // Removed meanwhile.
                    Err(NetworkError::NotFound { .. }) => {}
                    whole => *network = whole?,
                }
            }
            Ok(networks)
        })
        .await?;
    Ok(reply::ok(&networks.iter().map(view::network).collect()))
}

/// `GET /networks/{id}`.
pub async fn inspect(request: Request, id: &str) -> Result<Response, Refusal> {
    if request.query.get("scope").is_some_and(|scope| scope != "local") {
        return Err(Refusal::new(StatusCode::NOT_FOUND, format!("network {id} not found")));
    }
    let id = id.to_owned();
    let network = request.engine(move |engine| engine.network_inspect(&id)).await?;
    Ok(reply::ok(&view::network(&network)))
}

/// `POST /networks/create`.
pub async fn create(mut request: Request) -> Result<Response, Refusal> {
    let wire: NetworkCreate = request.required().await?;
    let spec = spec(wire)?;
    let network = request.engine(move |engine| engine.network_create(spec)).await?;
    let body = json!({"Id": network.id.as_str(), "Warning": ""});
    Ok(reply::json(StatusCode::CREATED, &body))
}

fn spec(wire: NetworkCreate) -> Result<NetworkSpec, Refusal> {
    let refuse = |is_asked: bool, name: &str, why: &str| match is_asked {
        true => Err(Refusal::unsupported(format!("{name}: {why}"))),
        false => Ok(()),
    };
    let swarm = "hull is no swarm manager";
    refuse(wire.scope.is_some_and(|scope| !matches!(scope.as_str(), "" | "local")), "Scope", swarm)?;
    refuse(wire.ingress.unwrap_or_default(), "Ingress", swarm)?;
    refuse(
        wire.config_only.unwrap_or_default(),
        "ConfigOnly",
        "networks are configured where they are made",
    )?;
    let from = wire.config_from.and_then(|from| from.network).is_some_and(|name| !name.is_empty());
    refuse(from, "ConfigFrom", "networks are configured where they are made")?;
    refuse(wire.enable_ipv6.unwrap_or_default(), "EnableIPv6", "IPv6 is not supported")?;
    refuse(wire.enable_ipv4 == Some(false), "EnableIPv4", "a network without IPv4 would have no addresses")?;
    let mut spec = NetworkSpec {
        name: wire.name.unwrap_or_default(),
        driver: wire.driver.filter(|driver| !driver.is_empty()),
        internal: wire.internal.unwrap_or_default(),
        attachable: wire.attachable.unwrap_or_default(),
        options: wire.options.unwrap_or_default(),
        labels: wire.labels.unwrap_or_default(),
        ..NetworkSpec::default()
    };
    addresses(&mut spec, wire.ipam.unwrap_or_default())?;
    Ok(spec)
}

fn addresses(spec: &mut NetworkSpec, ipam: Ipam) -> Result<(), Refusal> {
    if let Some(driver) = ipam.driver.filter(|driver| !matches!(driver.as_str(), "" | "default")) {
        return Err(Refusal::unsupported(format!("IPAM.Driver: there is no driver {driver:?}")));
    }
    if ipam.options.is_some_and(|options| !options.is_empty()) {
        return Err(Refusal::unsupported("IPAM.Options: the default driver has none"));
    }
    let mut configs = ipam.config.unwrap_or_default().into_iter();
    let Some(config) = configs.next() else { return Ok(()) };
    if configs.next().is_some() {
        return Err(Refusal::unsupported("IPAM.Config: a network has one subnet"));
    }
    let given = |text: Option<String>| text.filter(|text| !text.is_empty());
    let address = |name: &str, text: &str| {
        text.parse().map_err(|_| Refusal::invalid(format!("IPAM.Config.{name}: {text:?} is no IPv4 address")))
    };
    spec.subnet = given(config.subnet).map(|text| parse::subnet(&text)).transpose()?;
    spec.ip_range = given(config.ip_range).map(|text| parse::subnet(&text)).transpose()?;
    spec.gateway = given(config.gateway).map(|text| address("Gateway", &text)).transpose()?;
    for (name, text) in config.auxiliary_addresses.unwrap_or_default() {
        spec.aux_addresses.insert(name, address("AuxiliaryAddresses", &text)?);
    }
    Ok(())
}

/// `DELETE /networks/{id}`.
pub async fn remove(request: Request, id: &str) -> Result<Response, Refusal> {
    let id = id.to_owned();
    let removed = request.engine(move |engine| -> Result<_, Refusal> {
        engine.network_remove(&id).map(drop).map_err(|error| {
            let in_use = matches!(error, NetworkError::InUse { .. });
            let refusal = Refusal::from(error);
            // Docker's status for it, which clients match.
            if in_use { Refusal { status: StatusCode::FORBIDDEN, ..refusal } } else { refusal }
        })
    });
    removed.await?;
    Ok(reply::empty(StatusCode::NO_CONTENT))
}

/// `POST /networks/{id}/connect`.
pub async fn connect(mut request: Request, id: &str) -> Result<Response, Refusal> {
    let wire: NetworkConnect = request.required().await?;
    let spec = endpoint(id.to_owned(), wire.endpoint_config.unwrap_or_default())?;
    let (id, container) = (id.to_owned(), wire.container.unwrap_or_default());
    request.engine(move |engine| engine.network_connect(&id, &container, spec)).await?;
    Ok(reply::empty(StatusCode::OK))
}

/// `POST /networks/{id}/disconnect`.
pub async fn disconnect(mut request: Request, id: &str) -> Result<Response, Refusal> {
    let wire: NetworkDisconnect = request.required().await?;
    let (id, container) = (id.to_owned(), wire.container.unwrap_or_default());
    let force = wire.force.unwrap_or_default();
    request.engine(move |engine| engine.network_disconnect(&id, &container, force)).await?;
    Ok(reply::empty(StatusCode::OK))
}

/// `POST /networks/prune`.
pub async fn prune(request: Request) -> Result<Response, Refusal> {
    let filters: Filters = request.query.filters()?;
    let pruned = request.engine(move |engine| engine.network_prune(&filters)).await?;
    Ok(reply::ok(&json!({"NetworksDeleted": none_if_empty(&pruned.networks)})))
}

/// Null for an empty list, as Go marshals it.
pub fn none_if_empty<T: serde::Serialize>(list: &[T]) -> Value {
    if list.is_empty() { Value::Null } else { json!(list) }
}
