//! `/containers`.

pub mod attach;
pub mod control;
pub mod create;
pub mod files;
pub mod list;
pub mod logs;
pub mod wait;
pub mod watch;
