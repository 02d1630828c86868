//! Dockerfile to graph to cache keys to layers.

#![forbid(unsafe_code)]
