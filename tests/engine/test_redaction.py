"""No secret reaches a tracker, and no ordinary field is lost."""

import copy
import json
import string
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from w2s_core.engine.redaction import REDACTED, redact, redact_text


@pytest.mark.parametrize(
    "name",
    [
        *("api_key", "WANDB_API_KEY", "apiKey", "APIKey", "hf_token", "HF-TOKEN", "password", "dbPassword"),
        *("client_secret", "aws_secret_access_key", "Authorization", "credentials", "access_tokens"),
    ],
)
def test_a_field_named_like_a_secret_is_taken_out(name: str) -> None:
    assert redact({"a": [{name: "abc"}]}) == {"a": [{name: REDACTED}]}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("max_new_tokens", 128),
        ("tokens", [1, 2, 3]),
        ("max_new_tokens", "128"),
        ("tokens", "1e6"),
        ("keep", 0.6),
        ("key", "3fa9c1d2"),
        ("keys", ["a"]),
        ("monkey", "abc"),
        ("strong", "hub:org/model@" + "a1b2c3d4e5" * 4),
        ("digest", "sha256:" + "ab" * 32),
        ("tokenizer", "word"),
        ("author", "careful"),
        ("hf_token", None),
        ("use_token", True),
    ],
)
def test_ordinary_fields_stay(name: str, value: object) -> None:
    assert redact({name: value}) == {name: value}


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("w2s run a.yaml api_key=abc seed=1", f"w2s run a.yaml api_key={REDACTED} seed=1"),
        ("hf_token: 'a b' max_new_tokens=12", f"hf_token: {REDACTED} max_new_tokens=12"),
        ("see https://me:pass@host/x", f"see https://{REDACTED}@host/x"),
        ("postgresql://u:p@ss/wo:rd@host/db", f"postgresql://{REDACTED}@host/db"),
        ("sqlite:///x.db?password=a&user=b", f"sqlite:///x.db?password={REDACTED}&user=b"),
        (
            "--storage=postgresql://h/d?user=b&password=a",
            f"--storage=postgresql://h/d?user=b&password={REDACTED}",
        ),
        ("storage 'postgresql://h/d?password=a': no", f"storage 'postgresql://h/d?password={REDACTED}': no"),
        ("postgresql://h/d?user=b&password=a,b;c'd!", f"postgresql://h/d?user=b&password={REDACTED}"),
        ("at postgresql://h/d?sslpassword=a: no", f"at postgresql://h/d?sslpassword={REDACTED}: no"),
        ("postgresql://h/d?PGPASSWORD=a&pass=b", f"postgresql://h/d?PGPASSWORD={REDACTED}&pass={REDACTED}"),
        ("postgresql://h/d?options=-c%20password%3Da", f"postgresql://h/d?options={REDACTED}"),
        ("h/d?password=a: its driver is missing", f"h/d?password={REDACTED}: its driver is missing"),
        ("password: a: its driver is missing", f"password: {REDACTED}: its driver is missing"),
        ("override max_new_tokens: field 'x' is no", "override max_new_tokens: field 'x' is no"),
        ("access_tokens: abc", f"access_tokens: {REDACTED}"),
        ("pass=0.5 pass@10: 0.6", "pass=0.5 pass@10: 0.6"),
        ("https://h/d?X-Amz-Signature=a1", f"https://h/d?X-Amz-Signature={REDACTED}"),
        ("https://" + "a1" * 15 + "@host/x", f"https://{REDACTED}@host/x"),
        ("postgresql://user@host:5432/x?sslmode=require", "postgresql://user@host:5432/x?sslmode=require"),
        ("Bearer hf_" + "a" * 34, f"Bearer {REDACTED}"),
        ("sk-" + "a1" * 20, REDACTED),
        ("stage1.iterations=1 keep=0.6", "stage1.iterations=1 keep=0.6"),
    ],
)
def test_secrets_within_a_text(text: str, clean: str) -> None:
    assert redact_text(text) == clean
    assert redact({"command": [text]}) == {"command": [clean]}


def test_the_value_of_a_secret_variable_is_taken_out_wherever_it_stands(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("WANDB_API_KEY", "plainlookingvalue")
    assert redact({"notes": "uses plainlookingvalue here"}) == {"notes": f"uses {REDACTED} here"}


def test_the_working_folder_and_other_places_are_no_secret(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("PWD", "/gone/away/folder")
    monkeypatch.setenv("OLDPWD", "/gone/before/folder")
    monkeypatch.setenv("IDENTITY_TOKEN_FILE", str(tmp_path))
    text = f"/gone/away/folder/a.yaml /gone/before/folder {tmp_path}/x"
    assert redact_text(text) == text


@given(st.text(string.ascii_letters + string.digits, min_size=1))
def test_whatever_stands_in_a_secret_field_is_gone(value: str) -> None:
    config = {"nested": {"list": [{"password": value}]}}
    before = copy.deepcopy(config)
    assert redact(config)["nested"]["list"][0]["password"] == REDACTED
    assert config == before


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(string.ascii_letters + " /.-"),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["seed", "loss", "beta"]), inner)
    ),
)


@given(json_values)
def test_json_without_secrets_is_kept_as_it_is(value: object) -> None:
    assert json.loads(json.dumps(redact(value))) == json.loads(json.dumps(value))
