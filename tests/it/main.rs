//! Integration tests.

mod programs;
