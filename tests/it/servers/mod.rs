//! A real Nomad and a real Loki for the tests, and an oracle that owes nothing to the engine.
//!
//! [`nomad`] and [`loki`] start the servers, [`scenario`] makes things happen, [`wire`] reads the event stream with a plain
//! socket, [`expect`] computes from those bytes what Loki must hold, and [`judge`] compares.

mod build;
mod process;

pub(crate) mod cluster;
pub(crate) mod expect;
pub(crate) mod http;
pub(crate) mod judge;
pub(crate) mod loki;
pub(crate) mod nomad;
pub(crate) mod scenario;
pub(crate) mod stand_in;
pub(crate) mod wire;

pub(crate) use process::{Leftover, Process, folder, without_cluster};

use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tokio::time::Instant;

/// Pause between two looks at a condition.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

/// Waits until `probe` gives something; panics with `what` and the last thing that `probe` said when `limit` has passed.
///
/// `probe` says in its error what it still misses.
pub(crate) fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut probe: impl FnMut() -> Result<T, String>,
) -> T {
    let started = Instant::now();
    loop {
        match probe() {
            Ok(found) => return found,
            Err(missing) if started.elapsed() > limit => {
                panic!("{what}: not within {limit:?}: {missing}")
            }
            // Another process cannot wake us, so look again soon.
            Err(_) => std::thread::park_timeout(POLL_INTERVAL),
        }
    }
}

/// Nanoseconds since 1970.
pub(crate) fn now_nanos() -> i64 {
    let since_1970 = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .expect("the clock is past 1970");
    i64::try_from(since_1970.as_nanos()).expect("the clock is before 2262")
}

/// Ports of the loopback interface that nothing listens on, all different.
///
/// Another process can take one before the server does; a server that then fails to start is started again with others.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners: [TcpListener; N] = std::array::from_fn(|_| {
        TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port on loopback")
    });
    listeners.map(|listener| listener.local_addr().expect("a bound socket").port())
}
