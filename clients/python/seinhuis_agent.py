"""A client of the local API of a Seinhuis agent (docs/api.md), and a check of what its webhooks tell (docs/webhook.md).

One file, Python 3.9 or later, nothing but the standard library. Every method raises `Problem` for an answer that is an
error; `refusal` in it is a number of docs/refusals.md, `advice` says what to do.

    agent = Agent("http://127.0.0.1:7480", token)
    message = agent.push("case-42-1", flow="F02", to=["gemeente"], step="1", body={...}, wait=10)
    for delivery in agent.open_deliveries():
        keep(delivery, agent.body(delivery["position"]))
        agent.consumed(delivery["position"])

    event = verify_webhook(secret, request.headers, request.body)  # raises BadSignature
"""

import base64
import binascii
import hashlib
import hmac
import json
import time
import urllib.error
import urllib.parse
import urllib.request


class Problem(Exception):
    """An answer that says why something does not go through (RFC 9457)."""

    def __init__(self, status, document, retry_after=None):
        super().__init__(f"{status}: {document.get('detail')} {document.get('advice')}")
        self.status = status
        self.refusal = document.get("refusal")
        self.detail = document.get("detail")
        self.advice = document.get("advice")
        self.retry_after = retry_after


class BadSignature(Exception):
    """A request that is not, or not any more, of the agent that has the secret."""


def verify_webhook(secrets, headers, body, tolerance=300, now=None):
    """What a request of the agent's webhook tells, as a CloudEvent: only when it is signed with one of `secrets` (a text
    that begins with `whsec_`, or several) and its time is at most `tolerance` seconds from `now`. `body` is the exact
    bytes. Raises `BadSignature` for anything else; answer 401 then.

    The same event may come again: keep its `id` (the header field `webhook-id`) and answer 200 without doing it twice.
    """
    fields = {name.lower(): value for name, value in headers.items()}
    try:
        name, told, signatures = (fields["webhook-" + field] for field in ("id", "timestamp", "signature"))
        if not (told.isascii() and told.isdigit() and len(told) <= 15):
            raise BadSignature("no time")
    except KeyError as missing:
        raise BadSignature(f"no {missing.args[0]}") from None
    if abs((time.time() if now is None else now) - int(told)) > tolerance:
        raise BadSignature("too old or too new: see to the clocks of both machines")
    signed = b".".join([name.encode(), told.encode(), body])
    given = [signature[3:].encode() for signature in signatures.split(" ") if signature.startswith("v1,")]
    good = False
    for secret in [secrets] if isinstance(secrets, str) else secrets:
        if not secret.startswith("whsec_"):
            raise ValueError("a secret begins with whsec_")
        try:
            key = base64.b64decode(secret[len("whsec_") :], validate=True)
        except binascii.Error:
            raise ValueError("a secret is base64 after whsec_") from None
        wanted = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest())
        # Each is compared in full, so that the time it takes tells nothing of what is wanted.
        for signature in given:
            good |= hmac.compare_digest(wanted, signature)
    if not good:
        raise BadSignature("not signed with this secret")
    return json.loads(body)


class Agent:
    """An agent on this machine, and the token of this application."""

    def __init__(self, url, token, language="nl", timeout=90):
        self._url = url.rstrip("/")
        self._fields = {"Authorization": f"Bearer {token}", "Accept-Language": language}
        self._timeout = timeout
        # No proxy: what is said goes to this machine only.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    def _open(self, method, path, query=None, document=None, fields=None):
        query = {name: value for name, value in (query or {}).items() if value is not None}
        url = self._url + path + ("?" + urllib.parse.urlencode(query) if query else "")
        headers = {**self._fields, **(fields or {})}
        data = None
        if document is not None:
            data = json.dumps(document, ensure_ascii=False).encode()
            headers["Content-Type"] = "application/json"
        request = urllib.request.Request(url, data=data, headers=headers, method=method)
        try:
            return self._opener.open(request, timeout=self._timeout)
        except urllib.error.HTTPError as error:
            with error:
                try:
                    problem = json.loads(error.read())
                except ValueError:
                    problem = {}
                raise Problem(error.code, problem, error.headers.get("Retry-After")) from None

    def _ask(self, method, path, **more):
        with self._open(method, path, **more) as answer:
            return json.loads(answer.read())

    def push(self, key, flow, to, body, wait=None, trace=None, **more):
        """Hands over a signal that this application calls `key`; what is known of it then.

        `more`: step, case, type, basis, covenant, valid_seconds, in_reply_to, passes_on, handling.
        """
        fields = {"Idempotency-Key": key}
        if wait is not None:
            fields["Prefer"] = f"wait={wait}"
        if trace is not None:
            fields["traceparent"] = trace
        signal = {"flow": flow, "to": to, "body": body, **more}
        return self._ask("POST", "/v1/messages", document=signal, fields=fields)

    def message(self, msg_id):
        """A signal of this organisation and what became of it."""
        return self._ask("GET", f"/v1/messages/{msg_id}")

    def receipt(self, msg_id):
        """Its receipt, for `seinhuis-agent receipt verify`."""
        with self._open("GET", f"/v1/messages/{msg_id}/receipt") as answer:
            return answer.read()

    def correct(self, msg_id, fields, reason, note=None):
        """Tells every recipient which fields (JSON pointers) are wrong, and why."""
        return self._say(msg_id, "correction", {"velden": fields, "reden": reason, "toelichting": note})

    def withdraw(self, msg_id, reason, note=None):
        """Withdraws it at every recipient."""
        return self._say(msg_id, "withdrawal", {"reden": reason, "toelichting": note})

    def _say(self, msg_id, what, document):
        document = {name: value for name, value in document.items() if value is not None}
        return self._ask("POST", f"/v1/messages/{msg_id}/{what}", document=document)

    def take_back(self, msg_id, reason):
        """Takes it back from who does not have it yet."""
        return self._ask("POST", f"/v1/messages/{msg_id}/take-back", document={"reason": reason})

    def messages(self, flow=None):
        """Every signal sent in the flows of the token, oldest first."""
        return self._pages("/v1/messages", {"flow": flow})

    def deliveries(self, flow=None, case=None):
        """Every delivery in the flows of the token, oldest first."""
        return self._pages("/v1/inbox", {"flow": flow, "case": case})

    def open_deliveries(self, flow=None, case=None):
        """The deliveries with a body that counts and that nobody took over."""
        return self._pages("/v1/inbox", {"flow": flow, "case": case, "open": "true"})

    def _pages(self, path, query):
        start, more = 0, True
        while more:
            page = self._ask("GET", path, query={**query, "from": start})
            yield from page["items"]
            start, more = page["next"], page["more"]

    def body(self, position, withdrawn=False):
        """The body of a delivery; that it was read is recorded."""
        query = {"withdrawn": "true"} if withdrawn else None
        return self._ask("GET", f"/v1/inbox/{position}/body", query=query)

    def consumed(self, position):
        """Reports that the application took it over; its sender is told."""
        return self._ask("POST", f"/v1/inbox/{position}/consumed")

    def events(self, after=None):
        """What happens from now on: an id, a name and a CloudEvent each time. Ends with the connection; go on with the last id."""
        fields = {} if after is None else {"Last-Event-ID": str(after)}
        # Listens before it returns, so that nothing that happens next is missed.
        return _events(self._open("GET", "/v1/events", fields=fields), after)

    def flows(self):
        """The flows in force that the token has to do with, with where their schemas are."""
        return self._ask("GET", "/v1/flows")

    def schema(self, path):
        """The schema at the path that `flows` names."""
        return self._ask("GET", path)

    def cases(self):
        """The cases that are known."""
        return self._ask("GET", "/v1/cases")

    def case(self, case):
        """One case."""
        return self._ask("GET", f"/v1/cases/{case}")

    def open_case(self, case, covenant=None):
        """Begins a case under a pseudonym that this application drew (`uuid.uuid4()`)."""
        document = {} if covenant is None else {"covenant": covenant}
        return self._ask("PUT", f"/v1/cases/{case}", document=document)

    def decide(self, case, act, **more):
        """Decides about a case: act `step` with `step`, `close`, or `condition` with `condition` and `holds`."""
        return self._ask("POST", f"/v1/cases/{case}/decisions", document={"act": act, **more})

    def status(self):
        """How the agent is doing."""
        return self._ask("GET", "/v1/status")


def _events(answer, last):
    name = ""
    with answer:
        for line in answer:
            field, _, value = line.decode().rstrip("\n").partition(": ")
            if field == "id":
                last = value
            elif field == "event":
                name = value
            elif field == "data":
                yield last, name, json.loads(value)
