//! What bollard and testcontainers are used for. There is busybox, and REGISTRY is the address of a registry.

mod direct;
mod throwaway;

use bollard::Docker;

pub type Outcome<T = ()> = Result<T, Box<dyn std::error::Error>>;

#[tokio::main]
async fn main() -> Outcome {
    let host = std::env::var("DOCKER_HOST")?;
    let docker = Docker::connect_with_unix(&host, 120, bollard::API_DEFAULT_VERSION)?;
    direct::containers(&docker).await?;
    direct::execs(&docker).await?;
    direct::networks_and_volumes(&docker).await?;
    direct::events(&docker).await?;
    direct::images(&docker, &std::env::var("REGISTRY")?).await?;
    direct::builds(&docker).await?;
    throwaway::containers().await?;
    throwaway::networks().await?;
    direct::nothing_is_left(&docker).await
}
