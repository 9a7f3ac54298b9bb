//! `nomad-events run`: a configuration, until it is stopped.

use anyhow::Context as _;
use tracing::{error, info, warn};

use super::args::RunArgs;
use super::exit::Exit;
use super::signal;
use crate::host::config::{Config, disk_files, process_env};
use crate::host::topology::{Ended, RunSummary, Topology};

pub(super) async fn run(args: &RunArgs) -> anyhow::Result<Exit> {
    let stop = signal::stop().context("cannot listen for signals")?;
    let paths = args.forms.with(&args.config);
    let (config, warnings) = match Config::load_all(&paths, &process_env, &disk_files) {
        Ok(loaded) => loaded,
        Err(errors) => {
            eprintln!("{errors}");
            return Ok(Exit::Config);
        }
    };
    for warning in &warnings.0 {
        warn!("{warning}");
    }
    let mut topology = match Topology::build_saving(config) {
        Ok(topology) => topology,
        Err(errors) => {
            eprintln!("{errors}");
            return Ok(Exit::Config);
        }
    };
    for source in topology.sources() {
        info!(component_id = source.id, "source with {}", source.settings);
    }
    let without = topology.sources().iter();
    let without: Vec<&str> = without
        .filter(|source| source.settings.folder().is_none())
        .map(|source| source.id.as_str())
        .collect();
    if !without.is_empty() {
        warn!(
            sources = ?without,
            "the position is not saved, so a restart begins at `start_at` again and may miss events; set `data_dir` to a folder for it"
        );
    }
    if let Err(errors) = topology.listen().await {
        eprintln!("{errors}");
        return Ok(Exit::Config);
    }
    Ok(conclude(&topology.run(stop).await))
}

/// Says how a run ended, and gives the exit code for it.
pub(super) fn conclude(summary: &RunSummary) -> Exit {
    match &summary.ended {
        Ended::Stopped if summary.unanswered_batches > 0 => {
            warn!(
                batches = summary.unanswered_batches,
                sinks = ?summary.undrained_sinks,
                "stopped before every event was answered for"
            );
            Exit::Unanswered
        }
        Ended::Stopped => {
            info!("stopped, everything that was taken was answered for");
            Exit::Success
        }
        // A closed pipe is how a reader says that it has seen enough.
        Ended::NoSinkLeft => Exit::Success,
        Ended::NoSourceLeft => {
            error!("the source has ended, which is a defect");
            Exit::Failure
        }
        Ended::Failed(component) => {
            error!(component, "ended by a defect");
            Exit::Failure
        }
    }
}
