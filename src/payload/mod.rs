//! What is inside an event: when it happened, what must not leave, and the payload as a tree.

pub(crate) mod mask;
#[cfg(feature = "value")]
mod redact;
pub(crate) mod text;
pub mod time;
#[cfg(feature = "value")]
mod tree;
#[cfg(feature = "value")]
pub mod value;
#[cfg(feature = "value")]
pub mod wanted;
