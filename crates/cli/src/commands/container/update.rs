//! `update`: limits and restart policy of containers that exist.

use engine::model::{Limits, UpdateSpec};
use engine::{parse as syntax, view};

use crate::commands::many::each;
use crate::commands::{Invocation, Outcome, parse, usage};
use crate::context::Context;
use crate::elsewhere;
use crate::flags::value::optional;

/// Update configuration of one or more containers
#[derive(clap::Parser)]
struct Args {
    /// Block IO (relative weight), between 10 and 1000, or 0 to disable
    #[arg(long, value_name = "uint16")]
    blkio_weight: Option<u16>,
    /// Limit CPU CFS (Completely Fair Scheduler) period
    #[arg(long, value_name = "int")]
    cpu_period: Option<u64>,
    /// Limit CPU CFS (Completely Fair Scheduler) quota
    #[arg(long, value_name = "int", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// CPU shares (relative weight)
    #[arg(short, long, value_name = "int")]
    cpu_shares: Option<u64>,
    /// Number of CPUs
    #[arg(long, value_name = "decimal")]
    cpus: Option<String>,
    /// CPUs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "string")]
    cpuset_cpus: Option<String>,
    /// MEMs in which to allow execution (0-3, 0,1)
    #[arg(long, value_name = "string")]
    cpuset_mems: Option<String>,
    /// Memory limit
    #[arg(short, long, value_name = "bytes")]
    memory: Option<String>,
    /// Memory soft limit
    #[arg(long, value_name = "bytes")]
    memory_reservation: Option<String>,
    /// Swap limit equal to memory plus swap: -1 to enable unlimited swap
    #[arg(long, value_name = "bytes", allow_hyphen_values = true)]
    memory_swap: Option<String>,
    /// Tune container pids limit (set -1 for unlimited)
    #[arg(long, value_name = "int", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// Restart policy to apply when a container exits
    #[arg(long, value_name = "string")]
    restart: Option<String>,
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

pub fn run(context: &mut Context, invocation: Invocation) -> Outcome {
    let args: Args = parse(&invocation)?;
    let memory_swap = |text: &str| match text {
        "-1" => Ok(-1),
        text => syntax::size_bytes(text).map(|bytes| bytes as i64),
    };
    let limits = Limits {
        memory_bytes: optional("-m, --memory", &args.memory, syntax::size_bytes)?,
        memory_swap_bytes: optional("--memory-swap", &args.memory_swap, memory_swap)?,
        memory_reservation_bytes: optional(
            "--memory-reservation",
            &args.memory_reservation,
            syntax::size_bytes,
        )?,
        nano_cpus: optional("--cpus", &args.cpus, syntax::cpus)?,
        cpu_shares: args.cpu_shares,
        cpu_period_us: args.cpu_period,
        cpu_quota_us: args.cpu_quota,
        cpuset_cpus: args.cpuset_cpus,
        cpuset_mems: args.cpuset_mems,
        pids: args.pids_limit,
        blkio_weight: args.blkio_weight.filter(|weight| *weight != 0),
        ..Limits::default()
    };
    let restart = optional("--restart", &args.restart, syntax::restart_policy)?;
    let update = UpdateSpec { limits, restart };
    if update == UpdateSpec::default() {
        return Err(usage(&invocation.path, "you must provide one or more flags when using this command"));
    }
    if let Some(remote) = context.remote()? {
        let body = view::update_request(&update);
        return each(&args.containers, |name| {
            let updated = remote.post(&["containers", name, "update"]).body(&body).json()?;
            elsewhere::warn(&updated);
            Ok(())
        });
    }
    let engine = context.engine()?;
    each(&args.containers, |name| Ok(engine.update(name, &update)?))
}
