//! Files that people hand over, certificates, configuration, and the CA's ledger.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU16;
use std::path::Path;
use std::time::Duration;

use rustls_pki_types::{CertificateDer, CertificateRevocationListDer};
use seinhuis_agent::config::{Config as AgentConfig, Folder, Ldv, Sql, Subjects, Transport, Webhook};
use seinhuis_agent::csv_bodies;
use seinhuis_agent::ways::{api, page};
use seinhuis_agent_core::carrier::Fallback;
use seinhuis_broker::config::{COMPLETE_SAMPLE, Config};
use seinhuis_certs::ledger::Ledger;
use seinhuis_certs::request::Proved;
use seinhuis_shared::enrol::{EnrolRequest, NodeKind};
use seinhuis_shared::sealed_key::{self, SealedKey};
use seinhuis_shared::time::Timestamp;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::config;
use seinhuis_shell::enrolment::check_name;
use seinhuis_shell::grant::{BrokerCard, FILE_MAX, Grant};
use seinhuis_shell::lang::Lang;
use seinhuis_shell::otlp::Encoding;
use seinhuis_shell::room::KEEP_FREE_MAX_MIB;
use seinhuis_shell::tls;
use serde_json::Value;

use crate::known;

/// Whether a complaint says something in both languages and tells what to do.
fn has_words(complaint: &Complaint) -> bool {
    let texts = [&complaint.what, &complaint.advice];
    texts.iter().all(|text| [Lang::Nl, Lang::En].iter().all(|lang| !text.in_lang(*lang).trim().is_empty()))
}

/// Whoever reads a complaint knows what to do.
pub(crate) fn readable(complaint: &Complaint) {
    assert!(has_words(complaint), "a complaint without words or advice: {complaint:?}");
}

/// What the partnership CA hands to an applicant.
pub fn grant(data: &[u8]) -> bool {
    let parsed = Grant::parse(data);
    match &parsed {
        Ok(grant) => {
            assert!(data.len() <= FILE_MAX, "a grant over its bound");
            assert_eq!(Grant::parse(&grant.to_bytes()).ok().as_ref(), Some(grant), "reads back otherwise");
            assert!(grant.trust().is_ok(), "a grant that cannot be used");
        }
        Err(complaint) => readable(complaint),
    }
    parsed.is_ok()
}

/// What a broker hands to its partners.
pub fn broker_card(data: &[u8]) -> bool {
    let parsed = BrokerCard::parse(data);
    match &parsed {
        Ok(card) => {
            assert!(data.len() <= FILE_MAX, "a card over its bound");
            assert_eq!(BrokerCard::parse(&card.to_bytes()).ok().as_ref(), Some(card), "reads back otherwise");
        }
        Err(complaint) => readable(complaint),
    }
    parsed.is_ok()
}

/// The broker's configuration file.
pub fn broker_config(data: &[u8]) -> bool {
    let Ok(text) = core::str::from_utf8(data) else { return false };
    let parsed = config::parse::<Config>("broker.toml", text, COMPLETE_SAMPLE);
    match &parsed {
        Ok(config) => {
            let again = config::parse::<Config>("broker.toml", &format!("{text}\n"), COMPLETE_SAMPLE);
            assert_eq!(again.ok().as_ref(), Some(config), "an empty line decides");
        }
        Err(complaint) => {
            readable(complaint);
            assert!(complaint.what.en.starts_with("broker.toml"), "the file is not named: {complaint}");
        }
    }
    parsed.is_ok()
}

/// The agent's configuration file.
pub fn agent_config(data: &[u8]) -> bool {
    let Ok(text) = core::str::from_utf8(data) else { return false };
    let parsed = AgentConfig::parse("agent.toml", text);
    match &parsed {
        Ok(config) => {
            let again = AgentConfig::parse("agent.toml", &toml(config));
            assert_eq!(again.as_ref(), Ok(config), "reads back otherwise");
            assert!(check_name(&config.name).is_ok(), "a name that cannot be in a certificate");
            let port = config.transport.broker.rsplit_once(':').map(|(_, port)| port.parse::<NonZeroU16>());
            let reachable = config.transport.broker.is_empty() || port.is_some_and(|port| port.is_ok());
            assert!(reachable, "a broker without a port");
            let options = config.store.options();
            assert!((1 << 20..=1 << 30).contains(&options.segment_bytes), "a segment over its bound");
            let interval = Duration::from_millis(10)..=Duration::from_mins(1);
            assert!(interval.contains(&options.index_interval), "an interval over its bound");
            assert!(config.store.keep_free_mib <= KEEP_FREE_MAX_MIB, "more kept free than can be");
        }
        Err(complaint) => {
            readable(complaint);
            for lang in [Lang::Nl, Lang::En] {
                let named = complaint.what.in_lang(lang).starts_with("agent.toml");
                assert!(named, "the file is not named: {complaint}");
            }
        }
    }
    parsed.is_ok()
}

/// A configuration as a file with every key.
fn toml(config: &AgentConfig) -> String {
    // JSON's escapes are TOML's; only this character has to be escaped in TOML alone.
    let text = |text: &str| Value::from(text).to_string().replace('\u{7f}', "\\u007f");
    let AgentConfig {
        oin,
        name,
        transport,
        telemetry,
        store,
        ldv,
        renewal,
        subjects,
        api,
        page,
        folder,
        webhook,
        sql,
    } = config;
    let api::Settings { listen, socket } = api;
    let page::Settings { listen: page } = page;
    let Subjects { informs } = subjects;
    let informs: Vec<String> = informs.iter().map(|role| text(role.as_str())).collect();
    let kx = match transport.key_exchange {
        tls::Kx::Hybrid => "hybrid",
        tls::Kx::X25519 => "x25519",
    };
    // Named one by one, so that a new key is not left out.
    let Transport {
        broker,
        bind,
        key_exchange: _,
        segmentation_offload,
        fallback,
        fallback_broker,
        quic_again,
    } = transport;
    let fallback = match fallback {
        Fallback::Auto => "auto",
        Fallback::Never => "never",
        Fallback::Only => "only",
    };
    format!(
        "oin = {}\nname = {}\n\
         [transport]\nbroker = {}\nbind = \"{bind}\"\nkey_exchange = \"{kx}\"\nsegmentation_offload = {segmentation_offload}\n\
         fallback = \"{fallback}\"\nfallback_broker = {}\nquic_again = {quic_again}\n\
         [telemetry]\nlevel = {}\njson = {}\n[store]\nsegment_mib = {}\nindex_interval_ms = {}\nkeep_free_mib = {}\n[renewal]\nservice = {}\n\
         [subjects]\ninforms = [{}]\n[api]\nlisten = {}\nsocket = {}\n[page]\nlisten = {}\n{}{}{}{}",
        text(oin.as_str()),
        text(name),
        text(broker),
        text(fallback_broker),
        text(&telemetry.level),
        telemetry.json,
        store.segment_mib,
        store.index_interval_ms,
        store.keep_free_mib,
        text(&renewal.service),
        informs.join(","),
        text(listen),
        text(socket),
        text(page),
        ldv_toml(ldv, text),
        folder.iter().map(|folder| folder_toml(folder, text)).collect::<String>(),
        webhook.iter().map(|webhook| webhook_toml(webhook, text)).collect::<String>(),
        sql.iter().map(|source| sql_toml(source, text)).collect::<String>(),
    )
}

fn webhook_toml(webhook: &Webhook, text: impl Fn(&str) -> String) -> String {
    let Webhook { name, url, ca, flows, content, consume, timeout_s } = webhook;
    format!(
        "[[webhook]]\nname = {}\nurl = {}\nca = {}\nflows = [{}]\ncontent = {content}\nconsume = {consume}\n\
         timeout_s = {timeout_s}\n",
        text(name),
        text(url),
        text(&ca.to_string_lossy()),
        flows.iter().map(|flow| text(flow)).collect::<Vec<_>>().join(", "),
    )
}

fn sql_toml(source: &Sql, text: impl Fn(&str) -> String) -> String {
    let Sql {
        name,
        host,
        port,
        database,
        user,
        password,
        ca,
        query,
        mapping,
        mark,
        start,
        every_s,
        late_s,
        timeout_s,
        rows,
        flow,
        to,
        step,
        message_type,
        case,
        basis,
    } = source;
    let path = |path: &Path| text(&path.to_string_lossy());
    let to = to.iter().map(|one| text(one)).collect::<Vec<_>>().join(", ");
    format!(
        "[[sql]]\nname = {}\nhost = {}\nport = {port}\ndatabase = {}\nuser = {}\npassword = {}\nca = {}\nquery = {}\n\
         mapping = {}\nmark = {}\nstart = {}\nevery_s = {every_s}\nlate_s = {late_s}\ntimeout_s = {timeout_s}\nrows = {rows}\n\
         flow = {}\nto = [{to}]\nstep = {}\ntype = {}\ncase = {}\nbasis = {}\n",
        text(name),
        text(host),
        text(database),
        text(user),
        path(password),
        path(ca),
        path(query),
        path(mapping),
        text(mark),
        text(start),
        text(flow),
        text(step),
        text(message_type),
        text(case),
        text(basis),
    )
}

fn folder_toml(folder: &Folder, text: impl Fn(&str) -> String) -> String {
    let Folder {
        name,
        out,
        inward,
        every_s,
        flow,
        to,
        step,
        message_type,
        case,
        basis,
        mapping,
        flows,
        consume,
    } = folder;
    let list = |all: &mut dyn Iterator<Item = &String>| {
        format!("[{}]", all.map(|one| text(one)).collect::<Vec<_>>().join(", "))
    };
    let path = |path: &Path| text(&path.to_string_lossy());
    format!(
        "[[folder]]\nname = {}\nout = {}\nin = {}\nevery_s = {every_s}\nflow = {}\nto = {}\nstep = {}\ntype = {}\n\
         case = {}\nbasis = {}\nmapping = {}\nflows = {}\nconsume = {consume}\n",
        text(name),
        path(out),
        path(inward),
        text(flow),
        list(&mut to.iter()),
        text(step),
        text(message_type),
        text(case),
        text(basis),
        path(mapping),
        list(&mut flows.iter()),
    )
}

/// A CSV file of a watched folder, after its mapping and a line `---`.
pub fn csv(data: &[u8]) -> bool {
    let mark = b"\n---\n";
    let Some(at) = data.windows(mark.len()).position(|part| part == mark) else { return false };
    let (mapping, rest) = data.split_at(at + 1);
    let Ok(mapping) = core::str::from_utf8(mapping) else { return false };
    let read = csv_bodies(mapping, rest.split_at(mark.len() - 1).1);
    match &read {
        Ok(rows) => {
            let mut before = 0;
            for (line, body) in rows {
                assert!(*line > before, "rows that are not in order");
                before = *line;
                match body {
                    Ok(body) => harmless(&serde_json::from_slice(body).unwrap_or_default()),
                    Err(why) => {
                        assert!(!why.nl.is_empty() && !why.en.is_empty(), "a row refused without why");
                    }
                }
            }
        }
        Err(complaint) => readable(complaint),
    }
    read.is_ok_and(|rows| rows.iter().all(|(_, body)| body.is_ok()))
}

/// No text of a body is run by the spreadsheet of who receives it.
fn harmless(value: &Value) {
    match value {
        Value::String(text) => {
            let number =
                |text: &str| text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'.' | b','));
            let first = text.chars().next();
            let signed = matches!(first, Some('+' | '-')) && !number(text.get(1..).unwrap_or_default());
            assert!(!signed && !matches!(first, Some('=' | '@' | '\t' | '\r' | '\n')), "a formula: {text:?}");
        }
        Value::Array(all) => all.iter().for_each(harmless),
        Value::Object(all) => all.values().for_each(harmless),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

fn ldv_toml(ldv: &Ldv, text: impl Fn(&str) -> String) -> String {
    let encoding = match ldv.encoding {
        Encoding::Protobuf => "protobuf",
        Encoding::Json => "json",
    };
    let table = |map: &BTreeMap<String, String>| {
        let pairs: Vec<String> =
            map.iter().map(|(key, value)| format!("{} = {}", text(key), text(value))).collect();
        format!("{{ {} }}", pairs.join(", "))
    };
    format!(
        "[ldv]\nendpoint = {}\nencoding = \"{encoding}\"\nauthorities = {}\nservice_name = {}\nprocessing_activity = {}\n\
         activities = {}\npartners = {}\nqueue = {}\nrequired = {}\n",
        text(&ldv.endpoint),
        text(&ldv.authorities),
        text(&ldv.service_name),
        text(&ldv.processing_activity),
        table(&ldv.activities),
        table(&ldv.partners),
        ldv.queue,
        ldv.required,
    )
}

/// What the partnership CA remembers.
pub fn ledger(data: &[u8]) -> bool {
    let path = Path::new("ledger.json");
    let parsed = Ledger::parse(path, data);
    match &parsed {
        Ok(ledger) => {
            let again = serde_json::to_vec_pretty(ledger).ok().map(|bytes| Ledger::parse(path, &bytes));
            assert_eq!(again.as_ref(), Some(&parsed), "reads back otherwise");
            consistent(ledger);
        }
        Err(complaint) => {
            readable(complaint);
            for lang in [Lang::Nl, Lang::En] {
                let named = complaint.what.in_lang(lang).contains("ledger.json");
                assert!(named, "the file is not named: {complaint}");
            }
        }
    }
    parsed.is_ok()
}

fn consistent(ledger: &Ledger) {
    let mut serials = BTreeSet::new();
    for record in &ledger.certificates {
        let serial = record.serial_bytes();
        assert_eq!((serial.len(), record.serial.len()), (16, 32), "a serial number of another length");
        assert!(serials.insert(serial), "two certificates with one serial number");
        assert!(record.issued < record.not_after, "a certificate that ends before it begins");
        assert!(!record.is_valid(record.not_after), "valid after its end");
        assert_eq!(record.is_valid(record.issued), record.revoked.is_none(), "revocation does not decide");
    }
    let latest = ledger.latest();
    let mut nodes = BTreeSet::new();
    for record in &latest {
        assert!(nodes.insert((record.oin, record.kind)), "two latest certificates of one node");
        assert_eq!(ledger.latest_of(record.oin, record.kind), Some(*record), "another latest certificate");
    }
    let all: BTreeSet<_> = ledger.certificates.iter().map(|record| (record.oin, record.kind)).collect();
    assert_eq!(nodes, all, "a node is left out");
}

/// A private key file that is sealed with a passphrase: what it may ask of memory is bounded before anything is derived.
pub fn sealed_key(data: &[u8]) -> bool {
    let parsed = SealedKey::parse(data);
    if let Ok(key) = &parsed {
        assert_eq!(key.to_file(), data, "reads back otherwise");
        assert!(key.cost.is_bearable() && data.len() <= sealed_key::FILE_MAX, "out of bounds");
        assert!(SealedKey::is(data), "read, yet not one");
    }
    parsed.is_ok()
}

/// A certificate, a revocation list, and both as PEM text.
pub fn certificate(data: &[u8]) -> bool {
    let peer = tls::peer(&[CertificateDer::from(data)]);
    if let Ok(peer) = &peer {
        assert!(peer.serial.len() <= 2 * data.len(), "more out than in");
    }
    let end = tls::crl_next_update(&CertificateRevocationListDer::from(data));
    end.err().iter().for_each(readable);
    assert!(tls::hosts(&CertificateDer::from(data)).len() <= data.len(), "more out than in");
    let Ok(text) = core::str::from_utf8(data) else { return peer.is_ok() };
    if let Ok(newer) = tls::newer_crl(text.to_owned(), text.to_owned()) {
        assert_eq!(newer, text, "neither of the two");
    }
    let certificates = tls::certificates(text);
    match &certificates {
        Ok(all) => assert!(!all.is_empty(), "no certificate"),
        Err(complaint) => readable(complaint),
    }
    if let Ok(trust) = tls::Trust::new(text, text) {
        assert!(tls::revoked_serials(&trust).is_ok(), "read, yet unreadable");
    }
    peer.is_ok() || certificates.is_ok()
}

/// A certification request inside an enrolment request that is right in all else.
pub fn csr(data: &[u8]) -> bool {
    let key = known::signer();
    let request = EnrolRequest {
        kind: NodeKind::Agent,
        oin: known::oin(),
        name: "Gemeente Voorbeeldstad".into(),
        hosts: vec![],
        signing_key: key.public(),
        csr: data.to_vec(),
        issued: Timestamp(known::NOON),
    };
    let proved = Proved::read(&request.sign(&key), Timestamp(known::NOON));
    match &proved {
        Ok(proved) => assert_eq!(proved.request(), &request, "reads back otherwise"),
        Err(complaint) => readable(complaint),
    }
    proved.is_ok()
}
