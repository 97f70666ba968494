"""Who is answered, and how answers are sealed."""

import pytest

from featx.studio import _app
from tests.studio.helpers import Visitor, png

PATHS = ["/", "/studio.js", "/studio.css", "/stores/0", "/runs/0", "/nothing"]


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:4321", "127.0.0.1:4322", "127.0.0.1", "localhost.evil.example:4321", ""]
)
def test_other_names_of_this_computer_are_refused(visitor, host):
    for path in PATHS:
        assert visitor.get(path, host=host).status_code == 403
    assert visitor.get("/", host=host, query_string={"token": visitor.guard.token}).status_code == 403
    assert visitor.post(f"{visitor.run}/answer", png(), host=host).status_code == 403


def test_its_own_names_are_answered(visitor):
    assert visitor.get("/").status_code == 200
    visitor.client.set_cookie(f"featx-studio-{visitor.PORT}", visitor.guard.token, domain="localhost")
    assert visitor.get("/", host="localhost:4321").status_code == 200


def test_port_80_has_no_name(home):
    from featx.studio._guard import Guard

    assert Guard(80)._hosts == {"127.0.0.1", "localhost"}
    assert Guard(8080)._hosts == {"127.0.0.1:8080", "localhost:8080"}


@pytest.mark.parametrize("path", PATHS)
def test_nobody_reads_without_the_secret(visitor, path):
    visitor.client.delete_cookie(f"featx-studio-{visitor.PORT}", domain="127.0.0.1")
    refused = visitor.get(path)
    assert refused.status_code == 403
    assert visitor.guard.token not in refused.text
    assert "open the one that `featx studio` printed" in refused.text
    for wrong in ("x", "", "é", visitor.guard.token[:-1], f"{visitor.guard.token} "):
        visitor.client.set_cookie(f"featx-studio-{visitor.PORT}", wrong, domain="127.0.0.1")
        assert visitor.get(path).status_code == 403
    visitor.client.set_cookie("featx-studio-1", visitor.guard.token, domain="127.0.0.1")
    assert visitor.get(path).status_code == 403
    assert visitor.get(path, token=visitor.guard.token).status_code != 403


def test_the_address_is_exchanged_for_a_cookie_that_is_not_sent_from_elsewhere(visitor):
    cookie = f"featx-studio-{visitor.PORT}"
    visitor.client.delete_cookie(cookie, domain="127.0.0.1")
    assert visitor.get("/", query_string={"token": "wrong"}).status_code == 403
    assert visitor.get("/runs/0", query_string={"token": visitor.guard.token}).status_code == 403
    opened = visitor.get("/", query_string={"token": visitor.guard.token})
    assert opened.status_code == 200
    assert opened.headers["Refresh"] == "0; url=/"
    assert opened.headers["Set-Cookie"] == f"{cookie}={visitor.guard.token}; HttpOnly; Path=/; SameSite=Strict"
    assert visitor.get("/").status_code == 200


def test_a_link_on_another_page_may_bring_the_secret(visitor):
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    assert visitor.get("/", headers=link, query_string={"token": visitor.guard.token}).headers["Refresh"]
    assert visitor.get("/", headers=link).status_code == 403


def test_a_ticket_opens_once(visitor):
    visitor.client.delete_cookie(f"featx-studio-{visitor.PORT}", domain="127.0.0.1")
    ticket = visitor.guard.ticket()
    assert visitor.get("/", query_string={"token": ticket}).headers["Set-Cookie"]
    visitor.client.delete_cookie(f"featx-studio-{visitor.PORT}", domain="127.0.0.1")
    assert visitor.get("/", query_string={"token": ticket}).status_code == 403


def test_questions_need_the_token_in_a_header(visitor):
    address = f"{visitor.run}/answer"
    for token in (None, "", "wrong", "é"):
        refused = visitor.post(address, png(), token=token)
        assert refused.status_code == 403
        assert refused.json["error"]
    assert visitor.post(address, png()).json["picture"]


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:4322"},
        {"Origin": "https://127.0.0.1:4321"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_questions_of_other_pages_are_refused(visitor, headers):
    address = f"{visitor.run}/answer"
    refused = visitor.post(address, png(), headers=headers)
    assert refused.status_code == 403
    assert refused.json == {"error": "requests from other pages are not answered"}
    assert visitor.get("/", headers=headers).status_code == 403
    own = {"Origin": "http://127.0.0.1:4321", "Sec-Fetch-Site": "same-origin"}
    assert visitor.post(address, png(), headers=own).status_code == 200


def test_nothing_is_asked_by_reading_and_nothing_else_is_answered(visitor):
    assert visitor.get(f"{visitor.run}/answer").status_code == 405
    for method in ("PUT", "DELETE", "PATCH", "POST"):
        assert visitor(method, "/", token=visitor.guard.token).status_code == 405
    options = visitor("OPTIONS", f"{visitor.run}/answer", headers={"Origin": "http://evil.example"})
    assert options.status_code == 403
    assert not [name for name, _ in options.headers if name.startswith("Access-Control")]


@pytest.mark.parametrize(
    "name",
    [
        *("..", "../runs/mine", "..%2f..%2fetc%2fpasswd", "%2e%2e%2f", "/etc/passwd", "%2fetc%2fpasswd"),
        *(
            "mine",
            "mine%00",
            "0" * 16,
            "photos",
            "file:///etc/passwd",
            "C:%5c",
            "\udce9".encode(errors="replace").decode(),
        ),
    ],
)
def test_only_ids_are_looked_up(visitor, home, name):
    for kind in ("runs", "stores"):
        assert visitor.get(f"/{kind}/{name}").status_code == 404
        assert visitor.post(f"/{kind}/{name}/answer", png()).status_code in (404, 405)
    assert visitor.get(f"/runs/{home / 'runs' / 'mine'}").status_code == 404


def test_ids_tell_of_no_path(visitor, home):
    (run,) = visitor.listing.runs()
    (store,) = visitor.listing.stores()
    assert {len(run.id), len(store.id)} == {16}
    assert visitor.get(f"/stores/{run.id}").status_code == 404
    assert visitor.get(f"/runs/{store.id}").status_code == 404


def test_what_is_too_large_is_refused_in_words(visitor, monkeypatch):
    visitor.pages.app.config["MAX_CONTENT_LENGTH"] = 1000
    refused = visitor.post(f"{visitor.run}/answer", bytes(1001))
    assert refused.status_code == 413
    assert refused.json == {"error": "The file is too large: images have at most 64 MB here."}
    assert _app.MOST_BYTES == 64 << 20


def test_every_answer_is_sealed(visitor):
    refused = [visitor.get("/", host="evil"), visitor.get("/nothing"), visitor.post("/runs/0/answer")]
    for answer in [*map(visitor.get, PATHS), *refused, visitor.post(f"{visitor.run}/answer", b"")]:
        headers = answer.headers
        policy = dict(each.split(" ", 1) for each in headers["Content-Security-Policy"].split("; "))
        assert (
            policy["default-src"]
            == policy["frame-ancestors"]
            == policy["base-uri"]
            == policy["form-action"]
            == "'none'"
        )
        assert "unsafe" not in policy["script-src"]
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert headers["Referrer-Policy"] == "no-referrer"
        assert headers["Cross-Origin-Resource-Policy"] == "same-origin"
        assert headers["Cache-Control"] == "no-store"
        assert "Access-Control-Allow-Origin" not in headers


def test_each_start_has_a_secret_of_its_own(home):
    tokens = {Visitor(home / "cache", home / "runs").guard.token for _ in range(3)}
    assert len(tokens) == 3
    assert min(map(len, tokens)) >= 32
