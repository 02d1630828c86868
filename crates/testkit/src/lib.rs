//! Test support: roots of their own, a binary to drive, base images, and the leak check.

#![forbid(unsafe_code)]
