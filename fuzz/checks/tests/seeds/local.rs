//! What stays on one machine: the agent's configuration, the control socket, the CA's ledger.

use data_encoding::BASE64;
use seinhuis_agent::commands::request::{ActText, Look, PushText, Request as AgentRequest};
use seinhuis_broker::commands::request::Request as BrokerRequest;
use seinhuis_certs::ledger::{Ledger, Reason, Record, Revoked};
use seinhuis_fuzz_checks::known;
use seinhuis_shared::ids::{Digest, Thumbprint};
use seinhuis_shared::refusal::Refusal;
use seinhuis_shared::time::{Span, Timestamp};
use seinhuis_shell::answer;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::grant::Kind;
use seinhuis_shell::lang::Text;
use serde::Serialize;
use serde_json::json;

use super::{Seed, changed, no, ok};

fn text(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

fn configuration() -> Vec<Seed> {
    let small = "oin = \"00000099000000001000\"\nname = \"Gemeente Voorbeeldstad\"\n";
    let every = format!(
        "{small}[transport]\nbroker = \"broker.example:7443\"\nbind = \"[::1]:0\"\nkey_exchange = \"x25519\"\n\
         segmentation_offload = false\nfallback = \"never\"\nfallback_broker = \"broker.example:443\"\nquic_again = 60\n\
         [renewal]\nservice = \"https://ca.example:8443\"\n[telemetry]\nlevel = \"debug\"\njson = true\n\
         [store]\nsegment_mib = 1024\nindex_interval_ms = 10\n\
         [[folder]]\nname = \"zaken\"\nout = \"/srv/uit\"\nin = \"/srv/in\"\nevery_s = 60\nflow = \"F01\"\nto = [\"politie\"]\nstep = \"1\"\n\
         type = \"signaal\"\ncase = \"\"\nbasis = \"avg_6_1_e\"\nmapping = \"m.toml\"\nflows = [\"F02\", \"F03\"]\nconsume = false\n"
    );
    vec![
        ok("agent_config", "small", small),
        ok("agent_config", "every-key", every.as_str()),
        no("agent_config", "unknown-key", changed(&every, "bind", "bnd")),
        no("agent_config", "wrong-type", changed(&every, "1024", "\"1024\"")),
        no("agent_config", "no-port", changed(&every, "example:7443", "example")),
        no("agent_config", "too-large-a-segment", changed(&every, "1024", "1025")),
        no("agent_config", "too-short-an-interval", changed(&every, "_ms = 10", "_ms = 9")),
        no("agent_config", "space-before-name", changed(small, "\"Gemeente", "\" Gemeente")),
        no("agent_config", "short-oin", changed(small, "00000099000000001000", "99")),
        no("agent_config", "part-of-a-path", changed(&every, "/srv/in", "srv/in")),
        no("agent_config", "broken", changed(&every, "]\n", "\n")),
        no("agent_config", "empty", []),
    ]
}

fn push() -> PushText {
    let id = "019a0001-7002-8003-8405-060708090a0b";
    PushText {
        msg_id: id.into(),
        key: None,
        flow: "F01".into(),
        to: vec!["politie".into(), known::oin().to_string()],
        step: Some("2A".into()),
        case: Some(id.into()),
        message_type: Some("signaal".into()),
        basis: Some("AVG 6.1.e".into()),
        covenant: Some(Digest([3; 32]).to_string()),
        ttl_ms: Some(60_000),
        in_reply_to: Some(id.into()),
        trace: Some("0af7651916cd43dd8448eb211c80319c".into()),
        source: None,
        handling: Some("consent".into()),
        body: BASE64.encode(b"{\"a\":1}"),
    }
}

fn requests() -> Vec<Seed> {
    let whole = text(&AgentRequest::Push(Box::new(push())));
    let bare = PushText { msg_id: push().msg_id, flow: "F01".into(), ..PushText::default() };
    let key = known::signer().public().to_bytes();
    let add = BrokerRequest::AddPartner { oin: known::oin(), name: "Politie".into(), key };
    let weak = BrokerRequest::AddPartner { oin: known::oin(), name: "Politie".into(), key: [0; 32] };
    let decide = AgentRequest::Decide {
        case: "4f1c0f6e-5b0a-4c1e-9d53-0a6f2b7c8d91".into(),
        act: ActText::Condition { code: "strafrechtelijk".into(), holds: true },
        covenant: None,
    };
    let speak =
        AgentRequest::Speak { covenant: "0f".repeat(32), word: "accept".into(), reason: "akkoord".into() };
    vec![
        ok("control", "push", whole.as_str()),
        ok("control", "push-bare", text(&AgentRequest::Push(Box::new(bare)))),
        ok("control", "look", text(&AgentRequest::Look(Look::Read { id: "7".into(), withdrawn: false }))),
        ok(
            "control",
            "correct",
            text(&AgentRequest::Correct {
                about: "019a0001-7002-8003-8405-060708090a0b".into(),
                kind: "withdrawal".into(),
                body: "e30=".into(),
            }),
        ),
        ok("control", "erase", text(&AgentRequest::Erase { id: "7".into(), ground: "termijn".into() })),
        ok("control", "covenants", text(&AgentRequest::Look(Look::Covenants))),
        ok("control", "speak", text(&speak)),
        ok("control", "decide", text(&decide)),
        ok("control", "propose", text(&AgentRequest::Propose { document: "gA==".into() })),
        ok("control", "add-partner", text(&add)),
        ok("control", "load-covenant", text(&BrokerRequest::LoadCovenant { file: "covenant.cbor".into() })),
        ok("control", "tail", text(&BrokerRequest::Tail { lines: u64::MAX })),
        no("control", "other-role", changed(&whole, "politie", "Politie")),
        no("control", "upper-case-id", changed(&whole, "0a0b", "0A0B")),
        no("control", "dirty-base64", changed(&whole, "fQ==", "fR==")),
        no("control", "padding-inside", changed(&whole, "fQ==\"", "fQ==true\"")),
        no("control", "unknown-option", changed(&whole, "\"flow\"", "\"urgent\":true,\"flow\"")),
        no("control", "unknown-look", "{\"look\":{\"read\":{\"id\":\"7\",\"raw\":true}}}"),
        no("control", "unknown-field", changed(&text(&add), "\"name\"", "\"until\":1,\"name\"")),
        no("control", "negative-time", changed(&whole, "60000", "-1")),
        no("control", "no-body", changed(&whole, "\"body\"", "\"bdy\"")),
        no("control", "unknown-command", "\"relaod\""),
        no("control", "weak-key", text(&weak)),
        no("control", "short-key", changed(&text(&add), "\"key\":[", "\"key\":[],\"k\":[")),
        no("control", "cut", &whole.as_bytes()[..whole.len() - 1]),
    ]
}

fn answers() -> Vec<Seed> {
    let refused = Complaint {
        refusal: Some(Refusal::UnknownPartner),
        ..Complaint::refused(Text::new("wat", "what"), Text::new("dan", "then"))
    };
    let refused = text(&answer::encode(Err(refused)));
    vec![
        ok("control", "answer", text(&answer::encode(Ok(json!({ "entry": 7, "seen": [null, true] }))))),
        ok("control", "complaint", refused.as_str()),
        ok("control", "own-fault", text(&answer::encode(Err(Complaint::bug("a weak key"))))),
        no("control", "unknown-refusal", changed(&refused, "\"refusal\":", "\"refusal\":1")),
        no("control", "no-advice", changed(&refused, "\"advice\"", "\"advise\"")),
        no("control", "empty-complaint", "{\"complaint\":{}}"),
        no("control", "empty-text", changed(&refused, "\"what\"]", "\"\"]")),
        no("control", "both", changed(&refused, "{", "{\"done\":1,")),
        no("control", "neither", "{\"fault\":\"the request is too large\"}"),
    ]
}

fn ledgers() -> Vec<Seed> {
    let record = |serial: u8, kind, hosts: &[&str], revoked| Record {
        serial: format!("{serial:032x}"),
        kind,
        oin: known::oin(),
        name: "Gemeente Voorbeeldstad".into(),
        hosts: hosts.iter().map(ToString::to_string).collect(),
        signing_key: Thumbprint([1; 32]),
        request: Digest([2; 32]),
        requested: Timestamp(known::NOON),
        issued: Timestamp(known::NOON),
        not_after: Timestamp(known::NOON).plus(Span::days(90)),
        revoked,
    };
    let revoked = Revoked { at: Timestamp(known::NOON + 1), reason: Reason::KeyCompromise };
    let mut ledger = Ledger::new("Samenwerking Voorbeeldstad", 30);
    let empty = text(&ledger);
    ledger.crl_number = u64::MAX;
    ledger.certificates.push(record(10, Kind::Agent, &[], Some(revoked)));
    ledger.certificates.push(record(11, Kind::Agent, &[], None));
    ledger.certificates.push(record(12, Kind::Broker, &["broker.example", "192.0.2.1"], None));
    let good = text(&ledger);
    let serial = format!("{:032x}", 10);
    vec![
        ok("ledger", "empty", empty.as_str()),
        ok("ledger", "three", good.as_str()),
        no("ledger", "other-format", changed(&empty, "ledger/1", "ledger/2")),
        no("ledger", "unknown-field", changed(&good, "\"revoked\"", "\"revokd\"")),
        no("ledger", "field-twice", changed(&empty, "{", "{\"crl_days\":30,")),
        no("ledger", "serial-twice", changed(&good, &serial, &format!("{:032x}", 11))),
        no("ledger", "short-serial", changed(&good, &serial, &serial[2..])),
        no("ledger", "upper-case-serial", changed(&good, &serial, &serial.to_uppercase())),
        no("ledger", "ends-before-it-begins", changed(&good, "2026-05-30", "2026-02-01")),
        no("ledger", "no-time", changed(&good, "2026-05-30", "2026-05-32")),
        no("ledger", "unknown-reason", changed(&good, "key-compromise", "keyCompromise")),
        no("ledger", "cut", &good.as_bytes()[..good.len() / 2]),
    ]
}

fn spreadsheets() -> Vec<Seed> {
    let mapping = "id = \"Nr\"\n[addressing]\nflow = \"F02\"\nto = { column = \"Aan\" }\n\
                   [[field]]\ncolumn = \"Wijk\"\nto = \"/locatie/wijk\"\ntype = \"text\"\n\
                   [[field]]\ncolumn = \"Aantal\"\nto = \"/aantal\"\ntype = \"integer\"\n\
                   [[field]]\ncolumn = \"Sinds\"\nto = \"/sinds\"\ntype = \"date\"\n\
                   [[field]]\ncolumn = \"Dagen\"\nto = \"/dagen\"\ntype = \"list\"\n\
                   [[field]]\nto = \"/kanaal\"\ntype = \"fixed\"\nvalue = \"straat\"\n---\n";
    let header = "Nr;Aan;Wijk;Aantal;Sinds;Dagen\r\n";
    let good = format!("{mapping}{header}1;gemeente;\"A \"\"b\"\"; c\";17;1-3-2026;do,vr\r\n2;;;;;\r\n");
    vec![
        ok("csv", "rows", good.as_str()),
        ok("csv", "header-alone", format!("{mapping}{header}")),
        ok("csv", "tabs", good.replace(';', "\t")),
        ok("csv", "byte-order-mark", good.replace(header, &format!("\u{feff}{header}"))),
        no("csv", "formula", changed(&good, "\"A ", "\"=A ")),
        no("csv", "short-year", changed(&good, "1-3-2026", "1-3-26")),
        no("csv", "no-number", changed(&good, "17", "1.7")),
        no("csv", "open-quote", changed(&good, "; c\"", "; c")),
        no("csv", "no-column", changed(&good, "\nNr;Aan;Wijk", "\nNr;Aan;Buurt")),
        no("csv", "no-mapping", format!("\n---\n{header}")),
        no("csv", "one-place-twice", changed(&good, "\"/aantal\"", "\"/sinds\"")),
    ]
}

pub(super) fn all() -> Vec<Seed> {
    [configuration(), spreadsheets(), requests(), answers(), ledgers()].into_iter().flatten().collect()
}
