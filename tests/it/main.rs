//! Integration tests.

mod real;
mod servers;
