"""The formulas in the docstrings: each loss of ours has one, KaTeX draws it, and the loss computes it."""

import inspect
import json
import math
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from lossreg import build, losses
from lossreg.authoring.describe import described_class
from lossreg.parameters.docstring import mathematics

FIRST_PARTY = [entry for entry in losses.entries() if entry.provider in ("lossreg", "segmentation", "sam")]
READ = {entry.name: mathematics(entry.metadata.get("tex", "")) for entry in FIRST_PARTY}
# Indices and exponents that a sum or the same formula introduces.
BOUND = set("ijkcmqroe")

DEFAULT = r"`(\w+)` \((?:\$10\^\{(-\d+)\}\$|([\d.]+))\)"  # `gamma` (2) or `smooth` ($10^{-5}$)

each_loss = pytest.mark.parametrize("name", sorted(READ))


def inline(where):
    """Return the letters and formulas between dollars."""
    return where.split("$")[1::2]


@each_loss
def test_each_loss_has_formulas_whose_letters_are_named(name):
    """A letter is named in the sentence, is the left side of a formula, or is an index."""
    formulas, where = READ[name]
    assert formulas
    assert formulas[0].startswith(("L =", "L_i =", r"\sigma ="))
    assert where.startswith("where ")
    assert where.endswith(".")
    assert where.count("$") % 2 == 0
    named = letters(" ".join(inline(where))) | {letter for text in formulas for letter in letters(left_sides(text))}
    assert letters(" ".join(formulas)) - named - BOUND == set()


def letters(tex):
    """Return Greek letters, and Latin ones outside words."""
    tex = re.sub(r"\\text\{[^}]*\}", " ", tex)
    greek = set(re.findall(r"\\(?:alpha|beta|gamma|delta|epsilon|eta|lambda|phi|sigma|tau)\b", tex))
    return greek | set(re.findall(r"[A-Za-z]+?", re.sub(r"\\[a-zA-Z]+", " ", tex)))


def left_sides(formula):
    """Return what stands before each equals sign of a formula."""
    return " ".join(part.rpartition(r"\quad")[2] for part in formula.split("=")[:-1])


@each_loss
def test_the_manifest_has_the_section_of_the_docstring(name):
    """So that pages are made without an import."""
    described = described_class(losses.get(losses.entry(name).full_name), {})
    assert mathematics(described["tex"]) == READ[name]


@each_loss
def test_braces_and_brackets_are_balanced(name):
    """This much is known without KaTeX."""
    formulas, where = READ[name]
    for tex in (*formulas, *inline(where)):
        assert tex.count("{") == tex.count("}")
        assert tex.count(r"\left") == tex.count(r"\right")


@each_loss
def test_the_defaults_in_the_sentence_are_those_of_the_loss(name):
    """A parameter that is named with a number has it as its default."""
    properties = losses.entry(name).metadata["parameters"]["properties"]
    for parameter, power, number in re.findall(DEFAULT, READ[name].where):
        default = properties[parameter]["default"] if parameter in properties else {"smooth": 1.0}[parameter]
        neutral = 1.0 if parameter in ("pos_weight", "class_weight") else None  # None there
        assert (neutral if default is None else default) == (10 ** int(power) if power else float(number))


def test_most_sentences_name_defaults():
    """Otherwise the test above would check nothing."""
    assert sum(len(re.findall(DEFAULT, where)) for _, where in READ.values()) > 60


@pytest.mark.tools
def test_katex_draws_every_formula():
    """By Node, as the pages do; a warning of KaTeX is an error."""
    node, package = shutil.which("node"), find_spec("sphinxcontrib")
    folders = list(package.submodule_search_locations) if package else []
    scripts = [path for folder in folders for path in Path(folder).glob("katex.min.js")]
    if node is None or not scripts:
        pytest.skip("Node or sphinxcontrib-katex is not installed, so nothing can be drawn")
    every = [tex for formulas, where in READ.values() for tex in (*formulas, *inline(where))]
    code = (
        f"const katex = require({json.dumps(str(scripts[0]))});"
        "for (const tex of JSON.parse(require('fs').readFileSync(0, 'utf8')))"
        "  katex.renderToString(tex, {throwOnError: true, strict: 'error', displayMode: true});"
    )
    done = subprocess.run([node, "-e", code], input=json.dumps(every), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(every) > 200


# The formulas once more, in float64. The docstring of each function is the TeX that it transcribes.


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def sums(p, t):
    return np.minimum(p, t).sum(), p.sum(), t.sum()


def bce(x, t, w=1.0, eta=0.0):
    r"""L = -\frac{1}{n} \sum_i \left( w\, t_i \log p_i + (1 - t_i) \log(1 - p_i) \right)"""
    p, t = sigmoid(x), (1 - eta) * t + eta / 2
    return -np.mean(w * t * np.log(p) + (1 - t) * np.log(1 - p))


def focal(x, t, alpha=0.25, gamma=2.0, w=1.0):
    r"""L = \frac{1}{n} \sum_i \alpha_i\, (1 - q_i)^\gamma\, \ell_i
    q_i = p_i t_i + (1 - p_i)(1 - t_i), \quad \alpha_i = \alpha t_i + (1 - \alpha)(1 - t_i)
    \ell_i = -w\, t_i \log p_i - (1 - t_i) \log(1 - p_i)
    """
    p = sigmoid(x)
    q, weight = p * t + (1 - p) * (1 - t), alpha * t + (1 - alpha) * (1 - t)
    return np.mean(weight * (1 - q) ** gamma * (-w * t * np.log(p) - (1 - t) * np.log(1 - p)))


def poly1(x, t, epsilon=1.0):
    r"""L = \frac{1}{n} \sum_i \left( \ell_i + \epsilon\, |p_i - t_i| \right)
    \ell_i = -t_i \log p_i - (1 - t_i) \log(1 - p_i)
    """
    p = sigmoid(x)
    return np.mean(-t * np.log(p) - (1 - t) * np.log(1 - p) + epsilon * np.abs(p - t))


def dice(x, t, s=1.0):
    r"""L = 1 - \frac{2\,TP + s}{P + T + s}"""
    overlap, predicted, actual = sums(sigmoid(x), t)
    return 1 - (2 * overlap + s) / (predicted + actual + s)


def jaccard(x, t, s=1.0):
    r"""L = 1 - \frac{TP + s}{P + T - TP + s}"""
    overlap, predicted, actual = sums(sigmoid(x), t)
    return 1 - (overlap + s) / (predicted + actual - overlap + s)


def tversky(x, t, alpha=0.5, beta=0.5, s=1.0):
    r"""L = 1 - \frac{TP + s}{TP + \alpha\,FP + \beta\,FN + s}"""
    overlap, predicted, actual = sums(sigmoid(x), t)
    return 1 - (overlap + s) / (overlap + alpha * (predicted - overlap) + beta * (actual - overlap) + s)


def focal_tversky(x, t, gamma=0.75, alpha=0.5, beta=0.5, s=1.0):
    r"""L = \left( 1 - \frac{TP + s}{TP + \alpha\,FP + \beta\,FN + s} \right)^\gamma"""
    return tversky(x, t, alpha, beta, s) ** gamma


def squared_dice(x, t, s=1.0):
    r"""L = 1 - \frac{2 \sum_i p_i t_i + s}{\sum_i p_i^2 + \sum_i t_i^2 + s}"""
    p = sigmoid(x)
    return 1 - (2 * (p * t).sum() + s) / ((p**2).sum() + (t**2).sum() + s)


def log_cosh_dice(x, t, s=1.0):
    r"""L = \log \cosh \left( 1 - \frac{2\,TP + s}{P + T + s} \right)"""
    return math.log(math.cosh(dice(x, t, s)))


def asymmetric_focal(x, t, delta=0.7, gamma=2.0):
    r"""L = -\frac{1}{n} \sum_i \left( \delta\, t_i \log p_i + (1 - \delta)(1 - t_i)\, p_i^\gamma \log(1 - p_i) \right)"""  # noqa: E501
    p = sigmoid(x)
    return -np.mean(delta * t * np.log(p) + (1 - delta) * (1 - t) * p**gamma * np.log(1 - p))


def asymmetric_focal_tversky(x, t, delta=0.7, gamma=0.75, s=1.0):
    r"""L = \frac{(1 - I)^{1 - \gamma} + 1 - I_0}{2}
    I = \frac{TP + s}{TP + \delta\,FN + (1 - \delta)\,FP + s}, \quad I_0 = \frac{TN + s}{TN + \delta\,FP + (1 - \delta)\,FN + s}
    """  # noqa: E501 - as the docstring has it
    overlap, predicted, actual = sums(sigmoid(x), t)
    extra, missed = predicted - overlap, actual - overlap
    neither = t.size - predicted - missed
    index = (overlap + s) / (overlap + delta * missed + (1 - delta) * extra + s)
    background = (neither + s) / (neither + delta * extra + (1 - delta) * missed + s)
    return ((1 - index) ** (1 - gamma) + 1 - background) / 2


def unified_focal(x, t, lambda_=0.5, delta=0.6, gamma=0.5, s=1.0):
    r"""L = \lambda\, L_f + (1 - \lambda)\, L_v"""
    focal_part, tversky_part = asymmetric_focal(x, t, delta, gamma), asymmetric_focal_tversky(x, t, delta, gamma, s)
    return lambda_ * focal_part + (1 - lambda_) * tversky_part


def bce_dice_focal(x, t, w_b=0.4, w_d=0.4, w_f=0.2):
    r"""L = w_b\, L_b + w_d\, L_d + w_f\, L_f"""
    return w_b * bce(x, t) + w_d * dice(x, t) + w_f * focal(x, t)


def mcc(x, t, s=1e-5):
    r"""L = 1 - \frac{(TP \cdot TN - FP \cdot FN) / n}{\sqrt{P (n - P) / n + s}\, \sqrt{T (n - T) / n + s}}"""
    overlap, predicted, actual = sums(sigmoid(x), t)
    n, extra, missed = t.size, predicted - overlap, actual - overlap
    neither = n - predicted - missed
    spread = math.sqrt(predicted * (n - predicted) / n + s) * math.sqrt(actual * (n - actual) / n + s)
    return 1 - (overlap * neither - extra * missed) / n / spread


def region_size(x, t):
    r"""L = \frac{1}{n} \left| \sum_i p_i - \sum_i t_i \right|"""
    return abs(sigmoid(x).sum() - t.sum()) / t.size


def topk(x, t, k=0.1):
    r"""L = \frac{1}{|K|} \sum_{i \in K} \ell_i, \quad |K| = \max(1, \lfloor k\, n \rfloor)"""
    p = sigmoid(x)
    every = np.sort((-t * np.log(p) - (1 - t) * np.log(1 - p)).ravel())[::-1]
    return every[: max(1, math.floor(k * t.size))].mean()


def ohem_cross_entropy(x, t, tau=0.7, m=0.0625):
    r"""L = \frac{1}{|K|} \sum_{i \in K} \ell_i, \quad K = \{ i : q_i < \tau \}"""
    p = sigmoid(x)
    every = np.sort((-t * np.log(p) - (1 - t) * np.log(1 - p)).ravel())[::-1]
    return every[: max((np.exp(-every) < tau).sum(), math.floor(m * t.size))].mean()


def lovasz_hinge(x, t):
    r"""L = \sum_{i=1}^{n} m_i\, (J_i - J_{i-1}), \quad m_i = \max(0,\; 1 - x_i (2 t_i - 1))
    J_i = 1 - \frac{T - \sum_{j \le i} t_j}{T + \sum_{j \le i} (1 - t_j)}, \quad J_0 = 0
    """
    margins = np.maximum(0, 1 - x * (2 * t - 1)).ravel()
    return extension(margins, t.ravel())


def extension(margins, t):
    order = np.argsort(-margins)
    margins, t = margins[order], t[order]
    jaccards = 1 - (t.sum() - np.cumsum(t)) / (t.sum() + np.cumsum(1 - t))
    return (margins * np.diff(jaccards, prepend=0)).sum()


def hausdorff_er(x, t, alpha=2.0, erosions=10):
    r"""L = \frac{1}{n} \sum_i \sum_{k=1}^{K} k^\alpha\, e_{ki}
    e_{0i} = (p_i - t_i)^2, \quad e_{ki} = 2 \max \left( (B * e_{k-1})_i - \tfrac{1}{2},\; 0 \right)
    """
    error, total = (sigmoid(x) - t) ** 2, 0.0
    for k in range(1, erosions + 1):
        wide = np.pad(error, 1)
        mean = (error + wide[:-2, 1:-1] + wide[2:, 1:-1] + wide[1:-1, :-2] + wide[1:-1, 2:]) / 5
        error = 2 * np.maximum(mean - 0.5, 0)
        total += k**alpha * error.sum()
    return total / t.size


def boundary_dou(x, t, s=1e-5):
    r"""L = \frac{\sum_i p_i^2 + \sum_i t_i^2 - 2 \sum_i p_i t_i + s}{\sum_i p_i^2 + \sum_i t_i^2 - (1 + a) \sum_i p_i t_i + s}
    a = \min \left( 1 - 2\, \frac{E + s}{T + s},\; 0.8 \right)
    """  # noqa: E501 - as the docstring has it
    p, wide = sigmoid(x), np.pad(t, 1)
    inner = t * wide[:-2, 1:-1] * wide[2:, 1:-1] * wide[1:-1, :-2] * wide[1:-1, 2:]
    a = min(1 - 2 * (t.sum() - inner.sum() + s) / (t.sum() + s), 0.8)
    whole = (p**2).sum() + (t**2).sum()
    return (whole - 2 * (p * t).sum() + s) / (whole - (1 + a) * (p * t).sum() + s)


def boundary(x, t):
    r"""L = \frac{1}{n} \sum_i p_i\, \phi_i"""
    return np.mean(sigmoid(x) * np.where(t > 0, -1, 1) * to_the_other_side(t))


def hausdorff_dt(x, t, alpha=2.0):
    r"""L = \frac{1}{n} \sum_i (p_i - t_i)^2 \left( d_i^\alpha + e_i^\alpha \right)"""
    p = sigmoid(x)
    return np.mean((p - t) ** 2 * (to_the_other_side(p > 0.5) ** alpha + to_the_other_side(t) ** alpha))


def to_the_other_side(mask):
    """Return the distance of each pixel to the nearest one on the other side, by comparing all pairs."""
    places = np.argwhere(mask >= 0)
    inside = np.asarray(mask).astype(bool).ravel()
    distances = np.sqrt(((places[:, None] - places[None]) ** 2).sum(-1))
    return np.array([row[inside != own].min() for row, own in zip(distances, inside, strict=True)]).reshape(mask.shape)


MASKS = [
    (bce, {}, {}),
    (bce, {"pos_weight": 3.0, "label_smoothing": 0.2}, {"w": 3.0, "eta": 0.2}),
    (focal, {}, {}),
    (focal, {"alpha": 0.6, "gamma": 1.5, "pos_weight": 2.0}, {"alpha": 0.6, "gamma": 1.5, "w": 2.0}),
    (poly1, {}, {}),
    (poly1, {"epsilon": -0.5}, {"epsilon": -0.5}),
    (dice, {}, {}),
    (dice, {"smooth": 30.0}, {"s": 30.0}),
    (jaccard, {}, {}),
    (tversky, {}, {}),
    (tversky, {"alpha": 0.3, "beta": 1.2}, {"alpha": 0.3, "beta": 1.2}),
    (focal_tversky, {}, {}),
    (focal_tversky, {"gamma": 2.0, "alpha": 0.3}, {"gamma": 2.0, "alpha": 0.3}),
    (squared_dice, {}, {}),
    (log_cosh_dice, {}, {}),
    (asymmetric_focal, {}, {}),
    (asymmetric_focal_tversky, {}, {}),
    (unified_focal, {}, {}),
    (unified_focal, {"weight": 0.1, "delta": 0.8}, {"lambda_": 0.1, "delta": 0.8}),
    (bce_dice_focal, {}, {}),
    (mcc, {}, {}),
    (region_size, {}, {}),
    (topk, {}, {}),
    (ohem_cross_entropy, {}, {}),
    (ohem_cross_entropy, {"threshold": 0.001, "min_share": 0.3}, {"tau": 0.001, "m": 0.3}),
    (lovasz_hinge, {}, {}),
    (hausdorff_er, {}, {}),
    (boundary_dou, {}, {}),
    (boundary, {}, {}),
    (hausdorff_dt, {}, {}),
]


@pytest.mark.parametrize("formula, params, numbers", MASKS, ids=lambda value: getattr(value, "__name__", ""))
def test_the_loss_of_a_mask_is_its_formula(formula, params, numbers):
    """On random logits and a disc, in float64; the defaults of the loss are those of the sentence."""
    if formula in (boundary, hausdorff_dt):
        pytest.importorskip("scipy", reason="SciPy is not installed, which measures distances")
    assert READ[formula.__name__].formulas == tuple(inspect.getdoc(formula).splitlines())
    random = np.random.default_rng(3)
    down, across = np.mgrid[:9, :11]
    t = (np.hypot(down - 4, across - 6) < 3.2).astype(float)
    x = random.normal(size=t.shape) * 2 + 3 * t - 1
    loss = build({"name": formula.__name__, "params": params})
    found = loss(torch.from_numpy(x)[None, None], torch.from_numpy(t)[None, None])
    assert found.dtype == torch.float64
    assert found.item() == pytest.approx(formula(x, t, **numbers), rel=1e-6)


def softmax(x):
    return np.exp(x) / np.exp(x).sum(0)


def cross_entropy(x, t, w=(1, 1, 1), eta=0.0):
    r"""L = -\frac{\sum_i \sum_c w_c\, \tilde t_{ic} \log p_{ic}}{\sum_i \sum_c w_c\, t_{ic}}
    \tilde t_{ic} = (1 - \eta)\, t_{ic} + \frac{\eta}{C}
    """
    w, smoothed = np.array(w)[:, None], (1 - eta) * t + eta / len(t)
    return -(w * smoothed * np.log(softmax(x))).sum() / (w * t).sum()


def generalized_dice(x, t, s=1.0, k=2):
    r"""L = 1 - \frac{2 \sum_c w_c\,TP_c + s}{\sum_c w_c\,(P_c + T_c) + s}, \quad w_c = \left( \frac{T_{\min}}{T_c} \right)^k"""  # noqa: E501 - as the docstring has it
    p, actual = softmax(x), t.sum(1)
    w = (actual.min() / actual) ** k
    overlap = np.minimum(p, t).sum(1)
    return 1 - (2 * (w * overlap).sum() + s) / ((w * (p.sum(1) + actual)).sum() + s)


def lovasz_softmax(x, t):
    r"""L = \frac{1}{C} \sum_c \sum_{i=1}^{n} m_{ci}\, (J_{ci} - J_{c,i-1}), \quad m_{ci} = |t_{ci} - p_{ci}|
    J_{ci} = 1 - \frac{T_c - \sum_{j \le i} t_{cj}}{T_c + \sum_{j \le i} (1 - t_{cj})}, \quad J_{c0} = 0
    """
    return np.mean([extension(np.abs(own - p), own) for own, p in zip(t, softmax(x), strict=True)])


def wasserstein_dice(x, t, s=1.0, distances=((0, 1, 1), (1, 0, 1), (1, 1, 0))):
    r"""L = 1 - \frac{2\,TP + s}{2\,TP + E + s}
    TP = \sum_i \alpha_i (1 - W_i), \quad E = \sum_i W_i, \quad W_i = \sum_c M_{y_i c}\, p_{ic}
    """
    classes = t.argmax(0)
    w = (np.array(distances)[classes].T * softmax(x)).sum(0)
    right = ((classes > 0) * (1 - w)).sum()
    return 1 - (2 * right + s) / (2 * right + w.sum() + s)


CLASSES = [
    (cross_entropy, {}, {}),
    (cross_entropy, {"class_weight": [1, 5, 2], "label_smoothing": 0.3}, {"w": (1, 5, 2), "eta": 0.3}),
    (generalized_dice, {}, {}),
    (generalized_dice, {"weighting": "simple"}, {"k": 1}),
    (lovasz_softmax, {}, {}),
    (wasserstein_dice, {}, {}),
    (
        wasserstein_dice,
        {"distances": [[0, 1, 1], [1, 0, 0.4], [1, 0.4, 0]], "smooth": 3.0},
        {"distances": ((0, 1, 1), (1, 0, 0.4), (1, 0.4, 0)), "s": 3.0},
    ),
]


@pytest.mark.parametrize("formula, params, numbers", CLASSES, ids=lambda value: getattr(value, "__name__", ""))
def test_the_loss_of_classes_is_its_formula(formula, params, numbers):
    """On random logits of three classes, and each has a pixel."""
    assert READ[formula.__name__].formulas == tuple(inspect.getdoc(formula).splitlines())
    random = np.random.default_rng(5)
    classes = np.array([0] * 30 + [1] * 9 + [2] * 3)
    x = random.normal(size=(3, len(classes))) * 2
    loss = build({"name": formula.__name__, "params": params})
    found = loss(torch.from_numpy(x)[None], torch.from_numpy(classes)[None])
    assert found.item() == pytest.approx(formula(x, np.eye(3)[classes].T, **numbers), rel=1e-6)
