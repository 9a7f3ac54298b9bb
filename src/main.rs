//! The command `nomad-events`.

fn main() {}
