"""Training in several processes, on the CPU."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from test_training import CHUNK, Quiet, flow_settings, shards, trainer  # noqa: F401  # fixtures

SCRIPT = """
import sys
from pathlib import Path
from test_training import Quiet, trainer
from infinitetalk_cli.train.settings import FlowSettings
settings = FlowSettings.model_validate_json(sys.argv[1])
run = trainer([Path(name) for name in sys.argv[3:]], settings, Path(sys.argv[2]))
assert run.accelerator.num_processes == 2
run.run(Quiet())
"""


@pytest.mark.slow
def test_two_processes_make_the_steps_of_one(shards, flow_settings, tmp_path):  # noqa: F811
    """2 processes x 2 parts x 1 sample are 1 process x 4 samples, within rounding.

    Run it with `python -m pytest -m slow tests/unit/train/test_several_processes.py`.
    """
    four, one = CHUNK.model_copy(update={"batch_size": 4}), CHUNK.model_copy(update={"batch_size": 1})
    alone = flow_settings.model_copy(update={"phases": (four,), "checkpoint_every": 2})
    trainer(shards, alone, tmp_path / "alone").run(Quiet())
    both = alone.model_copy(update={"phases": (one,), "accumulate": 2})
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    here = Path(__file__).parent
    paths = (here, here.parents[1], here.parents[2])
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "PYTHONPATH": os.pathsep.join(map(str, paths))}
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", script]
    subprocess.run([*launch, both.model_dump_json(), tmp_path / "both", *shards], env=environment, check=True)
    states = [torch.load(tmp_path / name / "checkpoint.pt", weights_only=True) for name in ("alone", "both")]
    for name, weight in states[0]["model"].items():
        torch.testing.assert_close(weight, states[1]["model"][name], rtol=0, atol=2e-5)
    losses = []
    for name in ("alone", "both"):
        lines = (tmp_path / name / "metrics.jsonl").read_text().splitlines()
        losses.append([json.loads(line)["loss"] for line in lines])
    assert losses[0] == pytest.approx(losses[1], rel=1e-4)
