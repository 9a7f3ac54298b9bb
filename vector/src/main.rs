//! Vector, with the source `nomad_events` compiled in.

use std::process::ExitCode;
use std::time::Duration;

// Components register themselves; naming the crate is what makes the linker keep the registration.
use nomad_vector as _;
use vector::app::Application;
use vector::extra_context::ExtraContext;

/// `EX_UNAVAILABLE` of sysexits.h, which Vector's own program ends with when it was ended by a signal.
const UNAVAILABLE: u8 = 69;

/// How long a thread is waited for at the end that something occupies, such as a disk that hangs. The sources have ended by
/// then, and have had their time for it.
const LAST_WORK: Duration = Duration::from_secs(1);

fn main() -> ExitCode {
    #[cfg(all(unix, feature = "pipeline"))]
    track_allocations();
    // As `Application::run`, which would wait for such a thread without an end.
    let (runtime, app) = Application::prepare_start(ExtraContext::default())
        .unwrap_or_else(|code| std::process::exit(code));
    let status = runtime.block_on(app.run());
    runtime.shutdown_timeout(LAST_WORK);
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    ExitCode::from(code.unwrap_or(UNAVAILABLE))
}

/// `--allocation-tracing`, which takes the place of the allocator and so belongs to the program, not to Vector's library.
#[cfg(all(unix, feature = "pipeline"))]
fn track_allocations() {
    use std::sync::atomic::Ordering;

    use vector::internal_telemetry::allocations::{
        REPORTING_INTERVAL_MS, TRACK_ALLOCATIONS, init_allocation_tracing,
    };

    // What is wrong with the arguments is told by the application.
    let Ok(options) = vector::cli::Opts::get_matches() else {
        return;
    };
    let interval = options.root.allocation_tracing_reporting_interval_ms;
    REPORTING_INTERVAL_MS.store(interval, Ordering::Relaxed);
    if options.root.allocation_tracing {
        TRACK_ALLOCATIONS.store(true, Ordering::Relaxed);
        init_allocation_tracing();
    }
}
