"""Settings from environment, file and defaults; a wrong one is one line that names it."""

from __future__ import annotations

from pathlib import Path

import pytest

from pims.errors import ConfigurationError
from pims.settings import NOT_USED, Auth, Settings, without_effect


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder without pims-config.env."""
    monkeypatch.chdir(tmp_path)


def test_a_start_without_anything_uses_the_defaults() -> None:
    settings = Settings.load({})
    assert (settings.host, settings.port, settings.root) == ("127.0.0.1", 5000, Path("data/pims"))
    assert settings.pending_path == Path("data/pims/.pending")
    assert settings.auth is Auth.OFF


def test_the_environment_wins_over_the_file_and_arguments_over_both(tmp_path: Path) -> None:
    file = tmp_path / "a.env"
    file.write_text("PORT=1\nOUTPUT_SIZE_LIMIT=2\noutput_size_ceiling=3\nSOMETHING_ELSE=4\n")
    environ = {"CONFIG_FILE": str(file), "output_size_limit": "3", "WORKERS": "5", "PATH": "/bin"}
    settings = Settings.load(environ, workers=6, host=None)
    assert (settings.port, settings.output_size_limit, settings.output_size_ceiling) == (1, 3, 3)
    assert settings.workers == 6


def test_the_file_of_the_folder_is_read_when_none_is_named(tmp_path: Path) -> None:
    (tmp_path / "pims-config.env").write_text("PORT=4321\n")
    assert Settings.load({}).port == 4321


def test_an_empty_value_is_no_value(tmp_path: Path) -> None:
    assert Settings.load({"PORT": "", "WRITING_PATH": "", "AUTH_SECRET": ""}).writing_path is None
    file = tmp_path / "a.env"
    file.write_text("PORT=\nWRITING_PATH=\n")
    settings = Settings.load({"CONFIG_FILE": str(file)})
    assert (settings.port, settings.writing_path) == (5000, None)


@pytest.mark.parametrize(
    ("environ", "line"),
    [
        ({"PORT": "http"}, "PORT: "),
        ({"PORT": "70000"}, "PORT: "),
        ({"WORKERS": "0"}, "WORKERS: "),
        ({"DEBUG": "app:*"}, "DEBUG: "),
        ({"AUTH": "none"}, "AUTH: "),
        ({"AUTH": "accounts"}, "AUTH: accounts are not in this version; use off or network"),
        ({"AUTH": "network"}, "AUTH: network needs AUTH_NETWORKS or AUTH_SECRET"),
        ({"AUTH": "network", "AUTH_SECRET": ""}, "AUTH: network needs AUTH_NETWORKS or AUTH_SECRET"),
        ({"AUTH": "network", "AUTH_NETWORKS": "10.0.0.0/99"}, "AUTH_NETWORKS: "),
        ({"HOST": "0.0.0.0"}, "HOST: 0.0.0.0 can be reached by others and AUTH is off"),
        ({"HOST": "images.example"}, "HOST: images.example can be reached by others"),
        ({"CORS_ORIGINS": "*"}, "CORS_ORIGINS: name the origins"),
        ({"API_BASE_PATH": "ims"}, "API_BASE_PATH: must start with /"),
        ({"API_BASE_PATH": "/{x}"}, "API_BASE_PATH: must start with /"),
        ({"API_BASE_PATH": "/a b"}, "API_BASE_PATH: must start with /"),
        ({"API_BASE_PATH": "/a/../b"}, "API_BASE_PATH: must start with /"),
        ({"AUTH_SECRET": "\udcff" * 9}, "AUTH_SECRET: must have at least 8 characters, all of them ASCII"),
        ({"AUTH_SECRET": "short"}, "AUTH_SECRET: must have at least 8 characters, all of them ASCII"),
        ({"ROOT": "a", "WRITING_PATH": "./a"}, "WRITING_PATH: must not be ROOT itself"),
        ({"IMPORT_TIME_LIMIT": "inf"}, "IMPORT_TIME_LIMIT: "),
        ({"IMPORT_MEMORY_LIMIT": "1" + "0" * 30}, "IMPORT_MEMORY_LIMIT: "),
        ({"CONFIG_FILE": "/" + "x" * 5000}, "CONFIG_FILE: "),
        ({"CONFIG_FILE": "/"}, "CONFIG_FILE: "),
        ({"OUTPUT_SIZE_LIMIT": "30000"}, "OUTPUT_SIZE_CEILING: must not be below OUTPUT_SIZE_LIMIT"),
        ({"CONVERSION_JPEG_QUALITY": "101"}, "CONVERSION_JPEG_QUALITY: "),
        ({"IMPORT_TIME_LIMIT": "-1"}, "IMPORT_TIME_LIMIT: "),
        ({"CONFIG_FILE": "/nowhere.env"}, "CONFIG_FILE: there is no file /nowhere.env"),
    ],
)
def test_a_wrong_value_is_one_line_that_names_the_setting(environ: dict[str, str], line: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Settings.load(environ)
    assert str(caught.value).startswith(line)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "localhost", "::1"])
def test_this_machine_may_be_served_without_authentication(host: str) -> None:
    assert Settings.load({"HOST": host}).host == host


def test_others_may_be_served_with_it() -> None:
    settings = Settings.load(
        {
            "HOST": "0.0.0.0",
            "AUTH": "network",
            "AUTH_NETWORKS": "10.0.0.0/8, ::1/128",
            "AUTH_SECRET": "s3cret-s3cret",
        }
    )
    assert settings.auth_networks == ("10.0.0.0/8", "::1/128")
    assert "s3cret-s3cret" not in repr(settings)
    assert "s3cret-s3cret" not in str(settings.redacted())
    assert settings.redacted()["AUTH_SECRET"] == "********"


def test_a_prefix_has_no_slash_at_its_end() -> None:
    assert Settings.load({"API_BASE_PATH": "/ims/"}).api_base_path == "/ims"


def test_settings_of_other_servers_are_named_with_the_reason(tmp_path: Path) -> None:
    assert without_effect({"ROOT": "x", "CACHE_URL": "", "PATH": "/bin"}) == []
    (tmp_path / "pims-config.env").write_text("task_queue_url=rabbitmq:5672\nPORT=1\n")
    named = without_effect({"Cache_Url": "redis://cache:6379"})
    assert [sentence.partition(":")[0] for sentence in named] == ["CACHE_URL", "TASK_QUEUE_URL"]
    with pytest.raises(ConfigurationError, match="CONFIG_FILE"):
        without_effect({"CONFIG_FILE": str(tmp_path / "nothing")})


def test_nothing_is_a_setting_and_not_used() -> None:
    assert not {name.lower() for name in NOT_USED} & set(Settings.model_fields)
