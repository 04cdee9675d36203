//! One SELECT: its list, its groups and the order of its rows.
//!
//! Owns: ordinals, aliases of the select list in GROUP BY, HAVING and ORDER BY, and sorting by what is not selected.
//! Does not own: what FROM reads (`query`).

use datafusion::sql::sqlparser::ast::{
    Distinct, Expr as Parsed, GroupByExpr, GroupByWithModifier, LateralView, OrderByExpr, Select, SelectItem,
    SelectItemQualifiedWildcardKind, Value, WildcardAdditionalOptions,
};

use super::expression::{Expressions, object_name, word};
use super::query::Queries;
use super::tree::{has_column, is_aggregate, replaced, unaliased};
use super::{Lowered, beyond};
use crate::error::Error;
use crate::expr::{Expr, ExprNode, is_explode};
use crate::plan::logical::{Grouping, LogicalPlan, Relation};

/// A lowered SELECT without its order.
struct Selected {
    /// What FROM and WHERE give.
    input: LogicalPlan,
    items: Vec<Expr>,
    groups: Option<Groups>,
    is_distinct: bool,
}

/// GROUP BY and HAVING.
struct Groups {
    grouping: Grouping,
    keys: Vec<Expr>,
    having: Option<Expr>,
}

/// A sort key in both of its forms.
struct SortKey<'a> {
    parsed: &'a OrderByExpr,
    /// Over the columns of the result, where they suffice.
    above: Option<Expr>,
    /// Over what the select list is made of.
    below: Expr,
}

impl Queries {
    /// The plan of a SELECT and the ORDER BY behind it.
    pub(super) fn select(&self, select: &Select, order_by: &[OrderByExpr]) -> Lowered<LogicalPlan> {
        refuse_clauses(select)?;
        let mut expressions = self.expressions();
        let mut input = self.from(&select.from)?;
        for view in &select.lateral_views {
            input = self.lateral_view(&mut expressions, input, view)?;
        }
        if let Some(condition) = &select.selection {
            input = self.plan(Relation::Filter { input, condition: expressions.lower(condition)? });
        }
        let items = select.projection.iter().map(|parsed| item(&expressions, parsed)).collect::<Lowered<Vec<_>>>()?;
        if select.from.is_empty() && items.iter().any(is_star) {
            return Err(Error::plan("SQL: `*` needs a FROM").into());
        }
        let is_distinct = match &select.distinct {
            None | Some(Distinct::All) => false,
            Some(Distinct::Distinct) => true,
            Some(Distinct::On(_)) => return beyond("DISTINCT ON"),
        };
        let groups = groups(&expressions, select, &items)?;
        let selected = Selected { input, items, groups, is_distinct };
        let keys = order_by.iter().map(|key| sort_key(&expressions, key, &selected.items));
        let keys = keys.collect::<Lowered<Vec<_>>>()?;
        self.ordered(selected, &keys)
    }

    /// `LATERAL VIEW explode(list) view AS column`: all columns and the exploded one.
    fn lateral_view(
        &self,
        expressions: &mut Expressions,
        input: LogicalPlan,
        view: &LateralView,
    ) -> Lowered<LogicalPlan> {
        let exploded = expressions.lower(&view.lateral_view)?;
        let ExprNode::Function { name, args, .. } = exploded.node() else { return beyond(view.to_string().trim()) };
        if !is_explode(name) || view.lateral_col_alias.len() > 1 {
            return beyond(view.to_string().trim());
        }
        let name = if view.outer { "explode_outer" } else { name };
        let column = view.lateral_col_alias.first().map_or_else(|| "col".to_string(), word);
        let exploded = expressions.alias(expressions.call(name, args.clone()), column);
        expressions.views.push(object_name(&view.lateral_view_name)?);
        Ok(self.plan(Relation::Project { input, columns: vec![expressions.node(ExprNode::Star(None)), exploded] }))
    }

    /// Sorts the result where its columns suffice, and its input otherwise.
    fn ordered(&self, selected: Selected, keys: &[SortKey<'_>]) -> Lowered<LogicalPlan> {
        let above: Option<Vec<Expr>> =
            keys.iter().map(|key| key.above.clone().map(|expr| self.sort_key(expr, key.parsed))).collect();
        if let Some(above) = above {
            let result = self.result(selected);
            return Ok(if above.is_empty() {
                result
            } else {
                self.plan(Relation::Sort { input: result, keys: above })
            });
        }
        if selected.is_distinct {
            let remedy = "add the column to the list, or leave DISTINCT out";
            let message = format!("SQL: with SELECT DISTINCT, ORDER BY can use only what is selected; {remedy}");
            return Err(Error::plan(message).into());
        }
        if selected.groups.is_some() {
            return Ok(self.sorted_groups(selected, keys));
        }
        let below = keys.iter().map(|key| self.sort_key(key.below.clone(), key.parsed)).collect();
        let input = self.plan(Relation::Sort { input: selected.input, keys: below });
        Ok(self.plan(Relation::Project { input, columns: selected.items }))
    }

    /// Sorts groups by expressions that are made for it and left out again.
    fn sorted_groups(&self, mut selected: Selected, keys: &[SortKey<'_>]) -> LogicalPlan {
        let columns = selected.items.iter().map(output).collect();
        let expressions = self.expressions();
        let mut sort = Vec::with_capacity(keys.len());
        for (place, key) in keys.iter().enumerate() {
            let expr = key.above.clone().unwrap_or_else(|| {
                let name = format!("(order {place})");
                selected.items.push(expressions.alias(key.below.clone(), name.clone()));
                expressions.node(ExprNode::Column(vec![name]))
            });
            sort.push(self.sort_key(expr, key.parsed));
        }
        let input = self.plan(Relation::Sort { input: self.result(selected), keys: sort });
        self.plan(Relation::Project { input, columns })
    }

    /// The result in no order.
    fn result(&self, selected: Selected) -> LogicalPlan {
        let Selected { input, items: columns, groups, is_distinct } = selected;
        let result = self.plan(match groups {
            None => Relation::Project { input, columns },
            Some(Groups { grouping, keys, having }) => {
                Relation::Aggregate { input, grouping, keys, columns, keys_in_output: false, having }
            }
        });
        if is_distinct { self.distinct(result) } else { result }
    }
}

fn refuse_clauses(select: &Select) -> Lowered<()> {
    let clauses = [
        (!select.named_window.is_empty(), "WINDOW"),
        (select.qualify.is_some(), "QUALIFY"),
        (!select.sort_by.is_empty(), "SORT BY"),
        (!select.cluster_by.is_empty(), "CLUSTER BY"),
        (!select.distribute_by.is_empty(), "DISTRIBUTE BY"),
        (!select.connect_by.is_empty(), "CONNECT BY"),
        (select.top.is_some(), "TOP"),
        (select.into.is_some(), "SELECT INTO"),
        (select.exclude.is_some(), "EXCLUDE"),
        (select.prewhere.is_some(), "PREWHERE"),
        (select.value_table_mode.is_some(), "SELECT AS STRUCT"),
    ];
    match clauses.into_iter().find(|(is_there, _)| *is_there) {
        Some((_, clause)) => beyond(clause),
        None => Ok(()),
    }
}

/// One item of a select list.
pub(super) fn item(expressions: &Expressions, item: &SelectItem) -> Lowered<Expr> {
    match item {
        SelectItem::UnnamedExpr(expr) => expressions.lower(expr),
        SelectItem::ExprWithAlias { expr, alias } => Ok(expressions.alias(expressions.lower(expr)?, word(alias))),
        SelectItem::Wildcard(options) => star(expressions, options, None),
        SelectItem::QualifiedWildcard(SelectItemQualifiedWildcardKind::ObjectName(of), options) => {
            star(expressions, options, Some(object_name(of)?))
        }
        SelectItem::ExprWithAliases { .. } | SelectItem::QualifiedWildcard(..) => beyond(item.to_string()),
    }
}

fn star(expressions: &Expressions, options: &WildcardAdditionalOptions, of: Option<String>) -> Lowered<Expr> {
    let what = options.to_string();
    if what.is_empty() { Ok(expressions.node(ExprNode::Star(of))) } else { beyond(format!("*{what}")) }
}

fn is_star(expr: &Expr) -> bool {
    matches!(expr.node(), ExprNode::Star(_))
}

/// The place a number in GROUP BY or ORDER BY stands for, from 1.
pub(super) fn ordinal(expr: &Parsed) -> Option<usize> {
    match expr {
        Parsed::Value(value) => match &value.value {
            Value::Number(text, _) => text.parse().ok(),
            _ => None,
        },
        _ => None,
    }
}

/// The column at a place from 1.
pub(super) fn nth<'a>(columns: &'a [Expr], place: usize, clause: &str) -> Lowered<&'a Expr> {
    if let Some(before) = columns.get(..place)
        && before.iter().any(is_star)
    {
        return beyond(format!("{clause} {place} behind `*`"));
    }
    let column = place.checked_sub(1).and_then(|place| columns.get(place));
    let last = columns.len();
    column.ok_or_else(|| {
        Error::plan(format!("SQL: {clause} {place} is no place in the select list, which ends at {last}")).into()
    })
}

/// How an item is named in the result: by its own parts, as it keeps the table it came from, or by its name.
fn output(item: &Expr) -> Expr {
    match item.node() {
        ExprNode::Column(_) => item.clone(),
        _ => plain(item),
    }
}

/// A column by the name of an item alone.
fn plain(item: &Expr) -> Expr {
    Expr::with_location(ExprNode::Column(vec![item.output_name()]), item.location())
}

/// The columns of a plan by which a projection above it can name them; `None` when they are not in the text.
pub(super) fn outputs(plan: &LogicalPlan) -> Option<Vec<Expr>> {
    match plan.relation() {
        Relation::Project { columns, .. } | Relation::Aggregate { columns, keys_in_output: false, .. } => {
            if columns.iter().any(is_star) { None } else { Some(columns.iter().map(output).collect()) }
        }
        Relation::Filter { input, .. }
        | Relation::Deduplicate { input, .. }
        | Relation::Sort { input, .. }
        | Relation::Limit { input, .. } => outputs(input),
        Relation::Alias { input, .. }
        | Relation::Union { left: input, .. }
        | Relation::SetOperation { left: input, .. } => Some(outputs(input)?.iter().map(plain).collect()),
        _ => None,
    }
}

/// The expression an alias of the select list stands for.
fn alias_of<'a>(items: &'a [Expr], name: &str) -> Option<&'a Expr> {
    items.iter().find_map(|item| match item.node() {
        ExprNode::Alias(expr, alias) if alias.eq_ignore_ascii_case(name) => Some(expr),
        _ => None,
    })
}

/// Puts the expressions of the select list in place of its aliases, except those that `keeps` a meaning of their own.
fn without_aliases(expr: &Expr, items: &[Expr], keeps: impl Fn(&str) -> bool) -> Expr {
    replaced(expr, &|part| match part.node() {
        ExprNode::Column(parts) => match parts.as_slice() {
            [name] if !keeps(name) => alias_of(items, name).cloned(),
            _ => None,
        },
        _ => None,
    })
}

// Groups.

fn groups(expressions: &Expressions, select: &Select, items: &[Expr]) -> Lowered<Option<Groups>> {
    let (parsed, modifiers) = match &select.group_by {
        GroupByExpr::All(modifiers) if modifiers.is_empty() => (None, modifiers),
        GroupByExpr::All(_) => return beyond(select.group_by.to_string()),
        GroupByExpr::Expressions(keys, modifiers) => (Some(keys.as_slice()), modifiers),
    };
    if parsed.is_some_and(<[_]>::is_empty) && select.having.is_none() && !items.iter().any(is_aggregate) {
        return Ok(None);
    }
    let (grouping, keys) = match parsed {
        None => (Grouping::Simple, items.iter().filter(|item| !is_aggregate(item)).map(unaliased).cloned().collect()),
        Some(parsed) => {
            let (grouping, parsed) = grouping(parsed, modifiers)?;
            let keys = parsed.into_iter().map(|key| group_key(expressions, key, items));
            (grouping, keys.collect::<Lowered<Vec<_>>>()?)
        }
    };
    let having = match &select.having {
        None => None,
        Some(having) => {
            let is_key = |name: &str| keys.iter().any(|key: &Expr| key.output_name().eq_ignore_ascii_case(name));
            Some(without_aliases(&expressions.lower(having)?, items, is_key))
        }
    };
    Ok(Some(Groups { grouping, keys, having }))
}

/// How the keys group, and the keys.
fn grouping<'a>(keys: &'a [Parsed], modifiers: &[GroupByWithModifier]) -> Lowered<(Grouping, Vec<&'a Parsed>)> {
    let (grouping, sets) = match (keys, modifiers) {
        ([Parsed::Rollup(sets)], []) => (Grouping::Rollup, sets),
        ([Parsed::Cube(sets)], []) => (Grouping::Cube, sets),
        (keys, []) if keys.iter().any(|key| matches!(key, Parsed::Rollup(_) | Parsed::Cube(_))) => {
            return beyond("GROUP BY with ROLLUP or CUBE beside other keys");
        }
        ([Parsed::Tuple(none)], []) if none.is_empty() => return Ok((Grouping::Simple, Vec::new())),
        (keys, []) => return Ok((Grouping::Simple, keys.iter().collect())),
        (keys, [GroupByWithModifier::Rollup]) => return Ok((Grouping::Rollup, keys.iter().collect())),
        (keys, [GroupByWithModifier::Cube]) => return Ok((Grouping::Cube, keys.iter().collect())),
        _ => return beyond("GROUPING SETS"),
    };
    let one = |set: &'a Vec<Parsed>| match set.as_slice() {
        [key] => Ok(key),
        _ => beyond("a tuple in ROLLUP or CUBE"),
    };
    Ok((grouping, sets.iter().map(one).collect::<Lowered<_>>()?))
}

/// A key: an ordinal, an alias of the select list, or an expression. A name that the aliased expression itself reads is
/// a column of the input, as in `SELECT upper(word) AS word … GROUP BY word`.
fn group_key(expressions: &Expressions, key: &Parsed, items: &[Expr]) -> Lowered<Expr> {
    if let Some(place) = ordinal(key) {
        return Ok(unaliased(nth(items, place, "GROUP BY")?).clone());
    }
    let key = expressions.lower(key)?;
    let is_input = |name: &str| {
        let reads =
            |expr: &Expr| has_column(expr, |parts| parts.last().is_some_and(|last| last.eq_ignore_ascii_case(name)));
        alias_of(items, name).is_some_and(|expr| is_aggregate(expr) || reads(expr))
    };
    Ok(match key.node() {
        ExprNode::Column(_) => without_aliases(&key, items, is_input),
        _ => key,
    })
}

// Order.

fn sort_key<'a>(expressions: &Expressions, key: &'a OrderByExpr, items: &[Expr]) -> Lowered<SortKey<'a>> {
    if let Some(place) = ordinal(&key.expr) {
        let item = nth(items, place, "ORDER BY")?;
        return Ok(SortKey { parsed: key, above: Some(output(item)), below: unaliased(item).clone() });
    }
    let expr = expressions.lower(&key.expr)?;
    Ok(SortKey { parsed: key, above: above(&expr, items), below: without_aliases(&expr, items, |_| false) })
}

/// The key over the columns of the result, where they are all there.
fn above(key: &Expr, items: &[Expr]) -> Option<Expr> {
    let over_result = replaced(key, &|part| match part.node() {
        ExprNode::Column(parts) if is_output(items, parts) => Some(part.clone()),
        ExprNode::Literal(_) => None,
        _ => items.iter().find(|item| unaliased(item).to_string() == part.to_string()).map(output),
    });
    let is_missing = |parts: &[String]| !is_output(items, parts);
    (!is_aggregate(&over_result) && !has_column(&over_result, is_missing)).then_some(over_result)
}

/// Whether the result has a column of this name: `x` is there when `t.x` was selected, and the other way round.
fn is_output(items: &[Expr], parts: &[String]) -> bool {
    let same =
        |a: &[String], b: &[String]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.eq_ignore_ascii_case(b));
    items.iter().any(|item| match item.node() {
        ExprNode::Star(None) => true,
        ExprNode::Star(Some(of)) => parts.len() == 1 || parts[0].eq_ignore_ascii_case(of),
        ExprNode::Column(own) => {
            let common = own.len().min(parts.len());
            same(&own[own.len() - common..], &parts[parts.len() - common..])
        }
        _ => parts.first().is_some_and(|first| first.eq_ignore_ascii_case(&item.output_name())),
    })
}
