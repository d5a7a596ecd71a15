//! Acknowledgements and requests that are refused.

use super::*;

/// The municipality sends this as an acknowledgement while a packet waits for it: the session ends, and the
/// packet is offered again.
fn acknowledgement_refused(over: Over, refusal: Refusal, sign: impl FnOnce(&Town, &Offer) -> Vec<u8>) {
    let town = town_over(over);
    let packet = town.packet();
    town.accepts_on(&mut town.open("politie"), &packet);
    let mut raw = town.open("gemeente");
    let ended = town.runtime.block_on(async {
        let offer = raw.offer().await.unwrap();
        raw.acknowledge(&sign(&town, &offer)).await.unwrap();
        raw.closed().await
    });
    turned_away(&town, &ended, &town.member("gemeente").oin, refusal);
    assert_eq!(town.waiting(), 1, "it is not at its recipient");
    town.receives(&mut town.open("gemeente"), "gemeente", &packet);
}

pub(crate) fn an_acknowledgement_signed_by_another_is_203(over: Over) {
    acknowledgement_refused(over, Refusal::UnknownKey, |town, offer| {
        town.acknowledgement("gemeente", offer).sign(&town.forge("politie").key)
    });
}

pub(crate) fn an_acknowledgement_in_anothers_name_is_202(over: Over) {
    acknowledgement_refused(over, Refusal::SenderNotConnection, |town, offer| {
        town.acknowledgement("politie", offer).sign(&town.forge("gemeente").key)
    });
}

pub(crate) fn an_acknowledgement_with_a_bad_signature_is_205(over: Over) {
    acknowledgement_refused(over, Refusal::BadSignature, |town, offer| {
        let mut signed = town.acknowledgement("gemeente", offer).sign(&town.forge("gemeente").key);
        // The array, the head of the byte string with its length, and the last byte of the signature in it.
        let last = 2 + usize::from(signed[2]);
        signed[last] ^= 1;
        signed
    });
}

pub(crate) fn an_acknowledgement_of_nothing_is_102(over: Over) {
    acknowledgement_refused(over, Refusal::Malformed, |town, offer| {
        let mut empty = town.acknowledgement("gemeente", offer);
        empty.items.clear();
        empty.sign(&town.forge("gemeente").key)
    });
}

pub(crate) fn an_acknowledgement_of_anothers_packet_settles_nothing(over: Over) {
    let town = town_over(over);
    let packet = town.packet();
    town.accepts_on(&mut town.open("politie"), &packet);
    let mut thief = town.open("jongerenwerk");
    let offer = town.runtime.block_on(town.open("gemeente").offer()).unwrap();
    let signed = town.acknowledgement("jongerenwerk", &offer).sign(&town.forge("jongerenwerk").key);
    town.runtime.block_on(thief.acknowledge(&signed)).unwrap();
    // The session goes on, so the acknowledgement before this packet was read before it.
    let own = town.forge("jongerenwerk").packet(&sample("F01"), &town.to("gemeente"), |_| ()).unwrap();
    town.accepts_on(&mut thief, &own);
    assert_eq!(town.waiting(), 2);
    let mut municipality = town.open("gemeente");
    town.receives(&mut municipality, "gemeente", &packet);
    town.receives(&mut municipality, "gemeente", &own);
}

// Requests.

fn ask(town: &Town, raw: &Raw, kind: Kind, payload: &[u8], answer: Kind) -> Result<Vec<u8>, Refusal> {
    let asked = town.runtime.block_on(raw.request(kind, payload, answer));
    asked.map_err(|error| error.refusal().unwrap_or_else(|| panic!("{error:?}")))
}

fn payload<M: wire::Message>(message: &M) -> Vec<u8> {
    seinhuis_shared::cbor::encode(message)
}

pub(crate) fn prekeys_count_only_from_their_owner_and_never_go_back(over: Over) {
    let town = town_over(over);
    let raw = town.open("politie");
    let (police, thief) = (town.forge("politie"), town.forge("jongerenwerk"));
    let lock = Lock::make().unwrap();
    let publish = |bundle: &[u8]| ask(&town, &raw, Kind::PublishPrekeys, bundle, Kind::Done);
    // Above the number of what the agents published when they signed the covenant.
    let above = seinhuis_shell::clock::now().0;
    let of = |oin, key, seq| lock.bundle(oin, key, above + seq);
    let size = town.log_size();
    assert_eq!(publish(&of(thief.oin, &police.key, 9)), Err(Refusal::BadPrekeyBundle), "of another");
    assert_eq!(publish(&of(police.oin, &thief.key, 9)), Err(Refusal::UnknownKey), "signed by another");
    let mut spoiled = of(police.oin, &police.key, 9);
    *spoiled.last_mut().unwrap() ^= 1;
    assert_eq!(publish(&spoiled), Err(Refusal::BadSignature));
    assert_eq!(publish(b""), Err(Refusal::BadPrekeyBundle));
    assert_eq!(town.log_size(), size);
    let good = of(police.oin, &police.key, 5);
    assert_eq!(publish(&good), Ok(vec![]));
    assert_eq!(town.log_size(), size + 1, "one entry for new prekeys");
    assert_eq!(publish(&of(police.oin, &police.key, 4)), Err(Refusal::PrekeyRollback));
    let same_number = Lock::make().unwrap().bundle(police.oin, &police.key, above + 5);
    assert_eq!(publish(&same_number), Err(Refusal::PrekeyRollback));
    assert_eq!(publish(&good), Ok(vec![]), "the same again is no news");
    assert_eq!(town.log_size(), size + 1);
    let reader = town.open("gemeente");
    let fetch = payload(&FetchPrekeys { oins: vec![police.oin, "00000099000000004321".parse().unwrap()] });
    let found = ask(&town, &reader, Kind::FetchPrekeys, &fetch, Kind::Prekeys).unwrap();
    let bundles = Prekeys::parse(&found).unwrap().bundles;
    assert_eq!(bundles.len(), 1, "the stranger has none");
    assert_eq!(bundles[0].1.0, good);
}

pub(crate) fn requests_out_of_bounds_have_their_numbers(over: Over) {
    let town = town_over(over);
    let raw = town.open("politie");
    let oin = town.oin("gemeente");
    for count in [0, 17] {
        let fetch = payload(&FetchPrekeys { oins: vec![oin; count] });
        let refused = ask(&town, &raw, Kind::FetchPrekeys, &fetch, Kind::Prekeys);
        assert_eq!(refused, Err(Refusal::RecipientCount), "{count} organisations");
    }
    let fetch = payload(&FetchCovenant { hash: seinhuis_shared::ids::Digest([1; 32]) });
    assert_eq!(ask(&town, &raw, Kind::FetchCovenant, &fetch, Kind::Covenant), Err(Refusal::NotFound));
    let known = town.forge("politie").covenant.hash();
    let fetch = payload(&FetchCovenant { hash: known });
    let covenant = ask(&town, &raw, Kind::FetchCovenant, &fetch, Kind::Covenant).unwrap();
    let covenant = wire::Covenant::parse(&covenant).unwrap();
    assert_eq!(seinhuis_shared::signing::sha256(&covenant.document), known);
    assert_eq!(covenant.casts.len(), town.stage.members.len());
}

pub(crate) fn consistency_is_proved_for_rising_sizes_of_this_log_only(over: Over) {
    let town = town_over(over);
    let raw = town.open("politie");
    let size = town.log_size();
    let of = |origin: &str, sizes: Vec<u64>| {
        let question = FetchConsistency { origin: origin.into(), sizes };
        ask(&town, &raw, Kind::FetchConsistency, &payload(&question), Kind::Consistency)
    };
    let prove = |sizes| of(&raw.log().origin, sizes);
    assert_eq!(of("another.example/log", vec![1, 2]), Err(Refusal::UnknownLog));
    let followed = wire::FetchSuccession { origin: raw.log().origin.clone(), size: 1 };
    let followed = ask(&town, &raw, Kind::FetchSuccession, &payload(&followed), Kind::Succession);
    assert_eq!(followed, Err(Refusal::UnknownLog), "nothing followed on the log that grows");
    for sizes in [
        vec![],
        vec![1],
        vec![0, 1],
        vec![2, 2],
        vec![3, 2],
        vec![1, size + 1000],
        vec![1, u64::MAX],
        (1..=33).collect(),
    ] {
        assert_eq!(prove(sizes.clone()), Err(Refusal::NotFound), "{sizes:?}");
    }
    let long = vec![0; Kind::FetchConsistency.limit() + 1];
    let frame = [&u32::try_from(long.len() + 1).unwrap().to_be_bytes()[..], &[Kind::FetchConsistency.code()]];
    let error = town.runtime.block_on(async {
        let mut other = Raw::open_over(over, &town.member("politie").home).await.unwrap();
        other.send_raw(&frame.concat()).await.unwrap();
        other.answer().await.unwrap_err()
    });
    assert_eq!(error.refusal(), Some(Refusal::TooLarge), "{error:?}");
    // And a right one holds between two heads the broker signed.
    let key = &raw.log().key;
    let old = Checkpoint::verify(&raw.welcome.checkpoint, &raw.log().origin, key).unwrap();
    let (packet, mut police) = (town.packet(), town.open("politie"));
    let (_, receipt) = town.accepts_on(&mut police, &packet);
    let new = receipt.checkpoint;
    let proofs = Consistency::parse(&prove(vec![old.size(), new.size()]).unwrap()).unwrap().proofs;
    verify_consistency(old.size(), new.size(), &proofs[0], old.root(), new.root()).unwrap();
    town.receives(&mut town.open("gemeente"), "gemeente", &packet);
}
