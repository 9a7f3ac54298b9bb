//! Integration tests.

// `cfg(test)` tells clippy that what is not a test itself may unwrap, too.
#[cfg(test)]
mod programs;
