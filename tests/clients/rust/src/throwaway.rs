//! testcontainers.

use std::io::{Read as _, Write as _};
use std::time::Duration;

use testcontainers::core::wait::{ExitWaitStrategy, HealthWaitStrategy};
use testcontainers::core::{CmdWaitFor, ExecCommand, Healthcheck, IntoContainerPort as _, Mount, WaitFor};
use testcontainers::runners::AsyncRunner as _;
use testcontainers::{CopyTargetOptions, GenericImage, ImageExt as _};

use crate::Outcome;

const SERVER: [&str; 3] = ["sh", "-c", "mkdir -p /site; echo ready; exec httpd -f -p 80 -h /site"];

pub async fn containers() -> Outcome {
    let container = GenericImage::new("busybox", "latest")
        .with_exposed_port(80.tcp())
        .with_wait_for(WaitFor::message_on_stdout("ready"))
        .with_cmd(SERVER)
        .with_env_var("A", "b")
        .with_label("made", "here")
        .with_hostname("inside")
        .with_mount(Mount::tmpfs_mount("/scratch"))
        .with_copy_to(CopyTargetOptions::new("/site/page").with_mode(0o644), b"served\n".to_vec())
        .start()
        .await?;
    let port = container.get_host_port_ipv4(80).await?;
    let mut page = std::net::TcpStream::connect((container.get_host().await?.to_string(), port))?;
    page.write_all(b"GET /page HTTP/1.0\r\n\r\n")?;
    let mut answer = String::new();
    page.read_to_string(&mut answer)?;
    assert!(answer.ends_with("served\n"), "{answer}");

    let command = ExecCommand::new(["sh", "-c", "echo $A; hostname; echo err >&2; exit 4"]);
    let mut told = container.exec(command.with_cmd_ready_condition(CmdWaitFor::exit_code(4))).await?;
    assert_eq!(told.stdout_to_vec().await?, b"b\ninside\n");
    assert_eq!(told.stderr_to_vec().await?, b"err\n");
    assert_eq!(container.stdout_to_vec().await?, b"ready\n");
    assert_eq!(container.copy_file_from("/site/page", Vec::new()).await?, b"served\n");
    container.pause().await?;
    container.unpause().await?;
    container.stop_with_timeout(Some(0)).await?;
    assert!(!container.is_running().await?);
    container.rm().await?;

    let ended = GenericImage::new("busybox", "latest")
        .with_wait_for(WaitFor::exit(ExitWaitStrategy::new().with_exit_code(3)))
        .with_cmd(["sh", "-c", "exit 3"])
        .start()
        .await?;
    assert_eq!(ended.exit_code().await?, Some(3));

    let check = Healthcheck::cmd(["test", "-e", "/ready"]).with_interval(Duration::from_millis(100)).with_retries(600);
    GenericImage::new("busybox", "latest")
        .with_wait_for(WaitFor::Healthcheck(HealthWaitStrategy::new()))
        .with_cmd(["sh", "-c", "sleep 0.3; touch /ready; exec sleep 1000"])
        .with_health_check(check)
        .start()
        .await?;
    Ok(())
}

pub async fn networks() -> Outcome {
    let server = GenericImage::new("busybox", "latest")
        .with_wait_for(WaitFor::message_on_stdout("ready"))
        .with_cmd(SERVER)
        .with_container_name("server")
        .with_network("throwaway")
        .with_copy_to("/site/page", b"by name\n".to_vec())
        .start()
        .await?;
    let client = GenericImage::new("busybox", "latest")
        .with_cmd(["sleep", "1000"])
        .with_network("throwaway")
        .start()
        .await?;
    let mut page = client.exec(ExecCommand::new(["wget", "-q", "-O", "-", "http://server/page"])).await?;
    assert_eq!(page.stdout_to_vec().await?, b"by name\n");
    client.rm().await?;
    server.rm().await?;
    Ok(())
}
