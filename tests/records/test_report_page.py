"""The report of records in a browser: it requests nothing, runs nothing from data, sorts, filters, is light or dark."""

import json
import os
import re
import shutil
import warnings

import pytest

pytest.importorskip("duckdb", reason="duckdb is not installed, so there are no records")
pytest.importorskip("numpy", reason="numpy is not installed, so there are no records")
Image = pytest.importorskip("PIL.Image", reason="pillow is not installed, so there are no pictures")
webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed, so no browser can be driven")

from selenium.webdriver.chrome.options import Options  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402
from selenium.webdriver.support.ui import Select, WebDriverWait  # noqa: E402

from lossreg.records import write_report  # noqa: E402

CHROMIUM, DRIVER = (shutil.which(name) for name in ("chromium", "chromedriver"))

pytestmark = [
    pytest.mark.tools,
    pytest.mark.skipif(
        not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed, so no page can be looked at"
    ),
]

ARGUMENTS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
]
HOSTILE = "</script></title></style><script>window.hacked=1</script>\"'><img src=x onerror=window.hacked=1>{{7*7}}"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    """One browser for all tests of this file."""
    options = Options()
    options.binary_location = CHROMIUM
    for argument in (*ARGUMENTS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(executable_path=DRIVER))
    yield driver
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # selenium leaves the driver's pipe to the collector
        driver.quit()


def records(images):
    """Two datasets over three epochs, with pictures, captions, a component, and losses that are not finite."""
    for number in range(12):
        Image.new("RGB", (160, 90 + number), (20 * number, 90, 120)).save(images / f"{number}.png")
    rows = [
        {
            "run": "night",
            "step": 100 * epoch + number,
            "epoch": epoch,
            "split": "train",
            "dataset": "cats" if number % 2 else "dogs",
            "sample_id": f"s{number}",
            "path": str(images / f"{number}.png"),
            "caption": "" if number == 3 else f"a photograph of animal {number}",
            "loss": [9.0, 10.0, 100.0, 0.5, 1.0, 2.0, 3.0, 0.25, 4.0, 5.0, 6.0, 7.0][number] / (1 + epoch),
            "loss_dice": number / 10,
        }
        for epoch in range(3)
        for number in range(12)
    ]
    return [*rows, {**rows[0], "loss": float("nan")}, {**rows[1], "loss": float("inf")}]


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("report")
    for number in range(12):
        target = Image.new("L", (160, 90 + number))
        target.paste(255, (40, 20, 120, 70))
        target.save(folder / f"{number}_mask.png")
    return write_report(records(folder), folder / "report.html", top_k=5, target_path="{parent}/{stem}_mask.png")


def show(browser, path, *, script=True, width=1200, scheme="light", media=""):
    """Open a file, and clear the browser's log."""
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": not script})
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False}
    )
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": media, "features": features})
    for kind in ("browser", "performance"):
        browser.get_log(kind)
    browser.get(path.as_uri())


def requests(browser):
    """Every address that the page requested, but pictures that it contains."""
    events = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [e["params"]["request"]["url"] for e in events if e["method"] == "Network.requestWillBeSent"]
    return [url for url in asked if not url.startswith("data:")]


def one(browser, selector):
    return browser.find_element(By.CSS_SELECTOR, selector)


def table(browser, place):
    """The first table in the part of the page, or after the heading, with this id."""
    return browser.find_element(By.XPATH, f"(//*[@id='{place}']//table | //*[@id='{place}']/following::table)[1]")


def heading(browser, place, name):
    """The button in a heading of a table."""
    return table(browser, place).find_element(By.XPATH, f".//th[@data-sort]/button[normalize-space()='{name}']")


def column(browser, place, number):
    """The text of the nth column of a table."""
    script = "return [...arguments[0].tBodies[0].rows].map((row) => [...row.cells].at(arguments[1]).innerText.trim());"
    return browser.execute_script(script, table(browser, place), number)


def test_the_harness_sees_what_a_page_does(browser, tmp_path):
    """A page that runs data and requests addresses: all of it is noticed."""
    page = tmp_path / "page.html"
    page.write_text("<title>a</title><img src=x onerror=window.hacked=1><script>null.x</script>", encoding="utf-8")
    show(browser, page)
    assert browser.execute_script("return window.hacked") == 1
    assert any(url.endswith("/x") for url in requests(browser))
    assert browser.get_log("browser")


def test_it_requests_nothing_and_has_no_errors(browser, report):
    """The one request is the file; no error, no breach of its own policy, nothing from data is run."""
    show(browser, report)
    assert requests(browser) == [report.as_uri()]
    assert browser.get_log("browser") == []


def test_pictures_are_there(browser, report):
    """Of every example whose path is an image, with its target over it in the lists that can be enlarged."""
    show(browser, report)
    sizes = browser.execute_script("return [...document.images].map((image) => [image.className, image.naturalWidth])")
    assert sizes.count(["image", 160]) == sizes.count(["target", 320]) >= 7
    assert {tuple(size) for size in sizes} == {("image", 160), ("image", 128), ("target", 320)}


def test_numbers_sort_as_numbers(browser, report):
    """Means 9, 10 and 100 as text would be 10, 100, 9. The second click reverses them; the heading shows the order."""
    show(browser, report)
    button = heading(browser, "next", "Mean loss")
    button.click()
    largest_first = column(browser, "next", -1)
    assert largest_first == sorted(largest_first, key=float, reverse=True)
    assert len(set(largest_first)) > 1
    button.click()
    assert column(browser, "next", -1) == largest_first[::-1]
    assert button.find_element(By.XPATH, "..").get_attribute("aria-sort") == "ascending"
    button.click()
    assert column(browser, "next", -1) == largest_first


def test_fractions_signs_and_powers_sort_as_numbers(browser, tmp_path):
    """Read digit by digit, 0.25 would be above 0.3, -2 above -1, and 1e-7 above all."""
    losses = [0.3, 0.25, -1.0, 10.0, 1e-7, -2.0, 2e6, 9.5]
    rows = [{"dataset": f"{loss:g}", "loss": loss} for loss in losses]
    show(browser, write_report(rows, tmp_path / "report.html"))
    heading(browser, "datasets", "Median").click()
    assert column(browser, "datasets", 0) == ["2e+06", "10", "9.5", "0.3", "0.25", "1e-07", "-1", "-2"]


def test_the_keyboard_sorts(browser, report):
    """Space on a heading that the tab key reaches; text sorts with its numbers in order, s9 before s10."""
    show(browser, report)
    heading(browser, "next", "Example").send_keys(Keys.SPACE)
    names = [text.splitlines()[0] for text in column(browser, "next", 1)]
    assert names == sorted(names, key=lambda name: int(name[1:]))
    browser.switch_to.active_element.send_keys(Keys.TAB, Keys.ENTER)
    datasets = column(browser, "next", 2)
    assert datasets == sorted(datasets)
    assert len(set(datasets)) == 2
    sorted_by = table(browser, "next").find_element(By.CSS_SELECTOR, "[aria-sort]")
    assert sorted_by.text.strip() == "Dataset"


def test_missing_values_sort_last(browser, tmp_path):
    """Either way: a dataset without a finite loss has no mean."""
    rows = [{"dataset": "a", "loss": 1.0}, {"dataset": "b", "loss": float("nan")}, {"dataset": "c", "loss": 2.0}]
    show(browser, write_report(rows, tmp_path / "report.html"))
    assert column(browser, "datasets", 0) == ["c", "a", "b"]
    heading(browser, "datasets", "Mean").click()
    assert column(browser, "datasets", 0) == ["a", "c", "b"]


VISIBLE = "return [...document.querySelectorAll('[data-filtered] tbody tr')].filter((r) => r.checkVisibility()).length"


def test_the_filter_keeps_rows_with_every_word(browser, report):
    """In any order and case, in all lists of examples; folded lists with matches open."""
    show(browser, report)
    before = browser.execute_script(VISIBLE)
    field = one(browser, "#filter")
    field.send_keys("ANIMAL s11 cats")
    found = browser.execute_script(
        "return [...document.querySelectorAll('[data-filtered] tbody tr')].filter((r) => r.checkVisibility())"
        ".map((r) => r.querySelector('.example').dataset.value)"
    )
    assert set(found) == {"s11"}
    assert one(browser, "#shown").text.startswith(f"{len(found)} of ")
    assert browser.execute_script("return document.querySelectorAll('#examples details[open]:not(.ids)').length") >= 1
    field.send_keys(" dogs")
    assert browser.execute_script(VISIBLE) == 0
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(Keys.DELETE)
    assert browser.execute_script(VISIBLE) == before
    assert one(browser, "#shown").text == ""


def choose(browser, name, value):
    """Choose a value of a list as a user does."""
    Select(one(browser, f"#filters select[name={name}]")).select_by_visible_text(value)


def test_a_choice_keeps_rows_of_its_dataset(browser, report):
    """And the ids to copy are those of the rows that are left."""
    show(browser, report)
    choose(browser, "dataset", "cats")
    rows = browser.execute_script(
        "return [...document.querySelectorAll('#examples tbody tr:not([hidden])')].map((row) => row.dataset.dataset)"
    )
    assert set(rows) == {"cats"}
    ids = browser.execute_script(
        "return [...document.querySelectorAll('#examples .ids:not([hidden]) textarea')]"
        ".flatMap((field) => field.value.split('\\n'))"
    )
    assert ids
    assert all(int(name[1:]) % 2 for name in ids)


def dots(browser):
    """Name, deviation and score of every point of the map."""
    script = (
        "return [...document.querySelectorAll('#map .plot .dot')]"
        ".map((dot) => [dot.textContent, Number(dot.dataset.x), Number(dot.dataset.y)])"
    )
    return browser.execute_script(script)


def drag(browser, start, end):
    """Draw a frame in the map, between two points given as shares of its width and height."""
    map_ = one(browser, "#map .plot svg")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", map_)
    size = map_.size
    (x, y), (to_x, to_y) = (((a - 0.5) * size["width"], (b - 0.5) * size["height"]) for a, b in (start, end))
    mouse = ActionChains(browser).move_to_element_with_offset(map_, int(x), int(y)).click_and_hold()
    mouse.move_by_offset(int(to_x - x), int(to_y - y)).release().perform()


def test_a_frame_in_the_map_filters_the_lists(browser, report):
    """Drawn around the upper half: rows, points and ids are those above; a click takes the frame away."""
    show(browser, report)
    before = browser.execute_script(VISIBLE)
    drag(browser, (0.0, 0.0), (0.999, 0.5))
    low = float(one(browser, "#map [name=bottom]").get_attribute("value"))
    above = {name for name, _, score in dots(browser) if score >= low}
    assert 0 < len(above) < len(dots(browser))
    assert one(browser, "#map output").text == f"{len(above)} of {len(dots(browser))} examples in the frame"
    rows = browser.execute_script(
        "return [...document.querySelectorAll('#examples tbody tr:not([hidden])')].map((row) => Number(row.dataset.y))"
    )
    assert rows
    assert min(rows) >= low - 1e-3
    ids = browser.execute_script("return document.querySelector('#map .ids textarea').value.split('\\n')")
    assert set(ids) == above
    drag(browser, (0.5, 0.5), (0.5, 0.5))
    assert browser.execute_script(VISIBLE) == before
    assert one(browser, "#map output").text == ""


def test_a_frame_can_be_written_as_numbers(browser, report):
    """By the keyboard alone, as the pointer would draw it."""
    show(browser, report)
    scores = sorted(score for *_, score in dots(browser))
    one(browser, "#map [name=top]").send_keys(str(scores[2]))
    assert one(browser, "#map output").text.startswith("3 of ")
    one(browser, "#map [type=reset]").send_keys(Keys.ENTER)
    WebDriverWait(browser, 5).until(lambda _: one(browser, "#map output").text == "")


def test_a_picture_is_enlarged_with_its_layers(browser, report):
    """By a button that the keyboard reaches; arrows lead to the next, a box hides the target, and focus comes back."""
    show(browser, report)
    button = browser.find_elements(By.CSS_SELECTOR, "#examples .enlarge")[0]
    assert button.get_attribute("aria-label").startswith("Enlarge s")
    button.send_keys(Keys.ENTER)
    dialog = one(browser, "#enlarged")
    assert dialog.is_displayed()
    first = one(browser, "#enlarged-name").text
    assert one(browser, "#enlarged .image").size["width"] > 300
    assert one(browser, "#enlarged .target").size == one(browser, "#enlarged .image").size
    browser.switch_to.active_element.send_keys(Keys.ARROW_RIGHT)
    assert one(browser, "#enlarged-name").text != first
    browser.switch_to.active_element.send_keys(Keys.ARROW_LEFT)
    assert one(browser, "#enlarged-name").text == first
    one(browser, "#enlarged [data-layer=target]").click()
    assert not one(browser, "#enlarged .target").is_displayed()
    browser.switch_to.active_element.send_keys(Keys.ESCAPE)
    assert not dialog.is_displayed()
    assert browser.switch_to.active_element.get_attribute("aria-label") == f"Enlarge {first}"


def test_ids_are_copied(browser, report):
    """The button has their number, and then that they are copied."""
    show(browser, report)
    ids = browser.find_elements(By.CSS_SELECTOR, "#examples .ids")[-1]
    ids.find_element(By.TAG_NAME, "summary").click()
    listed = ids.find_element(By.TAG_NAME, "textarea").get_attribute("value").split()
    button = ids.find_element(By.TAG_NAME, "button")
    assert button.text == f"Copy {len(listed)} ids"
    button.click()
    WebDriverWait(browser, 5).until(lambda _: button.text == "Copied")


def brightness(browser):
    """Of page and text, 0 to 255."""
    script = "const style = getComputedStyle(document.body); return [style.backgroundColor, style.color]"
    return [sum(map(int, re.findall(r"\d+", colour)[:3])) / 3 for colour in browser.execute_script(script)]


def test_it_is_light_or_dark_by_the_system_or_the_button(browser, report):
    """The button turns either into the other."""
    for scheme in ("light", "dark"):
        show(browser, report, scheme=scheme)
        page, text = brightness(browser)
        assert (page > text) == (scheme == "light")
        assert abs(page - text) > 150
        one(browser, "#theme").click()
        page, text = brightness(browser)
        assert (page > text) == (scheme == "dark")
        one(browser, "#theme").click()
        assert (brightness(browser)[0] > 128) == (scheme == "light")


@pytest.mark.parametrize("width", [360, 390, 800])
def test_no_width_is_too_narrow(browser, report, width):
    """The page itself never scrolls sideways."""
    show(browser, report, width=width)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_it_reads_without_scripts(browser, report):
    """Tables and pictures are there; buttons that would do nothing are not."""
    show(browser, report, script=False)
    text = one(browser, "body").text
    assert "61.111" in text
    assert "Loss over steps" in text
    assert not one(browser, "#theme").is_displayed()
    for selector in ("#filter", "#map form", "#enlarged"):
        assert not one(browser, selector).is_displayed()
    assert browser.find_elements(By.CSS_SELECTOR, "th button, .enlarge") == []
    assert browser.get_log("browser") == []


def test_on_paper_there_is_nothing_to_press(browser, report):
    """Black on white, also where the system is dark."""
    show(browser, report, media="print", scheme="dark")
    page, text = brightness(browser)
    assert page > 200 > 60 > text
    for selector in ("#theme", "#filter", "nav"):
        assert not one(browser, selector).is_displayed()


def test_text_from_data_is_shown_and_never_run(browser, tmp_path):
    """Scripts, closing tags, pictures that do not load and templates, in every place that holds text."""
    rows = [
        {
            "run": f"run {HOSTILE}",
            "split": f"split{number} {HOSTILE}",
            "dataset": f"dataset{number} {HOSTILE}",
            "sample_id": f"id {HOSTILE}",
            "path": f"path {HOSTILE}",
            "caption": f"caption caption caption {HOSTILE}",
            "step": step,
            "loss": 1.0 + step,
            f"loss_part {HOSTILE[:80]}": 2.0,
        }
        for number in range(2)
        for step in range(2)
    ]
    path = write_report(rows, tmp_path / "report.html", title=f"title {HOSTILE}")
    show(browser, path)
    assert requests(browser) == [path.as_uri()]
    assert browser.get_log("browser") == []
    assert browser.execute_script("return [window.hacked, document.scripts.length]") == [None, 1]
    for field in ("#filter", "#map [name=top]"):
        one(browser, field).send_keys("1")
    assert browser.execute_script("return window.hacked") is None
    assert browser.execute_script("return [...document.images].filter((i) => !i.src.startsWith('data:')).length") == 0
    assert browser.title == f"title {HOSTILE}"
    text = browser.execute_script("return document.body.textContent")
    for place in ("title", "run", "split0", "dataset1", "id", "path", "caption caption caption"):
        assert f"{place} {HOSTILE}" in text
    assert f"part {HOSTILE[:80]}" in text


def test_a_later_report_replaces_the_former(browser, tmp_path):
    """The page is whole, has the permissions of any file that is written, and nothing is left beside it."""
    first = write_report([{"loss": 1.0}], tmp_path / "report.html", title="first")
    write_report([{"loss": 1.0}], tmp_path / "report.html", title="second")
    show(browser, first)
    assert browser.title == "second"
    assert os.listdir(tmp_path) == ["report.html"]
