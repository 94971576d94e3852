"""Keys and tokens: what counts, what doesn't and why, rotation, public keys, and what no error may say."""

from __future__ import annotations

import base64
import json
import time
from pathlib import Path
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from typer.testing import CliRunner

from command_api.__main__ import app
from command_api.process.access.errors import KeysError, TokenInUrlError, UnauthenticatedError
from command_api.process.access.exposure import check_exposure, is_loopback
from command_api.process.access.gate import Gate
from command_api.process.access.keys import keys_of
from command_api.process.access.mint import mint
from command_api.process.settings import Auth
from tests.unit.access.tokens import AUTH, OTHER_SECRET, SECRET, SUBJECT, bearer, refused, token

NOW = time.time()


def admit(gate: Gate, headers: dict[str, str], query: bytes = b"") -> Any:
    return gate.admit([(name.lower().encode(), value.encode()) for name, value in headers.items()], query)


def test_a_token_that_counts_is_a_caller_every_time() -> None:
    gate = Gate(keys_of(AUTH))
    for _ in range(2):
        caller = admit(gate, bearer(token("read:orders_by_user  metrics")))
        assert caller.subject == SUBJECT
        assert caller.scopes == {"read:orders_by_user", "metrics"}


@pytest.mark.parametrize("wrong", sorted(refused()))
def test_a_token_that_does_not_count(wrong: str) -> None:
    headers = refused()[wrong]
    with pytest.raises(UnauthenticatedError) as caught:
        admit(Gate(keys_of(AUTH)), headers)
    challenge = caught.value.headers["WWW-Authenticate"]
    assert challenge.startswith("Bearer realm=")
    assert ("error=" in challenge) == bool(headers)
    for said in (str(caught.value), challenge):
        assert "eyJ" not in said
        assert SECRET not in said


def test_a_remembered_token_expires() -> None:
    moment = [time.time()]
    gate = Gate(keys_of(AUTH), clock=lambda: moment[0])
    once = bearer(token())
    admit(gate, once)
    moment[0] += 599
    admit(gate, once)
    moment[0] += 2
    with pytest.raises(UnauthenticatedError, match="expired"):
        admit(gate, once)


def test_a_token_that_expires_beyond_all_numbers_counts() -> None:
    gate, once = Gate(keys_of(AUTH)), bearer(token(exp=10**400))
    assert [admit(gate, once).subject for _ in range(2)] == [SUBJECT] * 2


def test_a_header_nested_without_end_is_refused() -> None:
    nested = base64.urlsafe_b64encode(b"[" * 5_000).rstrip(b"=").decode()
    with pytest.raises(UnauthenticatedError):
        admit(Gate(keys_of(AUTH)), bearer(f"{nested}.e30.AAAA"))


def test_two_headers_are_none() -> None:
    header = (b"authorization", bearer(token())["Authorization"].encode())
    with pytest.raises(UnauthenticatedError, match="twice"):
        Gate(keys_of(AUTH)).admit([header, header], b"")


@pytest.mark.parametrize("gate", [Gate(None), Gate(keys_of(AUTH))], ids=["open", "closed"])
@pytest.mark.parametrize("query", ["access_token=x", "limit=1&ACCESS%5Ftoken=x", "api_key=x", "jwt=x", "q={token}"])
def test_a_token_in_the_url_is_refused(gate: Gate, query: str) -> None:
    with pytest.raises(TokenInUrlError):
        admit(gate, bearer(token()), query.format(token=token()).encode())


def test_rotation_by_several_keys() -> None:
    both = keys_of(AUTH.model_copy(update={"hs256_secrets": Auth(hs256_secrets={"old": SECRET, "now": OTHER_SECRET}).hs256_secrets}))  # type: ignore[dict-item]  # fmt: skip
    gate = Gate(both)
    assert admit(gate, bearer(token(kid="old"))).subject == SUBJECT
    assert admit(gate, bearer(token(kid="now", secret=OTHER_SECRET))).subject == SUBJECT
    for crossed in (token(kid="old", secret=OTHER_SECRET), token(kid="now"), token(kid=None)):
        with pytest.raises(UnauthenticatedError):
            admit(gate, bearer(crossed))


def public(kid: str, key: Any, **more: str) -> dict[str, Any]:
    algorithm = {rsa.RSAPrivateKey: "RS256", ec.EllipticCurvePrivateKey: "ES256"}
    kind = next((name for of, name in algorithm.items() if isinstance(key, of)), "EdDSA")
    member: dict[str, Any] = jwt.get_algorithm_by_name(kind).to_jwk(key.public_key(), as_dict=True)  # type: ignore[call-overload]
    return {**member, "kid": kid, "alg": kind, "use": "sig"} | more


def test_public_keys_of_a_file(tmp_path: Path) -> None:
    keys = {
        "r": rsa.generate_private_key(65537, 2048),
        "e": ec.generate_private_key(ec.SECP256R1()),
        "d": ed25519.Ed25519PrivateKey.generate(),
    }
    members = [public(kid, key) for kid, key in keys.items()]
    path = tmp_path / "jwks.json"
    path.write_text(json.dumps({"keys": members}))
    gate = Gate(keys_of(AUTH.model_copy(update={"jwks_file": path})))
    for member in members:
        signed = token(secret=keys[member["kid"]], kid=member["kid"], algorithm=member["alg"])
        assert admit(gate, bearer(signed)).subject == SUBJECT
    assert admit(gate, bearer(token())).subject == SUBJECT  # beside the shared secret
    # The public key is known to everybody: taken for a shared secret it must sign nothing.
    modulus = members[0]["n"]
    with pytest.raises(UnauthenticatedError):
        admit(gate, bearer(token(secret=modulus, kid="r")))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("no json", "is no JSON Web Key Set"),
        ("[]", "is no JSON Web Key Set"),
        ('{"keys": []}', "holds no key"),
        ('{"keys": [{"kty": "RSA", "use": "enc", "kid": "a"}]}', "holds no key to check signatures with"),
        ('{"keys": [{"kty": "RSA"}]}', "has no kid"),
        ('{"keys": [{"kty": "oct", "k": "c2VjcmV0", "kid": "a"}]}', "is secret"),
        ('{"keys": [{"kty": "RSA", "n": "x", "e": "AQAB", "d": "c2VjcmV0", "kid": "a"}]}', "is secret"),
        ('{"keys": [{"kty": "nope", "kid": "a"}]}', "can't be used"),
    ],
)
def test_a_file_that_holds_no_public_keys(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "jwks.json"
    path.write_text(text)
    with pytest.raises(KeysError, match=said) as caught:
        keys_of(Auth(jwks_file=path))
    assert "c2VjcmV0" not in str(caught.value)
    assert "auth.jwks_file" in str(caught.value)
    with pytest.raises(KeysError):
        check_exposure(Auth(jwks_file=path), "127.0.0.1", "THE_HOST")


def test_a_missing_file_and_a_short_secret() -> None:
    with pytest.raises(KeysError, match=r"auth\.jwks_file /nowhere can't be read"):
        keys_of(Auth(jwks_file=Path("/nowhere")))
    with pytest.raises(KeysError, match=r"auth\.hs256_secrets") as caught:
        keys_of(Auth(hs256_secrets={"a": "hunter2-is-short"}))  # type: ignore[dict-item]
    assert "hunter2" not in str(caught.value)
    assert "hunter2" not in repr(Auth(hs256_secrets={"a": "hunter2"}))  # type: ignore[dict-item]


@pytest.mark.parametrize(("host", "loopback"), [("127.0.0.1", True), ("127.9.9.9", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("::", False), ("10.0.0.1", False), ("db.example", False), ("", False)])  # fmt: skip
def test_where_a_server_may_run_open(host: str, loopback: bool) -> None:
    assert is_loopback(host) == loopback
    assert check_exposure(AUTH, host, "THE_HOST") is False
    if loopback:
        assert check_exposure(Auth(), host, "THE_HOST") is True
    else:
        with pytest.raises(KeysError, match="LOCKSTEP_AUTH__HS256_SECRETS or LOCKSTEP_AUTH__JWKS_FILE, or THE_HOST"):
            check_exposure(Auth(), host, "THE_HOST")


def test_a_minted_token_counts() -> None:
    minted = mint(AUTH, subject=SUBJECT, scopes="read:orders_by_user", seconds=60)
    assert admit(Gate(keys_of(AUTH)), bearer(minted)).scopes == {"read:orders_by_user"}
    with pytest.raises(KeysError, match="LOCKSTEP_AUTH__HS256_SECRETS"):
        mint(Auth(), subject=SUBJECT, scopes="", seconds=60)


def test_the_command_mints() -> None:
    arguments = ["mint-token", "--subject", SUBJECT, "--scope", "metrics", "--minutes", "5"]
    environment = {"LOCKSTEP_AUTH__HS256_SECRETS": json.dumps({"now": SECRET}), "LOCKSTEP_AUTH__ISSUER": AUTH.issuer}
    done = CliRunner().invoke(app, arguments, env=environment)
    assert done.exit_code == 0, done.output
    assert admit(Gate(keys_of(AUTH)), bearer(done.stdout.strip())).scopes == {"metrics"}
    without = CliRunner().invoke(app, arguments)
    assert without.exit_code == 1
    assert "LOCKSTEP_AUTH__HS256_SECRETS" in without.output
