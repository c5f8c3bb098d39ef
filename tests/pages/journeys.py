"""Journeys through the pages in a real browser: python journeys.py BASE_URL JOURNEY.

Each page that a journey comes to is checked: axe finds no violation, nothing spills over the side, and the browser
complains of nothing.
"""

import datetime
import re
import shutil
import sys

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect, sync_playwright

TAGS = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
AXE_OPTIONS = {"runOnly": {"type": "tag", "values": TAGS}, "rules": {"target-size": {"enabled": True}}}

# A phone and a screen, with and without a script.
CONFIGURATIONS = [(width, script) for width in (320, 1280) for script in (True, False)]


class Visit:
    """A browser with one window, whose pages are checked."""

    def __init__(self, browser: Browser, base: str, width: int, script: bool):
        self.base, self.width, self.script = base, width, script
        self.context = browser.new_context(
            base_url=base, viewport={"width": width, "height": 900}, java_script_enabled=script, locale="en-GB"
        )
        self.context.set_default_timeout(60_000)
        self.page = self.context.new_page()
        self.complaints: list[str] = []
        self.page.on("console", lambda message: self.complaints.append(message.text))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))

    def check(self) -> Page:
        """Checks the page that is shown."""
        page = self.page
        page.wait_for_load_state()
        width = page.evaluate("document.scrollingElement.scrollWidth")
        assert width <= self.width, f"{page.url} is {width} wide in a window of {self.width}"
        expected = [c for c in self.complaints if not re.search("status of 4", c)]
        assert not expected, f"{page.url}: {self.complaints}"
        if self.script:
            found = Axe().run(page, options=AXE_OPTIONS)
            assert found.violations_count == 0, f"{page.url}: {found.generate_report()}"
        return page

    def go(self, path: str, status: int = 200) -> Page:
        answer = self.page.goto(path)
        assert answer.status == status, f"{path}: {answer.status}"
        return self.check()

    def follow(self, name: str) -> Page:
        """Follows the first link of this name."""
        self.page.get_by_role("link", name=name, exact=True).first.click()
        return self.check()

    def press(self, name: str) -> Page:
        self.page.get_by_role("button", name=name, exact=True).click()
        return self.check()

    def wait_for_job(self) -> None:
        """Looks again until no job is at work: the script does so by itself, a person follows a link."""
        for _ in range(300):
            if self.page.get_by_role("link", name="See how far it is").count() == 0:
                return
            self.page.goto("/pages/views")
        raise AssertionError("the job does not end")

    def be(self, person: str) -> None:
        self.go("/pages")
        self.page.get_by_label(person).check()
        self.press("Continue")


def head_of_offender_management(browser: Browser, base: str) -> None:
    """Finds a case that waits, compares POMs, allocates it to one, and takes it back."""
    for number, (width, script) in enumerate(CONFIGURATIONS):
        visit = Visit(browser, base, width, script)
        visit.be("HOMD_LEI")
        visit.page.get_by_label("Which prison?").fill("Nowhere at all")
        page = visit.press("Continue")
        expect(page.get_by_role("alert")).to_contain_text("Enter a prison's code")
        expect(page.get_by_label("Which prison?")).to_have_value("Nowhere at all")
        page.get_by_label("Which prison?").fill("leeds")
        page = visit.press("Continue")
        expect(page.get_by_role("heading", level=1)).to_have_text("Leeds")
        case = page.locator("#waiting ~ .table-frame").first.get_by_role("rowheader").first.inner_text()
        visit.follow(f"Allocate {case}")
        for box in page.get_by_role("checkbox").all()[:2]:
            box.check()
        visit.press("Compare up to four")
        page.get_by_role("link", name=re.compile("^Choose ")).first.click()
        page = visit.check()
        page.get_by_label("Note to the POM").fill("<script>alert(1)</script> See within ten days.")
        page = visit.press("Continue")
        expect(page.get_by_role("heading", level=1)).to_have_text("Check before you record")
        expect(page.locator("main")).to_contain_text("<script>alert(1)</script> See within ten days.")
        visit.press("Change")
        expect(page.get_by_label("Note to the POM")).to_have_value("<script>alert(1)</script> See within ten days.")
        visit.press("Continue")
        page = visit.press("Record")
        expect(page.get_by_role("status")).to_contain_text("Allocated to")
        expect(page.get_by_role("heading", level=1)).to_have_text(case)
        assert "HOMD_LEI" in page.locator(".entries > li").first.inner_text()
        # Back to the form and sent again, it is the same command.
        entries = page.locator(".entries > li").count()
        page.go_back()
        visit.check()
        page = visit.press("Record")
        assert page.locator(".entries > li").count() == entries, "recorded twice"
        # Changed after the back button, it is another command, which the rules judge.
        page.go_back()
        visit.press("Change")
        page.get_by_label("Note to the POM").fill("Another note.")
        visit.press("Continue")
        page = visit.press("Record")
        expect(page.get_by_role("alert")).to_contain_text("recorded before, with other answers")
        expect(page.get_by_label("Note to the POM")).to_have_value("Another note.")
        visit.press("Continue")
        page = visit.press("Record")
        expect(page.get_by_role("alert")).to_contain_text("already")
        page = visit.go(f"/pages/cases/{case}")
        page.get_by_role("link", name=re.compile("^Void entry")).first.click()
        page = visit.check()
        page = visit.press("Continue")
        expect(page.get_by_role("alert")).to_contain_text("Enter: Why was it wrong?")
        page.get_by_label("Why was it wrong?").fill("meant for another case")
        visit.press("Continue")
        page = visit.press("Void the entry")
        expect(page.locator("del").first).to_contain_text("Allocated to")
        visit.context.close()


def every_form(browser: Browser, base: str) -> None:
    """Looks at each form and each page once, on a phone and on a screen."""
    case, prison = "/pages/cases/A1000AA", "/pages/prisons/LEI"
    forms = [
        "reallocation", "deallocation", "co-worker", "co-worker-removal", "community-manager", "community-manager-removal",
        "tier", "handover-plan", "responsibility-override", "responsibility-override-removal", "movement", "release",
        "transfer", "reception", "void?revision=3", "merge", "difference?known-at=2025-01-01", "readers", "file",
    ]
    pages = ["/pages/people", "/pages/prisons", prison, "/pages/cases", case, "/pages/log", "/pages/log/500", "/pages/views"]
    pages += ["/pages/messages", "/pages/controls", "/pages/controls/voids", "/pages/controls/overrides?days=3&from=2025-01-01"]
    pages += ["/pages/accessibility", f"{prison}/pom-registration", f"{prison}/poms/485926", f"{prison}/poms/485926/status"]
    pages += [f"{prison}/poms/485926/details", f"{case}?on=2026-01-01", f"{prison}?known-at=2026-11-01", f"{prison}?whole=due"]
    pages += [f"{prison}/spreadsheets", f"{prison}/poms/485926/reallocation"]
    missing = ["/pages/cases/Z9999ZZ", "/pages/cases/x", f"{prison}/nothing", f"{prison}/spreadsheets/x"]
    for width in (320, 1280):
        visit = Visit(browser, base, width, script=True)
        visit.be("AUDITOR")
        for path in pages + [f"{case}/{form}" for form in forms]:
            visit.go(path)
        for path in missing:
            visit.go(path, status=404)
        visit.context.close()


def two_people(browser: Browser, base: str) -> None:
    """The second of two people at a case is told what changed, and keeps what was typed."""
    for width, script in CONFIGURATIONS:
        first, second = (Visit(browser, base, width, script) for _ in range(2))
        case = f"/pages/cases/A{1030 + CONFIGURATIONS.index((width, script))}AA/tier"
        for visit in (first, second):
            visit.be("HOMD_LEI")
            visit.go(case)
        first.page.get_by_label("Tier", exact=True).fill("A1")
        first.press("Record")
        expect(first.page.get_by_role("status")).to_contain_text("Tier A1")
        second.page.get_by_label("Tier", exact=True).fill("G")
        page = second.press("Record")
        expect(page.get_by_role("alert")).to_contain_text("Somebody has changed this case")
        expect(page.get_by_role("region", name="New since you opened the form")).to_contain_text("Tier A1")
        expect(page.get_by_label("Tier", exact=True)).to_have_value("G")
        page = second.press("Record")
        expect(page.get_by_role("status")).to_contain_text("Tier G")
        for visit in (first, second):
            visit.context.close()


def tab_to(page: Page, name: str) -> None:
    """Moves by the keyboard alone to what has this name."""
    for _ in range(200):
        page.keyboard.press("Tab")
        focused = page.evaluate("(document.activeElement.labels?.[0] ?? document.activeElement).textContent.trim()")
        if focused.startswith(name):
            return
    raise AssertionError(f"no key leads to {name} on {page.url}")


def enter(visit: Visit) -> Page:
    """Presses Enter where it leads to another page."""
    with visit.page.expect_navigation():
        visit.page.keyboard.press("Enter")
    return visit.check()


def keyboard(browser: Browser, base: str) -> None:
    """Finds a case, reads it, and names its COM by the keyboard alone."""
    visit = Visit(browser, base, 1280, script=True)
    page = visit.go("/pages")
    tab_to(page, "HOMD_LEI")
    page.keyboard.press("Space")
    tab_to(page, "Continue")
    enter(visit)
    tab_to(page, "Find a case")
    enter(visit)
    while page.evaluate("document.activeElement.tagName") != "INPUT":
        page.keyboard.press("Tab")
    page.keyboard.type("a1002aa")
    enter(visit)
    tab_to(page, "Name COM")
    enter(visit)
    tab_to(page, "Name")
    page.keyboard.type("Lee, Sam")
    tab_to(page, "Record")
    enter(visit)
    expect(page.get_by_role("status")).to_contain_text("COM named: Lee, Sam")
    visit.context.close()


def growing_log(browser: Browser, base: str) -> None:
    """The log shows what others record while it is looked at; without a script a link leads to it."""
    auditor = Visit(browser, base, 1280, script=True)
    auditor.be("AUDITOR")
    auditor.go("/pages/log")
    plain = Visit(browser, base, 320, script=False)
    plain.be("AUDITOR")
    plain.go("/pages/log")
    recorder = Visit(browser, base, 1280, script=True)
    recorder.be("HOMD_LEI")
    recorder.go("/pages/cases/A1003AA/tier").get_by_label("Tier", exact=True).fill("E3")
    recorder.press("Record")
    expect(auditor.page.locator("#log-entries > li").first).to_contain_text("Tier E3")
    expect(auditor.page.locator("#log-entries > li").first.get_by_role("link", name="A1003AA")).to_be_visible()
    auditor.check()
    page = plain.follow("Newer entries")
    expect(page.locator("#log-entries > li").first).to_contain_text("Tier E3")
    page = plain.follow("Tier E3")
    expect(page.locator("pre")).to_contain_text('"tier": "E3"')


def analyst(browser: Browser, base: str) -> None:
    """Verifies the views, and exports one, with and without a script."""
    for width, script in CONFIGURATIONS:
        visit = Visit(browser, base, width, script)
        visit.be("ANALYST")
        visit.go("/pages/views")
        visit.press("Verify all views")
        visit.wait_for_job()
        expect(visit.page.locator(".job").first).to_contain_text("No difference up to position", timeout=30_000)
        visit.page.get_by_label("As", exact=True).select_option("csv")
        visit.press("Export")
        visit.wait_for_job()
        with visit.page.expect_download(timeout=30_000) as taken:
            visit.page.get_by_role("link", name="Take the file of this export").first.click(timeout=30_000)
        with open(taken.value.path()) as file:
            assert "A1000AA" in file.read()
        visit.context.close()


def merged_number(browser: Browser, base: str) -> None:
    """A number that was merged leads to the case that goes on."""
    visit = Visit(browser, base, 1280, script=True)
    visit.be("AUDITOR")
    page = visit.go("/pages/cases/B2000BB")
    expect(page.get_by_role("heading", level=1)).to_have_text("A1000AA")
    expect(page.locator(".inset")).to_contain_text("B2000BB was merged into A1000AA")
    visit.go("/pages/cases/B2000BB/tier", status=404)


def both_clocks(browser: Browser, base: str) -> None:
    """Asks about another day, as it was known then, and sees what differs from now."""
    for width, script in CONFIGURATIONS:
        visit = Visit(browser, base, width, script)
        visit.be("AUDITOR")
        page = visit.go("/pages/cases/A1000AA")
        page.get_by_text("Look at another day").click()
        page.get_by_label("On", exact=True).fill("2027-06-01")
        page = visit.press("Show")
        expect(page.locator(".inset")).to_contain_text("on 1 June 2027")
        expect(page.locator(".lead")).to_contain_text("Lee, Sam (COM) will be responsible from")
        assert page.get_by_role("link", name="Reallocate").count() == 0, "a past day offers a command"
        page.get_by_label("As it was known at the end of").fill("2024-01-01")
        page = visit.press("Show")
        expect(page.get_by_role("heading", level=1)).to_have_text("Prisoner unknown")
        page = visit.go("/pages/cases/A1000AA/difference?on=2026-01-01&known-at=2025-01-01")
        expect(page.get_by_role("row", name=re.compile("^Tier"))).to_contain_text("Nothing was knownC Different")
        page = visit.go("/pages/cases/A1000AA/difference?on=2026-01-01")
        expect(page.get_by_role("row", name=re.compile("^Responsible"))).to_contain_text("Whitfield, Daniel (POM)")
        visit.context.close()


def upload(visit: Visit, name: str, content: str) -> Page:
    page = visit.page
    page.get_by_label("Spreadsheet").set_input_files({"name": name, "mimeType": "text/csv", "buffer": content.encode()})
    page.get_by_role("button", name="Upload and check").click()
    return page


def expect_title(visit: Visit, title: str) -> Page:
    """Waits for a page that comes by itself."""
    expect(visit.page.get_by_role("heading", level=1)).to_have_text(title, timeout=60_000)
    return visit.check()


def spreadsheet(browser: Browser, base: str) -> None:
    """Uploads a spreadsheet, looks at how it is read, downloads the refused rows, and records it."""
    day = (datetime.date.today() - datetime.timedelta(days=30)).strftime("%d/%m/%Y")
    for number, (width, script) in enumerate(CONFIGURATIONS):
        visit = Visit(browser, base, width, script)
        visit.be("HOMD_LEI")
        visit.go("/pages/prisons/LEI")
        visit.follow("Upload a spreadsheet of cases")
        page = visit.press("Upload and check")
        expect(page.get_by_role("alert")).to_contain_text("Choose a file")
        rows = [f"B700{number}C{letter},B,485926,{day}" for letter in "ABC"] + [f"B700{number}CD,Q,485926,{day}"]
        content = "\n".join(["Prison number,Band,Staff ID,Date allocated", *rows])
        upload(visit, "A1234BC.csv", content)
        expect(page.get_by_role("alert")).to_contain_text("prisoner number", timeout=60_000)
        visit.check()
        upload(visit, "cases.csv", content)
        expect_title(visit, "The file could not be read")
        visit.follow("Upload another file")
        page.locator("summary").click()
        page.get_by_label("Columns").fill("Band=tier\n")
        upload(visit, "cases.csv", content)
        expect_title(visit, "Check before you record")
        columns = page.get_by_role("region", name="Columns as they were read")
        expect(columns.get_by_role("row", name=re.compile("Band"))).to_contain_text("Tier")
        refused = page.get_by_role("region", name="Refused rows")
        expect(refused).to_contain_text(f"B700{number}CD")
        with page.expect_download() as download:
            page.get_by_role("link", name="Download the refused rows (CSV)").click()
        assert download.value.suggested_filename == "refused-rows.csv"
        assert f"B700{number}CD" in download.value.path().read_text("utf-8-sig")
        history = page.request.get(f"{base}/prisoners/B700{number}CA/history")
        assert history.status == 404, "recorded before it was asked for"
        page.get_by_role("button", name="Record", exact=True).click()
        expect_title(visit, "The spreadsheet is recorded")
        counts = page.locator("main dl").inner_text().split()
        assert counts[-6:] == ["Recorded", "3", "Recorded", "before", "0", "Refused", "1"][-6:], counts
        assert page.request.get(f"{base}/prisoners/B700{number}CA/history").status == 200
        visit.follow("Upload another file")
        page.locator("summary").click()
        page.get_by_label("Columns").fill("Band=tier")
        upload(visit, "cases.csv", content)
        expect_title(visit, "Check before you record")
        expect(page.get_by_role("button", name="Record", exact=True)).to_have_count(0)
        visit.press("Cancel")
        expect(page.get_by_role("heading", level=1)).to_have_text("Upload a spreadsheet")
        visit.context.close()


def bulk_reallocation(browser: Browser, base: str) -> None:
    """Moves cases of a POM to another POM, sends the same again, and takes one back."""
    for (width, script), pom in zip(CONFIGURATIONS, (485926, 485931, 485926, 485931)):
        visit = Visit(browser, base, width, script)
        visit.be("HOMD_LEI")
        visit.go(f"/pages/prisons/LEI/poms/{pom}")
        page = visit.follow("Move cases to another POM")
        expect(page.get_by_role("heading", level=1)).to_have_text("Move cases to another POM")
        boxes = page.locator("input[name=cases]").all()
        checked = [box.is_checked() for box in boxes]
        assert len(boxes) > 2 and all(checked), f"{pom}: {checked}"
        for box in boxes[2:]:
            box.uncheck()
        visit.press("Continue")
        expect(page.get_by_role("alert")).to_contain_text("Choose: POM who takes them")
        assert len(page.locator("input[name=cases]:checked").all()) == 2
        page.get_by_label("POM who takes them").select_option("485970")
        page.get_by_label("Reason", exact=True).fill("Caseloads")
        visit.press("Continue")
        page = visit.press("Move the cases")
        told = page.locator("main").inner_text()
        shown = page.locator("main dl dt")
        expect(shown).to_have_count(2)
        # Sent again, it is the same command.
        page.go_back()
        visit.check()
        visit.press("Move the cases")
        assert page.locator("main").inner_text() == told
        case = page.get_by_role("link", name=re.compile("^Take back ")).first.inner_text().split()[-1]
        visit.follow(f"Take back {case}")
        page.get_by_label("Why was it wrong?").fill("meant for another POM")
        visit.press("Continue")
        visit.press("Void the entry")
        expect(page.locator("del").first).to_contain_text("Reallocated from")
        visit.context.close()


def slow_line(browser: Browser, base: str) -> None:
    """The front page and a case are usable within a second at 1.6 Mbit/s and 150 ms, and nothing moves."""
    visit = Visit(browser, base, 1280, script=True)
    visit.be("HOMD_LEI")
    line = visit.context.new_cdp_session(visit.page)
    line.send("Network.enable")
    line.send(
        "Network.emulateNetworkConditions",
        {"offline": False, "latency": 150, "downloadThroughput": 200_000, "uploadThroughput": 200_000},
    )
    for path in ("/pages/prisons/LEI", "/pages/cases/A1000AA"):
        visit.page.goto(path)
        took = visit.page.evaluate("performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd")
        size = visit.page.evaluate("performance.getEntriesByType('navigation')[0].decodedBodySize")
        shift = visit.page.evaluate(
            """new Promise(done => { let sum = 0;
                new PerformanceObserver(list => { for (const entry of list.getEntries()) sum += entry.value; })
                    .observe({type: 'layout-shift', buffered: true});
                setTimeout(() => done(sum), 300); })"""
        )
        print(f"{path}: usable after {took:.0f} ms, {size} bytes, layout shift {shift}")
        assert size < 100_000 and shift == 0, path


JOURNEYS = [
    head_of_offender_management, every_form, two_people, keyboard, growing_log, analyst, merged_number, both_clocks, spreadsheet,
    bulk_reallocation, slow_line,
]

if __name__ == "__main__":
    base_url, wanted = sys.argv[1:]
    # Other tests keep the machine busy.
    expect.set_options(timeout=60_000)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        next(journey for journey in JOURNEYS if journey.__name__ == wanted)(chromium, base_url)
        chromium.close()
