"""The page in a real browser: it says what the report says, sorts and filters, and nothing in a study acts in it."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pytest
from browser import Browser
from conftest import REPOSITORY, TINY
from made_up import made_up_runs
from mlflow import MlflowClient
from selenium.webdriver.common.keys import Keys
from servers import MlflowServer

from experiments.tracking.attempts import ARTIFACT, FINGERPRINT, STATUS, TRIAL, Attempt
from experiments.tracking.states import data_fingerprints
from reports.answer.headline import headline
from reports.answer.pairs import answer_study
from reports.claims import answer_claims
from reports.escape import markdown
from reports.figures import learning_curves
from reports.figures.style import GREY
from reports.page.plain import to_html
from reports.page.trials import UI
from reports.report import Report, make_report, write_report
from reports.runs import Runs
from reports.tables import make_tables

SCRIPT = "<script>window['hacked'] @ 1</script>".replace("@", "=")
IMAGE = "<img src=x onerror=window.hacked=1>"
HOSTILE = rf"""{IMAGE} {SCRIPT} \input{{x}} | 100% & "q" 'a' `c` émoji 🎈 שלום {{{{ 7 * 7 }}}} {{% raw %}}"""
VALUES = {
    "plain": [0.50, 0.62, 0.70],
    "deep": [0.61, 0.72, 0.80],
    "plain+c": [0.55, 0.66, 0.74],
    "plain+l": [0.5, 0.6, 0.7],
}
STUDY = (
    TINY.replace(
        "rows: stem, metrics: [top1, top5], published: {plain: {top1: 0.5}}",
        "rows: [plain, deep, plain+c, plain+l], metrics: [top1, top5, params], published: {plain: {top1: 0.5}, deep: {top1: 0.11}}",
    )
    + "  - {says: Both pay, test: plain+c.top1 > plain.top1 and plain+l.top1 > plain.top1}\n"
)


def report_of(runs: Runs) -> Report:
    cells = [cell.name for cell in runs.plan.cells]
    curves = learning_curves(runs, cells, "stems", "Curves", ["top1", "val_loss"])
    return Report(runs, make_tables(runs), answer_claims(runs), [], [curves] if curves else [])


def with_runs(runs: Runs) -> Runs:
    """With the runs in MLflow that a record would name."""
    attempts = {
        trial: replace(state, attempt=Attempt(f"run{i}", trial, "finished", "f", "", "", experiment="7"))
        for i, (trial, state) in enumerate(runs.states.items())
    }
    return replace(runs, states=attempts)


def hostile_study() -> str:
    quoted = "'" + HOSTILE.replace("'", "''") + "'"
    option = "'<script>alert(1)</script>|&'"
    text = STUDY.replace("Does the test pass?", quoted).replace("caption: Stems", f"caption: {quoted}")
    text = text.replace("says: Cosine pays", f"says: {quoted}").replace("deep: {arch", f"{option}: {{arch")
    text = text.replace("rows: [plain, deep, plain+c, plain+l]", "rows: stem").replace(", deep: {top1: 0.11}", "")
    text = text.replace(
        "metrics: [top1, top5, params]",
        f"metrics: [top1], titles: {{top1: {quoted}, rows: {quoted}}}, labels: {{plain: {quoted}}}, notes: {{plain: {quoted}}}",
    )
    return text + f"document: {{title: {quoted}, author: {quoted}, year: 2024, url: 'javascript:alert(1)'}}\n"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    opened = Browser()
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, shared_cache: Path) -> Iterator[tuple[Runs, Path]]:
    """A study with a failed run and the page of its report."""
    folder = tmp_path_factory.mktemp("page")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setenv("ABLATE_CACHE", str(shared_cache))
        runs = with_runs(made_up_runs(folder, VALUES, STUDY, failed=("deep", 2), missing=["plain+l"]))
        write_report(report_of(runs), folder / "out")
        yield runs, folder / "out/report.html"


@pytest.fixture
def page(made: tuple[Runs, Path]) -> Path:
    return made[1]


def column(browser: Browser, table: str, number: int) -> list[str]:
    script = """return [...document.querySelectorAll(`#${arguments[0]} tbody tr`)].filter(r => !r.hidden)
        .map(r => r.cells[arguments[1]].textContent.trim())"""
    return list(browser.run(script, table, number))


def test_the_answer_comes_first_and_is_that_of_the_report(browser: Browser, made: tuple[Runs, Path]) -> None:
    browser.open(made[1])
    assert browser.texts("main h2")[0] == "The answer"
    assert browser.texts(".answer") == headline(answer_study(made[0]))
    assert browser.texts(".lacking") == [
        "Of 12 trials, 1 trial failed and 3 have not finished; the numbers are without them."
    ]
    assert column(browser, "changes-rows", 0) == [
        "deeparchitecture.tweak: D",
        "cschedule: kind cosine",
        "lloss.label_smoothing: 0.1",
    ]


def test_every_row_has_a_field_for_every_head(browser: Browser, page: Path) -> None:
    browser.open(page)
    script = """return [...document.querySelectorAll('table')].map(t => [t.id, t.tHead.rows[0].cells.length,
        [...t.tBodies[0].rows].map(r => r.cells.length)])"""
    for table, heads, rows in browser.run(script):
        assert set(rows) == {heads}, table


def test_nothing_complains_and_nothing_is_fetched(browser: Browser, page: Path) -> None:
    for scheme in ("light", "dark"):
        browser.open(page, scheme=scheme)
        assert browser.complaints() == []
        assert browser.run("return performance.getEntriesByType('resource').length") == 0
    text = page.read_text(encoding="utf-8")
    assert re.findall(r"""(?:src|href)=["'](?!#|data:|http://127\.0\.0\.1)[^"']*""", text) == []
    assert "url(" not in re.sub(r"url\(#", "", text)


def test_a_column_of_numbers_sorts_by_value_with_dashes_last(browser: Browser, page: Path) -> None:
    browser.open(page)
    head = browser.all("#table-stems-rows thead th")[1]
    button = head.find_element("tag name", "button")
    rows = column(browser, "table-stems-rows", 0)
    assert rows == ["plain", "deep", "plain+c", "plain+l"]
    found = []
    for _ in range(3):
        button.click()
        found.append((head.get_attribute("aria-sort"), column(browser, "table-stems-rows", 0)))
    assert found == [
        ("ascending", ["plain", "plain+c", "deep", "plain+l"]),
        ("descending", ["deep", "plain+c", "plain", "plain+l"]),
        (None, rows),
    ]


def test_numbers_do_not_sort_as_text(browser: Browser, page: Path) -> None:
    browser.open(page)
    heads = browser.texts("#table-stems-rows thead th")
    place = heads.index("Parameters")
    browser.all("#table-stems-rows thead button")[place].click()
    assert column(browser, "table-stems-rows", place) == sorted(
        column(browser, "table-stems-rows", place), key=lambda text: float(text.rstrip("k"))
    )


def test_intervals_sort_by_their_lower_end(browser: Browser, page: Path) -> None:
    browser.open(page)
    place = browser.texts("#changes-rows thead th").index("95 % interval")
    browser.all("#changes-rows thead button")[place].click()
    *ends, last = [text.split(" to ")[0].replace("\u2212", "-") for text in column(browser, "changes-rows", place)]
    assert last == "–"
    assert len(ends) == 2
    assert float(ends[0]) < float(ends[1])


def test_one_column_sorts_at_a_time_and_text_sorts_as_text(browser: Browser, page: Path) -> None:
    browser.open(page)
    buttons = browser.all("#trials-table-rows thead button")
    buttons[2].click()
    buttons[1].click()
    assert len(browser.all("#trials-table-rows th[aria-sort]")) == 1
    cells = column(browser, "trials-table-rows", 1)
    assert cells == sorted(cells)
    # the seeds of a cell stay in the order in which they were printed
    assert column(browser, "trials-table-rows", 2) == ["0", "1", "2"] * 4


def test_a_filter_keeps_the_rows_that_have_every_word(browser: Browser, page: Path) -> None:
    browser.open(page)
    box = browser.find("input[data-filters=trials-table-rows]")
    box.send_keys("FAILED deep")
    assert column(browser, "trials-table-rows", 1) == ["deep"]
    assert column(browser, "trials-table-rows", 7) == ["it broke"]
    assert browser.find("#trials .filter output").text == "1 of 12 rows"
    box.clear()
    box.send_keys("nothing has this")
    assert column(browser, "trials-table-rows", 1) == []
    box.send_keys(Keys.CONTROL + "a", Keys.DELETE)
    assert len(column(browser, "trials-table-rows", 1)) == 12
    assert browser.find("#trials .filter output").text == ""


def test_every_trial_links_to_its_run(browser: Browser, made: tuple[Runs, Path]) -> None:
    runs, page = made
    browser.open(page)
    script = "return [...document.querySelectorAll('#trials-table-rows tbody a')].map(a => [a.textContent, a.href])"
    attempts = {trial: state.attempt for trial, state in runs.states.items()}
    expected = {trial: f"{UI}/#/experiments/7/runs/{attempt.run_id}" for trial, attempt in attempts.items() if attempt}
    assert dict(browser.run(script)) == expected


def test_every_link_inside_the_page_leads_somewhere_and_ids_are_unique(browser: Browser, page: Path) -> None:
    browser.open(page)
    inside = browser.run(
        "return [...document.querySelectorAll('[href^=\"#\"]')].map(a => a.getAttribute('href').slice(1))"
    )
    ids = browser.run("return [...document.querySelectorAll('[id]')].map(e => e.id)")
    assert len(ids) == len(set(ids))
    assert set(inside) <= set(ids)
    assert {"answer", "tables", "claims", "curves", "trials", "how"} <= set(inside)
    named = browser.run(
        "return [...document.querySelectorAll('[aria-labelledby]')].map(e => e.getAttribute('aria-labelledby'))"
    )
    assert set(named) <= set(ids)


def test_the_keyboard_reaches_everything_in_order(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.press(Keys.TAB)
    assert browser.focused()["href"] == "#content"
    browser.press(Keys.ENTER, Keys.TAB)
    # past the contents: the first focus inside is the box that the first table scrolls in
    assert browser.run("return document.activeElement.matches('#answer .scroll')")
    browser.press(Keys.TAB)
    assert browser.focused()["tag"] == "BUTTON"
    assert browser.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    browser.press(Keys.TAB, Keys.TAB, Keys.ENTER)
    assert browser.all("#changes-rows th")[2].get_attribute("aria-sort") == "ascending"
    tabs = browser.run("return [...document.querySelectorAll('[tabindex]')].map(e => e.tabIndex)")
    assert all(tab in (0, -1) for tab in tabs)


@pytest.mark.parametrize("width", [320, 375, 1280])
def test_no_page_scrolls_sideways(browser: Browser, page: Path, width: int) -> None:
    browser.open(page, width=width)
    for summary in browser.all("summary"):
        summary.click()
    assert browser.run("return document.documentElement.scrollWidth") == width
    boxes = browser.run("return [...document.querySelectorAll('.scroll')].map(b => [b.clientWidth, b.scrollWidth])")
    assert width > 400 or any(inside > outside for outside, inside in boxes)


def test_a_first_column_that_stays_covers_no_line_above_it(browser: Browser, page: Path) -> None:
    browser.open(page, width=375)
    script = """const style = getComputedStyle(document.querySelector("#changes-rows tbody th"));
        const table = getComputedStyle(document.querySelector("#changes-rows"));
        return [style.position, style.backgroundClip, style.borderTopWidth, table.borderCollapse];"""
    assert browser.run(script) == ["sticky", "padding-box", "1px", "separate"]


def luminance(colour: list[float]) -> float:
    """Relative luminance by WCAG 2.2."""
    linear = [c / 12.92 if (c := v / 255) <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for v in colour[:3]]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_has_contrast_in_light_and_dark(browser: Browser, page: Path, scheme: str) -> None:
    browser.open(page, scheme=scheme)
    script = """
    const of = (text) => text.match(/[\\d.]+/g).map(Number);
    const ground = (e) => { for (; e; e = e.parentElement) {
        const c = of(getComputedStyle(e).backgroundColor); if (c.length < 4 || c[3] > 0) return c; } return [255, 255, 255]; };
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const found = [];
    while (walker.nextNode()) { const e = walker.currentNode.parentElement;
        if (walker.currentNode.data.trim() && !e.closest('svg, script, style')) found.push([e.tagName + '.' + e.className, of(getComputedStyle(e).color), ground(e)]); }
    return found;"""
    for name, ink, paper in browser.run(script):
        lighter, darker = sorted((luminance(ink), luminance(paper)), reverse=True)
        assert (lighter + 0.05) / (darker + 0.05) >= 4.5, (name, ink, paper)
    paper = browser.run("return getComputedStyle(document.body).backgroundColor.match(/[\\d.]+/g).map(Number)")
    assert (luminance(paper) < 0.1) == (scheme == "dark")


def test_grey_lines_stay_visible_in_the_dark(browser: Browser, page: Path) -> None:
    browser.open(page, scheme="dark")
    drawn = browser.run(
        """const grey = document.createElementNS("http://www.w3.org/2000/svg", "path");
        grey.setAttribute("stroke", arguments[0].toLowerCase());
        document.querySelector(".drawing svg").append(grey);
        return getComputedStyle(grey).stroke""",
        GREY,
    )
    (level,) = {int(number) for number in re.findall(r"\d+", drawn)}
    # what is drawn is turned over, on a page of about 0.008
    luminance = ((255 - level) / 255 + 0.055) / 1.055
    assert (luminance**2.4 + 0.05) / 0.058 > 2.5


def test_without_scripts_the_page_is_complete(browser: Browser, page: Path) -> None:
    browser.open(page, scripts=False)
    visible = browser.find("main").text
    assert "it broke" in visible
    assert "plain+c" in visible
    assert not browser.find(".filter").is_displayed()
    assert browser.all("thead button") == []
    browser.command("Emulation.setScriptExecutionDisabled", value=False)


def test_names_in_a_study_are_text_and_nothing_acts(browser: Browser, tmp_path: Path) -> None:
    option = "<script>alert(1)</script>|&"
    values = {"plain": [0.5, 0.6], option: [0.6, 0.7], "plain+c": [0.5, 0.6], "plain+l": [0.5, 0.6]}
    runs = made_up_runs(tmp_path, values, hostile_study(), failed=(option, 1))
    for trial, record in list(runs.failures.items()):
        runs.failures[trial] = record.model_copy(update={"reason": HOSTILE})
    for trial, record in list(runs.records.items()):
        runs.records[trial] = record.model_copy(update={"hardware": HOSTILE, "commit": HOSTILE})
    write_report(report_of(runs), tmp_path / "out")
    browser.open(tmp_path / "out/report.html")
    assert browser.complaints() == []
    assert browser.run("return window.hacked") is None
    assert browser.run("return document.scripts.length") == 1
    assert browser.all("img") == []
    assert (
        browser.run(
            "return [...document.querySelectorAll('*')].some(e => [...e.attributes].some(a => a.name.startsWith('on')))"
        )
        is False
    )
    assert browser.all("a[href^=javascript]") == []
    whole = " ".join(HOSTILE.split())
    for place in (
        ".question",
        "cite",
        "#table-stems",
        "#claims-table-rows tbody th",
        "#trials-table-rows td:last-child",
    ):
        assert whole in [" ".join(text.split()) for text in browser.texts(place)], place
    assert f"{option}" in column(browser, "changes-rows", 0)[0]
    heads = [" ".join(text.split()) for text in browser.texts("#table-stems-rows thead th")]
    assert heads[:2] == [whole, whole]


def test_the_page_is_the_same_for_the_same_runs(
    made: tuple[Runs, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs, page = made
    # the page names the record, which is in the working folder
    monkeypatch.chdir(page.parent.parent)
    write_report(report_of(runs), tmp_path / "again")
    assert (tmp_path / "again/report.html").read_bytes() == page.read_bytes()


def test_a_page_of_markdown_keeps_its_tables_and_figures(browser: Browser, tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    figure = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><path style="fill: red" d="M0 0H9V9z"/></svg>'
    (tmp_path / "figures/a.svg").write_text(figure)
    lines = [
        "# A search",
        markdown(HOSTILE),
        "| a | b |",
        "| :-- | --: |",
        f"| {markdown(HOSTILE)} | 1 |",
        "",
        "![A](figures/a.svg)",
    ]
    (tmp_path / "report.html").write_text(
        to_html("\n\n".join(lines[:2]) + "\n\n" + "\n".join(lines[2:]), HOSTILE, tmp_path)
    )
    for scheme in ("light", "dark"):
        browser.open(tmp_path / "report.html", scheme=scheme, width=320)
        assert browser.complaints() == []
        assert browser.run("return document.images[0].naturalWidth") > 0
        assert browser.run("return [window.hacked, document.scripts.length]") == [None, 1]
        assert browser.run("return document.documentElement.scrollWidth") == 320
    whole = " ".join(HOSTILE.split())
    assert browser.texts("td")[0] == whole
    assert browser.run("return getComputedStyle(document.querySelectorAll('td')[1]).textAlign") == "right"
    assert browser.driver.title == whole


def test_print_has_no_controls(browser: Browser, page: Path) -> None:
    browser.open(page)
    browser.command("Emulation.setEmulatedMedia", media="print")
    assert not browser.find("#trials .filter").is_displayed()
    assert not browser.find("nav").is_displayed()
    assert browser.run("return getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    browser.command("Emulation.setEmulatedMedia", media="")


def test_a_secret_in_the_tracking_uri_stays_out_of_the_page(
    made: tuple[Runs, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for uri, linked in (
        (
            "https://me:sesame@mlflow.example/base/?token=sesame",
            "https://mlflow.example/base/#/experiments/7/runs/run0",
        ),
        ("postgresql://me:sesame@db/x", f"{UI}/#/experiments/7/runs/run0"),
        ("https://me:ses/@me@mlflow.example", None),
    ):
        monkeypatch.setenv("MLFLOW_TRACKING_URI", uri)
        write_report(report_of(made[0]), tmp_path / "out")
        text = (tmp_path / "out/report.html").read_text(encoding="utf-8")
        assert "sesame" not in text
        assert "ses/" not in text
        assert ("experiments/7" in text) == (linked is not None)
        assert linked is None or f'href="{linked}"' in text


def points_of(page: Path) -> list[tuple[float, float, str]]:
    found = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="5"><title>([^<]*)', page.read_text(encoding="utf-8"))
    return [(float(x), float(y), text) for x, y, text in found]


def test_points_of_figures_lie_where_their_numbers_are_drawn(page: Path) -> None:
    lines: dict[tuple[str, str], list[tuple[float, float, float, float]]] = {}
    for x, y, text in points_of(page):
        said = re.match(r"(\S+), (\S+), epoch (\d+), mean ([\d.]+)", text)
        assert said, text
        lines.setdefault((said[1], said[2]), []).append((x, y, float(said[3]), float(said[4])))
    assert {"plain", "deep", "plain+c"} <= {cell for cell, _ in lines}
    for metric in ("top1", "val_loss"):
        drawn = [point for (_, name), points in lines.items() if name == metric for point in points]
        assert len(drawn) >= 6
        # pixels are a line in the numbers: in epochs to the right, in values upwards
        for place, number, sign in ((0, 2, 1), (1, 3, -1)):
            pixels, numbers = [p[place] for p in drawn], [p[number] for p in drawn]
            slope, intercept = np.polyfit(numbers, pixels, 1)
            assert np.sign(slope) == sign
            assert np.abs(np.polyval([slope, intercept], numbers) - pixels).max() < 0.1


def test_figures_read_out_their_points_by_keys_and_pointer(browser: Browser, page: Path) -> None:
    browser.open(page)
    drawing = browser.find("#curves .drawing")
    readout = browser.find("#curves .readout")
    assert "arrow keys" in readout.text
    browser.run("arguments[0].focus()", drawing)
    texts = [text for _, _, text in points_of(page)]
    seen = []
    for key in (Keys.ARROW_RIGHT, Keys.ARROW_RIGHT, Keys.ARROW_LEFT, Keys.ARROW_LEFT):
        browser.press(key)
        seen.append(readout.text)
    assert seen == [texts[0], texts[1], texts[0], texts[-1]]
    browser.press(Keys.ESCAPE)
    assert "arrow keys" in readout.text
    browser.point_at("#curves .points circle:nth-child(3)")
    assert readout.text == texts[2]


@pytest.mark.slow
def test_links_of_trials_open_their_runs_on_a_real_server(
    browser: Browser, record: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "server").mkdir()
    server = MlflowServer(f"sqlite:///{record}", tmp_path / "server")
    try:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", server.uri)
        runs = made_up_runs(tmp_path, {cell: values[:1] for cell, values in VALUES.items()}, STUDY)
        on_server(runs, MlflowClient(server.uri))
        write_report(make_report(runs.plan, allow_partial=False, allow_mixed=False), tmp_path / "out")
        browser.open(tmp_path / "out/report.html")
        cells = dict(zip(column(browser, "trials-table-rows", 0), column(browser, "trials-table-rows", 1), strict=True))
        links = {link.text: link.get_attribute("href") or "" for link in browser.all("#trials-table-rows a")}
        assert set(links) == set(cells) == set(runs.records)
        for trial, link in [*links.items()][:2]:
            assert link.startswith(f"{server.uri}/#/experiments/")
            browser.driver.get(link)
            browser.wait_for_text(f"{cells[trial]} seed 0")
    finally:
        server.kill()


def on_server(runs: Runs, client: MlflowClient) -> None:
    """Records as MLflow runs, with the names and tags that `ablate run` gives them."""
    fingerprints = data_fingerprints(runs.plan)
    experiment = client.create_experiment(runs.plan.study.title)
    for trial, record in runs.records.items():
        fingerprint = fingerprints[trial] or ""
        tags = {TRIAL: trial, FINGERPRINT: fingerprint, STATUS: "finished", "mlflow.runName": f"{record.cell} seed 0"}
        run = client.create_run(experiment, tags=tags).info.run_id
        client.log_text(run, record.model_copy(update={"fingerprint": fingerprint}).model_dump_json(), ARTIFACT)
        client.set_terminated(run)


def test_the_package_holds_all_that_the_page_is_made_of() -> None:
    settings = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    patterns = settings["tool"]["setuptools"]["package-data"]["reports.page"]
    files = [file.name for file in (REPOSITORY / "reports/page").iterdir() if file.is_file() and file.suffix != ".py"]
    assert {"page.css", "page.js", "study.html"} <= set(files)
    assert all(any(fnmatch(name, pattern) for pattern in patterns) for name in files)


def test_a_study_of_one_cell_and_one_seed_has_a_page(tmp_path: Path) -> None:
    text = TINY.split("factors:")[0] + "designs:\n  - list: [baseline]\n"
    runs = made_up_runs(tmp_path, {"baseline": [0.5]}, text)
    write_report(report_of(runs), tmp_path / "out")
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert "Nothing is compared: the study has one cell." in page
    assert 'id="changes"' not in page
    assert 'id="trials-table"' in page


@pytest.mark.parametrize(("document", "who"), [("", "study"), ("document: {title: Tricks}\n", "document")])
def test_claims_are_those_of_a_document_where_there_is_one(document: str, who: str, tmp_path: Path) -> None:
    runs = made_up_runs(tmp_path, VALUES, document + TINY.lstrip())
    write_report(Report(runs, [], answer_claims(runs), [], []), tmp_path / "out")
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    assert f"What the {who} says, tested on these runs" in page


def test_no_line_ends_before_a_per_cent_sign(tmp_path: Path) -> None:
    runs = made_up_runs(tmp_path, VALUES, TINY)
    write_report(Report(runs, make_tables(runs), answer_claims(runs), [], []), tmp_path / "out")
    page = (tmp_path / "out/report.html").read_text(encoding="utf-8")
    shown = re.sub(r"<(style|script)>.*?</\1>", "", page, flags=re.DOTALL).replace("&nbsp;", "\N{NO-BREAK SPACE}")
    assert "95\N{NO-BREAK SPACE}% interval" in shown
    assert not re.search(r"\d[ \n]%", shown)
