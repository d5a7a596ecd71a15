//! The load generator's parts: the plan, the crowd of agents, the gauges and the figures; series of points, their page,
//! two builds held against each other; and curves of what grows.

pub mod against;
mod chart;
mod child;
mod columns;
mod crowd;
pub mod curves;
mod figures;
mod gauges;
mod latency;
pub mod matrix;
mod message;
pub mod overload;
mod page;
mod plan;
mod quorum;
mod scale;
mod snapshot;
mod tally;

use std::io;
use std::path::Path;
use std::time::Duration;

use crate::process::{Process, Programs};
use crate::stage::{Member, Stage, StageError};
use crowd::Crowd;
pub use figures::Figures;
pub use gauges::Usage;
pub use latency::{Latency, PLACES, histogram, record};
use message::Message;
pub use plan::{Flow, OWN_BODY, PAIRS_MAX, Plan, RECIPIENTS, SAMPLE_BODY, Unmeasurable};
use quorum::Watch;
use snapshot::{Kept, Snapshot, settle, taken};

/// The role of those who send.
const SENDS: &str = "jongerenwerk";
/// The role of those who receive.
const RECEIVES: &str = "gemeente";

/// What is measured is the broker, not how long a sender is made to wait.
const QUOTA: &str = "
[quota]
packets = 1000000
packets_burst = 100000000
bytes = 10000000000
bytes_burst = 100000000000
words = 1000000
words_burst = 100000000
questions = 1000000
questions_burst = 100000000
remembered = 100000000

[mailbox]
packets = 1000000
bytes = 17179869184
";

/// Sets a partnership up, measures it and takes it down.
///
/// # Errors
/// Whatever keeps it from being measured.
pub fn run(plan: &Plan, dir: Option<&Path>) -> Result<Figures, StageError> {
    plan.check().map_err(io::Error::other)?;
    let temporary = tempfile::Builder::new().prefix("seinhuis-load-").tempdir()?;
    let dir = dir.unwrap_or_else(|| temporary.path());
    let message = Message::of(plan)?;
    let stage = set(plan, dir)?;
    stage.configure(QUOTA)?;
    let broker = stage.start_broker()?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let watch = Watch::default();
    std::thread::scope(|scope| {
        let waits = scope.spawn(|| watch.follow(&stage));
        let measured = runtime.block_on(measure(plan, message, &stage, &broker, &watch));
        watch.end();
        let waits = waits.join().map_err(|_| io::Error::other("the watch over the quorum broke"))?;
        let mut figures = measured?;
        figures.quorum(&waits?);
        Ok(figures)
    })
}

/// A partnership that has agreed on a covenant with the flow of the plan.
fn set(plan: &Plan, dir: &Path) -> Result<Stage, StageError> {
    let programs = Programs(std::env::current_exe()?);
    let members = cast(dir, plan.pairs, plan.receivers());
    let mut stage = Stage::found(programs, dir, members, &mut |step| eprintln!("· {step}"))?;
    stage.watched = plan.watched();
    if plan.flow() == Flow::Own {
        message::add_flow(&mut stage)?;
    }
    eprintln!("· covenant");
    stage.agree()?;
    Ok(stage)
}

/// So many pairs of a sender and a recipient.
fn members(dir: &Path, pairs: u8) -> Vec<Member> {
    cast(dir, pairs, pairs)
}

/// So many senders and recipients, in pairs for as long as there are of both.
fn cast(dir: &Path, senders: u8, receivers: u8) -> Vec<Member> {
    let one = |role: &'static str, kind: u8, number: u8| {
        let label = format!("{role}-{number}");
        Member::new(dir, &label, role, &format!("00000099000000{kind}{number:02}00"), &label)
    };
    let sends = |number: u8| (number <= senders).then(|| one(SENDS, 13, number));
    let receives = |number: u8| (number <= receivers).then(|| one(RECEIVES, 11, number));
    (1..=senders.max(receivers)).flat_map(|number| [sends(number), receives(number)]).flatten().collect()
}

async fn measure(
    plan: &Plan,
    message: Message,
    stage: &Stage,
    broker: &Process,
    watch: &Watch,
) -> Result<Figures, StageError> {
    let mut figures = Figures { plan: Some(plan.clone()), ..Figures::default() };
    figures.idle_rss = Usage::of(broker.id())?.rss;
    let mut crowd = Crowd::meet(&stage.members, usize::from(plan.recipients), message).await?;
    let length = Duration::from_secs(plan.seconds);

    wait(plan, stage, &mut crowd, &mut figures).await?;
    let (began, mut packets) = (Kept::by(stage)?, 0);

    let rate = if let Some(rate) = plan.rate {
        rate
    } else {
        eprintln!("· full speed");
        let before = Snapshot::take(stage, broker)?;
        let full = crowd.full_speed(plan.window(), length).await?;
        figures.full_speed(&full, &Snapshot::take(stage, broker)?.since(&before));
        packets += full.delivered;
        figures.packets_per_second / 2.0
    };

    eprintln!("· {rate:.0} a second, each at its time");
    let before = Snapshot::take(stage, broker)?;
    let paced = crowd.paced(rate, length).await?;
    figures.paced(rate, &paced, &Snapshot::take(stage, broker)?.since(&before));
    packets += paced.delivered;
    figures.loaded_rss = Usage::of(broker.id())?.peak_rss;
    figures.own_rss = Usage::of(std::process::id())?.peak_rss;

    if plan.quorum && plan.watched() {
        eprintln!("· a tenth of full speed, or of the rate, for the witnesses");
        figures.watched_rate = if plan.rate.is_some() { rate / 10.0 } else { rate / 5.0 };
        watch.begin();
        packets += crowd.paced(figures.watched_rate, length).await?.delivered;
        watch.end();
        watch.done().await;
    }
    crowd.leave().await?;
    settle(stage).await?;
    figures.settled_rss = Usage::of(broker.id())?.rss;
    let kept = Kept::by(stage)?;
    if plan.waiting() == 0 {
        figures.disk_delivered = per(kept.live.saturating_sub(began.live), packets);
        figures.log_bytes = per(kept.log.saturating_sub(began.log), packets);
    }
    (figures.broker_disk, figures.agents_disk) = taken(stage)?;
    Ok(figures)
}

/// Has packets wait for recipients that are away, for the figures on disk, and lets these come.
async fn wait(
    plan: &Plan,
    stage: &Stage,
    crowd: &mut Crowd,
    figures: &mut Figures,
) -> Result<(), StageError> {
    if plan.waiting() == 0 {
        crowd.open_recipients()?;
        return crowd.connected().await;
    }
    eprintln!("· packets that wait");
    let empty = Kept::by(stage)?;
    let count = crowd.send_to_absent(plan.waiting()).await?;
    let waiting = Kept::by(stage)?;
    figures.waiting = count;
    figures.disk_waiting = Some(per(waiting.live.saturating_sub(empty.live), count));
    crowd.fetch(count).await?;
    settle(stage).await?;
    let after = Kept::by(stage)?;
    figures.disk_delivered = per(after.live.saturating_sub(empty.live), count);
    figures.log_bytes = per(after.log.saturating_sub(empty.log), count);
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn per(bytes: u64, packets: usize) -> f64 {
    bytes as f64 / packets.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn senders_and_recipients_come_in_pairs_and_the_rest_after_them() {
        let roles = |senders, receivers| {
            let cast = cast(Path::new("x"), senders, receivers);
            let oins: std::collections::BTreeSet<_> = cast.iter().map(|member| member.oin.clone()).collect();
            assert_eq!(oins.len(), cast.len(), "nobody twice");
            assert!(oins.iter().all(|oin| oin.len() == 20), "{oins:?}");
            cast.into_iter().map(|member| member.role).collect::<Vec<_>>()
        };
        assert_eq!(roles(2, 2), [SENDS, RECEIVES, SENDS, RECEIVES]);
        assert_eq!(roles(1, 3), [SENDS, RECEIVES, RECEIVES, RECEIVES]);
        assert_eq!(roles(64, 64).len(), 128);
    }
}
