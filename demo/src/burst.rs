//! Scene 6: a short burst through the running agents, over their control sockets.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use seinhuis_shared::covenant::law::is_service;
use seinhuis_shared::ids::MsgId;
use seinhuis_shared::time::Timestamp;
use seinhuis_tests::samples::Sample;
use seinhuis_tests::stage::PATIENCE;
use serde_json::Value;

use crate::control::{self, Counts};
use crate::show::{Show, moment, text};
use crate::trouble::{Told, Trouble, check};

/// Pushes under way at one time.
const PUSHERS: usize = 32;

/// Hands over `packets` signals, those that need no open case and no person to release them, as fast as the agents take them, and waits until all have arrived.
///
/// # Errors
/// When one is not accepted or does not arrive.
pub(crate) fn play(show: &mut Show, packets: u32) -> Told {
    show.teller.scene(6, "Een korte piek", "A short burst");
    let count = usize::try_from(packets).map_err(|_| Trouble::bug())?;
    let passes = |sample: &&Sample| {
        (sample.value.get("case").is_none() || is_service(&sample.message_type))
            && !show.releases(&sample.flow)
    };
    let open: Vec<Sample> = show.samples.iter().filter(passes).cloned().collect();
    let plan: Vec<Sample> = open.into_iter().cycle().take(count).collect();
    for sample in &plan {
        show.expect_sample(sample);
    }
    let bar = show.teller.bar(packets.into(), "signalen aangeboden", "signals handed over");
    let ids = push_all(show, &plan, &|| bar.inc(1))?;
    bar.finish_and_clear();
    wait(show)?;
    let deliveries = plan.iter().map(|sample| sample.to.len()).sum();
    let figures = Figures::read(show, &ids, deliveries)?;
    tell(show, &figures, count);
    Ok(())
}

/// Pushes with several threads; the ids.
fn push_all(show: &Show, plan: &[Sample], tell: &(dyn Fn() + Sync)) -> Told<Vec<MsgId>> {
    let next = AtomicUsize::new(0);
    let work = || -> Told<Vec<MsgId>> {
        let mut ids = Vec::new();
        while let Some(sample) = plan.get(next.fetch_add(1, Ordering::Relaxed)) {
            ids.push(control::push(&show.stage.member(&sample.from).home, sample)?);
            tell();
        }
        Ok(ids)
    };
    let parts: Vec<Told<Vec<MsgId>>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..PUSHERS).map(|_| scope.spawn(work)).collect();
        let join = |thread: std::thread::ScopedJoinHandle<'_, _>| {
            thread.join().unwrap_or_else(|_| Err(Trouble::bug()))
        };
        threads.into_iter().map(join).collect()
    });
    let mut ids = Vec::with_capacity(plan.len());
    for part in parts {
        ids.append(&mut part?);
    }
    Ok(ids)
}

/// Waits until every agent has sent and received what it must, with nothing refused.
pub(crate) fn wait(show: &Show) -> Told {
    let wanted: u64 = show.received.values().sum();
    let bar = show.teller.bar(wanted, "signalen bezorgd", "signals delivered");
    let mut progress = (0, Instant::now());
    loop {
        let mut arrived = 0;
        let mut complete = true;
        for member in &show.stage.members {
            let counts = control::counts(&member.home)?;
            arrived += counts.stored;
            let expected =
                |tally: &BTreeMap<String, u64>| tally.get(member.role).copied().unwrap_or_default();
            complete &= settled(member.role, &counts, expected(&show.sent), expected(&show.received))?;
        }
        bar.set_position(arrived);
        if complete {
            bar.finish_and_clear();
            return Ok(());
        }
        if arrived > progress.0 {
            progress = (arrived, Instant::now());
        }
        check(
            progress.1.elapsed() < PATIENCE,
            format!("Van {wanted} bezorgingen kwamen er {arrived}; daarna een minuut lang niets meer."),
            format!("Of {wanted} deliveries {arrived} came; then nothing for a minute."),
        )?;
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// Whether an agent has exactly what it must.
fn settled(role: &str, counts: &Counts, sent: u64, received: u64) -> Told<bool> {
    let wrong = counts.refused > 0
        || counts.quarantined > 0
        || counts.alarms > 0
        || counts.accepted > sent
        || counts.stored > received;
    check(
        !wrong,
        format!("De agent van {role} telt anders dan verwacht ({sent} uit, {received} in): {counts:?}"),
        format!("{role}'s agent counts otherwise than expected ({sent} out, {received} in): {counts:?}"),
    )?;
    Ok(counts.accepted == sent && counts.stored == received)
}

/// What the agents' own records say about the burst, in milliseconds.
#[derive(Debug)]
struct Figures {
    /// From the first hand-over to the last acknowledgement.
    accepted_in: u64,
    /// From the first hand-over to the last delivery.
    delivered_in: u64,
    /// From hand-over to verified receipt, each packet, ascending.
    acknowledged: Vec<u64>,
    /// From hand-over to stored at the recipient, each delivery, ascending.
    delivered: Vec<u64>,
}

impl Figures {
    fn read(show: &Show, ids: &[MsgId], deliveries: usize) -> Told<Self> {
        let ids: BTreeSet<String> = ids.iter().map(ToString::to_string).collect();
        let mut begun: BTreeMap<String, Timestamp> = BTreeMap::new();
        let mut arrivals: BTreeSet<(&str, String)> = BTreeSet::new();
        let (mut last_ack, mut last_stored) = (Timestamp(0), Timestamp(0));
        let (mut acknowledged, mut delivered) = (Vec::new(), Vec::new());
        for (_, row) in rows(show, "outbox", &ids)? {
            let (created, decided) = (moment(&row, "created")?, moment(&row, "decided")?);
            begun.insert(text(&row, "msg_id").to_owned(), created);
            last_ack = last_ack.max(decided);
            acknowledged.push(decided.since(created).0);
        }
        for (role, row) in rows(show, "inbox", &ids)? {
            let id = text(&row, "msg_id").to_owned();
            let (created, stored) = (begun.get(&id).ok_or_else(Trouble::bug)?, moment(&row, "stored")?);
            last_stored = last_stored.max(stored);
            delivered.push(stored.since(*created).0);
            arrivals.insert((role, id));
        }
        let (sent, once) = (acknowledged.len(), arrivals.len());
        check(
            sent == ids.len() && once == deliveries && delivered.len() == deliveries,
            format!(
                "{sent} van {} verzonden, {once} van {deliveries} bezorgd, {} keer.",
                ids.len(),
                delivered.len()
            ),
            format!(
                "{sent} of {} sent, {once} of {deliveries} delivered, {} times.",
                ids.len(),
                delivered.len()
            ),
        )?;
        acknowledged.sort_unstable();
        delivered.sort_unstable();
        let first = begun.values().min().copied().unwrap_or(Timestamp(0));
        let (accepted_in, delivered_in) = (last_ack.since(first).0, last_stored.since(first).0);
        Ok(Self { accepted_in, delivered_in, acknowledged, delivered })
    }
}

/// The rows of these messages in every member's outbox or inbox, with the member's role.
fn rows(show: &Show, of: &str, ids: &BTreeSet<String>) -> Told<Vec<(&'static str, Value)>> {
    let mut all = Vec::new();
    for member in &show.stage.members {
        let listed = show.stage.agent(member, &[of, "list", "-n", "1000000"])?;
        let listed = listed.as_array().into_iter().flatten();
        let wanted = listed.filter(|row| ids.contains(text(row, "msg_id")));
        all.extend(wanted.map(|row| (member.role, row.clone())));
    }
    Ok(all)
}

/// The value below which `percent` of the ascending `values` lie (nearest rank); 0 of none.
fn percentile(values: &[u64], percent: usize) -> u64 {
    let rank = values.len().saturating_mul(percent).div_ceil(100).max(1);
    values.get(rank - 1).copied().unwrap_or_default()
}

/// How many a second, of `count` in `millis`.
fn rate(count: usize, millis: u64) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX).saturating_mul(1000) / millis.max(1)
}

fn tell(show: &mut Show, figures: &Figures, count: usize) {
    let deliveries = figures.delivered.len();
    let accepted = rate(count, figures.accepted_in);
    let delivered = rate(deliveries, figures.delivered_in);
    let two = |values: &[u64]| (percentile(values, 50), percentile(values, 99));
    let (ack, end) = (two(&figures.acknowledged), two(&figures.delivered));
    show.teller.right(
        format!("{count} signalen, {PUSHERS} tegelijk aangeboden: alle aangenomen, {deliveries} keer bezorgd, geen enkele dubbel"),
        format!("{count} signals, {PUSHERS} offered at a time: all accepted, delivered {deliveries} times, none twice"),
    );
    show.teller.right(
        format!("{accepted} per seconde aangenomen, {delivered} per seconde bezorgd"),
        format!("{accepted} a second accepted, {delivered} a second delivered"),
    );
    show.teller.right(
        format!("van aanbieden tot bewezen ontvangst: p50 {} ms, p99 {} ms", ack.0, ack.1),
        format!("from hand-over to proved receipt: p50 {} ms, p99 {} ms", ack.0, ack.1),
    );
    show.teller.right(
        format!("van aanbieden tot bewaard bij de ontvanger: p50 {} ms, p99 {} ms", end.0, end.1),
        format!("from hand-over to stored at the recipient: p50 {} ms, p99 {} ms", end.0, end.1),
    );
    show.teller.line(
        show.teller.dim("Broker, vier agents en deze demo delen één machine; wachten in de outbox telt mee."),
        show.teller
            .dim("Broker, four agents and this demo share one machine; waiting in the outbox is included."),
    );
    show.sum(
        (
            "piek",
            format!(
                "{count} signalen, {accepted}/s aangenomen, {delivered}/s bezorgd; p99 {} en {} ms",
                ack.1, end.1
            ),
        ),
        (
            "burst",
            format!(
                "{count} signals, {accepted}/s accepted, {delivered}/s delivered; p99 {} and {} ms",
                ack.1, end.1
            ),
        ),
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_values_that_occurred() {
        let values: Vec<u64> = (1..=200).collect();
        assert_eq!((percentile(&values, 50), percentile(&values, 99)), (100, 198));
        assert_eq!((percentile(&[7], 50), percentile(&[7], 99)), (7, 7));
        assert_eq!(percentile(&[], 50), 0);
    }

    #[test]
    fn a_rate_is_per_second() {
        assert_eq!((rate(400, 800), rate(3, 0)), (500, 3000));
    }

    #[test]
    fn one_message_too_many_or_refused_ends_the_wait() {
        let counts = Counts { accepted: 2, stored: 3, ..Counts::default() };
        assert!(settled("om", &counts, 2, 3).unwrap());
        assert!(!settled("om", &counts, 3, 3).unwrap());
        assert!(settled("om", &counts, 1, 3).is_err());
        assert!(settled("om", &counts, 2, 2).is_err());
        assert!(settled("om", &Counts { refused: 1, ..counts }, 3, 3).is_err());
        assert!(settled("om", &Counts { quarantined: 1, ..counts }, 3, 4).is_err());
        assert!(settled("om", &Counts { alarms: 1, ..counts }, 3, 4).is_err());
    }
}
