//! What is kept across restarts. Pure.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::subscription::{Subscription, topics};
use crate::event::RaftIndex;
use crate::options::TopicFilter;
use crate::position::proof::ProofKey;
use crate::position::{Epoch, Position, Taken};

/// So many gaps are kept apart; one more makes one gap of all of them.
pub const MAX_OPEN_GAPS: usize = 64;

/// Why events may be missing. A word from a closed set, the graver ones greater.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum GapCause {
    /// A line was not taken.
    LineDiscarded,
    /// A namespace was made while the stream was open.
    NamespaceAdded,
    /// More is subscribed to than before.
    SubscriptionChanged,
    /// Nothing shows that the stream goes on where it stopped.
    Unproven,
    /// The server has forgotten what follows the place where the stream stopped.
    Evicted,
    /// The cluster's indexes began anew.
    IndexReset,
}

impl GapCause {
    /// Every cause.
    pub const ALL: [Self; 6] = [
        Self::LineDiscarded,
        Self::NamespaceAdded,
        Self::SubscriptionChanged,
        Self::Unproven,
        Self::Evicted,
        Self::IndexReset,
    ];

    /// The word, as notices and labels of metrics have it.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::LineDiscarded => "line_discarded",
            Self::NamespaceAdded => "namespace_added",
            Self::SubscriptionChanged => "subscription_changed",
            Self::Unproven => "unproven",
            Self::Evicted => "evicted",
            Self::IndexReset => "index_reset",
        }
    }

    /// Whether it is said of all that lies between two indexes, and not of a single line, or of what was added.
    #[must_use]
    pub(crate) fn is_of_continuity(self) -> bool {
        matches!(self, Self::Unproven | Self::Evicted | Self::IndexReset)
    }
}

impl fmt::Display for GapCause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// A gap that was announced, or is suspected, and is not filled.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenGap {
    /// Which history of the cluster its indexes belong to. A gap of a later one than the position's was made by an `IndexReset` after
    /// which not everything from before was answered for.
    pub epoch: Epoch,
    /// The last index known to be complete, but for later lines of the same index.
    pub from: RaftIndex,
    /// The first index seen afterwards; `None` while none has been.
    pub to: Option<RaftIndex>,
    /// Why.
    pub cause: GapCause,
    /// The namespace that it is confined to; `None` for all.
    pub namespace: Option<String>,
    /// The topics that are still to be read.
    #[serde(with = "topics")]
    pub topics_left: Vec<TopicFilter>,
    /// The newest time set by a server when the gap began (nanoseconds since 1970).
    pub newest: Option<i64>,
}

impl OpenGap {
    /// One that has both in it, whatever lies between.
    fn merge(mut self, other: Self) -> Self {
        self.epoch = self.epoch.max(other.epoch);
        self.from = self.from.min(other.from);
        // Without an end means: up to what comes next.
        self.to = self.to.zip(other.to).map(|(a, b)| a.max(b));
        self.cause = self.cause.max(other.cause);
        if self.namespace != other.namespace {
            self.namespace = None;
        }
        for topic in other.topics_left {
            if !self.topics_left.contains(&topic) {
                self.topics_left.push(topic);
            }
        }
        // Without a time nothing is known, which is the least that can be said of both.
        self.newest = self.newest.zip(other.newest).map(|(a, b)| a.min(b));
        self
    }
}

/// The gaps that are not filled, [`MAX_OPEN_GAPS`] at most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<OpenGap>")]
pub struct OpenGaps(Vec<OpenGap>);

impl OpenGaps {
    /// Adds one; one that is known already, from the same index in the same namespace and without an end, takes in the new one.
    /// Where there are too many, all of them become one that covers them.
    pub fn add(&mut self, gap: OpenGap) {
        let place = self.0.iter().position(|known| {
            let same = (known.from, &known.namespace) == (gap.from, &gap.namespace);
            let ends = known.to.is_none()
                && known.cause.is_of_continuity()
                && gap.cause.is_of_continuity();
            same && (known.to == gap.to || ends)
        });
        if let Some(place) = place {
            let known = self.0.remove(place);
            let to = known.to.or(gap.to);
            let mut merged = known.merge(gap);
            merged.to = to;
            self.0.insert(place, merged);
            return;
        }
        if self.0.len() < MAX_OPEN_GAPS {
            self.0.push(gap);
        } else {
            let all = self.0.drain(..).fold(gap, OpenGap::merge);
            self.0.push(all);
        }
    }

    /// Something of this index was read: that is where gaps end that have no end yet.
    pub(crate) fn end(&mut self, index: RaftIndex) {
        for gap in &mut self.0 {
            if gap.to.is_none() && gap.from < index {
                gap.to = Some(index);
            }
        }
    }

    /// Whether all that may be missing in this one is in one that is known, and was announced with it.
    #[must_use]
    pub(crate) fn cover(&self, gap: &OpenGap) -> bool {
        let all_of_it = |known: &OpenGap| {
            let ends_later = match (known.to, gap.to) {
                (None, _) => true,
                (Some(known), Some(to)) => to <= known,
                (Some(_), None) => false,
            };
            let same = (known.from, known.to, known.cause, &known.namespace)
                == (gap.from, gap.to, gap.cause, &gap.namespace);
            let within = known.cause.is_of_continuity()
                && gap.cause.is_of_continuity()
                && known.namespace.is_none()
                && known.from <= gap.from
                && ends_later;
            let mut topics = gap.topics_left.iter();
            (same || within) && topics.all(|topic| known.topics_left.contains(topic))
        };
        self.0.iter().any(all_of_it)
    }

    /// Changes gaps, and keeps those for which `keep` says so.
    pub fn retain(&mut self, keep: impl FnMut(&mut OpenGap) -> bool) {
        self.0.retain_mut(keep);
    }

    /// Each of them, in the order in which they were added.
    pub fn iter(&self) -> impl Iterator<Item = &OpenGap> {
        self.0.iter()
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl TryFrom<Vec<OpenGap>> for OpenGaps {
    type Error = &'static str;

    fn try_from(gaps: Vec<OpenGap>) -> Result<Self, Self::Error> {
        if gaps.len() > MAX_OPEN_GAPS {
            return Err("more gaps than are ever kept");
        }
        Ok(Self(gaps))
    }
}

/// Which namespaces the subscription is known to have covered.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum KnownNamespaces {
    /// Nothing is known.
    #[default]
    Unknown,
    /// There was no list yet. The first stream was asked for from here on, and had no line yet.
    AskedFrom(RaftIndex),
    /// There was no list yet. This was the first line of the first stream.
    FirstLine(RaftIndex),
    /// These, with the index at which each was made last, where a list told it.
    Listed(BTreeMap<String, Option<RaftIndex>>),
}

/// What is kept across restarts: all that the next run needs to go on without losing or repeating anything without a word.
///
/// Its JSON holds the key of the proofs, `Debug` does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct State {
    // In this order they are written: what people look for first, what can be long last.
    /// Everything before it is answered for.
    pub position: Position,
    /// The newest time set by a server up to there (nanoseconds since 1970).
    pub newest: Option<i64>,
    /// What was subscribed to.
    pub subscription: Subscription,
    /// The gaps that are not filled.
    pub gaps: OpenGaps,
    /// The namespaces that were covered.
    pub namespaces: KnownNamespaces,
    /// The key under which proofs are taken, for as long as the state lives.
    #[serde(with = "key_as_hex")]
    pub key: ProofKey,
    /// How much of the position's own index is answered for.
    pub taken: Taken,
}

impl State {
    /// Leaves a history that is over: a gap of a later one shows that its indexes were found to begin anew, and not everything from
    /// before was answered for then. Nobody has that any more. Gives the index at which it was left, and the gap.
    pub(crate) fn leave_history(&mut self) -> Option<(RaftIndex, OpenGap)> {
        let later = self
            .gaps
            .iter()
            .find(|gap| gap.epoch > self.position.epoch)?
            .clone();
        let left = std::mem::replace(
            &mut self.position,
            Position {
                epoch: later.epoch,
                index: RaftIndex(0),
            },
        );
        self.taken = Taken::Nothing;
        Some((left.index, later))
    }

    /// Whether a source can have come to it: Nomad takes no larger index, and nothing counts to the last epoch.
    pub(super) fn is_possible(&self) -> bool {
        let epochs = self.gaps.iter().map(|gap| gap.epoch);
        self.position.index.can_be_asked_for()
            && epochs
                .chain([self.position.epoch])
                .all(|epoch| epoch.0 < u64::MAX)
    }
}

mod key_as_hex {
    use std::borrow::Cow;

    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use super::ProofKey;
    use crate::position::{from_hex, to_hex};

    pub(super) fn serialize<S: Serializer>(
        key: &ProofKey,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&to_hex(key.bits()))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<ProofKey, D::Error> {
        let text: Cow<'_, str> = Deserialize::deserialize(deserializer)?;
        // The text is a secret, so the error does not quote it.
        let bits = from_hex(&text).ok_or_else(|| D::Error::custom("no key"))?;
        Ok(ProofKey::new(bits))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cause_is_written_as_its_word() {
        for cause in GapCause::ALL {
            let word = format!("{:?}", cause.as_str());
            assert_eq!(serde_json::to_string(&cause).unwrap(), word);
            assert_eq!(serde_json::from_str::<GapCause>(&word).unwrap(), cause);
        }
        assert!(serde_json::from_str::<GapCause>("\"dragons\"").is_err());
    }

    #[test]
    fn too_many_gaps_become_one_that_covers_them() {
        let topic = |topic: &str| TopicFilter {
            topic: topic.to_owned(),
            key: None,
        };
        let gap = |number: usize| OpenGap {
            epoch: Epoch::default(),
            from: RaftIndex(100 + number as u64),
            to: Some(RaftIndex(200 + number as u64)),
            cause: if number == 7 {
                GapCause::Unproven
            } else {
                GapCause::NamespaceAdded
            },
            namespace: Some(format!("ns-{number}")),
            topics_left: vec![topic(if number.is_multiple_of(2) {
                "Job"
            } else {
                "Node"
            })],
            newest: Some(1000 - i64::try_from(number).unwrap()),
        };
        let mut gaps = OpenGaps::default();
        for number in 0..MAX_OPEN_GAPS {
            gaps.add(gap(number));
        }
        assert_eq!(gaps.len(), MAX_OPEN_GAPS);
        gaps.add(gap(MAX_OPEN_GAPS));
        let mut all: Vec<OpenGap> = gaps.iter().cloned().collect();
        assert_eq!(all.len(), 1);
        all[0].topics_left.sort_by(|a, b| a.topic.cmp(&b.topic));
        assert_eq!(
            all[0],
            OpenGap {
                epoch: Epoch::default(),
                from: RaftIndex(100),
                to: Some(RaftIndex(264)),
                cause: GapCause::Unproven,
                namespace: None,
                topics_left: vec![topic("Job"), topic("Node")],
                newest: Some(936),
            }
        );
    }

    #[test]
    fn a_history_that_was_left_before_all_of_it_was_answered_for_is_not_gone_on_with() {
        let at = |epoch, index| Position {
            epoch: Epoch(epoch),
            index: RaftIndex(index),
        };
        let reset = OpenGap {
            epoch: Epoch(1),
            from: RaftIndex(0),
            to: Some(RaftIndex(3)),
            cause: GapCause::IndexReset,
            namespace: None,
            topics_left: Vec::new(),
            newest: None,
        };
        let state = |position| {
            let mut gaps = OpenGaps::default();
            gaps.add(reset.clone());
            State {
                position,
                newest: Some(7),
                subscription: Subscription {
                    region: None,
                    topics: Vec::new(),
                    namespace: "*".to_owned(),
                },
                gaps,
                namespaces: KnownNamespaces::Unknown,
                key: ProofKey::new(1),
                taken: Taken::All,
            }
        };
        let mut left = state(at(0, 890));
        assert_eq!(left.leave_history(), Some((RaftIndex(890), reset.clone())));
        assert_eq!((left.position, &left.taken), (at(1, 0), &Taken::Nothing));
        assert_eq!(left.leave_history(), None);
        // Later, with the gap still open, it is a position like any other.
        let mut later = state(at(1, 500));
        assert_eq!(later.leave_history(), None);
        assert_eq!(later, state(at(1, 500)));
        // What no source can have come to.
        assert!(!state(at(u64::MAX, 1)).is_possible());
        assert!(!state(at(0, u64::MAX)).is_possible());
    }

    #[test]
    fn a_gap_within_another_is_known() {
        let topic = TopicFilter {
            topic: "Job".to_owned(),
            key: None,
        };
        let gap = |from, to: Option<u64>, cause| OpenGap {
            epoch: Epoch::default(),
            from: RaftIndex(from),
            to: to.map(RaftIndex),
            cause,
            namespace: None,
            topics_left: vec![topic.clone()],
            newest: None,
        };
        let evicted = |from, to| gap(from, to, GapCause::Evicted);
        let mut open = OpenGaps::default();
        open.add(gap(5, Some(9), GapCause::Unproven));
        open.add(gap(30, Some(30), GapCause::LineDiscarded));
        for within in [
            evicted(5, Some(9)),
            evicted(7, Some(8)),
            gap(30, Some(30), GapCause::LineDiscarded),
        ] {
            assert!(open.cover(&within), "{within:?}");
        }
        let mut other_topic = evicted(5, Some(9));
        other_topic.topics_left[0].topic = "Node".to_owned();
        for beyond in [
            evicted(4, Some(9)),
            evicted(5, Some(10)),
            evicted(5, None),
            gap(7, Some(7), GapCause::LineDiscarded),
            other_topic,
        ] {
            assert!(!open.cover(&beyond), "{beyond:?}");
        }
        open.add(gap(20, None, GapCause::Evicted));
        assert!(open.cover(&evicted(20, None)) && open.cover(&evicted(20, Some(30))));
        // What a namespace or a topic was added for says nothing of the others.
        let mut open = OpenGaps::default();
        open.add(gap(0, Some(9), GapCause::SubscriptionChanged));
        let mut of_one = evicted(0, Some(9));
        of_one.namespace = Some("team".to_owned());
        open.add(of_one);
        assert!(!open.cover(&evicted(5, Some(9))));
    }

    #[test]
    fn what_has_no_end_or_no_time_makes_a_merged_gap_without() {
        let gap = |to: Option<u64>, newest| OpenGap {
            epoch: Epoch::default(),
            from: RaftIndex(5),
            to: to.map(RaftIndex),
            cause: GapCause::LineDiscarded,
            namespace: Some("a".to_owned()),
            topics_left: Vec::new(),
            newest,
        };
        let merged = gap(Some(9), Some(3)).merge(gap(None, None));
        assert_eq!((merged.to, merged.newest), (None, None));
        // Of one namespace: it stays confined to that.
        assert_eq!(merged.namespace.as_deref(), Some("a"));
    }
}
