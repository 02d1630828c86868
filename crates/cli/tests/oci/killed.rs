//! A `create` that is killed leaves what the next commands clean up.

use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use testkit::eventually;

use crate::bundle::Bundle;

fn kill_at_many_points(bundle: &Bundle, step: Duration) {
    let mut unfinished = 0;
    for round in 0..60 {
        let mut create = bundle.command(["create", "box"]);
        let mut create = create.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("it was built");
        std::thread::sleep(step * round);
        create.kill().expect("it is ours");
        let ended = create.wait().expect("it is ours");
        unfinished += u32::from(!ended.success());
        bundle.oci(["delete", "--force", "box"]).success();
        assert!(bundle.left().is_empty(), "round {round}: {:?}", bundle.left());
        eventually(&format!("the end of all helpers in round {round}"), 20, || {
            bundle.helpers().is_empty().then_some(())
        });
        assert_eq!(groups(bundle), Vec::<String>::new(), "round {round}");
    }
    assert!(unfinished > 3, "every create was quicker than its killer");
    // And the name is free.
    bundle.oci(["run", "box"]).success();
}

/// Control groups of the container `box`.
fn groups(bundle: &Bundle) -> Vec<String> {
    let group = bundle.config["linux"]["cgroupsPath"].as_str().expect("it was set").trim_start_matches('/');
    let hierarchies = std::fs::read_dir("/sys/fs/cgroup").expect("control groups").flatten();
    let candidates =
        hierarchies.map(|entry| entry.path().join(group)).chain([format!("/sys/fs/cgroup/{group}").into()]);
    candidates.filter(|path| path.exists()).map(|path| path.display().to_string()).collect()
}

#[test]
fn at_any_moment() {
    let mut bundle = Bundle::new(&["true"]);
    bundle.config["linux"]["cgroupsPath"] = json!(format!("/hull-oci-killed-{}", std::process::id()));
    kill_at_many_points(&bundle, Duration::from_micros(400));
}

#[test]
fn at_any_moment_with_a_user_namespace_and_hooks() {
    let mut bundle = Bundle::new(&["true"]);
    bundle.with_users();
    bundle.config["linux"]["cgroupsPath"] = json!(format!("/hull-oci-killed-users-{}", std::process::id()));
    bundle.config["hooks"] =
        json!({ "createRuntime": [{ "path": "/bin/true" }], "createContainer": [{ "path": "/bin/true" }] });
    kill_at_many_points(&bundle, Duration::from_micros(700));
}
