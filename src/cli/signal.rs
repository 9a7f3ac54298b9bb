//! Requests to stop: the first one is for draining, the second one for leaving.

use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use super::exit::SECOND_SIGNAL;

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
        info!("stopping; once more to leave at once");
        tokio::spawn(async move {
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
