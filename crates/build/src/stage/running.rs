//! RUN as a step: the invocation resolved, the key made, the process run.

use super::{Made, Running, StageRun};
use crate::RunNetwork;
use crate::cache::KeyBuilder;
use crate::dockerfile::Run;
use crate::error::StepError;
use crate::run::{self, Ground, HOSTNAME, Invocation, Output};

impl StageRun<'_, '_> {
    pub(super) fn run_step(
        &mut self,
        run: &Run,
        running: &Running,
        tail: &mut Vec<String>,
    ) -> Result<(), StepError> {
        let solve = self.solve;
        if run.network == Some(RunNetwork::Host) && solve.options.network != RunNetwork::Host {
            return Err(StepError::Denied(
                "RUN --network=host is only granted when the build itself is given the host's network"
                    .to_owned(),
            ));
        }
        let (argv, script) = run::command(run, &self.image)?;
        let config = &self.image.image.config;
        let arguments = self.image.arguments.environment(&config.env);
        let mut mounts = crate::mounts::plan(solve, self.index, &self.image, &run.mounts)?;
        mounts.extend(script);
        let invocation = Invocation {
            argv,
            env: config.env.iter().chain(&arguments).cloned().collect(),
            hidden_env: self.image.arguments.predefined(solve.globals, &config.env),
            user: config.user.clone(),
            working_dir: if config.working_dir.is_empty() {
                "/".to_owned()
            } else {
                config.working_dir.clone()
            },
            network: run.network.unwrap_or(solve.options.network),
            mounts,
        };
        let mount_keys =
            invocation.mounts.iter().map(|mount| mount.key(solve)).collect::<Result<Vec<_>, _>>()?;
        let mut key = KeyBuilder::new("run")
            .add("below", &self.filesystem.key.0)
            .list("argv", &invocation.argv)
            .list("env", &invocation.env)
            .add("user", &invocation.user)
            .add("directory", &invocation.working_dir)
            .add("network", format!("{:?}", invocation.network))
            .add("shm", format!("{:?}", solve.options.shm_size_bytes))
            .list("mounts", &mount_keys);
        if !solve.options.rlimits.is_empty() {
            let limits = solve.options.rlimits.iter().map(|limit| format!("{limit:?}"));
            key = key.list("rlimits", limits);
        }
        if solve.options.hostname != HOSTNAME {
            key = key.add("hostname", &solve.options.hostname);
        }
        let key = key.finish();
        let shown_args = match arguments.len() {
            0 => String::new(),
            count => format!("|{count} {} ", arguments.join(" ")),
        };
        let created_by = format!("RUN {shown_args}{}", invocation.command());
        self.settle(&key, running, created_by, |stage| stage.execute_run(&invocation, running, tail))
    }

    fn execute_run(
        &mut self,
        invocation: &Invocation<'_>,
        running: &Running,
        tail: &mut Vec<String>,
    ) -> Result<Made, StepError> {
        let solve = self.solve;
        let scratch = self.scratch()?;
        let step = solve.workspace.next();
        let bundle = solve.workspace.path().join(format!("step-{step}"));
        std::fs::create_dir(&bundle).map_err(StepError::io("make", bundle.display()))?;
        let ground = Ground { scratch: scratch.path(), bundle, group: solve.workspace.group_name(step) };
        let joined = self.network.namespace(invocation.network)?;
        let mut output = Output::new(solve.progress, running.id, running.start);
        let changed = run::execute(solve, invocation, &self.filesystem, &ground, joined, &mut output);
        *tail = output.into_tail();
        let _ = sys::fs::remove_tree(&ground.bundle);
        let layer = if changed? { Some(self.commit(&scratch.path().join("upper"))?) } else { None };
        Ok(Made { layer, certain: true })
    }
}
