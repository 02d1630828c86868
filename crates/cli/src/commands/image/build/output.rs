//! Where the result of a build goes besides the images here: `--push` and `--output`.

use std::sync::Arc;

use image::{Compress, CompressionMethod, PushOptions, SilentPush};
use oci::Reference;

use crate::commands::Ended;
use crate::commands::image::push::{compression, push};
use crate::context::{Context, note};
use crate::flags::value::{FlagsError, reference, wrong};
use crate::output::push::Lines;

const FLAG: &str = "--output";

/// What is done with the image once it is built.
#[derive(Default)]
pub struct Outputs {
    /// Further names of the image.
    pub names: Vec<String>,
    push: Option<Compress>,
}

impl Outputs {
    /// Reads every `--output`, and `--push`, which is short for `--output type=registry`.
    pub fn parse(outputs: &[String], push: bool) -> Result<Self, FlagsError> {
        let mut all = Self { names: Vec::new(), push: push.then_some(Compress::Usual) };
        outputs.iter().try_for_each(|text| all.add(text))?;
        Ok(all)
    }

    /// `type=image|docker|registry[,name=a:b][,push=true][,compression=gzip|zstd|uncompressed][,compression-level=3]`.
    fn add(&mut self, text: &str) -> Result<(), FlagsError> {
        let (mut kind, mut push) = (None, None);
        let (mut method, mut level) = (None, None);
        for field in text.split(',') {
            match field.split_once('=') {
                Some(("type", value)) => kind = Some(value),
                Some(("name", value)) => self.names.push(value.to_owned()),
                Some(("push", value)) => push = Some(value),
                Some(("compression", value)) => method = Some(value),
                Some(("compression-level", value)) => {
                    level = Some(value.parse().map_err(|_| wrong(FLAG, text, "its level is not a number"))?);
                }
                _ => {
                    return Err(wrong(
                        FLAG,
                        text,
                        "must be type=image|docker|registry[,name=a:b][,push=true]",
                    ));
                }
            }
        }
        let push = match (kind, push) {
            (Some("registry"), None | Some("true")) | (Some("image"), Some("true")) => true,
            (Some("image" | "docker"), None | Some("false")) => false,
            (Some(kind @ ("local" | "tar" | "oci")), _) => {
                let instead = "build the image, then use `hull save`, or `hull create` and `hull export`";
                return Err(FlagsError::Unsupported { flag: format!("--output type={kind}"), instead });
            }
            _ => return Err(wrong(FLAG, text, "must be type=image|docker|registry[,name=a:b][,push=true]")),
        };
        let method = match method {
            None => None,
            Some("gzip") => Some(Some(CompressionMethod::Gzip)),
            Some("zstd") => Some(Some(CompressionMethod::Zstd)),
            Some("zstd:chunked") => Some(Some(CompressionMethod::ZstdChunked)),
            Some("uncompressed") => Some(None),
            Some(_) => {
                return Err(wrong(
                    FLAG,
                    text,
                    "its compression must be gzip, zstd, zstd:chunked or uncompressed",
                ));
            }
        };
        let compress = compression(method, level)?;
        if !push && compress != Compress::Usual {
            return Err(wrong(FLAG, text, "compression is for what is pushed"));
        }
        if push {
            self.push = Some(compress);
        }
        Ok(())
    }

    /// The references to push; all there are.
    ///
    /// # Errors
    /// [`FlagsError`] when something is to be pushed that has no name.
    pub fn references(&self, tags: &[String]) -> Result<Vec<Reference>, FlagsError> {
        if self.push.is_none() {
            return Ok(Vec::new());
        }
        let names = || tags.iter().chain(&self.names);
        if names().next().is_none() {
            let instead = "tag is needed when pushing to registry: name the image with `-t`";
            return Err(FlagsError::Unsupported { flag: "--push without a name".to_owned(), instead });
        }
        names().map(|name| reference(name)).collect()
    }

    /// Pushes what is to be pushed.
    pub fn push(&self, context: &Context, references: &[Reference], quiet: bool) -> Result<(), Ended> {
        let Some(compression) = self.push else { return Ok(()) };
        for name in references {
            let progress = if quiet { None } else { Some(Lines::on_stderr()) };
            let progress = progress.map_or_else(|| Arc::new(SilentPush) as _, |lines| Arc::new(lines) as _);
            let options = PushOptions { compression, progress, ..PushOptions::default() };
            if !quiet {
                note(format_args!("The push refers to repository [{}]", name.name()));
            }
            let line = push(context, name, &options)?;
            if !quiet {
                note(line);
            }
        }
        Ok(())
    }
}
