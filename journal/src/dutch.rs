//! The same in Dutch. What exactly is wrong with some bytes, and what the operating system says, stay as they are: for
//! whoever looks it up.

use std::io::ErrorKind;

use crate::StoreError;
use crate::error::is_full;

impl StoreError {
    /// What happened and what to do next, in Dutch; its `Display` says the same in English.
    pub fn dutch(&self) -> String {
        match self {
            Self::Io { path, source, .. } => format!(
                "een bewerking op {} is niet gelukt ({source}). {}",
                path.display(),
                advice(source.kind())
            ),
            Self::Damaged { path, offset, fault } => format!(
                "{} is beschadigd vanaf byte {offset} ({fault}). Er is niets veranderd. Maak een kopie van de hele map, \
                 controleer de schijf en zet deze map terug uit een reservekopie",
                path.display()
            ),
            Self::Missing { number, path } => format!(
                "segment {number} ontbreekt: {} bestaat niet. Iemand of iets verwijderde een deel van het journaal; zet \
                 het bestand terug, of zet de hele map terug uit een reservekopie",
                path.display()
            ),
            Self::Lost { index, applied, end } => format!(
                "het journaal eindigt bij regel {end} en de index in {} is tot {applied} bijgewerkt: bevestigde regels \
                 zijn weg, zoals wanneer een oudere kopie van het journaal is teruggezet, of de index is van een andere \
                 opslag. Er is niets veranderd. Zet het journaal terug dat erbij hoort, of de hele map uit een \
                 reservekopie; is bekend wat er ontbreekt en wordt dat aanvaard, verwijder dan de map van de index en \
                 start opnieuw",
                index.display()
            ),
            Self::InUse { path } => format!(
                "{} is in gebruik door een ander proces. Stop dat eerst; twee schrijvers vernielen elkaars records",
                path.display()
            ),
            Self::TooLarge { bytes, limit } => format!(
                "deze beurt heeft {bytes} bytes nodig in het journaal, en {limit} is het meeste. Verdeel haar in kleinere"
            ),
            Self::Poisoned { cause } => format!(
                "deze opslag is gestopt na een eerdere fout: {cause}. Herstel de oorzaak en start het programma opnieuw; \
                 wat bevestigd was, is bewaard"
            ),
            Self::Index { path, fault } => {
                let next = if is_full(fault) {
                    advice(ErrorKind::StorageFull)
                } else {
                    "Start het programma opnieuw: de index wordt herbouwd uit het journaal"
                };
                format!("de index in {} faalde: {fault}. {next}", path.display())
            }
            Self::Settings { fault } => format!("onbruikbare instelling van de opslag: {fault}"),
            Self::NoFiles => {
                "deze opslag staat alleen in het geheugen: er zijn geen bestanden om te kopiëren".into()
            }
            Self::Closed => {
                "de opslag van deze lezer is gesloten. Open haar opnieuw en neem een nieuwe lezer".into()
            }
        }
    }
}

/// The next step for the person who runs the program.
fn advice(kind: ErrorKind) -> &'static str {
    if kind == ErrorKind::StorageFull || kind == ErrorKind::QuotaExceeded {
        "Geen ruimte meer op deze schijf: maak ruimte vrij of voeg ruimte toe, en start opnieuw; niets wat bevestigd was \
         is verloren"
    } else if kind == ErrorKind::PermissionDenied {
        "Geef de gebruiker van dit programma lees- en schrijfrechten op dit pad en de mappen erboven"
    } else if kind == ErrorKind::ReadOnlyFilesystem {
        "Op deze schijf mag alleen gelezen worden: koppel haar schrijfbaar aan, of kies een andere map"
    } else if kind == ErrorKind::NotADirectory || kind == ErrorKind::AlreadyExists {
        "Er staat een bestand waar een map nodig is: zet het opzij, of kies een andere map"
    } else if kind == ErrorKind::NotFound {
        "Controleer het pad in de instellingen"
    } else {
        "Controleer de schijf en haar log, en start opnieuw; niets wat bevestigd was is verloren"
    }
}
