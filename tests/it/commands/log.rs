//! The log: how much of it, and in which form.

use serde_json::Value;

use super::{ANSWERED, finished, nomad_events};

#[tokio::test]
async fn more_is_logged_with_each_verbose_and_as_json_where_that_is_wanted() {
    let (code, _, errors) = finished(&mut nomad_events(&["demo"])).await;
    assert_eq!(code, 0);
    assert!(!errors.contains(ANSWERED), "{errors}");

    let (_, _, errors) = finished(&mut nomad_events(&["demo", "-v"])).await;
    let line = errors.lines().find(|line| line.contains(ANSWERED)).unwrap();
    assert!(line.contains(" INFO "), "{line}");

    let mut by_environment = nomad_events(&["demo", "--verbose"]);
    by_environment.env("NOMAD_EVENTS_LOG_FORMAT", "json");
    for command in [
        &mut nomad_events(&["--log-format", "json", "demo", "-vv"]),
        &mut by_environment,
    ] {
        let (_, _, errors) = finished(command).await;
        let line = errors.lines().find(|line| line.contains(ANSWERED)).unwrap();
        let line: Value = serde_json::from_str(line).unwrap();
        assert_eq!(
            (&line["level"], &line["message"]),
            (&Value::from("INFO"), &Value::from(ANSWERED))
        );
        assert!(line["timestamp"].is_string());
    }
}
