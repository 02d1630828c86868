//! Networks and volumes, as `docker` handles them and as documents.

use serde_json::json;

use crate::served;

#[test]
fn a_network_from_its_creation_to_its_end() {
    let api = served();
    let create = [
        "network",
        "create",
        "--subnet",
        "10.123.45.0/24",
        "--gateway",
        "10.123.45.254",
        "--label",
        "a=b",
        "lan",
    ];
    let id = api.docker(create).success().text().to_owned();
    let inspect = |template: &str| {
        api.docker(["network", "inspect", "-f", template, "lan"]).success().text().to_owned()
    };
    assert_eq!(inspect("{{.Id}}"), id);
    assert_eq!(inspect("{{(index .IPAM.Config 0).Gateway}} {{.Labels}}"), "10.123.45.254 map[a:b]");
    let twice = api.docker(["network", "create", "lan"]).status(1);
    assert!(twice.stderr.contains("network with name lan already exists"), "{twice}");

    api.docker([
        "run",
        "-d",
        "--name",
        "one",
        "--network",
        "lan",
        "--ip",
        "10.123.45.9",
        "busybox",
        "sleep",
        "1000",
    ])
    .success();
    assert!(inspect("{{range .Containers}}{{.Name}} {{.IPv4Address}}{{end}}").contains("one 10.123.45.9/24"));
    api.docker(["run", "-d", "--name", "two", "busybox", "sleep", "1000"]).success();
    api.docker(["network", "connect", "--alias", "second", "--link", "one:first", "lan", "two"]).success();
    api.world.hull(["exec", "one", "ping", "-c", "1", "second"]).success();
    api.world.hull(["exec", "two", "ping", "-c", "1", "first"]).success();
    let linked = ["run", "--rm", "--network", "lan", "--link", "one:other", "busybox", "ping", "-c", "1"];
    api.docker([&linked[..], &["other"]].concat()).success();
    api.docker([&linked[..], &["first"]].concat()).status(1);
    let busy = api.request("DELETE", "/networks/lan", "", b"").expect(403).json();
    assert!(busy["message"].as_str().unwrap().contains("has active endpoints"), "{busy}");
    api.docker(["network", "disconnect", "lan", "two"]).success();
    api.docker(["rm", "-f", "one", "two"]).success();
    api.docker(["network", "rm", "lan"]).success();
    api.get("/networks/lan").expect(404);
    api.request("DELETE", "/networks/bridge", "", b"").expect(403);
}

#[test]
fn lists_and_prunes_filter() {
    let api = served();
    for name in ["keep", "go"] {
        api.docker(["network", "create", "--label", &format!("which={name}"), name]).success();
        api.docker(["volume", "create", "--label", &format!("which={name}"), name]).success();
    }
    for kind in ["network", "volume"] {
        let listed = api.docker([kind, "ls", "--filter", "label=which=keep", "--format", "{{.Name}}"]);
        assert_eq!(listed.success().text(), "keep");
        // A name is a pattern, as everywhere.
        let named = |pattern: &str| {
            let filter = format!("name={pattern}");
            api.docker([kind, "ls", "--filter", &filter, "-q"]).success().stdout.lines().count()
        };
        assert_eq!([named("eep"), named("^eep"), named("^keep$"), named("go$")], [1, 0, 1, 1]);
    }
    for prune in [["network", "prune", "-f"], ["volume", "prune", "-af"]] {
        let pruned = api.docker([&prune[..], &["--filter", "label=which=go"]].concat()).success();
        assert!(pruned.stdout.contains("\ngo\n"), "{pruned}");
    }
    // Before 1.42 a prune meant named volumes, too; after it, it does not.
    let none = json!(null);
    assert_eq!(api.post("/v1.42/volumes/prune", &none).expect(200).json()["VolumesDeleted"], none);
    assert_eq!(api.post("/v1.41/volumes/prune", &none).expect(200).json()["VolumesDeleted"], json!(["keep"]));
    assert!(
        api.get("/networks?filters=%7B%22nonsense%22:[%22x%22]%7D")
            .expect(400)
            .text()
            .contains("invalid filter")
    );
}

#[test]
fn what_networks_and_volumes_cannot_have_is_refused_by_name() {
    let api = served();
    for (body, name) in [
        (json!({"Name": "n", "EnableIPv6": true}), "EnableIPv6"),
        (json!({"Name": "n", "Ingress": true}), "Ingress"),
        (json!({"Name": "n", "ConfigOnly": true}), "ConfigOnly"),
        (json!({"Name": "n", "IPAM": {"Driver": "dhcp"}}), "IPAM.Driver"),
        (
            json!({"Name": "n", "IPAM": {"Config": [{"Subnet": "10.9.0.0/24"}, {"Subnet": "10.8.0.0/24"}]}}),
            "IPAM.Config",
        ),
    ] {
        let answer = api.post("/networks/create", &body).expect(501);
        assert!(answer.json()["message"].as_str().unwrap().starts_with(name), "{}", answer.text());
    }
    api.post("/networks/create", &json!({"Name": "n", "Driver": "overlay"})).expect(404);
    api.post("/networks/create", &json!({"Name": "n", "IPAM": {"Config": [{"Subnet": "10.9.0.7/24"}]}}))
        .expect(400);
    api.post("/volumes/create", &json!({"Name": "vol", "Driver": "nfs"})).expect(404);
    api.post("/volumes/create", &json!({"Name": "vol", "ClusterVolumeSpec": {}})).expect(501);
    assert_eq!(api.docker(["volume", "ls", "-q"]).success().text(), "");
}

#[test]
fn swarm_and_plugins_answer_as_an_engine_without_them() {
    let api = served();
    let listed = api.docker(["service", "ls"]).status(1);
    assert!(listed.stderr.contains("This node is not a swarm manager"), "{listed}");
    api.get("/swarm").expect(503);
    api.post("/swarm/init", &json!({})).expect(501);
    assert_eq!(api.get("/plugins").expect(200).json(), json!([]));
    assert_eq!(api.get("/plugins/a/b:c/json").expect(404).json()["message"], "plugin \"a/b:c\" not found");
}
