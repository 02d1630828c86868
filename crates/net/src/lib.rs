//! Networks, endpoints, the packet filter, published ports and the name service.

#![forbid(unsafe_code)]
