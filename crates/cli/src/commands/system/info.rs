//! `info` and `version`.

use std::process::ExitCode;

use engine::Engine;
use engine::time::now_ns;
use engine::view;
use serde_json::Value;

use crate::commands::{Invocation, Outcome, parse};
use crate::context::{Context, print};
use crate::elsewhere;
use crate::output::human;
use crate::template::Template;

/// Display system-wide information
#[derive(clap::Parser)]
struct Info {
    /// Format output using a custom template: 'json' or a Go template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Info = parse(&invocation)?;
    let info = match context.remote()? {
        Some(remote) => remote.get(&["info"]).json()?,
        None => view::info(&context.engine()?.info()?, now_ns()),
    };
    if let Some(format) = args.format {
        return formatted(&format, &info);
    }
    let text = |key: &str| info[key].as_str().unwrap_or_default().to_owned();
    let number = |key: &str| info[key].as_u64().map(|number| number.to_string()).unwrap_or_default();
    let words = |key: &str| {
        let words: Vec<&str> = info[key].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
        words.join(" ")
    };
    let status = info["DriverStatus"].as_array().into_iter().flatten();
    let backing = status.filter(|pair| pair[0] == "Backing Filesystem").find_map(|pair| pair[1].as_str());
    // What only hull says is left out for others.
    let controllers =
        [words("CgroupControllers"), text("CgroupDriver")].into_iter().find(|text| !text.is_empty());
    let cgroup = match text("CgroupVersion").as_str() {
        "0" => "none".to_owned(),
        version => format!("{version} ({})", controllers.unwrap_or_default()),
    };
    let unprotected = info.get("Unprotected").map(|count| format!("{count} (`hull inspect` says which)"));
    let lines = [
        ("Containers", number("Containers")),
        (" Running", number("ContainersRunning")),
        (" Paused", number("ContainersPaused")),
        (" Stopped", number("ContainersStopped")),
        ("Images", number("Images")),
        ("Version", text("ServerVersion")),
        ("Storage", format!("{} on {}", text("Driver"), backing.unwrap_or("unknown"))),
        ("Cgroup Version", cgroup),
        ("Security Options", words("SecurityOptions")),
        ("Running With Less Protection", unprotected.unwrap_or_default()),
        ("Kernel Version", text("KernelVersion")),
        ("Operating System", text("OperatingSystem")),
        ("Architecture", text("Architecture")),
        ("CPUs", number("NCPU")),
        ("Total Memory", human::binary_size(info["MemTotal"].as_u64().unwrap_or_default())),
        ("Name", text("Name")),
        ("Data Root", text("DockerRootDir")),
        ("Run Root", text("RunRoot")),
        ("Instance", text("Instance")),
    ];
    let lines = lines.iter().filter(|(_, value)| !value.is_empty());
    print(&lines.map(|(name, value)| format!("{name}: {value}\n")).collect::<String>());
    elsewhere::warn(&info);
    Ok(ExitCode::SUCCESS)
}

/// Show the hull version information
#[derive(clap::Parser)]
struct Version {
    /// Format output using a custom template: 'json' or a Go template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
}

pub fn version(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Version = parse(&invocation)?;
    let version = Engine::version();
    let client = view::version(&version);
    // Docker's client and its engine are one program here, so both halves say the same.
    let (server, place) = match context.remote()? {
        Some(remote) => (remote.get(&["version"]).json()?, Some(remote.address())),
        None => (client.clone(), None),
    };
    if let Some(format) = args.format {
        return formatted(&format, &serde_json::json!({ "Client": client, "Server": server }));
    }
    if let Some(place) = place {
        let text = |key: &str| server[key].as_str().unwrap_or_default();
        print(&format!(
            "Client: hull\n Version:     {}\n API version: {}\n OS/Arch:     {}/{}\n\n\
             Server: {} at {place}\n Version:     {}\n API version: {} (minimum {})\n OS/Arch:     {}/{}\n Kernel:      {}\n",
            version.version,
            version.api_version,
            version.os,
            version.architecture,
            server["Platform"]["Name"].as_str().filter(|name| !name.is_empty()).unwrap_or("Docker"),
            text("Version"),
            text("ApiVersion"),
            text("MinAPIVersion"),
            text("Os"),
            text("Arch"),
            text("KernelVersion"),
        ));
        return Ok(ExitCode::SUCCESS);
    }
    print(&format!(
        "hull:\n Version:     {}\n API version: {} (minimum {})\n OS/Arch:     {}/{}\n Kernel:      {}\n",
        version.version,
        version.api_version,
        version.min_api_version,
        version.os,
        version.architecture,
        version.kernel,
    ));
    Ok(ExitCode::SUCCESS)
}

fn formatted(format: &str, fields: &Value) -> Outcome {
    let template = Template::parse(if format == "json" { "{{json .}}" } else { format })?;
    print(&format!("{}\n", template.render(fields)?));
    Ok(ExitCode::SUCCESS)
}
