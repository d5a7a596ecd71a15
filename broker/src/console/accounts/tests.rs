use super::*;

const NOW: Timestamp = Timestamp(1_800_000_000_000);

struct Desk {
    _dir: tempfile::TempDir,
    accounts: Accounts,
    secrets: Secrets,
}

/// As [`SignIn`], without what is another in each test.
#[derive(Debug, PartialEq, Eq)]
enum Came {
    In(Role),
    Wrong,
    Locked(Timestamp),
}

impl Desk {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let accounts = Accounts::new(&dir.path().join("operators.json"));
        let secrets = accounts.set("Anna", Some(Role::Auditor), NOW).unwrap();
        Self { _dir: dir, accounts, secrets }
    }

    fn code(&self, at: Timestamp) -> String {
        totp(&self.secrets.secret).unwrap().generate(at.0 / 1000).to_string()
    }

    fn give(&self, name: &str, password: &str, code: &str, at: Timestamp) -> Came {
        self.try_with(&Given { name, password, code, once_alone: false }, at)
    }

    fn try_with(&self, given: &Given<'_>, at: Timestamp) -> Came {
        match self.accounts.sign_in(given, at).unwrap() {
            SignIn::In(signed) => {
                assert_eq!(self.accounts.still(&signed.name, &signed.mark), Some(signed.role));
                Came::In(signed.role)
            }
            SignIn::Wrong => Came::Wrong,
            SignIn::Locked(until) => Came::Locked(until),
        }
    }
}

#[test]
fn name_password_and_code_together_let_in_and_a_code_counts_once() {
    let desk = Desk::new();
    let (password, code) = (desk.secrets.password.clone(), desk.code(NOW));
    assert_eq!(desk.give("anna", &password, &code, NOW), Came::In(Role::Auditor));
    assert_eq!(desk.give("Anna", &password, &code, NOW), Came::Wrong, "the same code again");
    let later = NOW.plus(Span::minutes(1));
    assert_eq!(desk.give("Anna", &password, &desk.code(later), later), Came::In(Role::Auditor));
    assert_eq!(desk.give("Anna", &password, &code, later), Came::Wrong, "an older one");
    let other = Desk::new();
    let code = other.code(NOW);
    for (name, password, code) in [
        ("Anna", "wrong", code.as_str()),
        ("Anna", &other.secrets.password, ""),
        ("Anna", &other.secrets.password, "000000x"),
        ("Bert", &other.secrets.password, code.as_str()),
        ("", "", ""),
    ] {
        assert_eq!(other.give(name, password, code, NOW), Came::Wrong, "{name} {code}");
    }
}

#[test]
fn the_codes_are_those_of_rfc_6238() {
    // Appendix B, SHA-1, the last six of eight digits.
    let secret = BASE32_NOPAD.encode(b"12345678901234567890");
    for (at, code) in [(59, "287082"), (1_111_111_109, "081804"), (20_000_000_000, "353130")] {
        assert_eq!(totp(&secret).unwrap().generate(at).to_string(), code);
    }
}

#[test]
fn who_guesses_codes_waits_and_nobody_else_makes_an_account_wait() {
    let desk = Desk::new();
    let (password, code) = (desk.secrets.password.clone(), desk.code(NOW));
    for _ in 0..3 * WRONG_MAX {
        assert_eq!(desk.give("Anna", "wrong", "000000", NOW), Came::Wrong);
    }
    let earlier = NOW.minus(Span::minutes(2));
    assert_eq!(desk.give("Anna", &password, &desk.code(earlier), earlier), Came::In(Role::Auditor));
    for _ in 0..WRONG_MAX {
        assert_eq!(desk.give("Anna", &password, "x", NOW), Came::Wrong);
    }
    assert_eq!(desk.give("ANNA", &password, &code, NOW), Came::Locked(NOW.plus(LOCKED)));
    assert_eq!(desk.give("Anna", "wrong", &code, NOW), Came::Wrong, "strangers do not hear of it");
    let once = desk.accounts.once("Anna", NOW).unwrap();
    assert_eq!(desk.give("Anna", &once, "", NOW), Came::In(Role::Auditor), "there is always a way in");
    let later = NOW.plus(LOCKED);
    assert_eq!(desk.give("Anna", &password, &desk.code(later), later), Came::In(Role::Auditor));
}

#[test]
fn a_clock_that_was_set_back_and_new_secrets_end_the_waiting() {
    let desk = Desk::new();
    for _ in 0..WRONG_MAX {
        desk.give("Anna", &desk.secrets.password, "x", NOW);
    }
    let before = NOW.minus(Span::hours(1));
    let password = &desk.secrets.password;
    assert_eq!(desk.give("Anna", password, &desk.code(before), before), Came::In(Role::Auditor));
    for _ in 0..WRONG_MAX {
        desk.give("Anna", password, "x", NOW);
    }
    let fresh = desk.accounts.set("Anna", None, NOW).unwrap();
    let code = totp(&fresh.secret).unwrap().generate(NOW.0 / 1000).to_string();
    assert_eq!(desk.give("Anna", &fresh.password, &code, NOW), Came::In(Role::Auditor));
}

#[test]
fn a_code_for_one_sign_in_counts_once_and_for_minutes() {
    let desk = Desk::new();
    assert!(desk.accounts.once("Bert", NOW).is_err());
    let code = desk.accounts.once("Anna", NOW).unwrap();
    assert_eq!(desk.give("Anna", &code, "", NOW.plus(ONCE)), Came::Wrong, "too late");
    assert_eq!(desk.give("Anna", &code, "", NOW), Came::In(Role::Auditor));
    assert_eq!(desk.give("Anna", &code, "", NOW), Came::Wrong, "used");
    let first = desk.accounts.once("Anna", NOW).unwrap();
    let second = desk.accounts.once("Anna", NOW).unwrap();
    assert_eq!(desk.give("Anna", &first, "", NOW), Came::Wrong, "another took its place");
    assert_eq!(desk.give("Anna", &second, "", NOW), Came::In(Role::Auditor));
}

#[test]
fn where_accounts_do_not_count_a_code_for_one_sign_in_still_does() {
    let desk = Desk::new();
    let (once, code) = (desk.accounts.once("Anna", NOW).unwrap(), desk.code(NOW));
    let give = |password, code| desk.try_with(&Given { name: "Anna", password, code, once_alone: true }, NOW);
    assert_eq!(give(&desk.secrets.password, &code), Came::Wrong);
    assert_eq!(give(&once, ""), Came::In(Role::Auditor));
    assert_eq!(desk.give("Anna", &desk.secrets.password, &code, NOW), Came::In(Role::Auditor));
}

#[test]
fn accounts_come_and_go() {
    let desk = Desk::new();
    assert!(desk.accounts.set("ANNA", Some(Role::Viewer), NOW).is_err(), "one of each name");
    for wrong in ["", " x", "a\nb", "<b>", &"x".repeat(65)] {
        assert!(desk.accounts.set(wrong, Some(Role::Viewer), NOW).is_err(), "{wrong}");
    }
    let mark = desk.accounts.all().unwrap()[0].salt.clone();
    let fresh = desk.accounts.set("anna", None, NOW).unwrap();
    assert_eq!(desk.accounts.still("Anna", &mark), None, "who was signed in is not any more");
    assert_eq!(desk.give("Anna", &desk.secrets.password, &desk.code(NOW), NOW), Came::Wrong);
    let code = totp(&fresh.secret).unwrap().generate(NOW.0 / 1000).to_string();
    assert_eq!(desk.give("Anna", &fresh.password, &code, NOW), Came::In(Role::Auditor), "its role stays");
    let mark = desk.accounts.all().unwrap()[0].salt.clone();
    assert!(fresh.uri.starts_with("otpauth://totp/Seinhuis:anna?secret="));
    desk.accounts.remove("anna").unwrap();
    assert!(desk.accounts.still("Anna", &mark).is_none() && desk.accounts.remove("Anna").is_err());
    assert!(desk.accounts.set("Anna", None, NOW).is_err());
}

#[test]
fn no_role_does_more_than_it_is_for() {
    let may = |right| Role::ALL.map(|role| role.may(right));
    assert_eq!(may(Right::Partners), [true, false, true, false]);
    assert_eq!(may(Right::Export), [true, true, false, false]);
    assert_eq!(may(Right::Flows), [true, false, false, false]);
}

#[test]
fn an_account_with_a_certificate_is_found_by_it_and_has_no_password_that_counts() {
    let desk = Desk::new();
    let [own, other] = [Digest([1; 32]), Digest([2; 32])];
    let found = |certificate| desk.accounts.of_certificate(&certificate).unwrap();
    assert_eq!(found(own), None);
    desk.accounts.set_certificate("Bert", Some(Role::Viewer), own, NOW).unwrap();
    let signed = found(own).unwrap();
    assert_eq!((signed.name.as_str(), signed.role), ("Bert", Role::Viewer));
    assert_eq!(found(other), None);
    for (password, code) in [("", ""), ("", "000000"), (own.to_string().as_str(), "")] {
        assert_eq!(desk.give("Bert", password, code, NOW), Came::Wrong, "{password}");
    }
    let once = desk.accounts.once("Bert", NOW).unwrap();
    assert_eq!(desk.give("Bert", &once, "", NOW), Came::In(Role::Viewer), "there is always a way in");
    assert!(
        desk.accounts.set_certificate("Bert", Some(Role::Viewer), other, NOW).is_err(),
        "one of each name"
    );
    assert!(
        desk.accounts.set_certificate("Anna", None, own, NOW).is_err(),
        "a certificate is of one account"
    );
    assert!(desk.accounts.set_certificate("Carla", None, other, NOW).is_err(), "there is no such account");

    desk.accounts.set_certificate("bert", None, other, NOW).unwrap();
    assert_eq!(desk.accounts.still("Bert", &signed.mark), None, "who was signed in is not any more");
    assert_eq!(found(own), None);
    assert_eq!(found(other).unwrap().role, Role::Viewer, "its role stays");
    // And from one way to the other.
    desk.accounts.set_certificate("Anna", None, own, NOW).unwrap();
    assert_eq!(desk.give("Anna", &desk.secrets.password, &desk.code(NOW), NOW), Came::Wrong);
    let fresh = desk.accounts.set("Bert", None, NOW).unwrap();
    assert_eq!(found(other), None);
    let code = totp(&fresh.secret).unwrap().generate(NOW.0 / 1000).to_string();
    assert_eq!(desk.give("Bert", &fresh.password, &code, NOW), Came::In(Role::Viewer));
    desk.accounts.remove("Anna").unwrap();
    assert_eq!(found(own), None);
}
