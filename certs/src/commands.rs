//! The commands of `seinhuis-certs`: arguments in, sentences and exit codes out.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use seinhuis_shared::enrol::{NodeKind, REQUEST_MAX};
use seinhuis_shared::ids::Oin;
use seinhuis_shared::time::Timestamp;
use seinhuis_shell::cli::{self, Common, Outcome, Ui, aligned};
use seinhuis_shell::complaint::Complaint;
use seinhuis_shell::files::{self, Existing};
use seinhuis_shell::grant::{Kind, fingerprint};
use seinhuis_shell::lang::{Lang, Text};
use seinhuis_shell::sealing;
use serde_json::json;

use crate::authority::{Authority, CRL_DAYS_DEFAULT, DAYS_DEFAULT, DAYS_MAX, Issued, Target, check_days};
use crate::ledger::Reason;
use crate::report;
use crate::request::{Confirmed, Proved};
use crate::service::Renewals;

/// The partnership CA of Seinhuis: enrols partners, issues, renews and revokes certificates.
#[derive(Debug, Parser)]
#[command(name = "seinhuis-certs", version)]
pub struct Cli {
    /// Flags every program takes.
    #[command(flatten)]
    pub common: Common,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// The CA folder, in every command that works in it.
#[derive(Debug, Clone, Args)]
pub struct Folder {
    /// Folder of the CA
    #[arg(long, value_name = "DIR")]
    pub dir: PathBuf,
}

/// What the tool can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a new partnership CA in a new folder
    Init {
        /// Where.
        #[command(flatten)]
        folder: Folder,
        /// Name of the partnership
        #[arg(long)]
        name: String,
        /// Days a revocation list counts
        #[arg(long, default_value_t = CRL_DAYS_DEFAULT)]
        crl_days: u16,
    },
    /// Show who asks for what in an enrolment request, with the fingerprint to compare by telephone
    ShowRequest {
        /// The request (- for standard input)
        request: PathBuf,
    },
    /// Issue a certificate after comparing the fingerprint with the applicant
    Issue {
        /// What is common to issue and renew.
        #[command(flatten)]
        issue: IssueArgs,
        /// The fingerprint as the applicant read it out
        #[arg(long)]
        fingerprint: String,
    },
    /// Issue a certificate to a node already enrolled, recognised by its signing key
    Renew {
        /// What is common to issue and renew.
        #[command(flatten)]
        issue: IssueArgs,
    },
    /// Revoke certificates and make a new revocation list
    Revoke {
        /// Where.
        #[command(flatten)]
        folder: Folder,
        /// Which.
        #[command(flatten)]
        which: Which,
        /// Why
        #[arg(long, value_enum)]
        reason: Reason,
    },
    /// Make a new revocation list, before the old one ends
    Crl {
        /// Where.
        #[command(flatten)]
        folder: Folder,
        /// Days revocation lists count from now on
        #[arg(long)]
        days: Option<u16>,
        /// Also write the list to this file
        #[arg(long, value_name = "FILE")]
        out: Option<PathBuf>,
    },
    /// Renew certificates over the network, for nodes that have one: docs/certificates.md. The CA's key is then on a
    /// machine that others can reach
    Serve {
        /// Where.
        #[command(flatten)]
        folder: Folder,
        /// The TCP address to listen on
        #[arg(long)]
        listen: SocketAddr,
        /// The names and addresses nodes reach it at
        #[arg(long = "host", required = true)]
        hosts: Vec<String>,
        /// Days a renewed certificate lasts
        #[arg(long, default_value_t = DAYS_DEFAULT)]
        days: u16,
        /// Write the address really listened on to this file, once it is
        #[arg(long, value_name = "FILE")]
        address_file: Option<PathBuf>,
    },
    /// Seal the CA's private key with a passphrase: docs/certificates.md
    Seal {
        /// Where.
        #[command(flatten)]
        folder: Folder,
    },
    /// Take the passphrase off the CA's key again
    Unseal {
        /// Where.
        #[command(flatten)]
        folder: Folder,
    },
    /// List all certificates
    List {
        /// Where.
        #[command(flatten)]
        folder: Folder,
    },
    /// Report what ends soon: certificates, revocation list, the CA; exit code 1 if anything does
    Expiry {
        /// Where.
        #[command(flatten)]
        folder: Folder,
        /// How many days ahead to look; for the revocation list at most 7
        #[arg(long, default_value_t = 21, value_name = "DAYS")]
        within: u16,
    },
}

/// The arguments of issue and renew.
#[derive(Debug, Args)]
pub struct IssueArgs {
    /// Where.
    #[command(flatten)]
    pub folder: Folder,
    /// The request (- for standard input)
    pub request: PathBuf,
    /// File to write for the applicant
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Days the certificate lasts
    #[arg(long, default_value_t = DAYS_DEFAULT)]
    pub days: u16,
}

/// Which certificates: exactly one of the two.
#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub struct Which {
    /// All certificates of this organisation
    #[arg(long)]
    pub oin: Option<Oin>,
    /// The certificate with this serial number
    #[arg(long)]
    pub serial: Option<String>,
}

/// Parses and runs; `args` begin with the program's name.
pub fn run_at(args: impl IntoIterator<Item = OsString>, now: Timestamp) -> ExitCode {
    cli::main::<Cli>(args, |cli| cli.common.clone(), |cli, ui| execute(cli.command, ui, now))
}

/// Runs one command.
///
/// # Errors
/// The sentence for the user, with the exit code in it.
pub fn execute(command: Command, ui: Ui, now: Timestamp) -> Result<Outcome, Complaint> {
    match command {
        Command::Init { folder, name, crl_days } => init(&folder.dir, &name, crl_days, ui, now),
        Command::ShowRequest { request } => show_request(&request, ui, now),
        Command::Issue { issue, fingerprint } => {
            let (mut ca, proved) = prepare(&issue, now)?;
            let confirmed = proved.confirm(&fingerprint)?;
            finish(&mut ca, &confirmed, &issue, ui, now)
        }
        Command::Renew { issue } => {
            let (mut ca, proved) = prepare(&issue, now)?;
            let confirmed = ca.recognise(proved)?;
            finish(&mut ca, &confirmed, &issue, ui, now)
        }
        Command::Revoke { folder, which, reason } => revoke(&folder.dir, which, reason, ui, now),
        Command::Crl { folder, days, out } => crl(&folder.dir, days, out.as_deref(), ui, now),
        Command::Serve { folder, listen, hosts, days, address_file } => {
            serve(&folder.dir, listen, hosts, days, address_file.as_deref(), ui)
        }
        Command::Seal { folder } => sealing::seal_folder(&folder.dir, ui),
        Command::Unseal { folder } => sealing::unseal_folder(&folder.dir, ui),
        Command::List { folder } => {
            let ca = Authority::open(&folder.dir)?;
            let (text, value) = report::list(ca.ledger(), ui, now);
            ui.answer(&text, &value);
            Ok(Outcome::Done)
        }
        Command::Expiry { folder, within } => {
            let ca = Authority::open(&folder.dir)?;
            let ends = report::ends(&ca, now)?;
            let (text, value, any) = report::expiry(&ends, within, ui, now);
            ui.answer(&text, &value);
            Ok(if any { Outcome::No } else { Outcome::Done })
        }
    }
}

fn init(dir: &Path, name: &str, crl_days: u16, ui: Ui, now: Timestamp) -> Result<Outcome, Complaint> {
    let ca = Authority::init(dir, name, crl_days, now)?;
    let print = fingerprint(ca.ca_pem().as_bytes());
    let (at, end) = (dir.display(), ca.ca_end());
    ui.answer(
        &Text::new(
            format!("CA van {name} gemaakt in {at}, geldig tot {end}. Vingerafdruk van ca.pem: {print}\nMaak nu een reservekopie van de map op een plaats waar alleen u bij kunt."),
            format!("CA of {name} made in {at}, valid until {end}. Fingerprint of ca.pem: {print}\nMake a backup of the folder now, in a place only you can reach."),
        ),
        &json!({ "name": name, "not_after": end.to_string(), "fingerprint": print }),
    );
    Ok(Outcome::Done)
}

fn read_request(path: &Path, now: Timestamp) -> Result<Proved, Complaint> {
    let bytes = files::read_or_stdin(path, REQUEST_MAX)?;
    Proved::read(&bytes, now).map_err(|error| error.about(&path.display().to_string()))
}

fn show_request(path: &Path, ui: Ui, now: Timestamp) -> Result<Outcome, Complaint> {
    let proved = read_request(path, now)?;
    let request = proved.request();
    let kind = Kind::from(request.kind);
    let show = |lang: Lang| {
        let mut rows = vec![
            (lang.pick("soort", "kind"), kind.to_string()),
            ("OIN", request.oin.to_string()),
            (lang.pick("naam", "name"), request.name.clone()),
            (lang.pick("gemaakt", "made"), request.issued.to_string()),
            (lang.pick("ondertekensleutel", "signing key"), proved.signing_key().to_string()),
            (lang.pick("vingerafdruk", "fingerprint"), proved.fingerprint().to_owned()),
        ];
        if request.kind == NodeKind::Broker {
            rows.push(("hosts", request.hosts.join(", ")));
        }
        let next = lang.pick(
            "Bel de aanvrager op een bekend nummer, laat de vingerafdruk voorlezen en geef die aan issue.",
            "Call the applicant at a known number, have the fingerprint read out and give it to issue.",
        );
        format!("{}\n{next}", aligned(&rows))
    };
    ui.answer(
        &Text::new(show(Lang::Nl), show(Lang::En)),
        &json!({
            "kind": kind, "oin": request.oin, "name": request.name, "hosts": request.hosts,
            "issued": request.issued.to_string(), "signing_key": proved.signing_key().to_string(),
            "fingerprint": proved.fingerprint(),
        }),
    );
    Ok(Outcome::Done)
}

/// Everything that can be refused without having signed anything.
fn prepare(args: &IssueArgs, now: Timestamp) -> Result<(Authority, Proved), Complaint> {
    if args.out.exists() {
        let error = std::io::Error::from(std::io::ErrorKind::AlreadyExists);
        return Err(Complaint::io(seinhuis_shell::complaint::Doing::Write, &args.out, &error));
    }
    let ca = Authority::open(&args.folder.dir)?;
    let proved = read_request(&args.request, now)?;
    Ok((ca, proved))
}

fn finish(
    ca: &mut Authority,
    confirmed: &Confirmed,
    args: &IssueArgs,
    ui: Ui,
    now: Timestamp,
) -> Result<Outcome, Complaint> {
    let Issued { grant, copy, serial, shortened } = ca.issue(confirmed, args.days, now)?;
    let bytes = grant.to_bytes();
    files::write(&args.out, &bytes, Existing::Keep).map_err(|error| {
        let copy = copy.display();
        error.advise(Text::new(
            format!("Het certificaat is wel uitgegeven: geef de aanvrager {copy}."),
            format!("The certificate has been issued all the same: give the applicant {copy}."),
        ))
    })?;
    let (print, out) = (fingerprint(&bytes), args.out.display().to_string());
    let (name, kind, end) = (&grant.name, grant.kind, grant.not_after);
    let short =
        if shortened { (" (korter: de CA eindigt dan)", " (shortened: the CA ends then)") } else { ("", "") };
    ui.answer(
        &Text::new(
            format!("Certificaat {serial} voor {name} ({kind}) staat in {out}, geldig tot {end}{}.\nVingerafdruk van het bestand, voor de ontvanger: {print}", short.0),
            format!("Certificate {serial} for {name} ({kind}) is in {out}, valid until {end}{}.\nFingerprint of the file, for whoever receives it: {print}", short.1),
        ),
        &json!({
            "serial": serial, "oin": grant.oin, "kind": kind, "out": out, "not_after": end.to_string(),
            "fingerprint": print, "shortened": shortened,
        }),
    );
    Ok(Outcome::Done)
}

fn revoke(dir: &Path, which: Which, reason: Reason, ui: Ui, now: Timestamp) -> Result<Outcome, Complaint> {
    let mut ca = Authority::open(dir)?;
    let target = match (which.oin, which.serial) {
        (Some(oin), _) => Target::Oin(oin),
        (None, serial) => Target::Serial(serial.unwrap_or_default().to_ascii_lowercase()),
    };
    let serials = ca.revoke(&target, reason, now)?;
    let (list, crl, end) = (serials.join(", "), dir.join("crl.pem"), ca.crl_end()?);
    ui.answer(
        &Text::new(
            format!("Ingetrokken ({reason}): {list}.\nGeef {} nu aan de broker en de partners; die lijst geldt tot {end}.", crl.display()),
            format!("Revoked ({reason}): {list}.\nGive {} to the broker and the partners now; that list counts until {end}.", crl.display()),
        ),
        &json!({ "revoked": serials, "reason": reason, "crl": crl, "crl_not_after": end.to_string() }),
    );
    Ok(Outcome::Done)
}

fn crl(
    dir: &Path,
    days: Option<u16>,
    out: Option<&Path>,
    ui: Ui,
    now: Timestamp,
) -> Result<Outcome, Complaint> {
    let mut ca = Authority::open(dir)?;
    ca.refresh_crl(days, now)?;
    if let Some(out) = out {
        files::write(out, ca.crl_pem()?.as_bytes(), Existing::Replace)?;
    }
    let path = out.map_or_else(|| dir.join("crl.pem"), Path::to_path_buf);
    let (end, number) = (ca.crl_end()?, ca.ledger().crl_number);
    ui.answer(
        &Text::new(
            format!("Intrekkingslijst {number} staat in {} en geldt tot {end}. Geef haar aan de broker en de partners.", path.display()),
            format!("Revocation list {number} is in {} and counts until {end}. Give it to the broker and the partners.", path.display()),
        ),
        &json!({ "crl": path, "number": number, "not_after": end.to_string() }),
    );
    Ok(Outcome::Done)
}

fn serve(
    dir: &Path,
    listen: SocketAddr,
    hosts: Vec<String>,
    days: u16,
    address_file: Option<&Path>,
    ui: Ui,
) -> Result<Outcome, Complaint> {
    cli::start_log("info", false)?;
    check_days(days, DAYS_MAX)?;
    let runtime = cli::runtime()?;
    runtime.block_on(async {
        let renewals = Renewals::bind(dir, listen, hosts, days).await?;
        let address = renewals.address().map_err(|error| Complaint::bug(error.to_string()))?;
        if let Some(path) = address_file {
            files::write(path, address.to_string().as_bytes(), Existing::Replace)?;
        }
        ui.answer(
            &Text::new(
                format!("Certificaten worden vernieuwd op {address} (TCP, TLS)."),
                format!("Certificates are renewed at {address} (TCP, TLS)."),
            ),
            &json!({ "listening": address.to_string() }),
        );
        renewals.run(cli::asked_to_stop()).await;
        Ok(Outcome::Done)
    })
}
