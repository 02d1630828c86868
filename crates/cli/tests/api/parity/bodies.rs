//! Containers, networks and volumes that the same requests make, and the engines themselves.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::PathBuf;

use serde_json::{Value, json};
use testkit::{Answer, Api, Dockerd, begin, eventually, request};

use super::{Comparison, sort};
use crate::served;

/// Moments, ids, sizes, and where each keeps things.
const OWN: &[&str] = &[
    "Created",
    "CreatedAt",
    "StartedAt",
    "FinishedAt",
    "read",
    "preread",
    "SystemTime",
    "Pid",
    "GraphDriver/Data",
    "SandboxID",
    "SandboxKey",
    "EndpointID",
    "Gateway",
    "IPAddress",
    "IPPrefixLen",
    "MacAddress",
    "IPv4Address",
    "Subnet",
    "LogPath",
    "Mountpoint",
    "Mounts/#/Name",
    "Mounts/#/Source",
    "HostPort",
    "PublicPort",
    "Health/Log",
    "SizeRootFs",
    "Size",
    "LayersSize",
    "Status",
    "Processes/#/#",
    "memory_stats/usage",
    "memory_stats/max_usage",
    "memory_stats/stats",
    "cpu_usage/total_usage",
    "cpu_usage/usage_in_kernelmode",
    "cpu_usage/usage_in_usermode",
    "system_cpu_usage",
    "networks/eth0/*",
    "Volumes/#/Name",
    "info/ID",
    "NFd",
    "NGoroutines",
    "DockerRootDir",
    "ServerVersion",
    "version/Version",
    "DriverStatus",
    "version/Components",
    "NEventsListener",
    "HostnamePath",
    "HostsPath",
    "ResolvConfPath",
    "Attributes/execDuration",
    "Attributes/reclaimed",
    "events/#/time",
    "events/#/timeNano",
];

const MEANT: &[(&str, &str)] = &[
    ("HostConfig/CgroupnsMode", "private with cgroup v1, too"),
    ("HostConfig/MaskedPaths", "/proc/interrupts is among them, as from 28"),
    ("HostConfig/MemorySwap", "0 is the usual one"),
    ("HostConfig/Runtime", "it is hull"),
    ("HostnamePath", "it is known before the start"),
    ("HostsPath", "it is known before the start"),
    ("ResolvConfPath", "it is known before the start"),
    ("SandboxID", "it is gone after the end"),
    ("SandboxKey", "it is gone after the end"),
    ("LogPath", "it is known before the start"),
    ("NetworkID", "it is known before the start"),
    ("GwPriority", "as from 28, for every version"),
    ("EnableIPv4", "as from 28, for every version"),
    ("Protection", "what a container has given up is shown"),
    ("Config/MacAddress", "it is that of an endpoint"),
    ("Mounts/#/Mode", "there are no SELinux labels, and options of `--mount` are shown here, too"),
    ("none/EndpointID", "a container without a network has no endpoint"),
    ("none/Containers/*", "a container without a network has no endpoint"),
    ("inner/Gateway", "the bridge has an address"),
    ("#/NetworkSettings/Networks/*/Aliases", "lists tell them, too"),
    ("#/NetworkSettings/Networks/*/DNSNames", "lists tell them, too"),
    ("SizeRw", "0 is told"),
    ("io_service_bytes_recursive", "what was read and written in all"),
    ("percpu_usage", "as with cgroup v2"),
    ("pids_stats/limit", "there always is one"),
    ("pids_stats/current", "0 is told"),
    ("online_cpus", "0 is told"),
    ("cpu_stats/system_cpu_usage", "0 is told"),
    ("memory_stats/usage", "0 is told"),
    ("memory_stats/max_usage", "0 is told"),
    ("precpu_stats/system_cpu_usage", "0 is told"),
    ("memory_stats/limit", "0 is told"),
    ("memory_stats/stats", "it is told when there is none"),
    ("containers/*/*/id", "a single reading has them, too"),
    ("containers/*/*/name", "a single reading has them, too"),
    ("containers/*/*/networks", "it is told when there is none"),
    ("bridge/Options/*", "the default network has none"),
    ("networks/#/Options/*", "the default network has none"),
    ("Volumes/#/Options", "null is none"),
    ("volumes/named/Options", "null is none"),
    ("json?all=1/#/Mounts/#/Source", "lists tell it of all"),
    ("Containers/#/Mounts/#/Source", "lists tell it of all"),
    ("info/CgroupControllers", "it is hull's own"),
    ("info/Instance", "it is hull's own"),
    ("info/RunRoot", "it is hull's own"),
    ("info/Unprotected", "it is hull's own"),
    ("info/BridgeNfIp6tables", DOCKERDS),
    ("info/BridgeNfIptables", DOCKERDS),
    ("info/CDISpecDirs", DOCKERDS),
    ("info/ContainerdCommit", DOCKERDS),
    ("info/RuncCommit", DOCKERDS),
    ("info/InitCommit", DOCKERDS),
    ("info/GenericResources", DOCKERDS),
    ("info/KernelMemoryTCP", DOCKERDS),
    ("info/HttpProxy", DOCKERDS),
    ("info/HttpsProxy", DOCKERDS),
    ("info/NoProxy", DOCKERDS),
    ("info/RegistryConfig", DOCKERDS),
    ("info/InitBinary", DOCKERDS),
    ("info/Runtimes", DOCKERDS),
    ("info/DefaultRuntime", DOCKERDS),
    ("info/LiveRestoreEnabled", DOCKERDS),
    ("info/OSVersion", DOCKERDS),
    ("info/OperatingSystem", DOCKERDS),
    ("info/Plugins", DOCKERDS),
    ("info/SecurityOptions", DOCKERDS),
    ("version/ApiVersion", DOCKERDS),
    ("version/BuildTime", DOCKERDS),
    ("version/GitCommit", DOCKERDS),
    ("version/GoVersion", DOCKERDS),
    ("version/Platform", DOCKERDS),
];

/// What of that does not differ for a client of the oldest version that is served.
const SAME_OF_OLD: &[&str] = &["Config/MacAddress", "containers/*/*/id", "containers/*/*/name"];
/// What differs besides for such a client.
const MEANT_OF_OLD: &[(&str, &str)] = &[
    ("HostConfig/Annotations", "whoever asks for them gets them"),
    ("ConsoleSize/#", "whoever asks for it gets it"),
    ("networks/#/Containers/<alone>", "a container without a network has no endpoint"),
    ("df/BuilderSize", "0 is told"),
    ("info/KernelMemory", "kernels have no such limit any more"),
];

const DOCKERDS: &str = "it is of dockerd, its parts and its host";

const MEANT_OF_EXECS: &[(&str, &str)] = &[("CanRemove", "an exec can be, once it has ended")];

/// The version asked for: dockerd's newest.
const VERSION: &str = "/v1.45";
const OLDEST: &str = "/v1.24";

/// hull and dockerd, in this order.
pub(super) struct Both {
    version: &'static str,
    api: Api,
    dockerd: Dockerd,
    /// What stands for what in each one's answers.
    names: [Vec<(String, String)>; 2],
}

impl Both {
    pub fn start() -> Self {
        Self::speaking(VERSION)
    }

    fn speaking(version: &'static str) -> Self {
        let api = served();
        let archive = api.world.scratch().join("busybox.tar").display().to_string();
        api.docker(["save", "-o", &archive, "busybox"]).success();
        let dockerd = Dockerd::start_newer();
        dockerd.run(&["load", "-q", "-i", &archive]).success();
        Self { version, api, dockerd, names: Default::default() }
    }

    pub fn sockets(&self) -> [PathBuf; 2] {
        [self.api.socket().to_owned(), self.dockerd.socket()]
    }

    /// What both answer to the same request.
    pub fn answers(&self, method: &str, target: &str, body: &Value) -> [Answer; 2] {
        let (headers, body) = match body {
            Value::Null => ("", String::new()),
            body => ("Content-Type: application/json\r\n", body.to_string()),
        };
        let target = format!("{}{target}", self.version);
        self.sockets().map(|socket| request(&socket, method, &target, headers, body.as_bytes()))
    }

    /// The same request to both, which answer with one status.
    #[track_caller]
    pub fn ask(&self, method: &str, target: &str, body: &Value) -> [Answer; 2] {
        let answers = self.answers(method, target, body);
        assert_eq!(
            answers[0].status,
            answers[1].status,
            "{method} {target}: {} and {}",
            answers[0].text(),
            answers[1].text()
        );
        answers
    }

    /// A request that both do.
    #[track_caller]
    pub fn done(&self, method: &str, target: &str, body: &Value) -> [Answer; 2] {
        let answers = self.ask(method, target, body);
        assert!(answers[0].status < 300, "{method} {target}: {}", answers[0].text());
        answers
    }

    /// Lets `name` stand for the id in an answer, and its beginning for that of the id.
    fn name(&mut self, name: &str, answers: &[Answer; 2]) {
        for (names, answer) in self.names.iter_mut().zip(answers) {
            let document = answer.json();
            let id = document["Id"].as_str().expect("whatever is made has an id");
            // Looked for before any beginning of one: an exec's id of hull's has one in it.
            names.insert(0, (id.to_owned(), format!("<{name}>")));
            names.push((id[..12].to_owned(), format!("<short {name}>")));
        }
    }

    pub fn create(&mut self, name: &str, body: &Value) {
        let created = self.done("POST", &format!("/containers/create?name={name}"), body);
        self.name(name, &created);
    }

    fn act(&self, name: &str, action: &str) {
        self.done("POST", &format!("/containers/{name}/{action}"), &Value::Null);
    }

    /// Both answers to a request for a document, with names for ids, in an order that says nothing.
    #[track_caller]
    pub fn documents(&self, target: &str) -> [Value; 2] {
        let answers = self.done("GET", target, &Value::Null);
        self.named(&answers.map(|answer| answer.text()))
    }

    fn named(&self, texts: &[String; 2]) -> [Value; 2] {
        [0, 1].map(|engine| {
            let mut text = texts[engine].clone();
            for (id, name) in &self.names[engine] {
                text = text.replace(id, name);
            }
            let mut document = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
            sort(&mut document);
            document
        })
    }

    fn compare(&self, comparison: &mut Comparison, target: &str) {
        let [ours, theirs] = self.documents(target);
        comparison.compare(target, Some(&ours), Some(&theirs));
    }
}

/// Everything a container can be given that both have.
fn furnished(bind: &str) -> Value {
    let host = json!({
        "Binds": [format!("{bind}:/bind:ro"), "named:/named"],
        "Mounts": [{"Type": "tmpfs", "Target": "/mounted", "TmpfsOptions": {"SizeBytes": 1_048_576, "Mode": 448}},
                   {"Type": "volume", "Source": "other", "Target": "/other", "ReadOnly": true,
                    "VolumeOptions": {"NoCopy": true}},
                   {"Type": "bind", "Source": bind, "Target": "/bound", "BindOptions": {"Propagation": "rprivate"}}],
        "Tmpfs": {"/tmpfs": "rw,size=64k,noexec"},
        "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": ""}]},
        "RestartPolicy": {"Name": "on-failure", "MaximumRetryCount": 3},
        "Memory": 67_108_864, "MemoryReservation": 33_554_432, "NanoCpus": 500_000_000, "CpuShares": 512,
        "PidsLimit": 100, "CpusetCpus": "0", "Ulimits": [{"Name": "nofile", "Soft": 100, "Hard": 200}],
        "CapAdd": ["NET_ADMIN"], "CapDrop": ["MKNOD"], "SecurityOpt": ["no-new-privileges"], "GroupAdd": ["29"],
        "ExtraHosts": ["somewhere:192.0.2.1"], "Dns": ["192.0.2.53"], "DnsSearch": ["example"],
        "DnsOptions": ["ndots:2"], "ReadonlyRootfs": true, "ShmSize": 1_048_576, "Init": true, "OomScoreAdj": 5,
        "Sysctls": {"net.ipv4.ip_forward": "1"}, "IpcMode": "shareable", "Annotations": {"note": "this"},
        "Devices": [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/nothing", "CgroupPermissions": "rwm"}],
        "LogConfig": {"Type": "json-file", "Config": {"max-size": "1m"}}, "ConsoleSize": [24, 80],
    });
    json!({
        "Image": "busybox", "Hostname": "furnished", "Domainname": "example", "User": "1000:1000", "Tty": true,
        "OpenStdin": true, "StdinOnce": true, "AttachStdin": true, "AttachStdout": true, "AttachStderr": true,
        "Env": ["A=b", "C=d"], "Entrypoint": ["sleep"], "Cmd": ["1000"], "WorkingDir": "/tmp",
        "Labels": {"one": "1", "two": ""}, "StopSignal": "SIGUSR1", "StopTimeout": 3,
        "ExposedPorts": {"80/tcp": {}, "53/udp": {}}, "Volumes": {"/anonymous": {}},
        "Healthcheck": {"Test": ["CMD-SHELL", "echo well"], "Interval": 1_000_000_000, "Timeout": 2_000_000_000,
                        "Retries": 2, "StartPeriod": 3_000_000_000_i64},
        "HostConfig": host,
    })
}

/// Brings up the same in both.
fn furnish(both: &mut Both) {
    let net = if both.version == VERSION { 231 } else { 230 };
    let subnet = format!("10.{net}.{}", std::process::id() % 256);
    let network = json!({
        "Name": "net", "Labels": {"of": "both"}, "Options": {"com.docker.network.bridge.enable_icc": "true"},
        "IPAM": {"Config": [{"Subnet": format!("{subnet}.0/24"), "Gateway": format!("{subnet}.1"),
                             "IPRange": format!("{subnet}.128/25"),
                             "AuxiliaryAddresses": {"printer": format!("{subnet}.9")}}]},
    });
    let made = both.done("POST", "/networks/create", &network);
    both.name("net", &made);
    let inner = both.done("POST", "/networks/create", &json!({"Name": "inner", "Internal": true}));
    both.name("inner", &inner);
    for name in ["bridge", "host", "none"] {
        let answers = both.done("GET", &format!("/networks/{name}"), &Value::Null);
        both.name(name, &answers);
    }
    let volume = json!({"Name": "named", "Labels": {"of": "both"}, "DriverOpts": {}});
    both.done("POST", "/volumes/create", &volume);
    both.done(
        "POST",
        "/volumes/create",
        &json!({"Name": "tmp", "Driver": "local",
        "DriverOpts": {"type": "tmpfs", "device": "tmpfs", "o": "uid=0"}}),
    );
    let bind = both.api.world.scratch().join("bind");
    std::fs::create_dir_all(&bind).unwrap();

    both.create("created", &json!({"Image": "busybox", "Cmd": ["true"]}));
    both.create("plain", &json!({"Image": "busybox", "Cmd": ["sleep", "1000"]}));
    both.act("plain", "start");
    both.create("furnished", &furnished(&bind.display().to_string()));
    both.act("furnished", "start");
    both.create(
        "networked",
        &json!({
            "Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "net"},
            "NetworkingConfig": {"EndpointsConfig": {"net": {
                "Aliases": ["alias"], "IPAMConfig": {"IPv4Address": format!("{subnet}.7")},
                "MacAddress": "02:42:00:00:00:07"}}},
        }),
    );
    both.act("networked", "start");
    both.done("POST", "/networks/inner/connect", &json!({"Container": "networked"}));
    both.create(
        "alone",
        &json!({"Image": "busybox", "Cmd": ["sleep", "1000"], "HostConfig": {"NetworkMode": "none"}}),
    );
    both.act("alone", "start");
    both.create("exited", &json!({"Image": "busybox", "Cmd": ["sh", "-c", "echo told; exit 3"]}));
    both.act("exited", "start");
    both.done("POST", "/containers/exited/wait", &Value::Null);
    both.create("paused", &json!({"Image": "busybox", "Cmd": ["sleep", "1000"]}));
    both.act("paused", "start");
    both.act("paused", "pause");
    eventually("both are healthy", 60, || {
        let states = both.documents("/containers/furnished/json");
        states.iter().all(|state| state["State"]["Health"]["Status"] == "healthy").then_some(())
    });
}

#[test]
fn documents_are_as_dockerd_has_them() {
    compare_all(VERSION, Comparison::new(OWN, MEANT));
}

#[test]
fn documents_have_the_shape_of_their_version() {
    let own = [OWN, &["VirtualSize"]].concat().leak();
    let mut meant = [MEANT, MEANT_OF_OLD].concat();
    meant.retain(|(path, _)| !SAME_OF_OLD.contains(path));
    compare_all(OLDEST, Comparison::new(own, meant.leak()));
}

fn compare_all(version: &'static str, mut comparison: Comparison) {
    let mut both = Both::speaking(version);
    furnish(&mut both);
    for name in ["created", "plain", "furnished", "networked", "alone", "exited", "paused"] {
        let target = format!("/containers/{name}/json");
        // dockerd lists a probe of health among the execs while it runs.
        let [ours, theirs] = eventually("no probe is under way", 60, || {
            let documents = both.documents(&target);
            documents.iter().all(|document| document["ExecIDs"].is_null()).then_some(documents)
        });
        comparison.compare(&target, Some(&ours), Some(&theirs));
    }
    both.compare(&mut comparison, "/containers/exited/json?size=1");
    both.compare(&mut comparison, "/containers/json?all=1");
    both.compare(&mut comparison, "/containers/json?limit=1&size=1");
    both.compare(&mut comparison, "/containers/plain/top");
    for options in ["-o%20pid,args", "-eo%20pid,comm,stat,s,tty,tname,etime", "aux", "-e", "axw"] {
        both.compare(&mut comparison, &format!("/containers/plain/top?ps_args={options}"));
    }
    both.compare(&mut comparison, "/containers/plain/stats?stream=0&one-shot=1");
    both.compare(&mut comparison, "/containers/alone/stats?stream=0&one-shot=1");
    both.compare(&mut comparison, "/containers/exited/stats?stream=0");
    both.compare(&mut comparison, "/containers/plain/changes");
    both.compare(&mut comparison, "/networks");
    for name in ["net", "inner", "bridge", "host", "none"] {
        both.compare(&mut comparison, &format!("/networks/{name}"));
    }
    both.compare(&mut comparison, "/volumes");
    for name in ["named", "other", "tmp"] {
        both.compare(&mut comparison, &format!("/volumes/{name}"));
    }
    // dockerd does not count what is not mounted.
    both.done("DELETE", "/volumes/tmp", &Value::Null);
    both.compare(&mut comparison, "/system/df");
    both.compare(&mut comparison, "/info");
    both.compare(&mut comparison, "/version");
    comparison.finish();
}

#[test]
fn what_execs_and_events_tell_is_as_dockerd_tells_it() {
    let mut both = Both::start();
    let mut comparison = Comparison::new(OWN, MEANT_OF_EXECS);
    let target = format!("{VERSION}/events");
    let mut events =
        both.sockets().map(|socket| begin(&socket, "GET", &target, "Connection: close\r\n", b""));
    let script = "trap exit TERM; while :; do sleep 0.1; done";
    let made = both.done("POST", "/networks/create", &json!({"Name": "net"}));
    both.name("net", &made);
    let none = both.done("GET", "/networks/none", &Value::Null);
    both.name("none", &none);
    let body = json!({"Image": "busybox", "Cmd": ["sh", "-c", script], "Labels": {"a": "b"},
                      "HostConfig": {"Binds": ["data:/data:ro"], "NetworkMode": "net"}});
    both.create("box", &body);
    both.act("box", "start");
    let body = json!({"Cmd": ["sh", "-c", "read x; exit 4"], "AttachStdin": true, "AttachStdout": true, "User": "7",
                      "Env": ["A=b"], "WorkingDir": "/tmp", "Privileged": true});
    let exec = both.done("POST", "/containers/box/exec", &body);
    both.name("exec", &exec);
    let ids = exec.map(|answer| answer.json()["Id"].as_str().unwrap().to_owned());
    let look = |both: &Both, comparison: &mut Comparison, when: &str| {
        let mut sockets = both.sockets().into_iter();
        let texts = [0, 1].map(|engine| {
            let target = format!("{VERSION}/exec/{}/json", ids[engine]);
            request(&sockets.next().unwrap(), "GET", &target, "", b"").expect(200).text()
        });
        let [ours, theirs] = both.named(&texts);
        comparison.compare(when, Some(&ours), Some(&theirs));
    };
    look(&both, &mut comparison, "an exec that is new");
    let start = |engine: usize| {
        let target = format!("{VERSION}/exec/{}/start", ids[engine]);
        let headers = "Content-Type: application/json\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n";
        begin(&both.sockets()[engine], "POST", &target, headers, b"{}")
    };
    let mut clients = [start(0), start(1)];
    for client in &mut clients {
        client.read_exact(&mut [0; 12]).unwrap();
    }
    look(&both, &mut comparison, "an exec that runs");
    for mut client in clients {
        client.write_all(b"go\n").unwrap();
        client.read_to_end(&mut Vec::new()).unwrap();
    }
    look(&both, &mut comparison, "an exec that has ended");
    let [ours, theirs] = both.documents("/containers/box/json").map(|document| document["ExecIDs"].clone());
    comparison.compare("box/json/ExecIDs", Some(&ours), Some(&theirs));
    both.act("box", "pause");
    both.act("box", "unpause");
    both.act("box", "rename?name=crate");
    both.act("crate", "kill");
    both.done("POST", "/containers/crate/wait", &Value::Null);
    both.act("crate", "restart?t=0");
    both.act("crate", "stop?t=60");
    both.done("DELETE", "/containers/crate?v=1", &Value::Null);
    both.create(
        "alone",
        &json!({"Image": "busybox", "Cmd": ["true"], "HostConfig": {"NetworkMode": "none"}}),
    );
    both.act("alone", "start");
    both.done("POST", "/containers/alone/wait", &Value::Null);
    for (kind, filters) in
        [("containers", ""), ("networks", ""), ("volumes", "?filters=%7B%22all%22:%5B%221%22%5D%7D")]
    {
        both.done("POST", &format!("/{kind}/prune{filters}"), &Value::Null);
    }
    both.done("POST", "/images/busybox/tag?repo=other", &Value::Null);
    both.done("DELETE", "/images/other", &Value::Null);
    let told = events.each_mut().map(|events| {
        let mut told = Vec::new();
        for line in BufReader::new(events).lines().map(Result::unwrap).filter(|line| line.starts_with('{')) {
            let is_last = line.contains(r#""Action":"untag""#);
            told.push(line);
            if is_last {
                break;
            }
        }
        format!("[{}]", told.join(","))
    });
    let [ours, theirs] = both.named(&told);
    // dockerd tells of an end and of what asked for it in either order.
    let sorted = |mut events: Value| {
        let key = |event: &Value| format!("{} {}", event["Type"], event["Action"]);
        events.as_array_mut().expect("a list was made of them").sort_by_cached_key(key);
        let words: Vec<_> = events.as_array().into_iter().flatten().map(key).collect();
        (events, words)
    };
    let ((ours, our_words), (theirs, their_words)) = (sorted(ours), sorted(theirs));
    assert_eq!(our_words, their_words);
    comparison.compare("events", Some(&ours), Some(&theirs));
    comparison.finish();
}
