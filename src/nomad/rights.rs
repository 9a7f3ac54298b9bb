//! What a token needs for the event stream, topic by topic.
//!
//! After `validateNsOp` in `nomad/event_endpoint.go` of 1.11. The lists ask for other rights than the stream, so each right
//! has a question whose answer depends on it, and as far as Nomad has one, on nothing else.

use crate::options::Settings;

/// Whether a namespace makes a difference to what is subscribed to.
pub(crate) fn concerns_namespaces(settings: &Settings) -> bool {
    settings.topics.iter().any(|filter| {
        filter.topic == "*"
            || filter.topic == "Variable"
            || Right::for_topic(&filter.topic).is_of_a_namespace()
    })
}

/// A right of Nomad's ACLs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Right {
    /// Nothing less than a management token.
    Management,
    NodeRead,
    OperatorRead,
    ReadJob,
    HostVolumeRead,
    CsiReadVolume,
    /// Not for the stream: for the newest index of the jobs.
    ListJobs,
}

impl Right {
    /// The right that the stream asks for when this topic is subscribed to.
    pub(super) fn for_topic(topic: &str) -> Self {
        match topic {
            "Job" | "Allocation" | "Evaluation" | "Deployment" | "Service" | "CSIPlugin" => {
                Self::ReadJob
            }
            "Node" => Self::NodeRead,
            "HostVolume" => Self::HostVolumeRead,
            "CSIVolume" => Self::CsiReadVolume,
            "Operator" => Self::OperatorRead,
            // `*`, NodePool, ACL objects, topics that the server does not know, and up to 1.11 Variable.
            _ => Self::Management,
        }
    }

    /// As it stands in a policy.
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::Management => "a management token",
            Self::NodeRead => "`node { policy = \"read\" }`",
            Self::OperatorRead => "`operator { policy = \"read\" }`",
            Self::ReadJob => "`read-job`",
            Self::HostVolumeRead => "`host-volume-read`",
            Self::CsiReadVolume => "`csi-read-volume`",
            Self::ListJobs => "`list-jobs`",
        }
    }

    /// Whether it is given for each namespace by itself.
    pub(crate) fn is_of_a_namespace(self) -> bool {
        match self {
            Self::Management | Self::NodeRead | Self::OperatorRead => false,
            Self::ReadJob | Self::HostVolumeRead | Self::CsiReadVolume | Self::ListJobs => true,
        }
    }

    /// What to ask for, and 403 says that it is missing. `None` for what the token itself tells.
    ///
    /// An object that does not exist is asked for where the list would be filtered instead of refused. The list of CSI
    /// volumes also opens to `csi-list-volume` and `list-jobs`, so there only a no is certain.
    pub(super) fn question(self) -> Option<Question> {
        let question = |path, kind| Some(Question { path, kind });
        match self {
            Self::Management => None,
            Self::NodeRead => question("/v1/nodes", None),
            Self::OperatorRead => question("/v1/operator/scheduler/configuration", None),
            Self::ReadJob => question("/v1/evaluations", None),
            Self::HostVolumeRead => question("/v1/volume/host/nomad-events-no-such-volume", None),
            Self::CsiReadVolume => question("/v1/volumes", Some("csi")),
            Self::ListJobs => question("/v1/jobs", None),
        }
    }

    /// Whether a yes to its question shows that the token has it.
    pub(super) fn yes_is_certain(self) -> bool {
        self != Self::CsiReadVolume
    }
}

/// A path of the ordinary API, and its parameter `type`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question {
    pub(super) path: &'static str,
    pub(super) kind: Option<&'static str>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_topic_has_the_right_that_nomad_checks() {
        for (topics, right) in [
            (
                &["Job", "Allocation", "Evaluation", "Deployment", "Service"][..],
                "`read-job`",
            ),
            (&["CSIPlugin"], "`read-job`"),
            (&["CSIVolume"], "`csi-read-volume`"),
            (&["HostVolume"], "`host-volume-read`"),
            (&["Node"], "`node { policy = \"read\" }`"),
            (&["Operator"], "`operator { policy = \"read\" }`"),
            (
                &["*", "NodePool", "ACLToken", "ACLPolicy", "Variable", "New"],
                "a management token",
            ),
        ] {
            for topic in topics {
                assert_eq!(Right::for_topic(topic).as_str(), right, "{topic}");
            }
        }
    }
}
