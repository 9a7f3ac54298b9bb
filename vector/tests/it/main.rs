//! The built `nomad-vector`, from outside.

mod commands;
mod host;
mod memory;
mod metrics;
mod reload;
mod stop;
