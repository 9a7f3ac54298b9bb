//! A minute in the life of a cluster: what the talk shows, in an order that is the same every time.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::nomad::{NomadServer, text};

const WEB: &str = include_str!("../../servers/jobs/web.nomad.hcl");
const REPORT: &str = include_str!("../../servers/jobs/report.nomad.hcl");
const FLAKY: &str = include_str!("../../servers/jobs/flaky.nomad.hcl");
/// Its task is a process that does not end by itself.
pub(crate) const SHIPPER: &str = include_str!("../../servers/jobs/shipper.nomad.hcl");
const NIGHTLY: &str = include_str!("../../servers/jobs/nightly.nomad.hcl");
const FLEET: &str = include_str!("../../servers/jobs/fleet.nomad.hcl");
pub(crate) const CLEANUP: &str = include_str!("../../servers/jobs/cleanup.nomad.hcl");

/// The newest deployment of [`WEB`].
const DEPLOYMENT: &str = "/v1/job/web/deployment";

/// The namespace of [`CLEANUP`].
pub(crate) const SECOND_NAMESPACE: &str = "team-a";

/// What the scenario must have made Nomad report, or it has not tested what it says.
pub(crate) const REPORTED: [(&str, &str); 25] = [
    ("Allocation", "AllocationUpdateDesiredStatus"),
    ("Allocation", "AllocationUpdated"),
    ("Allocation", "DeploymentPromotion"),
    ("Allocation", "PlanResult"),
    ("Deployment", "AllocationUpdated"),
    ("Deployment", "DeploymentPromotion"),
    ("Deployment", "DeploymentStatusUpdate"),
    ("Deployment", "PlanResult"),
    ("Evaluation", "AllocationUpdateDesiredStatus"),
    ("Evaluation", "DeploymentPromotion"),
    ("Evaluation", "DeploymentStatusUpdate"),
    ("Evaluation", "EvaluationUpdated"),
    ("Evaluation", "JobDeregistered"),
    ("Evaluation", "JobRegistered"),
    ("Evaluation", "PlanResult"),
    ("Job", "AllocationUpdated"),
    ("Job", "EvaluationUpdated"),
    ("Job", "JobDeregistered"),
    ("Job", "JobRegistered"),
    ("Job", "PlanResult"),
    ("Node", "AllocationUpdated"),
    ("Node", "NodeDrain"),
    ("Node", "NodeRegistration"),
    ("Service", "ServiceDeregistration"),
    ("Service", "ServiceRegistration"),
];

/// How long each part has taken.
pub(crate) type Phases = Vec<(&'static str, Duration)>;

/// To be called before anybody subscribes: a subscription does not see namespaces that are made later.
pub(crate) fn prepare(nomad: &NomadServer) {
    nomad.post("/v1/namespace", &json!({"Name": SECOND_NAMESPACE}));
}

/// Plays the scenario to its end, when nothing runs and nothing is left to be decided.
///
/// `pause` waits until nothing has happened for more than ten seconds. What comes next then has old times or none, as on a
/// cluster where little happens.
pub(crate) fn play(nomad: &NomadServer, pause: impl Fn()) -> Phases {
    let mut phases = Vec::new();
    let mut timed = |name, phase: &dyn Fn()| {
        let started = Instant::now();
        phase();
        phases.push((name, started.elapsed()));
    };
    timed("jobs of every kind", &|| run_jobs(nomad));
    timed("update", &|| update_web(nomad));
    timed("pause", &pause);
    timed("stop and purge one", &|| stop_nightly(nomad));
    timed("drain and back", &|| drain_and_back(nomad));
    timed("stop and purge the rest", &|| stop_everything(nomad));
    phases
}

/// A part of it that has events of every topic and in both namespaces.
pub(crate) fn play_some(nomad: &NomadServer) {
    nomad.register(&nomad.parse(WEB));
    nomad.register(&nomad.parse(CLEANUP));
    wait_for_deployment(nomad, 0);
}

/// So many small jobs are registered, run, and stopped: what comes of a stop has no time of its own.
pub(crate) fn churn(nomad: &NomadServer, jobs: usize) {
    let ids: Vec<String> = (0..jobs).map(|number| format!("churn-{number}")).collect();
    for id in &ids {
        let mut job = nomad.parse(CLEANUP);
        for field in ["ID", "Name"] {
            job[field] = json!(id);
        }
        nomad.register(&job);
    }
    for id in &ids {
        nomad.wait_until(
            &format!("{id} has ended"),
            &format!("/v1/job/{id}/allocations?namespace={SECOND_NAMESPACE}"),
            |allocations| count(allocations, "complete") > 0,
        );
        nomad.delete(&format!("/v1/job/{id}?namespace={SECOND_NAMESPACE}"));
    }
}

fn run_jobs(nomad: &NomadServer) {
    for file in [WEB, REPORT, FLAKY, SHIPPER, NIGHTLY, FLEET, CLEANUP] {
        nomad.register(&nomad.parse(file));
    }
    nomad.post("/v1/job/nightly/periodic/force", &json!({}));
    wait_for_deployment(nomad, 0);
    let ended = |name: &str, path: &str, status: &str| {
        nomad.wait_until(
            &format!("{name} has ended as {status}"),
            path,
            |allocations| {
                let mut allocations = allocations.as_array().into_iter().flatten().peekable();
                allocations.peek().is_some()
                    && allocations.all(|allocation| allocation["ClientStatus"] == status)
            },
        );
    };
    ended("report", "/v1/job/report/allocations", "complete");
    ended("fleet", "/v1/job/fleet/allocations", "complete");
    ended("flaky", "/v1/job/flaky/allocations", "failed");
    ended(
        "cleanup",
        "/v1/job/cleanup/allocations?namespace=team-a",
        "complete",
    );
    nomad.wait_until(
        "the forced child of nightly has ended",
        "/v1/jobs?prefix=nightly%2Fperiodic",
        |jobs| {
            let jobs = jobs.as_array();
            jobs.is_some_and(|jobs| {
                !jobs.is_empty() && jobs.iter().all(|job| job["Status"] == "dead")
            })
        },
    );
    wait_for_running(nomad, "shipper", 1);
}

/// A new version, of which one allocation is tried first; the deployment is paused, resumed and promoted.
fn update_web(nomad: &NomadServer) {
    let mut web = nomad.parse(WEB);
    web["Meta"]["version"] = json!("2");
    web["TaskGroups"][0]["Update"]["Canary"] = json!(1);
    nomad.register(&web);
    let deployment = nomad.wait_for("version 1 of web is tried", DEPLOYMENT, |deployment| {
        let healthy = &deployment["TaskGroups"]["frontend"]["HealthyAllocs"];
        (deployment["JobVersion"] == 1 && healthy == 1).then(|| text(deployment, "ID"))
    });
    for pause in [true, false] {
        nomad.post(
            &format!("/v1/deployment/pause/{deployment}"),
            &json!({"DeploymentID": deployment, "Pause": pause}),
        );
    }
    nomad.post(
        &format!("/v1/deployment/promote/{deployment}"),
        &json!({"DeploymentID": deployment, "All": true}),
    );
    wait_for_deployment(nomad, 1);
}

/// The event of the job itself has no time of its own, and comes before that of the evaluation, which has.
fn stop_nightly(nomad: &NomadServer) {
    nomad.delete("/v1/job/nightly?purge=true");
    nomad.wait_until("nightly is gone", "/v1/jobs", |jobs| {
        let mut jobs = jobs.as_array().into_iter().flatten();
        jobs.all(|job| job["ID"] != "nightly")
    });
}

fn drain_and_back(nomad: &NomadServer) {
    const HOUR: Duration = Duration::from_secs(3600);
    let node = format!("/v1/node/{}", nomad.node_id());
    let drain = format!("{node}/drain");
    let deadline = u64::try_from(HOUR.as_nanos()).expect("an hour");
    nomad.post(
        &drain,
        &json!({"DrainSpec": {"Deadline": deadline, "IgnoreSystemJobs": false}}),
    );
    nomad.wait_until("the node is drained", &node, |node| {
        node["DrainStrategy"].is_null() && node["LastDrain"]["Status"] == "complete"
    });
    nomad.wait_until(
        "nothing runs on the node",
        &format!("{node}/allocations"),
        |allocations| count(allocations, "running") == 0,
    );
    nomad.post(&drain, &json!({"DrainSpec": null, "MarkEligible": true}));
    wait_for_running(nomad, "web", 2);
    wait_for_running(nomad, "shipper", 1);
}

fn stop_everything(nomad: &NomadServer) {
    nomad.delete("/v1/job/web");
    wait_for_running(nomad, "web", 0);
    nomad.wait_until("web is stopped", "/v1/job/web", |web| {
        web["Stop"] == true && web["Status"] == "dead"
    });
    for job in ["web", "shipper"] {
        nomad.delete(&format!("/v1/job/{job}?purge=true"));
    }
    nomad.wait_until(
        "nothing runs at all",
        "/v1/allocations?namespace=*",
        |allocations| {
            allocations
                .as_array()
                .into_iter()
                .flatten()
                .all(|allocation| {
                    ["complete", "failed", "lost"].contains(&&*text(allocation, "ClientStatus"))
                })
        },
    );
    nomad.wait_until(
        "nothing is left to be decided",
        "/v1/evaluations?namespace=*",
        |evaluations| {
            evaluations
                .as_array()
                .into_iter()
                .flatten()
                .all(|evaluation| !["pending", "blocked"].contains(&&*text(evaluation, "Status")))
        },
    );
}

fn wait_for_deployment(nomad: &NomadServer, version: u64) {
    nomad.wait_until(
        &format!("version {version} of web is deployed"),
        DEPLOYMENT,
        |deployment| deployment["JobVersion"] == version && deployment["Status"] == "successful",
    );
}

/// Waits until so many allocations of a job in the default namespace run.
pub(crate) fn wait_for_running(nomad: &NomadServer, job: &str, wanted: usize) {
    nomad.wait_until(
        &format!("{wanted} allocations of {job} run"),
        &format!("/v1/job/{job}/allocations"),
        |allocations| count(allocations, "running") == wanted,
    );
}

fn count(allocations: &Value, status: &str) -> usize {
    let allocations = allocations.as_array().into_iter().flatten();
    allocations
        .filter(|allocation| allocation["ClientStatus"] == status)
        .count()
}
