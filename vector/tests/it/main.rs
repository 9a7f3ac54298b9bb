//! The built `nomad-vector`, from outside.

mod commands;
mod host;
mod memory;
mod metrics;
mod parity;
mod reload;
mod stop;
