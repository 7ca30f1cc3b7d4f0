"""build and validate by keywords: the forms that people and configuration frameworks write."""

import pytest
from torch import nn

import lossreg
from lossreg import InvalidConfigError, LossConfig, build, config_of, losses, validate

FOCAL = {"name": "focal", "params": {"gamma": 3}}


def problems(*args, **keywords):
    """Return every problem of a call of validate, by path; build has the same."""
    with pytest.raises(InvalidConfigError) as caught:
        validate(*args, **keywords)
    with pytest.raises(InvalidConfigError) as again:
        build(*args, **keywords)
    assert str(again.value) == str(caught.value)
    return dict(caught.value.problems)


@pytest.mark.parametrize(
    "args, keywords",
    [
        ((FOCAL,), {}),
        (("focal",), {"gamma": 3}),
        (("focal",), {"params": {"gamma": 3}}),
        (("focal",), {"gamma": 3, "params": {}, "provider": "segmentation", "version": "9"}),
        ((), {"name": "focal", "params": {"gamma": 3}}),
        ((), {"name": "focal", "gamma": 3}),
        ((), {"name": "segmentation/focal", "gamma": 3, "providers": ["segmentation"]}),
        ((LossConfig(name="focal", params={"gamma": 3}),), {}),
    ],
)
def test_each_form_is_the_same_config(args, keywords):
    """Build and validate accept all forms."""
    expected = validate(FOCAL)
    assert expected.params["gamma"] == 3.0
    assert validate(*args, **keywords) == expected
    built = build(*args, **keywords)
    assert built.gamma == 3.0
    assert config_of(built) == expected.model_dump(exclude_none=True)


def test_params_and_keywords_are_joined():
    """Each parameter is given once."""
    assert validate("tversky", params={"alpha": 0.3}, beta=0.7).params["alpha"] == 0.3
    assert validate("tversky", params={"alpha": 0.3}, beta=0.7).params["beta"] == 0.7
    assert problems("tversky", params={"alpha": 0.3, "beta": 0.5}, beta=0.7) == {
        "params.beta": "given twice, in params and as a keyword; give it once"
    }


def test_problems_of_keywords_have_the_paths_of_a_config():
    """Names, parameters and nested losses."""
    assert problems("focal", gama=2) == {"params.gama": "unknown parameter; did you mean 'gamma'?"}
    assert problems(gamma=2) == {"name": "missing; expected the name of a registered loss"}
    assert problems() == {"": "expected a loss name or {name, params}, got None"}
    assert "did you mean 'dice'" in problems("weighted_sum", terms=["dicee"])["params.terms[0].name"]
    assert problems("focal", params=5, gamma=2) == {"params": "expected a mapping of parameters, got 5"}
    assert "not allowed here" in problems("focal", providers=["sam"], gamma=2)["name"]


@pytest.mark.parametrize("call", [build, validate])
def test_a_call_that_is_ambiguous_is_a_type_error(call):
    """It names the surplus keywords and the remedy."""
    with pytest.raises(TypeError, match=r"takes no keywords beside it, got params, gamma; put them into the mapping"):
        call(FOCAL, params={}, gamma=2)
    with pytest.raises(TypeError, match=r"takes no keywords beside it, got gamma; put them into the mapping"):
        call(LossConfig(name="focal"), gamma=2)
    with pytest.raises(TypeError, match=r"two names are given, 'focal' and name='dice'; write one of them"):
        call("focal", name="dice")


@pytest.mark.parametrize("call", [build, validate])
def test_a_config_by_its_name_in_the_signature(call):
    """As jsonargparse calls: `class_path: lossreg.build`, `init_args: {config: ...}`."""
    expected = validate(FOCAL)
    for config, more in ((FOCAL, {}), (expected, {}), ("focal", {"params": {"gamma": 3}}), ("focal", {"gamma": 3})):
        made = call(config=config, provider=None, **more)
        assert (config_of(made) if call is build else made.model_dump(exclude_none=True)) == config_of(build(FOCAL))
    with pytest.raises(TypeError, match="a mapping takes no keywords beside it, got gamma; put them into the mapping"):
        call(config=FOCAL, gamma=2)


def test_a_parameter_may_have_the_name_of_a_keyword():
    """It is given in params. `self`, and with a name `config` too, are no keywords."""
    with losses.scope():

        @losses.register("named")
        class Named(nn.Module):
            def __init__(self, name: str, config: str = "", providers: int = 0) -> None:
                super().__init__()
                self.given = name, config, providers

        assert build("named", params={"name": "x", "providers": 2}, config="y").given == ("x", "y", 2)


@pytest.mark.parametrize(
    "config, message",
    [
        (lambda: nn.BCELoss(), "this BCELoss is a module already; use it as it is, or register its class"),
        (lambda: nn.BCELoss, "BCELoss is a class; call it, or register it to build it by name: losses.register("),
        (lambda: dict, "expected plain data as JSON holds it, got an object of type type"),
    ],
)
def test_a_module_is_no_config(config, message):
    """At the top, and within a config."""
    assert problems(config())[""].startswith(message)
    assert problems("weighted_sum", terms=["dice", config()])["params.terms[1]"].startswith(message)


def test_hydra_instantiates_a_loss():
    """`_target_: lossreg.build`, with nested containers of OmegaConf and with an interpolation."""
    hydra = pytest.importorskip("hydra")
    omegaconf = pytest.importorskip("omegaconf")
    terms = [{"name": "dice", "params": {"smooth": "${smooth}"}, "weight": 2}, "bce"]
    for keywords in ({"params": {"terms": terms}}, {"terms": terms}):
        text = {"smooth": 0.5, "loss": {"_target_": "lossreg.build", "name": "weighted_sum", **keywords}}
        built = hydra.utils.instantiate(omegaconf.OmegaConf.create(text).loss)
        assert built.weights == [2.0, 1.0]
        assert built.parts[0].smooth == 0.5
    focal = hydra.utils.instantiate({"_target_": "lossreg.build", "name": "focal", "gamma": 3})
    assert config_of(focal) == config_of(build("focal", gamma=3))


@pytest.mark.parametrize("convert", ["none", "partial", "object", "all"])
@pytest.mark.parametrize("place", ["root", "below"])
def test_hydra_converts_containers_as_it_is_told(convert, place):
    """With DictConfig and ListConfig, or with dicts and lists: nested losses, and a list of class weights."""
    hydra = pytest.importorskip("hydra")
    omegaconf = pytest.importorskip("omegaconf")

    def mixture(weight):
        inner = {"weight": 3, "name": "weighted_sum", "params": {"terms": [{"name": "bce", "weight": weight}]}}
        dice = {"name": "dice", "params": {"class_weight": [1, 2]}}
        return {"name": "weighted_sum", "params": {"terms": [dice, inner], "reduction": "sum"}}

    target = {"_target_": "lossreg.build", **mixture("${weight}")}
    outer = {"_convert_": convert, **(target if place == "root" else {"_target_": "builtins.dict", "loss": target})}
    made = hydra.utils.instantiate(omegaconf.OmegaConf.create({"weight": 0.5, "outer": outer}).outer)
    assert config_of(made if place == "root" else made["loss"]) == config_of(build(mixture(0.5)))


@pytest.mark.parametrize("target", ["lossreg.build", "os.system", 5])
def test_a_target_is_no_key_of_a_config(target):
    """It is left out where lossreg reads the config itself. Nothing is imported."""
    message = "unknown key; a config names a registered loss; leave it out, and build the rest by lossreg.build(config)"
    assert problems({"_target_": target, "name": "dice"}) == {"_target_": message}
    terms = [{"_target_": target, "name": "dice"}]
    assert problems("weighted_sum", terms=terms) == {"params.terms[0]._target_": message}


def test_a_nested_target_is_told():
    """Hydra builds the inner loss first, which is then no config."""
    hydra = pytest.importorskip("hydra")
    terms = [{"_target_": "lossreg.build", "name": "dice"}]
    message = r"params\.terms\[0\]: this Dice is built already; .* write name and params in its place, without _target_"
    with pytest.raises(hydra.errors.InstantiationException, match=message):
        hydra.utils.instantiate({"_target_": "lossreg.build", "name": "weighted_sum", "params": {"terms": terms}})


def test_a_bundle_of_monai_builds_a_loss():
    """ConfigParser instantiates `_target_` with the other keys."""
    bundle = pytest.importorskip("monai.bundle")
    parser = bundle.ConfigParser(
        {"gamma": 3, "loss": {"_target_": "lossreg.build", "name": "focal", "params": {"gamma": "@gamma"}}}
    )
    assert config_of(parser.get_parsed_content("loss")) == config_of(build("focal", gamma=3))


def test_a_registry_that_calls_with_keywords_builds_a_loss():
    """MMEngine's build_from_cfg removes `type` and calls the registered function with the rest."""
    registry = {"Loss": lossreg.build}
    config = {"type": "Loss", "name": "focal", "params": {"gamma": 3}}
    assert registry[config.pop("type")](**config).gamma == 3.0


class Unreadable(dict):
    """Parameters of another library, which raise when they are read."""

    def keys(self):
        raise RuntimeError("no keys")

    __iter__ = __getitem__ = items = keys


def test_parameters_that_cannot_be_read_are_a_problem():
    """Alone and beside keywords, with the error that they raise."""
    message = "cannot be read: RuntimeError: no keys; give a value of plain data"
    assert problems("focal", params=Unreadable(gamma=3)) == {"params": message}
    assert problems("focal", params=Unreadable(gamma=3), alpha=0.5) == {"params": message}
