//! Making a container at another engine.

use api::Version;
use diag::{Class, Diagnose as _};
use engine::model::{ContainerSpec, MountKind, MountSyntax, NetworkMode, Owners};
use engine::view;
use image::PullPolicy;
use remote::{Client, RemoteError};
use serde_json::Value;

use super::{ChoiceError, progress, warn};
use crate::commands::Ended;
use crate::flags::container::WantedImage;
use crate::flags::value::reference;

/// Makes the container `spec` says, pulls its image first where `image` says so, and returns its id.
pub fn create(client: &Client, spec: &ContainerSpec, image: &WantedImage) -> Result<String, Ended> {
    let body = request(client, spec)?;
    if image.is_lazy {
        return Err(ChoiceError::flag("--pull lazy", client).into());
    }
    if image.policy == PullPolicy::Always {
        pull(client, spec, image)?;
    }
    let call = || {
        let call = client.post(&["containers", "create"]).maybe("name", spec.name.as_ref());
        call.maybe("platform", spec.platform.as_ref()).body(&body).json()
    };
    let created = match call() {
        Err(error) if image.policy == PullPolicy::Missing && is_image_missing(&error) => {
            image
                .place
                .say(&format!("Unable to find image '{}' locally", reference(&spec.image)?.pullable()));
            pull(client, spec, image)?;
            call()?
        }
        created => created?,
    };
    warn(&created);
    Ok(created["Id"].as_str().unwrap_or_default().to_owned())
}

/// The body of the request, if the engine understands all of it.
fn request(client: &Client, spec: &ContainerSpec) -> Result<Value, RemoteError> {
    let mut body = view::create_request(spec);
    let needs = |is_asked: bool, minor, what| match is_asked {
        true => client.needs(Version::minor(minor), what),
        false => Ok(()),
    };
    let mounts = |wanted: fn(&MountKind) -> bool, syntax| {
        spec.mounts.iter().any(|mount| wanted(&mount.kind) && mount.syntax == syntax)
    };
    let endpoints = match &spec.network.mode {
        NetworkMode::Networks(endpoints) => endpoints.as_slice(),
        _ => &[],
    };
    needs(!spec.annotations.is_empty(), 43, "--annotation")?;
    needs(
        spec.health.as_ref().is_some_and(|h| h.start_interval_ns.is_some()),
        44,
        "--health-start-interval",
    )?;
    needs(endpoints.iter().any(|endpoint| endpoint.gateway_priority != 0), 48, "gw-priority")?;
    let creates = |kind: &MountKind| matches!(kind, MountKind::Bind { create_source: true, .. });
    needs(mounts(creates, MountSyntax::Mount), 42, "bind-create-src")?;
    let below = |kind: &MountKind| matches!(kind, MountKind::Volume { subpath: Some(_), .. });
    needs(mounts(below, MountSyntax::Mount), 45, "volume-subpath")?;
    let mapped = |kind: &MountKind| matches!(kind, MountKind::Bind { owners, .. } | MountKind::Volume { owners, .. } if *owners != Owners::AsTheyAre);
    if mounts(mapped, MountSyntax::Mount) && client.get(&["version"]).json()?["Platform"]["Name"] != "hull" {
        // An engine that does not know it would not say so.
        let message = format!("idmap is hull's own, and the engine at {} is another one", client.address());
        return Err(RemoteError::Refused { status: 501, message });
    }
    if client.version() < Version::minor(44)
        && let [first, ..] = endpoints
        && let Some(mac) = &first.mac
    {
        body["MacAddress"] = mac.to_string().into();
    }
    Ok(body)
}

fn is_image_missing(error: &RemoteError) -> bool {
    error.class() == Class::NotFound && error.to_string().to_lowercase().contains("no such image")
}

fn pull(client: &Client, spec: &ContainerSpec, image: &WantedImage) -> Result<(), Ended> {
    let name = reference(&spec.image)?.pullable();
    progress::pull(client, &name.canonical(), name.domain(), spec.platform.as_deref(), image.place)
}
