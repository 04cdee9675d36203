//! Unresolved relations to typed plans.
//!
//! Owns: one function for each relation. Does not own: expressions (`expressions`), groupings (`grouping`), or which
//! plans a stream may run (`checks`), except where a relation alone decides it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::catalog::TableProvider;
use datafusion::common::{Column, ExprSchema, NullHandling, UnnestOptions};
use datafusion::datasource::provider_as_source;
use datafusion::logical_expr::type_coercion::binary::type_union_coercion;
use datafusion::logical_expr::{
    Cast, Expr as TypedExpr, ExprSchemable, Extension, JoinType as TypedJoin, LogicalPlan as TypedPlan,
    LogicalPlanBuilder, SortExpr,
};

use super::event_time::{DeduplicatePlan, WatermarkPlan};
use super::expressions::ExpressionResolver;
use super::functions::FunctionRegistry;
use super::scope::{Scope, ScopeColumn};
use super::tables::{RowsTable, StaticTable, StreamTable, renamed};
use super::{grouping, sql, statics, translated};
use crate::connector::source::{SourceEnvironment, open_stream, open_table};
use crate::connector::{BatchTable, SourceFactory};
use crate::error::{Error, Result, suggestion};
use crate::expr::{Expr, ExprNode, is_explode};
use crate::operator::is_event_time;
use crate::plan::catalog::NamedTable;
use crate::plan::logical::{JoinOn, JoinType, LogicalPlan, ReadSpec, Relation, SetOperation};
use crate::plan::{PlanContext, Refusal};
use crate::types::{engine_batch, engine_schema, engine_type, parse_interval, type_name};

/// A typed plan and the names its columns go by.
#[derive(Debug, Clone)]
pub(super) struct Resolved {
    pub(super) plan: TypedPlan,
    pub(super) scope: Scope,
    pub(super) is_streaming: bool,
}

/// A column to be made: its value, its name and the alias it can be qualified with.
pub(super) struct NewColumn {
    pub(super) value: TypedExpr,
    pub(super) name: String,
    pub(super) qualifier: Option<String>,
}

impl NewColumn {
    fn kept(column: &ScopeColumn) -> Self {
        Self { value: column.reference(), name: column.name.clone(), qualifier: column.qualifier.clone() }
    }

    fn named(value: TypedExpr, name: impl Into<String>) -> Self {
        Self { value, name: name.into(), qualifier: None }
    }
}

/// Resolves the relations of one plan.
pub(super) struct Resolver<'a> {
    pub(super) context: &'a PlanContext,
    pub(super) registry: FunctionRegistry,
    next_id: usize,
    /// A stream used twice in a plan is one source: its factory by the address of its relation.
    streams: HashMap<usize, Arc<dyn SourceFactory>>,
    /// Views being resolved, to notice one that reads itself.
    open_views: Vec<String>,
}

impl<'a> Resolver<'a> {
    pub(super) fn new(context: &'a PlanContext) -> Self {
        let registry = FunctionRegistry::new(context.zone, context.ansi);
        Self { context, registry, next_id: 0, streams: HashMap::new(), open_views: Vec::new() }
    }

    /// The typed form of `plan`.
    ///
    /// # Errors
    /// What is wrong with it, at the user's line.
    pub(super) fn resolve(&mut self, plan: &LogicalPlan) -> Result<Resolved> {
        self.relation(plan).map_err(|error| error.at(plan.location()))
    }

    fn relation(&mut self, plan: &LogicalPlan) -> Result<Resolved> {
        match plan.relation() {
            Relation::Read { spec, streaming: true } => self.read_stream(plan, spec),
            Relation::Read { spec, streaming: false } => self.read_table(spec),
            Relation::Stream(factory) => self.stream(Arc::clone(factory)),
            Relation::Rows(schema, batches) => {
                let schema = schema.resolve()?;
                let batches = batches.iter().cloned().map(engine_batch).collect::<Result<Vec<_>>>()?;
                self.table(Arc::new(RowsTable { schema, batches }))
            }
            Relation::Table(name) => self.named_table(name),
            Relation::Sql(text) => self.sql(text, plan),
            Relation::Invalid(error) => Err(error.clone()),
            Relation::Project { input, columns } => {
                let input = self.resolve(input)?;
                self.select(input, columns)
            }
            Relation::WithColumns { input, columns } => self.with_columns(input, columns),
            Relation::Rename { input, names } => self.rename(input, names),
            Relation::Drop { input, columns } => self.drop_columns(input, columns),
            Relation::Filter { input, condition } => self.filter(input, condition),
            Relation::Aggregate { input, grouping, keys, columns, keys_in_output, having } => {
                let input = self.resolve(input)?;
                self.aggregate(input, *grouping, keys, columns, *keys_in_output, having.as_ref())
            }
            Relation::Join { left, right, on, kind } => self.join(left, right, on, *kind),
            Relation::Union { left, right, by_name } => self.union(left, right, *by_name),
            Relation::SetOperation { left, right, operation } => self.set_operation(left, right, *operation),
            Relation::Deduplicate { input, columns, within_watermark } => {
                self.deduplicate(input, columns, *within_watermark)
            }
            Relation::WithWatermark { input, column, delay } => self.with_watermark(input, column, delay),
            Relation::Sort { input, keys } => self.sort(input, keys),
            Relation::Limit { input, count, offset } => self.limit(input, *count, *offset),
            Relation::Sample { input, .. } => self.sample(input),
            Relation::Alias { input, name } => self.alias(input, name),
            Relation::Observe { .. } => Err(Refusal::NotYet("observe").into()),
        }
    }

    /// A name no other column of this plan has.
    pub(super) fn internal(&mut self, name: &str) -> String {
        self.next_id += 1;
        format!("{name}#{}", self.next_id)
    }

    pub(super) fn expressions<'b>(&'b self, input: &'b Resolved) -> ExpressionResolver<'b> {
        let (scope, schema) = (&input.scope, input.plan.schema().as_ref());
        ExpressionResolver { scope, schema, registry: &self.registry, context: self.context }
    }

    // Leaves.

    fn environment(&self) -> SourceEnvironment {
        SourceEnvironment { zone: self.context.zone, clock: Arc::clone(&self.context.clock) }
    }

    fn read_stream(&mut self, plan: &LogicalPlan, spec: &ReadSpec) -> Result<Resolved> {
        let address = std::ptr::from_ref(plan.relation()).addr();
        if let Some(factory) = self.streams.get(&address) {
            return self.stream(Arc::clone(factory));
        }
        let schema = spec.schema.as_ref().map(crate::types::SchemaInput::resolve).transpose()?;
        let factory = open_stream(&spec.format, &spec.options, schema, &spec.paths, &self.environment())?;
        self.streams.insert(address, Arc::clone(&factory));
        self.stream(factory)
    }

    fn read_table(&mut self, spec: &ReadSpec) -> Result<Resolved> {
        let schema = spec.schema.as_ref().map(crate::types::SchemaInput::resolve).transpose()?;
        let table = open_table(&spec.format, &spec.options, schema, &spec.paths, &self.environment())?;
        self.table(table)
    }

    fn stream(&mut self, factory: Arc<dyn SourceFactory>) -> Result<Resolved> {
        let (scope, schema) = self.leaf_scope(&engine_schema(&factory.schema()));
        self.scan(Arc::new(StreamTable { factory, schema }), scope, true)
    }

    fn table(&mut self, table: Arc<dyn BatchTable>) -> Result<Resolved> {
        let (scope, schema) = self.leaf_scope(&engine_schema(&table.schema()));
        self.scan(Arc::new(StaticTable { table, schema }), scope, false)
    }

    fn leaf_scope(&mut self, schema: &Schema) -> (Scope, SchemaRef) {
        let mut columns = Vec::new();
        for field in schema.fields() {
            let internal = self.internal(field.name());
            columns.push(ScopeColumn { qualifier: None, name: field.name().clone(), internal });
        }
        // The table's own columns have other names than those the projection above it gives them: DataFusion's rules may
        // bring both into one schema.
        let names: Vec<String> = columns.iter().map(|column| format!("{}'", column.internal)).collect();
        (Scope { columns }, renamed(schema, &names))
    }

    fn scan(&mut self, provider: Arc<dyn TableProvider>, scope: Scope, is_streaming: bool) -> Result<Resolved> {
        let name = self.internal("table");
        let scan = LogicalPlanBuilder::scan(name, provider_as_source(provider), None).map_err(translated)?;
        // The scan qualifies its columns with its own name; a projection makes them plain.
        let plain = scan.build().map_err(translated)?;
        let columns = plain.schema().columns().into_iter().zip(&scope.columns);
        let exprs: Vec<TypedExpr> =
            columns.map(|(column, own)| TypedExpr::Column(column).alias(&own.internal)).collect();
        let plan =
            LogicalPlanBuilder::from(plain).project(exprs).and_then(LogicalPlanBuilder::build).map_err(translated)?;
        Ok(Resolved { plan, scope, is_streaming })
    }

    fn named_table(&mut self, name: &str) -> Result<Resolved> {
        let resolved = match self.context.catalog.table(name) {
            Some(NamedTable::View(plan)) => {
                if self.open_views.iter().any(|open| open.eq_ignore_ascii_case(name)) {
                    return Err(Error::plan(format!("view `{name}` reads itself")));
                }
                self.open_views.push(name.to_string());
                let resolved = self.resolve(&plan);
                self.open_views.pop();
                resolved?
            }
            Some(NamedTable::Memory(table)) => self.table(table)?,
            None => {
                let known = self.context.catalog.table_names();
                let near = suggestion(name, known.iter().map(String::as_str));
                let remedy = "name one with create_or_replace_temp_view";
                return Err(Error::plan(format!("no table or view `{name}`{near}; {remedy}")));
            }
        };
        Ok(qualified(resolved, name))
    }

    fn sql(&mut self, text: &str, plan: &LogicalPlan) -> Result<Resolved> {
        match sql::parse_query(text, plan.location())? {
            sql::SqlOutcome::Plan(plan) => self.resolve(&plan),
            sql::SqlOutcome::Beyond { construct, is_window, tables } => {
                let refusal =
                    if is_window { Refusal::AnalyticWindow(construct) } else { Refusal::StaticOnly(construct) };
                self.static_sql(text, refusal, &tables)
            }
        }
    }

    /// SQL beyond the streaming subset runs on static tables only, planned by DataFusion.
    fn static_sql(&mut self, text: &str, refusal: Refusal, tables: &[String]) -> Result<Resolved> {
        let mut resolved = Vec::new();
        for table in tables {
            let input = self.named_table(table)?;
            if input.is_streaming {
                return Err(refusal.into());
            }
            let columns = input.scope.columns.iter().map(|column| column.reference().alias(&column.name));
            let plan = LogicalPlanBuilder::from(input.plan).project(columns).and_then(LogicalPlanBuilder::build);
            resolved.push((table.clone(), plan.map_err(translated)?));
        }
        let plan = statics::plan_sql(text, resolved)?;
        let mut columns = Vec::new();
        for column in plan.schema().columns() {
            let name = column.name.clone();
            columns.push(NewColumn::named(TypedExpr::Column(column), name));
        }
        self.project(&Resolved { plan, scope: Scope::default(), is_streaming: false }, columns)
    }

    // Relations over one input.

    /// Makes these columns of `input`.
    pub(super) fn project(&mut self, input: &Resolved, columns: Vec<NewColumn>) -> Result<Resolved> {
        let mut scope = Scope::default();
        let mut exprs = Vec::new();
        for column in columns {
            let internal = self.internal(&column.name);
            exprs.push(column.value.alias(&internal));
            scope.columns.push(ScopeColumn { qualifier: column.qualifier, name: column.name, internal });
        }
        let builder = LogicalPlanBuilder::from(input.plan.clone()).project(exprs);
        let plan = builder.and_then(LogicalPlanBuilder::build).map_err(translated)?;
        Ok(Resolved { plan, scope, is_streaming: input.is_streaming })
    }

    /// Keeps the columns of `input` under the names of `scope`.
    fn with_plan(input: Resolved, plan: TypedPlan) -> Resolved {
        Resolved { plan, ..input }
    }

    fn select(&mut self, input: Resolved, columns: &[Expr]) -> Result<Resolved> {
        if columns.iter().any(grouping::aggregates) {
            return self.aggregate(input, crate::plan::logical::Grouping::Simple, &[], columns, false, None);
        }
        let mut selected = Selected::default();
        for column in columns {
            self.select_column(&input, &parsed(column)?, &mut selected)?;
        }
        self.selected(input, selected)
    }

    /// Adds the columns that one entry of a select list makes.
    fn select_column(&self, input: &Resolved, column: &Expr, selected: &mut Selected) -> Result<()> {
        if let ExprNode::Star(of) = column.node() {
            let all = input.scope.star(of.as_deref()).map_err(|error| error.at(column.location()))?;
            selected.columns.extend(all.into_iter().map(NewColumn::kept));
        } else if let Some(explode) = Explode::of(column, selected.columns.len()) {
            if selected.explode.is_some() {
                let message = "only one explode(…) can stand in one select(…); put the second into a select of its own";
                return Err(Error::plan(message).at(column.location()));
            }
            selected.columns.push(NewColumn::named(self.list(input, &explode.list)?, explode.name.clone()));
            selected.explode = Some(explode);
        } else {
            let value = self.expressions(input).resolve_with_window(column)?;
            let qualifier = kept_qualifier(column, &input.scope);
            selected.columns.push(NewColumn { value, name: column.output_name(), qualifier });
        }
        Ok(())
    }

    fn selected(&mut self, mut input: Resolved, mut selected: Selected) -> Result<Resolved> {
        let mut window = None;
        for column in &mut selected.columns {
            let value = std::mem::take(&mut column.value);
            column.value = self.in_window(&mut input, &mut window, value)?;
        }
        let projected = self.project(&input, selected.columns)?;
        match selected.explode {
            None => Ok(projected),
            Some(explode) => Self::explode(projected, &explode),
        }
    }

    /// The list to explode; anything but an ARRAY is refused.
    fn list(&self, input: &Resolved, list: &Expr) -> Result<TypedExpr> {
        let expressions = self.expressions(input);
        let value = expressions.resolve_with_window(list)?;
        match value.get_type(expressions.schema).map_err(translated)? {
            DataType::List(_) | DataType::LargeList(_) | DataType::FixedSizeList(..) => Ok(value),
            other => {
                let message = format!("explode needs an ARRAY, but `{list}` is {}", type_name(&other));
                let remedy = if matches!(other, DataType::Utf8View) { "; split it first" } else { "" };
                Err(Error::plan(message + remedy).at(list.location()))
            }
        }
    }

    fn explode(input: Resolved, explode: &Explode) -> Result<Resolved> {
        let null_handling = if explode.keeps_empty { NullHandling::PreserveAndExpandEmpty } else { NullHandling::Drop };
        let options = UnnestOptions { null_handling, recursions: Vec::new() };
        let column = Column::new_unqualified(&input.scope.columns[explode.place].internal);
        let builder = LogicalPlanBuilder::from(input.plan.clone()).unnest_columns_with_options(vec![column], options);
        let plan = builder.and_then(LogicalPlanBuilder::build).map_err(translated)?;
        Ok(Self::with_plan(input, plan))
    }

    fn with_columns(&mut self, input: &LogicalPlan, columns: &[(String, Expr)]) -> Result<Resolved> {
        let input = self.resolve(input)?;
        let mut selected = Selected::default();
        for own in &input.scope.columns {
            match columns.iter().find(|(name, _)| name.eq_ignore_ascii_case(&own.name)) {
                Some((name, value)) => self.select_column(&input, &aliased(value, name)?, &mut selected)?,
                None => selected.columns.push(NewColumn::kept(own)),
            }
        }
        for (name, value) in columns {
            if !input.scope.columns.iter().any(|own| own.name.eq_ignore_ascii_case(name)) {
                self.select_column(&input, &aliased(value, name)?, &mut selected)?;
            }
        }
        self.selected(input, selected)
    }

    fn rename(&mut self, input: &LogicalPlan, names: &[(String, String)]) -> Result<Resolved> {
        let mut input = self.resolve(input)?;
        for column in &mut input.scope.columns {
            if let Some((_, to)) = names.iter().find(|(from, _)| from.eq_ignore_ascii_case(&column.name)) {
                column.name.clone_from(to);
            }
        }
        Ok(input)
    }

    fn drop_columns(&mut self, input: &LogicalPlan, columns: &[Expr]) -> Result<Resolved> {
        let input = self.resolve(input)?;
        let columns = columns.iter().map(parsed).collect::<Result<Vec<_>>>()?;
        let is_dropped = |own: &ScopeColumn| {
            columns.iter().any(|column| match column.node() {
                ExprNode::Column(parts) => match parts.as_slice() {
                    [name] => own.name.eq_ignore_ascii_case(name),
                    [of, name] => {
                        own.name.eq_ignore_ascii_case(name)
                            && own.qualifier.as_ref().is_some_and(|qualifier| qualifier.eq_ignore_ascii_case(of))
                    }
                    _ => false,
                },
                _ => false,
            })
        };
        let kept = input.scope.columns.iter().filter(|own| !is_dropped(own)).map(NewColumn::kept).collect();
        self.project(&input, kept)
    }

    fn filter(&mut self, input: &LogicalPlan, condition: &Expr) -> Result<Resolved> {
        let input = self.resolve(input)?;
        let condition = self.expressions(&input).condition(&parsed(condition)?)?;
        let builder = LogicalPlanBuilder::from(input.plan.clone()).filter(condition);
        let plan = builder.and_then(LogicalPlanBuilder::build).map_err(translated)?;
        Ok(Self::with_plan(input, plan))
    }

    fn deduplicate(&mut self, input: &LogicalPlan, columns: &[String], within_watermark: bool) -> Result<Resolved> {
        let input = self.resolve(input)?;
        if within_watermark && !input.is_streaming {
            return Err(Error::plan("drop_duplicates_within_watermark needs a stream; use drop_duplicates on a table"));
        }
        let mut named = Vec::new();
        for name in columns {
            named.push(input.scope.lookup(std::slice::from_ref(name))?.column);
        }
        if input.is_streaming {
            let keys = if named.is_empty() { input.scope.columns.iter().collect() } else { named };
            let mut keys: Vec<String> = keys.into_iter().map(|key| key.internal.clone()).collect();
            // A column that is named twice is one key.
            let mut seen = std::collections::HashSet::new();
            keys.retain(|key| seen.insert(key.clone()));
            let node = DeduplicatePlan { input: input.plan.clone(), keys, is_within_watermark: within_watermark };
            let plan = TypedPlan::Extension(Extension { node: Arc::new(node) });
            return Ok(Self::with_plan(input, plan));
        }
        let keys: Vec<TypedExpr> = named.into_iter().map(ScopeColumn::reference).collect();
        let builder = LogicalPlanBuilder::from(input.plan.clone());
        let builder = if keys.is_empty() {
            builder.distinct()
        } else {
            let all = input.scope.columns.iter().map(ScopeColumn::reference).collect();
            builder.distinct_on(keys, all, None)
        };
        let plan = builder.and_then(LogicalPlanBuilder::build).map_err(translated)?;
        Ok(Self::with_plan(input, plan))
    }

    /// On a static table a watermark changes nothing.
    fn with_watermark(&mut self, input: &LogicalPlan, column: &Expr, delay: &str) -> Result<Resolved> {
        let input = self.resolve(input)?;
        let delay = watermark_delay(delay).map_err(|error| error.context("the delay of with_watermark"))?;
        let column = parsed(column)?;
        let TypedExpr::Column(typed) = self.expressions(&input).resolve(&column)? else {
            let message = format!("with_watermark needs a column, but `{column}` is an expression");
            return Err(Error::plan(message + "; make it a column with with_column first").at(column.location()));
        };
        let field = input.plan.schema().field_from_column(&typed).map_err(translated)?;
        if !is_event_time(field.data_type()) {
            let found = type_name(field.data_type());
            let message = format!("with_watermark needs a TIMESTAMP column, but `{column}` is {found}");
            return Err(Error::plan(message + "; cast(…, \"timestamp\") it first").at(column.location()));
        }
        if !input.is_streaming {
            return Ok(input);
        }
        let node = WatermarkPlan { input: input.plan.clone(), column: typed.name, delay };
        let plan = TypedPlan::Extension(Extension { node: Arc::new(node) });
        Ok(Self::with_plan(input, plan))
    }

    fn sort(&mut self, input: &LogicalPlan, keys: &[Expr]) -> Result<Resolved> {
        let input = self.resolve(input)?;
        let expressions = self.expressions(&input);
        let mut sorts = Vec::new();
        for key in keys {
            let key = parsed(key)?;
            sorts.push(match key.node() {
                ExprNode::Sort { expr, ascending, nulls_first } => {
                    SortExpr::new(expressions.resolve(expr)?, *ascending, *nulls_first)
                }
                _ => SortExpr::new(expressions.resolve(&key)?, true, true),
            });
        }
        let builder = LogicalPlanBuilder::from(input.plan.clone()).sort(sorts);
        let plan = builder.and_then(LogicalPlanBuilder::build).map_err(translated)?;
        Ok(Self::with_plan(input, plan))
    }

    fn limit(&mut self, input: &LogicalPlan, count: Option<usize>, offset: usize) -> Result<Resolved> {
        let input = self.resolve(input)?;
        if input.is_streaming && offset > 0 {
            return Err(Refusal::Offset.into());
        }
        let builder = LogicalPlanBuilder::from(input.plan.clone()).limit(offset, count);
        let plan = builder.and_then(LogicalPlanBuilder::build).map_err(translated)?;
        Ok(Self::with_plan(input, plan))
    }

    fn sample(&mut self, input: &LogicalPlan) -> Result<Resolved> {
        if self.resolve(input)?.is_streaming {
            return Err(Refusal::Sample.into());
        }
        Err(Error::plan("sample is not supported on static tables yet; filter by rand() instead"))
    }

    fn alias(&mut self, input: &LogicalPlan, name: &str) -> Result<Resolved> {
        Ok(qualified(self.resolve(input)?, name))
    }

    // Relations over two inputs.

    fn join(&mut self, left: &LogicalPlan, right: &LogicalPlan, on: &JoinOn, kind: JoinType) -> Result<Resolved> {
        let (left, right) = (self.resolve(left)?, self.resolve(right)?);
        let is_streaming = left.is_streaming || right.is_streaming;
        let mut both = left.scope.clone();
        both.columns.extend(right.scope.columns.iter().cloned());
        let joined = |condition: Vec<TypedExpr>| {
            let builder = LogicalPlanBuilder::from(left.plan.clone());
            let builder = builder.join_on(right.plan.clone(), typed_join(kind), condition);
            builder.and_then(LogicalPlanBuilder::build).map_err(translated)
        };
        let keeps_right = !matches!(kind, JoinType::LeftSemi | JoinType::LeftAnti);
        match on {
            JoinOn::Cross => {
                let builder = LogicalPlanBuilder::from(left.plan.clone()).cross_join(right.plan.clone());
                let plan = builder.and_then(LogicalPlanBuilder::build).map_err(translated)?;
                Ok(Resolved { plan, scope: both, is_streaming })
            }
            JoinOn::Condition(condition) => {
                let schema = left.plan.schema().join(right.plan.schema()).map_err(translated)?;
                let (registry, context) = (&self.registry, self.context);
                let expressions = ExpressionResolver { scope: &both, schema: &schema, registry, context };
                let plan = joined(vec![expressions.condition(&parsed(condition)?)?])?;
                let scope = if keeps_right { both } else { left.scope.clone() };
                Ok(Resolved { plan, scope, is_streaming })
            }
            JoinOn::Using(names) => {
                let mut pairs = Vec::new();
                for name in names {
                    let own = left.scope.lookup(std::slice::from_ref(name))?.column.clone();
                    let other = right.scope.lookup(std::slice::from_ref(name))?.column.clone();
                    pairs.push((own, other));
                }
                let condition = pairs.iter().map(|(own, other)| own.reference().eq(other.reference())).collect();
                let scope = if keeps_right { both } else { left.scope.clone() };
                let plan = joined(condition)?;
                self.merge_using(&Resolved { plan, scope, is_streaming }, &pairs, kind)
            }
        }
    }

    /// The key columns of a USING join once, in front; then the others.
    fn merge_using(
        &mut self,
        joined: &Resolved,
        pairs: &[(ScopeColumn, ScopeColumn)],
        kind: JoinType,
    ) -> Result<Resolved> {
        let mut columns = Vec::new();
        for (own, other) in pairs {
            let value = match kind {
                JoinType::Right => other.reference(),
                JoinType::Full => {
                    let sides = vec![own.reference(), other.reference()];
                    let merged = self.registry.scalar("coalesce", sides, joined.plan.schema())?;
                    merged.ok_or_else(|| Error::internal("the function coalesce is missing"))?
                }
                JoinType::Inner | JoinType::Left | JoinType::LeftSemi | JoinType::LeftAnti => own.reference(),
            };
            columns.push(NewColumn::named(value, own.name.clone()));
        }
        let is_key = |column: &&ScopeColumn| {
            pairs.iter().any(|(own, other)| own.internal == column.internal || other.internal == column.internal)
        };
        columns.extend(joined.scope.columns.iter().filter(|column| !is_key(column)).map(NewColumn::kept));
        self.project(joined, columns)
    }

    fn union(&mut self, left: &LogicalPlan, right: &LogicalPlan, by_name: bool) -> Result<Resolved> {
        let (left, mut right) = (self.resolve(left)?, self.resolve(right)?);
        if left.is_streaming != right.is_streaming {
            return Err(Refusal::UnionOfStreamAndStatic.into());
        }
        if by_name {
            right = self.ordered_like(&left, &right)?;
        }
        let (count, other) = (left.scope.columns.len(), right.scope.columns.len());
        if count != other {
            return Err(Error::plan(format!(
                "union needs the same number of columns, but one side has {count}, the other {other}"
            )));
        }
        let types = Self::common_types(&left, &right)?;
        // Both sides get the same internal names, which the union keeps.
        let names: Vec<String> = left.scope.columns.iter().map(|column| column.name.clone()).collect();
        let internal: Vec<String> = names.iter().map(|name| self.internal(name)).collect();
        let under = |side: &Resolved| {
            let columns = side.scope.columns.iter().zip(&internal).zip(side.plan.schema().fields().iter().zip(&types));
            let exprs = columns.map(|((column, name), (field, wanted))| {
                if field.data_type() == wanted {
                    return column.reference().alias(name);
                }
                TypedExpr::Cast(Cast::new(Box::new(column.reference()), wanted.clone())).alias(name)
            });
            LogicalPlanBuilder::from(side.plan.clone()).project(exprs).and_then(LogicalPlanBuilder::build)
        };
        let (first, second) = (under(&left).map_err(translated)?, under(&right).map_err(translated)?);
        let plan =
            LogicalPlanBuilder::from(first).union(second).and_then(LogicalPlanBuilder::build).map_err(translated)?;
        let columns = names.into_iter().zip(internal);
        let columns = columns.map(|(name, internal)| ScopeColumn { qualifier: None, name, internal }).collect();
        Ok(Resolved { plan, scope: Scope { columns }, is_streaming: left.is_streaming })
    }

    fn ordered_like(&mut self, left: &Resolved, right: &Resolved) -> Result<Resolved> {
        let mut columns = Vec::new();
        for column in &left.scope.columns {
            columns.push(NewColumn::kept(right.scope.lookup(std::slice::from_ref(&column.name))?.column));
        }
        if columns.len() < right.scope.columns.len() {
            return Err(Error::plan(format!(
                "union_by_name: one side has the columns {}, the other {}",
                left.scope, right.scope
            )));
        }
        self.project(right, columns)
    }

    /// The types of a union's columns. A stream's union does not convert: what would be cast is said instead.
    fn common_types(left: &Resolved, right: &Resolved) -> Result<Vec<DataType>> {
        let sides = left.plan.schema().fields().iter().zip(right.plan.schema().fields()).zip(&left.scope.columns);
        let mut types = Vec::new();
        for ((own, other), column) in sides {
            let (own, other) = (own.data_type(), other.data_type());
            let common = if own == other { Some(own.clone()) } else { type_union_coercion(own, other) };
            match common {
                Some(common) if own == other || !left.is_streaming => types.push(engine_type(&common)),
                _ => {
                    let (name, own, other) = (&column.name, type_name(own), type_name(other));
                    let message = format!("union: column `{name}` is {own} on one side and {other} on the other");
                    return Err(Error::plan(message + "; cast one of them"));
                }
            }
        }
        Ok(types)
    }

    fn set_operation(&mut self, left: &LogicalPlan, right: &LogicalPlan, operation: SetOperation) -> Result<Resolved> {
        let (left, right) = (self.resolve(left)?, self.resolve(right)?);
        let word = match operation {
            SetOperation::Except => "except",
            SetOperation::Intersect => "intersect",
        };
        if left.is_streaming || right.is_streaming {
            return Err(Refusal::SetOperation(word).into());
        }
        let (first, second) = (left.plan.clone(), right.plan);
        let plan = match operation {
            SetOperation::Except => LogicalPlanBuilder::except(first, second, false),
            SetOperation::Intersect => LogicalPlanBuilder::intersect(first, second, false),
        };
        Ok(Self::with_plan(left, plan.map_err(translated)?))
    }
}

/// The delay of a watermark; a month is 31 days, as Spark takes it there.
fn watermark_delay(text: &str) -> Result<Duration> {
    let interval = parse_interval(text)?;
    let days = i64::from(interval.months) * 31 + i64::from(interval.days);
    let micros = days.checked_mul(86_400_000_000).and_then(|days| days.checked_add(interval.micros));
    let micros = micros.ok_or_else(|| Error::plan(format!("`{text}` is too long for microseconds in 64 bits")))?;
    let negative = |_| Error::plan(format!("`{text}` is negative; write a length of time of zero or more"));
    u64::try_from(micros).map(Duration::from_micros).map_err(negative)
}

/// A select list while it is resolved.
#[derive(Default)]
struct Selected {
    columns: Vec<NewColumn>,
    explode: Option<Explode>,
}

/// An explode that stands in a select list.
struct Explode {
    list: Expr,
    name: String,
    keeps_empty: bool,
    /// Which of the new columns it is.
    place: usize,
}

impl Explode {
    fn of(column: &Expr, place: usize) -> Option<Self> {
        let (inner, alias) = match column.node() {
            ExprNode::Alias(inner, name) => (inner, Some(name.clone())),
            _ => (column, None),
        };
        match inner.node() {
            ExprNode::Function { name, args, .. } if is_explode(name) => {
                let [list] = args.as_slice() else { return None };
                let keeps_empty = name.eq_ignore_ascii_case("explode_outer");
                let name = alias.unwrap_or_else(|| inner.output_name());
                Some(Self { list: list.clone(), name, keeps_empty, place })
            }
            _ => None,
        }
    }
}

fn aliased(value: &Expr, name: &str) -> Result<Expr> {
    let value = parsed(value)?;
    let location = value.location();
    Ok(Expr::with_location(ExprNode::Alias(value, name.to_string()), location))
}

/// SQL text as the expression it says; anything else as it is.
pub(super) fn parsed(expr: &Expr) -> Result<Expr> {
    match expr.node() {
        ExprNode::Sql(text) => sql::parse_expression(text, expr.location()).map_err(|error| error.at(expr.location())),
        _ => Ok(expr.clone()),
    }
}

/// What a plain column can still be qualified with: the alias it came by, or, for a field, the name of its struct, so
/// that rows with `window.start` can be sorted by `window.start`.
pub(super) fn kept_qualifier(column: &Expr, scope: &Scope) -> Option<String> {
    let ExprNode::Column(parts) = column.node() else { return None };
    let found = scope.lookup(parts).ok()?;
    match (found.fields, parts.as_slice()) {
        ([], _) => found.column.qualifier.clone(),
        (_, [.., of, _]) => Some(of.clone()),
        _ => None,
    }
}

/// All columns of `resolved` under one alias.
fn qualified(mut resolved: Resolved, name: &str) -> Resolved {
    for column in &mut resolved.scope.columns {
        column.qualifier = Some(name.to_string());
    }
    resolved
}

fn typed_join(kind: JoinType) -> TypedJoin {
    match kind {
        JoinType::Inner => TypedJoin::Inner,
        JoinType::Left => TypedJoin::Left,
        JoinType::Right => TypedJoin::Right,
        JoinType::Full => TypedJoin::Full,
        JoinType::LeftSemi => TypedJoin::LeftSemi,
        JoinType::LeftAnti => TypedJoin::LeftAnti,
    }
}
