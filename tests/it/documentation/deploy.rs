//! The compose file, the Nomad job and the systemd unit, as far as they can be read without running them.

use std::collections::BTreeSet;

use serde_yaml::Value;

use nomad_events::options::DEFAULT_STOP_TIMEOUT_SECS;

use super::{root, text_of};

const COMPOSE: &str = "docker-compose.yml";
/// The job that runs the source on the cluster.
pub(crate) const JOB: &str = "deploy/nomad/nomad-events.nomad.hcl";
const UNIT: &str = "deploy/systemd/nomad-vector.service";

fn compose() -> Value {
    let mut file: Value = serde_yaml::from_str(&text_of(COMPOSE)).expect("YAML");
    file.apply_merge().expect("merge keys that name mappings");
    file
}

/// Each service with its name.
fn services(file: &Value) -> impl Iterator<Item = (&str, &Value)> {
    let services = file["services"].as_mapping().expect("services");
    services
        .iter()
        .map(|(name, service)| (name.as_str().expect("a name"), service))
}

/// The texts of a list; of what is not there, none.
fn texts(list: &Value) -> Vec<&str> {
    let items = list.as_sequence().map(Vec::as_slice).unwrap_or_default();
    items.iter().map(|item| item.as_str().unwrap()).collect()
}

/// What stands between two marks, the first time.
pub(crate) fn between<'t>(text: &'t str, before: &str, after: &str) -> &'t str {
    let (_, rest) = text
        .split_once(before)
        .unwrap_or_else(|| panic!("there is no {before:?}"));
    let (between, _) = rest
        .split_once(after)
        .unwrap_or_else(|| panic!("there is no {after:?} behind {before:?}"));
    between
}

fn seconds(text: &str) -> u64 {
    let number = text.trim().trim_end_matches('s');
    number
        .parse()
        .unwrap_or_else(|_| panic!("{text:?} is no number of seconds"))
}

#[test]
fn images_of_the_demo_are_pinned_to_what_the_tests_run() {
    let file = compose();
    let mut pulled = BTreeSet::new();
    for (name, service) in services(&file) {
        let image = service["image"].as_str().expect("an image");
        if service["build"].is_null() {
            let (_, tag) = image.split_once(':').expect("a tag");
            assert_eq!(tag.matches('.').count(), 2, "{name}: {image}");
            pulled.insert(image.to_owned());
        }
    }
    for (image, module, prefix) in [
        (
            "hashicorp/nomad",
            "tests/servers/nomad/go.mod",
            "github.com/hashicorp/nomad v",
        ),
        (
            "grafana/loki",
            "tests/servers/loki/go.mod",
            "github.com/grafana/loki/v3 v",
        ),
    ] {
        let modules = text_of(module);
        let version = between(&modules, prefix, "\n");
        let wanted = format!("{image}:{version}");
        assert!(pulled.contains(&wanted), "{wanted} in {pulled:?}");
    }
}

#[test]
fn the_demo_is_reached_from_this_machine_only() {
    let file = compose();
    let mut ports = 0;
    for (name, service) in services(&file) {
        assert!(service["network_mode"].is_null(), "{name}");
        for port in texts(&service["ports"]) {
            ports += 1;
            assert!(port.starts_with("127.0.0.1:"), "{name}: {port}");
        }
    }
    assert_eq!(ports, 3, "Nomad, Loki and Grafana");
}

#[test]
fn what_the_demo_mounts_and_builds_exists() {
    let file = compose();
    let dockerfile = text_of("Dockerfile");
    let mut used = BTreeSet::new();
    for (name, service) in services(&file) {
        for volume in texts(&service["volumes"]) {
            let source = volume.split(':').next().unwrap_or(volume);
            if let Some(path) = source.strip_prefix("./") {
                assert!(root().join(path).exists(), "{name}: {path}");
                assert!(volume.ends_with(":ro"), "{name}: {volume}");
            } else {
                used.insert(source.to_owned());
            }
        }
        if let Some(target) = service["build"]["target"].as_str() {
            assert!(dockerfile.contains(&format!(" AS {target}\n")), "{target}");
        }
    }
    let volumes = file["volumes"].as_mapping().expect("volumes");
    let declared: BTreeSet<String> = volumes
        .keys()
        .map(|name| name.as_str().unwrap().to_owned())
        .collect();
    assert_eq!(used, declared);
}

#[test]
fn services_wait_only_for_what_can_come_true() {
    let file = compose();
    let names: BTreeSet<&str> = services(&file).map(|(name, _)| name).collect();
    let mut waits = 0;
    for (name, service) in services(&file) {
        let Some(others) = service["depends_on"].as_mapping() else {
            continue;
        };
        for (other, how) in others {
            waits += 1;
            let other = other.as_str().unwrap();
            assert!(names.contains(other), "{name} waits for {other}");
            let awaited = &file["services"][other];
            // A service with a profile may not be there.
            assert!(awaited["profiles"].is_null(), "{name} waits for {other}");
            match how["condition"].as_str().unwrap() {
                "service_healthy" => {
                    let check = texts(&awaited["healthcheck"]["test"]);
                    assert_eq!(check.first(), Some(&"CMD"), "{other}");
                }
                "service_completed_successfully" => {
                    assert!(awaited["restart"].is_null(), "{other} never ends");
                }
                condition => panic!("{name} waits for {other}: {condition}"),
            }
        }
    }
    assert!(waits > 4, "only {waits} found: the search is broken");
}

#[test]
fn one_program_runs_by_default_and_the_other_one_by_its_profile() {
    let file = compose();
    let profiles = |service: &str| texts(&file["services"][service]["profiles"]).join(",");
    let default = text_of(".env");
    let default = between(&default, "\nCOMPOSE_PROFILES=", "\n");
    assert_eq!(profiles("nomad-vector"), default);
    assert_eq!(profiles("nomad-events"), "embedded");
    let both = ["nomad-vector", "nomad-events"].map(|name| {
        let mut service = file["services"][name].clone();
        let fields = service.as_mapping_mut().unwrap();
        for own in ["profiles", "image", "build"] {
            assert!(fields.remove(own).is_some(), "{name}: {own}");
        }
        service
    });
    assert_eq!(both[0], both[1], "nothing else is different");
}

#[test]
fn supervisors_give_a_stop_more_time_than_it_may_take() {
    let job = text_of(JOB);
    let unit = text_of(UNIT);
    for (limit, kill) in [
        (
            between(&job, "\"--graceful-shutdown-limit-secs\", \"", "\""),
            between(&job, "kill_timeout = \"", "\""),
        ),
        (
            between(&unit, "--graceful-shutdown-limit-secs ", "\n"),
            between(&unit, "TimeoutStopSec=", "\n"),
        ),
    ] {
        assert!(DEFAULT_STOP_TIMEOUT_SECS < seconds(limit), "{limit}");
        assert!(seconds(limit) < seconds(kill), "{limit}, {kill}");
    }
}

/// Both add lines after this one, and would leave out the token in silence if it were written differently.
#[test]
fn the_shipped_configuration_has_the_line_that_job_and_unit_look_for() {
    let configuration = text_of("config/vector.toml");
    let line = "\ntype = \"nomad_events\"\n";
    assert_eq!(configuration.matches(line).count(), 1);
    assert!(text_of(JOB).contains(r#""type = \"nomad_events\"\n""#));
    assert!(text_of("deploy/systemd/README.md").contains(r#"/^type = "nomad_events"$/"#));
    // The delimiters of Nomad's template.
    for delimiter in ["<<<", ">>>"] {
        assert!(!configuration.contains(delimiter), "{delimiter}");
    }
}
