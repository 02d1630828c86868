//! Creates, limits, freezes, measures and kills control groups, v1 (hybrid) and v2.

#![forbid(unsafe_code)]
