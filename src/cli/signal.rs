//! Requests to stop: the first one is for draining, the second one for leaving.

use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep_until};
use tracing::{info, warn};

use super::exit::SECOND_SIGNAL;

/// Signals this soon after the first are the same request: GNU `timeout` signals its child and then their whole group, and a
/// terminal's Ctrl-C comes beside what a wrapper passes on. Nobody asks twice that quickly.
const SAME_REQUEST: Duration = Duration::from_millis(300);

/// Listens for SIGTERM and Ctrl-C from now on; the future ends with the first.
///
/// # Errors
///
/// When the handlers cannot be set.
pub(super) fn stop() -> std::io::Result<impl Future<Output = ()> + Send + 'static> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        either(&mut terminate, &mut interrupt).await;
        let asked = Instant::now();
        info!("stopping; once more to leave at once");
        tokio::spawn(async move {
            let mut repeats = std::pin::pin!(sleep_until(asked + SAME_REQUEST));
            loop {
                tokio::select! {
                    // What has come by then is taken out, so that it is not found afterwards.
                    biased;
                    () = either(&mut terminate, &mut interrupt) => {}
                    () = &mut repeats => break,
                }
            }
            either(&mut terminate, &mut interrupt).await;
            warn!("left at once, what was under way is not waited for");
            std::process::exit(SECOND_SIGNAL);
        });
    })
}

async fn either(terminate: &mut Signal, interrupt: &mut Signal) {
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
}
