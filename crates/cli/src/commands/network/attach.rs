//! `network connect` and `network disconnect`.

use std::process::ExitCode;

use api::Version;
use engine::model::EndpointSpec;
use engine::view;
use serde_json::json;

use crate::commands::{Invocation, Outcome, parse};
use crate::context::Context;
use crate::flags::value::{each, map};

/// Connect a container to a network
#[derive(clap::Parser)]
struct Connect {
    /// Add network-scoped alias for the container
    #[arg(long, value_name = "strings")]
    alias: Vec<String>,
    /// driver options for the network
    #[arg(long, value_name = "strings")]
    driver_opt: Vec<String>,
    /// Highest gw-priority provides the default gateway. Accepts positive and negative values
    #[arg(long, value_name = "int", allow_negative_numbers = true)]
    gw_priority: Option<i64>,
    /// IPv4 address (e.g., "172.30.100.104")
    #[arg(long, value_name = "string")]
    ip: Option<std::net::Ipv4Addr>,
    /// Add link to another container
    #[arg(long, value_name = "list")]
    link: Vec<String>,
    network: String,
    container: String,
}

pub fn connect(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Connect = parse(&invocation)?;
    let endpoint = EndpointSpec {
        network: args.network.clone(),
        aliases: args.alias,
        links: each("--link", &args.link, engine::parse::link)?.into_iter().collect(),
        ipv4: args.ip,
        driver_opts: map("--driver-opt", &args.driver_opt)?,
        gateway_priority: args.gw_priority.unwrap_or_default(),
        ..EndpointSpec::default()
    };
    if let Some(remote) = context.remote()? {
        if endpoint.gateway_priority != 0 {
            remote.needs(Version::minor(48), "--gw-priority")?;
        }
        let body = json!({"Container": args.container, "EndpointConfig": view::endpoint_request(&endpoint)});
        remote.post(&["networks", &args.network, "connect"]).body(&body).done()?;
        return Ok(ExitCode::SUCCESS);
    }
    context.engine()?.network_connect(&args.network, &args.container, endpoint)?;
    Ok(ExitCode::SUCCESS)
}

/// Disconnect a container from a network
#[derive(clap::Parser)]
struct Disconnect {
    /// Force the container to disconnect from a network
    #[arg(short, long)]
    force: bool,
    network: String,
    container: String,
}

pub fn disconnect(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Disconnect = parse(&invocation)?;
    if let Some(remote) = context.remote()? {
        let body = json!({"Container": args.container, "Force": args.force});
        remote.post(&["networks", &args.network, "disconnect"]).body(&body).done()?;
        return Ok(ExitCode::SUCCESS);
    }
    context.engine()?.network_disconnect(&args.network, &args.container, args.force)?;
    Ok(ExitCode::SUCCESS)
}
