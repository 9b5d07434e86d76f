"""The page in a browser, where there is one: no error, the right numbers, no overflow at either width."""

import shutil

import pytest
from stand_ins import make_predictions, write_run

from REZSL.report import figures_of, read_runs, write_page

webdriver = pytest.importorskip("selenium.webdriver")
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (BROWSER and DRIVER), reason="no Chromium with its driver on this machine")
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LONG = "a_class_whose_name_is_much_too_long_for_a_column_of_a_table_on_a_telephone" + 60 * "x"


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    options = webdriver.ChromeOptions()
    options.binary_location = BROWSER
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('profile')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(DRIVER))  # given, so never looked for
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Two runs on one page; returns its path and what ``results.json`` of each says."""
    root = tmp_path_factory.mktemp("runs")
    names = [LONG, "<script>document.title = 'taken over'</script>"]
    predictions = make_predictions(1, num_seen=6, num_unseen=40, num_attributes=30, names=names)
    said = {
        "one": write_run(root / "one", val_gamma=0.3, config={"KEY": LONG}),
        LONG: write_run(root / LONG, predictions=predictions, select_uses_test_labels=True),
    }
    write_page(root / "page.html", read_runs([root / name for name in said]))
    return root / "page.html", said


def open_at(browser, path, width):
    """Opens the page in a window of this width, every collapsed part opened."""
    size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(path.as_uri())
    browser.execute_script("document.querySelectorAll('details').forEach(part => part.open = true)")


def test_no_error_and_nothing_loaded(browser, page):
    browser.get_log("browser")
    open_at(browser, page[0], 1280)
    assert browser.title.startswith("REZSL: one, ")
    assert browser.get_log("browser") == []
    assert browser.execute_script("return document.scripts.length") == 0
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [name for name in loaded if not name.startswith("data:")] == []
    broken = (
        "return [...document.images].filter(image => !image.complete || !image.naturalWidth).map(image => image.alt)"
    )
    assert browser.execute_script(broken) == []


def test_numbers_shown_are_those_of_results_json(browser, page):
    path, said = page
    open_at(browser, path, 1280)
    shown = browser.execute_script(
        "return [...document.querySelectorAll('tbody[data-run] data')].map(one => "
        "[one.closest('tbody').dataset.run, one.dataset.figure, one.innerText])"
    )
    expected = [
        [run, name, f"{value:.3f}" if name.endswith("gamma") else f"{100 * value:.1f}"]
        for run, results in said.items()
        for name, value in figures_of(results).items()
    ]
    assert sorted(shown) == sorted(expected)


@pytest.mark.parametrize("width", [1280, 390])
def test_nothing_reaches_over_the_edge(browser, page, width):
    open_at(browser, page[0], width)
    assert browser.execute_script("return innerWidth") == width
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    reach = "return [...document.querySelectorAll('h1, h2, h3, p, li, nav, .card, .scroll, summary')]"
    reach += ".filter(part => part.getBoundingClientRect().right > innerWidth).map(part => part.outerHTML.slice(0, 80))"
    assert browser.execute_script(reach) == []
