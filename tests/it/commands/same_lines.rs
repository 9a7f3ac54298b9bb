//! The talk's configuration and the recommended one: two ways to the same lines.

use std::collections::BTreeSet;

use bytes::Bytes;
use nomad_events::testing::loki::Entry;

use super::{Place, arrived, events_at, expected, fakes, run_command, sample, until_events};

/// What a shipped configuration makes of these lines.
async fn lines_of(config: &str, lines: &[Bytes]) -> BTreeSet<Entry> {
    let (nomad, loki) = fakes(lines).await;
    let mut run = Place::new().start(&mut run_command(config, &nomad, &loki));
    until_events(&loki, expected(lines).len()).await;
    assert_eq!(run.stop().await, 0, "{config}");
    events_at(&loki)
}

#[tokio::test]
async fn the_pipeline_of_the_talk_gives_the_lines_of_the_recommended_one() {
    let lines = sample();
    let (recommended, talk) = tokio::join!(
        lines_of("config/vector.toml", &lines),
        lines_of("config/talk.toml", &lines)
    );
    assert_eq!(arrived(&recommended), expected(&lines));
    // Labels, times, lines and structured metadata.
    assert_eq!(recommended, talk);
}
