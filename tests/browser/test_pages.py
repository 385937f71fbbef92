"""What a person meets who opens a page: in Chromium, on a phone and a desk, in light, dark and print."""

import re
from urllib.parse import urlsplit

import pytest
from axe_playwright_python.sync_playwright import Axe

PAGES = ("report", "comparison", "description")
PHONE, DESK = (360, 740), (1440, 900)
PAPER = (718, 1000)  # A4 at 96 dots per inch, less Chromium's margins of 1 cm
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]


@pytest.fixture(params=PAGES)
def name(request):
    return request.param


@pytest.fixture
def opened(chromium, pages, name):
    """Opens the page; says what it asked for and complained of."""
    contexts = []

    def open_page(size=DESK, path=None, **settings):
        context = chromium.new_context(viewport={"width": size[0], "height": size[1]}, **settings)
        contexts.append(context)
        page = context.new_page()
        page.asked, page.complaints = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.goto((path or pages[name]).as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()


def test_a_page_asks_for_nothing_and_nothing_goes_wrong(opened, pages, name):
    page = opened()
    page.evaluate("window.scrollTo(0, document.body.scrollHeight)")
    page.wait_for_load_state("networkidle")
    own = [url for url in page.asked if urlsplit(url).scheme != "data"]
    assert own == [pages[name].as_uri()]
    assert page.complaints == []
    # Every picture is there and whole.
    assert page.evaluate(
        "Promise.all([...document.images].map(i => { i.loading = 'eager'; return i.decode(); }))"
        ".then(() => [...document.images].every(i => i.naturalWidth > 0))"
    )


def test_what_a_forged_page_would_load_or_run_is_refused(opened, pages, name, tmp_path):
    text = pages[name].read_text()
    forged = tmp_path / "forged.html"
    other = tmp_path / "other.png"
    other.write_bytes(b"")
    forged.write_text(
        text.replace(
            "</main>", f"<img src='{other.as_uri()}'><script>window.ran = 1</script></main>"
        )
    )
    page = opened(path=forged)
    assert other.as_uri() not in [url for url in page.asked if page.complaints == []]
    assert len([text for text in page.complaints if "Content Security Policy" in text]) == 2
    assert page.evaluate("window.ran") is None


@pytest.mark.parametrize(
    ("size", "settings", "medium"),
    [
        (PHONE, {}, "screen"),
        (DESK, {}, "screen"),
        (PHONE, {"color_scheme": "dark"}, "screen"),
        (PAPER, {}, "print"),
    ],
    ids=["phone", "desk", "dark", "paper"],
)
def test_nothing_is_wider_than_the_page(opened, size, settings, medium):
    page = opened(size, **settings)
    page.emulate_media(media=medium)
    wide = page.evaluate(
        """() => [...document.querySelectorAll('body *')]
            .filter(e => !e.closest('.scroll table, svg'))
            .filter(e => e.getBoundingClientRect().right > document.documentElement.clientWidth + 1)
            .map(e => e.outerHTML.slice(0, 200))"""
    )
    assert wide == []
    widths = page.evaluate(
        "[document.documentElement.scrollWidth, document.documentElement.clientWidth]"
    )
    assert widths[0] <= widths[1]


def test_on_paper_no_table_is_cut(opened):
    page = opened(PAPER)
    page.emulate_media(media="print")
    cut = page.evaluate(
        """() => [...document.querySelectorAll('.scroll')]
            .filter(e => e.scrollWidth > e.clientWidth + 1)
            .map(e => [e.getAttribute('aria-label'), e.scrollWidth, e.clientWidth])"""
    )
    assert cut == []
    assert not page.locator(".contents").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_no_barrier(opened, scheme):
    # The page's own policy keeps axe out, so it is set aside here, and here alone.
    page = opened(PHONE, color_scheme=scheme, bypass_csp=True)
    found = Axe().run(
        page,
        options={"runOnly": {"type": "tag", "values": RULES}, "resultTypes": ["violations"]},
    )
    assert found.response["passes"]
    assert found.violations_count == 0, found.generate_report()


def test_light_and_dark_differ(opened):
    colours = {
        scheme: opened(color_scheme=scheme).evaluate(
            "getComputedStyle(document.body).backgroundColor"
        )
        for scheme in ("light", "dark")
    }
    assert colours == {"light": "rgb(255, 255, 255)", "dark": "rgb(20, 23, 27)"}


def test_every_link_leads_into_the_page_and_every_definition_is_led_to(opened):
    page = opened()
    targets = page.eval_on_selector_all("a", "all => all.map(a => a.getAttribute('href'))")
    assert targets
    ids = page.eval_on_selector_all("[id]", "all => all.map(e => e.id)")
    assert len(ids) == len(set(ids))
    assert {target for target in targets if not target.startswith("#")} == set()
    assert {target[1:] for target in targets} <= set(ids)
    defined = {each for each in ids if each.startswith("define-")}
    assert defined
    assert defined <= {target[1:] for target in targets}
    # The contents lead to every section, in order.
    sections = page.eval_on_selector_all("main h2", "all => all.map(e => '#' + e.id)")
    assert (
        page.eval_on_selector_all(".contents a", "all => all.map(a => a.getAttribute('href'))")
        == sections
    )


def test_a_definition_is_one_click_away(opened):
    page = opened()
    link = page.locator("main a[href^='#define-']").first
    target = link.get_attribute("href")
    link.click()
    assert page.evaluate("document.querySelector(':target').id") == target[1:]
    assert page.locator(f"[id='{target[1:]}']").bounding_box()["y"] < DESK[1]


def test_the_keyboard_reaches_every_link_and_scrolls_every_table(opened):
    page = opened(PHONE)
    wanted = page.evaluate(
        """() => { const all = [...document.querySelectorAll('a, .scroll')];
            all.forEach((e, i) => { e.dataset.place = i; }); return all.length; }"""
    )
    reached, scrolled = [], 0
    for _ in range(wanted):
        page.keyboard.press("Tab")
        place, wide = page.evaluate(
            """() => { const e = document.activeElement;
                return [Number(e.dataset.place ?? -1),
                        e.matches('.scroll') && e.scrollWidth > e.clientWidth + 1]; }"""
        )
        reached.append(place)
        if wide:
            page.keyboard.press("ArrowRight")
            page.evaluate(
                """() => new Promise(done => { const look = () =>
                    document.activeElement.scrollLeft > 0 ? done() : requestAnimationFrame(look);
                    look(); })"""
            )
            scrolled += 1
    assert reached == list(range(wanted))
    assert scrolled > 0


def test_names_in_a_plot_cover_no_curve(opened, name):
    """Text is measured where people see it: the browser's fonts are not matplotlib's."""
    page = opened(PHONE)
    covered = page.evaluate(
        """() => [...document.querySelectorAll('svg.plot')].flatMap(svg => {
            const texts = [...svg.querySelectorAll('[id*="-legend"] text')]
                .map(t => t.getBoundingClientRect());
            const lines = [...svg.querySelectorAll('[id*="-line2d"] > path')]
                .filter(p => !p.closest('[id*="-legend"], [id*="-matplotlib.axis"]'));
            return lines.flatMap(line => {
                const length = line.getTotalLength(), at = line.getScreenCTM();
                const steps = Array.from({length: 400}, (_, i) =>
                    line.getPointAtLength(length * i / 399).matrixTransform(at));
                return texts.filter(t => steps.some(p =>
                    p.x > t.left && p.x < t.right && p.y > t.top && p.y < t.bottom))
                    .map(() => line.closest('svg').getAttribute('aria-label'));
            });
        })"""
    )
    assert covered == []
    if name == "comparison":
        legend = " ".join(page.locator("svg.plot [id*='-legend'] text").all_text_contents())
        assert re.search(r"…\S+ again", legend)
