"""lossreg inside Keras 3 on torch: the loss of compile, its callback, saved models, records."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
import torch

import lossreg
from lossreg import InputError, ShapeError
from lossreg.integrations import Tracked
from lossreg.records import aggregate_by_dataset

from ..pages import run_blocks
from .data import MIX, Pictures, loader, mix, net, plain_loop, trainer

keras = trainer("keras")
from lossreg.integrations.keras import KerasBatches, KerasLoss, LossCallback  # noqa: E402

PAGE = Path(__file__).parents[2] / "docs/trainers/keras.md"
PARTS = ["total_loss", "loss_focal", "loss_dice"]


def last(values):
    """Channels last, as numpy."""
    return values.movedim(1, -1).float().numpy()


def arrays(number=16):
    data = Pictures(number)
    return last(data.images), last(data.masks)


def model(activation=None, **options):
    """net() in Keras, with channels last."""
    kind = keras.layers.Conv2D
    built = keras.Sequential(
        [
            keras.Input((16, 16, 3)),
            kind(8, 3, padding="same", activation="relu"),
            kind(1, 1, activation=activation, **options),
        ]
    )
    weights = [p.detach().numpy() for p in net().parameters()]
    built.set_weights([w.transpose(2, 3, 1, 0) if w.ndim == 4 else w for w in weights])
    return built


def fitted(loss=None, callback=None, *, lr=0.0, number=16, epochs=1, callbacks=(), optimizer=None, **options):
    """Fit net() in order, in batches of 4."""
    built = model()
    built.compile(optimizer or keras.optimizers.SGD(lr), loss=loss or KerasLoss(MIX))
    x, y = arrays(number)
    options = {"batch_size": 4, "shuffle": False, "verbose": 0} | options
    callbacks = [callback or LossCallback(), *callbacks]
    return built, built.fit(x, y, epochs=epochs, callbacks=callbacks, **options).history


def assert_weights(built, expected):
    for found, parameter in zip(built.get_weights(), expected.parameters(), strict=True):
        w = parameter.detach().numpy()
        np.testing.assert_allclose(found, w.transpose(2, 3, 1, 0) if w.ndim == 4 else w, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("accumulate", [1, 2])
def test_it_trains_as_the_plain_loop(accumulate):
    """Parameters after two epochs, and the means over them."""
    steps = None if accumulate == 1 else accumulate
    optimizer = keras.optimizers.SGD(0.1, gradient_accumulation_steps=steps)
    built, _ = fitted(optimizer=optimizer, epochs=2)
    assert_weights(built, plain_loop(lr=0.1, accumulate=accumulate, epochs=2).model)


def test_the_history_has_total_and_components():
    """Means over the examples, with an uneven last batch, in training and validation; Keras's own loss agrees."""
    validation = tuple(part[:7] for part in arrays())
    _, history = fitted(number=10, epochs=2, validation_data=validation)
    expected = plain_loop(loader(10)).means | {f"val_{k}": v for k, v in plain_loop(loader(7)).means.items()}
    for name, value in expected.items():
        assert history[name] == pytest.approx([value] * 2, rel=1e-5), name
    assert history["loss"] == pytest.approx(history["total_loss"])
    assert set(history) == {"loss", "val_loss", *expected}


def test_callbacks_after_it_see_the_logs(folder):
    """Checkpoints of the least total, early stopping, and the file of CSVLogger."""
    kept = keras.callbacks.ModelCheckpoint(
        "best.keras", monitor="val_total_loss", mode="min", save_best_only=True, verbose=0
    )
    stop = keras.callbacks.EarlyStopping("val_loss_dice", mode="min", patience=1)
    _, history = fitted(
        lr=-1.0, epochs=6, validation_data=arrays(8), callbacks=[kept, stop, keras.callbacks.CSVLogger("log.csv")]
    )
    assert len(history["loss"]) < 6
    assert kept.best == min(history["val_total_loss"]) == history["val_total_loss"][0]
    with (folder / "log.csv").open() as file:
        assert {"total_loss", "loss_focal", "val_loss_dice"} < set(next(csv.DictReader(file)))


def test_a_batch_computes_the_loss_once(monkeypatch):
    """Total, components and logs come from one call; the stand-ins of Keras's build cause none."""
    loss, calls = KerasLoss(MIX), []
    evaluate = type(loss.tracked.loss).evaluate
    monkeypatch.setattr(type(loss.tracked.loss), "evaluate", lambda *a, **k: calls.append(1) or evaluate(*a, **k))
    fitted(loss, validation_data=arrays(8))
    assert len(calls) == 4 + 2


def test_evaluate_adds_to_its_logs():
    """Those of its callbacks, without a prefix; the means of earlier calls are not among them."""
    built, _ = fitted()
    seen = {}
    after = keras.callbacks.LambdaCallback(on_epoch_end=None)
    after.on_test_end = lambda logs=None: seen.update(logs)
    x, y = arrays()
    built.evaluate(x, y, verbose=0)
    built.evaluate(x[:6], y[:6], batch_size=4, verbose=0, callbacks=[LossCallback(), after])
    assert {name: seen[name] for name in PARTS} == pytest.approx(plain_loop(loader(6)).means, rel=1e-5)


def test_evaluations_without_the_callback():
    """They are no part of the next epoch's means, and those after a training are "val"."""
    loss = KerasLoss(MIX)
    built = model()
    built.compile(keras.optimizers.SGD(0.0), loss=loss)
    x, y = arrays()
    built.evaluate(x[10:], y[10:], verbose=0)
    options = {"batch_size": 4, "shuffle": False, "verbose": 0, "callbacks": [LossCallback()]}
    history = built.fit(x, y, validation_data=(x[:6], y[:6]), **options).history
    assert history["val_total_loss"] == pytest.approx([plain_loop(loader(6)).means["total_loss"]], rel=1e-5)
    built.fit(x, y, **options)
    built.evaluate(x[:6], y[:6], verbose=0)
    assert loss.tracked.read("train") == {}
    assert loss.tracked.read("val", "") == pytest.approx(plain_loop(loader(6)).means, rel=1e-5)


@pytest.mark.parametrize("kind", ["uint8", "bool", "float64", "int32"])
def test_masks_of_any_type(kind):
    """Keras makes floats of targets for its own losses."""
    x, y = arrays(4)
    built = model()
    built.compile("sgd", loss=KerasLoss(MIX))
    found = built.evaluate(x, y.astype(kind), verbose=0)
    assert found == pytest.approx(plain_loop(loader(4)).means["total_loss"], rel=1e-5)


@pytest.mark.parametrize("shape", [(4, 8, 8), (4, 8, 8, 1)])
@pytest.mark.parametrize("kind", ["int64", "uint8"])
def test_class_indices(shape, kind):
    """With and without a last axis of 1; cross-entropy is that of torch."""
    inputs = keras.Input((8, 8, 2))
    built = keras.Model(inputs, keras.layers.Conv2D(3, 1)(inputs))
    built.compile("sgd", loss=KerasLoss("cross_entropy"))
    x = np.random.default_rng(0).normal(size=(4, 8, 8, 2)).astype("float32")
    y = np.random.default_rng(1).integers(0, 3, shape).astype(kind)
    logits = torch.tensor(np.array(built.predict(x, verbose=0))).movedim(-1, 1)
    expected = torch.nn.functional.cross_entropy(logits, torch.tensor(y.reshape(4, 8, 8).astype("int64")))
    assert built.evaluate(x, y, verbose=0) == pytest.approx(expected.item(), rel=1e-5)


def test_channels_first():
    """From the configuration of Keras, or from the argument."""
    data = Pictures(4)
    built = keras.Sequential([keras.Input((3, 16, 16)), keras.layers.Conv2D(1, 1, data_format="channels_first")])
    built.compile("sgd", loss=KerasLoss(MIX, channels_last=False))
    found = built.evaluate(data.images.numpy(), data.masks.float().numpy(), verbose=0)
    logits = torch.tensor(np.array(built.predict(data.images.numpy(), verbose=0)))
    assert found == pytest.approx(mix(logits, data.masks)["total_loss"].mean().item(), rel=1e-5)
    keras.config.set_image_data_format("channels_first")
    try:
        assert KerasLoss(MIX).get_config()["channels_last"] is False
    finally:
        keras.config.set_image_data_format("channels_last")
    assert KerasLoss(MIX).get_config()["channels_last"] is True


def weighted(loss, weights, number=4):
    built = model()
    built.compile(keras.optimizers.SGD(0.1), loss=loss)
    x, y = arrays(number)
    built.fit(x, y, sample_weight=weights, batch_size=number, verbose=0)
    return built


@pytest.mark.parametrize("shape", [(4,), (4, 1)])
def test_sample_weights_weigh_examples(shape):
    """The value is the mean of weight times loss, and a step follows its gradient; the loss is computed once."""
    weights = np.array([0.0, 1.0, 2.0, 5.0], "float32")
    data, plain = Pictures(4), net()
    total = (mix(plain(data.images), data.masks)["total_loss"] * torch.tensor(weights)).mean()
    total.backward()
    torch.optim.SGD(plain.parameters(), 0.1).step()
    loss = KerasLoss(MIX)
    built = weighted(loss, weights.reshape(shape))
    assert built.get_metrics_result()["loss"].item() == pytest.approx(total.item(), rel=1e-5)
    assert_weights(built, plain)
    # The components and the total of the logs are those of the loss itself, without weights.
    assert loss.tracked.read()["train/total_loss"] == pytest.approx(plain_loop(loader(4)).means["total_loss"], rel=1e-5)


def test_sample_weights_of_a_sum():
    """The weighted sum."""
    data, weights = Pictures(4), np.array([0.0, 1.0, 2.0, 5.0], "float32")
    built = weighted(KerasLoss({"name": "dice", "params": {"reduction": "sum"}}), weights)
    expected = mix(net()(data.images), data.masks)["loss_dice"] * torch.tensor(weights)
    assert built.get_metrics_result()["loss"].item() == pytest.approx(expected.sum().item(), rel=1e-5)


@pytest.mark.parametrize("loss", [{"name": "dice", "params": {"batch": True}}, torch.nn.BCEWithLogitsLoss()])
def test_sample_weights_need_values_per_example(loss):
    """Others are refused, and train without weights."""
    with pytest.raises(InputError, match=r"no values per example; train without them, or choose a loss that splits"):
        weighted(KerasLoss(loss), np.ones(4, "float32"))
    weighted(KerasLoss(loss), None)


def test_weights_of_pixels_are_refused():
    """A loss weighs its pixels itself."""
    with pytest.raises(ShapeError, match=r"one weight for each of 4 examples, got \(4, 16, 16, 1\)"):
        weighted(KerasLoss("dice"), np.ones((4, 16, 16, 1), "float32"))


def test_a_saved_model_has_its_loss(folder):
    """Its config is in the file; the loaded model is compiled, and gives the same."""
    loss = KerasLoss(Tracked(MIX, monitor="warn"), activation="sigmoid", name="mine")
    built = model("sigmoid")
    built.compile("sgd", loss=loss)
    x, y = arrays(4)
    value = built.evaluate(x, y, verbose=0)
    built.save("saved.keras")
    loaded = keras.models.load_model("saved.keras")
    assert loaded.evaluate(x, y, verbose=0) == value
    assert value == pytest.approx(plain_loop(loader(4)).means["total_loss"], rel=1e-4)
    assert lossreg.config_of(loaded.loss.tracked) == lossreg.config_of(loss.tracked)
    assert loaded.loss.get_config() == loss.get_config()
    loaded.fit(x, y, verbose=0, callbacks=[LossCallback()])


@pytest.mark.parametrize("ends", ["sigmoid", "softmax", keras.layers.Activation("sigmoid"), keras.layers.Softmax()])
def test_probabilities_need_the_name_of_their_activation(ends):
    """As training begins: no loss of logits trains on probabilities unnoticed. Both remedies of the message work."""
    named = ends if isinstance(ends, str) else type(ends).__name__.lower().replace("activation", "sigmoid")
    x, y = arrays(4)

    def compiled(ends, activation=None):
        layers = (
            [keras.layers.Conv2D(1, 1, activation=ends)]
            if isinstance(ends, str | None)
            else [keras.layers.Conv2D(1, 1), ends]
        )
        built = keras.Sequential([keras.Input((16, 16, 3)), *layers])
        whole = keras.Model(built.inputs, keras.Sequential([built])(built.inputs[0]))  # nested
        whole.compile("sgd", loss=KerasLoss("dice", activation=activation))
        return whole

    remedy = rf"leave the {named} out of the model, or write KerasLoss\(..., activation='{named}'\)"
    for run in ("fit", "evaluate"):
        with pytest.raises(InputError, match=remedy):
            getattr(compiled(ends), run)(x, y, verbose=0, callbacks=[LossCallback()])
    compiled(ends, named).fit(x, y, verbose=0, callbacks=[LossCallback()])
    compiled(None).fit(x, y, verbose=0, callbacks=[LossCallback()])
    with pytest.raises(InputError, match="the output of the model is linear; leave activation out"):
        compiled(None, named).fit(x, y, verbose=0, callbacks=[LossCallback()])


def test_the_wrong_activation_is_refused():
    """The other one is named."""
    built = model("sigmoid")
    built.compile("sgd", loss=KerasLoss("dice", activation="softmax"))
    with pytest.raises(InputError, match="the output of the model is sigmoid; write activation='sigmoid'"):
        built.fit(*arrays(4), verbose=0, callbacks=[LossCallback()])


def two_outputs(loss, keys=None):
    inputs = keras.Input((16, 16, 3))
    outputs = [keras.layers.Conv2D(1, 1, name=name)(inputs) for name in ("mask", "edge")]
    built = keras.Model(inputs, dict(zip(keys, outputs, strict=True)) if keys else outputs)
    built.compile("sgd", loss=loss)
    x, y = arrays(4)
    y = dict.fromkeys(keys, y) if keys else [y, y]
    return built.fit(x, y, verbose=0, callbacks=[LossCallback()], validation_data=(x, y)).history


def test_several_outputs_have_their_names():
    """A list, names of outputs, and the keys of a model that returns a dict."""
    expected = {"mask_total_loss", "mask_loss_dice", "edge_total_loss", "val_mask_loss_dice", "val_edge_loss_focal"}
    assert expected <= set(two_outputs([KerasLoss("dice"), KerasLoss("focal")]))
    assert expected <= set(two_outputs({"mask": KerasLoss("dice"), "edge": KerasLoss("focal")}))
    history = two_outputs({"a": KerasLoss("dice"), "b": "mse"}, keys=["a", "b"])
    assert {"a_total_loss", "val_a_loss_dice"} <= set(history)


class Unnamed(keras.Model):
    """A model of a class of its own, whose outputs Keras does not know before the first batch."""

    def __init__(self):
        super().__init__()
        self.mask, self.edge = keras.layers.Conv2D(1, 1), keras.layers.Conv2D(1, 1)

    def call(self, inputs):
        return [self.mask(inputs), self.edge(inputs)]


def test_outputs_without_names_have_those_of_their_losses():
    """As in Keras's own logs; none is left out."""
    built = Unnamed()
    built.compile("sgd", loss=[KerasLoss("dice", name="mask"), KerasLoss("focal", name="edge")])
    x, y = arrays(4)
    history = built.fit(x, [y, y], verbose=0, callbacks=[LossCallback()]).history
    assert history["mask_total_loss"] == pytest.approx(history["mask_loss"])
    assert history["edge_total_loss"] == pytest.approx(history["edge_loss"])
    assert {"mask_loss_dice", "edge_loss_focal"} <= set(history)


def test_each_output_is_checked_against_its_layer():
    """By the key of a dict, although Keras sorts these."""
    inputs = keras.Input((16, 16, 3))
    first, second = keras.layers.Conv2D(1, 1, activation="sigmoid")(inputs), keras.layers.Conv2D(1, 1)(inputs)
    built = keras.Model(inputs, {"p": first, "l": second})
    x, y = arrays(4)
    for activation in ("sigmoid", None):
        built.compile("sgd", loss={"p": KerasLoss("dice", activation=activation), "l": KerasLoss("dice")})
        if activation:
            built.fit(x, {"p": y, "l": y}, verbose=0, callbacks=[LossCallback()])
            continue
        with pytest.raises(InputError, match="the model ends in a sigmoid"):
            built.fit(x, {"p": y, "l": y}, verbose=0, callbacks=[LossCallback()])


def test_one_loss_for_several_outputs_is_refused():
    """Their means would be mixed; the dict of the message works."""
    with pytest.raises(InputError, match=r"give each its own: loss=\{'mask': KerasLoss\(...\), 'edge': KerasLoss"):
        two_outputs(KerasLoss("dice"))


def test_the_callback_needs_a_loss():
    """A KerasLoss, in the model."""
    built = model()
    built.compile("sgd", loss="mse")
    with pytest.raises(InputError, match=r"LossCallback finds no loss: write model.compile\(..., loss=KerasLoss\('dic"):
        built.fit(*arrays(4), verbose=0, callbacks=[LossCallback()])


def test_losses_that_learn_are_refused():
    """Keras trains the weights of the model alone."""
    with pytest.raises(InputError, match=r"the loss learns log_variances.*weighted_sum"):
        KerasLoss({"name": "uncertainty_weighting", "params": {"terms": ["focal", "dice"]}})


def test_another_backend_is_refused(monkeypatch):
    """The variable that chooses it is named."""
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(InputError, match="Keras runs on jax: set KERAS_BACKEND=torch before the first import"):
        KerasLoss("dice")


def test_a_schedule_gets_the_optimiser_steps():
    """Accumulated batches are one step, across epochs of an odd number of batches."""
    seen, points = [], [[0, 0.0], [100, 100.0]]

    class Steps(lossreg.Loss):
        def terms(self, input, target, *, step: int = -1):
            seen.append(step)
            return {"part": lossreg.Term(input.flatten(1).mean(1))}

    for accumulate, expected in ((None, [0, 1, 2, 3, 4, 5]), (2, [0, 0, 1, 1, 2, 2])):
        seen.clear()
        fitted(
            KerasLoss(Steps()),
            number=12,
            epochs=2,
            optimizer=keras.optimizers.SGD(0.0, gradient_accumulation_steps=accumulate),
        )
        assert seen == expected
    scheduled = {"name": "scheduled", "params": {"terms": [{"name": "dice", "points": points}]}}
    _, history = fitted(KerasLoss(scheduled))
    dice = [step["loss_dice"] for step in plain_loop().steps]
    assert history["total_loss"] == pytest.approx([sum(n * value for n, value in enumerate(dice)) / 4], rel=1e-5)


@pytest.mark.parametrize("way", ["stop", "raise"])
def test_a_monitor_stops_the_training(way):
    """NaN in the pictures: the training ends, by stop_training or HealthError. The callback keeps the events."""
    loss = KerasLoss(Tracked(MIX, monitor={"every": 1, "action": way}))
    built = model()
    built.compile(keras.optimizers.SGD(0.1), loss=loss)
    x, y = arrays()
    x[5] = np.nan
    callback = LossCallback()
    if way == "raise":
        with pytest.raises(lossreg.HealthError, match="NonFinite"):
            built.fit(x, y, batch_size=4, shuffle=False, verbose=0, callbacks=[callback])
        return
    history = built.fit(x, y, batch_size=4, shuffle=False, epochs=3, verbose=0, callbacks=[callback]).history
    assert [event.rule for event in callback.events] == ["NonFinite"]
    assert history["health_events"] == [1]
    assert "updates=2" in repr(loss.tracked.monitor)


def test_a_model_is_fitted_again_with_its_monitor():
    """A second fit goes on: the last updates of the first are evaluated, and the monitor stays open."""
    loss = KerasLoss(Tracked(MIX, monitor={"every": 3, "action": "stop"}))
    built = model()
    built.compile(keras.optimizers.SGD(0.1), loss=loss)
    x, y = arrays()
    built.fit(x, y, batch_size=4, verbose=0, callbacks=[LossCallback()])
    x[15] = np.nan
    callback = LossCallback()
    built.fit(x, y, batch_size=4, shuffle=False, verbose=0, callbacks=[callback])
    assert "updates=8" in repr(loss.tracked.monitor)
    assert [event.rule for event in callback.events] == ["NonFinite"]


def test_records_name_each_example_once(folder):
    """With a shuffled loader, validation and Keras's build, which draws a batch; the reports follow the epochs."""
    loss = KerasLoss(Tracked(MIX, records="records"), channels_last=False)
    built = keras.Sequential([keras.Input((3, 16, 16)), keras.layers.Conv2D(1, 1, data_format="channels_first")])
    built.compile(keras.optimizers.SGD(0.0), loss=loss)
    data = torch.utils.data.DataLoader(Pictures(10), batch_size=4, shuffle=True)
    batches = [KerasBatches(each, "image", "mask", {"sample_ids": "id"}) for each in (data, loader(6))]
    history = built.fit(
        batches[0], validation_data=batches[1], epochs=2, verbose=0, callbacks=[LossCallback("reports", job="seg")]
    ).history
    found = aggregate_by_dataset("records", together=True)["overall"]
    assert (found["count"], found["items"]) == (2 * 10 + 2 * 6, 10)
    logits = torch.tensor(np.array(built.predict(Pictures(10).images.numpy(), verbose=0)))
    expected = dict(
        zip([f"s{n}" for n in range(10)], mix(logits, Pictures(10).masks)["total_loss"].tolist(), strict=True)
    )
    assert {row["sample_id"]: row["mean"] for row in found["highest"]} == pytest.approx(expected, rel=1e-5)
    assert history["val_total_loss"][0] == pytest.approx(sum(list(expected.values())[:6]) / 6, rel=1e-5)
    assert sorted(path.name for path in (folder / "reports").iterdir()) == ["seg_000000003.json", "seg_000000006.json"]
    assert json.loads((folder / "reports/seg_000000006.json").read_text())


def test_batches_of_tuples_and_of_workers():
    """Ids are at an index; they come through workers."""

    class Triples(Pictures):
        def __getitem__(self, index):
            return tuple(super().__getitem__(index).values())

    source = torch.utils.data.DataLoader(Triples(6), batch_size=4, num_workers=1)
    batches = KerasBatches(source, 0, 1, {"sample_ids": 2})
    assert len(batches) == 2
    assert len(KerasBatches(torch.utils.data.DataLoader(Triples(6), batch_size=4, drop_last=True), 0, 1)) == 1
    assert [x.shape[0] for x, _ in batches] == [4, 2]
    loss = KerasLoss(Tracked("dice"), channels_last=False)
    for x, y in batches:
        loss(y, net()(x))
    assert list(loss.tracked.context.sample_ids) == ["s4", "s5"]


def test_batches_of_numpy():
    """From a loader that collates itself. The ids are under the key of their name."""
    x, y = arrays(4)
    source = torch.utils.data.DataLoader(range(1), collate_fn=lambda _: {"x": x, "y": y, "sample_ids": list("abcd")})
    loss = KerasLoss("dice")
    for image, mask in KerasBatches(source, "x", "y"):
        loss(mask, image[..., :1])
    assert loss.tracked.context.sample_ids == list("abcd")


def test_reports_need_records():
    """The message names the argument."""
    with pytest.raises(InputError, match="a report needs the loss of each example: give records="):
        fitted(callback=LossCallback("reports"))


class Interrupt(keras.callbacks.Callback):
    def on_train_batch_begin(self, batch, logs=None):
        if self.model.optimizer.iterations == 6:
            raise KeyboardInterrupt


def test_a_restart_goes_on_with_the_records(folder):
    """Interrupted in the second epoch, restored by BackupAndRestore: each example is read once per epoch."""

    def run(*callbacks):
        loss = KerasLoss(Tracked(MIX, records=lossreg.records.RecordWriter("records", run="seg")), channels_last=False)
        built = keras.Sequential([keras.Input((3, 16, 16)), keras.layers.Conv2D(1, 1, data_format="channels_first")])
        built.compile(keras.optimizers.SGD(0.1), loss=loss)
        backup = keras.callbacks.BackupAndRestore("backup")
        callbacks = [LossCallback(), backup, *callbacks]
        batches = KerasBatches(loader(), "image", "mask", {"sample_ids": "id"})
        try:
            built.fit(batches, epochs=3, verbose=0, callbacks=callbacks)
        finally:
            loss.tracked.flush()

    with pytest.raises(KeyboardInterrupt):
        run(Interrupt())
    run()
    found = aggregate_by_dataset("records", together=True)["overall"]
    assert (found["count"], found["items"]) == (3 * 16, 16)


def test_single_batches():
    """train_on_batch and test_on_batch have no callbacks: the loss has the parts."""
    loss = KerasLoss(MIX)
    built = model()
    built.compile(keras.optimizers.SGD(0.0), loss=loss)
    x, y = arrays(4)
    for step in range(2):
        loss.tracked.context.begin(step=step, sample_ids=list("abcd"))
        built.train_on_batch(x, y)
    built.test_on_batch(x, y)
    expected = plain_loop(loader(4)).means
    assert loss.tracked.read("train", "") == pytest.approx(expected, rel=1e-5)
    assert loss.tracked.read("val", "") == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(policy):
    """The loss is float32 on outputs of half precision, and trains."""
    keras.config.set_dtype_policy(policy)
    try:
        loss = KerasLoss(MIX)
        optimizer = keras.optimizers.LossScaleOptimizer(keras.optimizers.SGD(0.1), initial_scale=16.0)
        _, history = fitted(loss, optimizer=optimizer)
    finally:
        keras.config.set_dtype_policy("float32")
    assert loss.tracked.last.total.dtype == torch.float32
    assert history["total_loss"] == pytest.approx([plain_loop(lr=0.1).means["total_loss"]], rel=0.02)


def test_the_page(folder, monkeypatch):
    """Its blocks run, and print what they show."""
    run_blocks(PAGE, folder, monkeypatch)
