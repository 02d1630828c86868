//! An image from a container.

use crate::engine::Engine;
use crate::lookup::LookupError;
use crate::model::{CommitSpec, HealthCommand, HealthSpec};
use crate::record::{Container, ContainerDoc};
use crate::time::{now_ns, rfc3339};
use diag::{Class, Diagnose};
use image::archive::{self, PackError, PackOptions, Writer};
use image::{ChangeError, CreateError, Image, LayerError, ResolveError, apply_change};
use oci::image::{Config, Healthcheck, History};
use oci::{Reference, ReferenceError};
use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::AsFd;
use store::StoreError;
use sys::fs::OFlags;

/// Why no image was made.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)]
pub enum CommitError {
    #[error(transparent)]
    Lookup(#[from] LookupError),
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    #[error(transparent)]
    Change(#[from] ChangeError),
    #[error("the image of container {name} is gone")]
    Image { name: String, source: ResolveError },
    #[error("cannot read the files of container {name}")]
    Files { name: String, source: io::Error },
    #[error("cannot pack the files of container {name}")]
    Pack { name: String, source: PackError },
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error(transparent)]
    Create(#[from] CreateError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Diagnose for CommitError {
    fn class(&self) -> Class {
        match self {
            Self::Lookup(error) => error.class(),
            Self::Reference(_) => Class::Invalid,
            Self::Change(error) => error.class(),
            Self::Image { source, .. } => source.class(),
            Self::Files { source, .. } => Class::of_io(source),
            Self::Pack { source, .. } => source.class(),
            Self::Layer(error) => error.class(),
            Self::Create(error) => error.class(),
            Self::Store(error) => error.class(),
        }
    }
}

impl Engine {
    /// Makes an image of a container's files and configuration.
    ///
    /// # Errors
    /// [`CommitError`]; nothing is left then.
    pub fn commit(&self, name: &str, spec: &CommitSpec) -> Result<Image, CommitError> {
        let container = self.find(name)?;
        let reference = spec.reference.as_deref().map(str::parse::<Reference>).transpose()?;
        let own = config_of(&container.doc);
        let mut config = spec.config.clone().unwrap_or_else(|| own.clone());
        for change in &spec.changes {
            apply_change(&mut config, change)?;
        }
        complete(&mut config, own);
        let _using = self.store().lock_shared()?;
        let images = self.images();
        let base = images
            .resolve(&container.image_id())
            .map_err(|source| CommitError::Image { name: container.name.clone(), source })?;
        let mut layers = images.layers(&base)?;
        let paused = spec.pause && self.pause(container.id.as_str()).is_ok();
        let packed = self.pack_changes(&container);
        if paused {
            // It can have ended meanwhile, which is no failure of the commit.
            let _ = self.unpause(container.id.as_str());
        }
        let mut archive = packed?;
        layers.push(images.apply_layer(&mut archive, None, None)?);
        let mut image_config = base.config.clone();
        let created = rfc3339(now_ns());
        image_config.history.push(History {
            created: Some(created.clone()),
            created_by: container.doc.spec.process.command.clone().unwrap_or_default().join(" "),
            comment: spec.comment.clone(),
            author: spec.author.clone(),
            ..History::default()
        });
        image_config.created = Some(created);
        if !spec.author.is_empty() {
            image_config.author.clone_from(&spec.author);
        }
        image_config.config = config;
        let references: Vec<Reference> = reference.into_iter().collect();
        let image = images.create_image(image_config, &layers, &references)?;
        self.emit(&crate::events::container(&container, "commit").with("imageID", image.id.to_string()));
        Ok(image)
    }

    /// The container's writable layer as an archive in an unnamed file of the data root.
    fn pack_changes(&self, container: &Container) -> Result<File, CommitError> {
        let files = |source| CommitError::Files { name: container.name.clone(), source };
        let upper = sys::fs::open_dir(self.data_dir(&container.id).join("upper").as_path()).map_err(files)?;
        let file =
            sys::fs::open(self.store().data(), OFlags::TMPFILE | OFlags::RDWR, 0o600).map_err(files)?;
        let mut writer = Writer::new(io::BufWriter::with_capacity(256 << 10, File::from(file)));
        archive::pack(&mut writer, upper.as_fd(), &PackOptions::layer())
            .map_err(|source| CommitError::Pack { name: container.name.clone(), source })?;
        let mut file =
            writer.finish().map_err(files)?.into_inner().map_err(|error| files(error.into_error()))?;
        file.rewind().map_err(files)?;
        Ok(file)
    }
}

/// The image configuration that a container's settings amount to.
fn config_of(ContainerDoc { spec, shell, .. }: &ContainerDoc) -> Config {
    let process = &spec.process;
    Config {
        user: process.user.clone().unwrap_or_default(),
        exposed_ports: spec.network.expose.iter().map(ToString::to_string).collect(),
        env: process.env.clone(),
        entrypoint: process.entrypoint.clone(),
        cmd: process.command.clone(),
        volumes: spec
            .mounts
            .iter()
            .filter(|mount| mount.syntax == crate::model::MountSyntax::Image)
            .map(|mount| mount.target.clone())
            .collect(),
        working_dir: process.working_dir.clone().unwrap_or_default(),
        labels: spec.labels.clone(),
        stop_signal: process.stop_signal.clone().unwrap_or_default(),
        healthcheck: spec.health.as_ref().and_then(healthcheck),
        shell: shell.clone(),
        ..Config::default()
    }
}

/// Fills in from `own` what `config` does not say.
fn complete(config: &mut Config, own: Config) {
    let fill = |text: &mut String, from: String| {
        if text.is_empty() {
            *text = from;
        }
    };
    fill(&mut config.user, own.user);
    fill(&mut config.working_dir, own.working_dir);
    fill(&mut config.stop_signal, own.stop_signal);
    config.exposed_ports.extend(own.exposed_ports);
    config.volumes.extend(own.volumes);
    let name = |entry: &str| entry.split('=').next().unwrap_or_default().to_owned();
    for entry in own.env {
        if !config.env.iter().any(|have| name(have) == name(&entry)) {
            config.env.push(entry);
        }
    }
    for (key, value) in own.labels {
        config.labels.entry(key).or_insert(value);
    }
    if config.entrypoint.is_none() {
        config.cmd = config.cmd.take().or(own.cmd);
        config.entrypoint = own.entrypoint;
    }
    config.healthcheck = config.healthcheck.take().or(own.healthcheck);
    config.shell = config.shell.take().or(own.shell);
}

fn healthcheck(spec: &HealthSpec) -> Option<Healthcheck> {
    let test = match spec.test.as_ref()? {
        HealthCommand::Disabled => vec!["NONE".to_owned()],
        HealthCommand::Shell(command) => vec!["CMD-SHELL".to_owned(), command.clone()],
        HealthCommand::Exec(words) => {
            std::iter::once("CMD".to_owned()).chain(words.iter().cloned()).collect()
        }
    };
    let ns = |value: Option<u64>| value.map_or(0, |value| i64::try_from(value).unwrap_or(i64::MAX));
    Some(Healthcheck {
        test,
        interval: ns(spec.interval_ns),
        timeout: ns(spec.timeout_ns),
        start_period: ns(spec.start_period_ns),
        start_interval: ns(spec.start_interval_ns),
        retries: spec.retries.map_or(0, i64::from),
    })
}
