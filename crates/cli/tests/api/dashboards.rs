//! What dashboards and proxies ask, as Portainer and Traefik put it.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};

use serde_json::{Value, json};
use testkit::Api;

use crate::served;

/// A document as Go's clients write it into a URL.
fn encoded(document: &Value) -> String {
    let text = document.to_string();
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

/// A project's container and network, beside a container that belongs to nobody.
fn with_project() -> Api {
    let api = served();
    let project = "com.docker.compose.project=shop";
    let rule = "traefik.http.routers.web.rule=Host(`web.local`)";
    api.docker(["network", "create", "--label", project, "shop_default"]).success();
    api.docker([
        "run",
        "-d",
        "--name",
        "web",
        "--label",
        project,
        "--label",
        rule,
        "--network",
        "shop_default",
        "-p",
        "127.0.0.1::80",
        "-v",
        "shop_data:/data",
        "busybox",
        "sleep",
        "1000",
    ])
    .success();
    api.docker(["create", "--name", "other", "busybox", "true"]).success();
    api
}

#[test]
fn a_proxy_finds_what_to_serve_and_hears_of_changes() {
    let api = with_project();
    // The version is negotiated by what a ping says.
    let ping = api.request("HEAD", "/_ping", "", b"").expect(200);
    let version = ping.head.lines().find_map(|line| line.strip_prefix("api-version: ")).unwrap();
    assert_eq!(version, "1.50");
    let at = |target: &str| format!("/v{version}/{target}");
    assert_eq!(api.get(&at("version")).expect(200).json()["ApiVersion"], version);
    let listed = api.get(&at("containers/json")).expect(200).json();
    assert_eq!(listed.as_array().unwrap().len(), 1, "{listed}");
    let id = listed[0]["Id"].as_str().unwrap();
    let web = api.get(&at(&format!("containers/{id}/json"))).expect(200).json();
    assert_eq!(web["Name"], "/web");
    assert_eq!(web["Config"]["Labels"]["traefik.http.routers.web.rule"], "Host(`web.local`)");
    assert_eq!(web["HostConfig"]["NetworkMode"], "shop_default");
    let network = &web["NetworkSettings"]["Networks"]["shop_default"];
    assert!(network["IPAddress"].as_str().unwrap().starts_with("172."), "{network}");
    assert!(web["NetworkSettings"]["Ports"]["80/tcp"][0]["HostPort"].is_string());

    let filters = encoded(&json!({"type": {"container": true}}));
    let events = api.begin("GET", &at(&format!("events?filters={filters}")), "Connection: close\r\n", b"");
    let mut lines = BufReader::new(events).lines().map(Result::unwrap);
    assert_eq!(lines.next().unwrap(), "HTTP/1.1 200 OK");
    api.docker(["network", "create", "none-of-its-business"]).success();
    api.docker(["start", "-a", "other"]).success();
    for action in ["start", "die"] {
        let event = lines.by_ref().find(|line| line.contains(&format!(r#""Action":"{action}""#))).unwrap();
        let event: Value = serde_json::from_str(&event).unwrap();
        assert_eq!(
            (&event["Type"], &event["Actor"]["Attributes"]["name"]),
            (&json!("container"), &json!("other"))
        );
    }
}

#[test]
fn a_dashboard_shows_everything() {
    let api = with_project();
    let label = encoded(&json!({"label": ["com.docker.compose.project=shop"]}));
    let by_label = api.get(&format!("/containers/json?all=1&filters={label}")).expect(200).json();
    assert_eq!(by_label[0]["Names"], json!(["/web"]));
    let id = by_label[0]["Id"].as_str().unwrap();
    for (state, name) in [("running", "/web"), ("created", "/other")] {
        let filters = encoded(&json!({"status": [state]}));
        let listed = api.get(&format!("/containers/json?all=1&size=1&filters={filters}")).expect(200).json();
        assert_eq!(listed[0]["Names"], json!([name]));
        assert!(listed[0]["SizeRootFs"].as_i64().unwrap() > 0, "{listed}");
    }
    let info = api.get("/info").expect(200).json();
    assert_eq!((&info["Containers"], &info["ContainersRunning"]), (&json!(2), &json!(1)));
    assert_eq!(info["Swarm"]["LocalNodeState"], "inactive");

    let one = api.get(&format!("/containers/{id}/stats?stream=false&one-shot=true")).expect(200).json();
    assert!(one["memory_stats"]["usage"].as_u64().unwrap() > 0, "{one}");
    let mut stats = BufReader::new(api.begin("GET", &format!("/containers/{id}/stats"), "", b""))
        .lines()
        .map(Result::unwrap);
    let two: Vec<Value> = stats
        .by_ref()
        .filter(|line| line.starts_with('{'))
        .take(2)
        .map(|line| serde_json::from_str(&line).unwrap())
        .collect();
    assert_eq!(two[1]["precpu_stats"], two[0]["cpu_stats"]);
    let top = api.get(&format!("/containers/{id}/top")).expect(200).json();
    assert!(top["Processes"][0].as_array().unwrap().iter().any(|word| word == "sleep 1000"), "{top}");
    api.get(&format!("/containers/{id}/logs?stdout=1&stderr=1&timestamps=0&tail=100&since=0")).expect(200);

    let names = |list: &Value| -> Vec<String> {
        list.as_array().unwrap().iter().map(|one| one["Name"].as_str().unwrap().to_owned()).collect()
    };
    let networks = api.get("/networks").expect(200).json();
    assert!(names(&networks).contains(&"shop_default".to_owned()), "{networks}");
    let custom = encoded(&json!({"type": ["custom"]}));
    let networks = api.get(&format!("/networks?filters={custom}")).expect(200).json();
    assert_eq!(names(&networks), ["shop_default"]);
    let network = api.get("/networks/shop_default").expect(200).json();
    assert_eq!(network["Containers"][id]["Name"], "web");
    for (dangling, expected) in [("true", vec![]), ("false", vec!["shop_data".to_owned()])] {
        let filters = encoded(&json!({"dangling": [dangling]}));
        let volumes = api.get(&format!("/volumes?filters={filters}")).expect(200).json();
        assert_eq!(names(&volumes["Volumes"]), expected);
    }
    let image = api.get("/images/json?all=0").expect(200).json()[0]["Id"].as_str().unwrap().to_owned();
    api.get(&format!("/images/{image}/json")).expect(200);
    assert_eq!(
        api.get(&format!("/images/{image}/history")).expect(200).json()[0]["Tags"][0],
        "busybox:latest"
    );
    let usage = api.get("/system/df").expect(200).json();
    assert_eq!(usage["Volumes"][0]["UsageData"]["RefCount"], 1, "{usage}");
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let events = api.get(&format!("/events?since={}&until={}", now - 300, now + 1)).expect(200).text();
    assert!(events.contains(r#""Action":"start""#) && events.contains("shop_data"), "{events}");
}

#[test]
fn a_dashboard_opens_a_terminal() {
    let api = with_project();
    let body = json!({"id": "web", "AttachStdin": true, "AttachStdout": true, "AttachStderr": true, "Tty": true,
                      "User": "", "Cmd": ["/bin/sh"]});
    let exec = api.post("/containers/web/exec", &body).expect(201).json();
    let exec = exec["Id"].as_str().unwrap();
    let hijack = "Content-Type: application/json\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n";
    let start = json!({"Detach": false, "Tty": true}).to_string();
    let mut terminal = api.begin("POST", &format!("/exec/{exec}/start"), hijack, start.as_bytes());
    let mut seen = String::new();
    let mut read_to = |terminal: &mut std::os::unix::net::UnixStream, end: &str| {
        while !seen.contains(end) {
            let mut piece = [0; 512];
            let length = terminal.read(&mut piece).unwrap();
            assert!(length > 0, "{seen:?} lacks {end:?}");
            seen.push_str(&String::from_utf8_lossy(&piece[..length]));
        }
        seen.clear();
    };
    read_to(&mut terminal, "# ");
    api.post(&format!("/exec/{exec}/resize?h=41&w=123"), &Value::Null).expect(200);
    terminal.write_all(b"stty size\r").unwrap();
    read_to(&mut terminal, "41 123");
    terminal.write_all(b"exit 4\r").unwrap();
    let mut rest = Vec::new();
    terminal.read_to_end(&mut rest).unwrap();
    let ended = api.get(&format!("/exec/{exec}/json")).expect(200).json();
    assert_eq!((&ended["Running"], &ended["ExitCode"]), (&json!(false), &json!(4)));
}
