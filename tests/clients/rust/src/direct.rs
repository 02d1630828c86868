//! bollard.

use std::collections::HashMap;

use bollard::Docker;
use bollard::container::{AttachContainerResults, LogOutput};
use bollard::errors::Error;
use bollard::exec::{StartExecOptions, StartExecResults};
use bollard::models::{
    BuildInfoAux, ContainerCreateBody, EndpointSettings, EventMessageTypeEnum, ExecConfig, HostConfig,
    NetworkConnectRequest, NetworkCreateRequest, NetworkDisconnectRequest, PortBinding, VolumeCreateOptions,
};
use bollard::query_parameters::{
    AttachContainerOptionsBuilder, BuildImageOptionsBuilder, BuilderVersion, CreateContainerOptionsBuilder,
    CreateImageOptionsBuilder, DownloadFromContainerOptionsBuilder, EventsOptionsBuilder, ImageBuildOutput,
    InspectContainerOptions, InspectNetworkOptions, ListContainersOptionsBuilder, LogsOptionsBuilder,
    PushImageOptionsBuilder, RemoveContainerOptionsBuilder, RemoveImageOptions, RemoveVolumeOptions,
    RestartContainerOptions, StartContainerOptions, StatsOptionsBuilder, StopContainerOptionsBuilder,
    TagImageOptionsBuilder, UploadToContainerOptionsBuilder, WaitContainerOptions,
};
use futures_util::{Stream, StreamExt, TryStreamExt};
use tokio::io::AsyncWriteExt;

use crate::Outcome;

fn words<const N: usize>(words: [&str; N]) -> Option<Vec<String>> {
    Some(words.map(str::to_owned).to_vec())
}

/// A container that sleeps.
async fn sleeper(docker: &Docker, name: &str, labels: HashMap<String, String>) -> Outcome<String> {
    let config = ContainerCreateBody {
        image: Some("busybox".to_owned()),
        cmd: words(["sleep", "1000"]),
        labels: Some(labels),
        ..Default::default()
    };
    let options = CreateContainerOptionsBuilder::default().name(name).build();
    let id = docker.create_container(Some(options), config).await?.id;
    docker.start_container(&id, None::<StartContainerOptions>).await?;
    Ok(id)
}

async fn remove(docker: &Docker, id: &str) -> Outcome {
    let options = RemoveContainerOptionsBuilder::default().force(true).v(true).build();
    Ok(docker.remove_container(id, Some(options)).await?)
}

/// What came on either output.
async fn outputs(
    mut pieces: impl Stream<Item = Result<LogOutput, Error>> + Unpin,
) -> Outcome<(String, String)> {
    let (mut out, mut err) = (String::new(), String::new());
    while let Some(piece) = pieces.try_next().await? {
        match &piece {
            LogOutput::StdErr { .. } => err += &piece.to_string(),
            _ => out += &piece.to_string(),
        }
    }
    Ok((out, err))
}

/// The status that the server refused with.
fn refused<T>(result: Result<T, Error>) -> u16 {
    match result {
        Err(Error::DockerResponseServerError { status_code, .. }) => status_code,
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("it was not refused"),
    }
}

pub async fn containers(docker: &Docker) -> Outcome {
    let binding = PortBinding { host_ip: Some("127.0.0.1".to_owned()), host_port: None };
    let config = ContainerCreateBody {
        image: Some("busybox".to_owned()),
        cmd: words(["sh", "-c", "echo out; echo err >&2; read line; echo got $line; exit 3"]),
        env: words(["A=b"]),
        hostname: Some("inside".to_owned()),
        open_stdin: Some(true),
        stdin_once: Some(true),
        exposed_ports: Some(HashMap::from([("80/tcp".to_owned(), HashMap::new())])),
        host_config: Some(HostConfig {
            memory: Some(64 << 20),
            port_bindings: Some(HashMap::from([("80/tcp".to_owned(), Some(vec![binding]))])),
            tmpfs: Some(HashMap::from([("/run".to_owned(), String::new())])),
            ..Default::default()
        }),
        ..Default::default()
    };
    let options = CreateContainerOptionsBuilder::default().name("life").build();
    let id = docker.create_container(Some(options.clone()), config.clone()).await?.id;
    assert_eq!(refused(docker.create_container(Some(options), config).await), 409);
    let attach =
        AttachContainerOptionsBuilder::default().stdin(true).stdout(true).stderr(true).stream(true).build();
    let AttachContainerResults { output, mut input } = docker.attach_container(&id, Some(attach)).await?;
    docker.start_container(&id, None::<StartContainerOptions>).await?;
    let inspected = docker.inspect_container(&id, None::<InspectContainerOptions>).await?;
    assert_eq!(inspected.state.and_then(|state| state.running), Some(true));
    let ports = inspected.network_settings.and_then(|settings| settings.ports).unwrap_or_default();
    let published = ports["80/tcp"].as_ref().and_then(|bindings| bindings[0].host_port.clone());
    assert!(published.is_some_and(|port| port.parse::<u16>().is_ok()), "{ports:?}");
    input.write_all(b"typed\n").await?;
    assert_eq!(outputs(output).await?, ("out\ngot typed\n".to_owned(), "err\n".to_owned()));
    let mut wait = docker.wait_container(&id, None::<WaitContainerOptions>);
    match wait.next().await {
        Some(Err(Error::DockerContainerWaitError { code: 3, .. })) => {}
        other => panic!("{other:?}"),
    }
    // The other stream's only line may have been logged after it.
    let log = LogsOptionsBuilder::default().stdout(true).stderr(true).tail("2").timestamps(true).build();
    let (log, _) = outputs(docker.logs(&id, Some(log)).boxed()).await?;
    assert!(log.ends_with("Z got typed\n"), "{log}");
    remove(docker, &id).await?;
    assert_eq!(refused(docker.inspect_container(&id, None::<InspectContainerOptions>).await), 404);

    let id = sleeper(docker, "control", HashMap::new()).await?;
    docker.pause_container(&id).await?;
    docker.unpause_container(&id).await?;
    docker.restart_container(&id, None::<RestartContainerOptions>).await?;
    let stats: Vec<_> = docker
        .stats(&id, Some(StatsOptionsBuilder::default().stream(true).build()))
        .take(2)
        .try_collect()
        .await?;
    assert!(stats[1].memory_stats.as_ref().and_then(|memory| memory.usage) > Some(0), "{stats:?}");
    let from = DownloadFromContainerOptionsBuilder::default().path("/etc/passwd").build();
    let archive: Vec<_> = docker.download_from_container(&id, Some(from)).try_collect().await?;
    let to = UploadToContainerOptionsBuilder::default().path("/tmp").build();
    docker.upload_to_container(&id, Some(to), bollard::body_full(archive.concat().into())).await?;
    let changes = docker.container_changes(&id).await?.unwrap_or_default();
    assert!(changes.iter().any(|change| change.path == "/tmp/passwd"), "{changes:?}");
    let filters = HashMap::from([("name", vec!["control"]), ("status", vec!["running"])]);
    let list = ListContainersOptionsBuilder::default().all(true).filters(&filters).build();
    assert_eq!(docker.list_containers(Some(list)).await?.len(), 1);
    remove(docker, &id).await
}

pub async fn execs(docker: &Docker) -> Outcome {
    let id = sleeper(docker, "execs", HashMap::new()).await?;
    let config = ExecConfig {
        cmd: words(["sh", "-c", "read line; echo got $line; echo err >&2; exit 9"]),
        attach_stdin: Some(true),
        attach_stdout: Some(true),
        attach_stderr: Some(true),
        ..Default::default()
    };
    let exec = docker.create_exec(&id, config).await?.id;
    let StartExecResults::Attached { output, mut input } = docker.start_exec(&exec, None).await? else {
        panic!("it is attached");
    };
    input.write_all(b"typed\n").await?;
    assert_eq!(outputs(output).await?, ("got typed\n".to_owned(), "err\n".to_owned()));
    let inspected = docker.inspect_exec(&exec).await?;
    assert_eq!((inspected.exit_code, inspected.running), (Some(9), Some(false)), "{inspected:?}");

    let config =
        ExecConfig { cmd: words(["tty"]), tty: Some(true), attach_stdout: Some(true), ..Default::default() };
    let exec = docker.create_exec(&id, config).await?.id;
    let options = StartExecOptions { tty: true, ..Default::default() };
    let StartExecResults::Attached { output, .. } = docker.start_exec(&exec, Some(options)).await? else {
        panic!("it is attached");
    };
    assert!(outputs(output).await?.0.starts_with("/dev/pts/"));
    remove(docker, &id).await
}

pub async fn networks_and_volumes(docker: &Docker) -> Outcome {
    let request = NetworkCreateRequest { name: "rust-net".to_owned(), ..Default::default() };
    docker.create_network(request.clone()).await?;
    assert_eq!(refused(docker.create_network(request).await), 409);
    let id = sleeper(docker, "member", HashMap::new()).await?;
    let endpoint = EndpointSettings { aliases: words(["known"]), ..Default::default() };
    let connect = NetworkConnectRequest { container: Some(id.clone()), endpoint_config: Some(endpoint) };
    docker.connect_network("rust-net", connect).await?;
    let network = docker.inspect_network("rust-net", None::<InspectNetworkOptions>).await?;
    assert!(network.containers.unwrap_or_default().contains_key(&id));
    assert_eq!(refused(docker.remove_network("rust-net").await), 403);
    let disconnect = NetworkDisconnectRequest { container: Some(id.clone()), force: None };
    docker.disconnect_network("rust-net", disconnect).await?;
    docker.remove_network("rust-net").await?;
    remove(docker, &id).await?;

    let options = VolumeCreateOptions { name: Some("rust-data".to_owned()), ..Default::default() };
    let volume = docker.create_volume(options).await?;
    assert_eq!((&*volume.name, &*volume.driver), ("rust-data", "local"));
    docker.inspect_volume("rust-data").await?;
    docker.remove_volume("rust-data", None::<RemoveVolumeOptions>).await?;
    assert_eq!(refused(docker.inspect_volume("rust-data").await), 404);
    Ok(())
}

pub async fn events(docker: &Docker) -> Outcome {
    let filters = HashMap::from([("type", vec!["container"]), ("label", vec!["told"])]);
    let options = EventsOptionsBuilder::default().since("0").filters(&filters).build();
    let id = sleeper(docker, "told", HashMap::from([("told".to_owned(), "yes".to_owned())])).await?;
    let mut events = docker.events(Some(options)).boxed();
    for action in ["create", "start"] {
        let event = events.try_next().await?.expect("more is told");
        assert_eq!(
            (event.action.as_deref(), event.typ),
            (Some(action), Some(EventMessageTypeEnum::CONTAINER))
        );
    }
    docker.stop_container(&id, Some(StopContainerOptionsBuilder::default().t(0).build())).await?;
    remove(docker, &id).await?;
    // Of a stop that does not wait: the signal that asks, and the one that does not.
    for action in ["kill", "kill", "die", "stop", "destroy"] {
        let event = events.try_next().await?.expect("more is told");
        assert_eq!(event.action.as_deref(), Some(action));
    }
    Ok(())
}

pub async fn images(docker: &Docker, registry: &str) -> Outcome {
    let repository = format!("{registry}/rust/box");
    let name = format!("{repository}:1");
    let tag = TagImageOptionsBuilder::default().repo(&repository).tag("1").build();
    docker.tag_image("busybox", Some(tag)).await?;
    let push = PushImageOptionsBuilder::default().tag("1").build();
    let pushed: Vec<_> = docker.push_image(&repository, Some(push), None).try_collect().await?;
    assert!(pushed.iter().all(|info| info.error_detail.is_none()), "{pushed:?}");
    docker.remove_image(&name, None::<RemoveImageOptions>, None).await?;
    let pull = || CreateImageOptionsBuilder::default().from_image(&name).build();
    let pulled: Vec<_> = docker.create_image(Some(pull()), None, None).try_collect().await?;
    assert!(
        pulled.iter().any(|info| info.status.as_deref().is_some_and(|status| status.starts_with("Digest: ")))
    );
    let digest = docker.inspect_registry_image(&name, None).await?.descriptor.digest;
    let inspected = docker.inspect_image(&name).await?;
    let digests = inspected.repo_digests.unwrap_or_default();
    assert!(
        digests.iter().any(|known| known.strip_prefix(&*repository).and_then(|rest| rest.strip_prefix('@'))
            == digest.as_deref())
    );
    docker.remove_image(&name, None::<RemoveImageOptions>, None).await?;
    assert_eq!(refused(docker.inspect_image(&name).await), 404);
    Ok(())
}

/// BuildKit, which bollard asks for in one request, with a session beside it.
pub async fn builds(docker: &Docker) -> Outcome {
    let directory = std::env::current_dir()?;
    let build = |dockerfile: &str, name: &str| -> Outcome<_> {
        std::fs::write(directory.join("Dockerfile"), dockerfile)?;
        let archive = std::process::Command::new("tar").args(["-c", "Dockerfile"]).output()?.stdout;
        let options = BuildImageOptionsBuilder::default().t(name).session(name);
        Ok((options.version(BuilderVersion::BuilderBuildKit), Some(bollard::body_full(archive.into()))))
    };
    let (options, archive) = build("FROM busybox\nRUN echo built > /how\n", "traced")?;
    let told: Vec<_> = docker.build_image(options.build(), None, archive).try_collect().await?;
    let (mut steps, mut id) = (Vec::new(), None);
    for aux in told.into_iter().filter_map(|info| info.aux) {
        match aux {
            BuildInfoAux::BuildKit(status) => {
                steps.extend(status.vertexes.into_iter().map(|vertex| vertex.name))
            }
            BuildInfoAux::Default(image) => id = image.id,
        }
    }
    assert!(steps.iter().any(|name| name.ends_with("RUN echo built > /how")), "{steps:?}");
    assert_eq!(docker.inspect_image("traced").await?.id, id);
    docker.remove_image("traced", None::<RemoveImageOptions>, None).await?;

    let (options, archive) = build("FROM scratch\nCOPY Dockerfile /sent\n", "sent")?;
    let output = directory.join("output");
    let options = options.outputs(ImageBuildOutput::Local(output.to_string_lossy().into_owned()));
    docker.build_image(options.build(), None, archive).try_collect::<Vec<_>>().await?;
    assert!(std::fs::read_to_string(output.join("sent"))?.starts_with("FROM scratch"));
    assert_eq!(refused(docker.inspect_image("sent").await), 404);

    let (options, archive) = build("FROM busybox\nRUN exit 3\n", "broken")?;
    let failed = docker.build_image(options.build(), None, archive).try_collect::<Vec<_>>().await;
    let error = failed.expect_err("the step fails").to_string();
    assert!(error.contains("did not complete successfully: exit code: 3"), "{error}");
    Ok(())
}

/// Whatever was made is gone again, also what testcontainers was to remove by itself.
pub async fn nothing_is_left(docker: &Docker) -> Outcome {
    let all = || ListContainersOptionsBuilder::default().all(true).build();
    for _ in 0..200 {
        if docker.list_containers(Some(all())).await?.is_empty() {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    panic!("left: {:?}", docker.list_containers(Some(all())).await?);
}
