//! Which namespaces the open subscription covers.
//!
//! Pure. Nomad (1.9.6 and later) writes `namespace=*` out when a subscription begins; a namespace that is made later is not
//! delivered until the next one, without a word. So the list of namespaces is compared with the one that was read before the
//! subscription began.

use std::collections::HashMap;

use super::notice::Gap;
use crate::checkpoint::{GapCause, KnownNamespaces};
use crate::event::RaftIndex;
use crate::nomad::{MAX_NAMESPACES, Namespace};

/// What is known to be covered.
#[derive(Debug, Default)]
pub(super) struct Covered {
    /// Of the last list, of the lists of this subscription, and of events since; `None` before any list. With the latest index
    /// at which one was made, where a list told it.
    names: Option<HashMap<String, Option<RaftIndex>>>,
    began: Began,
    /// Whether something has changed since it was last saved.
    changed: bool,
}

/// Where the first stream began, for as long as there is no list: a namespace that is younger can have been made afterwards.
/// Later streams begin where it stopped, and what it passed over is passed over.
#[derive(Debug, Default)]
enum Began {
    #[default]
    Not,
    /// It was asked for from here on.
    Asked(RaftIndex),
    /// This was its first line.
    Line(RaftIndex),
}

impl Covered {
    /// What was covered when the position was saved.
    pub(super) fn saved(known: KnownNamespaces) -> Self {
        let (names, began) = match known {
            KnownNamespaces::Unknown => (None, Began::Not),
            KnownNamespaces::AskedFrom(index) => (None, Began::Asked(index)),
            KnownNamespaces::FirstLine(index) => (None, Began::Line(index)),
            KnownNamespaces::Listed(names) => (Some(names.into_iter().collect()), Began::Not),
        };
        Self {
            names,
            began,
            changed: false,
        }
    }

    /// What is to be saved, if that is something else than the last time.
    pub(super) fn take_changed(&mut self) -> Option<KnownNamespaces> {
        if !std::mem::take(&mut self.changed) {
            return None;
        }
        Some(match (&self.names, &self.began) {
            (Some(names), _) => {
                let names = names.iter().map(|(name, made)| (name.clone(), *made));
                KnownNamespaces::Listed(names.collect())
            }
            (None, Began::Not) => KnownNamespaces::Unknown,
            (None, Began::Asked(index)) => KnownNamespaces::AskedFrom(*index),
            (None, Began::Line(index)) => KnownNamespaces::FirstLine(*index),
        })
    }

    /// Notes that a subscription is open from this index on.
    pub(super) fn begin(&mut self, resumed_at: RaftIndex) {
        if let Began::Not = self.began {
            self.began = Began::Asked(resumed_at);
            self.changed |= self.names.is_none();
        }
    }

    /// Notes the first line of a stream.
    pub(super) fn first_line(&mut self, index: RaftIndex) {
        if !matches!(self.began, Began::Line(_)) {
            self.began = Began::Line(index);
            self.changed |= self.names.is_none();
        }
    }

    /// Notes a namespace of which an event came. Up to 1.9.5 new ones come by themselves.
    pub(super) fn delivered(&mut self, namespace: &str) {
        if let Some(names) = &mut self.names
            && !namespace.is_empty()
            && names.len() < MAX_NAMESPACES
            && !names.contains_key(namespace)
        {
            names.insert(namespace.to_owned(), None);
            self.changed = true;
        }
    }

    /// Takes the list before a subscription, and gives what of it the one before did not cover.
    pub(super) fn take(&mut self, list: Vec<Namespace>) -> Vec<Namespace> {
        let (new, names) = self.compare(list);
        self.changed |= self.names.as_ref() != Some(&names);
        self.names = Some(names);
        new
    }

    /// Takes a list while a subscription is open, and gives what of it that one may not cover. The next one covers it.
    ///
    /// What is missing stays covered: an agent asks one server and then another, of which one may lag, and a namespace that is
    /// listed, not listed and listed again would each time be taken for a new one.
    pub(super) fn compare_open(&mut self, list: Vec<Namespace>) -> Vec<Namespace> {
        let (new, names) = self.compare(list);
        self.changed |= names.iter().any(|(name, made)| {
            let known = self.names.as_ref().map(|known| known.get(name));
            known.flatten() != Some(made)
        });
        match &mut self.names {
            // Those that were deleted meanwhile are forgotten with the next subscription, or when they become too many.
            Some(known) if known.len() <= MAX_NAMESPACES => known.extend(names),
            known => *known = Some(names),
        }
        new
    }

    /// What is new in a list, and its names.
    fn compare(
        &self,
        list: Vec<Namespace>,
    ) -> (Vec<Namespace>, HashMap<String, Option<RaftIndex>>) {
        let mut names = HashMap::with_capacity(list.len());
        let mut new = Vec::new();
        for namespace in list {
            let Namespace { name, create_index } = &namespace;
            let known = self.names.as_ref().map(|known| known.get(name));
            let made = match known {
                Some(Some(made)) => (*made).max(Some(*create_index)),
                _ => Some(*create_index),
            };
            names.insert(name.clone(), made);
            let is_new = match (known, &self.began) {
                (Some(None), _) => true,
                // Deleted and made again.
                (Some(Some(Some(made))), _) => create_index > made,
                (Some(Some(None)), _) | (None, Began::Not) => false,
                // Without an older list: what was not there when the first stream began.
                (None, Began::Asked(index) | Began::Line(index)) => create_index > index,
            };
            if is_new {
                new.push(namespace);
            }
        }
        (new, names)
    }
}

/// What of a new namespace was passed over, if the stream was taken up to `read`. From there on the next subscription has it.
pub(super) fn gap(namespace: Namespace, read: RaftIndex) -> Option<Gap> {
    (namespace.create_index < read).then_some(Gap {
        from: namespace.create_index,
        to: Some(read),
        cause: GapCause::NamespaceAdded,
        namespace: Some(namespace.name),
        again: false,
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
        assert!(taken(&mut covered, &[("default", 20)]).is_empty());
    }

    #[test]
    fn a_namespace_that_a_lagging_server_does_not_list_is_not_new_afterwards() {
        let mut covered = Covered::default();
        taken(&mut covered, &[("default", 1), ("a", 9)]);
        let open = |covered: &mut Covered, rows: &[(&str, u64)]| covered.compare_open(list(rows));
        assert!(open(&mut covered, &[("default", 1)]).is_empty());
        assert!(open(&mut covered, &[("default", 1), ("a", 9)]).is_empty());
        assert_eq!(open(&mut covered, &[("a", 12)]), list(&[("a", 12)]));
        // The older one, of a server that lags.
        assert!(open(&mut covered, &[("a", 9)]).is_empty());
        assert!(open(&mut covered, &[("a", 12)]).is_empty());
        // A subscription at a server that does not know it yet does not cover it.
        assert!(taken(&mut covered, &[("default", 1)]).is_empty());
        assert_eq!(open(&mut covered, &[("a", 12)]), list(&[("a", 12)]));
    }

    #[test]
    fn what_a_stream_without_a_list_passed_over_is_found_after_the_next_one_began() {
        let mut covered = Covered::default();
        covered.begin(RaftIndex(0));
        covered.first_line(RaftIndex(10));
        covered.begin(RaftIndex(100));
        covered.first_line(RaftIndex(101));
        assert_eq!(
            taken(&mut covered, &[("default", 1), ("a", 50), ("b", 120)]),
            ["a", "b"]
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
