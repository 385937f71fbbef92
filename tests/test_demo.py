"""The demo: on phantoms where there is nothing else, and saying so in every result."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from hilum.demo import find_demo_data
from hilum.errors import UsageError

HILUM = Path(sys.executable).with_name("hilum")


def run_demo(folder, **environment):
    variables = {name: value for name, value in os.environ.items() if name != "HILUM_DATA"}
    return subprocess.run(
        [HILUM, "demo"],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env={**variables, **environment},
    )


def test_the_demo_without_data_draws_phantoms_and_says_so_everywhere(tmp_path):
    done = run_demo(tmp_path)
    assert done.returncode == 0, done.stderr
    made = tmp_path / "demo"
    assert "PHANTOM" in done.stdout
    assert "research use only" in done.stdout
    metrics = json.loads((made / "evidence" / "metrics.json").read_text())
    assert metrics["phantom"]
    assert metrics["part"] == "test"
    assert metrics["figures"]["auc"]["value"] > 0.7
    assert "phantom" in (made / "evidence" / "report.html").read_text().lower()
    assert (made / "run" / "model.hilum").is_file()
    assert list((made / "overlays").glob("*RG1_UNCR.png"))


def test_a_data_folder_without_radiographs_is_said_and_not_replaced_by_phantoms(tmp_path):
    done = run_demo(tmp_path, HILUM_DATA=str(tmp_path))
    assert done.returncode == 2
    assert "holds no class folders" in done.stderr
    assert not (tmp_path / "demo").exists()


@pytest.mark.real_data
def test_the_real_radiographs_are_found(real_data):
    assert find_demo_data(real_data).folder == real_data / "kermany224"
    assert find_demo_data(real_data / "kermany512").folder == real_data / "kermany512"


def test_a_wrong_folder_is_named(tmp_path):
    with pytest.raises(UsageError, match="holds no class folders"):
        find_demo_data(tmp_path)
