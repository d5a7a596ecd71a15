//! The Debian packages and their units, and the container file: what they hold, how they are confined, and that they never
//! take keys or store away.
//!
//! Packages are made of the test's own program under three names. They need Debian's tools, systemd's (no running systemd)
//! and root; where one is missing that is said and they are passed over, unless `SEINHUIS_PACKAGING_REQUIRED` is set.
#![cfg(test)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;

use seinhuis_tests::stage::{PATIENCE, text};
use seinhuis_tests::torture::inject::STRACE;
use seinhuis_tests::{Need, Programs, Stage, process};
use tempfile::TempDir;

const PACKAGING: Need = Need { required: "SEINHUIS_PACKAGING_REQUIRED", missing: without_tools };
const NODE: &str = env!("CARGO_BIN_EXE_seinhuis-node");
const PACKAGES: [&str; 3] = ["seinhuis-broker", "seinhuis-agent", "seinhuis-certs"];
const UNITS: [&str; 3] = ["seinhuis-broker.service", "seinhuis-agent.service", "seinhuis-agent@.service"];
const VERSION: &str = "0.1.0~test";

fn without_tools() -> Option<String> {
    const TOOLS: [&str; 7] = [
        "dpkg",
        "dpkg-deb",
        "dpkg-shlibdeps",
        "strip",
        "systemd-analyze",
        "systemd-sysusers",
        "systemd-tmpfiles",
    ];
    let there =
        |tool: &&&str| Command::new(tool).arg("--version").output().is_ok_and(|said| said.status.success());
    let missing: Vec<&str> = TOOLS.iter().filter(|tool| !there(tool)).copied().collect();
    if !missing.is_empty() {
        return Some(format!("packages cannot be made and tried here without {}", missing.join(", ")));
    }
    let root = rustix::process::geteuid().is_root();
    (!root).then(|| "packages cannot be installed here: this is not root".to_owned())
}

fn tree() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// What a command said; it has to do what it is for.
fn done(command: &mut Command) -> String {
    let Output { status, stdout, stderr } = command.output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{command:?}: {said}");
    said
}

/// Makes packages, under the names of the programs.
fn make(out: &Path, packages: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    for package in packages {
        std::os::unix::fs::symlink(NODE, dir.path().join(package)).unwrap();
        fs::write(dir.path().join(package).with_extension("txt"), "A crate and its licence.\n").unwrap();
    }
    let options = ["--quick", "--version", VERSION];
    done(
        Command::new(tree().join("packaging/deb.sh"))
            .args(options)
            .args([Path::new("--bin"), dir.path(), Path::new("--licences"), dir.path()])
            .args([Path::new("--out"), out])
            .args(packages)
            .env("SOURCE_DATE_EPOCH", "1700000000"),
    );
}

fn file(out: &Path, package: &str) -> PathBuf {
    let architecture = done(Command::new("dpkg").arg("--print-architecture"));
    out.join(format!("{package}_{VERSION}-1_{}.deb", architecture.trim()))
}

/// All packages, made once; none where this machine cannot.
fn packages() -> Option<&'static Path> {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    if !PACKAGING.is_met() {
        return None;
    }
    let made = MADE.get_or_init(|| {
        let out = Path::new(env!("CARGO_TARGET_TMPDIR")).join("packages");
        make(&out, &PACKAGES);
        out
    });
    Some(made)
}

/// What is in all packages together.
fn unpacked() -> Option<TempDir> {
    let out = packages()?;
    let root = tempfile::tempdir().unwrap();
    for package in PACKAGES {
        done(Command::new("dpkg-deb").arg("-x").arg(file(out, package)).arg(root.path()));
    }
    Some(root)
}

fn field(out: &Path, package: &str, name: &str) -> String {
    done(Command::new("dpkg-deb").arg("-f").arg(file(out, package)).arg(name)).trim().to_owned()
}

#[test]
fn a_package_holds_a_program_what_it_needs_and_nothing_that_is_written_to() {
    let Some(out) = packages() else { return };
    for package in PACKAGES {
        let list = done(Command::new("dpkg-deb").arg("-c").arg(file(out, package)));
        let mut paths = BTreeSet::new();
        for line in list.lines() {
            let mut words = line.split_whitespace();
            let (mode, owner, path) = (words.next().unwrap(), words.next().unwrap(), words.nth(3).unwrap());
            assert_eq!(owner, "root/root", "{line}");
            let program = path == format!("./usr/bin/{package}");
            let wanted = if path.ends_with('/') { "drwxr-xr-x" } else { "-rw-r--r--" };
            assert_eq!(mode, if program { "-rwxr-xr-x" } else { wanted }, "{line}");
            assert!(path == "./" || path.starts_with("./usr/"), "state and settings are not packed: {line}");
            paths.insert(path.trim_start_matches('.').to_owned());
        }
        let doc = format!("/usr/share/doc/{package}");
        let mut wanted: Vec<String> =
            ["copyright", "changelog.gz", "changelog.Debian.gz", "third-party.txt.gz", "docs/install.md"]
                .iter()
                .chain(&["docs/certificates.md", "examples/covenants/model.toml"])
                .map(|name| format!("{doc}/{name}"))
                .collect();
        wanted.push(format!("/usr/bin/{package}"));
        if package != "seinhuis-certs" {
            wanted.extend([format!("{doc}/examples/complete.toml"), format!("{doc}/examples/basic.toml")]);
            wanted.push(format!("{doc}/examples/systemd/passphrase.conf"));
            wanted.push(format!("/usr/lib/sysusers.d/{package}.conf"));
            wanted.push(format!("/usr/lib/tmpfiles.d/{package}.conf"));
            wanted.push(format!("/usr/lib/systemd/system/{package}.service"));
        }
        if package == "seinhuis-broker" {
            wanted.push(format!("{doc}/examples/monitoring/alerts.yml"));
        }
        for path in wanted {
            assert!(paths.contains(&path), "{package} lacks {path}");
        }
        let depends = field(out, package, "Depends");
        assert!(depends.contains("libc6 (>= "), "{package}: {depends}");
        assert_eq!(depends.contains("systemd"), package != "seinhuis-certs", "{package}: {depends}");
        assert_eq!(field(out, package, "Homepage"), "");
    }
    let root = unpacked().unwrap();
    for package in PACKAGES {
        let copyright = root.path().join("usr/share/doc").join(package).join("copyright");
        let copyright = fs::read_to_string(copyright).unwrap();
        assert!(copyright.starts_with("Format: "), "{copyright}");
        assert!(copyright.contains("EUROPEAN UNION PUBLIC LICENCE"), "the whole text");
        let rest = copyright.lines().skip_while(|line| !line.starts_with("License:")).skip(1);
        assert!(rest.into_iter().all(|line| line.starts_with(' ')), "a line that ends the field");
        let role = package.trim_start_matches("seinhuis-");
        done(Command::new(root.path().join("usr/bin").join(package)).args([role, "--version"]));
    }
}

/// What a member of the workspace is linked with, by its manifest; not what is the workspace's own.
fn dependencies(member: &str) -> Vec<String> {
    let manifest = fs::read_to_string(tree().join(member).join("Cargo.toml")).unwrap();
    let lines = manifest.lines().skip_while(|line| *line != "[dependencies]").skip(1);
    let names =
        lines.take_while(|line| !line.starts_with('[')).filter_map(|line| line.split_once(['.', ' ']));
    names.map(|(name, _)| name.to_owned()).filter(|name| !name.starts_with("seinhuis-")).collect()
}

#[test]
fn what_is_linked_in_is_named_with_its_licence() {
    let said =
        done(Command::new(tree().join("packaging/licences.sh")).arg("seinhuis-agent").current_dir(tree()));
    let (list, texts) = said.split_once("\n=== ").unwrap();
    let mut named = dependencies("agent");
    named.extend(dependencies("shell"));
    // Of dependencies of theirs.
    named.extend(["aws-lc-sys", "sled", "rustls-webpki"].map(str::to_owned));
    assert!(named.len() > 30, "{named:?}");
    for name in named {
        let row = list.lines().find(|line| line.split(' ').next() == Some(&name));
        let row = row.unwrap_or_else(|| panic!("{name} is not named"));
        assert!(row.split(' ').count() > 2, "without a licence: {row}");
    }
    assert!(texts.contains("Permission is hereby granted") && texts.contains("Apache License"));
}

#[test]
fn the_same_programs_give_the_same_packages() {
    let Some(out) = packages() else { return };
    let again = tempfile::tempdir().unwrap();
    make(again.path(), &["seinhuis-agent"]);
    let read = |dir: &Path| fs::read(file(dir, "seinhuis-agent")).unwrap();
    assert!(read(out) == read(again.path()), "they differ");
}

/// Every setting of a unit, in order.
fn settings(unit: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(unit).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once('=')).map(|(name, value)| (name.into(), value.into())).collect()
}

#[test]
fn units_start_what_is_in_the_package_and_leave_alone_what_a_person_has_to_mend() {
    let Some(root) = unpacked() else { return };
    let folder = root.path().join("usr/lib/systemd/system");
    // What they refer to is of systemd itself.
    for other in ["sysinit", "basic", "shutdown", "network-online", "network", "multi-user"] {
        fs::write(folder.join(format!("{other}.target")), "[Unit]\nDescription=here\n").unwrap();
    }
    for unit in UNITS {
        let at = |name: &str| unit.replace("@.", &format!("@{name}."));
        let said = done(
            Command::new("systemd-analyze")
                .arg("verify")
                .arg("--man=no")
                .arg(format!("--root={}", root.path().display()))
                .arg(at("gemeente")),
        );
        assert_eq!(said.trim(), "", "{unit}");
        let settings = settings(&folder.join(unit));
        let of = |name: &str| -> Vec<&str> {
            settings.iter().filter(|(key, _)| key == name).map(|(_, value)| value.as_str()).collect()
        };
        let start = of("ExecStart").concat();
        let program = start.split(' ').next().unwrap();
        assert!(root.path().join(program.trim_start_matches('/')).is_file(), "{unit}: {start}");
        // The folder that is run, waited for, kept for the user alone and made writable is one.
        let home = start.split(' ').nth(2).unwrap();
        let name = home.trim_start_matches("/var/lib/");
        assert_eq!(start, format!("{program} --home {home} run"));
        assert_eq!((of("StateDirectory"), of("StateDirectoryMode")), (vec![name], vec!["0700"]), "{unit}");
        assert_eq!((of("User"), of("Group")), (vec![name], vec![name]), "{unit}");
        let config = if unit.contains("broker") { "broker.toml" } else { "agent.toml" };
        assert_eq!(of("ConditionPathExists"), [format!("{home}/{config}")], "{unit}");
        // Exit codes of shell/src/complaint.rs: what a failed flush ends with is among them.
        assert_eq!((of("Restart"), of("RestartPreventExitStatus")), (vec!["on-failure"], vec!["1 2"]));
        // What systemd does not count as exposure.
        for (knob, value) in [("LimitCORE", "0"), ("UMask", "0077"), ("SystemCallErrorNumber", "EPERM")] {
            assert_eq!(of(knob), [value], "{unit}: {knob}");
        }
    }
}

/// How exposed a unit is, at most, in tenths.
const EXPOSURE: &str = "15";
/// What is open on purpose: IP, a socket for commands, the clock's device to read that `ProtectClock` leaves, and the
/// host's own root folder, read-only.
const OPEN: [&str; 6] = [
    "DeviceAllow=",
    "IPAddressDeny=",
    "PrivateNetwork=",
    "RestrictAddressFamilies=~AF_(INET|INET6)",
    "RestrictAddressFamilies=~AF_UNIX",
    "RootDirectory=/RootImage=",
];

fn exposure(root: &Path, unit: &str) -> Output {
    Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--no-pager", "--json=short"])
        .args([format!("--threshold={EXPOSURE}"), format!("--root={}", root.display())])
        .arg(unit)
        .output()
        .unwrap()
}

#[test]
fn units_are_confined_in_all_but_what_they_are_for() {
    let Some(root) = unpacked() else { return };
    for unit in UNITS {
        let found = exposure(root.path(), unit);
        let said = String::from_utf8_lossy(&found.stdout);
        assert!(found.status.success(), "{unit}: {said}{}", String::from_utf8_lossy(&found.stderr));
        let rows: Vec<serde_json::Value> = serde_json::from_str(&said).unwrap();
        let open: BTreeSet<&str> = rows
            .iter()
            .filter(|row| row["set"] == false && !row["exposure"].is_null())
            .map(|row| row["name"].as_str().unwrap())
            .collect();
        let more: Vec<&&str> = open.iter().filter(|name| !OPEN.contains(name)).collect();
        assert!(more.is_empty(), "{unit}: {more:?}");
        // Without what deb.sh puts behind it, it is not.
        let path = root.path().join("usr/lib/systemd/system").join(unit);
        fs::copy(tree().join("packaging/systemd").join(unit), path).unwrap();
        assert!(!exposure(root.path(), unit).status.success(), "{unit}: the bound bounds nothing");
    }
}

/// systemd's names for groups of system calls, each with what is in it.
fn groups() -> BTreeMap<String, Vec<String>> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    let mut current = String::new();
    for line in done(Command::new("systemd-analyze").args(["syscall-filter", "--no-pager"])).lines() {
        let word = line.trim();
        if line.starts_with('@') {
            word.clone_into(&mut current);
        } else if line.starts_with(' ') && !word.starts_with('#') {
            groups.entry(current.clone()).or_default().push(word.to_owned());
        }
    }
    groups
}

/// The calls that a word of a filter stands for.
fn calls(word: &str, groups: &BTreeMap<String, Vec<String>>) -> BTreeSet<String> {
    match groups.get(word) {
        Some(members) => members.iter().flat_map(|member| calls(member, groups)).collect(),
        None => BTreeSet::from([word.to_owned()]),
    }
}

/// What the units allow: each line adds to the filter, or with `~` takes from it.
fn allowed() -> BTreeSet<String> {
    let groups = groups();
    let mut allowed = BTreeSet::new();
    for (name, value) in settings(&tree().join("packaging/systemd/hardening.conf")) {
        if name == "SystemCallFilter" {
            let (takes, words) = value.strip_prefix('~').map_or((false, &*value), |words| (true, words));
            let words: BTreeSet<String> =
                words.split_whitespace().flat_map(|word| calls(word, &groups)).collect();
            if takes {
                allowed.retain(|call| !words.contains(call));
            } else {
                allowed.extend(words);
            }
        }
    }
    allowed
}

/// What a process asked of the system, from the table that `strace -c` ends with; none while it is not there.
fn asked(table: &Path) -> Option<BTreeSet<String>> {
    let text = fs::read_to_string(table).unwrap();
    // A row begins with a share; strace also writes of what it was told while a thread was in a call.
    let row = |line: &str| {
        let (share, name) = (line.split_whitespace().next()?, line.split_whitespace().last()?);
        share.parse::<f64>().is_ok().then(|| name.to_owned())
    };
    let names: BTreeSet<String> = text.lines().filter_map(row).collect();
    names.contains("total").then_some(names)
}

#[test]
fn what_broker_and_agents_ask_of_the_system_their_units_allow() {
    if !PACKAGING.is_met() || !STRACE.is_met() {
        return;
    }
    let dir = tempfile::Builder::new().prefix("seinhuis-").tempdir().unwrap();
    let tables = dir.path().join("tables");
    fs::create_dir(&tables).unwrap();
    let way = dir.path().join("counted");
    let script = format!("#!/bin/sh\nexec strace -D -f -qq -c -o {}/$$ {NODE} \"$@\"\n", tables.display());
    fs::write(&way, script).unwrap();
    fs::set_permissions(&way, fs::Permissions::from_mode(0o755)).unwrap();
    let stage = Stage::set(Programs(way), dir.path(), &["gemeente", "jongerenwerk"], &mut |_| ()).unwrap();
    let mut running = vec![stage.start_broker().unwrap()];
    for member in &stage.members {
        running.push(stage.start_agent(member).unwrap());
    }
    let sample = tree().join("covenants/samples/01-F01-jongerenwerk-signaal.json");
    let args = ["push", &sample.to_string_lossy(), "--wait", "60"];
    let pushed = stage.agent(stage.member("jongerenwerk"), &args).unwrap();
    assert_eq!(text(&pushed, "state"), "accepted", "{pushed}");
    for process in running {
        assert!(process.stop(PATIENCE).unwrap().success());
    }
    let mut all = BTreeSet::new();
    for table in fs::read_dir(&tables).unwrap() {
        let table = table.unwrap().path();
        process::until("the calls are counted", PATIENCE, || asked(&table).is_some()).unwrap();
        all.extend(asked(&table).unwrap());
    }
    // Those that store and network cannot do without were seen, and those that are taken away are not allowed.
    let allowed = allowed();
    for call in ["fsync", "fdatasync"] {
        assert!(all.contains(call) && allowed.contains(call), "{call}: {all:?}");
    }
    for call in ["mount", "ptrace", "setuid", "bpf", "kexec_load", "init_module"] {
        assert!(!allowed.contains(call), "{call}");
    }
    let more: Vec<&String> = all.difference(&allowed).filter(|name| *name != "total").collect();
    assert!(more.is_empty(), "not allowed by packaging/systemd/hardening.conf: {more:?}");
}

#[test]
fn scripts_are_plain_shell() {
    let Some(out) = packages() else { return };
    for package in PACKAGES {
        let control = tempfile::tempdir().unwrap();
        done(Command::new("dpkg-deb").arg("-e").arg(file(out, package)).arg(control.path()));
        for name in ["postinst", "prerm", "postrm"] {
            let script = control.path().join(name);
            assert_eq!(script.exists(), package != "seinhuis-certs", "{package}: {name}");
            if script.exists() {
                // Debian's is dash; a script of more than POSIX shell does not pass it.
                done(Command::new("sh").arg("-n").arg(&script));
                let text = fs::read_to_string(&script).unwrap();
                assert!(text.starts_with("#!/bin/sh\n") && text.contains("\nset -e\n"), "{package}: {name}");
                assert!(!text.contains('@') || !text.contains("@PACKAGE@"), "{package}: {name}");
                assert!(!text.contains("rm -"), "{package}: {name} removes something");
            }
        }
    }
}

/// A system of its own in a folder, of which dpkg is asked.
struct System(TempDir);

impl System {
    fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        for dir in ["var/lib/dpkg/updates", "var/lib/dpkg/info", "var/log", "etc"] {
            fs::create_dir_all(root.path().join(dir)).unwrap();
        }
        for file in ["var/lib/dpkg/status", "var/lib/dpkg/available"] {
            fs::write(root.path().join(file), "").unwrap();
        }
        Self(root)
    }

    fn dpkg(&self, action: &str, what: &[PathBuf]) -> String {
        done(
            Command::new("dpkg")
                .arg(format!("--root={}", self.0.path().display()))
                .args(["--force-script-chrootless", "--force-depends", action])
                .args(what),
        )
    }

    fn home(&self, package: &str) -> PathBuf {
        self.0.path().join("var/lib").join(package)
    }
}

/// A program by hand: what it says, and how it ends.
fn by_hand(user: u32, role: &str, home: &Path, args: &[&str]) -> (String, Option<i32>) {
    let mut command = Command::new(NODE);
    command.arg(role).arg("--home").arg(home).args(args).env("SEINHUIS_LANG", "en").uid(user).gid(user);
    let Output { status, stdout, stderr } = command.current_dir("/").output().unwrap();
    let said = format!("{}{}", String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    (said, status.code())
}

#[test]
fn keys_and_store_outlive_upgrade_removal_and_purge_and_belong_to_the_user_of_the_service() {
    let Some(out) = packages() else { return };
    let system = System::new();
    // The test's folder is for root alone; the service's user has to get through it.
    fs::set_permissions(system.0.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let services = [("seinhuis-agent", "agent"), ("seinhuis-broker", "broker")];
    let files: Vec<PathBuf> = services.iter().map(|(package, _)| file(out, package)).collect();
    system.dpkg("--install", &files);
    let init = |role: &str| -> Vec<&str> {
        let more = if role == "broker" { &["--advertise", "localhost:7443"][..] } else { &[] };
        [&["init", "--oin", "00000099000000001000", "--name", "Proef"], more].concat()
    };
    for (package, role) in services {
        let home = system.home(package);
        let made = fs::metadata(&home).unwrap();
        assert_eq!(made.permissions().mode() & 0o7777, 0o700, "{package}");
        assert_ne!(made.uid(), 0, "{package}");
        // As root everything would be made, and be out of the service's reach.
        for args in [&init(role)[..], &["status"]] {
            let (said, code) = by_hand(0, role, &home, args);
            assert_eq!(code, Some(2), "{said}");
            assert!(said.contains("belongs to the user") && said.contains("sudo -u '"), "{said}");
        }
        let (said, code) = by_hand(0, role, &home, &["doctor"]);
        assert!(code == Some(1) && said.contains("sudo -u '") && said.lines().count() == 2, "{said}");
        assert_eq!(fs::read_dir(&home).unwrap().count(), 0, "{package}: something was made as root");
        let (said, code) = by_hand(made.uid(), role, &home, &init(role));
        assert_eq!(code, Some(0), "{said}");
    }
    let key = |package| fs::read(system.home(package).join("keys/signing.key")).unwrap();
    let before = services.map(|(package, _)| key(package));
    system.dpkg("--install", &files);
    assert!(before == services.map(|(package, _)| key(package)), "an upgrade changed keys");
    let names = services.map(|(package, _)| PathBuf::from(package));
    system.dpkg("--remove", &names);
    assert!(!system.0.path().join("usr/bin/seinhuis-agent").exists());
    assert!(before == services.map(|(package, _)| key(package)), "a removal changed keys");
    let said = system.dpkg("--purge", &names);
    assert!(before == services.map(|(package, _)| key(package)), "a purge changed keys");
    for (package, _) in services {
        let home = system.home(package).display().to_string();
        assert!(said.contains(&format!("Keys and store were not removed: {home}")), "{said}");
    }
}

/// The instructions of the container file, each on one line.
fn instructions() -> Vec<(String, String)> {
    let text = fs::read_to_string(tree().join("packaging/Containerfile")).unwrap().replace("\\\n", " ");
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| line.split_once(' ').unwrap()).map(|(word, rest)| (word.into(), rest.into())).collect()
}

#[test]
fn the_container_file_copies_what_is_there_and_runs_as_nobody_special() {
    let all = instructions();
    let of = |word: &str| -> Vec<&str> {
        all.iter().filter(|(one, _)| one == word).map(|(_, rest)| rest.as_str()).collect()
    };
    for copy in of("COPY") {
        let words: Vec<&str> = copy.split_whitespace().filter(|word| !word.starts_with("--chmod")).collect();
        let (_, sources) = words.split_last().unwrap();
        if sources[0].starts_with("--from=") {
            // Out of the build: a program that this workspace makes.
            let program = sources[1].rsplit('/').next().unwrap();
            assert!(PACKAGES.contains(&program), "{copy}");
        } else {
            for source in sources {
                assert!(tree().join(source).exists(), "COPY {source}: not in the tree");
            }
        }
    }
    let manifest = fs::read_to_string(tree().join("Cargo.toml")).unwrap();
    let rust = manifest.lines().find_map(|line| line.strip_prefix("rust-version = \"")).unwrap();
    let rust = rust.trim_end_matches('"');
    assert!(of("FROM")[0].contains(&format!("rust:{rust}")), "built with another Rust than {rust}");
    // Every member of the workspace is needed to build any, and every folder a build script or `include_str!` reads.
    let copied: BTreeSet<&str> = of("COPY").into_iter().flat_map(str::split_whitespace).collect();
    for member in manifest.lines().filter_map(|line| line.trim().strip_suffix("\",")?.strip_prefix('"')) {
        let top = member.split('/').next().unwrap();
        assert!(copied.contains(top) || copied.contains("."), "{member} is not copied");
    }
    for (stage, role) in [("broker", "broker"), ("agent", "agent")] {
        let from =
            all.iter().position(|(word, rest)| word == "FROM" && rest.ends_with(&format!("AS {stage}")));
        let rest = all.iter().skip(from.unwrap() + 1).take_while(|(word, _)| word != "FROM");
        let stage: Vec<&(String, String)> = rest.collect();
        let value = |word: &str| {
            stage.iter().find(|(one, _)| one == word).map(|(_, rest)| rest.as_str()).unwrap_or_default()
        };
        let uid: u32 = value("USER").split(':').next().unwrap().parse().unwrap();
        assert_ne!(uid, 0);
        let start: Vec<String> = serde_json::from_str(value("ENTRYPOINT")).unwrap();
        assert_eq!(start, [format!("/usr/bin/seinhuis-{role}")]);
        let check = value("HEALTHCHECK").split_once("CMD ").unwrap().1;
        let check: Vec<String> = serde_json::from_str(check).unwrap();
        assert_eq!(check, [format!("/usr/bin/seinhuis-{role}"), "status".into()], "no shell is needed");
        let home = value("ENV").split_once('=').unwrap().1;
        let volume: Vec<String> = serde_json::from_str(value("VOLUME")).unwrap();
        assert_eq!(volume, [home], "what is kept is in the volume");
    }
}
