use std::collections::VecDeque;

use seinhuis_shared::signing::sha256;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::super::token::tests::{NOW, Signer};
use super::*;

const BACK: &str = "http://127.0.0.1:7490/sign-in/back";

/// Answers at a path, in their order.
type Answers = (&'static str, VecDeque<String>);

/// A provider that answers as it is told, and keeps what it was asked.
#[derive(Clone)]
struct Fake {
    issuer: String,
    /// Answers in place of the usual ones, by path, in their order.
    answers: Arc<Mutex<Vec<Answers>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

fn ok(body: &Value) -> String {
    let body = body.to_string();
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

fn status(line: &str, body: &str) -> String {
    format!("HTTP/1.1 {line}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}", body.len())
}

impl Fake {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let issuer = format!("http://{}", listener.local_addr().unwrap());
        let fake = Self { issuer, answers: Arc::default(), asked: Arc::default() };
        let served = fake.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let mut request = Vec::new();
                let mut buffer = [0; 16 * 1024];
                while !is_whole(&request) {
                    let read = stream.read(&mut buffer).await.unwrap();
                    request.extend_from_slice(&buffer[..read]);
                }
                let answer = served.answer(&String::from_utf8(request).unwrap());
                stream.write_all(answer.as_bytes()).await.unwrap();
            }
        });
        fake
    }

    /// From then on it answers these at a path; the last of them for good.
    fn says(&self, path: &'static str, answers: impl IntoIterator<Item = String>) {
        let mut all = self.answers.lock().unwrap();
        all.retain(|(own, _)| *own != path);
        all.push((path, answers.into_iter().collect()));
    }

    fn answer(&self, request: &str) -> String {
        self.asked.lock().unwrap().push(request.to_owned());
        let path = request.split(' ').nth(1).unwrap_or_default();
        let mut all = self.answers.lock().unwrap();
        let Some((_, answers)) = all.iter_mut().find(|(own, _)| *own == path) else {
            return if path == "/.well-known/openid-configuration" {
                ok(&self.document())
            } else {
                status("404 x", "")
            };
        };
        if answers.len() > 1 { answers.pop_front().unwrap() } else { answers.front().unwrap().clone() }
    }

    fn document(&self) -> Value {
        let place = |path: &str| format!("{}{path}", self.issuer);
        json!({
            "issuer": self.issuer, "authorization_endpoint": place("/authorize"), "token_endpoint": place("/token"),
            "jwks_uri": place("/keys"), "grant_types_supported": ["authorization_code"],
        })
    }

    fn asked(&self, path: &str) -> Vec<String> {
        let all = self.asked.lock().unwrap();
        all.iter().filter(|one| one.split(' ').nth(1) == Some(path)).cloned().collect()
    }

    fn provider(&self, change: impl FnOnce(&mut Settings)) -> Provider {
        let mut settings = Settings {
            issuer: self.issuer.clone(),
            client_id: "sein huis".into(),
            roles: [("beheer".to_owned(), Role::Operator), ("lezen".to_owned(), Role::Viewer)].into(),
            ..Settings::default()
        };
        change(&mut settings);
        Provider::open(Path::new("/nowhere"), &settings).unwrap().unwrap()
    }

    fn claims(&self, nonce: &str) -> Value {
        let seconds = NOW.0 / 1000;
        json!({
            "iss": self.issuer, "sub": "24400320", "aud": "sein huis", "nonce": nonce, "iat": seconds,
            "exp": seconds + 300, "roles": ["x", "lezen", "beheer"], "preferred_username": "anna",
        })
    }

    fn has_keys(&self, keys: &[&Signer]) {
        self.says("/keys", [ok(&json!({ "keys": keys.iter().map(|key| key.jwk()).collect::<Vec<_>>() }))]);
    }
}

fn is_whole(request: &[u8]) -> bool {
    let text = String::from_utf8_lossy(request);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length =
        head.lines().find_map(|line| line.to_lowercase().strip_prefix("content-length: ").map(str::to_owned));
    body.len() >= length.map_or(0, |length| length.parse().unwrap())
}

/// A sign-in that began: what is in the cookie, and what the address at the provider asks.
struct Way {
    cookie: Zeroizing<String>,
    asked: Vec<(String, String)>,
}

impl Way {
    async fn begin(provider: &Provider) -> Self {
        let (address, cookie) = provider.begin(BACK, Lang::En, NOW).await.unwrap();
        let (_, query) = address.split_once('?').unwrap();
        let asked = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        Self { cookie, asked }
    }

    fn get(&self, name: &str) -> String {
        self.asked.iter().find(|(own, _)| own == name).map(|(_, value)| value.clone()).unwrap_or_default()
    }

    fn brought(&self) -> Brought {
        Brought { state: self.get("state"), code: Zeroizing::new("c0de".into()), ..Brought::default() }
    }

    async fn end(&self, provider: &Provider) -> Result<(Person, Lang), Failed> {
        provider.end(&self.cookie, &self.brought(), NOW).await
    }
}

/// What comes of a sign-in of which the token is as this makes it.
async fn signed(
    fake: &Fake,
    provider: &Provider,
    make: impl FnOnce(Value) -> String,
) -> Result<Person, Failed> {
    let way = Way::begin(provider).await;
    fake.says(
        "/token",
        [ok(&json!({ "id_token": make(fake.claims(&way.get("nonce"))), "access_token": "x" }))],
    );
    way.end(provider).await.map(|(person, _)| person)
}

#[tokio::test]
async fn a_sign_in_asks_for_a_code_and_redeems_it_once() {
    let (fake, signer) = (Fake::start().await, Signer::new("a"));
    fake.has_keys(&[&signer]);
    let provider = fake.provider(|_| ());
    let way = Way::begin(&provider).await;
    for (name, value) in [
        ("response_type", "code"),
        ("client_id", "sein huis"),
        ("redirect_uri", BACK),
        ("scope", SCOPE),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(way.get(name), value, "{name}");
    }
    fake.says("/token", [ok(&json!({ "id_token": signer.sign(&fake.claims(&way.get("nonce"))) }))]);
    let (person, lang) = way.end(&provider).await.unwrap();
    let id = format!("{}\n24400320", fake.issuer);
    assert_eq!(person, Person { id, name: "anna (127.0.0.1)".into(), role: Role::Operator });
    assert_eq!(lang, Lang::En);
    assert_eq!(way.end(&provider).await, Err(Failed::NotBegun), "a code counts once");

    let asked = fake.asked("/token");
    assert_eq!(asked.len(), 1, "and is given once");
    let (_, body) = asked[0].split_once("\r\n\r\n").unwrap();
    let form: Vec<(String, String)> = form_urlencoded::parse(body.as_bytes()).into_owned().collect();
    let given = |name: &str| form.iter().find(|(own, _)| own == name).unwrap().1.clone();
    assert_eq!((given("code").as_str(), given("redirect_uri").as_str()), ("c0de", BACK));
    let challenge = data_encoding::BASE64URL_NOPAD.encode(&sha256(given("code_verifier").as_bytes()).0);
    assert_eq!(challenge, way.get("code_challenge"));
    assert_eq!(given("client_id"), "sein huis");
    assert!(!asked[0].to_lowercase().contains("authorization:"), "there is no secret to show");
}

#[tokio::test]
async fn a_secret_is_shown_as_the_provider_takes_it() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("secret");
    std::fs::write(&path, "s:cr t\n").unwrap();
    let settings =
        |fake: &Fake| Settings { secret_file: "secret".into(), ..fake.provider(|_| ()).0.settings.clone() };
    let (fake, signer) = (Fake::start().await, Signer::new("a"));
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    assert!(Provider::open(dir.path(), &settings(&fake)).is_err(), "others can read it");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let provider = Provider::open(dir.path(), &settings(&fake)).unwrap().unwrap();
    assert!(!format!("{provider:?}").contains("s:cr"));
    fake.has_keys(&[&signer]);
    signed(&fake, &provider, |claims| signer.sign(&claims)).await.unwrap();
    // The name and the secret, each escaped, in base 64 (RFC 6749, section 2.3.1).
    let basic = BASE64.encode(b"sein+huis:s%3Acr+t");
    assert!(fake.asked("/token")[0].contains(&format!("authorization: Basic {basic}")));

    let mut document = fake.document();
    document["token_endpoint_auth_methods_supported"] = json!(["private_key_jwt", "client_secret_post"]);
    fake.says("/.well-known/openid-configuration", [ok(&document)]);
    let provider = Provider::open(dir.path(), &settings(&fake)).unwrap().unwrap();
    signed(&fake, &provider, |claims| signer.sign(&claims)).await.unwrap();
    assert!(fake.asked("/token")[1].contains("client_secret=s%3Acr+t"));
    std::fs::write(&path, "\n").unwrap();
    assert!(Provider::open(dir.path(), &settings(&fake)).is_err(), "there is none in it");
}

#[tokio::test]
async fn what_another_browser_or_another_state_brings_ends_nothing() {
    let (fake, signer) = (Fake::start().await, Signer::new("a"));
    fake.has_keys(&[&signer]);
    let provider = fake.provider(|_| ());
    let (way, other) = (Way::begin(&provider).await, Way::begin(&provider).await);
    let wrong = Brought { state: "x".into(), ..way.brought() };
    for (cookie, brought) in [
        (way.cookie.as_str(), &wrong),
        (other.cookie.as_str(), &way.brought()),
        ("", &way.brought()),
        (way.cookie.as_str(), &Brought::default()),
    ] {
        assert_eq!(provider.end(cookie, brought, NOW).await, Err(Failed::NotBegun));
    }
    assert!(fake.asked("/token").is_empty(), "the provider is not even asked");
    fake.says("/token", [ok(&json!({ "id_token": signer.sign(&fake.claims(&other.get("nonce"))) }))]);
    assert_eq!(way.end(&provider).await, Err(Failed::Token(Wrong::Nonce)), "the token of another sign-in");
}

#[tokio::test]
async fn keys_come_and_go_and_are_asked_for_anew_once() {
    let (fake, old, new) = (Fake::start().await, Signer::new("old"), Signer::new("new"));
    fake.has_keys(&[&old]);
    let provider = fake.provider(|_| ());
    for _ in 0..2 {
        signed(&fake, &provider, |claims| old.sign(&claims)).await.unwrap();
    }
    assert_eq!(fake.asked("/keys").len(), 1, "they are kept");
    fake.has_keys(&[&new]);
    signed(&fake, &provider, |claims| new.sign(&claims)).await.unwrap();
    assert_eq!(fake.asked("/keys").len(), 2);
    assert_eq!(signed(&fake, &provider, |claims| old.sign(&claims)).await, Err(Failed::Token(Wrong::Key)));
    assert_eq!(fake.asked("/keys").len(), 3, "once for a token, not on and on");
    assert_eq!(fake.asked("/.well-known/openid-configuration").len(), 1);
}

#[tokio::test]
async fn who_has_no_role_is_nobody_here_and_names_are_plain() {
    let (fake, signer) = (Fake::start().await, Signer::new("a"));
    fake.has_keys(&[&signer]);
    let provider = fake.provider(|_| ());
    for given in [
        json!(["x"]),
        json!([]),
        json!("x"),
        json!({ "beheer": true }),
        json!(1),
        json!(null),
        json!("beheer,lezen"),
    ] {
        let said = signed(&fake, &provider, |mut claims| {
            claims["roles"] = given.clone();
            signer.sign(&claims)
        });
        assert_eq!(said.await, Err(Failed::NoRole), "{given}");
    }
    let person = signed(&fake, &provider, |mut claims| {
        claims["roles"] = json!("lezen");
        claims["preferred_username"] = json!(format!("<b>\u{202e}a\n{}", "x".repeat(100)));
        signer.sign(&claims)
    });
    let person = person.await.unwrap();
    assert_eq!((person.role, person.name), (Role::Viewer, format!("_b__a_{} (127.0.0.1)", "x".repeat(58))));
    let person = signed(&fake, &provider, |mut claims| {
        claims["preferred_username"] = json!(" ");
        signer.sign(&claims)
    });
    assert_eq!(person.await.unwrap().name, "24400320 (127.0.0.1)");
}

#[tokio::test]
async fn a_document_of_another_issuer_or_with_other_addresses_is_not_believed() {
    let fake = Fake::start().await;
    let changed = |name: &str, value: &str| {
        let mut document = fake.document();
        document[name] = json!(value);
        ok(&document)
    };
    let redirect = "HTTP/1.1 302 x\r\nlocation: /elsewhere\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    for answer in [
        changed("issuer", "https://evil.example"),
        changed("issuer", &format!("{}/", fake.issuer)),
        changed("token_endpoint", "http://evil.example/token"),
        changed("jwks_uri", "file:///etc/passwd"),
        changed("authorization_endpoint", "javascript:alert(1)"),
        changed("authorization_endpoint", "https://login.example/\r\nset-cookie: x"),
        changed("authorization_endpoint", "https://login.example/#x"),
        ok(&json!({})),
        ok(&json!([])),
        ok(&json!({ "x": "x".repeat(ANSWER_MAX) })),
        status("500 x", &fake.document().to_string()),
        redirect.to_owned(),
    ] {
        fake.says("/.well-known/openid-configuration", [answer.clone()]);
        let said = fake.provider(|_| ()).begin(BACK, Lang::Nl, NOW).await;
        assert!(matches!(said, Err(Failed::Away(_))), "{answer}: {said:?}");
    }
    assert!(fake.asked("/elsewhere").is_empty(), "nothing is followed");
}

#[tokio::test]
async fn an_answer_to_a_code_that_is_no_token_signs_nobody_in_and_is_not_repeated() {
    let (fake, signer) = (Fake::start().await, Signer::new("a"));
    fake.has_keys(&[&signer]);
    let provider = fake.provider(|_| ());
    let refused = |code: &str| Err(Failed::Refused(code.to_owned()));
    for (answer, said) in [
        (
            status("400 x", "{\"error\":\"invalid_grant\",\"error_description\":\"c0de\"}"),
            refused("invalid_grant"),
        ),
        (status("401 x", "{\"error\":\"<b>c0de</b>\"}"), refused("no code")),
        (status("403 x", "c0de"), refused("no code")),
        (status("503 x", "c0de"), Err(Failed::Away("the token endpoint answers 503".into()))),
        (ok(&json!({ "access_token": "x" })), Err(Failed::Away("no ID token".into()))),
        (ok(&json!({ "id_token": "x" })), Err(Failed::Token(Wrong::Form))),
    ] {
        fake.says("/token", [answer]);
        let way = Way::begin(&provider).await;
        assert_eq!(way.end(&provider).await, said);
    }
    let way = Way::begin(&provider).await;
    let denied = Brought { error: "access_denied".into(), ..way.brought() };
    assert_eq!(provider.end(&way.cookie, &denied, NOW).await, Err(Failed::Refused("access_denied".into())));
    let way = Way::begin(&provider).await;
    let mixed = Brought { iss: "https://evil.example".into(), ..way.brought() };
    assert_eq!(provider.end(&way.cookie, &mixed, NOW).await, Err(Failed::Token(Wrong::Issuer)));
}

#[tokio::test]
async fn a_provider_that_says_who_leads_back_has_to_say_so() {
    let (fake, signer) = (Fake::start().await, Signer::new("a"));
    fake.has_keys(&[&signer]);
    let mut document = fake.document();
    document["authorization_response_iss_parameter_supported"] = json!(true);
    fake.says("/.well-known/openid-configuration", [ok(&document)]);
    let provider = fake.provider(|_| ());
    let said = signed(&fake, &provider, |claims| signer.sign(&claims)).await;
    assert_eq!(said, Err(Failed::Token(Wrong::Issuer)));
    let way = Way::begin(&provider).await;
    fake.says("/token", [ok(&json!({ "id_token": signer.sign(&fake.claims(&way.get("nonce"))) }))]);
    let brought = Brought { iss: fake.issuer.clone(), ..way.brought() };
    assert!(provider.end(&way.cookie, &brought, NOW).await.is_ok());
}
