//! Every write reads back.

use super::*;
use crate::shards::Closing;
use seinhuis_shared::signing::SigningKey;

#[test]
#[expect(clippy::too_many_lines, reason = "a write for each table")]
fn every_row_reads_back_into_its_write() {
    let oin: Oin = "00000001003214345000".parse().unwrap();
    let key = SigningKey::from_seed(&[1; 32]).public();
    let partner = Partner { name: "Politie".into(), key, added: Timestamp(1), revoked: Some(Timestamp(2)) };
    let item = MailItem {
        index: 7,
        leaf: Digest([6; 32]),
        msg_id: MsgId([1; 16]),
        packet: Digest([2; 32]),
        size: 3,
        from: oin,
        covenant: Digest([3; 32]),
        flow: "F01".into(),
        case: None,
        expires: Timestamp(9),
    };
    let outcome = Outcome {
        sender: oin,
        msg_id: MsgId([1; 16]),
        packet: Digest([2; 32]),
        outcome: 0,
        first: 7,
        count: 1,
    };
    let head = Head { size: 8, root: Digest([4; 32]), time: Timestamp(5), note: Bytes::from(&b"note"[..]) };
    let lapsed = |cause| Write::Lapsed { cause, end: 12 };
    for (table, write) in [
        (Table::Partners, Write::Partner { oin, partner }),
        (Table::Covenants, Write::Covenant { hash: Digest([3; 32]), bytes: vec![1], proposer: Some(oin) }),
        (
            Table::Votes,
            Write::Vote {
                hash: Digest([3; 32]),
                number: 2,
                cast: Cast { vote: Bytes(vec![1]), at: Timestamp(4) },
            },
        ),
        (
            Table::Cases,
            Write::Decision {
                case: CaseId([8; 16]),
                seq: 2,
                decided: Decided { decision: Bytes(vec![1]), at: Timestamp(4) },
            },
        ),
        (Table::Lapses, lapsed(Cause::Withdrawn { covenant: Digest([3; 32]), party: oin })),
        (Table::Lapses, lapsed(Cause::RanOut { covenant: Digest([3; 32]) })),
        (Table::Lapses, lapsed(Cause::Revoked { partner: oin })),
        (Table::Prekeys, Write::Prekeys { oin, seq: 3, bytes: vec![1, 2] }),
        (Table::Outcomes, Write::Outcomes { first: 7, keep_until: Timestamp(9), outcomes: vec![outcome] }),
        (Table::Mail, Write::Deposit { recipient: oin, item }),
        (Table::Entries, Write::Entries { first: 7, entries: vec![vec![3], vec![]] }),
        (Table::Head, Write::Head(head)),
        (
            Table::Witnessed,
            Write::Witnessed {
                covenant: Digest([3; 32]),
                origin: "broker.example/log".into(),
                row: Box::new(WitnessedRow { size: 8, reached: Timestamp(5), note: Bytes(vec![1]) }),
            },
        ),
        (
            Table::WitnessedDays,
            Write::WitnessedDay {
                covenant: Digest([3; 32]),
                origin: "broker.example/log".into(),
                day: 20_000,
                row: Box::new(WitnessedRow { size: 8, reached: Timestamp(5), note: Bytes(vec![1]) }),
            },
        ),
        (Table::Notes, Write::Note { end: 8, note: Arc::new(vec![4]), keep_until: Timestamp(6) }),
    ] {
        let Change::Put { table: number, key, value } = write.clone().change() else {
            panic!("{table:?} is a row");
        };
        assert_eq!(number, table.number());
        assert_eq!(Write::from_row(table, &key, &value), Some(write));
        assert_eq!(Write::from_row(table, b"short", &[0xff]), None, "{table:?}");
    }
}

#[test]
fn what_the_log_is_over_the_years_reads_back_into_its_writes() {
    let closing = Closing {
        size: 8,
        root: Digest([4; 32]),
        receipt: Bytes(vec![1]),
        next: "broker.example/2027".into(),
        by_hand: false,
    };
    let shard = Shard {
        origin: "broker.example/2026".into(),
        base: 7,
        opening: Bytes(vec![2]),
        closing: Some(closing),
    };
    let grant = Grant {
        token: Digest([1; 32]),
        purpose: Digest([2; 32]),
        at: Timestamp(1),
        until: Timestamp(2),
        ended: Some(Timestamp(1)),
    };
    let suspended = |what| Write::Suspended { what, at: Timestamp(7) };
    for (table, write) in [
        (Table::Shards, Write::Shard { number: 3, shard }),
        (Table::Purged, Write::Purged { log: 1, entries: 512 }),
        (Table::Grants, Write::Grant { number: 2, grant }),
        (Table::Suspended, suspended(Suspendable::Partner("00000001003214345000".parse().unwrap()))),
        (Table::Suspended, suspended(Suspendable::Flow("F02".into()))),
        (Table::Suspended, suspended(Suspendable::Intake)),
    ] {
        let Change::Put { table: number, key, value } = write.clone().change() else {
            panic!("{table:?} is a row");
        };
        assert_eq!(number, table.number());
        assert_eq!(Write::from_row(table, &key, &value), Some(write));
        assert_eq!(Write::from_row(table, b"short", &value), None, "{table:?}");
    }
}

#[test]
fn a_rotation_reads_back_into_its_write() {
    let rotated = Rotated { rotation: Bytes(vec![1]), at: Timestamp(4) };
    let write = Write::Rotation { party: "00000001003214345000".parse().unwrap(), number: 1, rotated };
    let Change::Put { table, key, value } = write.clone().change() else { panic!("it is a row") };
    assert_eq!(table, Table::Rotations.number());
    assert_eq!(Write::from_row(Table::Rotations, &key, &value), Some(write));
    assert_eq!(Write::from_row(Table::Rotations, &key[..22], &value), None);
}
