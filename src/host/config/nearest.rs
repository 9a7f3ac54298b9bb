//! The name that somebody may have meant.

/// Names as far from each other as this are not taken for the same one misspelt.
const MAX_DISTANCE: usize = 3;

/// Longer names are not compared (bytes): no option has one.
const MAX_LENGTH: usize = 64;

/// As in ` (did you mean `topics`?)`, or nothing when no candidate is near.
pub(super) fn did_you_mean<'c>(name: &str, candidates: impl Iterator<Item = &'c str>) -> String {
    nearest(name, candidates).map_or_else(String::new, |near| format!(" (did you mean `{near}`?)"))
}

/// The candidate that differs least from a name, if that is little for a name of its length. Case does not count.
pub(super) fn nearest<'c>(
    name: &str,
    candidates: impl Iterator<Item = &'c str>,
) -> Option<&'c str> {
    if name.len() > MAX_LENGTH {
        return None;
    }
    let small = name.to_lowercase();
    candidates
        .filter(|candidate| *candidate != name)
        .map(|candidate| {
            let distance = strsim::damerau_levenshtein(&small, &candidate.to_lowercase());
            (distance, candidate)
        })
        .filter(|(distance, _)| *distance <= MAX_DISTANCE.min(name.chars().count() / 3))
        .min()
        .map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_near_is_suggested() {
        let names = ["topics", "token", "token_file", "Job", "endpoints"];
        for (name, expected) in [
            ("topcis", Some("topics")),
            ("tokenfile", Some("token_file")),
            ("TOKEN", Some("token")),
            ("job", Some("Job")),
            ("endpoint", Some("endpoints")),
            ("polling", None),
            ("", None),
            ("x", None),
            // The name itself is no suggestion.
            ("endpoints", None),
        ] {
            assert_eq!(nearest(name, names.into_iter()), expected, "for {name:?}");
        }
        assert_eq!(did_you_mean("polling", names.into_iter()), "");
    }
}
