//! Scene 8: every receipt is verified offline, and the log is hashed again.

use seinhuis_agent::home::Home;
use seinhuis_agent_core::Write;
use seinhuis_agent_core::rows::{InboxRow, OutboxRow, Stage, table};
use seinhuis_journal::{JournalStore, Options, Store as _, StoreError};
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::ids::Oin;
use seinhuis_shared::receipt::{CheckpointCache, LogKey, Receipt, ReceiptError, VerifiedReceipt};
use seinhuis_tests::Member;
use serde_json::Value;

use crate::show::Show;
use crate::trouble::{Told, Trouble, check};

/// Verifies everything the agents hold, against nothing but the log key on the broker's card.
///
/// # Errors
/// The first receipt that does not prove what its row says.
pub(crate) fn play(show: &mut Show) -> Told {
    show.teller.scene(8, "Alle ontvangstbewijzen nagerekend", "Every receipt verified");
    let first = show.stage.members.first().ok_or_else(Trouble::bug)?;
    let home = Home::new(&first.home);
    let log = home.log_key(&show.stage.card()?)?;
    let roles: Vec<&str> = show.stage.members.iter().map(|member| member.role).collect();
    show.running.stop(&roles)?;
    show.teller.line(
        "De agents zijn gestopt; van elk wordt nu alleen de opslag gelezen.",
        "The agents have stopped; nothing but the store of each is read now.",
    );
    let members = show.stage.members.clone();
    let mut tally = Tally::default();
    for member in &members {
        verify(show, member, &log, &mut tally)?;
    }
    let (total, entries) = (tally.receipts, tally.entries);
    show.teller.right(
        format!("controle: met één bit omgezet bewijst geen van {total} ontvangstbewijzen nog iets"),
        format!("control: with one bit flipped none of {total} receipts proves anything any more"),
    );
    let checked = recheck(show, tally.highest)?;
    show.sum(
        (
            "ontvangstbewijzen",
            format!("{total} geldig, over {entries} logregels; log van {checked} regels opnieuw gehasht"),
        ),
        (
            "receipts",
            format!("{total} valid, about {entries} log entries; log of {checked} entries hashed again"),
        ),
    );
    Ok(())
}

/// What was verified.
#[derive(Debug, Default)]
struct Tally {
    receipts: u64,
    entries: u64,
    highest: u64,
    checkpoints: CheckpointCache,
}

fn store(error: &StoreError) -> Trouble {
    Trouble::new(format!("De opslag van de agent: {error}"), format!("The agent's store: {error}"))
}

/// Every row of the outbox and the inbox in a stopped agent's store.
fn rows(member: &Member) -> Told<(Vec<OutboxRow>, Vec<InboxRow>)> {
    let dir = Home::new(&member.home).store();
    let (opened, _) = JournalStore::open(&dir, Options::default()).map_err(|error| store(&error))?;
    let (mut sent, mut received) = (Vec::new(), Vec::new());
    for of in [table::OUTBOX, table::INBOX] {
        for (key, value) in opened.scan(of).map_err(|error| store(&error))? {
            let row = Write::read(of, &key, &value)
                .map_err(|error| Trouble::new(error.to_string(), error.to_string()))?;
            if let Write::Outbox(_, row) = row {
                sent.push(*row);
            } else if let Write::Inbox(_, row) = row {
                received.push(*row);
            }
        }
    }
    Box::new(opened).close().map_err(|error| store(&error))?;
    Ok((sent, received))
}

fn verify(show: &Show, member: &Member, log: &LogKey, tally: &mut Tally) -> Told {
    let own: Oin = member.oin.parse().map_err(|_| Trouble::bug())?;
    let (sent, received) = rows(member)?;
    for row in &sent {
        let right = row.stage == Stage::Done;
        prove(&row.receipt, log, tally, |receipt| right && says_sent(receipt, row, own))
            .map_err(|why| broken(member, &row.msg_id.to_string(), &why))?;
    }
    for row in &received {
        prove(&row.receipt, log, tally, |receipt| says_received(receipt, row, own))
            .map_err(|why| broken(member, &row.msg_id.to_string(), &why))?;
    }
    let expected = |tally: &std::collections::BTreeMap<String, u64>| {
        tally.get(member.role).copied().and_then(|count| usize::try_from(count).ok()).unwrap_or_default()
    };
    let (out, inn) = (expected(&show.sent), expected(&show.received));
    check(
        (sent.len(), received.len()) == (out, inn),
        format!(
            "{} bewaart {} en {} berichten in plaats van {out} en {inn}.",
            member.role,
            sent.len(),
            received.len()
        ),
        format!(
            "{} keeps {} and {} messages instead of {out} and {inn}.",
            member.role,
            sent.len(),
            received.len()
        ),
    )?;
    show.teller.right(
        format!("{:12}  {out:5} verzonden en {inn:5} ontvangen: elk bewezen tegen de logsleutel op de brokerkaart", member.role),
        format!("{:12}  {out:5} sent and {inn:5} received: each proved against the log key on the broker's card", member.role),
    );
    Ok(())
}

/// Verifies one receipt, what it says, and that it says nothing once a bit is flipped.
fn prove(
    bytes: &[u8],
    log: &LogKey,
    tally: &mut Tally,
    says: impl Fn(&VerifiedReceipt) -> bool,
) -> Result<(), String> {
    let mut read = |bytes: &[u8]| -> Result<VerifiedReceipt, ReceiptError> {
        Receipt::parse(bytes)?.verify(log, &mut tally.checkpoints)
    };
    let receipt = read(bytes).map_err(|error| error.to_string())?;
    if !says(&receipt) {
        return Err(ReceiptError::NotAboutThis.to_string());
    }
    let mut flipped = bytes.to_vec();
    let place = flipped.len() / 2;
    if let Some(byte) = flipped.get_mut(place) {
        *byte ^= 1;
    }
    if read(&flipped).is_ok_and(|receipt| says(&receipt)) {
        return Err("it also holds with a bit flipped".into());
    }
    tally.receipts += 1;
    tally.entries += u64::try_from(receipt.entries.len()).unwrap_or_default();
    tally.highest = receipt.entries.iter().map(|(index, _)| *index).fold(tally.highest, u64::max);
    Ok(())
}

fn broken(member: &Member, id: &str, why: &str) -> Trouble {
    Trouble::new(
        format!("Het ontvangstbewijs van bericht {id} bij {} houdt geen stand: {why}", member.role),
        format!("The receipt of message {id} at {} does not hold: {why}", member.role),
    )
}

/// One accepted entry for each recipient, in order.
fn says_sent(receipt: &VerifiedReceipt, row: &OutboxRow, own: Oin) -> bool {
    let about = |entry: &Entry, to: &Oin| {
        entry.kind == Kind::Accepted
            && entry.to == Some(*to)
            && entry.from == Some(own)
            && entry.msg_id == Some(row.msg_id)
            && entry.packet == row.packet
            && entry.covenant == Some(row.covenant)
            && entry.flow.as_ref() == Some(&row.flow)
    };
    receipt.entries.len() == row.recipients.len()
        && receipt.entries.iter().zip(&row.recipients).all(|((_, entry), to)| about(entry, to))
}

/// One accepted entry, for this recipient.
fn says_received(receipt: &VerifiedReceipt, row: &InboxRow, own: Oin) -> bool {
    let [(index, entry)] = receipt.entries.as_slice() else { return false };
    row.outcome == 0
        && *index == row.index
        && entry.kind == Kind::Accepted
        && entry.to == Some(own)
        && entry.from == row.sender
        && entry.msg_id == Some(row.msg_id)
        && entry.packet == Some(row.packet)
        && entry.covenant == row.covenant
        && entry.flow.as_ref() == Some(&row.flow)
}

/// Has the broker hash its whole log again; the number of entries.
fn recheck(show: &Show, highest: u64) -> Told<u64> {
    let answer = show.stage.broker(&["log", "verify"])?;
    let checked = answer.get("checked").and_then(Value::as_u64).unwrap_or_default();
    check(
        checked > highest,
        format!("Het log heeft {checked} regels, maar een ontvangstbewijs noemt regel {highest}."),
        format!("The log has {checked} entries, but a receipt names entry {highest}."),
    )?;
    let status = show.stage.broker(&["status"])?;
    let queues = status.get("queues").and_then(Value::as_array);
    let waiting: u64 =
        queues.into_iter().flatten().filter_map(|queue| queue.get("packets").and_then(Value::as_u64)).sum();
    check(
        waiting == 0,
        format!("Er wachten nog {waiting} pakketten bij de broker."),
        format!("{waiting} packets are still waiting at the broker."),
    )?;
    show.teller.right(
        format!(
            "log verify: {checked} regels opnieuw gehasht, tegels en wortel kloppen; geen pakket wacht nog"
        ),
        format!(
            "log verify: {checked} entries hashed again, tiles and root are right; no packet waits any more"
        ),
    );
    Ok(checked)
}
