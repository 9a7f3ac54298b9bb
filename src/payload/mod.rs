//! What is inside an event: when it happened, what must not leave, and the payload as a tree.

#[cfg(feature = "value")]
pub mod redact;
pub mod time;
#[cfg(feature = "value")]
pub mod value;
