//! Signal numbers, names and masks.
