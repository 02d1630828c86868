//! Containers, exec, volumes, networks, events and recovery: the calls every face makes.

#![forbid(unsafe_code)]
