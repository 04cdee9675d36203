//! Joins of streams.
//!
//! Owns: the operators a join becomes, the key columns that are computed for it, and which columns it puts out. Does not own:
//! what the condition says (`join`).

use std::collections::HashSet;
use std::sync::Arc;

use arrow::datatypes::{FieldRef, Schema};
use datafusion::common::{Column, DFSchema};
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{
    Expr as TypedExpr, Join, JoinType as TypedJoin, LogicalPlan as TypedPlan, LogicalPlanBuilder,
};

use super::super::checks::is_streaming;
use super::super::event_time::marks;
use super::super::join::{BoundValue, JoinParts, KeyPair, SideBound, bounds, join_type, parts};
use super::super::statics::PlannedTable;
use super::{Lowering, compile, index_of, nullable, translated, unaliased};
use crate::connector::BatchTable;
use crate::error::{Error, Result};
use crate::operator::{
    JoinBound, JoinColumn, JoinCondition, JoinInput, JoinKey, JoinSide, JoinSpec, StaticJoin, StreamJoin,
};
use crate::plan::topology::NodeId;

/// A join's node, and the columns it puts out.
pub(super) struct Joined {
    pub(super) node: NodeId,
    pub(super) schema: DFSchema,
}

/// One input, with the key columns that were computed behind its own.
struct Side {
    node: NodeId,
    /// For each key, its column.
    keys: Vec<usize>,
}

impl Lowering {
    /// A join that puts out the columns in `wanted`, or all of them.
    pub(super) fn join(&mut self, join: &Join, wanted: Option<&HashSet<String>>) -> Result<Joined> {
        let parts = parts(join);
        let columns = columns(join, wanted);
        let fields: Vec<FieldRef> = columns.iter().map(|column| Arc::clone(&column.field)).collect();
        let schema = DFSchema::try_from(Schema::new(fields)).map_err(translated)?;
        let node = match (is_streaming(&join.left), is_streaming(&join.right)) {
            (true, true) => self.stream_join(join, &parts, columns)?,
            (true, false) => self.static_join(join, &parts, columns, JoinSide::Right)?,
            (false, true) => self.static_join(join, &parts, columns, JoinSide::Left)?,
            (false, false) => return Err(Error::internal("a join without a stream")),
        };
        Ok(Joined { node, schema })
    }

    fn stream_join(&mut self, join: &Join, parts: &JoinParts, columns: Vec<JoinColumn>) -> Result<NodeId> {
        let bounds = bounds(join, parts);
        let left = self.side(&join.left, parts, JoinSide::Left)?;
        let right = self.side(&join.right, parts, JoinSide::Right)?;
        let condition = condition(join, &parts.residual)?;
        let keys = keys(parts, &left.keys, &right.keys);
        let spec = JoinSpec { kind: join_type(join.join_type)?, keys, condition, columns };
        let left_input = input(&join.left, &parts.left_only, &left, bounds.left.as_ref())?;
        let right_input = input(&join.right, &parts.right_only, &right, bounds.right.as_ref())?;
        let operator = StreamJoin::new(spec).with_inputs(left_input, right_input).with_exchanged_keys();
        let name = self.name("join");
        let node = self.builder.operator(name, operator);
        Ok(node.partitioned_together([(left.node, left.keys), (right.node, right.keys)]))
    }

    /// A join of a stream with the static table on the side `table`.
    fn static_join(
        &mut self,
        join: &Join,
        parts: &JoinParts,
        columns: Vec<JoinColumn>,
        table: JoinSide,
    ) -> Result<NodeId> {
        let stream = self.side(table.other().of(&join.left, &join.right), parts, table.other())?;
        let (plan, table_keys) = with_keys(table.of(&join.left, &join.right), parts, table)?;
        let (left, right) = table.of((&table_keys, &stream.keys), (&stream.keys, &table_keys));
        // What reads one side only is judged with the pairs: the table is read as it is.
        let conjuncts: Vec<TypedExpr> =
            [&parts.residual, &parts.left_only, &parts.right_only].into_iter().flatten().cloned().collect();
        let spec = JoinSpec {
            kind: join_type(join.join_type)?,
            keys: keys(parts, left, right),
            condition: condition(join, &conjuncts)?,
            columns,
        };
        let rows = PlannedTable::new(plan, self.context.clone())?;
        let operator = StaticJoin::new(spec, table, rows.schema());
        let name = self.name("join");
        Ok(self.builder.operator(name, operator).reading(Arc::new(rows)).after(stream.node))
    }

    /// Lowers an input with its keys.
    fn side(&mut self, plan: &TypedPlan, parts: &JoinParts, side: JoinSide) -> Result<Side> {
        let (plan, keys) = with_keys(plan, parts, side)?;
        Ok(Side { node: self.relation(&plan)?, keys })
    }
}

/// An input and for each key its column; keys that are no columns are computed behind the input's own, under names that no column
/// has.
fn with_keys(plan: &TypedPlan, parts: &JoinParts, side: JoinSide) -> Result<(TypedPlan, Vec<usize>)> {
    let mut exprs: Vec<TypedExpr> = plan.schema().columns().into_iter().map(TypedExpr::Column).collect();
    let mut keys = Vec::new();
    for KeyPair { left, right, .. } in &parts.keys {
        let key = unaliased(side.of(left, right));
        if let TypedExpr::Column(column) = key {
            keys.push(index_of(plan, &column.name)?);
        } else {
            exprs.push(key.clone().alias(format!("#join_key_{}", keys.len())));
            keys.push(exprs.len() - 1);
        }
    }
    if exprs.len() == plan.schema().fields().len() {
        return Ok((plan.clone(), keys));
    }
    let plan = LogicalPlanBuilder::from(plan.clone()).project(exprs).and_then(LogicalPlanBuilder::build);
    Ok((plan.map_err(translated)?, keys))
}

/// The columns of the join that are wanted.
fn columns(join: &Join, wanted: Option<&HashSet<String>>) -> Vec<JoinColumn> {
    let of = |side: JoinSide, plan: &TypedPlan| {
        let fields = plan.schema().fields().iter().enumerate();
        fields.map(|(index, field)| JoinColumn { field: nullable(field), side, index }).collect::<Vec<_>>()
    };
    let mut columns = of(JoinSide::Left, &join.left);
    if !matches!(join.join_type, TypedJoin::LeftSemi | TypedJoin::LeftAnti) {
        columns.extend(of(JoinSide::Right, &join.right));
    }
    columns.retain(|column| wanted.is_none_or(|wanted| wanted.contains(column.field.name())));
    columns
}

fn keys(parts: &JoinParts, left: &[usize], right: &[usize]) -> Vec<JoinKey> {
    let columns = left.iter().zip(right).zip(&parts.keys);
    columns.map(|((left, right), key)| JoinKey { left: *left, right: *right, null_safe: key.null_safe }).collect()
}

/// What pairs have to fulfil beyond equal keys.
fn condition(join: &Join, conjuncts: &[TypedExpr]) -> Result<Option<JoinCondition>> {
    let Some(condition) = conjunction(conjuncts.iter().cloned()) else { return Ok(None) };
    let read = condition.column_refs();
    let is_read = |field: &FieldRef| read.contains(&Column::new_unqualified(field.name()));
    let mut columns = Vec::new();
    let mut fields = Vec::new();
    for (side, plan) in [(JoinSide::Left, &join.left), (JoinSide::Right, &join.right)] {
        for (index, field) in plan.schema().fields().iter().enumerate().filter(|(_, field)| is_read(field)) {
            columns.push((side, index));
            fields.push(nullable(field));
        }
    }
    let schema = Arc::new(Schema::new(fields));
    let typed = DFSchema::try_from(Arc::clone(&schema)).map_err(translated)?;
    Ok(Some(JoinCondition { columns, schema, expression: compile(&condition, &typed)? }))
}

/// What a side's rows are judged by.
fn input(plan: &TypedPlan, own: &[TypedExpr], side: &Side, bound: Option<&SideBound>) -> Result<JoinInput> {
    let watermarked = marks(plan).into_iter().find(|(_, mark)| mark.delay.is_some());
    let event_time = watermarked.map(|(name, _)| index_of(plan, &name)).transpose()?;
    let bound = bound.map(|bound| {
        let column = match &bound.value {
            BoundValue::Key(key) => side.keys[*key],
            BoundValue::Column(name) => index_of(plan, name)?,
        };
        Ok::<_, Error>(JoinBound { column, offset_ms: bound.offset_ms })
    });
    let condition = conjunction(own.iter().cloned()).map(|own| compile(&own, plan.schema())).transpose()?;
    Ok(JoinInput { event_time, bound: bound.transpose()?, condition })
}
