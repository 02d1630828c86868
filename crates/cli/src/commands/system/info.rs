//! `info` and `version`.

use std::process::ExitCode;

use engine::Engine;
use engine::time::now_ns;
use engine::view;
use serde_json::Value;

use crate::commands::{Invocation, Outcome, parse};
use crate::context::{Context, note, print};
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
    let info = context.engine()?.info()?;
    if let Some(format) = args.format {
        let mut fields = view::info(&info, now_ns());
        if let Value::Object(map) = &mut fields {
            map.insert("Instance".into(), info.instance.clone().into());
            map.insert("Unprotected".into(), info.unprotected.into());
            map.insert("RunRoot".into(), info.run_root.display().to_string().into());
        }
        return formatted(&format, &fields);
    }
    let cgroup = match info.cgroup_version {
        0 => "none".to_owned(),
        version => format!("{version} ({})", info.cgroup_controllers.join(" ")),
    };
    let lines = [
        ("Containers", info.containers.to_string()),
        (" Running", info.running.to_string()),
        (" Paused", info.paused.to_string()),
        (" Stopped", info.stopped.to_string()),
        ("Images", info.images.to_string()),
        ("Version", env!("CARGO_PKG_VERSION").to_owned()),
        ("Storage", format!("overlayfs on {}", info.backing_filesystem)),
        ("Cgroup Version", cgroup),
        ("Security Options", info.security_options.join(" ")),
        ("Running With Less Protection", format!("{} (`hull inspect` says which)", info.unprotected)),
        ("Kernel Version", info.kernel.clone()),
        ("Operating System", info.operating_system.clone()),
        ("Architecture", info.architecture.clone()),
        ("CPUs", info.cpus.to_string()),
        ("Total Memory", human::binary_size(info.memory_bytes)),
        ("Name", info.host_name.clone()),
        ("Data Root", info.data_root.display().to_string()),
        ("Run Root", info.run_root.display().to_string()),
        ("Instance", info.instance.clone()),
    ];
    print(&lines.iter().map(|(name, value)| format!("{name}: {value}\n")).collect::<String>());
    info.warnings.iter().for_each(|warning| note(format_args!("WARNING: {warning}")));
    Ok(ExitCode::SUCCESS)
}

/// Show the hull version information
#[derive(clap::Parser)]
struct Version {
    /// Format output using a custom template: 'json' or a Go template
    #[arg(short, long, value_name = "string")]
    format: Option<String>,
}

pub fn version(_: &mut Context, invocation: Invocation) -> Outcome {
    let args: Version = parse(&invocation)?;
    let version = Engine::version();
    if let Some(format) = args.format {
        // Docker's client and its engine are one program here, so both halves say the same.
        let one = view::version(&version);
        return formatted(&format, &serde_json::json!({ "Client": one.clone(), "Server": one }));
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
