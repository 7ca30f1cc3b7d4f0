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
from selenium.webdriver.common.by import By  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

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
            "split": "val" if number % 4 == 0 else "train",
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
    return write_report(records(folder), folder / "report.html", top_k=5)


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


def heading(browser, section, name):
    """The button in a heading of the first table of a section."""
    xpath = f"(//section[@id='{section}']//table)[1]//th[@data-sort]/button[normalize-space()='{name}']"
    return browser.find_element(By.XPATH, xpath)


def column(browser, section, number):
    """The text of the nth column of the first table of a section."""
    script = (
        "const table = document.querySelector(`#${arguments[0]} table`);"
        "return [...table.tBodies[0].rows].map((row) => row.cells[arguments[1]].innerText.trim());"
    )
    return browser.execute_script(script, section, number)


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
    """Of every example whose path is an image: five worst, five best, five of each dataset, two broken."""
    show(browser, report)
    sizes = browser.execute_script("return [...document.images].map((image) => image.naturalWidth)")
    assert sizes == [128] * 22


def test_numbers_sort_as_numbers(browser, report):
    """Means 9, 10 and 100 as text would be 10, 100, 9. The second click reverses them; the heading shows the order."""
    show(browser, report)
    largest_first = ["61.111", "6.111", "5.500", "4.278", "3.667"]
    assert column(browser, "worst", 3) == largest_first
    button = heading(browser, "worst", "Mean")
    button.click()
    assert column(browser, "worst", 3) == largest_first[::-1]
    assert button.find_element(By.XPATH, "..").get_attribute("aria-sort") == "ascending"
    button.click()
    assert column(browser, "worst", 3) == largest_first


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
    heading(browser, "best", "Example").send_keys(Keys.SPACE)
    names = [text.splitlines()[0] for text in column(browser, "best", 1)]
    assert names == ["s3", "s4", "s5", "s6", "s7"]
    browser.switch_to.active_element.send_keys(Keys.TAB, Keys.ENTER)
    assert column(browser, "best", 2) == ["cats", "cats", "cats", "dogs", "dogs"]
    sorted_by = browser.execute_script("return document.querySelector('#best [aria-sort]').innerText.trim()")
    assert sorted_by == "Dataset"


def test_missing_values_sort_last(browser, tmp_path):
    """Either way: a dataset without a finite loss has no mean."""
    rows = [{"dataset": "a", "loss": 1.0}, {"dataset": "b", "loss": float("nan")}, {"dataset": "c", "loss": 2.0}]
    show(browser, write_report(rows, tmp_path / "report.html"))
    assert column(browser, "datasets", 0) == ["c", "a", "b"]
    heading(browser, "datasets", "Mean").click()
    assert column(browser, "datasets", 0) == ["a", "c", "b"]


def test_the_filter_keeps_rows_with_every_word(browser, report):
    """In any order and case, in all lists of examples; folded lists with matches open."""
    show(browser, report)
    field = one(browser, "#filter")
    field.send_keys("ANIMAL s11 cats")
    visible = (
        "return [...document.querySelectorAll('[data-filtered] tbody tr')].filter((r) => r.checkVisibility()).length"
    )
    assert browser.execute_script(visible) == 2  # over all, and in the list of cats
    assert one(browser, "#shown").text == "2 of 22"
    assert browser.execute_script("return document.querySelectorAll('#worst details[open]').length") == 1
    field.send_keys(" dogs")
    assert browser.execute_script(visible) == 0
    field.send_keys(Keys.CONTROL, "a")
    field.send_keys(Keys.DELETE)
    assert browser.execute_script(visible) == 12
    assert one(browser, "#shown").text == ""


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


@pytest.mark.parametrize("width", [360, 400, 800])
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
    assert not one(browser, "#filter").is_displayed()
    assert browser.find_elements(By.CSS_SELECTOR, "th button") == []
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
            f"loss_part {HOSTILE}": 2.0,
        }
        for number in range(2)
        for step in range(2)
    ]
    path = write_report(rows, tmp_path / "report.html", title=f"title {HOSTILE}")
    show(browser, path)
    assert requests(browser) == [path.as_uri()]
    assert browser.get_log("browser") == []
    assert browser.execute_script("return [window.hacked, document.scripts.length]") == [None, 1]
    assert browser.execute_script("return [...document.images].filter((i) => !i.src.startsWith('data:')).length") == 0
    assert browser.title == f"title {HOSTILE}"
    text = browser.execute_script("return document.body.textContent")
    for place in ("title", "run", "split0", "dataset1", "id", "path", "caption caption caption", "part"):
        assert f"{place} {HOSTILE}" in text


def test_a_later_report_replaces_the_former(browser, tmp_path):
    """The page is whole, has the permissions of any file that is written, and nothing is left beside it."""
    first = write_report([{"loss": 1.0}], tmp_path / "report.html", title="first")
    write_report([{"loss": 1.0}], tmp_path / "report.html", title="second")
    show(browser, first)
    assert browser.title == "second"
    assert os.listdir(tmp_path) == ["report.html"]
