//! The command `nomad-events`: Nomad's events into Loki, in one process.

use std::process::ExitCode;

/// Most of an event's cost is making and dropping small pieces of memory.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    nomad_events::cli::main()
}
