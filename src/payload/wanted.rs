//! Which parts of payloads somebody will look at.
//!
//! Four fifths of an event's cost is the tree of its payload, and most programs read a few leaves of it. A host that knows
//! which can leave the rest out.

use std::collections::BTreeMap;

/// A part of a payload, as far as it is wanted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Wanted {
    /// Nothing of it.
    #[default]
    Nothing,
    /// These fields, and of each what is said.
    Fields(BTreeMap<String, Wanted>),
    /// All of it.
    All,
}

impl Wanted {
    /// Wants what is at the end of a path of field names, all of it.
    pub fn add<'p>(&mut self, mut path: impl Iterator<Item = &'p str>) {
        if *self == Self::All {
            return;
        }
        let Some(name) = path.next() else {
            *self = Self::All;
            return;
        };
        if *self == Self::Nothing {
            *self = Self::Fields(BTreeMap::new());
        }
        if let Self::Fields(fields) = self {
            fields.entry(name.to_owned()).or_default().add(path);
        }
    }

    /// What is wanted of a field.
    #[must_use]
    pub fn of(&self, name: &str) -> &Self {
        match self {
            Self::Nothing => &Self::Nothing,
            Self::All => &Self::All,
            Self::Fields(fields) => fields.get(name).unwrap_or(&Self::Nothing),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(paths: &[&str]) -> Wanted {
        let mut wanted = Wanted::default();
        for path in paths {
            wanted.add(path.split('.').filter(|name| !name.is_empty()));
        }
        wanted
    }

    #[test]
    fn a_path_wants_everything_below_its_end() {
        let some = wanted(&["Job.ID", "Job.Meta"]);
        assert_eq!(some.of("Job").of("Meta").of("any"), &Wanted::All);
        assert_eq!(some.of("Job").of("Env"), &Wanted::Nothing);
        assert_eq!(some.of("Node"), &Wanted::Nothing);
    }

    #[test]
    fn a_shorter_path_includes_a_longer_one_in_any_order() {
        assert_eq!(wanted(&["Job.ID", "Job"]), wanted(&["Job"]));
        assert_eq!(wanted(&["Job", "Job.ID"]), wanted(&["Job"]));
        assert_eq!(wanted(&["Job.ID", ""]), Wanted::All);
    }
}
