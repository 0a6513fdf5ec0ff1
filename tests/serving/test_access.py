from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from serving import triton_access
from serving.credentials import Credentials, make_control_secret, of_control, read_token
from serving.server import Server
from tests.serving.certificates import Authority
from tests.serving.example import settings_at

Paths = dict[str, Path]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Paths:
    """A whole set of files that fit, and some that do not."""
    folder = tmp_path_factory.mktemp("files")
    own = Authority(folder, "own")
    (cert, key), (client, client_key) = own.issue("server"), own.issue("client")
    (folder / "token").write_text("  sixteen-letters-\n")
    (folder / "short").write_text("secret-word")
    (folder / "text").write_text("no PEM")
    found = {"serving_tls_cert": cert, "serving_tls_key": key, "serving_tls_client_ca": own.ca, "serving_ca": own.ca}
    found |= {"serving_client_cert": client, "serving_client_key": client_key, "serving_token_file": folder / "token"}
    return {**found, "short": folder / "short", "text": folder / "text", "missing": folder / "missing"}


def whole(files: Paths) -> dict[str, Any]:
    return {name: path for name, path in files.items() if name.startswith("serving_")}


def test_files_that_fit_are_accepted_and_shown_to_triton(tmp_path: Path, files: Paths) -> None:
    settings = settings_at(tmp_path, **whole(files))
    triton_access.require(settings)
    line = triton_access.arguments(settings)
    assert f"--grpc-server-cert={files['serving_tls_cert']}" in line
    assert "--grpc-use-ssl-mutual=true" in line
    assert "--grpc-restricted-protocol=inference,metadata,model-config:token=sixteen-letters-" in line


FAULTS: dict[str, tuple[Callable[[Paths], dict[str, Any]], str]] = {
    "a missing file": (lambda f: {"serving_tls_cert": f["missing"]}, r"missing cannot be read .*SERVING_TLS_CERT"),
    "a folder": (lambda f: {"serving_tls_key": f["missing"].parent}, r"cannot be read .*HEADWATER_SERVING_TLS_KEY"),
    "no token": (lambda f: {"serving_token_file": f["missing"]}, r"missing cannot be read .*SERVING_TOKEN_FILE"),
    "no PEM": (lambda f: {"serving_tls_client_ca": f["text"]}, r"text \(HEADWATER_SERVING_TLS_CLIENT_CA\) holds no"),
    "another's key": (lambda f: {"serving_tls_key": f["serving_client_key"]}, r"SERVING_TLS_KEY\) are no certificate"),
    "no key": (lambda f: {"serving_tls_key": None}, r"SERVING_TLS_CERT is set and HEADWATER_SERVING_TLS_KEY is not"),
    "no own certificate": (
        lambda f: {"serving_client_cert": None, "serving_client_key": None},
        r"TLS_CLIENT_CA is set and HEADWATER_SERVING_CLIENT_CERT is not",
    ),
    "a short token": (lambda f: {"serving_token_file": f["short"]}, r"the token in .*short is not 16 to 256 letters"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_file_that_does_not_do_is_named_with_its_setting_before_triton_starts(
    tmp_path: Path, files: Paths, fault: str
) -> None:
    change, message = FAULTS[fault]
    settings = settings_at(tmp_path, **{**whole(files), **change(files)})
    with pytest.raises((LookupError, ValueError), match=message) as caught:
        Server(settings).start()
    assert "secret-word" not in str(caught.value)
    assert not (tmp_path / "serving").exists()


def test_what_changes_access_makes_a_running_triton_another_than_asked_for(tmp_path: Path, files: Paths) -> None:
    given = whole(files)
    seen = {triton_access.fingerprint(settings_at(tmp_path, **given))}
    seen.add(triton_access.fingerprint(settings_at(tmp_path)))
    token = tmp_path / "token"
    token.write_text("another-sixteen-letters")
    seen.add(triton_access.fingerprint(settings_at(tmp_path, **{**given, "serving_token_file": token})))
    own = Authority(tmp_path, "renewed")
    cert, key = own.issue("server")
    renewed = {**given, "serving_tls_cert": token.with_name("cert"), "serving_tls_key": key}
    for content in (cert.read_bytes(), own.ca.read_bytes()):
        renewed["serving_tls_cert"].write_bytes(content)
        seen.add(triton_access.fingerprint(settings_at(tmp_path, **renewed)))
    assert len(seen) == 5
    assert triton_access.fingerprint(settings_at(tmp_path, **given)) in seen


def test_the_control_secret_is_made_once_and_refused_where_others_may_read_it(tmp_path: Path) -> None:
    settings = settings_at(tmp_path)
    assert of_control(settings).control is None
    secret = make_control_secret(settings)
    assert len(secret) >= 40
    assert make_control_secret(settings) == secret == of_control(settings).control
    (path,) = tmp_path.rglob("control.secret")
    assert path.stat().st_mode & 0o777 == 0o600
    path.chmod(0o640)
    with pytest.raises(PermissionError, match=r"others may read .*control\.secret; delete it"):
        of_control(settings)


def test_credentials_that_make_no_sense_are_refused_and_none_is_shown(tmp_path: Path, files: Paths) -> None:
    with pytest.raises(ValueError, match="go together"):
        Credentials(ca=files["serving_ca"], cert=files["serving_client_cert"])
    with pytest.raises(ValueError, match="needs TLS"):
        Credentials(cert=files["serving_client_cert"], key=files["serving_client_key"])
    with pytest.raises(ValueError, match="the token is not") as caught:
        Credentials(token="a word with blanks, and a secret")
    assert "blanks" not in str(caught.value)
    assert "sixteen" not in repr(Credentials(token=read_token(files["serving_token_file"])))


def test_replicas_that_start_together_have_one_control_secret(tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        for volume in range(50):
            settings = settings_at(tmp_path / str(volume))
            made = set(pool.map(make_control_secret, [settings] * 4))
            assert made == {of_control(settings).control}
