//! Prints what happens in a cluster: `cargo run --example tail` with `NOMAD_ADDR` and `NOMAD_TOKEN` set as for Nomad itself.

use futures_util::StreamExt;
use nomad_events::options::process_env;
use nomad_events::{Delivery, EventStream, Item, Options};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let settings = Options::default().settings(process_env)?;
    let mut stream = EventStream::follow(settings);
    let acknowledger = stream.acknowledger();

    while let Some(item) = stream.next().await {
        match item {
            Item::Batch(batch) => {
                for event in &batch.events {
                    println!(
                        "{} {} {} {}",
                        event.index, event.topic, event.event_type, event.key
                    );
                }
                acknowledger.resolve(batch.id, Delivery::Delivered);
            }
            Item::Notice(notice) => println!("# {:?}", notice.kind),
            _ => {}
        }
    }
    Ok(())
}
