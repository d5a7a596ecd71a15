//! Lists in parts, by position.

use std::collections::BTreeSet;

use seinhuis_agent_core::rows::{InboxRow, OutboxRow};
use serde_json::{Value, json};

use super::{incoming, outgoing};
use crate::engine::{View, inbox_row, outbox_row};
use crate::ways::deliveries::counts;

/// Most rows that are looked at for one page.
const LOOKED_MAX: u64 = 1000;
/// Most rows of one answer to who follows the inbox.
const GOOD_MAX: usize = 100;

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
    /// At most `limit` rows from a position on and before `end`: `there` gives a row if there is one, for a message that
    /// was released left its place; `wanted` shows it if it is wanted.
    fn of<R>(
        (from, end): (u64, u64),
        limit: usize,
        there: impl Fn(u64) -> Option<R>,
        wanted: impl Fn(u64, R) -> Option<Value>,
    ) -> Self {
        let (mut items, mut next) = (Vec::new(), from);
        while items.len() < limit && next.saturating_sub(from) < LOOKED_MAX && next < end {
            items.extend(there(next).and_then(|row| wanted(next, row)));
            next = next.saturating_add(1);
        }
        Self { items, next, more: next < end, beyond: from > end }
    }

    /// At most `limit` rows before a position, the last of them first: [`Page::next`] is the position before which the
    /// next page goes on.
    fn back<R>(
        before: u64,
        limit: usize,
        there: impl Fn(u64) -> Option<R>,
        wanted: impl Fn(u64, R) -> Option<Value>,
    ) -> Self {
        let (mut items, mut next) = (Vec::new(), before);
        while items.len() < limit && before.saturating_sub(next) < LOOKED_MAX && next > 0 {
            next = next.saturating_sub(1);
            items.extend(there(next).and_then(|row| wanted(next, row)));
        }
        Self { items, next, more: next > 0, beyond: false }
    }
}

/// Messages sent in flows that are wanted.
pub(crate) fn sent_page(view: &View<'_>, from: u64, limit: usize, wanted: impl Fn(&str) -> bool) -> Page {
    let bounds = (from, view.core.handed_over());
    Page::of(bounds, limit, |position| outbox_row(view.store, position), sent(view, wanted))
}

/// The last messages sent before a place, or of all, in flows that are wanted.
pub(crate) fn sent_back(
    view: &View<'_>,
    before: Option<u64>,
    limit: usize,
    wanted: impl Fn(&str) -> bool,
) -> Page {
    let end = view.core.handed_over();
    let before = before.unwrap_or(end).min(end);
    Page::back(before, limit, |position| outbox_row(view.store, position), sent(view, wanted))
}

fn sent(view: &View<'_>, wanted: impl Fn(&str) -> bool) -> impl Fn(u64, OutboxRow) -> Option<Value> {
    move |position, row| wanted(&row.flow).then(|| outgoing(position, &row, view))
}

/// Good messages received of these flows, or of all, as an answer; with `open` only those that nobody took over.
pub(in crate::commands) fn good(view: &View<'_>, from: u64, open: bool, flows: &BTreeSet<String>) -> Value {
    let wanted = |row: &InboxRow| row.outcome == 0 && (flows.is_empty() || flows.contains(&row.flow));
    let page = received_page(view, from, GOOD_MAX, open, wanted);
    json!({ "items": page.items, "next": page.next, "more": page.more, "beyond": page.beyond })
}

/// Messages received that are wanted; with `open` only those with a body that counts and that nobody took over.
pub(crate) fn received_page(
    view: &View<'_>,
    from: u64,
    limit: usize,
    open: bool,
    wanted: impl Fn(&InboxRow) -> bool,
) -> Page {
    let bounds = (from, view.core.received());
    Page::of(bounds, limit, |position| inbox_row(view.store, position), got(view, open, wanted))
}

/// The last messages received before a place, or of all, as [`received_page`].
pub(crate) fn received_back(
    view: &View<'_>,
    before: Option<u64>,
    limit: usize,
    open: bool,
    wanted: impl Fn(&InboxRow) -> bool,
) -> Page {
    let end = view.core.received();
    let before = before.unwrap_or(end).min(end);
    Page::back(before, limit, |position| inbox_row(view.store, position), got(view, open, wanted))
}

fn got(
    view: &View<'_>,
    open: bool,
    wanted: impl Fn(&InboxRow) -> bool,
) -> impl Fn(u64, InboxRow) -> Option<Value> {
    move |position, row| {
        let is_open =
            || row.outcome == 0 && counts(view, position) && view.core.consumed_row(position).is_none();
        ((!open || is_open()) && wanted(&row)).then(|| incoming(view, position, &row))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Ten places of which two were left, as pages of three.
    fn there(position: u64) -> Option<u64> {
        (position < 10 && position != 2 && position != 9).then_some(position)
    }

    fn shown(_: u64, row: u64) -> Option<Value> {
        (row != 5).then(|| json!(row))
    }

    #[test]
    fn a_place_that_was_left_ends_no_list() {
        let page = |from| Page::of((from, 10), 3, there, shown);
        let first = page(0);
        assert_eq!((first.items, first.next, first.more), (vec![json!(0), json!(1), json!(3)], 4, true));
        let second = page(4);
        assert_eq!((second.items, second.next, second.more), (vec![json!(4), json!(6), json!(7)], 8, true));
        let last = page(8);
        assert_eq!((last.items, last.next, last.more, last.beyond), (vec![json!(8)], 10, false, false));
        assert!(page(11).beyond && !page(10).beyond);
    }

    #[test]
    fn a_list_goes_back_to_its_beginning() {
        let page = |before| Page::back(before, 3, there, shown);
        let first = page(10);
        assert_eq!((first.items, first.next, first.more), (vec![json!(8), json!(7), json!(6)], 6, true));
        let last = page(3);
        assert_eq!((last.items, last.next, last.more), (vec![json!(1), json!(0)], 0, false));
    }
}
