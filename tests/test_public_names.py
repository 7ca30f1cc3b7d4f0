"""Every public name of 0.1.0 imports. A name is taken off these lists after a version that deprecates it."""

from importlib import import_module

import pytest

PUBLIC = {
    "lossreg": """
        AmbiguousNameError ConflictError DTypeError DisabledError Entry HealthError ImplementationError InputError
        InvalidConfigError InvalidNameError Loss LossConfig LossOutput LossregError ManifestError MissingLibraryError
        NotFoundError ProviderError RecordsError Registry ShapeError TagSyntaxError Term WrongBaseClassError build
        config_of debug_checks evaluate hookimpl json_schema losses parts read_config validate
    """,
    "lossreg.contract": "Contract Implementation contract",
    "lossreg.errors": "LossregError Problem",
    "lossreg.health": """
        Collapse ComponentDominance ConstantPrediction DeadComponent EmptyTargets HealthError HealthEvent HealthWarning
        JsonLines LossMonitor NonFinite Plateau Rule Saturation Spike ZeroLoss default_rules to_hooks to_log
    """,
    "lossreg.health.event": "Finding",
    "lossreg.health.rules": "Verdicts",
    "lossreg.health.targets": """
        Flag Mask TargetFinding TargetReport Unreadable draw_targets examine read_targets
    """,
    "lossreg.integrations": "Adapt Context Tracked",
    "lossreg.integrations.hydra": "register_hydra_configs",
    "lossreg.integrations.sam2": "Sam2Loss merge_objects merge_targets predicted_masks",
    "lossreg.loss": "Loss LossOutput Per Reduction Term evaluate",
    "lossreg.records": """
        CaptionRules Draw Filters RankError Ranking RayExecutor RecordConfig RecordWriter aggregate_by_dataset
        aggregate_by_run compare_runs compute_per_example_loss evaluate_dataset flag_bad_captions left_out
        plant_controls rank_examples run_dataset_evaluation write_report
    """,
    "lossreg.registry": "Registry",
    "lossreg.testing": "CHECKS Case ConformanceError Ignoring MaskCase Options Result check_loss",
}
# Modules that documentation of 0.1 named and that have moved since.
MOVED = {"lossreg.library": "Library", "lossreg.slots": "Functions Part"}


@pytest.mark.parametrize("module", PUBLIC)
def test_public_names_import(module):
    """From the module that documentation names, and listed by `dir`."""
    if module == "lossreg.records":
        pytest.importorskip("duckdb")
    found = import_module(module)
    for name in PUBLIC[module].split():
        assert getattr(found, name) is not None
        assert name in dir(found)


@pytest.mark.parametrize("module", MOVED)
def test_a_module_that_has_moved_warns(module, monkeypatch):
    """The warning names the new module, which has the same names."""
    import sys

    authoring = import_module("lossreg.authoring")
    monkeypatch.delitem(sys.modules, module, raising=False)
    with pytest.warns(DeprecationWarning, match=f"{module} is now lossreg.authoring"):
        found = import_module(module)
    for name in MOVED[module].split():
        assert getattr(found, name) is getattr(authoring, name)


@pytest.mark.parametrize("room", ["authoring", "health", "integrations", "records", "testing"])
def test_a_room_is_found_after_import_lossreg(room):
    """`import lossreg; lossreg.health` needs no second import."""
    import lossreg

    assert getattr(lossreg, room) is import_module(f"lossreg.{room}")


def test_an_unknown_name_is_an_attribute_error():
    """As of any module."""
    import lossreg

    with pytest.raises(AttributeError, match="module 'lossreg' has no attribute 'diec'"):
        _ = lossreg.diec
