"""Keys: where they come from, and which one a request comes with."""

from __future__ import annotations

import hmac
import logging
from hashlib import sha256
from pathlib import Path

import pytest

from indexer.service.http.access.key import Key, Role
from indexer.service.http.access.key_sources import VARIABLE
from indexer.service.http.access.keys import Keys
from ubm_embed.errors import InvalidData, NotFound

SHOP, CRON = "shop-" + "s" * 40, "cron-" + "c" * 40


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with two keys that only its owner can read."""
    file = tmp_path / "keys.toml"
    file.touch(mode=0o600)
    write(
        file,
        f'name = "shop"\nrole = "read"\nkey = "{SHOP}"\nrate = 50',
        f'name = "cron"\nrole = "admin"\nkey = "{CRON}"',
    )
    return file


def write(file: Path, *tables: str) -> None:
    """Write keys."""
    file.write_text("".join(f"[[keys]]\n{table}\n" for table in tables))


def found(keys: Keys, token: str) -> Key:
    """The key that this is."""
    key = keys.find(token.encode())
    assert key is not None
    return key


def test_a_key_is_found_with_its_role_and_rate(file: Path) -> None:
    keys = Keys.read(file, {})
    shop, cron = found(keys, SHOP), found(keys, CRON)
    assert (shop.name, shop.role, shop.rate, shop.burst) == ("shop", Role.READ, 50, 50)
    assert (cron.name, cron.role, cron.rate) == ("cron", Role.ADMIN, None)
    assert keys.find(SHOP[:-1].encode()) is None
    assert keys.find(b"\xff") is None


def test_keys_come_from_the_environment_too(file: Path) -> None:
    other = "o" * 32
    keys = Keys.read(file, {VARIABLE: f"page:write:{other},\n  backup:READ:{other[:-1]}x "})
    assert [key.name for key in keys] == ["page", "backup", "shop", "cron"]
    assert found(keys, other).role == Role.WRITE


def test_without_any_there_are_none() -> None:
    assert not Keys.read(None, {})
    assert not Keys.read(None, {VARIABLE: " , "})


def test_a_file_may_hold_the_digest_of_a_key_and_then_be_read_by_all(file: Path) -> None:
    write(file, f'name = "shop"\nrole = "write"\nsha256 = "{sha256(SHOP.encode()).hexdigest()}"')
    file.chmod(0o644)
    assert found(Keys.read(file, {}), SHOP).role == Role.WRITE


def test_keys_that_all_can_read_are_refused(file: Path) -> None:
    file.chmod(0o644)
    with pytest.raises(InvalidData, match="everybody can read these keys; `chmod 600` it"):
        Keys.read(file, {})


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        ('name = "shop"\nrole = "read"', "expected either key or sha256"),
        (f'name = "shop"\nrole = "read"\nkey = "{SHOP}"\nsha256 = "{"0" * 64}"', "expected either key or sha256"),
        (f'name = "shop"\nrole = "owner"\nkey = "{SHOP}"', "expected the role read, write or admin"),
        (f'name = "shop"\nrole = "read"\nkey = "{SHOP[:20]}"', "at least 32 letters"),
        (f'name = "shop"\nrole = "read"\nkey = "{SHOP} "', "at least 32 letters"),
        (f'name = "{SHOP}!"\nrole = "read"\nkey = "{SHOP}"', r"keys\[0\].name"),
        (f'name = "shop"\nrole = "read"\nsha256 = "{SHOP}"', r"keys\[0\].sha256"),
        (f'name = "shop"\nrole = "read"\nkey = ["{SHOP}"]', r"keys\[0\].key"),
        (f'name = "shop"\nrole = "read"\nkey = "{SHOP}"\nrate = 0', r"keys\[0\].rate"),
        (f'name = "shop"\nrole = "read"\nkey = "{SHOP}"\nrate = nan', r"keys\[0\].rate"),
        (f'name = "shop"\nrole = "read"\nkey = "{SHOP}"\nburst = 0.5', r"keys\[0\].burst"),
        (f'name = "shop"\nrole = "read"\nkey = "{SHOP}"\nscope = "{CRON}"', r"keys\[0\].scope"),
        (f'role = "read"\nkey = "{SHOP}"', r"keys\[0\].name"),
    ],
)
def test_an_invalid_file_is_refused_and_no_key_is_in_the_error(file: Path, table: str, problem: str) -> None:
    write(file, table)
    with pytest.raises(InvalidData, match=problem) as raised:
        Keys.read(file, {})
    assert str(file) in str(raised.value)
    assert SHOP[:20] not in str(raised.value)
    assert CRON not in str(raised.value)


@pytest.mark.parametrize("text", [SHOP, f"shop:{SHOP}", f"{SHOP}:read", f"shop:{SHOP}:read", f"shop:read:{SHOP[:20]}"])
def test_an_invalid_variable_is_refused_and_no_key_is_in_the_error(text: str) -> None:
    with pytest.raises(InvalidData, match=f"^{VARIABLE}, key 2: expected ") as raised:
        Keys.read(None, {VARIABLE: f"cron:admin:{CRON} {text}"})
    assert SHOP[:20] not in str(raised.value)
    assert CRON not in str(raised.value)


def test_two_keys_may_not_share_a_name_or_a_key(file: Path) -> None:
    for twice in (f"shop:read:{'o' * 32}", f"other:read:{SHOP}"):
        with pytest.raises(InvalidData, match="two keys are the same"):
            Keys.read(file, {VARIABLE: twice})


def test_a_missing_file_and_too_many_keys_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        Keys.read(tmp_path / "none.toml", {})
    with pytest.raises(InvalidData, match="at most 256 keys, got 257"):
        Keys.read(None, {VARIABLE: " ".join(f"k{number}:read:{number:032}" for number in range(257))})


def test_keys_are_read_again(file: Path) -> None:
    keys = Keys.read(file, {VARIABLE: f"page:write:{'o' * 32}"})
    write(file, f'name = "cron"\nrole = "read"\nkey = "{CRON}"')
    keys.reload()
    assert [key.name for key in keys] == ["page", "cron"]
    assert keys.find(SHOP.encode()) is None


@pytest.mark.parametrize("damage", ["not toml [", "", "keys = []"])
def test_keys_that_cannot_be_read_again_stay_as_they_were(
    file: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    keys = Keys.read(file, {})
    file.write_text(damage)
    with caplog.at_level(logging.ERROR):
        keys.reload()
    assert found(keys, SHOP).name == "shop"
    assert "the keys stay as they were" in caplog.text


def test_keys_whose_file_has_gone_stay_as_they_were(file: Path) -> None:
    keys = Keys.read(file, {})
    file.unlink()
    keys.reload()
    assert found(keys, SHOP).name == "shop"


def test_a_key_is_nowhere_in_the_text_of_what_holds_it(file: Path) -> None:
    keys = Keys.read(file, {})
    texts = repr(keys) + repr(list(keys)) + repr(vars(keys))
    assert SHOP not in texts
    assert repr(sha256(SHOP.encode()).digest()) not in texts


def test_every_key_is_compared_whichever_it_is(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys, compared = Keys.read(file, {}), []
    compare = hmac.compare_digest
    monkeypatch.setattr(hmac, "compare_digest", lambda one, other: compared.append(one) or compare(one, other))
    for token in (SHOP, CRON, "wrong"):
        compared.clear()
        keys.find(token.encode())
        assert len(compared) == 2
