//! What a query promises end to end, and which of its parts sets the limit (semantics of Spark's guide, "Fault Tolerance
//! Semantics").

use std::fmt;

use super::Guarantee;

/// How often a row of a source is in the output, whatever crashes.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(clippy::enum_variant_names, reason = "the field's words")]
pub(crate) enum Delivery {
    /// These sources cannot give rows again that were under way.
    AtMostOnce(Vec<String>),
    /// These sinks show the rows of an epoch again if it was interrupted.
    AtLeastOnce(Vec<String>),
    ExactlyOnce,
}

impl Delivery {
    /// What sources, which replay or do not, and sinks make together.
    pub(crate) fn of(sources: &[(String, bool)], sinks: &[(String, Guarantee)]) -> Self {
        let forgetful: Vec<String> =
            sources.iter().filter(|(_, replays)| !replays).map(|(name, _)| name.clone()).collect();
        let repeating = sinks.iter().filter(|(_, guarantee)| *guarantee == Guarantee::AtLeastOnce);
        let repeating: Vec<String> = repeating.map(|(name, _)| name.clone()).collect();
        match (forgetful.is_empty(), repeating.is_empty()) {
            (false, _) => Self::AtMostOnce(forgetful),
            (true, false) => Self::AtLeastOnce(repeating),
            (true, true) => Self::ExactlyOnce,
        }
    }

    /// The promise in words, for a query that keeps its checkpoint there, if it was told where.
    pub(crate) fn explain(&self, location: Option<&str>) -> String {
        let keeping = match location {
            Some(location) => {
                format!("a restart on the checkpoint in {location} goes on from the last committed epoch")
            }
            None => "without a checkpointLocation, so that a restart begins anew".to_string(),
        };
        format!("{self}; {keeping}")
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtMostOnce(sources) => {
                write!(f, "at most once: {} cannot give rows again that were under way at a crash", sources.join(", "))
            }
            Self::AtLeastOnce(sinks) => {
                write!(f, "at least once: {} may see the rows of an interrupted epoch again", sinks.join(", "))
            }
            Self::ExactlyOnce => f.write_str("exactly once: the sources replay, and the sinks show each epoch once"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_weakest_part_decides_and_is_named() {
        let source = |name: &str, replays| (name.to_string(), replays);
        let sink = |name: &str, guarantee| (name.to_string(), guarantee);
        let files = [source("Files", true)];
        let both = [source("Files", true), source("Socket", false)];
        let once = [sink("csv", Guarantee::ExactlyOnce)];
        let console = [sink("csv", Guarantee::ExactlyOnce), sink("Console", Guarantee::AtLeastOnce)];
        assert_eq!(Delivery::of(&files, &once), Delivery::ExactlyOnce);
        assert_eq!(Delivery::of(&files, &console), Delivery::AtLeastOnce(vec!["Console".to_string()]));
        let said = Delivery::of(&both, &console).explain(None);
        assert!(said.starts_with("at most once: Socket cannot") && said.contains("begins anew"), "{said}");
    }
}
