//! What waits at the broker, and what of it is damaged where it is kept: to be looked at, and ended.

use std::collections::{BTreeMap, BTreeSet};

use seinhuis_broker_core::{Answer, Command, MailItem};
use seinhuis_journal::BlobId;
use seinhuis_shared::ids::{Digest, Oin};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::signing::sha256;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::lang::Text;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use crate::engine::Attach;
use crate::service::Service;
use crate::store;

impl Service {
    /// The bytes of a packet that waits; takes time, and no turn of the engine.
    ///
    /// # Errors
    /// A sentence when they are not there unharmed.
    pub fn packet(&self, packet: Digest) -> Result<Vec<u8>, Complaint> {
        let bytes = self.blobs.blob(&BlobId(packet.0)).map_err(|error| store::complaint(&error))?;
        bytes
            .filter(|bytes| sha256(bytes) == packet)
            .ok_or_else(|| Complaint::bug("a waiting packet is not in the store"))
    }

    async fn mail(&self) -> Result<Vec<(Oin, MailItem)>, Complaint> {
        let Answer::Mail(mail) = self.command(Command::Mail).await? else {
            return Err(Complaint::bug("another answer"));
        };
        Ok(mail)
    }

    /// What waits, and what is wrong with those packets of it that are damaged. Every one is read.
    async fn looked_through(&self) -> Result<(Vec<(Oin, MailItem)>, BTreeMap<Digest, Complaint>), Complaint> {
        let (service, mail) = (self.clone(), self.mail().await?);
        let packets: BTreeSet<Digest> = mail.iter().map(|(_, item)| item.packet).collect();
        let read = move || {
            let fault = |packet| Some((packet, service.packet(packet).err()?));
            packets.into_iter().filter_map(fault).collect()
        };
        let mut faults: BTreeMap<Digest, Complaint> = blocking(read).await?;
        if !faults.is_empty() {
            // What was delivered meanwhile is not damaged but gone.
            let left = self.mail().await?;
            faults.retain(|packet, _| left.iter().any(|(_, item)| item.packet == *packet));
        }
        Ok((mail, faults))
    }

    /// What waits for each recipient. Every packet is read, to see whether it is whole.
    ///
    /// # Errors
    /// A sentence when the log's files cannot be read, or the engine has stopped.
    pub async fn mailboxes(&self) -> Result<Value, Complaint> {
        let (mail, faults) = self.looked_through().await?;
        let service = self.clone();
        blocking(move || service.show(&mail, &faults)).await?
    }

    fn show(
        &self,
        mail: &[(Oin, MailItem)],
        faults: &BTreeMap<Digest, Complaint>,
    ) -> Result<Value, Complaint> {
        let accepted = |item: &MailItem| {
            let one = self.logs.at(item.index)?;
            one.log.parsed(item.index.saturating_sub(one.base)).map(|entry| entry.time.to_string())
        };
        let mut rows = Vec::new();
        for own in mail.chunk_by(|(before, _), (after, _)| before == after) {
            let Some((oin, oldest)) = own.first() else { continue };
            let damaged = own.iter().filter_map(|(_, item)| Some((item, faults.get(&item.packet)?)));
            let damaged = damaged.map(|(item, fault)| {
                Ok(json!({
                    "packet": item.packet.to_string(), "msg_id": item.msg_id.to_string(), "from": item.from,
                    "bytes": item.size, "accepted": accepted(item)?, "fault": [fault.what.nl, fault.what.en],
                }))
            });
            rows.push(json!({
                "oin": oin,
                "packets": own.len(),
                "bytes": own.iter().map(|(_, item)| item.size).sum::<u64>(),
                "oldest": accepted(oldest)?,
                "damaged": damaged.collect::<Result<Vec<_>, Complaint>>()?,
            }));
        }
        Ok(Value::Array(rows))
    }

    /// Ends a packet that is damaged where it is kept, for all it waits for; `reason` is the SHA-256 of why. With the last
    /// one that is damaged the bytes of what was dropped are overwritten: a broker does not start on a damaged journal.
    ///
    /// # Errors
    /// A sentence when it does not wait, or is whole: that is never dropped.
    pub async fn drop_damaged(&self, packet: Digest, reason: Digest) -> Result<Answer, Complaint> {
        let service = self.clone();
        if blocking(move || service.packet(packet)).await?.is_ok() {
            return Err(Complaint::refused(
                Text::new(
                    format!("Pakket {packet} is niet beschadigd en blijft staan."),
                    format!("Packet {packet} is not damaged and stays."),
                ),
                Text::new(
                    "Bekijk met `seinhuis-broker mailbox list` welke pakketten beschadigd zijn.",
                    "See with `seinhuis-broker mailbox list` which packets are damaged.",
                ),
            ));
        }
        let ended = self.command(Command::DropDamaged { packet, reason }).await?;
        // What waits is copied for that: a damaged one among it would stop the broker.
        if self.looked_through().await?.1.is_empty() {
            // A backup that is under way keeps every file as it is.
            let _still = self.still.lock().await;
            let (tell, told) = oneshot::channel();
            self.engine.bring(Some(Attach::Mend(tell)), None).await;
            told.await.map_err(|_| Complaint::from_refusal(Refusal::StorageFailed))?;
        }
        Ok(ended)
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Complaint> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Complaint::bug(error.to_string()))
}
