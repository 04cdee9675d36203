//! From a checkpoint back to running operators.
//!
//! Owns: which nodes have state, and handing each instance what is its own. Does not own: what a checkpoint says (`checkpoint`).

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;

use super::io_pool::contained;
use crate::checkpoint::{CheckpointReader, OperatorRecord, PlanRecord, StateFile, route};
use crate::coordinator::{WatermarkNodeSpec, WatermarkPolicy};
use crate::error::{Error, Result};
use crate::observability::trace::RestoredState;
use crate::operator::{Checked, Operator, OperatorContext, OperatorFactory};
use crate::plan::execution::ExecutionGraph;
use crate::plan::topology::{NodeKind, Partitioning, Topology};
use crate::state::StatePart;
use crate::task::{OperatorTask, TaskId};

/// A node whose operator has state.
#[derive(Clone)]
pub(crate) struct StatefulNode {
    pub(crate) name: String,
    pub(crate) identity: String,
    pub(crate) is_by_key: bool,
    /// Its instances.
    pub(crate) tasks: Vec<TaskId>,
    factory: Arc<dyn OperatorFactory>,
    inputs: Vec<SchemaRef>,
}

impl StatefulNode {
    /// An instance beside the running ones, for making files of state fewer.
    pub(crate) fn fresh(&self) -> Result<Box<dyn Operator>> {
        let mut operator = Checked::new(self.name.clone(), self.factory.instance(), &self.inputs)?;
        let context =
            OperatorContext { name: self.name.clone(), instance: 0, parallelism: 1, inputs: self.inputs.clone() };
        operator.open(&context)?;
        Ok(Box::new(operator))
    }
}

/// The operator that a task is an instance of, by its place among those with state, and which instance.
pub(crate) fn owner(stateful: &[StatefulNode], task: TaskId) -> Option<(usize, usize)> {
    let instance = |node: &StatefulNode| node.tasks.iter().position(|own| *own == task);
    stateful.iter().enumerate().find_map(|(operator, node)| Some((operator, instance(node)?)))
}

/// The nodes with state, in the topology's order, which is the order in checkpoints. The operators are open.
pub(crate) fn stateful_nodes(
    topology: &Topology,
    graph: &ExecutionGraph,
    operators: &BTreeMap<TaskId, OperatorTask>,
) -> Vec<StatefulNode> {
    let mut stateful = Vec::new();
    for (index, node) in topology.nodes().iter().enumerate() {
        let NodeKind::Operator(factory) = &node.kind else { continue };
        let tasks: Vec<TaskId> = graph.instances(index).map(|task| task.id).collect();
        let Some(first) = graph.instances(index).next() else { continue };
        let Some(identity) = operators.get(&first.id).and_then(OperatorTask::state_identity) else { continue };
        let inputs = first.inputs.clone();
        let is_by_key = tasks.len() == 1 || is_by_key(topology, index);
        let (name, factory) = (node.name.clone(), Arc::clone(factory));
        stateful.push(StatefulNode { name, identity, is_by_key, tasks, factory, inputs });
    }
    stateful
}

fn is_by_key(topology: &Topology, node: usize) -> bool {
    let mut inputs = topology.edges().iter().filter(|edge| edge.to.index() == node);
    inputs.all(|edge| matches!(edge.partitioning, Partitioning::Hash(_)))
}

/// What of a query its checkpoint depends on.
pub(crate) fn plan_record(
    topology: &Topology,
    stateful: &[StatefulNode],
    nodes: &[WatermarkNodeSpec],
    policy: WatermarkPolicy,
) -> PlanRecord {
    let operator = |node: &StatefulNode| OperatorRecord {
        name: node.name.clone(),
        identity: node.identity.clone(),
        is_by_key: node.is_by_key,
        parallelism: u32::try_from(node.tasks.len()).unwrap_or(u32::MAX),
    };
    let policy = match policy {
        _ if nodes.is_empty() => "",
        WatermarkPolicy::Min => "min",
        WatermarkPolicy::Max => "max",
    };
    let kinds = || topology.nodes().iter().map(|node| &node.kind);
    PlanRecord {
        output_mode: topology.output_mode().to_string(),
        watermark_policy: policy.to_string(),
        watermark_nodes: nodes.iter().map(|node| node.name.clone()).collect(),
        sources: kinds()
            .filter_map(|kind| match kind {
                NodeKind::Source(source) => Some(source.description()),
                NodeKind::Operator(_) | NodeKind::Sink(_) => None,
            })
            .collect(),
        operators: stateful.iter().map(operator).collect(),
        sinks: kinds()
            .filter_map(|kind| match kind {
                NodeKind::Sink(sink) => Some(sink.description()),
                NodeKind::Source(_) | NodeKind::Operator(_) => None,
            })
            .collect(),
    }
}

/// Hands every instance its state.
///
/// # Errors
/// When a file is missing or damaged, or an operator does not take it; names the operator.
pub(crate) fn restore(
    reader: &CheckpointReader,
    files: &[Vec<StateFile>],
    stateful: &[StatefulNode],
    operators: &mut BTreeMap<TaskId, OperatorTask>,
) -> Result<RestoredState> {
    let mut restored = RestoredState::default();
    for (ordinal, (node, files)) in stateful.iter().zip(files).enumerate() {
        for file in files {
            let work = || restore_file(reader, ordinal, file, node, operators);
            contained("restoring", work).map_err(|error| error.context(format!("operator `{}`", node.name)))?;
            restored.files += 1;
            restored.rows += file.rows;
            restored.bytes += file.bytes;
        }
    }
    Ok(restored)
}

fn restore_file(
    reader: &CheckpointReader,
    ordinal: usize,
    file: &StateFile,
    node: &StatefulNode,
    operators: &mut BTreeMap<TaskId, OperatorTask>,
) -> Result<()> {
    for (rows, hashes) in reader.state(ordinal, file)? {
        let parts = if node.is_by_key {
            node.tasks.iter().zip(route((rows, hashes), node.tasks.len())?).collect::<Vec<_>>()
        } else {
            let owner = node.tasks.get(file.instance as usize);
            owner.map(|task| (task, StatePart { rows, hashes })).into_iter().collect()
        };
        for (task, part) in parts {
            let operator = operators.get_mut(task).ok_or_else(|| Error::internal("a task has no operator"))?;
            if part.rows.num_rows() > 0 {
                operator.restore(part)?;
            }
        }
    }
    Ok(())
}
