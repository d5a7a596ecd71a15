//! Lists in parts, by position.

use seinhuis_agent_core::rows::{InboxRow, OutboxRow};
use serde_json::Value;

use super::{incoming, outgoing};
use crate::engine::{View, inbox_row, outbox_row};
use crate::ways::deliveries::counts;

/// Most rows that are looked at for one page.
const LOOKED_MAX: u64 = 1000;

/// Part of a list, oldest first.
#[derive(Debug)]
pub(crate) struct Page {
    /// The rows that were wanted.
    pub(crate) items: Vec<Value>,
    /// The position from which the next page goes on.
    pub(crate) next: u64,
    /// Whether there is something from there on.
    pub(crate) more: bool,
    /// Whether the position asked for is beyond all there is: of another store than this one.
    pub(crate) beyond: bool,
}

impl Page {
    /// At most `limit` rows from a position on: `there` gives a row if there is one, `wanted` shows it if it is wanted.
    fn of<R>(
        from: u64,
        limit: usize,
        there: impl Fn(u64) -> Option<R>,
        wanted: impl Fn(u64, R) -> Option<Value>,
    ) -> Self {
        let (mut items, mut next) = (Vec::new(), from);
        let beyond = from.checked_sub(1).is_some_and(|last| there(last).is_none());
        while items.len() < limit && next.saturating_sub(from) < LOOKED_MAX {
            let Some(row) = there(next) else { return Self { items, next, more: false, beyond } };
            items.extend(wanted(next, row));
            next = next.saturating_add(1);
        }
        let more = there(next).is_some();
        Self { items, next, more, beyond }
    }
}

/// Messages sent in flows that are wanted.
pub(crate) fn sent_page(view: &View<'_>, from: u64, limit: usize, wanted: impl Fn(&str) -> bool) -> Page {
    let shown = |position, row: OutboxRow| wanted(&row.flow).then(|| outgoing(position, &row, view));
    Page::of(from, limit, |position| outbox_row(view.store, position), shown)
}

/// Messages received that are wanted; with `open` only those with a body that counts and that nobody took over.
pub(crate) fn received_page(
    view: &View<'_>,
    from: u64,
    limit: usize,
    open: bool,
    wanted: impl Fn(&InboxRow) -> bool,
) -> Page {
    let shown = |position, row: InboxRow| {
        let is_open =
            || row.outcome == 0 && counts(view, position) && view.core.consumed_row(position).is_none();
        ((!open || is_open()) && wanted(&row)).then(|| incoming(view, position, &row))
    };
    Page::of(from, limit, |position| inbox_row(view.store, position), shown)
}
