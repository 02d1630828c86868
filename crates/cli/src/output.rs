//! What commands print: tables, listings, sizes.

pub mod human;
pub mod listing;
pub mod table;
