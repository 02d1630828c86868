//! `push`: the images of services that are built.

use diag::Failure;
use image::PushOptions as ImagePushOptions;
use oci::Reference;

use super::{Kind, Object, Stack, Status};
use crate::model::Service;

/// `push`.
#[derive(Clone, Debug, Default)]
pub struct PushOptions {
    pub services: Vec<String>,
    pub include_deps: bool,
    /// Go on when an image cannot be pushed.
    pub ignore_failures: bool,
}

impl Stack<'_> {
    /// Pushes the images of services with a build section and a name of their own, and the other tags these have.
    pub fn push(&self, options: &PushOptions) -> Result<(), Failure> {
        let names = match options.include_deps || options.services.is_empty() {
            true => self.project.selection(&options.services)?,
            false => options.services.iter().cloned().collect(),
        };
        for name in &names {
            let service = self.project.service(name)?;
            for image in self.pushed_names(service) {
                let object = Object { kind: Kind::Image, name: image };
                self.reporter.progress(object, Status::Doing("Pushing"));
                match self.push_image(image) {
                    Ok(()) => self.reporter.progress(object, Status::Done("Pushed")),
                    Err(failure) => {
                        self.reporter.progress(object, Status::Failed(&failure.error().to_string()));
                        if !options.ignore_failures {
                            return Err(failure);
                        }
                    }
                }
            }
        }
        Ok(())
    }

    /// The names of a service's image that mean a registry; none for an image that is only used, or has no name.
    fn pushed_names<'s>(&self, service: &'s Service) -> Vec<&'s str> {
        let Some(build) = &service.build else { return Vec::new() };
        let own = (!service.image_is_implied(self.project)).then_some(service.image.as_str());
        let others = build.tags.iter().map(String::as_str).filter(|tag| Some(*tag) != own);
        own.into_iter().chain(others).collect()
    }

    fn push_image(&self, image: &str) -> Result<(), Failure> {
        let reference = Reference::parse(image).map_err(image::ResolveError::from)?;
        self.engine.image_push(self.engine.registry()?, &reference, &ImagePushOptions::default())?;
        Ok(())
    }
}
