//! Witnesses that are no party.

use super::{Found, pairs, quoted};
use crate::covenant::document::{Covenant, Outside};
use crate::covenant::words::Words;

impl Found {
    pub(super) fn witnesses(&mut self, old: &Covenant, new: &Covenant) {
        let table = pairs(&old.witnesses, &new.witnesses, |witness| witness.name.as_str());
        for Outside { name, vkey, url } in table.come {
            let sentence = Words::new(
                format!(
                    "getuige “{name}” op “{url}”, geen partij, kijkt mee naar het logboek, met sleutel “{vkey}”."
                ),
                format!("witness “{name}” at “{url}”, no party, watches the log too, with key “{vkey}”."),
            );
            self.say(format!("witnesses {name}"), &sentence);
        }
        for Outside { name, .. } in table.gone {
            let sentence = Words::new(
                format!("getuige “{name}” kijkt niet meer mee naar het logboek."),
                format!("witness “{name}” no longer watches the log."),
            );
            self.say(format!("witnesses {name}"), &sentence);
        }
        for (before, after) in table.kept {
            let Outside { name, vkey, url } = before;
            let about = &format!("witnesses {name}");
            let of = |nl: &str, en: &str| {
                Words::new(format!("{nl} van getuige “{name}”"), format!("{en} of witness “{name}”"))
            };
            self.value(about, &of("De sleutel", "The key"), &quoted(vkey), &quoted(&after.vkey));
            self.value(about, &of("Het adres", "The address"), &quoted(url), &quoted(&after.url));
        }
        self.order("witnesses", table.reordered);
    }
}
