//! Every command of the real `docker` outside swarm, plugins, trust and contexts, as it is used, one after the other.
//!
//! Both engines begin with nothing, and what one command leaves is there for the next. Exit statuses are always the same.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use regex_lite::Regex;
use testkit::{Api, Dockerd, Output, World, busybox_tar};

/// What is meant to be the same word for both.
const PATTERNS: &[(&str, &str)] = &[
    (r"\b[0-9a-f]{64}\b", "<id>"),
    (r"\b[0-9a-f]{12}\b", "<short>"),
    (r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d[^\s]*( [+-]\d{4} [A-Z]+)?", "<moment>"),
    (r"(Less than a second|About (a|an) (minute|hour)|\d+ (second|minute)s?)", "<time>"),
    (r"\b\d+(\.\d+)?\s?([kMG]i?)?B\b", "<size>"),
    (r"(127\.0\.0\.1|0\.0\.0\.0):\d+", "$1:<port>"),
    (r"\b172\.\d+\.\d+\.\d+", "<address>"),
    (r"/[^ ]*/scratch/(hull|dockerd)/", "<directory>/"),
    // Columns are as wide as what is in them.
    (r" {2,}", "  "),
];

/// Steps whose output is meant to differ, and why.
const MEANT: &[(&str, &str)] = &[
    ("docker save nobody", "the tag that was looked for is told, too"),
    ("docker load < Dockerfile", "what is wrong with it is told"),
    ("printf 'FROM busybox\\nNONSENSE x\\n' | DOCKER_BUILDKIT=0 docker build -q -", "the file is named"),
    (
        "printf 'FROM busybox\\nRUN exit 3\\n' | DOCKER_BUILDKIT=0 docker image build -q -",
        "the steps of quiet builds stay untold",
    ),
    ("docker builder prune -f", "the classic builder has a cache"),
    ("DOCKER_BUILDKIT=0 docker builder build -q - < Dockerfile", "a file is missing before any step is done"),
    ("docker image prune -f", "builds leave no intermediate images"),
    ("docker pull 127.0.0.1:1/nobody", OWN_WORDS),
    ("docker search 127.0.0.1:1/nobody", OWN_WORDS),
    ("echo secret | docker login -u me --password-stdin 127.0.0.1:1", OWN_WORDS),
    ("docker run --rm busybox nosuch", NO_RUNC),
    ("docker run --rm busybox /etc/passwd", NO_RUNC),
    ("docker run --rm -v relative/path:/d busybox true", "the field is named"),
    ("docker run --rm --cpus 999 busybox true", "28 begins it with a small letter, too"),
    ("docker top web -x-wrong", "there is no ps that could say it"),
    ("docker exec web nosuch || echo failed", NO_RUNC),
    ("docker exec -u nobody-like-it web true", NO_RUNC),
    ("docker exec -w /nowhere web true", NO_RUNC),
    ("docker rename made 'bad name'", "it is the name that was given"),
    ("docker kill -s WRONG web", "what was to be done is not repeated"),
    ("docker kill nobody", "what was to be done is not repeated"),
    ("docker network create --subnet 10.232.7.0/25 overlapping", "both are told"),
    ("docker network create --subnet wrong other", OWN_WORDS),
    (
        "docker network create 'bad name' > /dev/null && docker network rm 'bad name' > /dev/null; true",
        "names of networks are those that container's names may be",
    ),
    ("docker network connect --ip 10.9.9.9 inner web", "as before 25"),
    ("docker network connect host web", OWN_WORDS),
    ("docker network rm net", "who is on it is told"),
    ("docker network disconnect net web || echo failed", "names are told, not ids"),
    ("docker network disconnect -f net nobody", OWN_WORDS),
    ("docker volume create -o type=nosuch -o wrong=x odd", "what there is instead is told"),
    ("docker system df --format '{{.Type}} {{.TotalCount}} {{.Active}}'", "the classic builder has a cache"),
];

const OWN_WORDS: &str = "the same in other words";
const NO_RUNC: &str = "there is no runc that could be named";

const STEPS: &[&str] = &[
    // Images.
    "docker import -m hello -c 'CMD [\"sh\"]' -c 'ENV A=b' busybox.tar busybox",
    "docker import - second:1 < busybox.tar",
    "docker import nowhere.tar",
    "docker images | sort",
    "docker images -q | wc -l",
    "docker image ls --no-trunc --digests busybox",
    "docker image ls --format '{{.Repository}}:{{.Tag}}' --filter reference='busy*'",
    "docker image ls --filter dangling=true",
    "docker image ls --filter colour=red",
    "docker tag busybox box:two && docker image tag busybox box/three:x",
    "docker tag nobody x",
    "docker tag busybox UPPER",
    "docker history busybox",
    "docker image history --no-trunc --format '{{.CreatedBy}}|{{.Comment}}' second:1",
    "docker history nobody",
    "docker image inspect -f '{{.Config.Env}} {{.Architecture}} {{.RepoTags}}' busybox",
    "docker image inspect nobody",
    "docker save -o saved.tar busybox box:two && tar -tf saved.tar | grep manifest",
    "docker save nobody",
    "docker rmi box:two nobody",
    "docker load -i saved.tar | sort",
    "docker image load -q < saved.tar | sort",
    "docker load < Dockerfile",
    "docker image rm -f box:two",
    "DOCKER_BUILDKIT=0 docker build -q -t built --label l=m .",
    "DOCKER_BUILDKIT=0 docker build -q --build-arg WHO=you --no-cache .",
    "DOCKER_BUILDKIT=0 docker build -q -f nowhere .",
    "printf 'FROM busybox\\nNONSENSE x\\n' | DOCKER_BUILDKIT=0 docker build -q -",
    "printf 'FROM busybox\\nRUN exit 3\\n' | DOCKER_BUILDKIT=0 docker image build -q -",
    "docker run --rm built",
    "docker builder prune -f",
    "DOCKER_BUILDKIT=0 docker builder build -q - < Dockerfile",
    "docker image prune -f",
    "docker pull UPPER",
    "docker pull 127.0.0.1:1/nobody",
    "docker push 127.0.0.1:1/nobody",
    "docker search 127.0.0.1:1/nobody",
    "echo secret | docker login -u me --password-stdin 127.0.0.1:1",
    "docker logout 127.0.0.1:1",
    // Running.
    "docker run --rm busybox echo hello",
    "echo in | docker run --rm -i busybox cat",
    "docker run --rm busybox sh -c 'echo out; echo err >&2; exit 7'",
    "docker run --rm busybox nosuch",
    "docker run --rm busybox /etc/passwd",
    "docker run --rm --pull never nobody",
    "docker run --rm -e B=c -w /tmp -u 1000:1000 -h host --read-only --tmpfs /t busybox sh -c 'env | sort; id -u; id -g; pwd; touch /x'",
    "docker run --rm --entrypoint echo --env-file env busybox entry",
    "docker run --rm -v data:/data busybox sh -c 'echo kept > /data/file' && docker run --rm --mount type=volume,src=data,dst=/d,ro busybox sh -c 'cat /d/file; touch /d/x'",
    "docker run --rm -v \"$PWD/directory\":/d:ro busybox ls /d",
    "docker run --rm --mount type=bind,src=/nowhere/at/all,dst=/d busybox ls /d",
    "docker run --rm -v relative/path:/d busybox true",
    "docker run --rm --network none busybox ip -o link",
    "docker run --rm --network nobody busybox true",
    "docker run --rm --ulimit nofile=100:200 --memory 64m --cpus 0.5 --pids-limit 50 busybox sh -c 'ulimit -n; ulimit -Hn'",
    "docker run --rm --cap-drop ALL --security-opt no-new-privileges busybox grep -E '^(CapEff|NoNewPrivs)' /proc/self/status",
    "docker run --rm --cap-add NET_ADMIN busybox grep CapEff /proc/self/status",
    "docker run --rm --add-host somewhere:192.0.2.1 busybox grep somewhere /etc/hosts",
    "docker run --rm --dns 192.0.2.53 --dns-search example busybox grep '^[a-z]' /etc/resolv.conf",
    "docker run --rm --sysctl net.ipv4.ip_forward=1 --shm-size 1m busybox sh -c 'cat /proc/sys/net/ipv4/ip_forward; df -k /dev/shm | tail -1'",
    "docker run --rm --memory 1k busybox true",
    "docker run --rm --cpus 999 busybox true",
    "docker run --rm --sysctl wrong=1 busybox true",
    "docker run --rm --cap-add WRONG busybox true",
    "docker run --rm --restart always busybox true",
    "docker run --rm --init --stop-signal WRONG busybox true",
    "docker run --rm --ipc container:nobody busybox true",
    "docker ps -aq | xargs -r docker rm > /dev/null",
    "docker run --rm --log-driver none busybox echo seen",
    "docker run --rm --log-driver wrong busybox true",
    "docker run -d --name web -p 127.0.0.1::80 --label tier=front --health-cmd true --health-interval 1s busybox sleep 1000",
    "docker run -d --name web busybox true",
    "docker run --name seven busybox sh -c 'echo one; echo two; echo three; exit 7'",
    "docker run --cidfile cid -d --name other -v data:/data busybox sh -c 'trap \"exit 5\" TERM; while :; do sleep 0.1; done'; wc -c < cid",
    "docker create --name made -it busybox sh",
    "docker container create --name 'bad name' busybox",
    // Looking.
    "docker ps --format '{{.Names}} {{.Image}} {{.Command}} {{.State}} {{.Networks}}'",
    "docker ps -a --format 'table {{.ID}}\\t{{.Status}}\\t{{.Names}}\\t{{.Ports}}' --filter name=seven --filter name=made",
    "docker container ls -qa | wc -l",
    "docker ps -n 1 --no-trunc",
    "docker ps -lq",
    "for f in status=exited exited=7 label=tier=front ancestor=busybox volume=data network=bridge health=none name=^/web$ before=seven since=seven publish=80 is-task=false; do echo $f; docker ps -a --filter $f --format '{{.Names}}'; done",
    "docker ps --filter colour=red",
    "docker ps --filter status=wrong",
    "docker ps -as --format '{{.Names}} {{.Size}}' --filter name=made",
    "docker port web",
    "docker port web 80",
    "docker port web 81",
    "docker port nobody",
    "docker logs seven",
    "docker logs -n 1 seven",
    "docker container logs -t --tail 2 seven",
    "docker logs --since 1h --until 2038-01-01 seven",
    "docker logs --since wrong seven",
    "docker logs nobody",
    "docker logs -f seven",
    "docker top web -o pid,args | tail -1 | tr -d '0-9 '",
    "docker top seven",
    "docker top web -x-wrong",
    "docker stats --no-stream --format '{{.Name}}' web other",
    "docker stats --no-stream nobody",
    "docker inspect -f '{{.Name}} {{.State.Status}} {{.HostConfig.RestartPolicy.Name}}' web seven made",
    "docker inspect --type network web",
    "docker inspect nobody",
    "docker container inspect -s -f '{{.SizeRw}}' made",
    // Acting.
    "docker exec web echo hello",
    "echo in | docker exec -i -e X=y -w /tmp -u 1000 web sh -c 'cat; echo $X; pwd; id -u; exit 9'",
    "docker exec web nosuch || echo failed",
    "docker exec -u nobody-like-it web true",
    "docker exec -w /nowhere web true",
    "docker exec seven true",
    "docker exec nobody true",
    "docker exec -d web touch /touched && sleep 0.5 && docker exec web ls /touched",
    "docker exec --privileged web grep CapEff /proc/self/status",
    "docker diff web",
    "docker diff nobody",
    "docker cp env web:/tmp/there && docker cp web:/tmp/there back && cat back",
    "docker cp directory made:/tmp && docker cp made:/tmp/directory/file - | tar -xO",
    "docker cp web:/nowhere .",
    "docker cp nowhere web:/tmp",
    "docker cp env web:/nowhere/at/all",
    "docker cp nobody:/x .",
    "docker export made | tar -t | grep -E '^(bin/sh|tmp/directory/file)$' | sort",
    "docker export nobody",
    "docker commit -a me -m note -c 'CMD [\"x\"]' -c 'LABEL l=m' web committed:1",
    "docker image inspect -f '{{.Author}}|{{.Comment}}|{{.Config.Cmd}}|{{.Config.Labels}}' committed:1",
    "docker commit nobody x",
    "docker checkpoint create web one",
    "docker checkpoint ls web",
    "docker checkpoint rm web one",
    "docker container commit -p=false made UPPER",
    "docker rename made done && docker rename done made",
    "docker rename made web",
    "docker rename nobody x",
    "docker rename made 'bad name'",
    "docker update --memory 64m --memory-swap 64m --cpus 1 --restart unless-stopped other",
    "docker inspect -f '{{.HostConfig.Memory}} {{.HostConfig.NanoCpus}} {{.HostConfig.RestartPolicy.Name}}' other",
    "docker update --memory 1k other",
    "docker update --memory 64m nobody",
    "docker update --restart=no other",
    "docker pause web && docker ps --filter status=paused --format '{{.Names}} {{.State}}'",
    "docker pause web",
    "docker exec web true",
    "docker attach web",
    "docker unpause web",
    "docker unpause web",
    "docker pause seven",
    "docker start seven && docker wait seven",
    "docker start -a seven",
    "docker start web",
    "docker start nobody",
    "docker attach seven",
    "docker attach nobody",
    "docker kill -s USR1 web",
    "docker kill -s WRONG web",
    "docker kill seven",
    "docker kill nobody",
    "docker restart -t 0 web",
    "docker restart nobody",
    "docker stop -t 5 other && docker inspect -f '{{.State.ExitCode}}' other",
    "docker stop other",
    "docker stop nobody",
    "docker wait nobody",
    "docker rm web",
    "docker rm nobody",
    "docker rm -f nobody",
    "docker rm -v other",
    "docker rmi busybox && docker tag second:1 busybox",
    "docker container prune -f --filter label=nothing",
    "docker container prune -f --filter colour=red",
    // Networks.
    "docker network ls",
    "docker network create --subnet 10.232.7.0/24 --gateway 10.232.7.1 --label l=m net",
    "docker network create net",
    "docker network create --subnet 10.232.7.0/25 overlapping",
    "docker network create --subnet wrong other",
    "docker network create --driver nosuch other",
    "docker network create 'bad name' > /dev/null && docker network rm 'bad name' > /dev/null; true",
    "docker network create bridge",
    "docker network create --internal --attachable inner",
    "docker network ls --filter label=l=m --format '{{.Name}} {{.Driver}} {{.Scope}} {{.Internal}}'",
    "docker network ls --filter type=builtin --format '{{.Name}}'",
    "docker network ls --filter colour=red",
    "docker network inspect -f '{{.Name}} {{.Internal}} {{.Attachable}} {{json .IPAM.Config}} {{.Options}}' net inner",
    "docker network inspect nobody",
    "docker network connect --alias back --ip 10.232.7.9 net web && docker exec web ip -o -4 address show eth1 | grep -o 'inet [0-9./]*'",
    "docker run --rm --network net busybox ping -c 1 -W 5 back | grep PING",
    "docker network connect net web",
    "docker network connect --ip 10.9.9.9 inner web",
    "docker network connect net nobody",
    "docker network connect nobody web",
    "docker network connect host web",
    "docker network rm net",
    "docker network rm bridge",
    "docker network rm nobody",
    "docker network disconnect net web",
    "docker network disconnect net web || echo failed",
    "docker network disconnect -f net nobody",
    "docker network rm net && docker network prune -f | sort",
    // Volumes.
    "docker volume create --label l=m vol && docker volume create vol",
    "docker volume update --availability drain vol",
    "docker volume create | wc -c",
    "docker volume create --driver nosuch other",
    "docker volume create 'bad/name'",
    "docker volume create x",
    "docker volume create -o type=nosuch -o wrong=x odd",
    "docker volume ls --format '{{.Name}} {{.Driver}} {{.Scope}}' --filter name=vol --filter name=data",
    "docker volume ls -q --filter label=l=m",
    "docker volume ls --filter colour=red",
    "docker volume inspect -f '{{.Name}} {{.Driver}} {{.Labels}} {{.Options}}' vol data",
    "docker volume inspect nobody",
    "docker run -d --name holds -v vol:/v busybox sleep 1000 > /dev/null; docker volume rm vol",
    "docker rm -f holds && docker volume rm vol data",
    "docker volume rm nobody",
    "docker volume rm -f nobody",
    "docker volume prune -f | tail -1",
    // The whole.
    "docker version -f '{{.Server.Os}} {{.Server.Arch}}'",
    "docker system info -f '{{.OSType}} {{.Containers}} {{.ContainersRunning}} {{.Swarm.LocalNodeState}}'",
    "docker info -f '{{.Name}}' > /dev/null",
    "docker system df --format '{{.Type}} {{.TotalCount}} {{.Active}}'",
    "docker events --since 1h --until 0s --filter container=web --filter event=pause --filter event=rename --format '{{.Type}} {{.Action}} {{.Actor.Attributes.name}}'",
    // What happened in this second is left out by the client.
    "sleep 1; docker events --since 1h --until 0s --filter type=volume --format '{{.Action}} {{.Actor.Attributes.driver}}' | sort | uniq",
    "docker rm -f web made seven",
    "docker ps -aq",
    "docker system prune -af --volumes | tail -1",
    "docker images -q && docker volume ls -q",
];

/// Runs `line` as a client of `socket`, in a directory of this engine.
fn run(socket: &Path, directory: &Path, line: &str) -> Output {
    let mut command = Command::new("sh");
    command.args(["-c", line]).current_dir(directory).stdin(Stdio::null());
    command.env("DOCKER_HOST", format!("unix://{}", socket.display()));
    command.env("DOCKER_CONFIG", directory.join("config")).env("DOCKER_CLI_HINTS", "false");
    Output::of(&mut command)
}

/// Runs all steps, and says of each what it came to.
fn play(socket: &Path, directory: &Path) -> Vec<(Option<i32>, String)> {
    std::fs::create_dir_all(directory.join("directory")).unwrap();
    std::fs::copy(busybox_tar(), directory.join("busybox.tar")).unwrap();
    std::fs::write(directory.join("directory/file"), "content\n").unwrap();
    std::fs::write(directory.join("env"), "FROM_FILE=yes\n").unwrap();
    let dockerfile = "FROM busybox\nARG WHO=me\nRUN echo $WHO > /who\nCOPY env /env\nCMD cat /who\n";
    std::fs::write(directory.join("Dockerfile"), dockerfile).unwrap();
    let patterns: Vec<(Regex, &str)> =
        PATTERNS.iter().map(|(pattern, word)| (Regex::new(pattern).unwrap(), *word)).collect();
    let plain = |text: &str| {
        patterns
            .iter()
            .fold(text.to_owned(), |text, (pattern, word)| pattern.replace_all(&text, *word).into_owned())
    };
    let steps = STEPS.iter().map(|line| {
        let output = run(socket, directory, line);
        (output.status, plain(&output.stdout) + &plain(&output.stderr))
    });
    steps.collect()
}

#[test]
fn commands_come_to_the_same() {
    let api = Api::serve(World::new(env!("CARGO_BIN_EXE_hull")));
    let dockerd = Dockerd::start_newer();
    let directories: [PathBuf; 2] = ["hull", "dockerd"].map(|name| api.world.scratch().join(name));
    let (socket, directory) = (dockerd.socket(), directories[1].clone());
    let theirs = std::thread::spawn(move || play(&socket, &directory));
    let ours = play(api.socket(), &directories[0]);
    let theirs = theirs.join().unwrap();
    let mut wrong = String::new();
    for ((line, ours), theirs) in STEPS.iter().zip(&ours).zip(&theirs) {
        let is_meant = MEANT.iter().any(|(meant, _)| meant == line);
        if ours.0 != theirs.0 || (ours.1 == theirs.1) == is_meant {
            let (our_status, our_text) = ours;
            let (their_status, their_text) = theirs;
            wrong.push_str(&format!(
                "$ {line}\n--- hull {our_status:?}\n{our_text}--- dockerd {their_status:?}\n{their_text}\n"
            ));
        }
    }
    assert!(wrong.is_empty(), "{wrong}");
    let gone = MEANT.iter().find(|(meant, _)| !STEPS.contains(meant));
    assert_eq!(gone, None, "it is no step");
}

/// What is left out: what hull does not do, and answers as an engine without it, and what asks no engine.
const LEFT_OUT: &[&str] =
    &["config", "context", "manifest", "node", "plugin", "secret", "service", "stack", "swarm", "trust"];

/// The commands that the help of `group` lists.
fn listed(group: &[&str]) -> Vec<String> {
    let help = Output::of(Command::new("docker").args(group).arg("--help")).success().stdout;
    let is_list =
        |section: &&str| section.trim().lines().next().is_some_and(|line| line.ends_with("Commands:"));
    let lines = help.split("\n\n").filter(is_list).flat_map(str::lines);
    let names = lines.filter_map(|line| line.strip_prefix("  ")?.split_whitespace().next());
    names.map(str::to_owned).collect()
}

#[test]
fn every_command_of_the_help_is_run() {
    let words: Vec<Vec<&str>> = STEPS.iter().map(|line| line.split_whitespace().collect()).collect();
    let is_run =
        |command: &[&str]| words.iter().any(|line| line.windows(command.len()).any(|some| some == command));
    let mut missing = Vec::new();
    for name in listed(&[]).iter().filter(|name| !LEFT_OUT.contains(&name.as_str())) {
        if !is_run(&["docker", name]) {
            missing.push(name.clone());
        }
        // What is about containers, images, builds or the whole has a short form.
        let has_short = ["builder", "container", "image", "system"].contains(&name.as_str());
        for inner in listed(&[name]) {
            if !(is_run(&["docker", name, &inner]) || has_short && is_run(&["docker", &inner])) {
                missing.push(format!("{name} {inner}"));
            }
        }
    }
    assert_eq!(missing, [] as [String; 0]);
}
