//! Which namespaces the open subscription covers.
//!
//! Pure. Nomad (1.9.6 and later) writes `namespace=*` out when a subscription begins; a namespace that is made later is not
//! delivered until the next one, without a word. So the list of namespaces is compared with the one that was read before the
//! subscription began.

use std::collections::HashSet;

use super::notice::Gap;
use crate::event::RaftIndex;
use crate::nomad::{MAX_NAMESPACES, Namespace};

/// Cause of a gap of a namespace that was made while the stream was open.
pub(crate) const NAMESPACE_ADDED: &str = "namespace_added";

/// What is known to be covered.
#[derive(Debug, Default)]
pub(super) struct Covered {
    /// Names of the last list, and of events since; `None` before any list.
    names: Option<HashSet<String>>,
    /// The first index of the latest stream. A namespace that is younger can have been made after it began.
    first: Option<RaftIndex>,
}

impl Covered {
    /// Notes that a stream begins at this index.
    pub(super) fn begin(&mut self, resumed_at: RaftIndex) {
        self.first = Some(resumed_at);
    }

    /// Notes the first line of a stream.
    pub(super) fn first_line(&mut self, index: RaftIndex) {
        self.first = Some(index);
    }

    /// Notes a namespace of which an event came. Up to 1.9.5 new ones come by themselves.
    pub(super) fn delivered(&mut self, namespace: &str) {
        if let Some(names) = &mut self.names
            && !namespace.is_empty()
            && names.len() < MAX_NAMESPACES
            && !names.contains(namespace)
        {
            names.insert(namespace.to_owned());
        }
    }

    /// Takes a list, and gives what of it the stream may not cover. The next one covers it.
    pub(super) fn take(&mut self, list: Vec<Namespace>) -> Vec<Namespace> {
        let before = self.names.replace(
            list.iter()
                .map(|namespace| namespace.name.clone())
                .collect(),
        );
        let mut new = list;
        new.retain(|namespace| match (&before, self.first) {
            (Some(names), _) => !names.contains(&namespace.name),
            // Without an older list: what was not there when the stream began.
            (None, Some(first)) => namespace.create_index > first,
            (None, None) => false,
        });
        new
    }
}

/// What of a new namespace was passed over, if the stream was taken up to `read`. From there on the next subscription has it.
pub(super) fn gap(namespace: Namespace, read: RaftIndex) -> Option<Gap> {
    (namespace.create_index < read).then_some(Gap {
        from: namespace.create_index,
        to: Some(read),
        cause: NAMESPACE_ADDED,
        namespace: Some(namespace.name),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(rows: &[(&str, u64)]) -> Vec<Namespace> {
        rows.iter()
            .map(|&(name, index)| Namespace {
                name: name.to_owned(),
                create_index: RaftIndex(index),
            })
            .collect()
    }

    fn taken(covered: &mut Covered, rows: &[(&str, u64)]) -> Vec<String> {
        let new = covered.take(list(rows));
        new.into_iter().map(|namespace| namespace.name).collect()
    }

    #[test]
    fn what_was_not_listed_before_the_subscription_is_new_once() {
        let mut covered = Covered::default();
        assert!(taken(&mut covered, &[("default", 1), ("a", 9)]).is_empty());
        covered.begin(RaftIndex(0));
        assert_eq!(
            taken(&mut covered, &[("default", 1), ("a", 9), ("b", 12)]),
            ["b"]
        );
        assert!(taken(&mut covered, &[("a", 9), ("b", 12)]).is_empty());
        // One that was deleted and made again is another one.
        assert_eq!(
            taken(&mut covered, &[("default", 20), ("a", 9)]),
            ["default"]
        );
    }

    #[test]
    fn without_a_list_before_it_is_the_age_that_counts() {
        let mut covered = Covered::default();
        covered.begin(RaftIndex(0));
        covered.first_line(RaftIndex(10));
        assert_eq!(
            taken(&mut covered, &[("default", 1), ("a", 10), ("b", 11)]),
            ["b"]
        );
    }

    #[test]
    fn a_namespace_that_is_delivered_is_covered() {
        let mut covered = Covered::default();
        taken(&mut covered, &[("default", 1)]);
        covered.delivered("b");
        covered.delivered("");
        assert!(taken(&mut covered, &[("default", 1), ("b", 5)]).is_empty());
    }

    #[test]
    fn a_gap_ends_where_the_next_subscription_begins() {
        let namespace = |index| list(&[("a", index)]).remove(0);
        let found = gap(namespace(5), RaftIndex(9)).unwrap();
        assert_eq!((found.from, found.to), (RaftIndex(5), Some(RaftIndex(9))));
        // All of it is still to be read.
        assert_eq!(gap(namespace(9), RaftIndex(9)), None);
        assert_eq!(gap(namespace(12), RaftIndex(9)), None);
    }
}
