//! Typed streaming plans to topologies.
//!
//! Owns: which operators a relation becomes and where rows have to meet. Does not own: the operators.
//!
//! ```text
//! Aggregate(keys)  ─▶  partial_aggregate ─hash keys─▶ aggregate        Sort, Limit  ─▶  one instance
//! Aggregate()      ─▶  partial_aggregate ─gather────▶ aggregate        Unnest       ─▶  explode
//! … by sessions    ─▶  partial_sessions  ─hash keys─▶ sessions         Watermark    ─▶  watermark
//! Deduplicate      ─hash keys─▶ deduplicate                            windows(…) below Aggregate ─▶ made by its halves
//! Join of streams  ─hash keys of each side─▶ join                      Join with a table ─▶ join, wherever its rows are
//! ```

mod join;

use std::collections::HashMap;
use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{DFSchema, NullHandling, ScalarValue};
use datafusion::logical_expr::execution_props::ExecutionProps;
use datafusion::logical_expr::expr::AggregateFunction;
use datafusion::logical_expr::physical_planning_context::PhysicalPlanningContext;
use datafusion::logical_expr::{
    Aggregate, Case, Expr as TypedExpr, ExprSchemable, FetchType, Filter as TypedFilter, Join, Limit as TypedLimit,
    LogicalPlan as TypedPlan, Projection, SkipType, Sort as TypedSort, TableScan, Union as TypedUnion, Unnest,
};
use datafusion::physical_expr::aggregate::LoweredAggregateBuilder;

use super::aggregate::DataFusionAggregate;
use super::checks::stream_of;
use super::compile::compile;
use super::event_time::{DeduplicatePlan, Shape, as_deduplicate, as_watermark, marks, session_key, time_key};
use super::functions::window::{SESSION_WINDOWS, windows_of};
use super::translated;
use crate::connector::{Sink, SourceFactory};
use crate::error::{Error, Result};
use crate::operator::aggregate::NativeFunction;
use crate::operator::{
    AggregateCall, AggregateSpec, Deduplicate, DeduplicateWithin, Explode, ExpressionRef, Filter, FinalAggregate,
    FinalSessions, Limit, LimitScope, OperatorFactory, PartialAggregate, PartialSessions, Project, Sort, SortKey,
    TimeKey, TimeKind, Union, WatermarkNode, Windows, reason,
};
use crate::plan::topology::{NodeId, Topology, TopologyBuilder};
use crate::plan::{PlanContext, Refusal};
use crate::protocol::OutputMode;

/// Lowers `plan`, whose output columns are shown as `names`, to a topology that ends in `sink`.
///
/// # Errors
/// When a relation has no streaming operator.
pub(super) fn lower(
    plan: &TypedPlan,
    names: &[String],
    name: &str,
    mode: OutputMode,
    context: &PlanContext,
    sink: Arc<dyn Sink>,
) -> Result<Topology> {
    let mut builder = Topology::builder(name);
    builder.output_mode(mode);
    let mut lowering = Lowering {
        builder,
        mode,
        context: context.clone(),
        used: HashMap::new(),
        scans: HashMap::new(),
        sources: HashMap::new(),
    };
    lowering.collect_scans(plan);
    let last = lowering.relation(plan)?;
    let last = lowering.show(plan, names, last)?;
    lowering.builder.shared_sink("sink".to_string(), sink).after(last);
    lowering.builder.build()
}

/// The address of a source's factory: scans of one factory are one source.
type FactoryAddress = usize;

struct Lowering {
    builder: TopologyBuilder,
    mode: OutputMode,
    context: PlanContext,
    /// How often each node name was used.
    used: HashMap<&'static str, usize>,
    /// The columns that any scan of a factory reads.
    scans: HashMap<FactoryAddress, Vec<usize>>,
    sources: HashMap<FactoryAddress, NodeId>,
}

fn address(factory: &Arc<dyn SourceFactory>) -> FactoryAddress {
    Arc::as_ptr(factory).cast::<()>().addr()
}

impl Lowering {
    /// A name not used yet: `filter`, `filter-2`, …
    fn name(&mut self, base: &'static str) -> String {
        let count = self.used.entry(base).or_default();
        *count += 1;
        if *count == 1 { base.to_string() } else { format!("{base}-{count}") }
    }

    fn after(&mut self, base: &'static str, operator: impl OperatorFactory, input: NodeId) -> NodeId {
        let name = self.name(base);
        self.builder.operator(name, operator).after(input)
    }

    fn relation(&mut self, plan: &TypedPlan) -> Result<NodeId> {
        match plan {
            TypedPlan::TableScan(scan) => self.scan(scan),
            TypedPlan::Projection(projection) => self.projection(projection),
            TypedPlan::Filter(filter) => {
                let input = self.relation(&filter.input)?;
                let operator = Filter::new(compile(&filter.predicate, filter.input.schema())?);
                let operator = if keeps_sessions(filter) { operator.counting(reason::NO_SESSION) } else { operator };
                Ok(self.after("filter", operator, input))
            }
            TypedPlan::Unnest(unnest) => self.unnest(unnest),
            TypedPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            TypedPlan::Union(union) => self.union(union),
            TypedPlan::Join(join) => Ok(self.join(join, None)?.node),
            TypedPlan::Sort(sort) => self.sort(sort),
            TypedPlan::Limit(limit) => self.limit(limit),
            TypedPlan::SubqueryAlias(alias) => self.relation(&alias.input),
            TypedPlan::Extension(_) => self.extension(plan),
            other => Err(Error::internal(format!("no streaming operator for {}", other.display()))),
        }
    }

    /// Notes which columns each source has to read.
    fn collect_scans(&mut self, plan: &TypedPlan) {
        if let TypedPlan::TableScan(scan) = plan
            && let Some(factory) = stream_of(scan)
        {
            let columns = self.scans.entry(address(&factory)).or_default();
            columns.extend(scanned(scan, &factory));
            columns.sort_unstable();
            columns.dedup();
        }
        for input in plan.inputs() {
            self.collect_scans(input);
        }
    }

    fn scan(&mut self, scan: &TableScan) -> Result<NodeId> {
        let factory = stream_of(scan).ok_or_else(|| Error::internal("a static table stands where a stream should"))?;
        let columns = self.scans.get(&address(&factory)).cloned().unwrap_or_default();
        let source = if let Some(source) = self.sources.get(&address(&factory)) {
            *source
        } else {
            let name = self.name("source");
            let projection = (columns.len() < factory.schema().fields().len()).then(|| columns.clone());
            let source = self.builder.projected_source(name, Arc::clone(&factory), projection);
            self.sources.insert(address(&factory), source);
            source
        };
        self.columns_of(scan, &factory, &columns, source)
    }

    /// Picks this scan's columns out of those its source reads, under its own internal names.
    fn columns_of(
        &mut self,
        scan: &TableScan,
        factory: &Arc<dyn SourceFactory>,
        read: &[usize],
        source: NodeId,
    ) -> Result<NodeId> {
        let wanted = scanned(scan, factory);
        if wanted == read {
            return Ok(source);
        }
        let schema = factory.schema().project(read)?;
        let schema = DFSchema::try_from(crate::types::engine_schema(&schema)).map_err(translated)?;
        let mut columns: Vec<(FieldRef, ExpressionRef)> = Vec::new();
        for (index, field) in wanted.iter().zip(scan.projected_schema.fields()) {
            let name = factory.schema().field(*index).name().clone();
            let column = TypedExpr::Column(datafusion::common::Column::new_unqualified(name));
            columns.push((nullable(field), compile(&column, &schema)?));
        }
        Ok(self.after("project", Project::new(columns), source))
    }

    fn projection(&mut self, projection: &Projection) -> Result<NodeId> {
        if let TypedPlan::Join(join) = projection.input.as_ref() {
            return self.joined_columns(projection, join);
        }
        let input = self.relation(&projection.input)?;
        if is_identity(&projection.expr, projection.input.schema()) {
            return Ok(input);
        }
        self.computed(projection, projection.input.schema(), input)
    }

    /// A join gathers only the columns that are read above it.
    fn joined_columns(&mut self, projection: &Projection, join: &Join) -> Result<NodeId> {
        let read =
            projection.expr.iter().flat_map(|expr| expr.column_refs()).map(|column| column.name.clone()).collect();
        let joined = self.join(join, Some(&read))?;
        if is_identity(&projection.expr, &joined.schema) {
            return Ok(joined.node);
        }
        self.computed(projection, &joined.schema, joined.node)
    }

    /// The columns of a projection, computed from those of `schema`.
    fn computed(&mut self, projection: &Projection, schema: &DFSchema, input: NodeId) -> Result<NodeId> {
        let mut columns: Vec<(FieldRef, ExpressionRef)> = Vec::new();
        for (expr, field) in projection.expr.iter().zip(projection.schema.fields()) {
            columns.push((nullable(field), compile(expr, schema)?));
        }
        Ok(self.after("project", Project::new(columns), input))
    }

    /// Shows the user's names instead of the internal ones.
    fn show(&mut self, plan: &TypedPlan, names: &[String], last: NodeId) -> Result<NodeId> {
        let mut columns: Vec<(FieldRef, ExpressionRef)> = Vec::new();
        for ((column, field), name) in plan.schema().columns().into_iter().zip(plan.schema().fields()).zip(names) {
            let shown = field.as_ref().clone().with_name(name).with_nullable(true).with_metadata([].into());
            columns.push((Arc::new(shown), compile(&TypedExpr::Column(column), plan.schema())?));
        }
        Ok(self.after("output", Project::new(columns), last))
    }

    fn unnest(&mut self, unnest: &Unnest) -> Result<NodeId> {
        let [(index, _)] = unnest.list_type_columns.as_slice() else {
            return Err(Error::internal("an explode of several columns"));
        };
        let keeps_empty = unnest.options.null_handling == NullHandling::PreserveAndExpandEmpty;
        let output = nullable(&unnest.schema.fields()[*index]);
        if !keeps_empty && let Some((column, separator, schema)) = split_literal(&unnest.input)? {
            let (input, column) = self.split_input(unnest, &column, &schema)?;
            return Ok(self.after("explode", Explode::split_literal(column, &separator, output), input));
        }
        let input = self.relation(&unnest.input)?;
        let explode = Explode::column(*index, output, keeps_empty);
        let is_windows = windows_call(unnest).is_some();
        let explode = if is_windows { explode.counting(reason::NULL_TIME) } else { explode };
        Ok(self.after(if is_windows { "windows" } else { "explode" }, explode, input))
    }

    /// What comes in to a split that is done together with the explode above it, and the index of the column that is split.
    fn split_input(
        &mut self,
        unnest: &Unnest,
        column: &datafusion::common::Column,
        schema: &DFSchema,
    ) -> Result<(NodeId, usize)> {
        let input = match unnest.input.as_ref() {
            TypedPlan::Projection(projection) => self.relation(&projection.input)?,
            other => self.relation(other)?,
        };
        let column = schema.maybe_index_of_column(column).ok_or_else(|| Error::internal("split lost its column"))?;
        Ok((input, column))
    }

    fn extension(&mut self, plan: &TypedPlan) -> Result<NodeId> {
        if let Some(watermark) = as_watermark(plan) {
            let input = self.relation(&watermark.input)?;
            let column = index_of(&watermark.input, &watermark.column)?;
            let node = WatermarkNode::new(column, watermark.delay).with_max_ahead(self.context.max_ahead);
            return Ok(self.after("watermark", node, input));
        }
        match as_deduplicate(plan) {
            Some(deduplicate) => self.deduplicate(deduplicate),
            None => Err(Error::internal(format!("no streaming operator for {}", plan.display()))),
        }
    }

    fn deduplicate(&mut self, deduplicate: &DeduplicatePlan) -> Result<NodeId> {
        let input = self.relation(&deduplicate.input)?;
        let place = |name: &String| index_of(&deduplicate.input, name);
        let keys = deduplicate.keys.iter().map(place).collect::<Result<Vec<_>>>()?;
        let marks = marks(&deduplicate.input);
        let marked = marks.iter().find_map(|(name, mark)| Some((name, mark.delay?)));
        let marked = marked.map(|(name, delay)| Ok::<_, Error>((place(name)?, delay))).transpose()?;
        let name = self.name("deduplicate");
        let node = match marked {
            Some((column, delay)) if deduplicate.is_within_watermark => {
                let operator = DeduplicateWithin::new(keys.clone(), column, delay).with_exchanged_keys();
                self.builder.operator(name, operator)
            }
            _ => {
                let time = marked.map(|(column, _)| column);
                // In complete mode nothing is late, and nothing forgotten.
                let is_judging = self.mode != OutputMode::Complete;
                self.builder.operator(name, Deduplicate::new(keys.clone(), time, is_judging).with_exchanged_keys())
            }
        };
        Ok(node.partitioned_by_columns(input, keys))
    }

    fn aggregate(&mut self, aggregate: &Aggregate) -> Result<NodeId> {
        if let Some(place) = session_key(aggregate) {
            return self.sessions(aggregate, place);
        }
        if let Some(node) = self.counted_pieces(aggregate)? {
            return Ok(node);
        }
        let fused = windows_below(aggregate);
        let input = match &fused {
            Some(fused) => self.relation(fused.input)?,
            None => self.relation(&aggregate.input)?,
        };
        let mut spec = spec(aggregate, fused.as_ref())?;
        spec.time = self.time_key(aggregate, fused.as_ref());
        let partial = self.after("partial_aggregate", PartialAggregate::new(spec.clone()), input);
        let (columns, is_global) = (spec.exchange_columns(), spec.keys.is_empty());
        let name = self.name("aggregate");
        let last = self.builder.operator(name, FinalAggregate::new(spec, self.mode)).completing(partial);
        Ok(if is_global { last.gathered_from(partial) } else { last.partitioned_by_columns(partial, columns) })
    }

    /// A count of the pieces of a split text, grouped by these alone: cutting and counting are one step. `None` for any other aggregation.
    fn counted_pieces(&mut self, aggregate: &Aggregate) -> Result<Option<NodeId>> {
        let Some(unnest) = exploded(&aggregate.input) else { return Ok(None) };
        let keeps_empty = unnest.options.null_handling == NullHandling::PreserveAndExpandEmpty;
        let [key] = aggregate.group_expr.as_slice() else { return Ok(None) };
        if !matches!(unaliased(key), TypedExpr::Column(_)) {
            return Ok(None);
        }
        let (false, Some((column, separator, schema))) = (keeps_empty, split_literal(&unnest.input)?) else {
            return Ok(None);
        };
        let spec = spec(aggregate, None)?;
        if !spec.calls.iter().all(|call| call.arguments.is_empty()) {
            return Ok(None);
        }
        let (input, column) = self.split_input(unnest, &column, &schema)?;
        let half = PartialAggregate::of_pieces(spec.clone(), column, &separator);
        let partial = self.after("explode", half, input);
        let (name, columns) = (self.name("aggregate"), spec.exchange_columns());
        let last = self.builder.operator(name, FinalAggregate::new(spec, self.mode)).completing(partial);
        Ok(Some(last.partitioned_by_columns(partial, columns)))
    }

    /// The key by which state is kept and freed.
    fn time_key(&self, aggregate: &Aggregate, fused: Option<&FusedWindows>) -> Option<TimeKey> {
        let (place, mark) = time_key(aggregate)?;
        // In complete mode nothing is late and nothing final.
        let is_watermarked = mark.delay.is_some() && self.mode != OutputMode::Complete;
        let kind = match (fused, mark.shape) {
            (Some(fused), _) => TimeKind::Windows(fused.windows),
            (None, Shape::Time) if is_watermarked => TimeKind::Time,
            (None, Shape::Window) if is_watermarked => TimeKind::WindowColumn,
            (None, _) => return None,
        };
        Some(TimeKey { place, kind, is_watermarked })
    }

    fn sessions(&mut self, aggregate: &Aggregate, place: usize) -> Result<NodeId> {
        let input = self.relation(&aggregate.input)?;
        let spec = spec(aggregate, None)?;
        let is_watermarked = time_key(aggregate).is_some_and(|(_, mark)| mark.delay.is_some());
        let judges_late = is_watermarked && self.mode != OutputMode::Complete;
        let half = PartialSessions::new(spec.clone(), place, judges_late);
        let partial = self.after("partial_sessions", half, input);
        let columns = PartialSessions::key_columns(&spec);
        let name = self.name("sessions");
        let mut sessions = FinalSessions::new(spec, place, is_watermarked, self.mode);
        if let Some(TypedExpr::Column(key)) = aggregate.group_expr.get(place).map(unaliased)
            && let Some(text) = sessions_text(&aggregate.input, &key.name)
        {
            sessions = sessions.described(text);
        }
        let last = self.builder.operator(name, sessions).completing(partial);
        Ok(if columns.is_empty() { last.gathered_from(partial) } else { last.partitioned_by_columns(partial, columns) })
    }

    fn union(&mut self, union: &TypedUnion) -> Result<NodeId> {
        let mut inputs = Vec::new();
        for (number, input) in union.inputs.iter().enumerate() {
            let node = self.relation(input)?;
            // The first input names the columns; the others are brought under the same names.
            inputs.push(if number == 0 { node } else { self.renamed_like(union, input, node)? });
        }
        let name = self.name("union");
        Ok(self.builder.operator(name, Union::new(inputs.len())).after_all(inputs))
    }

    fn renamed_like(&mut self, union: &TypedUnion, input: &TypedPlan, node: NodeId) -> Result<NodeId> {
        let same =
            input.schema().fields().iter().zip(union.schema.fields()).all(|(own, other)| own.name() == other.name());
        if same {
            return Ok(node);
        }
        let mut columns: Vec<(FieldRef, ExpressionRef)> = Vec::new();
        for (column, field) in input.schema().columns().into_iter().zip(union.schema.fields()) {
            columns.push((nullable(field), compile(&TypedExpr::Column(column), input.schema())?));
        }
        Ok(self.after("project", Project::new(columns), node))
    }

    fn sort(&mut self, sort: &TypedSort) -> Result<NodeId> {
        let input = self.relation(&sort.input)?;
        let mut keys = Vec::new();
        for key in &sort.expr {
            let expression = compile(&key.expr, sort.input.schema())?;
            keys.push(SortKey { expression, ascending: key.asc, nulls_first: key.nulls_first });
        }
        let name = self.name("sort");
        Ok(self.builder.operator(name, Sort::new(keys, sort.fetch)).gathered_from(input))
    }

    fn limit(&mut self, limit: &TypedLimit) -> Result<NodeId> {
        let input = self.relation(&limit.input)?;
        let none_skipped = matches!(limit.get_skip_type().map_err(translated)?, SkipType::Literal(0));
        let (FetchType::Literal(Some(count)), true) = (limit.get_fetch_type().map_err(translated)?, none_skipped)
        else {
            return Err(Refusal::Offset.into());
        };
        // In complete mode an aggregation below brings the whole table each epoch; otherwise rows come once.
        let shows_again = self.mode == OutputMode::Complete && shows_table_again(&limit.input);
        let scope = if shows_again { LimitScope::Epoch } else { LimitScope::Stream };
        let name = self.name("limit");
        Ok(self.builder.operator(name, Limit::new(count as u64, scope)).gathered_from(input))
    }
}

/// Whether the rows of `plan` come again in every epoch, as an aggregation's do in complete mode.
fn shows_table_again(plan: &TypedPlan) -> bool {
    matches!(plan, TypedPlan::Aggregate(_)) || plan.inputs().into_iter().any(shows_table_again)
}

/// The compiled keys and calls of an aggregation; with windows made below it, over what these are made of.
pub(super) fn spec(aggregate: &Aggregate, fused: Option<&FusedWindows>) -> Result<AggregateSpec> {
    let (schema, (group_expr, aggr_expr)) = match fused {
        Some(fused) => (fused.input.schema(), fused.substituted(aggregate)?),
        None => (aggregate.input.schema(), (aggregate.group_expr.clone(), aggregate.aggr_expr.clone())),
    };
    let fields = aggregate.schema.fields();
    let keys = group_expr.iter().map(|key| compile(key, schema)).collect::<Result<Vec<_>>>()?;
    let key_fields: Vec<FieldRef> = fields[..keys.len()].iter().map(nullable).collect();
    let mut calls = Vec::new();
    for (call, field) in aggr_expr.iter().zip(&fields[keys.len()..]) {
        calls.push(aggregate_call(call, field.name(), schema)?);
    }
    Ok(AggregateSpec { keys, key_fields, calls, time: None })
}

/// Windows that are made right below an aggregation, so that it can make them itself and never has to see them as columns.
pub(super) struct FusedWindows<'a> {
    windows: Windows,
    /// What the windows are made over.
    input: &'a TypedPlan,
    /// The columns the aggregation reads, by name, over that; of the window column, the time it is made of.
    columns: HashMap<String, TypedExpr>,
}

impl FusedWindows<'_> {
    /// The keys and calls of the aggregation over the input of the windows.
    fn substituted(&self, aggregate: &Aggregate) -> Result<(Vec<TypedExpr>, Vec<TypedExpr>)> {
        let over = |expr: &TypedExpr| {
            let replaced = expr.clone().transform_up(|node| match &node {
                TypedExpr::Column(column) => match self.columns.get(&column.name) {
                    Some(value) => Ok(Transformed::yes(value.clone())),
                    None => Ok(Transformed::no(node)),
                },
                _ => Ok(Transformed::no(node)),
            });
            replaced.map(|replaced| replaced.data).map_err(translated)
        };
        let keys = aggregate.group_expr.iter().map(over).collect::<Result<_>>()?;
        let calls = aggregate.aggr_expr.iter().map(over).collect::<Result<_>>()?;
        Ok((keys, calls))
    }
}

/// The windows right below an aggregation, if the window is one of its keys and read by nothing else.
fn windows_below(aggregate: &Aggregate) -> Option<FusedWindows<'_>> {
    let TypedPlan::Unnest(unnest) = aggregate.input.as_ref() else { return None };
    let (projection, index, time, windows) = windows_call(unnest)?;
    let name = projection.schema.field(index).name().clone();
    let is_window = |expr: &TypedExpr| matches!(unaliased(expr), TypedExpr::Column(column) if column.name == name);
    let keys = aggregate.group_expr.iter().filter(|key| is_window(key)).count();
    let mut others = aggregate.group_expr.iter().filter(|key| !is_window(key)).chain(&aggregate.aggr_expr);
    if keys != 1 || others.any(|expr| expr.column_refs().iter().any(|column| column.name == name)) {
        return None;
    }
    let plain = projection.expr.iter().zip(projection.schema.fields()).map(|(expr, field)| {
        let value = if *field.name() == name { time.clone() } else { unaliased(expr).clone() };
        (field.name().clone(), value)
    });
    Some(FusedWindows { windows, input: projection.input.as_ref(), columns: plain.collect() })
}

/// The projection below an unnest, and in it the windows which are unnested, with the time they are made of.
fn windows_call(unnest: &Unnest) -> Option<(&Projection, usize, &TypedExpr, Windows)> {
    let TypedPlan::Projection(projection) = unnest.input.as_ref() else { return None };
    let [(index, _)] = unnest.list_type_columns.as_slice() else { return None };
    let TypedExpr::ScalarFunction(function) = unaliased(projection.expr.get(*index)?) else { return None };
    let (time, windows) = windows_of(function)?;
    Some((projection, *index, time, windows))
}

/// What makes the sessions in a column of `plan`: the time and the gap.
fn sessions_text(plan: &TypedPlan, column: &str) -> Option<String> {
    let TypedPlan::Projection(projection) = plan else {
        return match plan.inputs().as_slice() {
            [input] => sessions_text(input, column),
            _ => None,
        };
    };
    let place = projection.schema.fields().iter().position(|field| field.name() == column)?;
    match unaliased(projection.expr.get(place)?) {
        TypedExpr::Column(below) => sessions_text(&projection.input, &below.name),
        TypedExpr::ScalarFunction(function) if function.func.name() == SESSION_WINDOWS => {
            let arguments: Vec<String> = function.args.iter().map(ToString::to_string).collect();
            Some(arguments.join(", gap "))
        }
        _ => None,
    }
}

/// Whether a filter only drops the rows that are in no session: it asks whether there is one, or a column of sessions.
fn keeps_sessions(filter: &TypedFilter) -> bool {
    let marks = marks(&filter.input);
    let is_session = |column: &str| marks.get(column).is_some_and(|mark| mark.shape == Shape::Session);
    let TypedExpr::IsNotNull(inner) = &filter.predicate else { return false };
    match inner.as_ref() {
        TypedExpr::Column(column) => is_session(&column.name),
        TypedExpr::ScalarFunction(function) => function.func.name() == SESSION_WINDOWS,
        _ => false,
    }
}

/// The explode of a single column that `plan` is, under whatever names.
fn exploded(plan: &TypedPlan) -> Option<&Unnest> {
    match plan {
        TypedPlan::Unnest(unnest) => Some(unnest),
        TypedPlan::SubqueryAlias(alias) => exploded(&alias.input),
        TypedPlan::Projection(projection) if is_identity(&projection.expr, projection.input.schema()) => {
            exploded(&projection.input)
        }
        _ => None,
    }
}

fn unaliased(expr: &TypedExpr) -> &TypedExpr {
    if let TypedExpr::Alias(alias) = expr { unaliased(&alias.expr) } else { expr }
}

/// The place of a column in what `plan` puts out.
fn index_of(plan: &TypedPlan, name: &str) -> Result<usize> {
    let column = datafusion::common::Column::new_unqualified(name);
    let index = plan.schema().maybe_index_of_column(&column);
    index.ok_or_else(|| Error::internal(format!("column `{name}` is gone from {}", plan.display())))
}

/// The source's columns a scan reads.
fn scanned(scan: &TableScan, factory: &Arc<dyn SourceFactory>) -> Vec<usize> {
    scan.projection.clone().unwrap_or_else(|| (0..factory.schema().fields().len()).collect())
}

/// Batches on edges may hold nulls everywhere; nullability is the analysis' business.
fn nullable(field: &FieldRef) -> FieldRef {
    Arc::new(Field::new(field.name(), field.data_type().clone(), true))
}

/// Whether these are the columns of `input`, under the same or other names: operators go by place.
fn is_identity(exprs: &[TypedExpr], input: &DFSchema) -> bool {
    let is_at = |(index, expr): (usize, &TypedExpr)| matches!(unaliased(expr), TypedExpr::Column(column) if input.maybe_index_of_column(column) == Some(index));
    exprs.len() == input.fields().len() && exprs.iter().enumerate().all(is_at)
}

/// The text column and separator of a projection that only splits a column at a literal, which is done together with
/// the explode above it.
fn split_literal(plan: &TypedPlan) -> Result<Option<(datafusion::common::Column, String, Arc<DFSchema>)>> {
    let TypedPlan::Projection(projection) = plan else { return Ok(None) };
    let [expr] = projection.expr.as_slice() else { return Ok(None) };
    let inner = if let TypedExpr::Alias(alias) = expr { alias.expr.as_ref() } else { expr };
    let TypedExpr::ScalarFunction(function) = inner else { return Ok(None) };
    if function.func.name() != super::functions::SPLIT {
        return Ok(None);
    }
    let (Some(TypedExpr::Column(column)), Some(TypedExpr::Literal(pattern, _))) =
        (function.args.first(), function.args.get(1))
    else {
        return Ok(None);
    };
    let has_limit = function.args.get(2).is_some_and(|limit| !is_no_limit(limit));
    let is_text = matches!(inner_type(&projection.input, column)?, DataType::Utf8View);
    match pattern.try_as_str().flatten() {
        Some(separator) if is_text && !has_limit && is_plain(separator) => {
            Ok(Some((column.clone(), separator.to_string(), Arc::clone(projection.input.schema()))))
        }
        _ => Ok(None),
    }
}

fn inner_type(plan: &TypedPlan, column: &datafusion::common::Column) -> Result<DataType> {
    TypedExpr::Column(column.clone()).get_type(plan.schema()).map_err(translated)
}

/// A limit of -1 or 0 means none (Java's `String.split`; Spark treats both alike).
fn is_no_limit(limit: &TypedExpr) -> bool {
    matches!(limit, TypedExpr::Literal(ScalarValue::Int32(Some(limit)), _) if *limit <= 0)
        || matches!(limit, TypedExpr::Literal(ScalarValue::Int64(Some(limit)), _) if *limit <= 0)
}

/// A separator that means itself as a regular expression.
fn is_plain(separator: &str) -> bool {
    !separator.is_empty() && regex::escape(separator) == separator
}

/// One aggregate call: native where there is a native form, DataFusion's otherwise.
fn aggregate_call(call: &TypedExpr, name: &str, schema: &DFSchema) -> Result<AggregateCall> {
    let inner = if let TypedExpr::Alias(alias) = call { alias.expr.as_ref() } else { call };
    let TypedExpr::AggregateFunction(function) = inner else {
        return Err(Error::internal(format!("`{call}` stands where an aggregate should")));
    };
    let function = without_filter(function)?;
    if let Some(native) = native_call(&function, name, schema)? {
        return Ok(native);
    }
    let order = function.params.order_by.iter().map(|key| &key.expr);
    let arguments = function.params.args.iter().chain(order).map(|argument| compile(argument, schema));
    let arguments = arguments.collect::<Result<Vec<_>>>()?;
    let call = TypedExpr::AggregateFunction(function).alias(name);
    let (properties, planning) = (ExecutionProps::new(), PhysicalPlanningContext::default());
    let lowered = LoweredAggregateBuilder::new(&call, schema, schema.as_arrow(), &properties, &planning).build();
    let physical = lowered.map_err(translated)?.aggregate;
    let factory = Arc::new(DataFusionAggregate::new(physical, schema.as_arrow())?);
    Ok(AggregateCall { name: name.to_string(), arguments, factory })
}

fn native_call(function: &AggregateFunction, name: &str, schema: &DFSchema) -> Result<Option<AggregateCall>> {
    let native = match function.func.name() {
        "count" => NativeFunction::Count,
        "sum" => NativeFunction::Sum,
        "avg" => NativeFunction::Avg,
        "min" => NativeFunction::Min,
        "max" => NativeFunction::Max,
        _ => return Ok(None),
    };
    let [argument] = function.params.args.as_slice() else { return Ok(None) };
    if function.params.distinct || !function.params.order_by.is_empty() {
        return Ok(None);
    }
    let is_constant = matches!(argument, TypedExpr::Literal(value, _) if !value.is_null());
    if native == NativeFunction::Count && is_constant {
        return AggregateCall::native(name, native, None).map(Some);
    }
    let data_type = argument.get_type(schema).map_err(translated)?;
    // What has no native form takes the general path.
    Ok(AggregateCall::native(name, native, Some((compile(argument, schema)?, data_type))).ok())
}

/// `f(x) FILTER (WHERE c)` as `f(CASE WHEN c THEN x END)`, which is the same for every function that skips nulls; `first`
/// and `last` do not, and are refused.
fn without_filter(function: &AggregateFunction) -> Result<AggregateFunction> {
    let mut function = function.clone();
    let Some(filter) = function.params.filter.take() else { return Ok(function) };
    if matches!(function.func.name(), "first_value" | "last_value") {
        return Err(Refusal::FilteredFirst(function.func.name().to_string()).into());
    }
    let keep = |argument: TypedExpr| TypedExpr::Case(Case::new(None, vec![(filter.clone(), Box::new(argument))], None));
    function.params.args = function.params.args.into_iter().map(keep).collect();
    Ok(function)
}
