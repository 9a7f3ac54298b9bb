//! The log: how much of it, and in which form.

use serde_json::Value;

use super::{fakes, nomad_events, start};
use crate::servers::folder;

/// Logged with level `info` when a stream is followed.
const FOLLOWING: &str = "following the event stream";

/// What `tail` has logged when it has been connected for a moment; its own level is `error`.
async fn log(arguments: &[&str], format: Option<&str>) -> String {
    let (nomad, _) = fakes(&[]).await;
    let mut command = nomad_events(arguments);
    command.env("NOMAD_ADDR", nomad.url());
    if let Some(format) = format {
        command.env("NOMAD_EVENTS_LOG_FORMAT", format);
    }
    let mut tail = start(folder("cli"), &mut command);
    // The notice is shown whatever is logged, and after it.
    tail.until_errors("connected to http").await;
    assert_eq!(tail.stop().await, 0);
    tail.errors()
}

fn following(log: &str) -> Option<&str> {
    log.lines().find(|line| line.contains(FOLLOWING))
}

#[tokio::test]
async fn each_verbose_logs_more() {
    for (arguments, expected) in [
        (&["tail"][..], false),
        (&["tail", "-v"], false),
        (&["tail", "-v", "--verbose"], true),
        (&["-vv", "tail"], true),
    ] {
        let log = log(arguments, None).await;
        let line = following(&log);
        assert_eq!(line.is_some(), expected, "{arguments:?}: {log}");
        assert!(line.is_none_or(|line| line.contains(" INFO ")), "{log}");
    }
}

#[tokio::test]
async fn the_log_is_json_where_that_is_wanted() {
    for (arguments, format) in [
        (&["--log-format", "json", "tail", "-vv"][..], None),
        (&["tail", "-vv"], Some("json")),
        // What is said on the command line wins.
        (&["tail", "-vv", "--log-format", "json"], Some("text")),
    ] {
        let log = log(arguments, format).await;
        let line: Value = serde_json::from_str(following(&log).unwrap()).unwrap();
        assert_eq!(line["level"], "INFO");
        assert_eq!(line["message"], FOLLOWING);
        assert!(line["timestamp"].is_string() && line["endpoint"].is_string());
    }
}
