//! Whether a checkpoint belongs to the query that wants to continue it.
//!
//! Owns: the comparison and its words. What may change at a restart is in the guide (`docs/checkpoints.md`).

use super::records::{OperatorRecord, PlanRecord};
use crate::error::{Error, Result};

impl PlanRecord {
    /// What keeps a query with the plan `now` from going on where one with this plan stopped; nothing if it can.
    pub(crate) fn differences(&self, now: &Self) -> Vec<String> {
        let mut found = Vec::new();
        if self.output_mode != now.output_mode {
            found.push(format!("the output mode was {} and is {}", self.output_mode, now.output_mode));
        }
        if self.sources.len() != now.sources.len() {
            found.push(counts("source", &self.sources, &now.sources));
        }
        if self.sinks.len() != now.sinks.len() {
            found.push(counts("sink", &self.sinks, &now.sinks));
        }
        if self.watermark_nodes.len() != now.watermark_nodes.len() {
            found.push(counts("watermark", &self.watermark_nodes, &now.watermark_nodes));
        }
        if self.watermark_policy != now.watermark_policy {
            let (was, is) = (&self.watermark_policy, &now.watermark_policy);
            found.push(format!("the policy of multiple watermarks was `{was}` and is `{is}`"));
        }
        if self.operators.len() == now.operators.len() {
            let pairs = self.operators.iter().zip(&now.operators);
            found.extend(pairs.filter_map(|(was, is)| was.difference(is)));
        } else {
            let names = |plan: &Self| plan.operators.iter().map(|operator| operator.name.clone()).collect::<Vec<_>>();
            found.push(counts("operator with state", &names(self), &names(now)));
        }
        found
    }

    /// # Errors
    /// When the query cannot go on from a checkpoint of this plan; says what differs and what to do.
    pub(super) fn check(&self, now: &Self, location: &str) -> Result<()> {
        let differences = self.differences(now);
        if differences.is_empty() {
            return Ok(());
        }
        Err(Error::state(format!(
            "the checkpoint in `{location}` is of another query: {}; restore the query, or use a new checkpointLocation",
            differences.join("; ")
        )))
    }
}

impl OperatorRecord {
    fn difference(&self, now: &Self) -> Option<String> {
        if self.identity != now.identity {
            return Some(format!(
                "operator `{}` was `{}` and operator `{}` in its place is `{}`",
                self.name, self.identity, now.name, now.identity
            ));
        }
        let is_cut_by_key = self.is_by_key && now.is_by_key;
        if !is_cut_by_key && self.parallelism != now.parallelism {
            return Some(format!(
                "operator `{}` had {} instances and has {}, and its rows do not come by key, so that nothing says which state \
                 belongs where; set millstream.parallelism as before, or use partitioned_by",
                now.name, self.parallelism, now.parallelism
            ));
        }
        None
    }
}

fn counts(what: &str, was: &[String], is: &[String]) -> String {
    let list = |names: &[String]| {
        let plural = if names.len() == 1 { "" } else { "s" };
        let what = match what.split_once(' ') {
            Some((noun, rest)) => format!("{noun}{plural} {rest}"),
            None => format!("{what}{plural}"),
        };
        if names.is_empty() { format!("no {what}") } else { format!("{} {what} ({})", names.len(), names.join(", ")) }
    };
    format!("it had {} and has {}", list(was), list(is))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn operator(name: &str, identity: &str, parallelism: u32) -> OperatorRecord {
        OperatorRecord { name: name.to_string(), identity: identity.to_string(), is_by_key: true, parallelism }
    }

    fn plan() -> PlanRecord {
        PlanRecord {
            output_mode: "append".to_string(),
            watermark_policy: "min".to_string(),
            watermark_nodes: vec!["watermark".to_string()],
            sources: vec!["TextFiles[a]".to_string()],
            operators: vec![operator("count", "aggregate by word STRING: count(*)", 2)],
            sinks: vec!["Console".to_string()],
        }
    }

    fn says(change: impl FnOnce(&mut PlanRecord)) -> String {
        let mut now = plan();
        change(&mut now);
        plan().check(&now, "/x").unwrap_err().to_string()
    }

    #[test]
    fn names_descriptions_and_the_parallelism_of_keyed_state_may_change() {
        let mut now = plan();
        now.sources = vec!["TextFiles[b]".to_string()];
        now.operators = vec![operator("tally", "aggregate by word STRING: count(*)", 4)];
        now.sinks = vec!["Memory".to_string()];
        now.watermark_nodes = vec!["watermark-2".to_string()];
        plan().check(&now, "/x").unwrap();
    }

    #[test]
    fn what_may_not_change_is_named_old_and_new() {
        let identity = says(|plan| plan.operators[0].identity = "aggregate by word STRING: sum(n)".to_string());
        assert!(identity.contains("operator `count` was `aggregate by word STRING: count(*)`"), "{identity}");
        assert!(identity.contains("is `aggregate by word STRING: sum(n)`"), "{identity}");
        assert!(identity.contains("`/x`") && identity.contains("use a new checkpointLocation"), "{identity}");
        let more = says(|plan| plan.sources.push("Rate".to_string()));
        assert!(more.contains("it had 1 source (TextFiles[a]) and has 2 sources (TextFiles[a], Rate)"), "{more}");
        let none = says(|plan| plan.operators.clear());
        assert!(none.contains("it had 1 operator with state (count) and has no operators with state"), "{none}");
        assert!(says(|plan| plan.output_mode = "update".to_string()).contains("was append and is update"));
        assert!(says(|plan| plan.watermark_policy = "max".to_string()).contains("was `min` and is `max`"));
        assert!(says(|plan| plan.watermark_nodes.clear()).contains("has no watermarks"));
        let unkeyed = says(|plan| (plan.operators[0].is_by_key, plan.operators[0].parallelism) = (false, 3));
        assert!(unkeyed.contains("had 2 instances and has 3"), "{unkeyed}");
    }
}
