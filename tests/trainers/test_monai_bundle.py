"""lossreg in MONAI bundles: the loss and its handler as components of a config, run as `python -m monai.bundle run`."""

import json
from pathlib import Path

import pytest
import torch

import lossreg
from lossreg.integrations import Tracked
from lossreg.records import aggregate_by_dataset

from .data import MIX, net, plain_loop, trainer

trainer("ignite")
monai = trainer("monai")
from monai import bundle  # noqa: E402
from monai.bundle import ConfigParser  # noqa: E402

BUNDLE = {
    "imports": ["$import torch", "$from tests.trainers.data import loader", "$from tests.trainers.data import net"],
    "pair": "$lambda batch, *_, **__: (batch['image'], batch['mask'])",
    "network": "$net()",
    "loader": "$loader()",
    "loss": {"_target_": "lossreg.integrations.Tracked", "loss": MIX, "monitor": "warn", "records": "records"},
    "optimizer": {
        "_target_": "torch.optim.SGD",
        "params": "$[*@network.parameters(), *@loss.parameters()]",
        "lr": 0.1,
    },
    "handler": {
        "_target_": "lossreg.integrations.monai.LossHandler",
        "tracked": "@loss",
        "batch_keys": {"sample_ids": "id"},
        "reports": "reports",
        "job": "night",
    },
    "evaluator": {
        "_target_": "SupervisedEvaluator",
        "device": "$torch.device('cpu')",
        "val_data_loader": "@loader",
        "network": "@network",
        "prepare_batch": "@pair",
        "key_val_metric": {"val/total_loss": "@handler"},
        "val_handlers": [
            {"_target_": "StatsHandler", "name": None, "iteration_log": False},
            {
                "_target_": "CheckpointSaver",
                "save_dir": "kept",
                "save_dict": {"model": "@network", "loss": "@handler"},
                "save_key_metric": True,
                "key_metric_negative_sign": True,
                "key_metric_filename": "best.pt",
            },
            "@handler",
        ],
    },
    "trainer": {
        "_target_": "SupervisedTrainer",
        "device": "$torch.device('cpu')",
        "max_epochs": 2,
        "train_data_loader": "@loader",
        "network": "@network",
        "optimizer": "@optimizer",
        "loss_function": "@loss",
        "prepare_batch": "@pair",
        "train_handlers": [
            {"_target_": "ValidationHandler", "interval": 1, "validator": "@evaluator"},
            {"_target_": "StatsHandler", "name": None, "output_transform": "$lambda _: @loss.latest()"},
            "@handler",
        ],
    },
    "run": ["$@trainer.run()"],
}


@pytest.mark.parametrize("suffix", ["json", "yaml"])
def test_a_bundle_trains_as_a_plain_loop(suffix, caplog, folder):
    """Its statistics, records, report and best checkpoint; an override of a parameter reaches the loss."""
    import yaml

    caplog.set_level("INFO")
    path = Path(f"train.{suffix}")
    path.write_text(json.dumps(BUNDLE) if suffix == "json" else yaml.safe_dump(BUNDLE))
    bundle.run(config_file=str(path), run_id="run", **{"trainer#max_epochs": 3})
    plain = plain_loop(lr=0.1, epochs=3)
    last = {name: sum(step[name] for step in plain.steps[-4:]) / 4 for name in plain.means}
    assert f"train/loss_dice: {last['loss_dice']:.4f} train/loss_focal: {last['loss_focal']:.4f}" in caplog.text
    assert "Iter: 1/4 -- train/loss_dice:" in caplog.text
    best = torch.load("kept/best.pt", weights_only=True)
    for name, value in plain.model.state_dict().items():
        torch.testing.assert_close(best["model"][name], value)
    assert lossreg.config_of(lossreg.build(best["loss"]["config"])) == lossreg.config_of(lossreg.build(MIX))
    assert aggregate_by_dataset("records", together=True)["overall"]["count"] == 3 * 2 * 16
    assert sorted(path.name for path in Path("reports").iterdir())[-1] == "night_000000012.json"


def test_a_parameter_of_the_loss_is_overridden(folder):
    """As by `--loss#loss#params#terms#0#weight 5` on the command line."""
    parser = ConfigParser(json.loads(json.dumps(BUNDLE)))
    parser["loss#loss#params#terms#0#weight"] = 5
    logits = torch.zeros(1, 1, 4, 4)
    expected = lossreg.build({**MIX, "params": {"terms": [{"weight": 5, "name": "focal"}, MIX["params"]["terms"][1]]}})
    assert parser.get_parsed_content("loss")(logits, logits) == expected(logits, logits)


@pytest.mark.parametrize(
    "component",
    [
        {"_target_": "lossreg.build", **MIX},
        {"_target_": "lossreg.integrations.Tracked", "loss": MIX},
        {"_target_": "lossreg.integrations.Tracked", "loss": {"_target_": "lossreg.build", **MIX}},
        {"_target_": "lossreg.integrations.Tracked", "loss": "@plain"},
    ],
)
def test_forms_of_a_loss_in_a_bundle(component):
    """By name and params, as a config, nested, and by reference; all are the same loss."""
    parser = ConfigParser({"plain": {"_target_": "lossreg.build", **MIX}, "loss": component})
    loss = parser.get_parsed_content("loss")
    assert lossreg.config_of(loss) == lossreg.config_of(lossreg.build(MIX))
    logits, mask = net()(torch.ones(1, 3, 4, 4)), torch.ones(1, 1, 4, 4)
    assert loss(logits, mask) == lossreg.build(MIX)(logits, mask)


def test_a_mistake_in_a_bundle_is_named():
    """The error of the loss is the cause of MONAI's, which a traceback shows."""
    parser = ConfigParser({"loss": {"_target_": "lossreg.build", "name": "dise"}})
    with pytest.raises(RuntimeError, match="Failed to instantiate component") as raised:
        parser.get_parsed_content("loss")
    assert "unknown loss 'dise'; did you mean 'dice'" in str(raised.value.__cause__)


def test_labels_are_adapted_in_a_bundle():
    """A function by name: class indices of labels with one channel."""
    config = {
        "_target_": "lossreg.integrations.Tracked",
        "loss": {"name": "dice"},
        "adapt": {"_target_": "lossreg.integrations.monai.class_indices", "_mode_": "callable"},
    }
    loss = ConfigParser({"loss": config}).get_parsed_content("loss")
    logits, label = torch.eye(3).reshape(1, 3, 3, 1), torch.tensor([0.0, 1.0, 2.0]).reshape(1, 1, 3, 1)
    assert isinstance(loss, Tracked)
    assert loss(logits, label) == lossreg.build("dice")(logits, label[:, 0].long())
