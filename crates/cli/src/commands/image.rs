//! Images: the commands of `hull image`, most of which also stand alone.

use super::{Command, Section, anywhere, run as row};

pub mod bootstrap;
pub mod build;
pub mod check;
pub mod copy;
pub mod history;
pub mod list;
pub mod load;
pub mod mount;
pub mod pull;
pub mod push;
pub mod remove;
pub mod tag;
pub mod tree;
pub mod verify;

/// The commands of the group.
pub static GROUP: &[Command] = &[
    row(
        "bootstrap",
        Section::Plain,
        "Make a base image from the distribution's own packages",
        bootstrap::run,
    ),
    row("build", Section::Plain, ABOUT_BUILD, build::run),
    row("check", Section::Plain, "Check that images are complete and undamaged", check::run),
    row("copy", Section::Plain, "Copy an image between registries, archives and hosts", copy::run),
    anywhere("history", Section::Plain, ABOUT_HISTORY, history::run),
    anywhere("import", Section::Plain, ABOUT_IMPORT, load::import),
    anywhere("inspect", Section::Plain, "Display detailed information on one or more images", list::inspect),
    anywhere("load", Section::Plain, ABOUT_LOAD, load::load),
    anywhere("ls", Section::Plain, ABOUT_LIST, list::run),
    anywhere("list", Section::Hidden, ABOUT_LIST, list::run),
    row("mount", Section::Plain, "Mount an image's root filesystem read-only", mount::mount),
    anywhere("prune", Section::Plain, "Remove unused images", remove::prune),
    anywhere("pull", Section::Plain, ABOUT_PULL, pull::run),
    anywhere("push", Section::Plain, ABOUT_PUSH, push::run),
    anywhere("rm", Section::Plain, ABOUT_REMOVE, remove::run),
    anywhere("remove", Section::Hidden, ABOUT_REMOVE, remove::run),
    anywhere("save", Section::Plain, ABOUT_SAVE, load::save),
    anywhere("tag", Section::Plain, ABOUT_TAG, tag::run),
    row("tree", Section::Plain, "List images with what they have for each platform", tree::run),
    row("unmount", Section::Plain, "Unmount images", mount::unmount),
    row("umount", Section::Hidden, "Unmount images", mount::unmount),
    row("verify", Section::Plain, "Verify the signatures of an image at its registry", verify::run),
];

/// The commands of `hull builder`.
pub static BUILDER: &[Command] = &[
    row("build", Section::Plain, ABOUT_BUILD, build::run),
    anywhere("prune", Section::Plain, "Remove build cache", remove::prune_build_cache),
];

pub const ABOUT_BUILD: &str = "Build an image from a Dockerfile";
pub const ABOUT_HISTORY: &str = "Show the history of an image";
pub const ABOUT_IMPORT: &str = "Import the contents from a tarball to create a filesystem image";
pub const ABOUT_LIST: &str = "List images";
pub const ABOUT_LOAD: &str = "Load an image from a tar archive or STDIN";
pub const ABOUT_PULL: &str = "Download an image from a registry";
pub const ABOUT_PUSH: &str = "Upload an image to a registry";
pub const ABOUT_REMOVE: &str = "Remove one or more images";
pub const ABOUT_SAVE: &str = "Save one or more images to a tar archive (streamed to STDOUT by default)";
pub const ABOUT_TAG: &str = "Create a tag TARGET_IMAGE that refers to SOURCE_IMAGE";
