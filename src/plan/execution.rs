//! From a topology to tasks: instances of nodes and the channels between them.
//!
//! Owns: how many instances a node has, and the exchange in front of a node that needs its rows by key. Does not own:
//! threads; both the actor runtime and the simulator run what is laid out here.

use arrow::datatypes::SchemaRef;

use super::topology::{Edge, Node, NodeId, Partitioning, Topology};
use crate::protocol::credit::Window;
use crate::task::{InputChannel, Peer, TaskId, Wiring};

/// What a task runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum TaskKind {
    /// An instance of a source, operator or sink.
    Node(NodeId),
    /// The exchange on the edge with this number, at its sending end.
    Exchange { edge: usize, columns: Vec<usize>, receivers: usize },
}

/// One task of a query.
#[derive(Debug, Clone)]
pub(crate) struct TaskSpec {
    pub(crate) id: TaskId,
    pub(crate) kind: TaskKind,
    /// The name in traces: the node's, or `exchange(<receiver>)`.
    pub(crate) name: String,
    pub(crate) instance: usize,
    pub(crate) parallelism: usize,
    pub(crate) wiring: Wiring,
    /// The columns of each input port.
    pub(crate) inputs: Vec<SchemaRef>,
}

/// All tasks of a query; a task's number is its place.
#[derive(Debug, Clone)]
pub(crate) struct ExecutionGraph {
    pub(crate) tasks: Vec<TaskSpec>,
}

impl ExecutionGraph {
    /// Lays out a topology on `parallelism` instances.
    pub(crate) fn new(topology: &Topology, parallelism: usize, window: Window) -> Self {
        let mut layout =
            Layout { topology, parallelism, window, tasks: Vec::new(), first: Vec::new(), counts: Vec::new() };
        for (index, node) in topology.nodes().iter().enumerate() {
            layout.add_node(index, node);
        }
        Self { tasks: layout.tasks }
    }

    /// The numbers of all tasks.
    pub(crate) fn ids(&self) -> impl Iterator<Item = TaskId> {
        self.tasks.iter().map(|task| task.id)
    }

    /// The tasks of a node, by instance.
    pub(crate) fn instances(&self, node: usize) -> impl Iterator<Item = &TaskSpec> {
        self.tasks.iter().filter(move |task| matches!(task.kind, TaskKind::Node(id) if id.index() == node))
    }
}

struct Layout<'a> {
    topology: &'a Topology,
    parallelism: usize,
    window: Window,
    tasks: Vec<TaskSpec>,
    /// For each node, its first task and how many instances it has.
    first: Vec<usize>,
    counts: Vec<usize>,
}

impl Layout<'_> {
    fn add_node(&mut self, index: usize, node: &Node) {
        let inputs: Vec<(usize, Edge)> = self
            .topology
            .edges()
            .iter()
            .enumerate()
            .filter(|(_, edge)| edge.to.index() == index)
            .map(|(number, edge)| (number, edge.clone()))
            .collect();
        let count = self.instances_of(&inputs);
        let schemas: Vec<SchemaRef> =
            inputs.iter().map(|(_, edge)| self.topology.nodes()[edge.from.index()].schema.clone()).collect();
        let senders: Vec<(usize, Vec<usize>)> =
            inputs.iter().map(|(number, edge)| (edge.port, self.senders(*number, edge, node, count))).collect();
        self.counts.push(count);
        self.first.push(self.tasks.len());
        let first = self.tasks.len();
        for instance in 0..count {
            self.push(TaskKind::Node(NodeId::at(index)), node.name.clone(), instance, count, schemas.clone());
        }
        for ((port, senders), (_, edge)) in senders.iter().zip(&inputs) {
            self.connect(senders, first, count, *port, &edge.partitioning);
        }
    }

    /// A source has as many instances as the session; a node behind an exchange too; one that gathers has one; others
    /// as many as the widest they read from.
    fn instances_of(&self, inputs: &[(usize, Edge)]) -> usize {
        let of = |edge: &Edge| match edge.partitioning {
            Partitioning::Gather => 1,
            Partitioning::Hash(_) => self.parallelism,
            Partitioning::Forward => self.counts[edge.from.index()],
        };
        if inputs.iter().any(|(_, edge)| edge.partitioning == Partitioning::Gather) {
            return 1;
        }
        inputs.iter().map(|(_, edge)| of(edge)).max().unwrap_or(self.parallelism)
    }

    /// The tasks that send on an edge: the sender's instances, or the exchange put behind each of them.
    fn senders(&mut self, number: usize, edge: &Edge, to: &Node, receivers: usize) -> Vec<usize> {
        let from = edge.from.index();
        let senders: Vec<usize> = (self.first[from]..self.first[from] + self.counts[from]).collect();
        let Partitioning::Hash(columns) = &edge.partitioning else { return senders };
        let schema = self.topology.nodes()[from].schema.clone();
        let first = self.tasks.len();
        for instance in 0..senders.len() {
            let kind = TaskKind::Exchange { edge: number, columns: columns.clone(), receivers };
            let name = format!("exchange({})", to.name);
            self.push(kind, name, instance, senders.len(), vec![schema.clone()]);
        }
        self.connect(&senders, first, senders.len(), 0, &Partitioning::Forward);
        (first..first + senders.len()).collect()
    }

    fn push(&mut self, kind: TaskKind, name: String, instance: usize, parallelism: usize, inputs: Vec<SchemaRef>) {
        let id = TaskId(u32::try_from(self.tasks.len()).unwrap_or(u32::MAX));
        let wiring = Wiring { window: self.window, ..Wiring::default() };
        self.tasks.push(TaskSpec { id, kind, name, instance, parallelism, wiring, inputs });
    }

    /// Draws the channels of one edge.
    fn connect(&mut self, senders: &[usize], first: usize, count: usize, port: usize, partitioning: &Partitioning) {
        for (instance, sender) in senders.iter().enumerate() {
            let receivers: Vec<usize> = match partitioning {
                Partitioning::Hash(_) => (first..first + count).collect(),
                Partitioning::Forward | Partitioning::Gather => vec![first + instance % count],
            };
            self.connect_edge(*sender, &receivers, port);
        }
    }

    fn connect_edge(&mut self, sender: usize, receivers: &[usize], port: usize) {
        let first = self.tasks[sender].wiring.outputs.iter().map(Vec::len).sum();
        let mut peers = Vec::new();
        for (channel, receiver) in (first..).zip(receivers) {
            let from = Peer { task: self.tasks[sender].id, channel };
            let to = &mut self.tasks[*receiver];
            peers.push(Peer { task: to.id, channel: to.wiring.inputs.len() });
            to.wiring.inputs.push(InputChannel { port, from });
        }
        self.tasks[sender].wiring.outputs.push(peers);
    }
}
