//! Topologies: a query as named operators and the edges between them.
//!
//! Owns: the graph as public data, the builder that checks it, and its drawings. Does not own: tasks and channels
//! (`plan::execution`) or who runs them (`runtime`).

use std::fmt;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema, SchemaRef};

use crate::connector::{BatchTable, Sink, SourceFactory};
use crate::error::{Error, Result, suggestion};
use crate::operator::{Operator, OperatorFactory};
use crate::protocol::OutputMode;
use crate::types::{engine_schema, type_name};

/// A node's number in its topology.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct NodeId(usize);

impl NodeId {
    /// The node's place in [`Topology::nodes`].
    pub fn index(self) -> usize {
        self.0
    }

    pub(crate) fn at(index: usize) -> Self {
        Self(index)
    }
}

/// Which rows an instance of the receiver gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Partitioning {
    /// Instance i sends to instance i.
    Forward,
    /// Rows with equal values in these columns (by index) go to the same instance.
    Hash(Vec<usize>),
    /// Everything goes to the one instance of the receiver.
    Gather,
}

/// What a node does.
#[derive(Clone)]
pub enum NodeKind {
    /// Reads rows.
    Source(Arc<dyn SourceFactory>),
    /// Transforms rows.
    Operator(Arc<dyn OperatorFactory>),
    /// Writes rows.
    Sink(Arc<dyn Sink>),
}

impl fmt::Debug for NodeKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Source(_) => "Source",
            Self::Operator(_) => "Operator",
            Self::Sink(_) => "Sink",
        })
    }
}

/// A source, operator or sink.
#[derive(Clone)]
pub struct Node {
    /// Its name, unique in the topology.
    pub name: String,
    /// What it does.
    pub kind: NodeKind,
    /// The columns it puts out; for a sink, those it takes.
    pub schema: SchemaRef,
    /// Its parameters in one line.
    pub description: String,
    /// For a source, the columns to read by index; `None` is all.
    pub projection: Option<Vec<usize>>,
    /// For an operator, the static table it reads beside its inputs.
    pub table: Option<Arc<dyn BatchTable>>,
    /// For the half of an operator in front of an exchange, the other half, whose progress counts what both drop.
    pub half_of: Option<NodeId>,
}

/// A connection from one node to an input port of another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edge {
    /// The sender.
    pub from: NodeId,
    /// The receiver.
    pub to: NodeId,
    /// The receiver's input.
    pub port: usize,
    /// Which instance gets which rows.
    pub partitioning: Partitioning,
}

/// A query as a graph: what the planner makes of a DataFrame, or what a user wrote by hand.
///
/// ```
/// use millstream::prelude::*;
///
/// let mut topology = Topology::builder("word-count");
/// let lines = topology.source("lines", TextFiles::new("assets/lines"));
/// let words = topology.operator("split", Explode::words("value", "word")).after(lines);
/// let counts = topology.operator("count", CountBy::new("word")).partitioned_by(words, "word");
/// topology.sink("print", Console::new()).after(counts);
/// println!("{}", topology.build()?);
/// # Ok::<(), millstream::Error>(())
/// ```
#[derive(Clone)]
pub struct Topology {
    name: String,
    mode: OutputMode,
    nodes: Vec<Node>,
    edges: Vec<Edge>,
}

impl Topology {
    /// Starts a topology of this name.
    pub fn builder(name: impl Into<String>) -> TopologyBuilder {
        TopologyBuilder { name: name.into(), mode: OutputMode::default(), nodes: Vec::new(), inputs: Vec::new() }
    }

    /// Its name, which is also the query's.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// How sinks are to take the rows.
    pub fn output_mode(&self) -> OutputMode {
        self.mode
    }

    /// The nodes; each after those it reads from.
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The edges.
    pub fn edges(&self) -> &[Edge] {
        &self.edges
    }

    /// Whether an epoch without input may do something when the watermark moves: an operator below a watermark node says so. In
    /// complete mode it would only show the same table again.
    pub(crate) fn uses_watermark(&self) -> bool {
        if self.mode == OutputMode::Complete {
            return false;
        }
        let mut is_timed = vec![false; self.nodes.len()];
        for (index, node) in self.nodes.iter().enumerate() {
            let NodeKind::Operator(operator) = &node.kind else { continue };
            let operator = operator.instance();
            let below = self.inputs(NodeId(index)).any(|edge| is_timed[edge.from.0]);
            if below && operator.uses_watermark() {
                return true;
            }
            is_timed[index] = below || operator.watermark_delay().is_some();
        }
        false
    }

    /// The edges into a node, by port.
    pub fn inputs(&self, node: NodeId) -> impl Iterator<Item = &Edge> {
        self.edges.iter().filter(move |edge| edge.to == node)
    }

    /// Whether the rows of an epoch have to come in the order of their source.
    pub(crate) fn depends_on_order(&self) -> bool {
        self.nodes.iter().any(|node| match &node.kind {
            NodeKind::Operator(operator) => operator.instance().depends_on_order(),
            NodeKind::Source(_) | NodeKind::Sink(_) => false,
        })
    }

    /// The numbers of all nodes: each before what it reads, and of what it reads the first input's before the second's.
    pub(crate) fn nodes_from_output_down(&self) -> Vec<usize> {
        let is_read = |index: usize| self.edges.iter().any(|edge| edge.from.0 == index);
        let mut found = Vec::new();
        for index in (0..self.nodes.len()).filter(|index| !is_read(*index)) {
            self.visit_down(index, &mut found);
        }
        found
    }

    fn visit_down(&self, index: usize, found: &mut Vec<usize>) {
        if found.contains(&index) {
            return;
        }
        found.push(index);
        for edge in self.inputs(NodeId(index)) {
            self.visit_down(edge.from.0, found);
        }
    }

    pub(crate) fn renamed(mut self, name: &str) -> Self {
        self.name = name.to_string();
        self
    }

    /// A text drawing: sinks first, what they read below them.
    pub fn explain(&self) -> String {
        self.to_string()
    }

    /// A Mermaid flowchart, for a page or a README.
    pub fn to_mermaid(&self) -> String {
        let mut text = "flowchart LR\n".to_string();
        for (index, node) in self.nodes.iter().enumerate() {
            let (open, close) = node.brackets();
            let label = node.label().replace('"', "'");
            text.push_str(&format!("  n{index}{open}\"{label}\"{close}\n"));
        }
        for edge in &self.edges {
            text.push_str(&format!("  n{} -->|{}| n{}\n", edge.from.0, self.edge_label(edge), edge.to.0));
        }
        text
    }

    /// A graph for Graphviz's `dot`.
    pub fn to_dot(&self) -> String {
        let mut text = format!("digraph {:?} {{\n  rankdir=LR;\n  node [shape=box];\n", self.name);
        for (index, node) in self.nodes.iter().enumerate() {
            text.push_str(&format!("  n{index} [label={:?}];\n", node.label()));
        }
        for edge in &self.edges {
            text.push_str(&format!("  n{} -> n{} [label={:?}];\n", edge.from.0, edge.to.0, self.edge_label(edge)));
        }
        text.push_str("}\n");
        text
    }

    fn edge_label(&self, edge: &Edge) -> String {
        match &edge.partitioning {
            Partitioning::Forward => "forward".to_string(),
            Partitioning::Gather => "gather".to_string(),
            Partitioning::Hash(columns) => {
                let schema = &self.nodes[edge.from.0].schema;
                let names: Vec<_> = columns.iter().map(|column| schema.field(*column).name().as_str()).collect();
                format!("hash {}", names.join(", "))
            }
        }
    }

    fn write_node(&self, id: NodeId, depth: usize, via: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = &self.nodes[id.0];
        let columns: Vec<_> = node
            .schema
            .fields()
            .iter()
            .map(|field| format!("{} {}", field.name(), type_name(field.data_type())))
            .collect();
        writeln!(f, "{}{via}{} [{}]", "  ".repeat(depth), node.label(), columns.join(", "))?;
        for edge in self.inputs(id) {
            self.write_node(edge.from, depth + 1, &format!("<-{}- ", self.edge_label(edge)), f)?;
        }
        Ok(())
    }
}

impl fmt::Display for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "topology {} ({} mode)", self.name, self.mode)?;
        let read: Vec<_> = self.edges.iter().map(|edge| edge.from).collect();
        for index in (0..self.nodes.len()).rev().filter(|index| !read.contains(&NodeId(*index))) {
            self.write_node(NodeId(index), 1, "", f)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Topology {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

impl Node {
    fn word(&self) -> &'static str {
        match self.kind {
            NodeKind::Source(_) => "source",
            NodeKind::Operator(_) => "operator",
            NodeKind::Sink(_) => "sink",
        }
    }

    fn brackets(&self) -> (&'static str, &'static str) {
        match self.kind {
            NodeKind::Source(_) => ("([", "])"),
            NodeKind::Operator(_) => ("[", "]"),
            NodeKind::Sink(_) => ("[[", "]]"),
        }
    }

    fn label(&self) -> String {
        if self.description.is_empty() {
            format!("{} {}", self.word(), self.name)
        } else {
            format!("{} {}: {}", self.word(), self.name, self.description)
        }
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.label())
    }
}

/// How a partitioning was asked for, before the columns were looked up.
#[derive(Debug, Clone)]
enum Wanted {
    Forward,
    Gather,
    HashNames(Vec<String>),
    HashColumns(Vec<usize>),
}

struct Draft {
    name: String,
    kind: NodeKind,
    projection: Option<Vec<usize>>,
    table: Option<Arc<dyn BatchTable>>,
    half_of: Option<NodeId>,
}

/// Builds a [`Topology`]; names are the user's, partitioning is explicit, and [`build`](Self::build) checks.
#[must_use = "a topology is made by build()"]
pub struct TopologyBuilder {
    name: String,
    mode: OutputMode,
    nodes: Vec<Draft>,
    inputs: Vec<Vec<(NodeId, Wanted)>>,
}

impl fmt::Debug for TopologyBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopologyBuilder")
            .field("name", &self.name)
            .field("nodes", &self.nodes.len())
            .finish_non_exhaustive()
    }
}

/// A node being connected; give it its inputs in the order of its ports.
#[derive(Debug)]
pub struct NodeBuilder<'a> {
    builder: &'a mut TopologyBuilder,
    id: NodeId,
}

impl TopologyBuilder {
    /// How sinks are to take the rows; append unless said otherwise.
    pub fn output_mode(&mut self, mode: OutputMode) -> &mut Self {
        self.mode = mode;
        self
    }

    /// Adds a source.
    pub fn source(&mut self, name: impl Into<String>, source: impl SourceFactory) -> NodeId {
        self.add(name.into(), NodeKind::Source(Arc::new(source)), None)
    }

    pub(crate) fn projected_source(
        &mut self,
        name: String,
        source: Arc<dyn SourceFactory>,
        projection: Option<Vec<usize>>,
    ) -> NodeId {
        self.add(name, NodeKind::Source(source), projection)
    }

    /// Adds an operator; say next what it reads.
    pub fn operator(&mut self, name: impl Into<String>, operator: impl OperatorFactory) -> NodeBuilder<'_> {
        let id = self.add(name.into(), NodeKind::Operator(Arc::new(operator)), None);
        NodeBuilder { builder: self, id }
    }

    /// Adds a sink; say next what it reads.
    pub fn sink(&mut self, name: impl Into<String>, sink: impl Sink) -> NodeBuilder<'_> {
        self.shared_sink(name.into(), Arc::new(sink))
    }

    pub(crate) fn shared_sink(&mut self, name: String, sink: Arc<dyn Sink>) -> NodeBuilder<'_> {
        let id = self.add(name, NodeKind::Sink(sink), None);
        NodeBuilder { builder: self, id }
    }

    fn add(&mut self, name: String, kind: NodeKind, projection: Option<Vec<usize>>) -> NodeId {
        self.nodes.push(Draft { name, kind, projection, table: None, half_of: None });
        self.inputs.push(Vec::new());
        NodeId(self.nodes.len() - 1)
    }

    /// Checks the graph.
    ///
    /// # Errors
    /// When a name is used twice, a node reads nothing or nobody reads it, a partitioning column does not exist, an
    /// operator cannot work on its inputs, or there is no source or sink.
    #[track_caller]
    pub fn build(self) -> Result<Topology> {
        let location = std::panic::Location::caller();
        self.built().map_err(|error| error.at(location))
    }

    fn built(self) -> Result<Topology> {
        let mut topology = Topology { name: self.name, mode: self.mode, nodes: Vec::new(), edges: Vec::new() };
        for (index, (draft, inputs)) in self.nodes.into_iter().zip(self.inputs).enumerate() {
            topology.append(NodeId(index), draft, inputs)?;
        }
        topology.check_ends()?;
        Ok(topology)
    }
}

impl Topology {
    fn append(&mut self, id: NodeId, draft: Draft, inputs: Vec<(NodeId, Wanted)>) -> Result<()> {
        let name = draft.name.clone();
        if self.nodes.iter().any(|node| node.name == name) {
            return Err(Error::plan(format!("topology `{}` has two nodes named `{name}`", self.name)));
        }
        for (port, (from, wanted)) in inputs.into_iter().enumerate() {
            let partitioning =
                wanted.resolve(&self.nodes[from.0]).map_err(|error| error.context(format!("node `{name}`")))?;
            let gathers = matches!(&draft.kind, NodeKind::Sink(sink) if !sink.is_parallel());
            let partitioning = if gathers { Partitioning::Gather } else { partitioning };
            self.edges.push(Edge { from, to: id, port, partitioning });
        }
        let schemas: Vec<SchemaRef> = self.inputs(id).map(|edge| Arc::clone(&self.nodes[edge.from.0].schema)).collect();
        let node = self.finished(draft, &schemas).map_err(|error| error.context(format!("node `{name}`")))?;
        self.nodes.push(node);
        Ok(())
    }

    fn finished(&self, draft: Draft, inputs: &[SchemaRef]) -> Result<Node> {
        let reads_nothing = || Error::plan("reads nothing; connect it with .after(…)");
        let (schema, description) = match &draft.kind {
            NodeKind::Source(source) => {
                let schema = match &draft.projection {
                    None => source.schema(),
                    Some(columns) => Arc::new(source.schema().project(columns)?),
                };
                (schema, source.description())
            }
            NodeKind::Operator(operator) => {
                inputs.first().ok_or_else(reads_nothing)?;
                let mut operator = operator.instance();
                let schema = operator.output_schema(inputs)?;
                let table = checked_table(operator.as_mut(), draft.table.as_deref())?;
                (
                    schema,
                    table.map_or_else(|| operator.describe(), |table| format!("{} with {table}", operator.describe())),
                )
            }
            NodeKind::Sink(sink) => {
                let schema = Arc::clone(inputs.first().ok_or_else(reads_nothing)?);
                sink.check(self.mode, &schema)?;
                (schema, sink.description())
            }
        };
        let Draft { name, kind, projection, table, half_of } = draft;
        Ok(Node { name, kind, schema, description, projection, table, half_of })
    }

    fn check_ends(&self) -> Result<()> {
        let of_kind = |word: &str| self.nodes.iter().any(|node| node.word() == word);
        for word in ["source", "sink"] {
            if !of_kind(word) {
                return Err(Error::plan(format!("topology `{}` has no {word}", self.name)));
            }
        }
        let is_read = |index: usize| self.edges.iter().any(|edge| edge.from.0 == index);
        let idle = self.nodes.iter().enumerate().find(|(index, node)| node.word() != "sink" && !is_read(*index));
        match idle {
            Some((_, node)) => {
                Err(Error::plan(format!("nothing reads node `{}` of topology `{}`", node.name, self.name)))
            }
            None => Ok(()),
        }
    }
}

/// What the table is called that an operator reads beside its inputs, if it reads one.
fn checked_table(operator: &mut dyn Operator, table: Option<&dyn BatchTable>) -> Result<Option<String>> {
    let (side, table) = match (operator.static_side(), table) {
        (None, None) => return Ok(None),
        (Some(_), None) => return Err(Error::plan("reads a static table; name it with .reading(…)")),
        (None, Some(table)) => {
            return Err(Error::plan(format!("reads no static table, but was given {}", table.description())));
        }
        (Some(side), Some(table)) => (side, table),
    };
    let (found, wanted) = (engine_schema(&table.schema()), side.schema());
    let types = |schema: &Schema| {
        schema.fields().iter().map(|field| type_name(field.data_type())).collect::<Vec<_>>().join(", ")
    };
    let is_same = |(one, other): (&FieldRef, &FieldRef)| one.data_type() == other.data_type();
    if found.fields().len() != wanted.fields().len() || !found.fields().iter().zip(wanted.fields()).all(is_same) {
        let (found, wanted, table) = (types(&found), types(wanted), table.description());
        return Err(Error::plan(format!("was made for a static table of ({wanted}), but {table} has ({found})")));
    }
    Ok(Some(table.description()))
}

impl Wanted {
    fn resolve(self, from: &Node) -> Result<Partitioning> {
        Ok(match self {
            Self::Forward => Partitioning::Forward,
            Self::Gather => Partitioning::Gather,
            Self::HashColumns(columns) => match columns.iter().find(|column| **column >= from.schema.fields().len()) {
                None => Partitioning::Hash(columns),
                Some(column) => {
                    let count = from.schema.fields().len();
                    let message = format!("`{}` has no column {column} to partition by, only {count}", from.name);
                    return Err(Error::plan(message));
                }
            },
            Self::HashNames(names) => {
                let find = |name: &String| {
                    let fields = from.schema.fields();
                    fields.iter().position(|field| field.name().eq_ignore_ascii_case(name)).ok_or_else(|| {
                        let near = suggestion(name, fields.iter().map(|field| field.name().as_str()));
                        Error::plan(format!("`{}` has no column `{name}` to partition by{near}", from.name))
                    })
                };
                Partitioning::Hash(names.iter().map(find).collect::<Result<_>>()?)
            }
        })
    }
}

impl NodeBuilder<'_> {
    /// Reads `from`, instance by instance.
    pub fn after(self, from: NodeId) -> NodeId {
        self.connect([(from, Wanted::Forward)])
    }

    /// Reads several nodes, each on its own port in this order, instance by instance.
    pub fn after_all(self, from: impl IntoIterator<Item = NodeId>) -> NodeId {
        self.connect(from.into_iter().map(|from| (from, Wanted::Forward)))
    }

    /// Reads `from` so that rows with equal values in `columns` meet in one instance.
    pub fn partitioned_by(self, from: NodeId, columns: impl crate::expr::IntoNames) -> NodeId {
        self.connect([(from, Wanted::HashNames(columns.into_names()))])
    }

    /// Reads `from` in one instance that sees every row.
    pub fn gathered_from(self, from: NodeId) -> NodeId {
        self.connect([(from, Wanted::Gather)])
    }

    pub(crate) fn partitioned_by_columns(self, from: NodeId, columns: Vec<usize>) -> NodeId {
        self.connect([(from, Wanted::HashColumns(columns))])
    }

    /// Reads several nodes, each on its own port in this order, so that rows with equal values in these columns, by index and in
    /// the order given, meet in one instance.
    pub fn partitioned_together(self, from: impl IntoIterator<Item = (NodeId, Vec<usize>)>) -> NodeId {
        self.connect(from.into_iter().map(|(from, columns)| (from, Wanted::HashColumns(columns))))
    }

    /// Reads a static table beside its inputs. A query reads it when it starts, and again between two epochs when it has changed;
    /// all instances share one copy.
    #[must_use]
    pub fn reading(self, table: Arc<dyn BatchTable>) -> Self {
        self.builder.nodes[self.id.0].table = Some(table);
        self
    }

    /// What `half` drops is counted as this node's.
    pub(crate) fn completing(self, half: NodeId) -> Self {
        self.builder.nodes[half.0].half_of = Some(self.id);
        self
    }

    fn connect(self, inputs: impl IntoIterator<Item = (NodeId, Wanted)>) -> NodeId {
        self.builder.inputs[self.id.0].extend(inputs);
        self.id
    }
}
