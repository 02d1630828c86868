//! Scheduling, priorities, processors, memory nodes, execution domain, the five capability sets.

use oci::runtime::{
    CpuAffinity, IoPriorityClass, LinuxIoPriority, LinuxMemoryPolicy, LinuxPersonality, LinuxScheduler,
};
use runtime::{Stdio, UserSpec};
use sys::capability::Capability;

use crate::sandbox::{Sandbox, chain, exec};
use crate::users::with_users;

crate::tests![
    policies_are_set,
    impossible_schedules_are_refused_by_name,
    io_priorities_are_set,
    rights_of_the_host_reach_into_user_namespaces,
    a_further_process_moves_between_processors,
    memory_comes_from_the_nodes,
    a_personality_is_set,
    capabilities_that_cannot_be_granted_are_left_out,
];

/// Nice value, real-time priority and policy (proc_pid_stat(5)), of the program itself: a deadline does not fork.
const STAT: [&str; 5] = ["cut", "-d", " ", "-f19,40,41", "/proc/self/stat"];

fn scheduler(policy: &str, change: impl FnOnce(&mut LinuxScheduler)) -> Sandbox {
    let mut sandbox = Sandbox::new(&STAT);
    let mut scheduler = LinuxScheduler { policy: Some(policy.to_owned()), ..LinuxScheduler::default() };
    change(&mut scheduler);
    sandbox.process().scheduler = Some(scheduler);
    sandbox
}

fn policies_are_set() {
    let flag = |flag: &str| vec![flag.to_owned()];
    assert_eq!(scheduler("SCHED_OTHER", |s| s.nice = 7).text(), "7 0 0");
    assert_eq!(scheduler("SCHED_BATCH", |s| s.nice = -7).text(), "-7 0 3");
    assert_eq!(scheduler("SCHED_IDLE", |_| {}).text(), "0 0 5");
    assert_eq!(scheduler("SCHED_FIFO", |s| s.priority = 12).text(), "0 12 1");
    let mut sandbox = scheduler("SCHED_RR", |s| s.priority = 99);
    sandbox.user = UserSpec::Named("web".to_owned());
    assert_eq!(sandbox.text(), "0 99 2");
    let deadline = |s: &mut LinuxScheduler| {
        (s.runtime, s.deadline, s.period) = (1_000_000, 10_000_000, 20_000_000);
    };
    assert_eq!(scheduler("SCHED_DEADLINE", deadline).text(), "0 0 6");
    let mut sandbox = scheduler("SCHED_FIFO", |s| {
        (s.priority, s.flags) = (3, flag("SCHED_FLAG_RESET_ON_FORK"));
    });
    sandbox.process().args =
        ["sh", "-c", "cut -d' ' -f40,41 /proc/$$/stat; cut -d' ' -f40,41 /proc/self/stat; true"]
            .map(str::to_owned)
            .to_vec();
    assert_eq!(sandbox.text(), "3 1\n0 0");
    let mut sandbox = scheduler("SCHED_OTHER", |s| (s.nice, s.flags) = (4, flag("SCHED_FLAG_KEEP_POLICY")));
    assert_eq!(sandbox.text(), "4 0 0");
    // With an init process the program alone is scheduled so.
    sandbox.init = true;
    assert_eq!(sandbox.text(), "4 0 0");
}

fn impossible_schedules_are_refused_by_name() {
    type Change = fn(&mut LinuxScheduler);
    let cases: [(&str, Change, &str); 8] = [
        ("SCHED_FAST", |_| {}, "invalid process.scheduler.policy: there is none called \"SCHED_FAST\""),
        ("", |_| {}, "invalid process.scheduler.policy: there is none called \"\""),
        ("SCHED_OTHER", |s| s.nice = 20, "invalid process.scheduler.nice: 20 is not between -20 and 19"),
        ("SCHED_OTHER", |s| s.priority = 1, "invalid process.scheduler.priority: SCHED_OTHER has none"),
        ("SCHED_FIFO", |_| {}, "invalid process.scheduler.priority: 0 is not between 1 and 99"),
        (
            "SCHED_RR",
            |s| (s.priority, s.period) = (1, 1),
            "invalid process.scheduler.runtime, deadline and period: SCHED_RR has none",
        ),
        (
            "SCHED_OTHER",
            |s| s.flags = vec!["SCHED_FLAG_X".to_owned()],
            "invalid process.scheduler.flags: there is none called \"SCHED_FLAG_X\"",
        ),
        // No kernel has it.
        ("SCHED_ISO", |_| {}, "cannot set process.scheduler: Invalid argument (os error 22)"),
    ];
    for (policy, change, expected) in cases {
        assert_eq!(chain(&scheduler(policy, change).error()), expected);
    }
}

fn io_priorities_are_set() {
    let with = |class, priority| {
        let mut sandbox = Sandbox::new(&["ionice"]);
        sandbox.process().io_priority = Some(LinuxIoPriority { class, priority });
        sandbox
    };
    assert_eq!(with(IoPriorityClass::RealTime, 3).text(), "realtime: prio 3");
    assert_eq!(with(IoPriorityClass::BestEffort, 7).text(), "best-effort: prio 7");
    assert_eq!(with(IoPriorityClass::Idle, 0).text(), "idle");
    assert_eq!(
        with(IoPriorityClass::Idle, 8).error().to_string(),
        "invalid process.ioPriority.priority: 8 is not between 0 and 7"
    );
}

fn rights_of_the_host_reach_into_user_namespaces() {
    let ask = |sandbox: &mut Sandbox| {
        let process = sandbox.process();
        process.scheduler = Some(LinuxScheduler {
            policy: Some("SCHED_FIFO".to_owned()),
            priority: 5,
            ..LinuxScheduler::default()
        });
        process.io_priority = Some(LinuxIoPriority { class: IoPriorityClass::RealTime, priority: 2 });
        // Lowering the one and raising the other takes a capability that even root may lack.
        let able = sys::capability::get().unwrap().effective.contains(Capability::SYS_RESOURCE);
        let (_, own) = sys::process::limit(sys::process::LIMIT_DESCRIPTORS).unwrap();
        let (score, hard) = if able { (-500, own + 1) } else { (500, own) };
        process.oom_score_adj = Some(score);
        (process.rlimits[0].soft, process.rlimits[0].hard) = (9, hard);
        format!("0 5 1\nrealtime: prio 2\n{score}\n9\n{hard}")
    };
    let show =
        "cut -d' ' -f19,40,41 /proc/$$/stat; ionice; cat /proc/self/oom_score_adj; ulimit -n; ulimit -Hn";
    let mut sandbox = with_users(Sandbox::shell(show));
    let expected = ask(&mut sandbox);
    assert_eq!(sandbox.text(), expected);
    let container = with_users(Sandbox::new(&["sleep", "100"])).start(Stdio::Null).unwrap();
    let output = exec(&container, sandbox.process(), "").unwrap();
    container.kill(9).unwrap();
    container.wait().unwrap();
    assert_eq!((output.out.trim_end(), output.err.as_str()), (expected.as_str(), ""));
    sandbox.process().oom_score_adj = Some(1001);
    let error = sandbox.error().to_string();
    assert_eq!(error, "invalid process.oomScoreAdj: 1001 is not between -1000 and 1000");
}

fn a_further_process_moves_between_processors() {
    let container = Sandbox::new(&["sleep", "100"]).start(Stdio::Null).unwrap();
    let mut sandbox = Sandbox::shell("grep Cpus_allowed_list /proc/self/status | cut -f2");
    let mut run = |initial: Option<&str>, last: Option<&str>| {
        sandbox.process().exec_cpu_affinity =
            Some(CpuAffinity { initial: initial.map(str::to_owned), r#final: last.map(str::to_owned) });
        exec(&container, sandbox.process(), "").map(|output| output.out)
    };
    assert_eq!(run(Some("0"), None).unwrap(), "0\n");
    assert_eq!(run(Some("0"), Some("1")).unwrap(), "1\n");
    assert_eq!(run(None, Some("0 - 0, 1")).unwrap(), "0-1\n");
    assert_eq!(
        run(None, Some("x")).unwrap_err().to_string(),
        "invalid process.execCPUAffinity.final: \"x\" is not a number or a range of numbers"
    );
    assert_eq!(
        chain(&run(Some("8000"), None).unwrap_err()),
        "cannot set process.execCPUAffinity.initial: Invalid argument (os error 22)"
    );
    container.kill(9).unwrap();
    container.wait().unwrap();
    // It is about further processes alone.
    let all = Sandbox::shell("grep Cpus_allowed_list /proc/self/status | cut -f2").text();
    assert_eq!(sandbox.text(), all);
}

fn memory_comes_from_the_nodes() {
    let with = |mode: &str, nodes: &str, flags: &[&str]| {
        let mut sandbox = Sandbox::shell("head -1 /proc/self/numa_maps | cut -d' ' -f2");
        sandbox.linux().memory_policy = Some(LinuxMemoryPolicy {
            mode: Some(mode.to_owned()),
            nodes: (!nodes.is_empty()).then(|| nodes.to_owned()),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        });
        sandbox
    };
    let check = |mode, nodes, flags: &[&str], expected: &str| {
        assert_eq!(with(mode, nodes, flags).text(), expected, "{mode}");
    };
    check("MPOL_DEFAULT", "", &[], "default");
    check("MPOL_BIND", "0", &[], "bind:0");
    check("MPOL_BIND", "0", &["MPOL_F_STATIC_NODES"], "bind=static:0");
    check("MPOL_BIND", "0", &["MPOL_F_RELATIVE_NODES"], "bind=relative:0");
    check("MPOL_INTERLEAVE", "0", &[], "interleave:0");
    if sys::features::kernel_version() >= (6, 9) {
        check("MPOL_WEIGHTED_INTERLEAVE", "0", &[], "weighted");
    } else {
        let error = with("MPOL_WEIGHTED_INTERLEAVE", "0", &[]).error().to_string();
        assert!(error.contains("memoryPolicy"), "{error}");
    }
    check("MPOL_PREFERRED", "0", &[], "prefer:0");
    check("MPOL_PREFERRED", "", &[], "local");
    check("MPOL_PREFERRED_MANY", "0", &[], "prefer");
    check("MPOL_LOCAL", "", &[], "local");
    let refuse = |mode, nodes, flags: &[&str], expected: &str| {
        assert_eq!(chain(&with(mode, nodes, flags).error()), expected);
    };
    refuse("MPOL_X", "0", &[], "invalid linux.memoryPolicy.mode: there is none called \"MPOL_X\"");
    refuse("MPOL_BIND", "", &[], "invalid linux.memoryPolicy.nodes: MPOL_BIND needs some");
    refuse("MPOL_LOCAL", "0", &[], "invalid linux.memoryPolicy.nodes: MPOL_LOCAL has none");
    refuse("MPOL_BIND", "0", &["X"], "invalid linux.memoryPolicy.flags: there is none called \"X\"");
    refuse("MPOL_BIND", "900", &[], "cannot set linux.memoryPolicy: Invalid argument (os error 22)");
    // A further process has it as well.
    let sandbox = with("MPOL_BIND", "0", &[]);
    let container = Sandbox::new(&["sleep", "100"]).start(Stdio::Null).unwrap();
    let (stdio, pipes) = crate::sandbox::pipes();
    let process = runtime::exec(runtime::Exec {
        id: "test",
        container: std::os::fd::AsFd::as_fd(&container.pidfd()),
        process: sandbox.spec.process.as_ref().unwrap(),
        linux: sandbox.spec.linux.as_ref(),
        user: &UserSpec::Ids,
        extra_groups: &[],
        cgroup: None,
        seccomp: &sandbox.seccomp,
        state: None,
        stdio,
        preserve_fds: 0,
    });
    assert_eq!(pipes.finish(process.unwrap()).out, "bind:0\n");
    container.kill(9).unwrap();
    container.wait().unwrap();
}

fn a_personality_is_set() {
    let with = |domain: &str, flags: &[&str]| {
        let mut sandbox = Sandbox::new(&["uname", "-m"]);
        sandbox.linux().personality = Some(LinuxPersonality {
            domain: Some(domain.to_owned()),
            flags: flags.iter().map(|flag| (*flag).to_owned()).collect(),
        });
        sandbox
    };
    let own = Sandbox::new(&["uname", "-m"]).text();
    assert_eq!(with("LINUX", &[]).text(), own);
    if own == "x86_64" {
        assert_eq!(with("LINUX32", &[]).text(), "i686");
    }
    let error = with("BSD", &[]).error().to_string();
    assert_eq!(error, "invalid linux.personality.domain: there is none called \"BSD\"");
    let error = with("LINUX", &["ADDR_NO_RANDOMIZE"]).error().to_string();
    assert_eq!(error, "invalid linux.personality.flags: there is none called \"ADDR_NO_RANDOMIZE\"");
}

fn capabilities_that_cannot_be_granted_are_left_out() {
    let mut sandbox = Sandbox::shell("grep ^Cap /proc/self/status | cut -f2 | tr '\\n' ' '");
    sandbox.user = UserSpec::Named("web".to_owned());
    let sets = sandbox.process().capabilities.as_mut().unwrap();
    let list = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    sets.bounding = list(&["CAP_CHOWN", "CAP_FLY", "CAP_KILL"]);
    sets.permitted = list(&["CAP_CHOWN", "CAP_KILL"]);
    sets.effective = list(&["CAP_CHOWN", "CAP_SYS_ADMIN"]);
    sets.inheritable = list(&["CAP_CHOWN", "CAP_NET_RAW"]);
    sets.ambient = list(&["CAP_CHOWN", "CAP_KILL"]);
    let one = "0000000000000001";
    // Inheritable, permitted, effective, bounding, ambient; the exec leaves a user what is ambient.
    assert_eq!(sandbox.text(), format!("{one} {one} {one} 0000000000000021 {one}"));
    assert_eq!(
        runtime::warnings(sandbox.process(), None),
        [
            "process.capabilities.bounding: CAP_FLY is left out: there is none called so",
            "process.capabilities.effective: CAP_SYS_ADMIN is left out: it is not permitted",
            "process.capabilities.inheritable: CAP_NET_RAW is left out: it is not in the bounding set",
            "process.capabilities.ambient: CAP_KILL is left out: it is not both permitted and inheritable",
        ]
    );
}
