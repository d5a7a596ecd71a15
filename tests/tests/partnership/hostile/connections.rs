//! Connections that are not let in, and sessions that end.

use super::*;

pub(crate) fn a_peer_without_a_certificate_stays_outside(over: Over) {
    let town = town_over(over);
    let size = town.log_size();
    let trust = Grant::load(&town.member("politie").home.join("grant.json")).unwrap().trust().unwrap();
    let dialled = town.runtime.block_on(raw::connect_anonymously(over, &trust, &card(&town)));
    stays_outside(&town, dialled, size);
    town.still_works();
}

pub(crate) fn a_certificate_of_another_ca_stays_outside_though_it_names_a_partner(over: Over) {
    let town = town_over(over);
    let size = town.log_size();
    let dir = tempfile::tempdir().unwrap();
    let (ca, out) = (dir.path().join("ca"), dir.path().join("grant.json"));
    let request = town.stage.request_of(town.member("politie"));
    let fingerprint = seinhuis_shared::enrol::fingerprint(&std::fs::read(&request).unwrap());
    let (ca, out) = (ca.to_string_lossy(), out.to_string_lossy());
    town.stage.must(Program::Certs, &["init", "--dir", &ca, "--name", "Ander partnerschap"]).unwrap();
    let args = ["issue", &request, "--fingerprint", &fingerprint, "--dir", &ca, "--out", &out];
    town.stage.must(Program::Certs, &args).unwrap();
    let foreign = Grant::load(out.as_ref().as_ref()).unwrap();
    assert_eq!(foreign.oin, town.oin("politie"));
    let home = &town.member("politie").home;
    let identity = foreign.identity(&keys::load_tls(&home.join("keys/tls.key")).unwrap()).unwrap();
    let trust = Grant::load(&home.join("grant.json")).unwrap().trust().unwrap();
    let dialled = town.runtime.block_on(raw::connect_as(over, &identity, &trust, &card(&town)));
    stays_outside(&town, dialled, size);
    town.still_works();
}

pub(crate) fn the_brokers_own_certificate_opens_no_session(over: Over) {
    let town = town_over(over);
    let size = town.log_size();
    let home = town.stage.broker_home();
    let grant = Grant::load(&home.join("grant.json")).unwrap();
    let identity = grant.identity(&keys::load_tls(&home.join("keys/tls.key")).unwrap()).unwrap();
    let dialled =
        town.runtime.block_on(raw::connect_as(over, &identity, &grant.trust().unwrap(), &card(&town)));
    stays_outside(&town, dialled, size);
}

pub(crate) fn a_certificate_of_an_organisation_that_is_no_partner_is_201(over: Over) {
    let town = town_over(over);
    let dir = &town.stage.dir;
    let (oin, label) = match over {
        Over::Quic => ("00000099000000007777", "vreemd"),
        Over::Tcp => ("00000099000000007778", "vreemder"),
    };
    let stranger = seinhuis_tests::Member::new(dir, label, "pga", oin, "PGA-tafel Elders");
    town.stage.enrol(&stranger).unwrap();
    let error = town.runtime.block_on(Raw::open_over(over, &stranger.home)).err().unwrap();
    turned_away(&town, &error, oin, Refusal::UnknownPartner);
}

pub(crate) fn a_revoked_certificate_ends_the_live_session_with_206_and_opens_no_other(over: Over) {
    let town = town_over(over);
    // Nobody comes back from this.
    let role = if over == Over::Quic { "om" } else { "zvh" };
    let oin = town.member(role).oin.clone();
    let live = town.open(role);
    town.stage.certs(&["revoke", "--oin", &oin, "--reason", "key-compromise"]).unwrap();
    let crl = town.stage.broker_home().join("crl.pem");
    std::fs::copy(town.stage.ca().join("crl.pem"), crl.with_extension("new")).unwrap();
    std::fs::rename(crl.with_extension("new"), &crl).unwrap();
    let ended = town.runtime.block_on(live.closed());
    turned_away(&town, &ended, &oin, Refusal::CertificateRevoked);
    let size = town.log_size();
    let card = card(&town);
    let dialled = town.runtime.block_on(raw::connect(over, &town.member(role).home, &card));
    stays_outside(&town, dialled, size);
    town.still_works();
}

pub(crate) fn a_partner_whose_access_is_revoked_is_204_at_once_until_it_is_added_again(over: Over) {
    let town = town_over(over);
    let (member, oin) = (town.member("boa"), town.member("boa").oin.clone());
    let mut live = town.open("boa");
    let packet = town.forge("boa").packet(&sample("F03"), &town.to("gemeente"), |_| ()).unwrap();
    town.stage.revoke(member).unwrap();
    let ended = town.runtime.block_on(live.closed());
    assert_eq!(ended.refusal(), Some(Refusal::PartnerRevoked), "{ended:?}");
    let late = town.runtime.block_on(live.verdict(&packet)).err().unwrap();
    assert_eq!(late.refusal(), Some(Refusal::PartnerRevoked), "{late:?}");
    let error = town.runtime.block_on(Raw::open_over(over, &member.home)).err().unwrap();
    turned_away(&town, &error, &oin, Refusal::PartnerRevoked);
    town.stage.register(member).unwrap();
    let mut back = town.open("boa");
    town.accepts_on(&mut back, &packet);
    town.receives(&mut town.open("gemeente"), "gemeente", &packet);
}

// Hello.

pub(crate) fn a_hello_of_another_version_is_104(over: Over) {
    let town = town_over(over);
    let card = card(&town);
    let member = town.member("jongerenwerk");
    let dialled = town.runtime.block_on(raw::connect(over, &member.home, &card));
    let error = hello(&town, dialled, VERSION + 1).err().unwrap();
    turned_away(&town, &error, &member.oin, Refusal::UnknownVersion);
    town.still_works();
}

/// The police connect and send this instead of a hello.
fn instead_of_hello(over: Over, bytes: &[u8], finish: bool) -> RawError {
    let town = town_over(over);
    let card = card(&town);
    let line = town.runtime.block_on(raw::connect(over, &town.member("politie").home, &card)).unwrap();
    let error = town.runtime.block_on(async {
        let (mut send, _recv) = line.conn.open_bi().await.unwrap();
        send.write_all(bytes).await.unwrap();
        if finish {
            // What came before may have ended the connection already.
            _ = send.finish();
        }
        tokio::time::timeout(PATIENCE, line.conn.closed()).await.unwrap()
    });
    RawError::of(&error)
}

pub(crate) fn anything_before_hello_is_108(over: Over) {
    for kind in [Kind::Submit, Kind::FetchPrekeys, Kind::Acknowledge, Kind::Welcome] {
        let error = instead_of_hello(over, &frame::encode(kind, b"\x81\x80").unwrap(), false);
        assert_eq!(error.refusal(), Some(Refusal::UnexpectedMessage), "{kind:?}: {error:?}");
    }
}

pub(crate) fn a_hello_that_is_none_has_its_number(over: Over) {
    let large = [&0x0000_ffff_u32.to_be_bytes()[..], &[Kind::Hello.code()]].concat();
    for (bytes, refusal) in [
        (large, Refusal::TooLarge),
        (vec![0, 0, 0, 5, 1, 0x82], Refusal::Malformed),
        (vec![0, 0, 0], Refusal::Malformed),
        (vec![0, 0, 0, 0, 1], Refusal::Malformed),
        (frame::encode(Kind::Hello, b"\x00").unwrap(), Refusal::Malformed),
        (frame::encode(Kind::Hello, b"\x83\x18\x01\x61x\x40").unwrap(), Refusal::NotCanonical),
        (vec![0, 0, 0, 1, 0x7f], Refusal::UnexpectedMessage),
    ] {
        let error = instead_of_hello(over, &bytes, true);
        assert_eq!(error.refusal(), Some(refusal), "{bytes:?}: {error:?}");
    }
}

pub(crate) fn a_hello_that_never_comes_is_not_waited_for(over: Over) {
    let (silent, slow, runtime) = {
        let town = town_over(over);
        let card = card(&town);
        let connect =
            || town.runtime.block_on(raw::connect(over, &town.member("politie").home, &card)).unwrap();
        (connect(), connect(), town.runtime.handle().clone())
    };
    // The town is free for others while these two wait.
    runtime.block_on(async {
        let dripping = async {
            let (mut send, _recv) = slow.conn.open_bi().await.unwrap();
            let hello = Hello { version: VERSION, software: "x".repeat(200), cosigned: Bytes::default() };
            let hello = hello.to_frame().unwrap();
            for byte in &hello {
                if send.write_all(&[*byte]).await.is_err() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(500)).await;
            }
            slow.conn.closed().await
        };
        let both = async { tokio::join!(silent.conn.closed(), dripping) };
        let (silent, slow) = tokio::time::timeout(PATIENCE, both).await.unwrap();
        for error in [silent, slow] {
            assert_eq!(RawError::of(&error).refusal(), Some(Refusal::UnexpectedMessage), "{error:?}");
        }
    });
    town_over(over).still_works();
}

pub(crate) fn a_second_hello_is_108_and_the_session_goes_on(over: Over) {
    let town = town_over(over);
    let mut raw = town.open("politie");
    let hello = Hello { version: VERSION, software: "again".into(), cosigned: Bytes::default() };
    let hello = hello.to_frame().unwrap();
    let payload = &hello[frame::HEADER_LEN..];
    let error = town.runtime.block_on(raw.request(Kind::Hello, payload, Kind::Welcome)).unwrap_err();
    assert_eq!(error.refusal(), Some(Refusal::UnexpectedMessage), "{error:?}");
    let packet = town.packet();
    town.accepts_on(&mut raw, &packet);
    town.receives(&mut town.open("gemeente"), "gemeente", &packet);
}

pub(crate) fn a_fifth_session_of_one_organisation_is_207_and_the_four_go_on(over: Over) {
    let town = town_over(over);
    let mut four: Vec<Raw> = (0..4).map(|_| town.open("jongerenwerk")).collect();
    let member = town.member("jongerenwerk");
    let error = town.runtime.block_on(Raw::open_over(over, &member.home)).err().unwrap();
    turned_away(&town, &error, &member.oin, Refusal::AlreadyConnected);
    for raw in &mut four {
        let packet = town.forge("jongerenwerk").packet(&sample("F01"), &town.to("gemeente"), |_| ()).unwrap();
        town.accepts_on(raw, &packet);
        town.receives(&mut town.open("gemeente"), "gemeente", &packet);
    }
    for raw in four {
        town.runtime.block_on(raw.close());
    }
    town.runtime.block_on(town.open("jongerenwerk").close());
}
