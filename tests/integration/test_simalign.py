"""The simalign package as the oracle, on a thousand real pairs and by every method, as the benchmark compares."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkpoints import mini_lm

pytestmark = [pytest.mark.models, pytest.mark.timeout(1800)]  # simalign reads 30 pairs a second
ROOT = Path(__file__).parents[2]
PAIRS = 1000


def test_a_thousand_pairs_have_simaligns_links(bench_data, tmp_path):
    pytest.importorskip("simalign")
    mini_lm()
    subprocess.run(
        [
            sys.executable,
            "bench/align.py",
            "--blocks",
            "0",
            "--identical-pairs",
            str(PAIRS),
            "--json",
            tmp_path / "a",
        ],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT), "XNER_LABEL_BENCH_DATA": str(bench_data)},
        check=True,
    )
    figures = json.loads((tmp_path / "a").read_text())["identical"]
    # Where simalign's tokenize(word) splits otherwise than the encoder reads, its bpe links are off.
    excused = figures["disagreeing_tokenisation"]
    assert excused <= PAIRS // 100
    for method in ("inter", "itermax", "fwd", "rev"):
        assert figures[f"{method}/word"] == {"pairs": PAIRS, "identical": 1.0}
        assert figures[f"{method}/bpe"]["identical"] >= 1.0 - excused / PAIRS
    assert figures["mwmf/word"]["pairs"] == PAIRS
    # A maximum matching may have ties.
    assert figures["mwmf/word"]["largest_difference_in_total"] < 1e-4
