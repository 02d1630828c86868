//! nf_tables transactions over netlink, without the `nft` program.
