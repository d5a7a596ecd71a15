//! What goes over the local control socket: requests to agent and broker, and their answers.

use data_encoding::BASE64;
use seinhuis_agent::commands::request::{PushText, Request as AgentRequest, parse};
use seinhuis_agent::{PushRequest, Target};
use seinhuis_broker::commands::request::Request as BrokerRequest;
use seinhuis_shared::signing::PublicKey;
use seinhuis_shell::answer;
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::control::REQUEST_MAX;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::shell::readable;

/// A frame's JSON, as a request to either daemon and as the answer of one.
pub fn control(data: &[u8]) -> bool {
    let Ok(value) = serde_json::from_slice::<Value>(data) else { return false };
    let answered = answer(&value);
    if data.len() > REQUEST_MAX {
        return answered;
    }
    let agent = request::<AgentRequest>(&value);
    let broker = request::<BrokerRequest>(&value);
    let agent = agent.is_some_and(|request| to_agent(&request));
    let broker = broker.is_some_and(|request| to_broker(&request));
    agent || broker || answered
}

/// What a daemon takes for a request is sent as something that it takes for the same.
fn request<R: Serialize + DeserializeOwned>(value: &Value) -> Option<R> {
    match R::deserialize(value) {
        Ok(request) => {
            let sent = serde_json::to_vec(&request).ok();
            assert!(sent.is_some(), "a request that cannot be sent");
            let again = sent.as_deref().and_then(|sent| serde_json::from_slice::<R>(sent).ok());
            let again = again.and_then(|again| serde_json::to_vec(&again).ok());
            assert_eq!(again, sent, "a request reads back otherwise");
            Some(request)
        }
        Err(error) => {
            // What a daemon answers to a command of another version.
            arrives(&Complaint::bug(error.to_string()));
            None
        }
    }
}

/// A complaint says something, and says it at the other end.
fn arrives(complaint: &Complaint) {
    readable(complaint);
    let arrived = answer::decode(answer::encode(Err(complaint.clone())));
    assert_eq!(arrived.as_ref(), Err(complaint), "a complaint arrives otherwise");
}

fn to_agent(request: &AgentRequest) -> bool {
    match request {
        AgentRequest::Push(text) => match parse(text) {
            Ok(push) => {
                as_text(&push, text);
                true
            }
            Err(complaint) => {
                arrives(&complaint);
                let named = complaint.what.en.contains("--") || complaint.what.en.contains("base64");
                assert!(named, "which value is wrong is not told: {complaint}");
                false
            }
        },
        AgentRequest::Look(_)
        | AgentRequest::Propose { .. }
        | AgentRequest::Speak { .. }
        | AgentRequest::Release { .. }
        | AgentRequest::Grant(_)
        | AgentRequest::Correct { .. }
        | AgentRequest::RetryCorrections { .. }
        | AgentRequest::Erase { .. }
        | AgentRequest::TakeBack { .. }
        | AgentRequest::Consumed { .. }
        | AgentRequest::Tell(_)
        | AgentRequest::Log(_)
        | AgentRequest::Decide { .. }
        | AgentRequest::AcceptOrigin { .. }
        | AgentRequest::Rotate { .. } => true,
    }
}

/// Each value of a push has one text.
fn as_text(push: &PushRequest, text: &PushText) {
    fn shown<T: ToString>(value: Option<&T>) -> Option<String> {
        value.map(T::to_string)
    }
    assert_eq!(push.msg_id.to_string(), text.msg_id, "another message");
    assert_eq!(push.flow, text.flow, "another flow");
    let to: Vec<String> = push.to.iter().map(target).collect();
    assert_eq!(to, text.to, "other recipients");
    assert_eq!(push.step.map(|step| step.as_str().to_owned()), text.step, "another step");
    assert_eq!(shown(push.case.as_ref()), text.case, "another case");
    assert_eq!(push.message_type, text.message_type, "another type");
    assert_eq!(push.basis, text.basis, "another basis");
    assert_eq!(shown(push.covenant.as_ref()), text.covenant, "another covenant");
    assert_eq!(push.ttl.map(|ttl| ttl.0), text.ttl_ms, "another time to live");
    assert_eq!(shown(push.in_reply_to.as_ref()), text.in_reply_to, "an answer to another message");
    assert_eq!(shown(push.trace.as_ref()), text.trace, "another trace");
    assert_eq!(push.handling.map(|one| one.as_str().to_owned()), text.handling, "another handling code");
    assert_eq!(BASE64.encode(&push.body), text.body, "another body");
}

fn target(target: &Target) -> String {
    match target {
        Target::Oin(oin) => oin.to_string(),
        Target::Role(role) => role.as_str().to_owned(),
    }
}

fn to_broker(request: &BrokerRequest) -> bool {
    match request {
        BrokerRequest::AddPartner { key, .. } => {
            let read = PublicKey::from_bytes(key);
            if let Some(read) = &read {
                assert_eq!(&read.to_bytes(), key, "another key");
            }
            read.is_some()
        }
        BrokerRequest::RevokePartner { .. }
        | BrokerRequest::Suspend { .. }
        | BrokerRequest::Resume { .. }
        | BrokerRequest::Requeue { .. }
        | BrokerRequest::TakeUp { .. }
        | BrokerRequest::Flows
        | BrokerRequest::LoadCovenant { .. }
        | BrokerRequest::Partners
        | BrokerRequest::Covenants
        | BrokerRequest::Status
        | BrokerRequest::Board
        | BrokerRequest::Alarms
        | BrokerRequest::Tail { .. }
        | BrokerRequest::Verify
        | BrokerRequest::Logs
        | BrokerRequest::RollOver
        | BrokerRequest::NewOrigin { .. }
        | BrokerRequest::Purge { .. }
        | BrokerRequest::Grant { .. }
        | BrokerRequest::Grants
        | BrokerRequest::RevokeGrant { .. }
        | BrokerRequest::Mailboxes
        | BrokerRequest::DropDamaged { .. }
        | BrokerRequest::Backup { .. }
        | BrokerRequest::Export { .. } => true,
    }
}

/// An answer is accepted when it is what a daemon writes; any other is still read as something, and stays that.
fn answer(value: &Value) -> bool {
    let read = answer::decode(value.clone());
    let written = answer::encode(read.clone());
    assert_eq!(answer::decode(written.clone()), read, "an answer reads back otherwise");
    match &read {
        Ok(done) => assert_eq!(Some(done), value.get("done"), "another answer"),
        Err(complaint) => readable(complaint),
    }
    &written == value
}
