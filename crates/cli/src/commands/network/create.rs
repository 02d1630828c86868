//! `network create`.

use std::process::ExitCode;

use engine::model::NetworkSpec;
use engine::{parse as syntax, view};

use crate::commands::{Invocation, Outcome, parse};
use crate::context::{Context, note, print_line};
use crate::flags::value::{FlagsError, labels, map, optional, value, wrong};

/// Create a network
#[derive(clap::Parser)]
struct Args {
    /// Enable manual container attachment
    #[arg(long)]
    attachable: bool,
    /// Auxiliary IPv4 addresses that are never given out
    #[arg(long, value_name = "map")]
    aux_address: Vec<String>,
    /// Driver to manage the Network
    #[arg(short, long, value_name = "string")]
    driver: Option<String>,
    /// IPv4 Gateway for the subnet
    #[arg(long, value_name = "ip")]
    gateway: Option<String>,
    /// Restrict external access to the network
    #[arg(long)]
    internal: bool,
    /// Allocate container ip from a sub-range
    #[arg(long, value_name = "cidr")]
    ip_range: Option<String>,
    /// Enable IPv6 networking: not supported
    #[arg(long)]
    ipv6: bool,
    /// Set metadata on a network
    #[arg(long, value_name = "list")]
    label: Vec<String>,
    /// Set driver specific options
    #[arg(short, long, value_name = "map")]
    opt: Vec<String>,
    /// Subnet in CIDR format that represents a network segment
    #[arg(long, value_name = "cidr")]
    subnet: Option<String>,
    network: String,
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    if args.ipv6 {
        let instead = "hull's networks are IPv4 for now";
        return Err(FlagsError::Unsupported { flag: "--ipv6".into(), instead }.into());
    }
    let mut aux_addresses = std::collections::BTreeMap::new();
    for entry in &args.aux_address {
        let (name, address) =
            entry.split_once('=').ok_or_else(|| wrong("--aux-address", entry, "must be name=address"))?;
        aux_addresses.insert(name.to_owned(), value("--aux-address", address, str::parse)?);
    }
    let spec = NetworkSpec {
        name: args.network,
        driver: args.driver,
        subnet: optional("--subnet", &args.subnet, syntax::subnet)?,
        gateway: optional("--gateway", &args.gateway, str::parse)?,
        ip_range: optional("--ip-range", &args.ip_range, syntax::subnet)?,
        aux_addresses,
        internal: args.internal,
        attachable: args.attachable,
        options: map("-o, --opt", &args.opt)?,
        labels: labels(&args.label),
    };
    if let Some(remote) = context.remote()? {
        let created = remote.post(&["networks", "create"]).body(&view::network_request(&spec)).json()?;
        created["Warning"].as_str().filter(|text| !text.is_empty()).into_iter().for_each(note);
        print_line(created["Id"].as_str().unwrap_or_default());
        return Ok(ExitCode::SUCCESS);
    }
    let network = context.engine()?.network_create(spec)?;
    print_line(&network.id);
    Ok(ExitCode::SUCCESS)
}
