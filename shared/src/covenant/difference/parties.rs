//! Parties that join, leave or change, and the decisions they rest on.

use super::{Found, Pairs, gained, pairs, quoted};
use crate::cbor::Bytes;
use crate::covenant::document::{Covenant, Decision, Party};
use crate::covenant::vocabulary::Role;
use crate::covenant::words::{self, Words};
use crate::signing::PublicKey;

/// A key by its thumbprint, as agents show it; the bytes of what is no key.
pub(in crate::covenant) fn fingerprint(key: &Bytes) -> String {
    let point = <[u8; 32]>::try_from(key.0.as_slice()).ok().and_then(|bytes| PublicKey::from_bytes(&bytes));
    point.map_or_else(|| data_encoding::HEXLOWER.encode(&key.0), |key| key.thumbprint().to_string())
}

/// The key with which a party cosigns the log, in words.
pub(in crate::covenant) fn watching(key: Option<&Bytes>) -> Words {
    key.map_or_else(|| Words::new("geen", "none"), |key| Words::same(fingerprint(key)))
}

/// On which flows a role may send and receive.
fn opens(covenant: &Covenant, role: Role) -> Words {
    let on = |from: bool| {
        let mut ids = Vec::new();
        for flow in &covenant.flows {
            let named =
                |r: &crate::covenant::Route| if from { r.from.contains(&role) } else { r.to.contains(&role) };
            if flow.routes.iter().any(named) {
                ids.push(flow.id.as_str());
            }
        }
        words::and_same(ids)
    };
    let (send, receive) = (on(true), on(false));
    Words::new(
        format!("sturen op: {}; ontvangen op: {}", send.nl, receive.nl),
        format!("sends on: {}; receives on: {}", send.en, receive.en),
    )
}

impl Found {
    pub(super) fn parties(&mut self, old: &Covenant, new: &Covenant) {
        let Pairs { kept, gone, come, reordered } = pairs(&old.parties, &new.parties, |party| party.oin);
        for party in come {
            let (role, opens) = (words::role(party.role), opens(new, party.role));
            let absent = if party.may_be_absent {
                Words::new("mag ontbreken", "may be absent")
            } else {
                Words::new("moet tekenen", "has to sign")
            };
            let keys = words::and_same(party.signing_keys.iter().map(fingerprint));
            let watch = watching(party.witness_key.as_ref());
            let joined = words::date(party.joined);
            let left = party.left.map(words::date);
            let until = |word: &str| left.as_ref().map(|left| format!(" {word} {left}")).unwrap_or_default();
            let sentence = Words::new(
                format!(
                    "“{}” ({}) neemt voortaan deel als {}, vanaf {joined}{}; {}; contact “{}”; sleutel {}; sleutel als getuige: {}; {}.",
                    party.name,
                    party.oin,
                    role.nl,
                    until("tot"),
                    absent.nl,
                    party.contact,
                    keys.nl,
                    watch.nl,
                    opens.nl
                ),
                format!(
                    "“{}” ({}) joins as {}, from {joined}{}; {}; contact “{}”; key {}; key as a witness: {}; {}.",
                    party.name,
                    party.oin,
                    role.en,
                    until("until"),
                    absent.en,
                    party.contact,
                    keys.en,
                    watch.en,
                    opens.en
                ),
            );
            self.say(format!("parties {}", party.oin), &sentence);
        }
        for party in gone {
            let role = words::role(party.role);
            let sentence = Words::new(
                format!("“{}” ({}), {}, neemt niet meer deel.", party.name, party.oin, role.nl),
                format!("“{}” ({}), {}, no longer takes part.", party.name, party.oin, role.en),
            );
            self.say(format!("parties {}", party.oin), &sentence);
        }
        for (before, after) in kept {
            self.party(before, after, new);
        }
        self.order("parties", reordered);
    }

    fn party(&mut self, old: &Party, new: &Party, covenant: &Covenant) {
        let Party { oin, role, name, contact, signing_keys, may_be_absent, joined, left, witness_key } = old;
        let about = &format!("parties {oin}");
        let of = |nl: &str, en: &str| {
            Words::new(format!("{nl} van “{}” ({oin})", new.name), format!("{en} of “{}” ({oin})", new.name))
        };
        let party = Words::new(format!("De naam van partij {oin}"), format!("The name of party {oin}"));
        self.value(about, &party, &quoted(name), &quoted(&new.name));
        if *role != new.role {
            let opens = opens(covenant, new.role);
            let after = words::role(new.role).then("; ", &opens);
            self.value(about, &of("De rol", "The role"), &words::role(*role), &after);
        }
        self.value(about, &of("Het contact", "The contact"), &quoted(contact), &quoted(&new.contact));
        self.members(
            about,
            (signing_keys, &new.signing_keys),
            |key| Words::same(fingerprint(key)),
            |keys| {
                Words::new(
                    format!("“{}” ({oin}) tekent voortaan ook met sleutel {}.", new.name, keys.nl),
                    format!("“{}” ({oin}) from now on also signs with key {}.", new.name, keys.en),
                )
            },
            |keys| {
                Words::new(
                    format!("“{}” ({oin}) tekent niet meer met sleutel {}.", new.name, keys.nl),
                    format!("“{}” ({oin}) no longer signs with key {}.", new.name, keys.en),
                )
            },
        );
        if *may_be_absent != new.may_be_absent {
            let sentence = if new.may_be_absent {
                Words::new(
                    format!(
                        "het convenant werkt voortaan ook zonder handtekening van “{}” ({oin}).",
                        new.name
                    ),
                    format!(
                        "the covenant from now on also works without the signature of “{}” ({oin}).",
                        new.name
                    ),
                )
            } else {
                Words::new(
                    format!("het convenant werkt niet meer zonder handtekening van “{}” ({oin}).", new.name),
                    format!("the covenant no longer works without the signature of “{}” ({oin}).", new.name),
                )
            };
            self.say(about, &sentence);
        }
        self.date(
            about,
            &of("De eerste dag van deelname", "The first day of participation"),
            *joined,
            new.joined,
        );
        let end = |left: Option<crate::time::Timestamp>| {
            left.map_or_else(|| Words::new("niet bepaald", "not set"), |left| Words::same(words::date(left)))
        };
        self.value(
            about,
            &of("Het einde van de deelname", "The end of participation"),
            &end(*left),
            &end(new.left),
        );
        let key = of("De sleutel als getuige van het logboek", "The key as a witness of the log");
        self.watches(about, &key, witness_key.as_ref(), new.witness_key.as_ref());
    }

    fn watches(&mut self, about: &str, key: &Words, old: Option<&Bytes>, new: Option<&Bytes>) {
        self.value(about, key, &watching(old), &watching(new));
    }

    pub(super) fn decisions(&mut self, old: &Covenant, new: &Covenant) {
        let table = pairs(&old.decisions, &new.decisions, |decision| decision.reference.as_str());
        for decision in table.come {
            let (to, data) = covered(decision);
            let (from, until) = (words::date(decision.date), words::date(decision.expires));
            let sentence = Words::new(
                format!(
                    "artikel 20-besluit “{}” van “{}” komt erbij: {} mag {} ontvangen, van {from} tot {until}.",
                    decision.reference, decision.authority, to.nl, data.nl
                ),
                format!(
                    "article 20 decision “{}” of “{}” is added: {} may receive {}, from {from} until {until}.",
                    decision.reference, decision.authority, to.en, data.en
                ),
            );
            self.say(format!("decisions {}", decision.reference), &sentence);
        }
        for decision in table.gone {
            let (to, data) = covered(decision);
            let sentence = Words::new(
                format!(
                    "artikel 20-besluit “{}” vervalt: {} mag op grond daarvan {} niet meer ontvangen.",
                    decision.reference, to.nl, data.nl
                ),
                format!(
                    "article 20 decision “{}” is dropped: on its ground {} may no longer receive {}.",
                    decision.reference, to.en, data.en
                ),
            );
            self.say(format!("decisions {}", decision.reference), &sentence);
        }
        for (before, after) in table.kept {
            self.decision(before, after);
        }
        self.order("decisions", table.reordered);
    }

    fn decision(&mut self, old: &Decision, new: &Decision) {
        let Decision { reference, date, authority, recipients, categories, expires } = old;
        let about = &format!("decisions {reference}");
        let of = |nl: &str, en: &str| {
            Words::new(format!("{nl} van besluit “{reference}”"), format!("{en} of decision “{reference}”"))
        };
        self.date(about, &of("De datum", "The date"), *date, new.date);
        self.date(about, &of("Het einde", "The end"), *expires, new.expires);
        self.value(about, &of("Het gezag", "The authority"), &quoted(authority), &quoted(&new.authority));
        self.members(
            about,
            (recipients, &new.recipients),
            |role| words::role(*role),
            |roles| {
                Words::new(
                    format!("besluit “{reference}” dekt voortaan ook {} als ontvanger.", roles.nl),
                    format!("decision “{reference}” from now on also covers {} as recipient.", roles.en),
                )
            },
            |roles| {
                Words::new(
                    format!("besluit “{reference}” dekt {} niet meer als ontvanger.", roles.nl),
                    format!("decision “{reference}” no longer covers {} as recipient.", roles.en),
                )
            },
        );
        self.members(
            about,
            (categories, &new.categories),
            |code: &String| Words::same(code),
            |codes| {
                Words::new(
                    format!("besluit “{reference}” dekt voortaan ook categorie {}.", codes.nl),
                    format!("decision “{reference}” from now on also covers category {}.", codes.en),
                )
            },
            |codes| {
                Words::new(
                    format!("besluit “{reference}” dekt categorie {} niet meer.", codes.nl),
                    format!("decision “{reference}” no longer covers category {}.", codes.en),
                )
            },
        );
    }
}

fn covered(decision: &Decision) -> (Words, Words) {
    (words::roles(&decision.recipients), words::and_same(gained(&[], &decision.categories)))
}
