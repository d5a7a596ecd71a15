//! Processes that die in the middle of their work: whatever was accepted arrives, once, and is proved.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so")]

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use seinhuis_agent::{Agent, AgentHandle, AgentOptions, Stage as Fate};
use seinhuis_shared::entry::{Entry, Kind};
use seinhuis_shared::frame::Kind as Frame;
use seinhuis_shared::ids::{Digest, MsgId};
use seinhuis_shared::receipt::{CheckpointCache, LogKey, Receipt};
use seinhuis_shared::tlog::hash::leaf_hash;
use seinhuis_shared::tlog::tree::Frontier;
use seinhuis_tests::forge::new_id;
use seinhuis_tests::process::{self, Program};
use seinhuis_tests::raw::RawError;
use seinhuis_tests::stage::{PATIENCE, text};
use seinhuis_tests::{Member, Process, Raw, Stage};
use tokio::runtime::Runtime;

use crate::common::{self, Scene, inbox_of, town::sample};

fn start(member: &Member, connect: bool) -> AgentHandle {
    Agent::start(&AgentOptions { home: member.home.clone(), connect }).unwrap()
}

/// Removes what is derived from a journal.
fn lose_index(home: &Path) {
    let index = home.join("store/index");
    assert!(index.exists(), "{} is where the index is", index.display());
    std::fs::remove_dir_all(index).unwrap();
}

/// The whole log as its operator sees it, each entry with its bytes.
fn whole_log(stage: &Stage) -> Vec<(Vec<u8>, Entry)> {
    let answer = stage.broker(&["log", "tail", "-n", "10000"]).unwrap();
    let rows = answer.as_array().unwrap();
    rows.iter()
        .enumerate()
        .map(|(place, row)| {
            assert_eq!(row["index"].as_u64(), u64::try_from(place).ok(), "the log is complete");
            let bytes = text(row, "entry").as_bytes().to_vec();
            let entry = Entry::parse(&bytes).unwrap();
            (bytes, entry)
        })
        .collect()
}

/// The root after each number of entries.
fn roots(log: &[(Vec<u8>, Entry)]) -> Vec<Digest> {
    let mut tree = Frontier::empty();
    let mut roots = vec![tree.root()];
    for (bytes, _) in log {
        tree.append(leaf_hash(bytes)).unwrap();
        roots.push(tree.root());
    }
    roots
}

/// The books balance: every message was accepted once, is at its recipient once, and every receipt holds on
/// its own and against the log as it is now.
fn balance(stage: &Stage, recipient: &Member, sent: &BTreeMap<MsgId, Vec<u8>>) {
    let card = stage.card().unwrap();
    let key = LogKey { origin: card.log_origin.clone(), key: card.log_key.parse().unwrap() };
    let checked = stage.broker(&["log", "verify"]).unwrap()["checked"].as_u64().unwrap();
    let log = whole_log(stage);
    assert_eq!(u64::try_from(log.len()).unwrap(), checked);
    let roots = roots(&log);
    let status = stage.broker(&["status"]).unwrap();
    assert_eq!(text(&status["log"], "root"), roots.last().unwrap().to_string());
    for (msg_id, receipt) in sent {
        let verified =
            Receipt::parse(receipt).unwrap().verify(&key, &mut CheckpointCache::default()).unwrap();
        let [(index, entry)] = verified.entries.as_slice() else { unreachable!("one recipient each") };
        assert_eq!((entry.kind, entry.msg_id), (Kind::Accepted, Some(*msg_id)));
        assert_eq!(&log[usize::try_from(*index).unwrap()].1, entry, "the log still says so");
        let size = usize::try_from(verified.checkpoint.size()).unwrap();
        assert_eq!(verified.checkpoint.root(), &roots[size], "the log grew from what was signed then");
    }
    let count = |kind: Kind| {
        let mut counts = BTreeMap::new();
        for (_, entry) in log.iter().filter(|(_, entry)| entry.kind == kind) {
            *counts.entry(entry.msg_id.unwrap()).or_insert(0) += 1;
        }
        counts
    };
    let once: BTreeMap<MsgId, i32> = sent.keys().map(|id| (*id, 1)).collect();
    assert_eq!(count(Kind::Accepted), once, "each was accepted once");
    assert_eq!(count(Kind::Delivered), once, "each was delivered once");
    assert_eq!(count(Kind::Refused), BTreeMap::new());
    let inbox = inbox_of(stage, recipient);
    let stored: BTreeSet<MsgId> = inbox.iter().map(|row| text(row, "msg_id").parse().unwrap()).collect();
    assert_eq!(inbox.len(), sent.len(), "nothing is stored twice");
    assert_eq!(stored, sent.keys().copied().collect());
    assert!(inbox.iter().all(|row| text(row, "state") == "stored"));
}

/// Waits until nothing is on its way any more.
fn settle(stage: &Stage, recipient: &Member, count: usize) {
    let arrived = process::until("everything arrives", 2 * PATIENCE, || {
        inbox_of(stage, recipient).len() >= count
            && stage.broker(&["status"]).is_ok_and(|status| {
                status["queues"].as_array().unwrap().iter().all(|queue| queue["packets"] == 0)
            })
    });
    assert!(arrived.is_ok(), "{} of {count} arrived", inbox_of(stage, recipient).len());
}

#[test]
fn a_broker_killed_three_times_in_a_burst_loses_and_doubles_nothing() {
    burst(|broker| broker.kill().unwrap());
}

#[test]
fn a_broker_stopped_and_started_three_times_in_a_burst_loses_and_doubles_nothing() {
    burst(|broker| assert!(broker.stop(PATIENCE).unwrap().success()));
}

/// Pushes without pause while the broker ends three times, once with its index lost as well; everything balances.
fn burst(end: impl Fn(Process)) {
    let scene = Scene::with(&["gemeente", "politie", "jongerenwerk"]);
    let stage = &scene.stage;
    let recipient = stage.member("gemeente");
    let mut broker = scene.broker();
    let receiving = scene.agent("gemeente");
    let runtime = Runtime::new().unwrap();
    let _guard = runtime.enter();
    let senders = [("politie", "F02"), ("jongerenwerk", "F01")]
        .map(|(role, flow)| (start(stage.member(role), true), sample(flow)));
    let mut waits = Vec::new();
    for round in 0..4 {
        for (agent, sample) in &senders {
            for _ in 0..25 {
                let msg_id = new_id();
                runtime.block_on(agent.push(sample.request(msg_id))).unwrap();
                let agent = agent.clone();
                waits.push(runtime.spawn(async move { agent.wait_done(msg_id).await.unwrap() }));
            }
        }
        if round == 3 {
            break;
        }
        // Some are decided when it dies, and as a rule some are not.
        let some = waits.len() - 30;
        process::until("some are accepted", 2 * PATIENCE, || {
            waits.iter().filter(|wait| wait.is_finished()).count() >= some
        })
        .unwrap();
        end(broker);
        if round == 1 {
            lose_index(&stage.broker_home());
        }
        broker = scene.broker();
    }
    let mut sent = BTreeMap::new();
    for wait in waits {
        let decided = runtime.block_on(wait).unwrap();
        assert_eq!((decided.stage, decided.outcome), (Fate::Done, 0));
        sent.insert(decided.msg_id, decided.receipt);
    }
    assert_eq!(sent.len(), 200);
    settle(stage, recipient, sent.len());
    balance(stage, recipient, &sent);
    for (agent, _) in senders {
        let status = runtime.block_on(agent.status()).unwrap();
        assert!(!status.pin.unwrap().forked, "no agent believes that the log contradicts itself");
        runtime.block_on(agent.shutdown()).unwrap();
    }
    receiving.stop(PATIENCE).unwrap();
    broker.stop(PATIENCE).unwrap();
    // Once more from the journals alone.
    lose_index(&stage.broker_home());
    lose_index(&recipient.home);
    let _broker = scene.broker();
    balance(stage, recipient, &sent);
}

#[test]
fn agents_killed_in_a_burst_lose_and_double_nothing() {
    const COUNT: usize = 40;
    let scene = Scene::with(&["gemeente", "jongerenwerk"]);
    let stage = &scene.stage;
    let (sender, recipient) = (stage.member("jongerenwerk"), stage.member("gemeente"));
    let broker = scene.broker();
    let mut agents = scene.agents();
    let ids: Vec<String> = (0..COUNT).map(|_| new_id().to_string()).collect();
    let file = sample("F01").path.to_string_lossy().into_owned();
    for (number, id) in ids.iter().enumerate() {
        push(stage, sender, &file, id);
        // The very same again is no second message.
        if number % 10 == 0 {
            push(stage, sender, &file, id);
        }
        // Now the one, then the other dies in the middle, each once with its index lost as well.
        if number % 9 == 8 {
            let victim = if (number / 9) % 2 == 0 { recipient } else { sender };
            let place = stage.members.iter().position(|member| member == victim).unwrap();
            agents.remove(place).kill().unwrap();
            if number > 18 {
                lose_index(&victim.home);
            }
            // What is pushed while the sender's agent is away goes into its store all the same.
            push(stage, sender, &file, id);
            agents.insert(place, scene.agent(victim.role));
        }
    }
    settle(stage, recipient, COUNT);
    for agent in agents {
        agent.stop(PATIENCE).unwrap();
    }
    let runtime = Runtime::new().unwrap();
    let _guard = runtime.enter();
    lose_index(&sender.home);
    let offline = start(sender, false);
    let sent = ids
        .iter()
        .map(|id| {
            let decided = runtime.block_on(offline.wait_done(id.parse().unwrap())).unwrap();
            assert_eq!((decided.stage, decided.outcome), (Fate::Done, 0), "{id}");
            (decided.msg_id, decided.receipt)
        })
        .collect();
    balance(stage, recipient, &sent);
    runtime.block_on(offline.shutdown()).unwrap();
    drop(broker);
}

/// Pushes with an id until that succeeds: a push whose answer was lost in a crash is pushed again.
fn push(stage: &Stage, sender: &Member, file: &str, id: &str) {
    let mut last = None;
    let taken = process::until("the push is taken", PATIENCE, || {
        let ran = stage.try_agent(sender, &["push", file, "--id", id]).unwrap();
        let taken = ran.code == 0;
        last = Some(ran);
        taken
    });
    assert!(taken.is_ok(), "{last:?}");
}

#[test]
fn a_push_while_broker_and_agent_are_away_is_kept_and_delivered_later() {
    let scene = Scene::with(&["gemeente", "jongerenwerk"]);
    let stage = &scene.stage;
    let (sender, recipient) = (stage.member("jongerenwerk"), stage.member("gemeente"));
    let broker = scene.broker();
    let agents = scene.agents();
    broker.stop(PATIENCE).unwrap();
    let file = sample("F01").path.to_string_lossy().into_owned();
    let human = |words: &[&str]| {
        let home = sender.home.to_string_lossy();
        let args = ["--home", &home, "push", &file].into_iter().chain(words.iter().copied());
        stage.programs.run(Program::Agent, args).unwrap()
    };
    process::until("the agent notices that the broker is away", PATIENCE, || {
        stage.agent(sender, &["status"]).unwrap()["link"]["connected"] == false
    })
    .unwrap();
    let away = human(&["--id", &new_id().to_string()]);
    assert_eq!(away.code, 0, "{away:?}");
    assert!(away.stdout.contains("Queued") && away.stdout.contains("broker is away"), "{away:?}");
    // It goes on trying, and says why it has no session.
    process::until("the agent tries again", PATIENCE, || {
        let link = &stage.agent(sender, &["status"]).unwrap()["link"];
        link["attempts"].as_u64() >= Some(2) && link["problem"].is_array()
    })
    .unwrap();
    for agent in agents {
        agent.kill().unwrap();
    }
    let off = human(&["--id", &new_id().to_string()]);
    assert_eq!(off.code, 0, "{off:?}");
    assert!(off.stdout.contains("Queued") && off.stdout.contains("not running"), "{off:?}");
    assert_eq!(common::outbox_of(stage, sender).len(), 2);
    lose_index(&sender.home);
    let _broker = scene.broker();
    let _agents = scene.agents();
    let inbox = common::wait_for_inbox(stage, recipient, 2);
    let order: Vec<&str> = inbox.iter().map(|row| text(row, "msg_id")).collect();
    let outbox = common::outbox_of(stage, sender);
    let pushed: Vec<&str> = outbox.iter().map(|row| text(row, "msg_id")).collect();
    assert_eq!(order, pushed, "in the order in which they were pushed");
}

#[test]
fn a_packet_for_an_agent_that_is_away_waits_through_a_crash_of_the_broker() {
    let scene = Scene::unwatched(&["gemeente", "jongerenwerk"]);
    let stage = &scene.stage;
    let (sender, recipient) = (stage.member("jongerenwerk"), stage.member("gemeente"));
    let broker = scene.broker();
    let agents = scene.agents();
    for (member, agent) in stage.members.iter().zip(agents) {
        if member == recipient {
            agent.kill().unwrap();
        } else {
            let file = sample("F01").path.to_string_lossy().into_owned();
            let pushed = stage.agent(sender, &["push", &file, "--wait", "30"]).unwrap();
            assert_eq!(text(&pushed, "state"), "accepted", "{pushed}");
            agent.kill().unwrap();
        }
    }
    broker.kill().unwrap();
    lose_index(&stage.broker_home());
    let _broker = scene.broker();
    let status = stage.broker(&["status"]).unwrap();
    assert_eq!(status["queues"][0]["packets"], 1, "{status}");
    let _agent = scene.agent("gemeente");
    common::wait_for_inbox(stage, recipient, 1);
}

#[test]
fn the_peer_of_a_broker_that_crashed_is_told_and_does_not_wait_in_vain() {
    let scene = Scene::unwatched(&["gemeente", "jongerenwerk"]);
    let broker = scene.broker();
    let runtime = Runtime::new().unwrap();
    let raw = runtime.block_on(Raw::open(&scene.stage.member("gemeente").home)).unwrap();
    broker.kill().unwrap();
    let _broker = scene.broker();
    let error = runtime.block_on(async {
        // Something has to be sent for the new process to notice.
        _ = raw.request(Frame::FetchPrekeys, b"", Frame::Prekeys).await;
        raw.closed().await
    });
    assert!(matches!(&error, RawError::Ended(reason) if reason.contains("reset")), "{error:?}");
}
