//! What crosses the network: requests to published ports, and names.

use std::process::Command;
use std::time::Instant;

use crate::bench::Bench;
use crate::bench::measure::{command, compare, timed};

pub fn published_port(bench: &Bench) -> Result<(), String> {
    timed(&mut bench.hull([
        "run",
        "-d",
        "--name",
        "web",
        "-p",
        "127.0.0.1:18090:80",
        "busybox",
        "sh",
        "-c",
        "echo hello > /var/www/index.html; exec httpd -f -h /var/www",
    ]))?;
    let template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}";
    let output =
        bench.hull(["inspect", "-f", template, "web"]).output().map_err(|error| error.to_string())?;
    let address = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    let load = |target: String| {
        let mut ab = Command::new("ab");
        // Few enough in all that no source port comes round again: both ways lead to one address and port, where ports that are
        // still waiting out their connection make the kernel search, which would be what is measured.
        ab.args(["-q", "-n", "500", "-c", "4", &target]);
        ab
    };
    compare(
        16,
        vec![
            command("500 requests to the container's address", || {
                load(format!("http://{address}/index.html"))
            }),
            command("500 requests to 127.0.0.1", || load("http://127.0.0.1:18090/index.html".into())),
        ],
    )?;
    timed(&mut bench.hull(["rm", "-f", "web"])).map(drop)
}

pub fn lookup(bench: &Bench) -> Result<(), String> {
    timed(&mut bench.hull(["network", "create", "names"]))?;
    timed(&mut bench.hull([
        "run",
        "-d",
        "--name",
        "here",
        "--network",
        "names",
        "busybox",
        "sleep",
        "1000",
    ]))?;
    let lookups = |count: usize| {
        let script = format!("i=0; while [ $i -lt {count} ]; do nslookup here >/dev/null; i=$((i+1)); done");
        bench.hull(["exec", "here", "sh", "-c"]).arg(script).output().map(drop)
    };
    lookups(5).map_err(|error| error.to_string())?;
    let pair = |count| {
        let start = Instant::now();
        lookups(count).map(|()| start.elapsed()).map_err(|error| error.to_string())
    };
    let (few, many) = (pair(10)?, pair(210)?);
    println!(
        "  one nslookup, process and two questions: {:.3} ms",
        (many - few).as_secs_f64() * 1000.0 / 200.0
    );
    timed(&mut bench.hull(["rm", "-f", "here"]))?;
    timed(&mut bench.hull(["network", "rm", "names"])).map(drop)
}
