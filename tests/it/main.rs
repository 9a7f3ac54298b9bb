//! Integration tests, one binary.

// `cfg(test)` tells clippy that what is not a test itself may unwrap, too.
#[cfg(test)]
mod commands;
#[cfg(test)]
mod documentation;
#[cfg(test)]
mod following;
#[cfg(test)]
mod programs;
#[cfg(test)]
mod real;
#[cfg(test)]
mod servers;
