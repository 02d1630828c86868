//! What commands print: tables, listings, sizes, archives, progress.

pub mod file;
pub mod human;
pub mod json;
pub mod listing;
pub mod pull;
pub mod push;
pub mod screen;
pub mod steps;
pub mod table;
