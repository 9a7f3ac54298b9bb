//! Stand-ins for the servers on both sides: what our tests and the command `demo` talk to instead of a cluster.

/// A Loki that takes pushes, remembers them and fails on demand.
pub mod loki;
