//! The built `nomad-vector`, from outside.

mod commands;
mod host;
mod memory;
mod metrics;
mod parity;
mod positions;
mod reload;
mod stop;
