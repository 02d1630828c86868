//! Importing a root filesystem as an image of one layer.

use std::io::Read;

use diag::{Class, Diagnose};
use oci::Reference;
use oci::image::{History, ImageConfig, Platform};
use store::StoreError;

use crate::create::now_text;
use crate::{ChangeError, CreateError, Image, Images, LayerError, apply_change};

/// What the image is made with, besides the archive.
#[derive(Clone, Debug, Default)]
pub struct ImportOptions {
    /// Instructions such as `CMD ["sh"]` or `ENV A=b`, in order.
    pub changes: Vec<String>,
    /// The history's comment.
    pub message: String,
    pub reference: Option<Reference>,
    /// This host's when `None`.
    pub platform: Option<Platform>,
}

/// An archive could not be imported.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    #[error(transparent)]
    Change(#[from] ChangeError),
    #[error(transparent)]
    Layer(#[from] LayerError),
    #[error(transparent)]
    Create(#[from] CreateError),
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Diagnose for ImportError {
    fn class(&self) -> Class {
        match self {
            Self::Change(e) => e.class(),
            Self::Layer(e) => e.class(),
            Self::Create(e) => e.class(),
            Self::Store(e) => e.class(),
        }
    }

    fn hint(&self) -> Option<String> {
        match self {
            Self::Change(e) => e.hint(),
            Self::Layer(e) => e.hint(),
            Self::Create(e) => e.hint(),
            Self::Store(e) => e.hint(),
        }
    }
}

impl Images<'_> {
    /// Makes an image of the tar archive `input`, compressed or not.
    ///
    /// # Errors
    /// [`ImportError`]; nothing is left then.
    pub fn import(
        &self,
        input: &mut (dyn Read + Send),
        options: &ImportOptions,
    ) -> Result<Image, ImportError> {
        let mut config = ImageConfig { created: Some(now_text()), ..ImageConfig::default() };
        let platform = options.platform.clone().unwrap_or_else(host_platform);
        (config.architecture, config.os, config.variant) =
            (platform.architecture, platform.os, platform.variant);
        // Before the archive is read, which may take long.
        for change in &options.changes {
            apply_change(&mut config.config, change)?;
        }
        config.history.push(History {
            created: config.created.clone(),
            comment: options.message.clone(),
            ..History::default()
        });
        let _lock = self.store.lock_shared()?;
        let _making = self.store.tmp_dir("making")?;
        let layer = self.apply_layer(input, None, None)?;
        Ok(self.create_image(config, &[layer], options.reference.as_slice())?)
    }
}

/// What images made on this host run on.
pub(crate) fn host_platform() -> Platform {
    let architecture = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        "x86" => "386",
        "powerpc64" => "ppc64le",
        other => other,
    };
    Platform { architecture: architecture.to_owned(), os: "linux".to_owned(), ..Platform::default() }
}
