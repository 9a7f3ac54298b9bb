//! Stand-ins for the servers on both sides: what our tests and the command `demo` talk to instead of a cluster.

pub mod loki;
