"""The page in a real browser, opened from disk, without network."""

import contextlib
import csv
import dataclasses
import io
import itertools
import json
import re
import resource
import shutil
import time
import zlib

import numpy as np
import pytest
from made_up import HOSTILE, SEEDS, SMOKE, config, done, measure, suite, training, write
from tables import tables

from bench.runs.record import Epoch, Evaluation, Value
from report import aside, benchmark, figures, render, sources
from report.benchmark import NOTHING
from report.outside import Outside
from report.page import tabs

RUNS = 2 * 8 * SEEDS  # two tables of eight methods


OUTSIDE = Outside(
    name=HOSTILE, dataset="cifar10", architecture="SmallCNN", norm="Linf", eps="0.0157",
    clean=83.3, autoattack=None, source="https://arxiv.org/abs/1", venue="ICLR 2020", footnote="",
)  # fmt: skip


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """Two tables of whole runs, and one with a hostile name, a failure and its log."""
    root = tmp_path_factory.mktemp("results")
    suite(root / "runs", RUNS, images=200)
    hostile = config(HOSTILE, settings={"note": HOSTILE}, protocol=SMOKE | {"batch": 50})
    done(root / "runs", hostile, aa=10.0)
    write(root / "runs", config("sora"), "train", status="failed", reason=HOSTILE)
    write(root / "runs", config("sora"), "autoattack", status="oom", reason="too large")
    run = config("sora").folder
    (root / "logs" / run).mkdir(parents=True)
    (root / "logs" / run / "train.log").write_text("\n".join([HOSTILE] * 40 + ["the last line"]))
    (root / "logs" / run / "autoattack.log").write_text("the attack's last line")
    render.render(root)
    return root


def rendered(root, patched):
    """Render a page with its details beside it, and no picture as a file."""
    patched.setattr(aside, "LARGEST", 0)
    patched.setattr(figures, "MOST", 0)
    render.render(root)
    return root / "leaderboard.html"


@pytest.fixture(scope="module")
def parted(results, tmp_path_factory):
    """The page of the same results, with details beside it."""
    root = tmp_path_factory.mktemp("parted")
    for name in ("runs", "logs"):
        shutil.copytree(results / name, root / name)
    with pytest.MonkeyPatch.context() as patched:
        return rendered(root, patched)


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """A page of more rows than are drawn at first."""
    root = tmp_path_factory.mktemp("many")
    suite(root / "runs", 25 * 8 * SEEDS, epochs=2, images=20)
    with pytest.MonkeyPatch.context() as patched:
        return rendered(root, patched)


@pytest.fixture
def opened(window, results):
    """Open the page; fails on any error, warning or request of the page."""
    messages, requests, pages = [], [], []

    def show(address="", path=results / "leaderboard.html"):
        page = window.new_page()
        pages.append(page)
        page.on("pageerror", lambda error: messages.append(str(error)))
        page.on("console", lambda message: messages.append(message.text))
        page.on("request", lambda request: requests.append(request.url))
        page.goto(f"{path.as_uri()}{address}")
        return page

    yield show
    for page in pages:
        page.close()
    assert not messages
    assert all(url.startswith(("file:", "blob:")) for url in requests)


def until(page, expression):
    """Wait until it holds; Playwright's own wait evaluates text, as the page's policy forbids."""
    for _ in range(300):
        if page.evaluate(expression):
            return
        page.wait_for_timeout(100)
    pytest.fail(f"never came true: {expression}")


def open_export(page):
    """Open the view as text; a browser tells the page of it later, which then fills it in."""
    page.locator("#export summary").click()
    until(page, "document.getElementById('exported').value")


def column(page, key, group=0):
    """The texts of a column in one of the tables."""
    cells = page.locator("tbody").nth(group).locator(f'[data-row] td[data-column="{key}"]')
    return [text.strip() for text in cells.all_inner_texts()]


def numbers(page, key, group=0):
    return [float(text.split()[0]) for text in column(page, key, group) if text[0].isdigit()]


def methods(page):
    return page.locator("tbody [data-row] th button").all_inner_texts()


def test_it_opens_from_disk_and_ranks_as_the_files_do(opened, results):
    page = opened("#group=all")
    found, _ = render.gather(results)
    for i, group in enumerate(found):
        assert column(page, "rank", i) == [row.rank_text for row in group.rows]
    assert page.evaluate("window.hacked") is None


def test_a_click_on_a_head_sorts_and_what_is_missing_stays_last(opened):
    page = opened("#data=digits&group=all")
    head = page.locator('th:has(> button[data-sort="time_ratio"])')
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert numbers(page, "time_ratio") == sorted(numbers(page, "time_ratio"))
    assert column(page, "time_ratio", 1)[-1].startswith("not run")
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "descending"
    last = page.locator("tbody").nth(1)
    assert column(page, "time_ratio", 1)[-1].startswith("not run")
    assert "failed" in last.locator("tr").last.inner_text()


def test_a_sort_ranks_again_and_ties_what_overlaps(opened):
    page = opened("#data=digits&sort=time_ratio")
    # measured once, but so often in turns: what is nearly as quick shares a rank
    assert any(rank.endswith("=") for rank in column(page, "rank"))
    page.locator('button[data-sort="passes"]').click()
    counts, ranks = numbers(page, "passes"), column(page, "rank")
    assert [rank.rstrip("=") for rank in ranks] == [
        str(1 + sum(count < own for count in counts)) for own in counts
    ]
    page.locator('button[data-sort="pgd10"]').click()
    assert column(page, "rank")[0].startswith("1")
    assert any(rank.endswith("=") for rank in column(page, "rank"))


def test_filters_and_search_are_kept_in_the_address(opened):
    page = opened("#group=all")
    page.locator("#fold summary").click()
    page.locator('select[data-key="data"]').select_option("cifar10")
    page.locator('select[data-key="family"]').select_option("multi-step")
    page.locator('input[data-key="q"]').fill("trades")
    assert methods(page) == ["TRADES"]
    assert "1 of 18 rows" in page.locator("#count").inner_text()
    again = opened("#" + page.url.partition("#")[2])
    assert methods(again) == ["TRADES"]
    assert again.locator('select[data-key="family"]').is_visible()  # what is set is not folded away
    assert again.locator('input[data-key="q"]').input_value() == "trades"
    page.locator("#reset").click()
    page.get_by_role("tab", name="All").click()
    assert len(methods(page)) == 18
    page.evaluate("location.hash = '#q=pgd10&group=all'")
    until(page, "document.querySelectorAll('[data-row]').length === 2")


def test_a_hidden_row_leaves_the_ranks_and_comes_back(opened):
    page = opened("#data=cifar10")
    first, second = methods(page)[:2]
    page.get_by_label(f"show {first}", exact=True).click()
    assert methods(page)[0] == second
    assert column(page, "rank")[0].startswith("1")
    assert methods(opened("#" + page.url.partition("#")[2]))[0] == second
    page.locator("#unhide").click()
    assert methods(page)[0] == first


def test_the_drawer_opens_by_keyboard_and_tells_all_of_a_run(opened):
    page = opened("#data=cifar10")
    page.get_by_role("button", name="FGSM", exact=True).last.focus()
    page.keyboard.press("Enter")
    drawer = page.get_by_role("dialog")
    page.wait_for_selector("#run-curves svg")
    text = drawer.inner_text()
    origin = ("0123456789abcdef", "torch 2.11.0", "CPU of a test", "c" * 64)
    for part in (
        *origin,
        "class fgsm: ...",
        "--config",
        '"alpha": 1.25',
        "goodfellow2015explaining",
    ):
        assert part in text
    drawer.get_by_role("button", name="1", exact=True).click()
    assert "collapse began in epoch" in drawer.inner_text()
    address = "#" + page.url.partition("#")[2]
    page.keyboard.press("Escape")
    assert not drawer.is_visible()
    assert "run=" not in page.url
    assert page.evaluate("document.activeElement.textContent") == "FGSM"
    assert opened(address).get_by_role("dialog").is_visible()


def test_text_of_records_never_becomes_markup(opened):
    page = opened("#q=alert")
    assert HOSTILE in methods(page)[0]
    page.locator("tbody [data-row] th button").first.click()
    assert HOSTILE in page.get_by_role("dialog").inner_text()
    # two updates of two passes each are one epoch of two batches
    assert "2 forward, 2 backward" in page.get_by_role("dialog").inner_text()
    page.keyboard.press("Escape")
    failed = opened("#status=failed")
    assert HOSTILE in failed.locator("#table td.notes").inner_text()
    failed.locator("tbody [data-row] th button").click()
    log = failed.locator("#drawer pre").filter(has_text="the last line").inner_text()
    assert log.count(HOSTILE) == 29
    assert "the attack's last line" in failed.locator("#drawer").inner_text()
    assert failed.locator("#drawer h4").filter(has_text="autoattack.log").count() == 1
    for one in (page, failed):
        assert one.locator("#page script, dialog script").count() == 0


@pytest.mark.parametrize("beside", [False, True])
def test_the_policy_allows_our_scripts_and_styles_and_no_other(window, results, parted, beside):
    """The other tests draw everything under it; a breach would be a message on their console."""
    path = parted if beside else results / "leaderboard.html"
    html = path.read_text()
    (path.parent / "sly.js").write_text("window.hacked = 5")
    (policy,) = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]+)"', html)
    assert "unsafe-" not in policy
    assert policy.startswith("default-src 'none';")
    page = window.new_page()  # whose console may complain
    page.goto(path.as_uri())
    page.evaluate("""() => {
      window.refused = [];
      addEventListener("securitypolicyviolation", event => refused.push(event.effectiveDirective));
      const frame = document.createElement("div");
      frame.innerHTML = "<img src=x onerror='window.hacked = 1'><b style='color: red'>b</b>";
      const script = document.createElement("script");
      script.textContent = "window.hacked = 2";
      const link = document.createElement("a");
      link.href = "javascript:window.hacked = 3";
      const file = document.createElement("script");
      file.src = "sly.js";
      document.body.append(frame, script, link, file);
      link.click();
      try { setTimeout("window.hacked = 4"); } catch { }
    }""")
    until(page, "window.refused.length >= 6")
    kinds = {"script-src-elem", "script-src-attr", "script-src", "style-src-attr", "img-src"}
    assert kinds <= set(page.evaluate("window.refused"))
    assert page.evaluate("window.hacked") is None
    page.close()


def test_exports_hold_the_view_and_escape_it(opened):
    page = opened("#q=alert")
    open_export(page)
    text = page.locator("#exported")
    (row,) = csv.DictReader(io.StringIO(text.input_value()))
    assert HOSTILE in row["method"]
    assert float(row["autoattack"]) == 10.0
    page.locator('select[data-key="format"]').select_option("markdown")
    line = text.input_value().splitlines()[4]
    assert "&lt;script>" in line
    assert len(re.findall(r"(?<!\\)\|", line)) == len(
        re.findall(r"\|", text.input_value().splitlines()[2])
    )
    page.locator('select[data-key="format"]').select_option("latex")
    table = text.input_value()
    assert table.count(r"\end{table}") == 1
    assert "AutoAttack on the first 40 test images" in table
    assert "100 training images" in table
    assert r"\textless{}script\textgreater{}" in table
    assert r"50 \% \$x\_1\$ \textbackslash{}end\{table\}" in table
    page.locator('select[data-key="format"]').select_option("bibtex")
    assert text.input_value().startswith("% no entry for: <script>")
    assert "@inproceedings{croce2020reliable," in text.input_value()


def test_the_view_as_latex_is_that_of_the_files(opened, results):
    page = opened("#format=latex")
    open_export(page)
    found, _ = render.gather(results)
    files = [(results / f"tables/{group.file_name}.tex").read_text() for group in found]
    assert page.locator("#exported").input_value() == "\n".join(files)


def test_the_columns_of_the_latex_are_chosen_and_kept_in_the_address(opened):
    page = opened("#format=latex&data=cifar10")
    open_export(page)
    boxes = page.locator("#columns").get_by_role("checkbox")
    assert boxes.count() == len(json.loads(page.locator("#view").text_content())["columns"])
    page.get_by_label("Passes", exact=True).check()
    page.get_by_label("FGSM", exact=True).uncheck()
    page.get_by_label("PGD-10", exact=True).uncheck()
    head = "Rank & Method & AutoAttack & Clean & Time & Passes & Collapsed & $n$"
    assert head in page.locator("#exported").input_value()
    again = opened("#" + page.url.partition("#")[2])
    open_export(again)
    assert head in again.locator("#exported").input_value()
    assert again.get_by_label("Passes", exact=True).is_checked()
    again.locator('select[data-key="format"]').select_option("csv")
    assert again.locator("#columns").is_hidden()


def test_an_export_is_downloaded_and_copied(opened):
    page = opened("#data=cifar10&format=bibtex")
    open_export(page)
    with page.expect_download() as waiting:
        page.locator("#download").click()
    assert waiting.value.suggested_filename == "leaderboard.bib"
    assert "% no entry for: mine" in waiting.value.path().read_text()
    page.get_by_role("button", name="Copy").click()
    page.get_by_role("button", name="Copied").wait_for()
    assert "@inproceedings{wong2020fast," in page.evaluate("navigator.clipboard.readText()")


def test_a_spreadsheet_runs_no_method_name(opened, tmp_path):
    done(tmp_path / "runs", config("=HYPERLINK(1)"), aa=10.0)
    render.render(tmp_path)
    page = opened("", tmp_path / "leaderboard.html")
    open_export(page)
    until(page, "document.querySelector('#exported').value")
    assert ",'=HYPERLINK(1)," in page.locator("#exported").input_value()


def test_names_in_the_cost_picture_never_overlap(opened, tmp_path):
    for i in range(24):
        done(tmp_path / "runs", config(f"method_{i}"), aa=30.0, ratio=1 + i / 1000)
    render.render(tmp_path)
    page = opened("", tmp_path / "leaderboard.html")
    page.locator("#pictures").scroll_into_view_if_needed()
    page.wait_for_selector("#scatter svg")
    names = page.locator("#scatter svg text").filter(has_text="method_")
    boxes = sorted((box["y"], box["height"]) for box in (n.bounding_box() for n in names.all()))
    assert len(boxes) == 24
    for (above, height), (below, _) in itertools.pairwise(boxes):
        assert above + height <= below + 1
    frame = page.locator("#scatter").bounding_box()
    assert frame["height"] < 24 * 15 + 80  # they stand beside the axis, which has one line for each
    right = frame["x"] + frame["width"]
    assert all((box := name.bounding_box())["x"] + box["width"] <= right for name in names.all())


def test_the_pictures_show_front_collapse_and_state(opened):
    page = opened("#data=cifar10&sort=method")
    page.locator("#pictures").scroll_into_view_if_needed()
    page.wait_for_selector("#traces svg")
    assert page.locator("#scatter .mark-line path").count() == 1
    collapsed = page.locator("#traces .mark-rule.role-mark line")
    assert collapsed.count() == 2  # of five seeds of one method
    page.locator("#picture-trace").select_option("state: c")
    until(page, "document.querySelector('#traces').innerHTML.includes('state: c')")
    page.locator("#picture-x").select_option("clean")
    until(page, "document.querySelector('#scatter').innerHTML.includes('Clean')")
    assert "x=clean" in page.url


def colours_of(pdf):
    """The colours of lines in a PDF, in red, green and blue."""
    streams = (pdf[found.end() :] for found in re.finditer(rb"stream\r?\n", pdf))
    text = b""
    for stream in streams:
        with contextlib.suppress(zlib.error):  # of what is not compressed
            text += zlib.decompressobj().decompress(stream)
    return {
        tuple(map(float, line.split()[:3]))
        for line in re.findall(rb"[\d.]+ [\d.]+ [\d.]+ RG", text)
    }


def test_a_print_has_the_pictures_that_nobody_scrolled_to(opened):
    page = opened()
    page.set_viewport_size({"width": 390, "height": 400})
    page.reload()
    assert page.locator("#pictures svg").count() == 0
    blue = tuple(int("0072B2"[i : i + 2], 16) / 255 for i in (0, 2, 4))
    found = colours_of(page.pdf(prefer_css_page_size=True))
    assert any(np.allclose(blue, colour, atol=0.001) for colour in found)
    until(page, "document.querySelector('#traces svg').clientWidth < 390")  # as before


def test_print_as_a_medium_has_the_pictures_too(opened):
    page = opened()
    page.set_viewport_size({"width": 390, "height": 400})
    page.reload()
    page.emulate_media(media="print")
    page.wait_for_selector("#traces svg")
    page.wait_for_selector("#scatter svg")
    assert page.locator(".take").first.is_hidden()


@pytest.mark.parametrize("node", ["scatter", "traces"])
def test_a_picture_and_its_data_are_saved_as_the_files_have_them(opened, results, node):
    page = opened("#data=cifar10")
    page.locator("#pictures").scroll_into_view_if_needed()
    page.wait_for_selector(f"#{node} svg")
    saved = {}
    for kind in ("SVG", "PNG", "CSV"):
        with page.expect_download() as waiting:
            page.locator(f"#{node} + .take").get_by_role("button", name=kind).click()
        saved[waiting.value.suggested_filename] = waiting.value.path().read_bytes()
    (group,) = (group for group in render.gather(results)[0] if group.facts.dataset == "cifar10")
    name = f"{group.file_name}-{'accuracy' if node == 'traces' else 'autoattack-over-time_ratio'}"
    assert list(saved) == [f"{name}.{kind}" for kind in ("svg", "png", "csv")]
    svg, png, text = saved.values()
    assert svg.startswith(b"<svg")
    assert b"var(" not in svg  # the page's own colours mean nothing outside it
    assert png.startswith(b"\x89PNG")
    ours = list(csv.reader(io.StringIO(text.decode())))
    theirs = list(csv.reader((results / "figures" / f"{name}.csv").read_text().splitlines()))
    number = re.compile(r"-?[\d.]+(e-?\d+)?")
    plain = [[float(f) if number.fullmatch(f) else f for f in line] for line in theirs]
    assert [[float(f) if number.fullmatch(f) else f for f in line] for line in ours] == plain
    assert len(ours) > 8


def test_no_mark_of_a_picture_is_an_image_without_a_name(opened):
    page = opened("#data=cifar10")
    page.locator("#pictures").scroll_into_view_if_needed()
    page.wait_for_selector("#traces svg")
    images = page.locator("svg :is([role=img], [role=graphics-symbol], [role=graphics-document])")
    assert images.count() == images.and_(page.locator("[aria-label]")).count()
    for node in ("overview", "scatter", "traces"):
        assert page.locator(f"#{node}").get_attribute("aria-label")


def test_a_point_says_its_numbers_when_pointed_at(opened):
    page = opened("#data=cifar10")
    page.locator("#pictures").scroll_into_view_if_needed()
    page.locator("#scatter .mark-symbol path").first.hover()
    tooltip = page.locator("#vg-tooltip-element")
    tooltip.wait_for()
    assert "method" in tooltip.inner_text()
    assert tooltip.evaluate("node => getComputedStyle(node).position") == "fixed"


def test_without_script_the_tables_are_there(browser, results):
    page = browser.new_page(java_script_enabled=False)
    page.goto((results / "leaderboard.html").as_uri())
    assert page.locator("noscript table").count() == 3
    assert page.locator("noscript th[scope=row]").filter(has_text="N-FGSM").first.is_visible()
    assert not page.locator("#page").is_visible()
    page.close()


def test_the_skip_link_leads_to_the_table(opened):
    page = opened()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "table"


def test_rows_of_others_stand_apart_and_are_filtered_alike(opened, results, tmp_path):
    found, records = render.gather(results)
    others = dataclasses.replace(NOTHING, rows=[OUTSIDE])
    (tmp_path / "page.html").write_text(render.page(found, records.runs, others=others))
    page = opened("#group=all", tmp_path / "page.html")
    rows = page.locator("#outside-rows tr")
    assert rows.count() == 1
    assert HOSTILE in rows.inner_text()
    assert "not reported" in rows.inner_text()
    assert HOSTILE not in page.locator("#table").inner_text().replace(methods(page)[-2], "")
    page.locator("#fold summary").click()
    for key, own in (("data", "cifar10"), ("arch", "small_cnn"), ("eps", "4/255")):
        page.locator(f'select[data-key="{key}"]').select_option(own)
        assert rows.count() == 1
    page.locator('select[data-key="data"]').select_option("digits")
    assert rows.count() == 0


def test_a_benchmark_stands_there_with_its_collapses_and_not_among_our_rows(opened, results):
    page = opened("#group=all")
    others = benchmark.read()
    assert page.locator("#outside-rows tr").count() == len(others.rows)
    assert others.statement in page.locator("#outside-statement").inner_text()
    row = page.locator("#outside-rows tr").filter(has_text="ZeroGrad").first
    assert row.locator(".badge.bad").all_inner_texts() == ["collapsed"]
    assert "48.0, 11.8" in row.inner_text()
    assert row.locator("a").get_attribute("href") == others.rows[0].link
    assert "ZeroGrad" not in page.locator("#table").inner_text()
    page.locator('input[data-key="q"]').fill("zerograd")
    until(page, "document.querySelectorAll('#outside-rows tr').length === 3")


@pytest.mark.parametrize(
    ("width", "height", "media"),
    [(1300, 900, "screen"), (1920, 1080, "screen"), (390, 844, "screen"), (1047, 718, "print")],
)
def test_rank_name_badges_and_headline_are_seen_at_any_width(opened, width, height, media):
    page = opened("#group=all")
    page.set_viewport_size({"width": width, "height": height})
    page.emulate_media(media=media)
    inside = page.locator("#panel > .scroll").bounding_box()
    right = page.evaluate("""[...document.querySelectorAll("tr[data-row]")].flatMap(row =>
      [...row.querySelectorAll('[data-column=rank], th button, .badge, [data-column=autoattack]')]
        .map(cell => cell.getBoundingClientRect()).map(box => [box.left, box.right]))""")
    assert len(right) > 3 * 16
    assert min(left for left, _ in right) >= 0
    assert max(right for _, right in right) <= inside["x"] + inside["width"] <= width


def test_the_first_picture_is_seen_at_once_and_marks_what_collapsed(opened):
    page = opened("#data=cifar10")
    page.wait_for_selector("#overview svg")
    box = page.locator("#first").bounding_box()
    assert box["y"] + box["height"] <= 900
    assert page.locator("[data-row]").first.bounding_box()["y"] < 400  # and the table with it
    named = page.locator("#overview svg text").filter(has_text=re.compile("^(FGSM|FGSM-RS)$"))
    assert named.count() == 2
    crosses = page.evaluate("""[...document.querySelectorAll("#overview .mark-symbol path")]
        .filter(path => path.getAttribute("fill") === "var(--bad)").length""")
    assert crosses == 2 * column_of_collapsed(page)  # in the plot and beside it
    assert crosses
    assert "Crosses collapsed" in page.locator("#overview-note").inner_text()


def test_both_cost_pictures_leave_out_rows_without_a_rank(opened, tmp_path):
    for method in ("sora", "fgsm"):
        done(tmp_path / "runs", config(method), aa=90.0 if method == "sora" else 10.0)
    (tmp_path / "runs" / config("sora").folder / "train.json").write_text("{")
    render.render(tmp_path)
    page = opened("", tmp_path / "leaderboard.html")
    page.wait_for_selector("#overview svg")
    assert "FGSM" in page.locator("#overview svg").text_content()
    assert "SORA" not in page.locator("#overview svg").text_content()
    assert "Rows without a rank are left out" in page.locator("#overview-note").inner_text()
    page.locator("#pictures").scroll_into_view_if_needed()
    page.wait_for_selector("#scatter svg")
    assert "FGSM" in page.locator("#scatter svg").text_content()
    assert "SORA" not in page.locator("#scatter svg").text_content()
    assert "rows without a rank are left out" in page.locator("#scatter-note").inner_text()


def column_of_collapsed(page):
    return sum(not text.startswith("0 of") for text in column(page, "collapse"))


def test_each_table_is_a_tab_by_mouse_keyboard_and_address(opened, results):
    page = opened()
    found, _ = render.gather(results)
    shown = page.get_by_role("tab")
    assert shown.count() == len(found) + 1
    assert methods(page) == [row.title for row in found[0].rows]
    shown.nth(1).click()
    assert methods(page) == [row.title for row in found[1].rows]
    assert methods(opened("#" + page.url.partition("#")[2])) == methods(page)
    page.keyboard.press("ArrowRight")
    assert methods(page) == [row.title for row in found[2].rows]
    assert page.evaluate("document.activeElement.ariaSelected") == "true"
    page.keyboard.press("End")
    assert len(methods(page)) == 18
    assert page.locator("[role=tab][aria-selected=true]").count() == 1
    page.locator('input[data-key="q"]').fill("trades digits")
    assert shown.filter(visible=True).all_inner_texts() == [f"{name_of(found, 'digits')} 1", "All"]


def name_of(found, dataset):
    """The tab of the one table of whole runs of a data set."""
    return next(
        tab
        for tab, group in zip(tabs(found), found, strict=True)
        if group.facts.dataset == dataset and len(group.rows) > 2
    )


def test_a_tab_names_what_tells_its_table_from_others_and_no_more(tmp_path):
    other = SMOKE | {"name": "long"}
    for changes in (
        {},
        {"eps": "26/255"},
        {"protocol": other},
        {"eps": "26/255", "protocol": other, "width": 8},
        {"eps": "10/255", "protocol": other, "width": 4},
        {"dataset": "cifar10"},
    ):
        done(tmp_path / "runs", config(**changes), aa=10.0)
    assert sorted(tabs(tables(tmp_path))) == [
        "cifar10", "digits 10/255", "digits 26/255 long", "digits 26/255 smoke",
        "digits 51/255 long", "digits 51/255 smoke",
    ]  # fmt: skip


def test_many_tables_are_tabs_on_a_wide_window_and_a_choice_on_a_phone(opened, many):
    page = opened("", many)
    found = json.loads(page.locator("#view").text_content())["groups"]
    assert len(found) == 25
    tablist, pick = page.locator("#tabs"), page.locator("#pick-table")
    assert page.get_by_role("tab").count() == 26
    assert not pick.is_visible()
    assert tablist.evaluate("node => node.scrollHeight <= node.clientHeight")
    tab = page.get_by_role("tab").nth(3)
    assert tab.get_attribute("title") == found[3]["name"]
    assert len(found[3]["tab"]) < len(found[3]["name"]) / 2
    page.set_viewport_size({"width": 390, "height": 844})
    assert not tablist.is_visible()
    assert pick.locator("option").count() == 26
    assert pick.input_value() == found[0]["key"]
    pick.focus()
    pick.select_option(found[3]["key"])
    assert page.locator("tr.group").inner_text().startswith(found[3]["name"])
    assert f"group={found[3]['key']}" in page.url
    assert page.evaluate("document.activeElement.id") == "pick-table"
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def test_a_table_has_no_column_of_an_evaluation_that_none_of_its_rows_has(opened, tmp_path):
    runs, first, second = tmp_path / "runs", config(), config(dataset="cifar10")
    for one in (first, second):
        done(runs, one, aa=10.0)
    write(runs, first, "pgd20", measure=measure("pgd20"))
    render.render(tmp_path)
    path = tmp_path / "leaderboard.html"
    for address, has in (
        ("#data=digits", 1),
        ("#data=cifar10", 0),
        ("#data=cifar10&sort=pgd20", 1),
    ):
        page = opened(address, path)
        assert page.locator('[data-row] td[data-column="pgd20"]').count() == has
        assert page.locator("#heads th").count() == page.locator("[data-row] > *").count()


def test_no_name_of_a_curve_is_cut_on_a_phone(opened, tmp_path):
    probe = {"clean": 80.0, "fgsm": 60.0, "pgd10": 40.0}
    one = Epoch(epoch=0, lr=0.1, loss=1.0, pert_align=0.5, reach=1.0, state={}, probe=probe,
                validation=40.0, validation_average=41.0)  # fmt: skip
    curves = [one, dataclasses.replace(one, epoch=1)]
    done(tmp_path / "runs", config(), aa=10.0)
    trained = dataclasses.replace(training(epochs=2), curves=curves)
    write(tmp_path / "runs", config(), "train", training=trained)
    render.render(tmp_path)
    page = opened("", tmp_path / "leaderboard.html")
    page.set_viewport_size({"width": 390, "height": 844})
    page.locator("#pictures").scroll_into_view_if_needed()
    page.wait_for_selector("#traces svg")
    page.locator("[data-row] th button").click()
    page.wait_for_selector("#run-curves svg")
    for place in ("#traces", "#run-curves"):
        names = page.locator(f"{place} .role-legend-label text")
        assert names.count() == 5
        edge = page.locator(place).bounding_box()
        ends = [name.bounding_box() for name in names.all()]
        assert max(end["x"] + end["width"] for end in ends) <= edge["x"] + edge["width"] <= 390


def test_a_search_is_for_names_and_else_for_other_words(opened):
    page = opened("#group=all&q=sora")
    assert set(methods(page)) == {"SORA"}  # and not all of the protocol sora-30
    box = page.locator('input[data-key="q"]')
    for text in ("nfgsm", "N-FGSM", "n_fgsm"):
        box.fill(text)
        assert set(methods(page)) == {"N-FGSM"}
    box.fill("sora cifar10")
    assert methods(page) == ["SORA"]
    box.fill("sora-30")
    assert len(methods(page)) == 16


def test_a_search_that_finds_nothing_offers_the_nearest_name(opened):
    page = opened("#q=gradalgin")
    assert 'Nothing found for "gradalgin"' in page.locator("#count").inner_text()
    page.get_by_role("button", name="Search for GradAlign").click()
    assert set(methods(page)) == {"GradAlign"}
    assert not page.locator("#nearest").is_visible()


def test_links_lead_to_paper_code_and_repository(opened, results, tmp_path, monkeypatch):
    page = opened("#q=n_fgsm")
    links = page.locator("[data-row] a")
    assert links.all_inner_texts() == ["NeurIPS 2022", "code"]
    assert [link.get_attribute("href") for link in links.all()] == [
        "https://arxiv.org/abs/2202.01181", "https://github.com/pdejorge/N-FGSM",
    ]  # fmt: skip
    address = "https://example.org/onestep"
    assert address not in page.content()
    project = sources.project() | {"repository": address}
    monkeypatch.setattr(sources, "project", lambda: project)
    found, records = render.gather(results)
    (tmp_path / "page.html").write_text(render.page(found, records.runs))
    named = opened("", tmp_path / "page.html")
    assert named.locator(f'header a[href="{address}"]').count() == 1


def test_a_table_is_cited_with_the_commit_and_the_day_of_the_page(opened):
    page = opened("#data=cifar10")
    page.get_by_role("button", name="Cite this table").click()
    entry = page.locator("#exported").input_value()
    assert re.match(r"@misc\{onestep_\w{8},\n  author = \{\{The onestep authors\}\},", entry)
    assert re.search(r"rendered 20\d\d-\d\d-\d\d \d\d:\d\d UTC at commit \w+,", entry)
    assert "cifar10, small\\_cnn" in entry
    assert entry.count("{") == entry.count("}")


def test_names_are_for_people_and_the_csv_keeps_ids(opened):
    page = opened("#q=grad_align&group=all")
    open_export(page)
    text = page.locator("#exported")
    assert [row["method"] for row in csv.DictReader(io.StringIO(text.input_value()))] == [
        "grad_align", "grad_align",
    ]  # fmt: skip
    page.locator('select[data-key="format"]').select_option("latex")
    assert "GradAlign" in text.input_value()


def test_heads_stay_and_filters_are_folded_away_on_a_phone(opened):
    page = opened("#group=all")
    page.set_viewport_size({"width": 390, "height": 844})
    assert not page.locator('select[data-key="data"]').is_visible()
    # All in one moment: a picture that is drawn between two calls moves everything below it.
    inside, row, head = page.locator("#panel > .scroll").evaluate(
        """node => {
            node.scrollTo(0, 400)
            const head = [...node.querySelectorAll("#heads th")].at(-1)
            const parts = [node, node.querySelector("[data-row]"), head]
            return parts.map(part => part.getBoundingClientRect().y)
        }"""
    )
    assert row < inside
    assert abs(head - inside) < 2


def test_a_small_number_keeps_two_digits(opened, tmp_path):
    for seed, value in enumerate((3e-4, 3.4e-4)):
        cfg = config(seed=seed)
        done(tmp_path / "runs", cfg, aa=10.0)
        values = {"elle": Value(value=value, unit="squared loss", n=40)}
        found = Evaluation(settings={}, scores={}, values=values, measure_seconds=1.0)
        write(tmp_path / "runs", cfg, "elle", measure=found)
    render.render(tmp_path)
    page = opened(path=tmp_path / "leaderboard.html")
    assert column(page, "elle") == ["0.00032 ± 0.00003"]
    assert column(page, "autoattack") == ["10.00 ± 0.00"]


def test_what_a_tooltip_shows_is_reached_by_touch(opened):
    page = opened("#data=cifar10")
    row = page.locator("[data-row]").first
    hints = row.locator("[title]").evaluate_all("cells => cells.map(cell => cell.title)")
    heads = page.locator("#heads [title]").evaluate_all("cells => cells.map(cell => cell.title)")
    row.locator('[data-column="clean"]').click()
    text = page.locator("#drawer").inner_text()
    lines = {line for hint in hints for line in hint.splitlines() if line}
    assert len(lines) > 5
    assert [line for line in lines if line not in text] == []
    page.keyboard.press("Escape")
    page.get_by_role("link", name="How to read it").click()
    text = page.locator("#reading").inner_text()
    assert [head for head in heads if head and head not in text] == []


def test_a_table_of_mnist_says_what_it_cannot_show(opened, tmp_path):
    done(tmp_path / "runs", config(dataset="mnist_5k"), aa=10.0)
    done(tmp_path / "runs", config(), aa=10.0)
    render.render(tmp_path)
    page = opened("#group=all&format=markdown", tmp_path / "leaderboard.html")
    cautions = page.locator("tr.group .caution").all_inner_texts()
    assert cautions == [sources.caution("mnist_5k")]
    open_export(page)
    text = page.locator("#exported")
    assert text.input_value().count(cautions[0]) == 1
    page.locator('select[data-key="format"]').select_option("latex")
    assert text.input_value().count(cautions[0]) == 1


def test_a_row_whose_training_is_unreadable_has_no_rank_by_any_column(opened, tmp_path):
    done(tmp_path / "runs", config("sora"), aa=90.0)
    done(tmp_path / "runs", config("fgsm"), aa=10.0)
    (tmp_path / "runs" / config("sora").folder / "train.json").write_text("{")
    render.render(tmp_path)
    page = opened("", tmp_path / "leaderboard.html")
    assert methods(page) == ["FGSM", "SORA"]
    assert column(page, "rank") == ["1", "-"]
    page.locator('button[data-sort="time_ratio"]').click()
    assert column(page, "rank") == ["1", "-"]
    open_export(page)
    rows = list(csv.DictReader(io.StringIO(page.locator("#exported").input_value())))
    assert [row["clean"] for row in rows] == ["90", "unreadable"]
    page.get_by_role("button", name="SORA").click()
    assert (
        "no rank: attacked, but its training is unreadable" in page.locator("#drawer").inner_text()
    )


def test_what_scrolls_can_be_scrolled_by_keyboard(opened):
    page = opened("#data=cifar10")
    page.locator("#pictures").scroll_into_view_if_needed()
    page.wait_for_selector("#traces svg")
    still = page.evaluate("""[...document.querySelectorAll("body *")]
        .filter(node => /auto|scroll/.test(getComputedStyle(node).overflowX) && node.tabIndex < 0
          && !node.querySelector("button, a, input") && node.checkVisibility())
        .map(node => node.id || node.className)""")
    assert still == []


def test_a_narrow_window_scrolls_the_table_and_not_the_page(opened):
    page = opened()
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390


def scripts_read(page):
    return page.evaluate("[...document.scripts].map(script => script.src).filter(Boolean)")


def drawer_of(page, name):
    """What the drawer of a method's first run tells once it has come."""
    page.get_by_role("button", name=name, exact=True).first.click()
    page.wait_for_selector("#run-curves svg")
    return page.locator("#drawer").inner_text()


def test_details_beside_the_page_are_those_of_one_file_and_come_when_asked_for(
    opened, results, parted
):
    whole, page = opened("#data=cifar10"), opened("#data=cifar10", parted)
    assert parted.stat().st_size < (results / "leaderboard.html").stat().st_size
    assert page.locator("#runs").count() == 0
    assert drawer_of(page, "N-FGSM") == drawer_of(whole, "N-FGSM")
    assert len(scripts_read(page)) == 1
    assert scripts_read(whole) == []
    page.keyboard.press("Escape")
    page.locator("#pictures").scroll_into_view_if_needed()
    page.wait_for_selector("#traces svg")
    page.wait_for_selector("#scatter svg")
    assert len(scripts_read(page)) == 1
    page.locator("#picture-trace").select_option("state: c")
    page.locator("#reset").click()
    page.get_by_role("tab").nth(1).click()
    page.locator("script[src]").nth(1).wait_for(state="attached")
    page.wait_for_selector("#traces svg")


def test_text_of_records_is_no_markup_beside_the_page_either(opened, parted):
    page = opened("#q=alert", parted)
    page.locator("tbody [data-row] th button").first.click()
    page.locator("#drawer h3").first.wait_for()
    assert HOSTILE in page.get_by_role("dialog").inner_text()
    assert '"note": ' + json.dumps(HOSTILE) in page.get_by_role("dialog").inner_text()
    assert page.evaluate("window.hacked") is None


@pytest.mark.parametrize("damage", ["gone", "cut", "of another page"])
def test_a_page_without_its_details_says_what_is_missing(window, parted, tmp_path, damage):
    shutil.copytree(parted.parent, tmp_path, dirs_exist_ok=True)
    for path in (tmp_path / aside.FOLDER).iterdir():
        if damage == "gone":
            path.unlink()
        else:
            path.write_text(path.read_text()[:-9] if damage == "cut" else "takeDetails('{}')")
    page = window.new_page()  # whose console may complain
    page.goto(f"{(tmp_path / 'leaderboard.html').as_uri()}#data=cifar10")
    page.get_by_role("button", name="N-FGSM", exact=True).click()
    text = page.locator("#drawer").get_by_text(f"are not in {aside.FOLDER}/")
    text.wait_for()
    assert "AutoAttack" in page.locator("#drawer").inner_text()  # what the row tells
    page.keyboard.press("Escape")
    page.locator("#pictures").scroll_into_view_if_needed()
    page.locator("#scatter-note").get_by_text(f"are not in {aside.FOLDER}/").wait_for()
    page.close()


def test_a_print_has_its_pictures_from_beside_the_page(opened, parted):
    page = opened("", parted)
    with page.expect_event("requestfinished", lambda request: aside.FOLDER in request.url):
        page.reload()
    page.evaluate("new Promise(done => requestAnimationFrame(() => setTimeout(done)))")
    assert page.locator("#pictures svg").count() == 0
    page.pdf()
    page.wait_for_selector("#traces svg")


def test_without_script_a_page_with_details_beside_it_names_the_tables(browser, parted):
    page = browser.new_page(java_script_enabled=False)
    page.goto(parted.as_uri())
    links = [link.get_attribute("href") for link in page.locator("noscript a").all()]
    assert links == ["leaderboard.md", "leaderboard.csv"]
    assert all((parted.parent / link).is_file() for link in links)
    assert page.locator("noscript table").count() == 0
    page.close()


def test_rows_that_are_not_drawn_are_sorted_found_and_printed(opened, many):
    from playwright.sync_api import expect

    page = opened("#group=all", many)
    drawn = expect(page.locator("tbody [data-row]")).to_have_count
    drawn(150)
    assert "200 rows, the first 150 drawn" in page.locator("#count").inner_text()
    page.locator('button[data-sort="clean"]').click()
    assert numbers(page, "clean") == sorted(numbers(page, "clean"), reverse=True)
    tables = json.loads(page.locator("#view").text_content())["groups"]
    last = tables[-1]["name"]
    assert last not in page.locator("#table").inner_text()
    box = page.locator('input[data-key="q"]')
    box.fill(f"trades {last}".replace(",", ""))
    assert methods(page) == ["TRADES"]
    assert last in page.locator("#table").inner_text()
    box.fill("trades")
    assert methods(page) == ["TRADES"] * 25
    box.fill("")
    page.pdf()
    drawn(150)  # as before
    page.emulate_media(media="print")
    drawn(200)
    page.emulate_media(media="screen")
    drawn(150)
    page.locator("#more").focus()
    page.keyboard.press("Enter")
    drawn(200)
    assert numbers(page, "clean", 24) == sorted(numbers(page, "clean", 24), reverse=True)
    assert last in page.locator("#table").inner_text()


@pytest.mark.slow
def test_five_thousand_runs_are_read_rendered_and_sorted_at_once(opened, browser, tmp_path):
    suite(tmp_path / "runs", 5000)
    start = time.process_time()
    render.render(tmp_path)
    seconds = time.process_time() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    path = tmp_path / "leaderboard.html"
    size = path.stat().st_size / 2**20
    page = opened("", path)
    asked = browser.new_browser_cdp_session()

    def spent():
        """CPU seconds of all of the browser's processes, whatever else the machine does."""
        return sum(one["cpuTime"] for one in asked.send("SystemInfo.getProcessInfo")["processInfo"])

    took = {}
    for name, act in {
        "sort": "document.querySelector('[data-sort=clean]').click()",
        "filter": "const s = document.querySelector('[data-key=data]'); s.value = 'svhn';"
        " s.dispatchEvent(new Event('change'))",
        "search": "const q = document.querySelector('[data-key=q]'); q.value = 'sora';"
        " q.dispatchEvent(new Event('input'))",
        "drawer": "document.querySelector('[data-row] th button').click()",
    }.items():
        before = spent()
        page.evaluate(
            f"""() => new Promise(done => {{
                {act};
                requestAnimationFrame(() => setTimeout(done));
            }})"""
        )
        took[name] = spent() - before
    elements = page.evaluate("document.querySelectorAll('*').length")
    print(f"{seconds:.1f} s of CPU, {peak:.2f} GiB, {size:.1f} MiB, {elements} elements;", took)
    assert seconds < 30
    assert peak < 2
    assert size < 20
    assert elements < 3000  # rows out of sight are none
    assert max(took.values()) < 1  # CPU seconds
