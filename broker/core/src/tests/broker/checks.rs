//! What must hold after every turn.

use super::*;

impl Broker {
    pub(super) fn check(&self) {
        self.check_log();
        self.check_mail();
        same_state(&self.core, &self.restored());
    }

    fn check_log(&self) {
        let mut time = Timestamp(0);
        let mut once = BTreeSet::new();
        for entry in self.entries() {
            assert!(entry.time >= time, "the log's time never goes back");
            time = entry.time;
            if matches!(
                entry.kind,
                Kind::Accepted | Kind::Delivered | Kind::Expired | Kind::Shredded | Kind::Withdrawn
            ) {
                // Delivered, expired, shredded or taken back, never two of them: each is the end.
                let end = entry.kind != Kind::Accepted;
                assert!(once.insert((end, entry.to, entry.packet)), "once per recipient: {entry:?}");
            }
        }
        for pair in self.core.shards().windows(2) {
            let [old, new] = pair else { unreachable!("windows of two") };
            let opening = usize::try_from(new.base).unwrap();
            assert_eq!(old.end(), Some(new.base), "one log begins where the other ends");
            let kinds = [opening - 1, opening].map(|at| Entry::parse(&self.log[at]).unwrap().kind);
            assert_eq!(kinds, [Kind::Closing, Kind::Opening]);
        }
        if let Some(head) = self.core.head() {
            let key = log_key_of(self.core.origin());
            let checkpoint = Checkpoint::verify(&head.note, &key.origin, &key.key).unwrap();
            assert_eq!(checkpoint.size(), u64::try_from(self.log.len()).unwrap() - self.base());
            assert_eq!(*checkpoint.root(), self.core.state.log.frontier.root());
        }
    }

    fn check_mail(&self) {
        let mut waiting = BTreeSet::new();
        for (oin, mailbox) in &self.core.state.mailboxes {
            assert!(mailbox.len() > 0, "an empty mailbox is none");
            let mut bytes = 0;
            let mut at = 0;
            while let Some(item) = mailbox.from(at) {
                let kept = self.blobs.get(&item.packet.0).unwrap();
                assert!(Packet::parse(kept).unwrap().context().is_for(oin), "a mailbox holds its own only");
                let entry = Entry::parse(&self.log[usize::try_from(item.index).unwrap()]).unwrap();
                assert_eq!((entry.kind, entry.to), (Kind::Accepted, Some(*oin)));
                assert_eq!(entry.packet, Some(item.packet));
                waiting.insert(item.packet.0);
                bytes += item.size;
                at = item.index + 1;
            }
            assert_eq!(bytes, mailbox.bytes());
        }
        let kept: BTreeSet<_> = self.blobs.keys().copied().collect();
        assert_eq!(kept, waiting, "what waits is kept and nothing else");
    }

    /// What is offered rests on something, or the covenant says that it is delivered all the same.
    fn check_ground(&self, context: &Context, to: Oin) {
        let directory = self.core.directory();
        let agreement = directory.covenant(&context.covenant).unwrap();
        let document = agreement.compiled().covenant();
        let left = |oin| matches!(agreement.standing(oin), Some(Standing::Withdrawn(..)));
        let ends = [context.sender, to];
        let withdrawn = document
            .parties
            .iter()
            .any(|party| left(party.oin) && (!party.may_be_absent || ends.contains(&party.oin)));
        let overlap = Span::days(document.overlap_days.into());
        let superseded = document.valid_until <= self.now
            || agreement.superseded().is_some_and(|at| at.plus(overlap) <= self.now);
        let revoked = ends.iter().any(|oin| directory.partner(oin).is_err());
        let fates = document.in_flight;
        for (lapsed, fate) in
            [(withdrawn, fates.withdrawn), (superseded, fates.superseded), (revoked, fates.revoked)]
        {
            assert!(!lapsed || fate == Fate::Deliver, "offered without ground: {context:?}");
        }
    }

    pub(super) fn check_sends(&self, sends: &[Send]) {
        let mut cache = CheckpointCache::default();
        for send in sends {
            if let Send::Notices { conn, cursor, row } = send {
                let notices = self.made(*cursor, row);
                let origin = core::str::from_utf8(&notices.checkpoint).unwrap().lines().next().unwrap();
                let (_, entries) = notices.verify(&log_key_of(origin), &mut cache).unwrap();
                let peer = Some(self.peers[conn]);
                let own =
                    |entry: &Entry| entry.from == peer || (entry.kind == Kind::Withdrawn && entry.to == peer);
                assert!(entries.iter().all(|(_, entry)| own(entry)), "a partner is told of its own alone");
                for item in notices.parts.iter().flat_map(|part| &part.items) {
                    let named = |(_, entry): &(u64, Entry)| entry.statement == Some(item.hash());
                    assert!(entries.iter().any(named), "and given what its entries rest on alone");
                }
            }
            let (Send::Verdict { conn, receipt, .. } | Send::Offer { conn, receipt, .. }) = send else {
                continue;
            };
            let peer = self.peers[conn];
            let receipt = Receipt::parse(&self.receipt(receipt)).unwrap();
            let origin = core::str::from_utf8(&receipt.checkpoint).unwrap().lines().next().unwrap();
            let proved = receipt.verify(&log_key_of(origin), &mut cache).unwrap();
            let base = self.core.shards().iter().find(|shard| shard.origin == origin).unwrap().base;
            for own in &receipt.entries {
                assert_eq!(own.entry.0, self.log[usize::try_from(base + own.index).unwrap()]);
            }
            match send {
                Send::Verdict { packet, outcome: 0, .. } => {
                    let packet = Packet::parse(&self.submitted[packet]).unwrap();
                    proved.says_accepted(&packet).unwrap();
                }
                Send::Verdict { packet, outcome, .. } => {
                    proved.says_refused(packet, &peer, *outcome).unwrap();
                }
                Send::Offer { item, bytes, .. } => {
                    let kept = bytes.as_ref().or_else(|| self.blobs.get(&item.packet.0)).unwrap();
                    let packet = Packet::parse(kept).unwrap();
                    proved.says_accepted_for(&packet, &peer).unwrap();
                    self.check_ground(packet.context(), peer);
                }
                _ => {}
            }
        }
    }
}

/// Everything but the sessions, which a restart ends.
pub(super) fn same_state(one: &Core, other: &Core) {
    let (a, b) = (&one.state, &other.state);
    assert_eq!(a.directory.partners, b.directory.partners);
    assert!(a.directory.agreements.iter().eq(b.directory.agreements.iter()));
    assert_eq!(a.directory.agreements.keys(), b.directory.agreements.keys());
    assert_eq!(a.directory.proposers, b.directory.proposers);
    assert_eq!(a.prekeys, b.prekeys);
    assert_eq!((&a.seen, &a.remembered), (&b.seen, &b.remembered));
    assert_eq!(a.remembered.values().sum::<usize>(), a.seen.len(), "each sender's are counted");
    assert_eq!(a.holders, b.holders);
    assert_eq!(a.endings, b.endings);
    assert_eq!(a.lapses, b.lapses);
    assert_eq!((&a.untold, &a.ends, &a.taken_back), (&b.untold, &b.ends, &b.taken_back));
    assert_eq!((&a.log.frontier, &a.log.head), (&b.log.frontier, &b.log.head));
    assert_eq!((a.log.time, &a.log.notes), (b.log.time, &b.log.notes));
    assert_eq!((&a.log.shards, &a.log.unpublished), (&b.log.shards, &b.log.unpublished));
    assert_eq!((&a.purged, &a.grants), (&b.purged, &b.grants));
    let items = |core: &Core| {
        let mut all = Vec::new();
        for (oin, mailbox) in &core.state.mailboxes {
            let mut at = 0;
            while let Some(item) = mailbox.from(at) {
                at = item.index + 1;
                assert_eq!(mailbox.find(&item.packet), Some(item));
                all.push((*oin, item.clone()));
            }
        }
        all
    };
    assert_eq!(items(one), items(other));
}
