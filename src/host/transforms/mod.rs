//! The transforms: what happens to an event between a source and a sink. Semantics are those of Vector 0.56.0.

pub(crate) mod condition;
pub(crate) mod filter;
mod literals;
pub(crate) mod program;
pub(crate) mod remap;
pub(crate) mod route;

#[cfg(test)]
mod tests;
