//! Shared by the tests of this module.

use proptest::option;
use proptest::prelude::*;

use super::*;
use crate::event::RaftIndex;
use crate::options::TopicFilter;
use crate::position::proof::{Proof, ProofKey, Proofs};
use crate::position::{Epoch, Position, Taken};

mod content;
#[cfg(unix)]
mod files;
#[cfg(unix)]
mod processes;
mod saving;

/// A state that `number` and `proofs` make out, different for each.
fn state(number: u64, proofs: u64) -> State {
    let mut taken = Proofs::default();
    for proof in 0..proofs {
        taken.add(Proof::from_bits(
            u128::from(number) << 64 | u128::from(proof),
        ));
    }
    State {
        key: ProofKey::new(0x5ec7_e75e_c7e7_5ec7_e75e_c7e7_5ec7_e7e7),
        position: Position {
            epoch: Epoch(1),
            index: RaftIndex(number),
        },
        taken: Taken::Proofs(taken),
        newest: Some(1_790_000_000_123_456_789),
        gaps: OpenGaps::default(),
        namespaces: KnownNamespaces::Listed([("default".to_owned(), Some(RaftIndex(1)))].into()),
        subscription: Subscription {
            region: None,
            topics: vec![TopicFilter {
                topic: "Job".to_owned(),
                key: Some("web".to_owned()),
            }],
            namespace: "*".to_owned(),
        },
    }
}

fn index() -> impl Strategy<Value = RaftIndex> {
    prop_oneof![any::<u64>(), 0u64..100].prop_map(RaftIndex)
}

fn topics() -> impl Strategy<Value = Vec<TopicFilter>> {
    let topic = ("[^:]{1,8}", option::of(".{0,8}"));
    proptest::collection::vec(
        topic.prop_map(|(topic, key)| TopicFilter { topic, key }),
        0..4,
    )
}

fn taken() -> impl Strategy<Value = Taken> {
    let proofs = proptest::collection::vec(any::<u128>(), 0..5).prop_map(|bits| {
        let mut proofs = Proofs::default();
        bits.into_iter()
            .for_each(|bits| proofs.add(Proof::from_bits(bits)));
        Taken::Proofs(proofs)
    });
    prop_oneof![Just(Taken::Nothing), Just(Taken::All), proofs]
}

fn gaps() -> impl Strategy<Value = OpenGaps> {
    let gap = (
        index(),
        option::of(index()),
        proptest::sample::select(&GapCause::ALL[..]),
        option::of(".{0,8}"),
        topics(),
        option::of(any::<i64>()),
        0..3u64,
    );
    let gap = gap.prop_map(
        |(from, to, cause, namespace, topics_left, newest, epoch)| OpenGap {
            epoch: Epoch(epoch),
            from,
            to,
            cause,
            namespace,
            topics_left,
            newest,
        },
    );
    proptest::collection::vec(gap, 0..4).prop_map(|list| {
        let mut gaps = OpenGaps::default();
        list.into_iter().for_each(|gap| gaps.add(gap));
        gaps
    })
}

fn namespaces() -> impl Strategy<Value = KnownNamespaces> {
    prop_oneof![
        Just(KnownNamespaces::Unknown),
        index().prop_map(KnownNamespaces::AskedFrom),
        index().prop_map(KnownNamespaces::FirstLine),
        proptest::collection::btree_map(".{0,8}", option::of(index()), 0..4)
            .prop_map(KnownNamespaces::Listed),
    ]
}

fn any_state() -> impl Strategy<Value = State> {
    let position = (any::<u64>(), index()).prop_map(|(epoch, index)| Position {
        epoch: Epoch(epoch),
        index,
    });
    let subscription = (option::of(".{0,8}"), topics(), ".{0,8}");
    let subscription = subscription.prop_map(|(region, topics, namespace)| Subscription {
        region,
        topics,
        namespace,
    });
    (
        any::<u128>().prop_map(ProofKey::new),
        position,
        taken(),
        option::of(any::<i64>()),
        gaps(),
        namespaces(),
        subscription,
    )
        .prop_map(
            |(key, position, taken, newest, gaps, namespaces, subscription)| State {
                key,
                position,
                taken,
                newest,
                gaps,
                namespaces,
                subscription,
            },
        )
}
