//! Peers that do not keep to the rules, against a real broker: connections that are not let in, sessions
//! that are ended, streams that are refused; and after each of them the broker works as before.
#![expect(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on says so")]

mod connections;
mod streams;
mod words;

use std::net::UdpSocket;
use std::sync::MutexGuard;
use std::time::Duration;

use seinhuis_shared::cbor::Bytes;
use seinhuis_shared::entry::{Entry, Kind as EntryKind};
use seinhuis_shared::frame::{self, Kind};
use seinhuis_shared::limits::{FRAME_MAX, STREAMS_MAX};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::tlog::checkpoint::Checkpoint;
use seinhuis_shared::tlog::proof::verify_consistency;
use seinhuis_shared::wire::{
    self, Consistency, FetchConsistency, FetchCovenant, FetchPrekeys, Hello, Message as _, Offer, Prekeys,
    VERSION,
};
use seinhuis_shell::grant::{BrokerCard, Grant};
use seinhuis_shell::keys;
use seinhuis_tests::forge::Lock;
use seinhuis_tests::process::Program;
use seinhuis_tests::raw::{self, Line, Over, RawError};
use seinhuis_tests::stage::{PATIENCE, text};
use seinhuis_tests::{Raw, process};

use crate::common;
use crate::common::town::{Square, Town, sample};

static OVER_QUIC: Square = Square::new();
static OVER_TCP: Square = Square::new();

/// The town of those who come over this, for this test alone until it lets go.
fn town_over(over: Over) -> MutexGuard<'static, Town> {
    let square = match over {
        Over::Quic => &OVER_QUIC,
        Over::Tcp => &OVER_TCP,
    };
    square.town_over(over)
}

type Dialled = Result<Line, RawError>;

fn card(town: &Town) -> BrokerCard {
    town.stage.card().unwrap()
}

/// Says hello on what may look like a connection; what it ends with.
fn hello(town: &Town, dialled: Dialled, version: u8) -> Result<Raw, RawError> {
    town.runtime.block_on(Raw::hello(dialled?, &card(town), version))
}

/// Nobody got in: TLS refused, and no organisation is known to have tried, so nothing is logged.
fn stays_outside(town: &Town, dialled: Dialled, size: u64) {
    let error = hello(town, dialled, VERSION).err().unwrap();
    assert_eq!(error.refusal(), None, "refused before anything is said: {error:?}");
    assert_eq!(town.log_size(), size, "nothing is logged");
}

/// A hello was refused: with this number, and an entry that says who and why.
fn turned_away(town: &Town, error: &RawError, oin: &str, refusal: Refusal) {
    assert_eq!(error.refusal(), Some(refusal), "{error:?}");
    // A connection may be closed an instant before the entry is written; and an acknowledgement of a test before
    // this one may come in just behind it.
    let said = |entry: &Entry| {
        entry.kind == EntryKind::Refused
            && entry.from == Some(oin.parse().unwrap())
            && entry.reason == Some(refusal.number())
    };
    process::until("the refusal is in the log", PATIENCE, || {
        town.stage.log_tail(4).unwrap().iter().any(said)
    })
    .unwrap();
}

/// Each of these over QUIC and over TCP.
macro_rules! over_both {
    ($module:ident: $($name:ident),*) => {
        $(mod $name {
            use super::*;

            #[test]
            fn over_quic() {
                $module::$name(Over::Quic);
            }

            #[test]
            fn over_tcp() {
                $module::$name(Over::Tcp);
            }
        })*
    };
}

over_both! {
    connections:
    a_peer_without_a_certificate_stays_outside,
    a_certificate_of_another_ca_stays_outside_though_it_names_a_partner,
    the_brokers_own_certificate_opens_no_session,
    a_certificate_of_an_organisation_that_is_no_partner_is_201,
    a_revoked_certificate_ends_the_live_session_with_206_and_opens_no_other,
    a_partner_whose_access_is_revoked_is_204_at_once_until_it_is_added_again,
    a_hello_of_another_version_is_104,
    anything_before_hello_is_108,
    a_hello_that_is_none_has_its_number,
    a_hello_that_never_comes_is_not_waited_for,
    a_second_hello_is_108_and_the_session_goes_on,
    a_fifth_session_of_one_organisation_is_207_and_the_four_go_on
}
over_both! {
    streams:
    a_frame_over_the_bound_of_its_kind_is_101,
    a_frame_that_breaks_off_is_102,
    a_frame_of_no_kind_or_that_the_broker_sends_is_108,
    a_packet_that_breaks_off_after_a_whole_one_loses_only_itself,
    streams_that_stall_hold_nobody_up
}
over_both! {
    words:
    an_acknowledgement_signed_by_another_is_203,
    an_acknowledgement_in_anothers_name_is_202,
    an_acknowledgement_with_a_bad_signature_is_205,
    an_acknowledgement_of_nothing_is_102,
    an_acknowledgement_of_anothers_packet_settles_nothing,
    prekeys_count_only_from_their_owner_and_never_go_back,
    requests_out_of_bounds_have_their_numbers,
    consistency_is_proved_for_rising_sizes_of_this_log_only
}

// After all of it.

#[test]
fn real_agents_work_while_a_partner_misbehaves() {
    let scene = common::Scene::with(&["gemeente", "politie", "jongerenwerk"]);
    let stage = &scene.stage;
    let _broker = scene.broker();
    let _agents = (scene.agent("gemeente"), scene.agent("jongerenwerk"));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let home = &stage.member("politie").home;
    let hostile: Vec<Raw> = runtime.block_on(async {
        let mut hostile = Vec::new();
        for bytes in [&[0xff; 5][..], &[0, 0x12, 0, 0, 0x10, 0x83][..], &[0, 0, 0, 9, 0x10, 1][..]] {
            let mut raw = Raw::open(home).await.unwrap();
            raw.send_raw(bytes).await.unwrap();
            hostile.push(raw);
        }
        hostile
    });
    let sample = sample("F01");
    let pushed = stage
        .agent(stage.member("jongerenwerk"), &["push", &sample.path.to_string_lossy(), "--wait", "60"])
        .unwrap();
    assert_eq!(text(&pushed, "state"), "accepted", "{pushed}");
    let inbox = common::wait_for_inbox(stage, stage.member("gemeente"), 1);
    assert_eq!(text(&inbox[0], "state"), "stored");
    process::until("the delivery is logged", PATIENCE, || {
        stage.log_tail(50).unwrap().iter().any(|entry| entry.kind == EntryKind::Delivered)
    })
    .unwrap();
    drop(hostile);
}
