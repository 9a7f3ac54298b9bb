//! Integration tests, one binary.

// `cfg(test)` tells clippy that what is not a test itself may unwrap, too.
#[cfg(test)]
#[path = "../../src/tls/tests/certificates.rs"]
mod certificates;
#[cfg(test)]
mod commands;
#[cfg(test)]
mod crashes;
#[cfg(test)]
mod documentation;
#[cfg(test)]
mod following;
#[cfg(test)]
mod parity;
#[cfg(test)]
mod programs;
#[cfg(test)]
mod real;
#[cfg(test)]
mod servers;
#[cfg(test)]
mod transport;
